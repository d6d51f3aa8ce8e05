# SPDX-License-Identifier: MIT
"""Table of molecular-dynamics methods: names, parameters and physics.

Two properties of a method determine what its spectra mean:

- *Which correlation function it approximates.* A classical one must be multiplied by a
  quantum correction factor. RPMD and centroid methods approximate the Kubo-transformed one,
  whose relation to the quantum spectrum is exact. Path-integral sampling has no real-time
  dynamics and hence no spectrum.
- *Which modes are thermostatted.* A thermostat on the internal modes of the ring polymer is
  part of the method; one on the physical modes (atoms or centroid) broadens bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from eqcalc.plugins import load_plugins
from eqcalc.validation import InvalidInputError, count, known_keys, nearest, number, positive

Correlation = Literal["classical", "kubo", "symmetrized", "none"]
Thermostat = Literal["none", "friction", "memory", "global"]
ThermostattedModes = Literal["none", "internal", "all"]
Engine = Literal["eqcalc", "i-PI"]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a method.

    Parameters
    ----------
    name
        Name in Python and in the settings of a trajectory.
    symbol, unit, description
        Symbol in the literature, unit used here, and meaning.
    kind
        ``"number"`` and ``"integer"`` must be positive, ``"real"`` may have any sign;
        ``"matrix"`` and ``"file"`` are checked where they are used.
    default, required
        Default value, if any, and whether a value must be given.
    """

    name: str
    symbol: str
    unit: str
    description: str
    default: float | None = None
    kind: Literal["number", "real", "integer", "matrix", "file"] = "number"
    required: bool = False


@dataclass(frozen=True)
class IPIDynamics:
    """How a method is expressed in i-PI input.

    Parameters
    ----------
    mode
        ``<dynamics mode=...>``.
    thermostats, frequencies
        ``<thermostat mode=...>``, and ``<frequencies style=...>`` of the normal modes: the
        one that eqcalc writes, followed by equivalents.
    free_centroid
        The time constant is so long that the centroid is effectively not thermostatted.
    response_at_centroid
        Dipole and polarizability are evaluated at the centroid, not averaged over the beads.
    defaults
        Parameters whose default differs from that of eqcalc.
    written
        Whether eqcalc writes such input, or only reads it.
    """

    mode: Literal["nve", "nvt", "npt"]
    thermostats: tuple[str, ...] = ()
    free_centroid: bool = False
    frequencies: tuple[str, ...] = ()
    response_at_centroid: bool = False
    defaults: Mapping[str, float] = field(default_factory=dict)
    written: bool = True


@dataclass(frozen=True)
class DynamicsMethod:
    """A method of molecular dynamics.

    Parameters
    ----------
    name, title
        Name in files, messages and on the command line, and the name in full.
    ring_polymer
        Whether it propagates ring polymers of several beads.
    correlation
        The correlation function that it approximates: ``"classical"``, ``"kubo"``,
        ``"symmetrized"`` (classical motion with the quantum energy of every mode), or
        ``"none"`` for sampling methods.
    thermostat
        ``"friction"``: white noise; ``"memory"``: a generalised Langevin equation;
        ``"global"``: acts on the total kinetic energy, or is deterministic.
    thermostatted
        The modes it acts on: the ``"internal"`` ones of the ring polymer only, or ``"all"``.
    aliases
        Other names; case and punctuation are ignored.
    ring_resonances, curvature_problem
        Whether internal modes of the ring polymer appear as spurious resonances in spectra;
        whether stretching bands are red-shifted and broadened at low temperature.
    fictitious_masses, constant_pressure
        Whether internal modes have masses of their own; whether the cell fluctuates.
    fixed_centroid, effective_potential
        Whether the centroid is held; whether the potential contains the quantum statistics.
    parameters, reference
        Its parameters, and the original publication.
    simulated, ipi
        Whether :mod:`eqcalc.dynamics` implements it, and how i-PI input expresses it, if at all.
    """

    name: str
    title: str
    ring_polymer: bool
    correlation: Correlation
    thermostat: Thermostat = "none"
    thermostatted: ThermostattedModes = "none"
    aliases: tuple[str, ...] = ()
    ring_resonances: bool = False
    curvature_problem: bool = False
    fictitious_masses: bool = False
    fixed_centroid: bool = False
    effective_potential: bool = False
    constant_pressure: bool = False
    parameters: tuple[Parameter, ...] = ()
    simulated: bool = False
    ipi: IPIDynamics | None = None
    reference: str = ""

    @property
    def ensemble(self) -> Literal["NVE", "NVT", "NPT"]:
        """Thermodynamic ensemble."""
        if self.constant_pressure:
            return "NPT"
        return "NVE" if self.thermostatted == "none" else "NVT"

    @property
    def kubo(self) -> bool:
        """Whether it approximates Kubo-transformed correlation functions."""
        return self.correlation == "kubo"

    @property
    def thermostats_centroid(self) -> bool:
        """Whether the thermostat acts on the physical modes."""
        return self.thermostatted == "all"

    @property
    def excites_rotation(self) -> bool:
        """Whether the thermostat sets a non-rotating molecule into rotation.

        A global thermostat does not. One on the internal modes of a ring polymer does, since
        they exchange angular momentum with the centroid.
        """
        return self.thermostatted != "none" and (self.ring_polymer or self.thermostat != "global")

    @property
    def spectra(self) -> Literal["physical", "broadened", "none"]:
        """Whether its spectra are physical, broadened by the thermostat, or not defined."""
        if self.correlation == "none":
            return "none"
        return "broadened" if self.thermostats_centroid else "physical"

    @property
    def by_name(self) -> bool:
        """Whether all parameters have defaults."""
        return not any(parameter.required for parameter in self.parameters)

    def in_engine(self, engine: Engine) -> bool:
        """Return whether an engine implements it."""
        if engine == "eqcalc":
            return self.simulated
        return self.ipi is not None and self.ipi.written

    def settings(self, engine: Engine = "eqcalc", **given: Any) -> dict[str, Any]:
        """Return the parameters of a run: the given ones, checked, and defaults.

        Raises
        ------
        InvalidInputError
            A parameter is unknown, invalid, or required but missing.
        """
        known_keys(given, [parameter.name for parameter in self.parameters], section=self.name)
        other = self.ipi.defaults if engine == "i-PI" and self.ipi is not None else {}
        values = {}
        for parameter in self.parameters:
            if parameter.name in given:
                value = given[parameter.name]
                key = f"{self.name}.{parameter.name}"
                if parameter.kind == "integer":
                    value = count(key, value)
                elif parameter.kind == "number":
                    value = positive(key, value, unit=parameter.unit)
                elif parameter.kind == "real":
                    value = number(key, value, unit=parameter.unit)
                values[parameter.name] = value
            elif parameter.required:
                raise InvalidInputError(
                    key=f"{self.name}.{parameter.name}",
                    expected=f"{parameter.description}, which has no default",
                )
            else:
                values[parameter.name] = other.get(parameter.name, parameter.default)
        return values

    def checked_beads(self, beads: int) -> int:
        """Return the number of beads, checked: 1, or at least 2 for ring-polymer methods.

        Raises
        ------
        InvalidInputError
            The number does not suit the method.
        """
        if self.ring_polymer and count("beads", beads) < 2:
            others, expected = "classical", f"at least 2 for {self.name}, of ring polymers"
        elif not self.ring_polymer and count("beads", beads) != 1:
            others, expected = "ring-polymer", f"1 for {self.name}, which has no ring polymers"
        else:
            return int(beads)
        names = ", ".join(method_names(engine="eqcalc", ring_polymer=not self.ring_polymer))
        raise InvalidInputError(
            key="beads", value=beads, expected=expected, advice=f"the {others} methods are {names}"
        )


def _friction(default: float, description: str = "1/γ") -> Parameter:
    return Parameter("time_constant", "τ", "fs", description, default)


def _damping(default: float, description: str) -> Parameter:
    return Parameter("damping", "λ", "", description, default)


def _matrices(shape: str, of: str) -> tuple[Parameter, Parameter]:
    return (
        Parameter("drift", "A", "1/fs", f"{shape} of {of}", kind="matrix", required=True),
        Parameter("covariance", "C", "K", f"{shape}; by default C = T", kind="matrix"),
    )


def _classical(
    name: str, title: str, thermostat: Thermostat = "none", **facts: Any
) -> DynamicsMethod:
    """Return a method with classical nuclei, with a thermostat on all modes or none."""
    where: ThermostattedModes = "none" if thermostat == "none" else "all"
    return DynamicsMethod(name, title, False, "classical", thermostat, where, **facts)


def _quantum(
    name: str,
    title: str,
    thermostat: Thermostat = "none",
    *,
    ring_polymer: bool = True,
    **facts: Any,
) -> DynamicsMethod:
    """Return a quantum-dynamics method, with a thermostat on the internal modes or none."""
    where: ThermostattedModes = "none" if thermostat == "none" else "internal"
    return DynamicsMethod(name, title, ring_polymer, "kubo", thermostat, where, **facts)


def _sampling(
    name: str, title: str, thermostat: Thermostat, where: ThermostattedModes = "all", **facts: Any
) -> DynamicsMethod:
    """Return a path-integral sampling method, with a thermostat on all modes by default."""
    return DynamicsMethod(name, title, True, "none", thermostat, where, **facts)


_PILE = "Ceriotti, Parrinello, Markland and Manolopoulos, J. Chem. Phys. 133, 124104 (2010)"
_CRITICAL = "of γ_k = 2λω_k on the internal modes; 1 damps the free ring critically"

_ROWS = (
    # --- classical ---
    _classical(
        "NVE", "classical dynamics at constant energy", simulated=True, ipi=IPIDynamics("nve")
    ),
    _classical(
        "Langevin",
        "classical Langevin dynamics",
        "friction",
        aliases=("BAOAB",),
        parameters=(_friction(100.0),),
        simulated=True,
        ipi=IPIDynamics("nvt", ("langevin", "pile_l")),
        reference="Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (2013)",
    ),
    _classical(
        "SVR",
        "classical dynamics with stochastic velocity rescaling",
        "global",
        aliases=("CSVR", "Bussi"),
        parameters=(_friction(100.0, "relaxation time of the kinetic energy"),),
        simulated=True,
        ipi=IPIDynamics("nvt", ("svr", "pile_g")),
        reference="Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007)",
    ),
    _classical(
        "NHC",
        "classical dynamics with a Nosé–Hoover chain",
        "global",
        aliases=("Nose-Hoover", "Nosé–Hoover"),
        parameters=(
            _friction(20.0, "of the thermostat masses Q_1 = f k_B T τ², Q_j = k_B T τ²"),
            Parameter("chain_length", "M", "", "number of thermostats", 4, "integer"),
        ),
        simulated=True,
        reference="Martyna, Klein and Tuckerman, J. Chem. Phys. 97, 2635 (1992)",
    ),
    _classical(
        "GLE",
        "classical dynamics with a generalised Langevin equation",
        "memory",
        aliases=("NVT-GLE", "GLE-NVT", "GLE thermostat", "fix gle", "colored noise"),
        parameters=_matrices("[n + 1, n + 1]", "n extra momenta"),
        simulated=True,
        ipi=IPIDynamics("nvt", ("gle", "nm_gle"), written=False),
        reference="Ceriotti, Bussi and Parrinello, J. Chem. Theory Comput. 6, 1170 (2010)",
    ),
    _classical(
        "NPT",
        "classical dynamics at constant pressure",
        "global",
        constant_pressure=True,
        parameters=(
            Parameter("pressure", "P₀", "bar", "external pressure", 1.0, "real"),
            _friction(100.0, "relaxation time of the kinetic energy"),
            Parameter("barostat_time", "τ_p", "fs", "relaxation time of the volume", 1000.0),
            Parameter("compressibility", "β_T", "1/bar", "isothermal, that of water", 4.5e-5),
        ),
        simulated=True,
        ipi=IPIDynamics("npt", written=False),
        reference="Bernetti and Bussi, J. Chem. Phys. 153, 114107 (2020)",
    ),
    # --- ring polymers: quantum dynamics ---
    _quantum(
        "RPMD",
        "ring-polymer molecular dynamics",
        aliases=("NVE-RPMD", "RPMD-NVE"),
        ring_resonances=True,
        simulated=True,
        ipi=IPIDynamics("nve"),
        reference="Craig and Manolopoulos, J. Chem. Phys. 121, 3368 (2004)",
    ),
    _quantum(
        "T-RPMD",
        "thermostatted ring-polymer molecular dynamics",
        "friction",
        aliases=("thermostatted RPMD", "TRPMD-PILE-L"),
        ring_resonances=True,
        parameters=(_damping(0.5, "of γ_k = 2λω_k on the internal modes"),),
        simulated=True,
        ipi=IPIDynamics("nvt", ("pile_l",), free_centroid=True),
        reference="Rossi, Ceriotti and Manolopoulos, J. Chem. Phys. 140, 234116 (2014)",
    ),
    _quantum(
        "PA-CMD",
        "partially adiabatic centroid molecular dynamics",
        "friction",
        curvature_problem=True,
        fictitious_masses=True,
        parameters=(
            Parameter("frequency", "Ω", "cm^-1", "of every internal mode", 16000.0),
            _damping(1.0, "of γ = 2λΩ on the internal modes"),
        ),
        simulated=True,
        ipi=IPIDynamics(
            "nvt",
            ("pile_l",),
            free_centroid=True,
            frequencies=("pa-cmd", "wmax-cmd"),
            response_at_centroid=True,
            defaults={"damping": 0.01},
        ),
        reference="Hone, Rossky and Voth, J. Chem. Phys. 124, 154103 (2006)",
    ),
    # --- ring polymers: sampling ---
    _sampling(
        "PILE-L",
        "path-integral Langevin equation, local on the centroid",
        "friction",
        aliases=("PILE", "PIMD-PILE", "PIMD-PILE-L"),
        parameters=(_friction(100.0, "1/γ_0 of the centroid"), _damping(1.0, _CRITICAL)),
        simulated=True,
        ipi=IPIDynamics("nvt", ("pile_l",)),
        reference=_PILE,
    ),
    _sampling(
        "PILE-G",
        "path-integral Langevin equation, velocity rescaling of the centroid",
        "global",
        aliases=("PIMD-PILE-G",),
        parameters=(
            _friction(100.0, "relaxation time of the kinetic energy of the centroid"),
            _damping(1.0, _CRITICAL),
        ),
        simulated=True,
        ipi=IPIDynamics("nvt", ("pile_g",)),
        reference=_PILE,
    ),
    _sampling(
        "PI+GLE",
        "path integrals with a generalised Langevin equation on every normal mode",
        "memory",
        aliases=("PIMD-GLE", "GLE-PIMD"),
        parameters=_matrices("[n_beads, n + 1, n + 1]", "the normal modes"),
        simulated=True,
        reference="Ceriotti, Manolopoulos and Parrinello, J. Chem. Phys. 134, 084104 (2011)",
    ),
    _sampling(
        "PIGLET",
        "path integrals with a generalised Langevin equation for quick convergence in beads",
        "memory",
        aliases=("PIMD-PIGLET",),
        parameters=(
            Parameter("matrices", "A, C", "", "file of gle4md.org", kind="file", required=True),
        ),
        ipi=IPIDynamics("nvt", ("nm_gle", "nm_gle_g")),
        reference="Ceriotti and Manolopoulos, Phys. Rev. Lett. 109, 100604 (2012)",
    ),
    _sampling(
        "CC-PIMD",
        "path-integral molecular dynamics with a constrained centroid, for mean forces on it",
        "friction",
        "internal",
        aliases=("constrained centroid", "NVT-CC"),
        fixed_centroid=True,
        parameters=(_damping(1.0, _CRITICAL),),
        simulated=True,
        reference="Cao and Voth, J. Chem. Phys. 101, 6168 (1994)",
    ),
    _quantum(
        "Te-PIGS",
        "classical dynamics on the centroid potential of path integrals at elevated temperature",
        ring_polymer=False,
        effective_potential=True,
        simulated=True,
        ipi=IPIDynamics("nve"),
        reference="Musil, Zaporozhets, Noé, Clementi and Kapil, J. Chem. Phys. 157, 181102 (2022)",
    ),
    # --- other codes only: their time series can be analysed ---
    _classical("NVT", "classical dynamics with some thermostat, taken as friction", "friction"),
    _classical(
        "Berendsen",
        "classical dynamics with weak coupling to a bath",
        "global",
        reference="Berendsen et al., J. Chem. Phys. 81, 3684 (1984)",
    ),
    DynamicsMethod(
        "QT",
        "classical dynamics with the quantum thermostat",
        ring_polymer=False,
        correlation="symmetrized",
        thermostat="memory",
        thermostatted="all",
        aliases=(
            *("quantum thermostat", "quantum GLE", "GLE-QT", "quantum Langevin"),
            *("QTB", "quantum thermal bath", "NVT-QTB", "fix qtb", "QTB-MD"),
            *("adQTB", "adaptive quantum thermal bath"),
        ),
        reference="Ceriotti, Bussi and Parrinello, Phys. Rev. Lett. 103, 030603 (2009)",
    ),
    DynamicsMethod(
        "Wigner",
        "classical dynamics from the quantum distribution of positions and momenta",
        ring_polymer=False,
        correlation="symmetrized",
        aliases=(
            *("NVE-Wigner", "Wigner-NVE", "NVE, Wigner start", "Wigner sampling", "LCW"),
            *("QCT", "quasi-classical trajectories"),
        ),
        reference="Wigner, Phys. Rev. 40, 749 (1932)",
    ),
    _quantum(
        "CMD",
        "centroid molecular dynamics",
        "friction",
        curvature_problem=True,
        reference="Cao and Voth, J. Chem. Phys. 100, 5106 (1994)",
    ),
    _quantum(
        "QCMD",
        "quasi-centroid molecular dynamics",
        "friction",
        reference="Trenins, Willatt and Althorpe, J. Chem. Phys. 151, 054109 (2019)",
    ),
    _quantum(
        "f-QCMD",
        "fast quasi-centroid molecular dynamics: classical on an effective potential",
        ring_polymer=False,
        effective_potential=True,
        reference="Fletcher, Zhu, Lawrence and Manolopoulos, J. Chem. Phys. 155, 231101 (2021)",
    ),
    _quantum(
        "Te-CMD",
        "centroid molecular dynamics at an elevated temperature of the internal modes",
        "friction",
    ),
    _sampling(
        "PIMD",
        "path-integral molecular dynamics with some thermostat, taken as friction",
        "friction",
        aliases=(
            *("path-integral molecular dynamics", "PIMD-NVT", "NVT-PIMD", "PIMC"),
            *("NVT-RPMD", "RPMD-NVT", "NPT-RPMD", "RPMD-NPT", "Langevin-RPMD", "RPMD-Langevin"),
        ),
        ipi=IPIDynamics("npt", written=False),
    ),
    _sampling("PIGLE-QTB", "path integrals with a quantum thermal bath", "memory"),
)


def _folded(name: str) -> str:
    return "".join(c for c in str(name).upper() if c.isalnum())


_METHODS = {row.name: row for row in _ROWS}
_BY_NAME = {_folded(name): row for row in _ROWS for name in (row.title, *row.aliases, row.name)}

#: All methods by name.
METHODS: Mapping[str, DynamicsMethod] = MappingProxyType(_METHODS)


def register_method(row: DynamicsMethod) -> None:
    """Register a method of another package; list its module in ``EQCALC_PLUGINS``.

    Raises
    ------
    InvalidInputError
        Another method has its name or alias.
    """
    names = [_folded(name) for name in (row.name, *row.aliases)]
    for name in names:
        other = _BY_NAME.get(name)
        if other is not None and (other in _ROWS or other.name != row.name):
            raise InvalidInputError(
                key="method", value=row.name, expected="a name that no other method has"
            )
    _METHODS[row.name] = row
    _BY_NAME.update(dict.fromkeys(names, row))


def method(name: str, engine: Engine | None = None) -> DynamicsMethod:
    """Return a method by name or alias, one that `engine` implements if that is given.

    Raises
    ------
    InvalidInputError
        There is no such method, or not in this engine; the error suggests the nearest name.
    """
    found = _BY_NAME.get(_folded(name))
    if found is None:
        load_plugins()  # which may register it
        found = _BY_NAME.get(_folded(name))
    if found is not None and (engine is None or found.in_engine(engine)):
        return found
    names = method_names(engine=engine)
    raise InvalidInputError(
        key="method",
        value=name,
        expected=f"one of {', '.join(names)}",
        # a valid method of the other engine is not a misspelling
        suggestion=nearest(name, names, fold=_folded) if found is None else None,
    )


def method_names(
    *,
    engine: Engine | None = None,
    ring_polymer: bool | None = None,
    by_name: bool = False,
) -> tuple[str, ...]:
    """Return the names of methods, in the order of the table.

    Optionally only those of an `engine`, only those with (True) or without (False)
    `ring_polymer`, and only those without required parameters (`by_name`).
    """
    return tuple(
        row.name
        for row in METHODS.values()
        if (engine is None or row.in_engine(engine))
        and (ring_polymer is None or row.ring_polymer is ring_polymer)
        and (row.by_name or not by_name)
    )
