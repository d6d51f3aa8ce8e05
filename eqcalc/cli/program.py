# SPDX-License-Identifier: MIT
"""The parser, and the commands demo, doctor and info; the others are in modules of their own."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import eqcalc
from eqcalc.cli.arguments import add_precision, add_threads, configure_process, output_folder
from eqcalc.cli.data import add_data_commands
from eqcalc.cli.ipi import add_ipi_commands
from eqcalc.cli.simulate import add_simulate_command
from eqcalc.cli.spectra import add_spectrum_commands
from eqcalc.cli.training import add_training_commands

#: Exit status of a command that was refused or failed with a known error.
FAILURE = 2
#: That of a command stopped by Ctrl-C, as shells have it.
INTERRUPTED = 128 + signal.SIGINT.value


# --- commands -------------------------------------------------------------------


def _demo(options: argparse.Namespace) -> None:
    from eqcalc.demo import demo

    result = demo(options.output, seed=options.seed, progress=not options.quiet)
    print(result.summary)
    print(f"everything is in {result.folder}")


def _ipi(options: argparse.Namespace) -> None:
    options.ipi(options)


def _info(options: argparse.Namespace) -> None:
    from eqcalc.models.checkpoint import read_header
    from eqcalc.reports.description import describe_file

    if options.json:
        print(json.dumps(read_header(options.file), indent=1, ensure_ascii=False))
    else:
        print(describe_file(options.file))


def _doctor(options: argparse.Namespace) -> None:
    from eqcalc.models.checkpoint import load_model, shipped_model
    from eqcalc.models.precision import in_precision
    from eqcalc.runtime.doctor import diagnose

    configure_process(options)
    potential = load_model(options.model or shipped_model(), device=options.device)
    print(diagnose(in_precision(potential, options.precision), compile=options.compile))


# --- the parser -------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eqcalc",
        description="Vibrational spectra from machine-learned (ring-polymer) molecular dynamics.",
    )
    parser.add_argument("--version", action="version", version=f"eqcalc {eqcalc.__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error comes from in the code"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> Any:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument(
            "--quiet", action="store_true", help="no progress bars, as without a terminal"
        )
        return command

    command = add(
        "demo", _demo, "From the shipped ethanol model to its IR and Raman spectrum, in minutes."
    )
    command.add_argument("--output", type=output_folder, default=Path("eqcalc-demo"), help="folder")
    command.add_argument("--seed", type=int, default=0, help="of the random numbers (default 0)")
    add_data_commands(add)
    add_training_commands(add)
    add_simulate_command(add)
    _add_looks(add)
    add_spectrum_commands(add)
    command = add("ipi", _ipi, "Path integrals by i-PI: write its inputs, run it, serve it.")
    add_ipi_commands(command)
    return parser


def _add_looks(add: Callable[..., Any]) -> None:
    command = add("doctor", _doctor, "Check this machine, and time every way to execute a model.")
    command.add_argument("model", type=Path, nargs="?", help="default: the shipped one")
    command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default cpu)")
    command.add_argument(
        "--compile", action="store_true", help="compile the network ahead of time, in minutes, too"
    )
    add_precision(command)
    add_threads(command)

    command = add("info", _info, "Say what a model, dataset, trajectory or spectrum file holds.")
    command.add_argument("file", type=Path, help="any file of eqcalc, or the folder of an i-PI run")
    command.add_argument("--json", action="store_true", help="all of the header of a model file")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    format_before = warnings.formatwarning
    warnings.formatwarning = _warning_line
    try:
        options = _parser().parse_args(arguments)
        options.quiet |= not sys.stderr.isatty()
        return _run(options)
    except KeyboardInterrupt:
        print(
            "eqcalc: stopped; simulate, train, label and demo go on when called again",
            file=sys.stderr,
        )
        return INTERRUPTED
    finally:
        warnings.formatwarning = format_before


def _warning_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Return a warning as a user of commands reads it, without a line of code."""
    if category.__module__.startswith("eqcalc"):
        return f"eqcalc: warning: {message}\n"
    return f"{filename}: {category.__name__}: {message}\n"


def _run(options: argparse.Namespace) -> int:
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read the output has enough, as `head`; nothing more can be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE.value
    except Exception as error:
        if options.traceback:
            raise
        print(f"eqcalc {options.command}: error: {error}", file=sys.stderr)
        return FAILURE
    return 0
