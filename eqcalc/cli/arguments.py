# SPDX-License-Identifier: MIT
"""Arguments shared by several commands, checked by :mod:`eqcalc.validation`.

Building the parser imports no scientific library, to keep help and argument errors fast.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from eqcalc.files import GENERAL_MODEL, model_file, require_writable, shipped_models
from eqcalc.validation import (
    InvalidInputError,
    bounds,
    count,
    file_suffix,
    non_negative,
    one_of,
    positive,
)

Value = TypeVar("Value")

# --- the adapter ----------------------------------------------------------------------


def argument(
    check: Callable[[str, Any], Value], convert: Callable[[str], Any] = str
) -> Callable[[str], Value]:
    """Return a ``type`` of argparse from a check of :mod:`eqcalc.validation`.

    Text that `convert` cannot read is passed to the check, whose error says what is expected.
    """

    def read(text: str) -> Value:
        value: Any = text
        with contextlib.suppress(ValueError):
            value = convert(text)
        try:
            return check("", value)
        except InvalidInputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


positive_count = argument(count, int)
natural_number = argument(lambda key, value: count(key, value, least=0), int)
positive_number = argument(positive, float)
number_from_zero = argument(non_negative, float)


def named(read: Callable[[str], Value] = str) -> Callable[[str], tuple[str, Value]]:  # type: ignore[assignment]
    """Return a ``type`` of argparse for a name and its value, such as ``energy=eV``."""

    def pair(text: str) -> tuple[str, Value]:
        name, _, value = (part.strip() for part in text.partition("="))
        if not (name and value):
            raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
        return name, read(value)

    return pair


def name_and_interval(text: str) -> tuple[str, float | None]:
    """Read the name of an observable, and optionally the time between its frames [fs]."""
    name, stated, interval = text.partition("=")
    return name, positive_number(interval) if stated else None


def comma_separated_integers(text: str, option: str) -> list[int]:
    """Return the non-negative integers of an option, such as ``1,2,3``."""
    try:
        return [count(option, int(part), least=0) for part in text.split(",")]
    except ValueError:
        raise InvalidInputError(
            key=option, value=text, expected="numbers from 0, such as 1,2,3"
        ) from None


integers = argument(lambda key, text: comma_separated_integers(text, key))


class _Range(argparse.Action):
    """Two numbers, the lower one first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the pair, or reject it."""
        try:
            setattr(namespace, self.dest, list(bounds("", values)))
        except InvalidInputError as error:
            raise argparse.ArgumentError(self, str(error)) from None


def chosen(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return options as keyword arguments of the same names."""
    return {name: getattr(options, name) for name in names}


def literal(text: str) -> Any:
    """Parse a Python literal, or return the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def option_name(name: str) -> str:
    """Return how the option that is stored under a name is written."""
    return f"--{name.replace('_', '-')}"


def tell_next(*command: Any) -> None:
    """Print the command that usually comes next, which may be copied."""
    names = {str(path): name for name, path in shipped_models().items()}
    print("next: eqcalc", shlex.join(names.get(str(part), str(part)) for part in command))


def tell_results(*paths: Path | None) -> None:
    """Print which files and folders have been written; None is one that was not asked for."""
    if written := [str(path) for path in paths if path is not None]:
        print("results:", ", ".join(written))


# --- files ----------------------------------------------------------------------------


def file_ending_in(*suffixes: str) -> Callable[[str], Path]:
    """Return a ``type`` of argparse for an output file with one of the given suffixes."""

    def read(key: str, text: Any) -> Path:
        file_suffix(text, suffixes, key=key)
        return Path(text)

    return argument(read)


_named_figure = file_ending_in(".png", ".pdf", ".svg")
trajectory_file = file_ending_in(".h5", ".hdf5")


def output_folder(text: str) -> Path:
    """Read the path of an output folder, which need not exist."""
    path = Path(text)
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise argparse.ArgumentTypeError(f"{part} is a file; expected a folder for the results")
    _check_writable(path, path)
    return path


def output_file(text: str) -> Path:
    """Read the path of an output file in an existing folder."""
    path = _of_a_file(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: there is no folder {path.parent}")
    _check_writable(path.parent, path)
    return path


def file_in_output_folder(text: str) -> Path:
    """Read the path of an output file, whose folder need not exist."""
    path = _of_a_file(text)
    return output_folder(str(path.parent)) / path.name


def _of_a_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a directory; expected a file for the result")
    return path


def figure_file(text: str) -> Path:
    """Read the path of a figure in an existing folder."""
    return output_file(str(_named_figure(text)))


def _check_writable(folder: Path, target: Path) -> None:
    """Refuse a `target` in a folder where no file can be written, before the work is done."""
    there = next((part for part in (folder, *folder.parents) if part.is_dir()), folder)
    try:
        require_writable(there)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{target}: {error}") from None


# --- options of several commands ------------------------------------------------------


def add_number(
    command: Any,
    option: str,
    default: float | None,
    text: str,
    read: Callable[[str], float] = positive_number,
    **others: Any,
) -> None:
    """Add an option for a number, with its default in the help text."""
    stated = "" if default is None else f" (default {default:g})"
    command.add_argument(option, type=read, default=default, help=text + stated, **others)


def add_text(command: Any, option: str, default: str, text: str) -> None:
    """Add an option for a text, with its default in the help text."""
    command.add_argument(option, default=default, help=f"{text} (default {default})")


def add_flag(command: Any, option: str, text: str) -> None:
    """Add a flag."""
    command.add_argument(option, action="store_true", help=text)


def add_pairs(
    command: Any, option: str, metavar: str, text: str, read: Callable[[str], Any] = str
) -> None:
    """Add a repeatable option for a name and its value."""
    command.add_argument(
        option, type=named(read), action="append", default=[], metavar=metavar, help=text
    )


def add_range(
    command: Any,
    option: str,
    metavar: tuple[str, str],
    text: str,
    read: Callable[[str], float] = float,
    **others: Any,
) -> None:
    """Add an option for two numbers, the lower one first."""
    command.add_argument(
        option, type=read, nargs=2, action=_Range, metavar=metavar, help=text, **others
    )


def isotope(text: str) -> tuple[str, float | str]:
    """Read ``H=2.014``, ``3=2.014``, ``3=D`` or ``D``: an element or atom, and mass or isotope."""
    from eqcalc.molecules import ISOTOPES  # ASE is slow to import

    if "=" not in text:
        try:
            return ISOTOPES[one_of("", text, ISOTOPES)][0], text
        except InvalidInputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return named(lambda value: value if value in ISOTOPES else positive_number(value))(text)


def add_mass(
    command: Any,
    text: str = "isotope D, 13C, …, of all atoms or of one (from 0), 3=D; or a mass [amu], H=2.014",
) -> None:
    """Add the option for isotopes: an element or atom and its mass or isotope."""
    command.add_argument(
        *("--mass", "--isotope"),
        type=isotope,
        action="append",
        default=[],
        metavar="ISOTOPE",
        help=text,
    )


def add_model(command: Any, *, optional: bool = False) -> None:
    """Add the model, the first argument; if `optional`, the general one may be left out."""
    text = "model file (.eqc), or the name of a shipped model"
    if optional:
        text += " (default general, for molecules of H, C, N and O)"
    arity: dict[str, Any] = {"nargs": "?", "default": model_file(GENERAL_MODEL)} if optional else {}
    command.add_argument("model", type=model_file, help=text, **arity)


def add_device(command: Any, default: str | None = "cpu") -> None:
    """Add the option for the device."""
    shown = default or "a GPU if there is one"
    command.add_argument("--device", default=default, help=f"cpu, cuda or cuda:1 (default {shown})")


def add_dynamics(command: Any, *, timestep: float) -> None:
    """Add the options common to dynamics by eqcalc and i-PI."""
    add_number(command, "--beads", 1, "beads per ring polymer; 1: classical nuclei", positive_count)
    add_number(command, "--temperature", 300.0, "[K]")
    add_number(command, "--timestep", timestep, "time step [fs]")
    add_number(command, "--time", 5.0, "length of each run [ps]")
    add_seed(command)
    add_precision(command)
    add_threads(command)


def add_precision(command: Any) -> None:
    """Add the option for the precision of the network."""
    command.add_argument(
        "--precision",
        help="network precision: float64, float32, tf32 or bf16; see doctor (default: as stored)",
    )


def add_processes(command: Any, text: str, default: int | None = 1) -> None:
    """Add the options for processes of this machine, or for the workers of a scheduler."""
    where = command.add_mutually_exclusive_group()
    shown = "" if default is None else f" (default {default})"
    where.add_argument("--processes", type=positive_count, default=default, help=text + shown)
    where.add_argument(
        "--scheduler",
        dest="processes",
        type=_address,
        default=default,
        metavar="ADDRESS",
        help="on the workers of this Dask scheduler instead, such as tcp://host:8786",
    )


def _address(text: str) -> str:
    """Read the address of a scheduler."""
    if "://" not in text:
        raise argparse.ArgumentTypeError(f"{text!r}; expected an address such as tcp://host:8786")
    return text


def add_seed(command: Any) -> None:
    """Add the option for the random seed."""
    add_number(command, "--seed", 0, "random seed", natural_number)


def add_threads(command: Any) -> None:
    """Add the option for CPU threads, set by :func:`configure_process`."""
    add_number(command, "--threads", 1, "CPU threads of the network", positive_count)


def configure_process(options: argparse.Namespace) -> None:
    """Apply process-wide settings, which a command may change but the library does not."""
    import torch

    from eqcalc.runtime import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(options.threads)
