# SPDX-License-Identifier: MIT
"""The XML of an input of i-PI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from eqcalc.ipi.description import InputError
from eqcalc.ipi.input_options import Connection, InProcess, Strides, TCPSocket, UnixSocket
from eqcalc.ipi.methods import normal_modes, thermostat
from eqcalc.methods import DynamicsMethod, IPIDynamics
from eqcalc.quantities import quantity

_FORCES = "energy+forces"


@dataclass(frozen=True)
class InputDocument:
    """Everything that goes into one input.

    Parameters
    ----------
    method
        The dynamics.
    method_parameters
        All of its parameters.
    response
        What the model has of quantities that are recorded: dipole, polarizability and the like.
    potential
        Parameters of the potential, besides its quantities.
    connection
        How the model is reached.
    strides
        What is written; that of the spectra is given.
    beads, temperature, timestep, steps, seed, prefix
        As of :func:`~eqcalc.ipi.input.write_input`.
    structure
        Name of the structure to start from, beside the input.
    starts
        Checkpoints to start from instead; a name without folder is beside the input.
    thermal_momenta
        Momenta are drawn by i-PI, and not those of the checkpoints.
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
            f"    <parameters> {self._parameters(quantities)} </parameters>",
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
            f"    <parameters> {self._parameters(quantities, model=False)} </parameters>",
            "  </ffsocket>",
        ]

    def _parameters(self, quantities: str, *, model: bool = True) -> str:
        """Return the parameters of the model; a client has its own model and device."""
        local = ("model", "device", "precision")
        chosen = {k: v for k, v in self.potential.items() if model or k not in local}
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
            f"    <ensemble> <temperature units='kelvin'> {self.temperature:g} </temperature> "
            "</ensemble>",
            *(f"    {line}" for line in normal_modes(self.method, self.method_parameters)),
            f"    <motion mode='dynamics'> <dynamics mode='{self._dynamics.mode}'>",
            f"      <timestep units='femtosecond'> {self.timestep:g} </timestep>",
            *(f"      {line}" for line in thermostat(self.method, self.method_parameters)),
            "    </dynamics> </motion>",
        ]
