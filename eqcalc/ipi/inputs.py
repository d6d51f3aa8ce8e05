# SPDX-License-Identifier: MIT
"""Complete, commented inputs of i-PI for every ensemble that spectra are made from."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import ase.io
import numpy as np
from ase import Atoms

from eqcalc.ipi.description import Description, InputError
from eqcalc.ipi.methods import METHODS, IPIMethod
from eqcalc.models.checkpoint import read_header
from eqcalc.trajectory import write_atomically

__all__ = ["InProcess", "Strides", "TCPSocket", "UnixSocket", "write_input"]

_FORCES = "energy+forces"
_RESPONSE = "dipole+polarizability"
#: Empty space around the molecule [Å]; i-PI wants a cell, the model ignores it.
_MARGIN = 50.0


@dataclass(frozen=True)
class InProcess:
    """The model runs inside i-PI; dipole and polarizability are evaluated at outputs only."""


@dataclass(frozen=True)
class UnixSocket:
    """Clients on the same machine.

    Parameters
    ----------
    address
        Name of the socket; by default one that nobody else uses.
    clients
        How many will connect; the beads are divided among them.
    """

    address: str = field(default_factory=lambda: f"eqcalc-{secrets.token_hex(4)}")
    clients: int = 1


@dataclass(frozen=True)
class TCPSocket:
    """Clients on any machine.

    Parameters
    ----------
    host
        Address of this machine on which i-PI listens; ``"0.0.0.0"`` for all of them.
    port
        The port.
    clients
        How many will connect; the beads are divided among them.
    """

    host: str
    port: int
    clients: int = 1


Connection = InProcess | UnixSocket | TCPSocket


@dataclass(frozen=True)
class Strides:
    """How often what is written [steps]; zero: never.

    Parameters
    ----------
    spectra
        Bead-averaged dipole and polarizability. None: the time step that comes next to 1 fs.
    energies
        Temperature, energies.
    centroid
        Positions and velocities of the centroid.
    beads
        Positions of all beads.
    checkpoint
        Checkpoint from which a run that was killed goes on.
    series
        Numbered checkpoints from which other runs start.
    """

    spectra: int | None = None
    energies: int = 40
    centroid: int = 40
    beads: int = 0
    checkpoint: int = 1000
    series: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value < 0:
                raise InputError(f"the stride of {name} must not be negative, got {value}")


def write_input(
    path: str | Path,
    model: str | Path,
    *,
    method: str | IPIMethod,
    steps: int,
    atoms: Atoms | None = None,
    starts: Sequence[str | Path] = (),
    temperature: float = 300.0,
    timestep: float = 0.25,
    beads: int = 1,
    seed: int = 0,
    connection: Connection | None = None,
    strides: Strides | None = None,
    device: str | None = None,
    dtype: str | None = None,
    charge: float = 0.0,
    prefix: str = "simulation",
) -> Path:
    """Write an input of i-PI, and beside it the structure that it starts from.

    Parameters
    ----------
    path
        The input (``.xml``).
    model
        Model file.
    method
        ``"NVE"``, ``"Langevin"``, ``"SVR"``, ``"RPMD"``, ``"T-RPMD"``, ``"PILE-L"``,
        ``"PILE-G"``, ``"PA-CMD"``, or an object of :mod:`eqcalc.ipi.methods`, such as
        ``PIGLET(matrices)``.
    steps
        Length of the run.
    atoms
        The molecule, with its masses, to start from with thermal velocities.
    starts
        Instead of `atoms`: checkpoints of an equilibrated run. Each starts one independent
        system with its positions and momenta; all are evaluated in one call.
    temperature, timestep
        [K], [fs].
    beads
        Beads of each ring polymer.
    seed
        Of all random numbers.
    connection
        How the model is reached; in process by default.
    strides
        What is written, how often.
    device, dtype, charge
        As of :class:`~eqcalc.ipi.eqcalc_driver.EqcalcDriver`.
    prefix
        Of the outputs.

    Returns
    -------
    Path
        The input.

    Raises
    ------
    InputError
        Something does not fit together; the message says what.
    FileExistsError
        The input exists.
    """
    path = Path(path)
    structure = path.with_name(f"{path.stem}.start.extxyz")
    for target in (path, structure):
        if target.exists():
            raise FileExistsError(f"{target} exists and is never overwritten")
    method = METHODS[method]() if isinstance(method, str) and method in METHODS else method
    if isinstance(method, str):
        raise InputError(
            f"unknown method {method!r}; expected one of {', '.join(METHODS)}, or PIGLET with "
            "matrices"
        )
    method.check(beads)
    model = Path(model).resolve()
    if "," in str(model):
        raise InputError(f"i-PI cannot pass on a path with a comma: {model}")
    names = read_header(model)["model"]["heads"]
    spectra = max(1, round(1.0 / timestep))
    strides = Strides() if strides is None else strides
    strides = Strides(
        **{**vars(strides), "spectra": spectra if strides.spectra is None else strides.spectra}
    )
    if (atoms is None) == (not starts):
        raise InputError("give either the molecule or checkpoints to start from")
    checkpoints = [Path(start).resolve() for start in starts]
    symbols = str(atoms.symbols) if atoms is not None else _symbols(checkpoints, beads)
    parameters = {"model": str(model), "symbols": symbols, "charge": f"{charge:g}"}
    parameters |= {k: v for k, v in (("device", device), ("dtype", dtype)) if v is not None}
    writer = _Writer(
        method=method,
        response=[name for name in ("dipole", "polarizability") if name in names],
        parameters=parameters,
        connection=InProcess() if connection is None else connection,
        strides=strides,
        beads=beads,
        temperature=temperature,
        timestep=timestep,
        steps=steps,
        seed=seed,
        prefix=prefix,
        structure=structure.name,
        starts=tuple(checkpoints),
    )
    text = writer.text()
    Description(text, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if atoms is not None:
        _write_structure(structure, atoms)
    write_atomically(path, text.encode())
    return path


def _symbols(checkpoints: Sequence[Path], beads: int) -> str:
    """Return the molecule of the checkpoints.

    Raises
    ------
    InputError
        They are of different molecules, or have other numbers of beads.
    """
    found = set()
    for checkpoint in checkpoints:
        systems = Description.read(checkpoint).systems()
        if len(systems) != 1:
            raise InputError(
                f"{checkpoint} has {len(systems)} systems, of which i-PI would take the first; "
                "equilibrate one system"
            )
        if systems[0].n_beads != beads:
            raise InputError(
                f"{checkpoint} has {systems[0].n_beads} beads, the run {beads}; equilibrate with "
                "the same number"
            )
        found.add(str(Atoms(systems[0].numbers).symbols))
    if len(found) != 1:
        raise InputError(f"the checkpoints are of different molecules: {', '.join(sorted(found))}")
    return found.pop()


def _write_structure(path: Path, atoms: Atoms) -> None:
    structure = Atoms(
        atoms.symbols, positions=atoms.positions, masses=atoms.get_masses(), pbc=False
    )
    structure.cell = np.diag(np.ptp(atoms.positions, axis=0) + _MARGIN)
    structure.center()
    ase.io.write(path, structure, format="extxyz", columns=["symbols", "positions", "masses"])


@dataclass(frozen=True)
class _Writer:
    """Everything that goes into one input."""

    method: IPIMethod
    response: list[str]
    parameters: dict[str, str]
    connection: Connection
    strides: Strides
    beads: int
    temperature: float
    timestep: float
    steps: int
    seed: int
    prefix: str
    structure: str
    starts: tuple[Path, ...]

    @property
    def n_systems(self) -> int:
        return max(1, len(self.starts))

    @property
    def lazy(self) -> bool:
        """Whether dipole and polarizability are a force field of their own."""
        return isinstance(self.connection, InProcess) and bool(self.response)

    def text(self) -> str:
        threading = self.n_systems > 1  # systems fill a batch together only in threads
        return "\n".join(
            [
                f"<!-- {self.method.name} of {self.parameters['symbols']} by eqcalc; run with: "
                "eqcalc ipi run FILE -->",
                "<!-- 16 digits, so that a run that goes on follows the one that never stopped -->",
                f"<simulation verbosity='low' threading='{threading}' floatformat='%24.16e'>",
                *self._output(),
                f"  <total_steps> {self.steps} </total_steps>",
                f"  <prng> <seed> {self.seed} </seed> </prng>",
                *self._forcefields(),
                *self._systems(),
                "</simulation>",
                "",
            ]
        )

    # --- outputs ----------------------------------------------------------------------

    def _output(self) -> list[str]:
        strides = self.strides
        lines = [f"  <output prefix='{escape(self.prefix)}'>"]
        averages = {"dipole": "mu_mean", "polarizability": "alpha_mean"}
        component = int(self.lazy)
        columns = [f"{averages[name]}({component})" for name in self.response]
        if columns and strides.spectra:
            lines += [
                "    <!-- dipole (e bohr) and polarizability (e^2 bohr^2/hartree), averaged over "
                "the beads -->",
                f"    <properties filename='spectra' stride='{strides.spectra}' flush='100'> [ "
                f"step, time{{femtosecond}}, {', '.join(columns)} ] </properties>",
            ]
        if strides.energies:
            lines += [
                f"    <properties filename='energies' stride='{strides.energies}' flush='100'> [ "
                "step, time{femtosecond}, conserved{electronvolt}, temperature{kelvin}, "
                "potential{electronvolt}, kinetic_cv{electronvolt} ] </properties>",
            ]
        for name, what, stride in (
            ("centroid", "x_centroid{ase}", strides.centroid),
            ("centroid-velocities", "v_centroid{ase}", strides.centroid),
            ("beads", "positions{ase}", strides.beads),
        ):
            if stride:
                lines += [
                    f"    <trajectory filename='{name}' stride='{stride}' flush='100' "
                    f"format='ase'> {what} </trajectory>"
                ]
        if strides.checkpoint:
            lines += [
                f"    <checkpoint filename='checkpoint' stride='{strides.checkpoint}' "
                "overwrite='true'/>"
            ]
        if strides.series:
            lines += [
                "    <!-- numbered checkpoints, from which other runs start -->",
                f"    <checkpoint filename='start' stride='{strides.series}' overwrite='false'/>",
            ]
        return [*lines, "  </output>"]

    # --- the model --------------------------------------------------------------------

    def _forcefields(self) -> list[str]:
        everything = "+".join([_FORCES, *self.response])
        match self.connection:
            case InProcess():
                lines = self._direct("eqcalc", _FORCES, self.beads)
                if self.lazy:
                    beads = 1 if self.method.at_centroid else self.beads
                    lines += [
                        "  <!-- a component of weight 0 is evaluated only when an output asks for "
                        "it -->",
                        *self._direct("response", "+".join(self.response), beads),
                    ]
                return lines
            case UnixSocket(address, clients):
                where = [f"<address> {escape(address)} </address>"]
                return self._socket("unix", where, everything, clients)
            case TCPSocket(host, port, clients):
                where = [f"<address> {escape(host)} </address>", f"<port> {port} </port>"]
                return self._socket("inet", where, everything, clients)

    def _direct(self, name: str, quantities: str, beads: int) -> list[str]:
        driver = Path(__file__).with_name("eqcalc_driver.py")
        return [
            f"  <ffdirect name='{name}' pbc='false'>",
            f"    <pes> custom </pes> <pes_path> {escape(str(driver))} </pes_path>",
            "    <!-- all beads of all systems in one call -->",
            f"    <batch_size> {beads * self.n_systems} </batch_size>",
            f"    <parameters> {self._parameters(quantities)} </parameters>",
            "  </ffdirect>",
        ]

    def _socket(self, mode: str, where: list[str], quantities: str, clients: int) -> list[str]:
        total = self.beads * self.n_systems
        if total % clients:
            raise InputError(f"{total} beads cannot be divided among {clients} clients")
        if self.method.at_centroid and self.response:
            raise InputError(
                f"{self.method.name} takes the dipole at the centroid, which needs the model in "
                "process"
            )
        return [
            f"  <!-- to be served by {clients} of: eqcalc ipi client MODEL, with this address -->",
            f"  <ffsocket name='eqcalc' mode='{mode}' pbc='false'>",
            f"    {' '.join(where)}",
            "    <!-- beads of one message; all clients together have all beads -->",
            f"    <batch_size> {total // clients} </batch_size>",
            "    <!-- what i-PI tells a client that connects -->",
            f"    <parameters> {self._parameters(quantities, model=False)} </parameters>",
            "  </ffsocket>",
        ]

    def _parameters(self, quantities: str, *, model: bool = True) -> str:
        """Return the parameters of the model; a client has its own model and device."""
        local = ("model", "device", "dtype")
        chosen = {k: v for k, v in self.parameters.items() if model or k not in local}
        pairs = [f"{key}: {escape(value)}" for key, value in chosen.items()]
        return f"{{{', '.join([*pairs, f'quantities: {quantities}'])}}}"

    # --- the systems ------------------------------------------------------------------

    def _systems(self) -> list[str]:
        if not self.starts:
            begin = [
                f"      <file mode='ase'> {escape(self.structure)} </file>",
                f"      <velocities mode='thermal' units='kelvin'> {self.temperature:g} "
                "</velocities>",
            ]
            return ["  <system>", *self._system(begin), "  </system>"]
        if len(self.starts) == 1:
            begin = [f"      <file mode='chk'> {escape(str(self.starts[0]))} </file>"]
            return ["  <system>", *self._system(begin), "  </system>"]
        width = max(3, len(str(self.n_systems - 1)))
        return [
            "  <!-- independent systems, each with positions and momenta of one checkpoint -->",
            "  <system_template>",
            "    <labels> [ INDEX, START ] </labels>",
            *(
                f"    <instance> [ {index:0{width}d}, {escape(str(start))} ] </instance>"
                for index, start in enumerate(self.starts)
            ),
            "    <template> <system prefix='sINDEX'>",
            *self._system(["      <file mode='chk'> START </file>"]),
            "    </system> </template>",
            "  </system_template>",
        ]

    def _system(self, begin: list[str]) -> list[str]:
        forces = ["    <forces>", "      <force forcefield='eqcalc'/>"]
        if self.lazy:
            beads = " nbeads='1'" if self.method.at_centroid else ""
            forces.append(f"      <force forcefield='response' weight='0'{beads}/>")
        return [
            f"    <initialize nbeads='{self.beads}'>",
            *begin,
            "    </initialize>",
            *forces,
            "    </forces>",
            f"    <ensemble> <temperature units='kelvin'> {self.temperature:g} </temperature> "
            "</ensemble>",
            *(f"    {line}" for line in self.method.normal_modes()),
            f"    <motion mode='dynamics'> <dynamics mode='{self.method.ensemble}'>",
            f"      <timestep units='femtosecond'> {self.timestep:g} </timestep>",
            *(f"      {line}" for line in self.method.thermostat()),
            "    </dynamics> </motion>",
        ]
