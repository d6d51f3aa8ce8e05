# SPDX-License-Identifier: MIT
"""Kinds of dynamics, by the names the field gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from eqcalc.dynamics.gle import GLEThermostat
from eqcalc.dynamics.integrators import Integrator
from eqcalc.dynamics.nose_hoover import NoseHooverThermostat
from eqcalc.dynamics.rescaling import RescalingThermostat
from eqcalc.dynamics.ring import ring_frequencies
from eqcalc.dynamics.thermostats import Ensemble, LangevinThermostat, Thermostat
from eqcalc.units import FEMTOSECOND, wavenumber_to_angular_frequency

__all__ = [
    "GLE",
    "METHODS",
    "NVE",
    "PACMD",
    "PIGLE",
    "PILEG",
    "PILEL",
    "RPMD",
    "TRPMD",
    "Langevin",
    "Method",
    "NoseHoover",
    "VelocityRescaling",
    "method_from",
]


@dataclass(frozen=True)
class Method:
    """A kind of dynamics and its parameters."""

    #: Name in files, messages and on the command line.
    name: ClassVar[str]
    #: Ring polymers, or a classical molecule.
    ring_polymer: ClassVar[bool]
    #: Whether the thermostat acts on the motion of the centroid.
    thermostats_centroid: ClassVar[bool]
    #: Whether the thermostat sets a molecule at rest into rotation; one on the internal modes
    #: of a ring polymer does, because they exchange angular momentum with the centroid.
    excites_rotation: ClassVar[bool]

    def thermostat(self, ensemble: Ensemble) -> Thermostat | None:
        """Return the thermostat of one step, None for constant energy."""
        return None

    def pace(self, ensemble: Ensemble) -> Tensor | None:
        """Return by how much the time of each ring mode is faster, None for not at all."""
        return None

    def integrator(
        self,
        *,
        timestep: float,
        temperature: float,
        n_beads: int,
        masses: Tensor,
        translation: str = "none",
        freedom: int | None = None,
        propagator: str = "cayley",
    ) -> Integrator:
        """Return the integrator of this kind of dynamics.

        Parameters
        ----------
        timestep
            [fs].
        temperature
            [K].
        n_beads
            Number of beads.
        masses
            ``[n_atoms]`` [amu].
        translation
            ``"none"``: the thermostat leaves the total momentum alone.
        freedom
            Degrees of freedom of the centroid. None: all but the translation, if that is
            ``"none"``.
        propagator
            ``"cayley"`` or ``"exact"``.

        Raises
        ------
        ValueError
            The number of beads does not fit the method.
        """
        if self.ring_polymer and n_beads < 2:
            raise ValueError(
                f"{self.name} is ring-polymer dynamics and needs at least 2 beads, got "
                f"{n_beads}; the classical methods are {_names(ring_polymer=False)}"
            )
        if not self.ring_polymer and n_beads != 1:
            raise ValueError(
                f"{self.name} is classical dynamics of one bead, got {n_beads} beads; the "
                f"ring-polymer methods are {_names(ring_polymer=True)}"
            )
        if freedom is None:
            freedom = 3 * len(masses) - (3 if translation == "none" else 0)
        ensemble = Ensemble(
            frequencies=ring_frequencies(n_beads, temperature),
            timestep=timestep * FEMTOSECOND,
            masses=masses.double().view(-1, 1).cpu(),
            temperature=temperature,
            translation=translation,
            freedom=freedom,
        )
        thermostat = self.thermostat(ensemble)
        return Integrator.build(
            timestep=ensemble.timestep,
            temperature=temperature,
            n_beads=n_beads,
            masses=masses,
            thermostat=None if thermostat is None else thermostat.to(masses.device),
            propagator=propagator,
            pace=self.pace(ensemble),
        )


@dataclass(frozen=True)
class NVE(Method):
    """Classical dynamics at constant energy: velocity Verlet."""

    name: ClassVar[str] = "NVE"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = False
    excites_rotation: ClassVar[bool] = False


@dataclass(frozen=True)
class Langevin(Method):
    """Classical Langevin dynamics (BAOAB).

    Parameters
    ----------
    time_constant
        1/γ [fs].
    """

    time_constant: float = 100.0

    name: ClassVar[str] = "Langevin"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return a Langevin thermostat with γ = 1/time_constant."""
        friction = torch.full_like(ensemble.frequencies, 1.0 / (self.time_constant * FEMTOSECOND))
        return LangevinThermostat.build(ensemble, friction)


@dataclass(frozen=True)
class VelocityRescaling(Method):
    """Classical dynamics with stochastic velocity rescaling.

    Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007). It scales all
    momenta alike and so disturbs the dynamics little, and does not excite rotation.

    Parameters
    ----------
    time_constant
        Relaxation time of the kinetic energy [fs].
    """

    time_constant: float = 100.0

    name: ClassVar[str] = "SVR"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return the rescaling of all momenta."""
        return RescalingThermostat.build(
            ensemble, self.time_constant * FEMTOSECOND, torch.zeros_like(ensemble.frequencies)
        )


@dataclass(frozen=True)
class NoseHoover(Method):
    """Classical dynamics with one chain of Nosé–Hoover thermostats.

    Martyna, Klein and Tuckerman, J. Chem. Phys. 97, 2635 (1992). Deterministic: the
    trajectory of one molecule is ergodic only as far as anharmonic coupling makes it so,
    and never in the direction of its angular momentum. Use many replicas.

    Parameters
    ----------
    time_constant
        τ of the thermostat masses Q_1 = f k_B T τ², Q_j = k_B T τ² [fs].
    chain_length
        Number of thermostats.
    """

    time_constant: float = 20.0
    chain_length: int = 4

    name: ClassVar[str] = "NHC"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return the chain."""
        return NoseHooverThermostat.build(
            ensemble, self.time_constant * FEMTOSECOND, self.chain_length
        )


@dataclass(frozen=True)
class GLE(Method):
    """Classical dynamics with a generalised Langevin equation.

    Ceriotti, Bussi and Parrinello, J. Chem. Theory Comput. 6, 1170 (2010). With matrices
    fitted for it this is also the quantum thermostat.

    Parameters
    ----------
    drift
        A, ``[n + 1, n + 1]`` for n extra momenta [1/fs].
    covariance
        C, same shape [K]; None: the physical temperature, C = T.
    """

    drift: Sequence[Sequence[float]]
    covariance: Sequence[Sequence[float]] | None = None

    name: ClassVar[str] = "GLE"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = True

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return the propagator of the extended momenta."""
        covariance = None if self.covariance is None else [self.covariance]
        return GLEThermostat.build(ensemble, [self.drift], covariance)


@dataclass(frozen=True)
class RPMD(Method):
    """Ring-polymer molecular dynamics at constant energy.

    Craig and Manolopoulos, J. Chem. Phys. 121, 3368 (2004).
    """

    name: ClassVar[str] = "RPMD"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = False
    excites_rotation: ClassVar[bool] = False


@dataclass(frozen=True)
class TRPMD(Method):
    """Thermostatted RPMD: Langevin on the internal modes, centroid free.

    Rossi, Ceriotti and Manolopoulos, J. Chem. Phys. 140, 234116 (2014).

    Parameters
    ----------
    damping
        λ of γ_k = 2λω_k; 1/2 is their recommendation.
    """

    damping: float = 0.5

    name: ClassVar[str] = "T-RPMD"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = False
    excites_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return a Langevin thermostat with γ_k = 2λω_k, hence γ_0 = 0."""
        friction = 2.0 * self.damping * ensemble.frequencies
        return LangevinThermostat.build(ensemble, friction)


@dataclass(frozen=True)
class PACMD(Method):
    """Partially adiabatic centroid molecular dynamics.

    The free-ring frequency of every internal mode is raised to Ω, above those of the
    molecule, so that the modes, thermostatted, average the force on the centroid, which
    is free (Cao and Voth, J. Chem. Phys. 100, 5106 (1994); Hone, Rossky and Voth, J. Chem.
    Phys. 124, 154103 (2006)). The slowest mode then runs Ω/ω_1 times faster, which needs
    a short time step. The curvature problem makes stretching bands too red and too broad.

    Parameters
    ----------
    frequency
        Ω [cm⁻¹].
    damping
        λ of the friction γ = 2λΩ of the internal modes.
    """

    frequency: float = 16000.0
    damping: float = 1.0

    name: ClassVar[str] = "PA-CMD"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = False
    excites_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return a Langevin thermostat with γ_k = 2λΩ but γ_0 = 0."""
        common = 2.0 * self.damping * wavenumber_to_angular_frequency(self.frequency)
        friction = torch.full_like(ensemble.frequencies, common)
        friction[0] = 0.0
        return LangevinThermostat.build(ensemble, friction)

    def pace(self, ensemble: Ensemble) -> Tensor:
        """Return Ω/ω_k, and 1 for the centroid.

        Raises
        ------
        ValueError
            The slowest internal mode would take steps of more than 1 fs of its own time.
        """
        pace = torch.ones_like(ensemble.frequencies)
        common = wavenumber_to_angular_frequency(self.frequency)
        pace[1:] = common / ensemble.frequencies[1:]
        longest = FEMTOSECOND / float(pace.max())
        if ensemble.timestep > longest:
            raise ValueError(
                f"{self.name} with its internal modes at {self.frequency:g} cm⁻¹ needs a timestep "
                f"of at most {longest / FEMTOSECOND:.3f} fs, got "
                f"{ensemble.timestep / FEMTOSECOND:g}; shorten it or lower the frequency"
            )
        return pace


@dataclass(frozen=True)
class PILEL(Method):
    """Path-integral Langevin with a local centroid thermostat, to sample the ensemble.

    Ceriotti, Parrinello, Markland and Manolopoulos, J. Chem. Phys. 133, 124104 (2010).

    Parameters
    ----------
    time_constant
        1/γ_0 of the centroid [fs].
    damping
        λ of γ_k = 2λω_k; 1 is critical damping of the free ring.
    """

    time_constant: float = 100.0
    damping: float = 1.0

    name: ClassVar[str] = "PILE-L"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return a Langevin thermostat with γ_0 = 1/τ and γ_k = 2λω_k."""
        friction = 2.0 * self.damping * ensemble.frequencies
        friction[0] = 1.0 / (self.time_constant * FEMTOSECOND)
        return LangevinThermostat.build(ensemble, friction)


@dataclass(frozen=True)
class PILEG(Method):
    """Path-integral Langevin with stochastic velocity rescaling of the centroid.

    Ceriotti, Parrinello, Markland and Manolopoulos, J. Chem. Phys. 133, 124104 (2010).

    Parameters
    ----------
    time_constant
        Relaxation time of the kinetic energy of the centroid [fs].
    damping
        λ of γ_k = 2λω_k on the internal modes.
    """

    time_constant: float = 100.0
    damping: float = 1.0

    name: ClassVar[str] = "PILE-G"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return rescaling of the centroid with Langevin on the rest."""
        return RescalingThermostat.build(
            ensemble,
            self.time_constant * FEMTOSECOND,
            2.0 * self.damping * ensemble.frequencies,
        )


@dataclass(frozen=True)
class PIGLE(Method):
    """Ring polymer with a generalised Langevin equation on every normal mode.

    With matrices fitted for the number of beads, PIGLET: Ceriotti and Manolopoulos,
    Phys. Rev. Lett. 109, 100604 (2012).

    Parameters
    ----------
    drift
        A_k, ``[n_beads, n + 1, n + 1]`` [1/fs], in the order of
        :func:`~eqcalc.dynamics.ring.ring_transform`.
    covariance
        C_k, same shape [K], on the scale of the beads, which are at P·T. None: C = P·T.
    """

    drift: Sequence[Sequence[Sequence[float]]]
    covariance: Sequence[Sequence[Sequence[float]]] | None = None

    name: ClassVar[str] = "PI+GLE"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = True

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return the propagator of the extended momenta of every mode."""
        return GLEThermostat.build(ensemble, self.drift, self.covariance)


#: Every method by name. GLE and PI+GLE have no default matrices.
METHODS: dict[str, type[Method]] = {
    m.name: m
    for m in (
        *(NVE, Langevin, VelocityRescaling, NoseHoover, GLE),
        *(RPMD, TRPMD, PACMD, PILEL, PILEG, PIGLE),
    )
}


def method_from(method: str | Method) -> Method:
    """Return a method given itself or its name, the latter with default parameters.

    Raises
    ------
    ValueError
        There is no method of that name.
    """
    if isinstance(method, Method):
        return method
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    try:
        return METHODS[method]()
    except TypeError:
        raise ValueError(
            f"{method} has parameters without defaults; pass "
            f"eqcalc.dynamics.methods.{METHODS[method].__name__}(...) instead of the name"
        ) from None


def _names(*, ring_polymer: bool) -> str:
    return ", ".join(m.name for m in METHODS.values() if m.ring_polymer is ring_polymer)


def _positive(method: Method) -> None:
    for item in fields(method):
        value = getattr(method, item.name)
        if not value > 0:
            raise ValueError(f"{method.name}: {item.name} must be positive, got {value}")
