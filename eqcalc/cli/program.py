# SPDX-License-Identifier: MIT
"""The main parser, and the commands demo, info and doctor."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import eqcalc
from eqcalc.cli.arguments import (
    add_device,
    add_flag,
    add_model,
    add_precision,
    add_seed,
    add_threads,
    chosen,
    configure_process,
    output_file,
    output_folder,
)
from eqcalc.cli.data import add_data_commands
from eqcalc.cli.ipi import add_ipi_commands
from eqcalc.cli.simulate import add_simulate_command
from eqcalc.cli.spectra import add_spectrum_commands
from eqcalc.cli.training import add_training_commands
from eqcalc.files import model_file
from eqcalc.interruption import INTERRUPTED, STOPPED, Stopped, terminable
from eqcalc.validation import InvalidInputError, nearest

#: Exit status for invalid input and known errors.
FAILURE = 2


# --- commands -------------------------------------------------------------------


def _demo(options: argparse.Namespace) -> None:
    from eqcalc.demo import run_demo

    result = run_demo(options.output, **chosen(options, "seed", "progress"))
    print(result.summary)
    print(f"results: {result.folder}")


def _ipi(options: argparse.Namespace) -> None:
    options.ipi(options)


def _info(options: argparse.Namespace) -> None:
    from eqcalc.models.checkpoint import read_checked
    from eqcalc.reports.description import describe_file

    if options.json:
        print(json.dumps(read_checked(options.file)[0], indent=1, ensure_ascii=False))
    else:
        print(describe_file(options.file))


def _doctor(options: argparse.Namespace) -> None:
    from eqcalc.models.checkpoint import load_model, shipped_model
    from eqcalc.models.precision import in_precision
    from eqcalc.runtime.doctor import diagnose

    configure_process(options)
    potential = load_model(options.model or shipped_model(), device=options.device)
    print(diagnose(in_precision(potential, options.precision), compile=options.compile))


def _export(options: argparse.Namespace) -> None:
    from eqcalc.engines.metatomic import export_metatomic
    from eqcalc.engines.ml_iap import export_ml_iap
    from eqcalc.models.checkpoint import load_model

    potential = load_model(options.model, device=options.device)
    if options.format == "ml-iap":
        print(export_ml_iap(potential, options.output))
    else:
        print(export_metatomic(potential, options.output, charge=options.charge))


# --- the parser -------------------------------------------------------------------

_ORDER = """\
Each command uses the output of the previous one, and says what comes next:
  label or convert -> train --template -> train -> evaluate -> harmonic -> simulate
  -> spectra -> assign, compare
Rerun an interrupted command to resume it. eqcalc COMMAND --help lists its options.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, which the usage of a command with many options hides."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands, without importing their dependencies."""
    parser = _Parser(
        prog="eqcalc",
        description="Vibrational spectra (IR, Raman) from machine-learned classical and "
        "ring-polymer molecular dynamics.",
        epilog=_ORDER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"eqcalc {eqcalc.__version__}")
    add_flag(parser, "--traceback", "show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> Any:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run, parser=command)
        add_flag(command, "--quiet", "show no progress")
        return command

    command = add("demo", _demo, "IR and Raman spectrum of ethanol with the bundled model.")
    command.add_argument("--output", type=output_folder, default="eqcalc-demo", help="folder")
    add_seed(command)
    add_data_commands(add)
    add_training_commands(add)
    add_simulate_command(add)
    add_spectrum_commands(add)
    add_ipi_commands(add("ipi", _ipi, "Path-integral dynamics by i-PI: inputs, runs, clients."))

    command = add("info", _info, "Describe a model, dataset, trajectory or spectrum file.")
    text = "any eqcalc file, the folder of an i-PI run, or the name of a shipped model"
    command.add_argument("file", type=model_file, help=text)
    add_flag(command, "--json", "full header of a model file")

    command = add("export", _export, "Write a model for other programs.")
    add_model(command)
    command.add_argument(
        "--format",
        choices=["metatomic", "ml-iap"],
        default="metatomic",
        help="metatomic (default): for ASE, i-PI, LAMMPS, torch-sim and others by metatomic; "
        "ml-iap: for LAMMPS with ML-IAP and Python",
    )
    text = "file to write: .pt, .pkl for ml-iap"
    command.add_argument("--output", type=output_file, required=True, help=text)
    command.add_argument(
        "--charge",
        type=float,
        default=0.0,
        help="total charge of every system [e], for metatomic's dipole moments (default 0)",
    )
    add_device(command)

    command = add(
        "doctor", _doctor, "Check the installation, and benchmark all execution backends."
    )
    command.add_argument(
        "model", type=Path, nargs="?", help="model file (default: the bundled one)"
    )
    add_device(command)
    add_flag(command, "--compile", "also compile the network ahead of time (minutes)")
    add_precision(command)
    add_threads(command)
    return parser


#: Keys of errors about the atoms of a structure, or of one of several.
_OF_ATOMS = re.compile(r"structures\[(\d+)\]|(?:atoms|charge|elements|numbers|positions)\b")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    if sys.stdout is None:  # closed by the shell
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # Å and ν on a terminal that has none
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    format_before = warnings.formatwarning
    warnings.formatwarning = _told_once()
    try:
        options, unknown = build_parser().parse_known_args(arguments)
        if unknown:
            parser = options.parser
            known = re.findall(r"--[\w-]+", parser.format_help())
            meant = nearest(next(iter(unknown)).split("=")[0], known)
            hint = f"; did you mean {meant}?" if meant else ""
            parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        options.progress = not options.quiet
        with terminable():
            return _run(options)
    except (KeyboardInterrupt, Stopped) as stop:
        print(
            "eqcalc: stopped; rerun the same command to resume simulate, train, label or demo",
            file=sys.stderr,
        )
        return STOPPED if isinstance(stop, Stopped) else INTERRUPTED
    finally:
        warnings.formatwarning = format_before


def _told_once() -> Callable[..., str]:
    """Return what formats warnings for the command line, each once, without a source line.

    Python forgets which it has shown where a library suppresses some.
    """
    told: set[str] = set()

    def formatted(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        of_eqcalc = category.__module__.startswith("eqcalc")
        place = "eqcalc: warning" if of_eqcalc else f"{filename}: {category.__name__}"
        text = f"{place}: {message}\n"
        new = text not in told
        told.add(text)
        return text if new else ""

    return formatted


def _name_structure(options: argparse.Namespace, error: Exception) -> None:
    """Add to an error about the atoms of a structure the file that it is from."""
    files = getattr(options, "molecule", None)
    files = [files] if isinstance(files, Path) else files
    if not isinstance(error, InvalidInputError) or not isinstance(files, list) or not files:
        return
    match = _OF_ATOMS.match(error.key)
    if match is None or error.file is not None:
        return
    if len(files) > 1:
        from eqcalc.molecules import read_structures

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            files = [file for file in files for _ in read_structures([file])]
    error.within_file(files[int(match[1] or 0)])


def _os_error(error: Exception) -> str:
    """Return what an error of the operating system about a file says and what can be done."""
    cause = error.__cause__
    if isinstance(error, InvalidInputError) and isinstance(cause, OSError):
        return f"{error}{_advice(cause)}"
    if not isinstance(error, OSError):
        return ""
    if error.strerror is None:  # of eqcalc.files
        return f"{error}{_advice(error)}"
    place = error.filename
    if place is None and _is_lost(sys.stdout):
        place = "standard output"
    if place is None:
        return ""
    return f"{place}: {error.strerror}{_advice(error)}"


def _advice(error: OSError) -> str:
    """Return what can be done about an error of writing, after a semicolon."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "; make room, or choose another place"
    if error.errno == errno.EFBIG:  # by ulimit -f, or the file system
        return "; raise the limit for the size of files (ulimit -f), or choose another place"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "; choose another place, or change its permissions"
    return ""


def _is_lost(stream: TextIO) -> bool:
    """Return whether what was printed cannot be written, as to a full disk."""
    try:
        print(file=stream, flush=True)  # flushing again what has failed may raise nothing
    except OSError:
        return True
    return False


def _run(options: argparse.Namespace) -> int:
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of a pipe, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE.value
    except Exception as error:
        if options.traceback:
            raise
        _name_structure(options, error)
        text = _os_error(error) or str(error) or type(error).__name__  # such as MemoryError
        print(f"eqcalc {options.command}: error: {text}", file=sys.stderr)
        return FAILURE
    return 0
