# SPDX-License-Identifier: MIT
"""The commands ``eqcalc ipi input``, ``run`` and ``client``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqcalc.cli.arguments import (
    add_device,
    add_dynamics,
    add_flag,
    add_model,
    add_number,
    add_precision,
    add_text,
    add_threads,
    chosen,
    configure_process,
    file_in_output_folder,
    number_from_zero,
    positive_count,
    tell_next,
)
from eqcalc.methods import method_names
from eqcalc.validation import InvalidInputError

if TYPE_CHECKING:
    from eqcalc.ipi.input_document import Connection

_SPECTRA = (
    "interval of dipole moment and polarizability [fs]; 0: none (default 1, with --pressure 0)"
)
_PRESSURE = "pressure [bar] of a cell that fluctuates (default: constant volume)"
#: Default equilibration [fs], as in simulate.
_EQUILIBRATION = 500.0


def add_ipi_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands below ``eqcalc ipi``."""
    commands = parser.add_subparsers(dest="ipi_command", required=True, metavar="COMMAND")

    def add(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(ipi=run, parser=command)
        return command

    _add_input(add("input", _input, "Write a complete, commented i-PI input."))
    command = add(
        "run",
        _run,
        "Run or resume i-PI. Exit status: 0 complete, 75 stopped by SIGTERM, 130 by Ctrl-C, 69 no "
        "client answered, 70 failed (also if a molecule dissociates or heats up). Rerun the same "
        "command to resume from the last checkpoint.",
    )
    command.add_argument("input", type=Path, help="i-PI input (.xml)")
    add_number(command, "--timeout", 600.0, "timeout of a step [s]")
    add_threads(command)
    _add_client(
        add("client", _client, "Serve energies and forces to i-PI over a unix or TCP socket.")
    )


def _add_input(command: argparse.ArgumentParser) -> None:
    add_model(command)
    command.add_argument("molecule", type=Path, nargs="?", help="initial structure")
    command.add_argument(
        "--start", type=Path, nargs="+", default=[], help="start from these checkpoints instead"
    )
    text = "i-PI input to write (.xml)"
    command.add_argument("--output", type=file_in_output_folder, required=True, help=text)
    command.add_argument("--method", required=True, help=", ".join(method_names(engine="i-PI")))
    command.add_argument(
        "--matrices", type=Path, metavar="FILE", help="matrices for PIGLET, from gle4md.org"
    )
    add_dynamics(command, timestep=0.25)
    text = (
        "thermostatted dynamics by eqcalc beforehand [fs], from whose positions and momenta i-PI "
        f"starts; 0: none (default {_EQUILIBRATION:g}; not with --start)"
    )
    add_number(command, "--equilibration", None, text, number_from_zero, metavar="FS")
    add_text(command, "--prefix", "simulation", "prefix of the output files")
    _add_address(command, "use a unix socket instead of running the model in process")
    text = "number of clients (default 1)"
    add_number(command, "--clients", None, text, positive_count)
    add_number(command, "--spectra", None, _SPECTRA, number_from_zero, metavar="FS")
    command.add_argument("--pressure", type=float, help=_PRESSURE)
    add_flag(command, "--flexible", "with --pressure: the shape of the cell changes, too")
    command.add_argument("--correction", type=Path, help="for Te-PIGS, unless a client has it")
    text = "interval of numbered checkpoints [fs]; 0: none"
    add_number(command, "--checkpoints", 0.0, text, number_from_zero)
    text = "interval of bead positions [fs]; 0: none"
    add_number(command, "--bead-positions", 0.0, text, number_from_zero)
    add_device(command, None)
    command.add_argument(
        "--charge", type=float, help="total charge [e] (default: from the structure)"
    )


def _add_client(command: argparse.ArgumentParser) -> None:
    add_model(command)
    _add_address(command, "name of the unix socket")
    add_text(command, "--prefix", "/tmp/ipi_", "prefix of the socket (sockets_prefix of i-PI)")
    command.add_argument(
        "--molecule", type=Path, help="structure, if the i-PI input does not give the elements"
    )
    command.add_argument("--correction", type=Path, help="correction of the potential, for Te-PIGS")
    add_device(command, None)
    add_precision(command)
    add_number(command, "--wait", 60.0, "timeout for connecting [s]")
    add_number(command, "--timeout", 600.0, "timeout for messages [s]")
    add_flag(command, "--reconnect", "if i-PI disconnects, wait for it to restart")
    add_threads(command)


def _add_address(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--unix", metavar="NAME", help=text)
    command.add_argument("--host", help="host of a TCP socket")
    command.add_argument("--port", type=positive_count, help="port of a TCP socket")


# --- implementation -----------------------------------------------------------------


def _run(options: argparse.Namespace) -> None:
    from eqcalc.ipi.engine import run_in_this_process
    from eqcalc.ipi.launcher import ExitStatus, exit_now

    configure_process(options)
    outcome = run_in_this_process(options.input, timeout=options.timeout)
    print(f"eqcalc ipi: {outcome.message}")
    if outcome.status == ExitStatus.COMPLETE:
        folder = options.input.parent
        tell_next("spectra", folder, "--output", folder / "spectra")
    exit_now(outcome.status)


def _client(options: argparse.Namespace) -> None:
    from eqcalc.ipi import Address, serve
    from eqcalc.molecules import read_structure

    configure_process(options)
    symbols = None if options.molecule is None else str(read_structure(options.molecule).symbols)
    service = serve(
        options.model,
        Address(options.unix, options.host, options.port, options.prefix),
        symbols=symbols,
        patience=options.wait,
        idle=options.timeout,
        **chosen(options, "device", "precision", "reconnect", "correction"),
    )
    print(f"eqcalc ipi: {service.structures} structures in {service.calls} calls")


def _input(options: argparse.Namespace) -> None:
    from eqcalc.dynamics import Equilibration
    from eqcalc.ipi import Barostat, InProcess, Strides, write_input
    from eqcalc.molecules import read_structure, warn_of_ignored

    def stride(femtoseconds: float) -> int:
        return max(1, round(femtoseconds / options.timestep)) if femtoseconds else 0

    duration = options.equilibration
    if duration is None:
        duration = 0.0 if options.start else _EQUILIBRATION
    connection = _connection(options)
    if options.flexible and options.pressure is None:
        raise InvalidInputError(key="--flexible", expected="--pressure with it")
    barostat = None
    if options.pressure is not None:
        barostat = Barostat(options.pressure, flexible=options.flexible)
    configure_process(options)
    atoms = None if options.molecule is None else read_structure(options.molecule)
    if atoms is not None:
        warn_of_ignored(atoms)
    path = write_input(
        options.output,
        options.model,
        method_parameters={} if options.matrices is None else {"matrices": options.matrices},
        steps=stride(1000.0 * options.time),
        atoms=atoms,
        starts=options.start,
        connection=connection,
        strides=Strides(
            spectra=None if options.spectra is None else stride(options.spectra),
            series=stride(options.checkpoints),
            beads=stride(options.bead_positions),
        ),
        barostat=barostat,
        equilibration=Equilibration(duration) if duration else None,
        **chosen(options, "method", "temperature", "timestep", "beads", "seed", "device"),
        **chosen(options, "precision", "charge", "prefix", "progress", "correction"),
    )
    if atoms is not None and not duration:
        print("not equilibrated: use this run for checkpoints to start from, not for spectra")
    tell_next("ipi", "run", path)
    if not isinstance(connection, InProcess):
        where = (
            f"--host {options.host} --port {options.port}"
            if options.unix is None
            else f"--unix {options.unix}"
        )
        print(f"and {connection.clients} of: eqcalc ipi client {options.model} {where}")


def _connection(options: argparse.Namespace) -> Connection:
    from eqcalc.ipi import InProcess, TCPSocket, UnixSocket

    given = (options.unix is not None, options.host is not None, options.port is not None)
    if given == (True, False, False):
        return UnixSocket(options.unix, options.clients or 1)
    if given == (False, True, True):
        return TCPSocket(options.host, options.port, options.clients or 1)
    if any(given) or options.clients is not None:
        raise InvalidInputError(
            key="--unix, --host, --port, --clients",
            expected="--unix NAME, or both --host and --port; --clients only with these",
        )
    return InProcess()
