# SPDX-License-Identifier: MIT
"""The commands ``eqcalc ipi input``, ``run`` and ``client``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase import Atoms

    from eqcalc.ipi.choices import Connection
    from eqcalc.ipi.methods import IPIMethod

__all__ = ["add_ipi_commands"]

_METHODS = "NVE, Langevin, SVR, RPMD, T-RPMD, PILE-L, PILE-G, PA-CMD or PIGLET"
_PRECISIONS = "float64, float32, tf32 or bf16"


def add_ipi_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands below ``eqcalc ipi``."""
    commands = parser.add_subparsers(dest="ipi_command", required=True, metavar="COMMAND")

    def add(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(ipi=run)
        return command

    _add_input(add("input", _input, "Write a complete, commented input of i-PI."))
    command = add(
        "run",
        _run,
        "Run or continue i-PI. Exit status: 0 complete, 75 stopped on request, 69 no client "
        "answered, 70 failed; except after 0 the same command goes on from the last checkpoint.",
    )
    command.add_argument("input", type=Path, help="input of i-PI (.xml)")
    command.add_argument(
        "--timeout", type=_seconds, default=600.0, help="s without a finished step (default 600)"
    )
    _add_threads(command)
    _add_client(
        add("client", _client, "Provide i-PI with energies and forces over a unix or TCP socket.")
    )


def _add_input(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=Path)
    command.add_argument("molecule", type=Path, nargs="?", help="structure to start from")
    command.add_argument(
        "--start", type=Path, nargs="+", default=[], help="checkpoints to start from instead"
    )
    command.add_argument("--output", type=Path, required=True, help="input to write (.xml)")
    command.add_argument("--method", required=True, help=_METHODS)
    command.add_argument("--matrices", type=Path, help="of PIGLET, as gle4md.org writes them")
    command.add_argument("--beads", type=int, default=1)
    command.add_argument("--temperature", type=float, default=300.0, help="K (default 300)")
    command.add_argument("--timestep", type=float, default=0.25, help="fs (default 0.25)")
    command.add_argument("--time", type=float, default=5.0, help="ps (default 5)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--prefix", default="simulation", help="of the outputs of i-PI")
    _add_address(command, "i-PI listens on a unix socket; without it the model is in process")
    command.add_argument("--clients", type=int, default=1, help="how many will connect")
    command.add_argument(
        "--checkpoints", type=float, default=0.0, help="fs between numbered checkpoints"
    )
    command.add_argument(
        "--bead-positions", type=float, default=0.0, help="fs between positions of all beads"
    )
    command.add_argument("--device", help="of the network")
    command.add_argument("--precision", help=f"{_PRECISIONS} (default: as stored)")
    command.add_argument("--charge", type=float, default=0.0, help="total charge [e]")


def _add_client(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=Path)
    _add_address(command, "name of the unix socket")
    command.add_argument("--prefix", default="/tmp/ipi_", help="sockets_prefix of i-PI")
    command.add_argument(
        "--molecule", type=Path, help="structure, if the input of i-PI does not name the elements"
    )
    command.add_argument("--device", help="of the network")
    command.add_argument("--precision", help=f"{_PRECISIONS} (default: as stored)")
    command.add_argument(
        "--wait", type=_seconds, default=60.0, help="s to try to connect (default 60)"
    )
    command.add_argument(
        "--timeout", type=_seconds, default=600.0, help="s without a message (default 600)"
    )
    command.add_argument(
        "--reconnect", action="store_true", help="when i-PI goes away, wait for the next one"
    )
    _add_threads(command)


def _add_address(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--unix", metavar="NAME", help=text)
    command.add_argument("--host", help="host of a TCP socket")
    command.add_argument("--port", type=int, help="port of a TCP socket")


def _add_threads(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=int, default=1, help="CPU threads of the network")


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0.0:
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds, got {text}")
    return value


# --- what they do -----------------------------------------------------------------


def _own_the_process(threads: int) -> None:
    import torch

    from eqcalc.runtime.memory import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(threads)


def _run(options: argparse.Namespace) -> None:
    from eqcalc.ipi.launcher import run_in_this_process
    from eqcalc.ipi.status import leave_at_once

    _own_the_process(options.threads)
    outcome = run_in_this_process(options.input, timeout=options.timeout)
    print(f"eqcalc ipi: {outcome.message}")
    leave_at_once(outcome.status)


def _client(options: argparse.Namespace) -> None:
    from eqcalc.ipi.client import Address, serve

    _own_the_process(options.threads)
    symbols = None if options.molecule is None else str(_read(options.molecule).symbols)
    service = serve(
        options.model,
        Address(options.unix, options.host, options.port, options.prefix),
        symbols=symbols,
        device=options.device,
        precision=options.precision,
        patience=options.wait,
        idle=options.timeout,
        reconnect=options.reconnect,
    )
    print(f"eqcalc ipi: {service.structures} structures in {service.calls} calls")


def _input(options: argparse.Namespace) -> None:
    from eqcalc.ipi.choices import Strides
    from eqcalc.ipi.inputs import write_input

    def stride(femtoseconds: float) -> int:
        return round(femtoseconds / options.timestep)

    connection = _connection(options)
    path = write_input(
        options.output,
        options.model,
        method=_method(options),
        steps=stride(1000.0 * options.time),
        atoms=None if options.molecule is None else _read(options.molecule),
        starts=options.start,
        temperature=options.temperature,
        timestep=options.timestep,
        beads=options.beads,
        seed=options.seed,
        connection=connection,
        strides=Strides(series=stride(options.checkpoints), beads=stride(options.bead_positions)),
        device=options.device,
        precision=options.precision,
        charge=options.charge,
        prefix=options.prefix,
    )
    print(f"run it with: eqcalc ipi run {path}")
    if options.unix is not None or options.host is not None:
        where = (
            f"--host {options.host} --port {options.port}"
            if options.unix is None
            else f"--unix {options.unix}"
        )
        print(f"and {options.clients} of: eqcalc ipi client {options.model} {where}")


def _method(options: argparse.Namespace) -> str | IPIMethod:
    from eqcalc.ipi.methods import PIGLET

    if options.method != PIGLET.name:
        return str(options.method)
    if options.matrices is None:
        raise ValueError("PIGLET needs --matrices FILE, from gle4md.org in the format of i-PI")
    return PIGLET(options.matrices)


def _connection(options: argparse.Namespace) -> Connection:
    from eqcalc.ipi.choices import InProcess, TCPSocket, UnixSocket

    if options.unix is not None:
        return UnixSocket(options.unix, options.clients)
    if (options.host is None) != (options.port is None):
        raise ValueError("a TCP socket needs both --host and --port")
    if options.host is not None:
        return TCPSocket(options.host, options.port, options.clients)
    return InProcess()


def _read(path: Path) -> Atoms:
    import ase.io

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    atoms = ase.io.read(path)
    assert not isinstance(atoms, list)
    return atoms
