# SPDX-License-Identifier: MIT
"""What several commands read from their arguments, checked by :mod:`eqcalc.validation`.

Building the parser imports no scientific library, so that help and wrong arguments are
answered at once.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from eqcalc.validation import (
    InvalidInputError,
    bounds,
    count,
    file_suffix,
    non_negative,
    positive,
)

Value = TypeVar("Value")

# --- the adapter ----------------------------------------------------------------------


def argument(
    check: Callable[[str, Any], Value], convert: Callable[[str], Any] = str
) -> Callable[[str], Value]:
    """Return a ``type`` of argparse from a check of input.

    Parameters
    ----------
    check
        Of :mod:`eqcalc.validation`; it says what is expected.
    convert
        Reads the text; what it cannot read is left to the check.
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
    """Read the name of an observable, and the time [fs] between its frames if it is stated."""
    name, stated, interval = text.partition("=")
    return name, positive_number(interval) if stated else None


def comma_separated_integers(text: str, option: str) -> list[int]:
    """Return numbers from zero, such as ``1,2,3``, of an option.

    Raises
    ------
    InvalidInputError
        They are something else.
    """
    try:
        return [count(option, int(part), least=0) for part in text.split(",")]
    except ValueError:
        raise InvalidInputError(
            key=option, value=text, expected="numbers from 0, such as 1,2,3"
        ) from None


integers = argument(lambda key, text: comma_separated_integers(text, key))


class Range(argparse.Action):
    """Two numbers, the lower one first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the pair, or refuse it."""
        try:
            setattr(namespace, self.dest, list(bounds("", values)))
        except InvalidInputError as error:
            raise argparse.ArgumentError(self, str(error)) from None


# --- files ----------------------------------------------------------------------------


def file_ending_in(*suffixes: str) -> Callable[[str], Path]:
    """Return a ``type`` of argparse for the path of a file to write, of known suffixes."""

    def read(key: str, text: Any) -> Path:
        file_suffix(text, suffixes, key=key)
        return Path(text)

    return argument(read)


figure_file = file_ending_in(".png", ".pdf", ".svg")
trajectory_file = file_ending_in(".h5", ".hdf5")


def output_folder(text: str) -> Path:
    """Read the path of a folder to write to, which need not exist."""
    path = Path(text)
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise argparse.ArgumentTypeError(f"{part} is a file; expected a folder for the results")
    return path


def output_file(text: str) -> Path:
    """Read the path of a file to write in a folder that exists."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a directory; expected a file for the result")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: there is no folder {path.parent}")
    return path


# --- options of several commands ------------------------------------------------------


def add_mass(
    command: Any, text: str = "isotope of an element, H=2.014, or of one atom (from 0), 3=2.014"
) -> None:
    """Add the option of isotopes, pairs of an element or atom and its mass."""
    command.add_argument(
        "--mass",
        type=named(positive_number),
        action="append",
        default=[],
        metavar="ATOM=AMU",
        help=text,
    )


def add_precision(command: Any) -> None:
    """Add the option of the precision of the network."""
    command.add_argument(
        "--precision",
        help="of the network: float64, float32, tf32 or bf16; see doctor (default: as stored)",
    )


def add_seed(command: Any) -> None:
    """Add the option of the random seed."""
    command.add_argument("--seed", type=natural_number, default=0, help="random seed (default 0)")


def add_threads(command: Any) -> None:
    """Add the option of CPU threads, which :func:`configure_process` sets."""
    command.add_argument(
        "--threads", type=positive_count, default=1, help="CPU threads of the network (default 1)"
    )


def configure_process(options: argparse.Namespace) -> None:
    """Make settings of the whole process, which the library leaves alone but a command may."""
    import torch

    from eqcalc.runtime import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(options.threads)
