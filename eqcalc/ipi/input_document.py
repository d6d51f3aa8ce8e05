# SPDX-License-Identifier: MIT
"""The XML of an input of i-PI, and what can be chosen in it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np

from eqcalc.ipi.description import (
    CONSTANT_PRESSURE,
    FREE_CENTROID,
    LAST_PORT,
    SOCKETS_PREFIX,
    InputError,
    array_in,
    check_socket,
)
from eqcalc.methods import DynamicsMethod, IPIDynamics
from eqcalc.quantities import quantity
from eqcalc.validation import count, existing_file, finite, located, number, positive, shape

#: Of a force field whose client has the correction of the potential.
OF_CLIENT = "of_the_client"
_FORCES = "energy+forces"
_FILE_NAME = re.compile(r"\w[\w.+-]*")

# --- what can be chosen ---------------------------------------------------------------


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

    def __post_init__(self) -> None:
        check_file_name("address", self.address)
        check_socket(SOCKETS_PREFIX, self.address)
        count("clients", self.clients)


@dataclass(frozen=True)
class TCPSocket:
    """Clients on any machine.

    Parameters
    ----------
    host, port
        Where i-PI listens on this machine; the host ``"0.0.0.0"`` stands for all its addresses.
    clients
        See :class:`UnixSocket`.
    """

    host: str
    port: int
    clients: int = 1

    def __post_init__(self) -> None:
        count("clients", self.clients)
        if count("port", self.port) > LAST_PORT:
            raise InputError(key="port", value=self.port, expected=f"at most {LAST_PORT}")


Connection = InProcess | UnixSocket | TCPSocket


@dataclass(frozen=True)
class Barostat:
    """Constant pressure of a cell, by a piston with a Langevin thermostat.

    Without `flexible` the cell keeps its shape (Bussi, Zykova-Timan and Parrinello, J. Chem. Phys.
    130, 074101 (2009)), with it all cell vectors move (Martyna, Hughes and Tuckerman, J. Chem.
    Phys. 110, 3275 (1999)).

    Parameters
    ----------
    pressure
        [bar].
    time_constant
        Of the piston and of its thermostat [fs].
    flexible
        For solids: whether the shape of the cell changes, too.
    """

    pressure: float = 1.0
    time_constant: float = 500.0
    flexible: bool = False

    def __post_init__(self) -> None:
        number("barostat.pressure", self.pressure, unit="bar")
        positive("barostat.time_constant", self.time_constant, unit="fs")

    def lines(self) -> list[str]:
        """Return the element of i-PI, as lines of XML."""
        time = f"<tau units='femtosecond'> {self.time_constant:g} </tau>"
        return [
            f"<barostat mode='{'flexible' if self.flexible else 'isotropic'}'> {time}",
            f"  <thermostat mode='langevin'> {time} </thermostat>",
            "</barostat>",
        ]


@dataclass(frozen=True)
class Strides:
    """How often what is written [steps]; zero: never.

    Parameters
    ----------
    spectra
        Bead-averaged dipole and polarizability. None: as close to 1 fs as the time step allows,
        and never at constant pressure.
    energies
        Temperature, energies.
    centroid
        Positions and velocities of the centroid.
    beads
        Positions of all beads.
    checkpoint
        Checkpoint from which a run that was killed is continued.
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
            if value is not None:
                count(f"strides.{name}", value, least=0)


def check_file_name(key: str, text: str) -> None:
    """Raise InputError unless a text can be a part of the name of a file."""
    if _FILE_NAME.fullmatch(text) is None:
        raise InputError(
            key=key,
            value=text,
            expected="a name of letters, digits and . _ + -, without folders and spaces",
        )


# --- the document ----------------------------------------------------------------------


@dataclass(frozen=True)
class InputDocument:
    """Everything that goes into one input.

    The response is what the model has of recorded quantities, such as the dipole; potential are
    the parameters of the potential besides its quantities. `structure` is the name of the file
    to start from, `starts` are checkpoints to start from instead; names without folder are
    beside the input. `periodic` says that the atoms fill a cell. Other fields: see
    :func:`~eqcalc.ipi.write_input`.
    """

    method: DynamicsMethod
    method_parameters: Mapping[str, Any]
    response: list[str]
    potential: Mapping[str, str]
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
    thermal_momenta: bool
    periodic: bool = False
    barostat: Barostat | None = None
    correction: Path | None = None

    @property
    def n_systems(self) -> int:
        """Number of systems."""
        return max(1, len(self.starts))

    @property
    def lazy(self) -> bool:
        """Whether dipole and polarizability are a force field of their own."""
        return isinstance(self.connection, InProcess) and bool(self.response)

    @property
    def at_centroid(self) -> bool:
        """Whether dipole and polarizability are those of the centroid, not means over beads."""
        return self._dynamics.response_at_centroid

    @property
    def _dynamics(self) -> IPIDynamics:
        assert self.method.ipi is not None
        return self.method.ipi

    def text(self) -> str:
        """Return the XML."""
        threading = self.n_systems > 1  # systems fill a batch together only in threads
        return "\n".join(
            [
                f"<!-- {self.method.name} of {self.potential['symbols']} by eqcalc; run with: "
                "eqcalc ipi run FILE -->",
                "<!-- 16 digits, so that a resumed run follows the one that never stopped -->",
                "<!-- the state is kept in memory for RESTART when spectra are written -->",
                f"<simulation verbosity='low' threading='{threading}' floatformat='%24.16e' "
                f"safe_stride='{self.strides.spectra or 1}'>",
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
        component = int(self.lazy)
        columns = [f"{quantity(name).ipi_property}({component})" for name in self.response]
        if columns and strides.spectra:
            lines += [
                f"    <!-- {' and '.join(self.response)} in atomic units, averaged over the beads "
                "-->",
                f"    <properties filename='spectra' stride='{strides.spectra}' flush='100'> [ "
                f"step, time{{femtosecond}}, {', '.join(columns)} ] </properties>",
            ]
        if strides.energies:
            of_cell = ", cell_h{ase}, pressure_cv{bar}" if self.periodic else ""
            lines += [
                f"    <properties filename='energies' stride='{strides.energies}' flush='100'> [ "
                "step, time{femtosecond}, conserved{electronvolt}, temperature{kelvin}, "
                f"potential{{electronvolt}}, kinetic_cv{{electronvolt}}{of_cell} ] </properties>",
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
                    beads = 1 if self.at_centroid else self.beads
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
            f"    <parameters> {self._parameters(quantities, forces=name == 'eqcalc')} "
            "</parameters>",
            "  </ffdirect>",
        ]

    def _socket(self, mode: str, where: list[str], quantities: str, clients: int) -> list[str]:
        total = self.beads * self.n_systems
        if total % clients:
            raise InputError(
                key="clients",
                value=clients,
                expected=f"a divisor of the {total} beads of all systems",
            )
        if self.at_centroid and self.response:
            raise InputError(
                key="connection",
                value=mode,
                expected=f"the model in process, for {self.method.name} takes the dipole at the "
                "centroid",
            )
        return [
            f"  <!-- to be served by {clients} of: eqcalc ipi client MODEL, with this address -->",
            f"  <ffsocket name='eqcalc' mode='{mode}' pbc='false'>",
            f"    {' '.join(where)}",
            "    <!-- beads of one message; all clients together have all beads -->",
            f"    <batch_size> {total // clients} </batch_size>",
            "    <!-- what i-PI tells a client that connects -->",
            f"    <parameters> {self._parameters(quantities, socket=True)} </parameters>",
            "  </ffsocket>",
        ]

    def _parameters(self, quantities: str, *, forces: bool = True, socket: bool = False) -> str:
        """Return the parameters of the model; a client has its own models and device."""
        local = ("model", "device", "precision")
        chosen = {k: v for k, v in self.potential.items() if not (socket and k in local)}
        if self.periodic:
            chosen["periodic"] = "True"
        if self.correction is not None and forces:
            chosen["correction"] = OF_CLIENT if socket else str(self.correction)
        pairs = [f"{key}: {escape(value)}" for key, value in chosen.items()]
        return f"{{{', '.join([*pairs, f'quantities: {quantities}'])}}}"

    # --- the systems ------------------------------------------------------------------

    def _systems(self) -> list[str]:
        if len(self.starts) < 2:
            begin = (
                f"      <file mode='chk'> {escape(str(self.starts[0]))} </file>"
                if self.starts
                else f"      <file mode='ase'> {escape(self.structure)} </file>"
            )
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
            *self._system("      <file mode='chk'> START </file>"),
            "    </system> </template>",
            "  </system_template>",
        ]

    def _system(self, begin: str) -> list[str]:
        momenta = (
            f"      <velocities mode='thermal' units='kelvin'> {self.temperature:g} </velocities>"
        )
        forces = ["    <forces>", "      <force forcefield='eqcalc'/>"]
        mode: str = self._dynamics.mode
        barostat, pressure = [], ""
        if self.barostat is not None:
            mode, barostat = CONSTANT_PRESSURE, self.barostat.lines()
            pressure = f" <pressure units='bar'> {self.barostat.pressure:g} </pressure>"
        if self.lazy:
            beads = " nbeads='1'" if self.at_centroid else ""
            forces.append(f"      <force forcefield='response' weight='0'{beads}/>")
        return [
            f"    <initialize nbeads='{self.beads}'>",
            begin,
            *([momenta] if self.thermal_momenta else []),
            "    </initialize>",
            *forces,
            "    </forces>",
            f"    <ensemble> <temperature units='kelvin'> {self.temperature:g} </temperature>"
            f"{pressure} </ensemble>",
            *(f"    {line}" for line in normal_modes(self.method, self.method_parameters)),
            f"    <motion mode='dynamics'> <dynamics mode='{mode}'>",
            f"      <timestep units='femtosecond'> {self.timestep:g} </timestep>",
            *(f"      {line}" for line in barostat),
            *(f"      {line}" for line in thermostat(self.method, self.method_parameters)),
            "    </dynamics> </motion>",
        ]


# --- dynamics methods as elements -----------------------------------------------------


def thermostat(method: DynamicsMethod, parameters: Mapping[str, Any]) -> list[str]:
    """Return the thermostat of a method with all of its parameters, as lines of XML."""
    assert method.ipi is not None
    if not method.ipi.thermostats:
        return []
    mode = method.ipi.thermostats[0]
    if "matrices" in parameters:
        return [f"<thermostat mode='{mode}'>", *parameters["matrices"], "</thermostat>"]
    free = method.ipi.free_centroid
    time_constant = 1e6 * FREE_CENTROID if free else parameters["time_constant"]
    damping = parameters.get("damping")
    scale = "" if damping is None else f" <pile_lambda> {damping:g} </pile_lambda>"
    return [
        *(["<!-- a time constant without end: nothing acts on the centroid -->"] if free else []),
        f"<thermostat mode='{mode}'> <tau units='femtosecond'> {time_constant:g} </tau>{scale} "
        "</thermostat>",
    ]


def normal_modes(method: DynamicsMethod, parameters: Mapping[str, Any]) -> list[str]:
    """Return the frequencies of the ring polymer, if the method changes them, as lines of XML."""
    assert method.ipi is not None
    if not method.ipi.frequencies:
        return []
    return [
        "<!-- the internal modes are fast, so that the centroid moves in their mean force -->",
        f"<normal_modes> <frequencies style='{method.ipi.frequencies[0]}' units='inversecm'> "
        f"[ {parameters['frequency']:g} ] </frequencies> </normal_modes>",
    ]


def read_matrices(path: str | Path, n_beads: int) -> list[str]:
    """Read the matrices of a generalised Langevin equation, and return both elements, as XML.

    The file has the elements ``<A>`` and ``<C>``, ``[n_beads, n + 1, n + 1]`` each, as the
    generator at gle4md.org writes them for a temperature and number of beads. Raises
    InvalidInputError if it does not.
    """
    path = existing_file(path, "matrices of gle4md.org in the format of i-PI")
    try:
        root = ElementTree.fromstring(f"<all>{path.read_text(encoding='utf-8')}</all>")
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise InputError(f"is not XML ({error})", file=path) from None
    texts, size = [], 0
    for tag in ("A", "C"):
        element = root.find(f".//{tag}")
        if element is None:
            raise InputError(
                file=path, key=tag, expected="this element", advice="is it in the format of i-PI?"
            )
        with located(file=path):
            matrix = shape(tag, finite(tag, _matrix(element)), (n_beads, size or "n", size or "n"))
        size = matrix.shape[1]
        texts.append(ElementTree.tostring(element, encoding="unicode").strip())
    return texts


def _matrix(element: ElementTree.Element) -> np.ndarray:
    """Return an array of i-PI in its stated shape."""
    try:
        lengths = tuple(int(word) for word in element.get("shape", "").strip("() ").split(","))
        return array_in(element.tag, element.text or "").reshape(lengths)
    except ValueError as error:
        raise InputError(f"cannot be read ({error})", key=element.tag) from None
