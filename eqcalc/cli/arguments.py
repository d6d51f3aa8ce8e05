# SPDX-License-Identifier: MIT
"""What several commands read from their arguments."""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase import Atoms


#: Endings of figures.
_FIGURES = (".png", ".pdf", ".svg")
#: Endings of trajectories, which are HDF5.
_TRAJECTORIES = (".h5", ".hdf5")
#: A neighbour is a bonded one up to this multiple of the sum of covalent radii.
_BONDED = 1.5
#: Geometries of larger structures are not checked.
_CHECKED_ATOMS = 500


def positive_count(text: str) -> int:
    """Read a whole number from one on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text}")
    return value


def positive_number(text: str) -> float:
    """Read a number above zero."""
    value = _number(text)
    if not value > 0.0:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return value


def number_from_zero(text: str) -> float:
    """Read a number that is zero or more."""
    value = _number(text)
    if not value >= 0.0:
        raise argparse.ArgumentTypeError(f"expected zero or a positive number, got {text}")
    return value


def _number(text: str) -> float:
    """Return a finite number, or one that no comparison accepts."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def output_folder(text: str) -> Path:
    """Read the path of a folder to write to, which need not exist."""
    path = Path(text)
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise argparse.ArgumentTypeError(f"{part} is a file, and the results need a folder")
    return path


def figure_file(text: str) -> Path:
    """Read the path of a figure to write."""
    path = Path(text)
    if path.suffix.lower() not in _FIGURES:
        raise argparse.ArgumentTypeError(
            f"expected a name that ends in {', '.join(_FIGURES)}, got {text}"
        )
    return path


def output_file(text: str) -> Path:
    """Read the path of a file to write in a folder that exists."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder, and the result needs a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: there is no folder {path.parent}")
    return path


def trajectory_file(text: str) -> Path:
    """Read the path of a trajectory to write."""
    path = Path(text)
    if path.suffix.lower() not in _TRAJECTORIES:
        raise argparse.ArgumentTypeError(
            f"expected a name that ends in {' or '.join(_TRAJECTORIES)}, got {text}"
        )
    return path


def name_and_value(text: str) -> tuple[str, str]:
    """Read a name and its value, such as ``energy=eV``."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text}")
    return name, value


def name_and_interval(text: str) -> tuple[str, float]:
    """Read the name of an observable, and the time [fs] between its frames, by default 1."""
    name, _, interval = text.partition("=")
    return name, positive_number(interval or "1")


def comma_separated_integers(text: str, option: str) -> list[int]:
    """Return whole numbers such as ``1,2,3`` of an option.

    Raises
    ------
    ValueError
        They are something else.
    """
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"{option}: expected numbers such as 1,2,3, got {text}") from None


def add_mass(
    command: Any, text: str = "isotope of an element, H=2.014, or of one atom (from 0), 3=2.014"
) -> None:
    """Add the option of isotopes, which :func:`isotopes` reads."""
    command.add_argument("--mass", action="append", default=[], metavar="ATOM=AMU", help=text)


def isotopes(texts: Sequence[str]) -> dict[str, float]:
    """Return the masses of elements or atoms of the option ``--mass``.

    Raises
    ------
    ValueError
        They are something else.
    """
    try:
        pairs = dict(text.split("=", 1) for text in texts)
        return {name.strip(): float(value) for name, value in pairs.items()}
    except ValueError:
        raise ValueError(
            f"--mass: expected for example H=2.014, or 3=2.014 for one atom, got {' '.join(texts)}"
        ) from None


def read_structure(path: Path) -> Atoms:
    """Return the only structure of a file.

    Raises
    ------
    FileNotFoundError, ValueError
        The file does not exist, or holds something else.
    """
    structures = read_structures([path])
    if len(structures) != 1:
        raise ValueError(f"{path}: expected one structure, found {len(structures)}")
    return structures[0]


def read_structures(paths: Sequence[Path]) -> list[Atoms]:
    """Return the structures of files, in any format that ASE reads.

    Raises
    ------
    FileNotFoundError, ValueError
        A file does not exist, or is none of structures.
    """
    import ase.io

    structures: list[Atoms] = []
    for path in paths:
        if path.is_dir():
            raise ValueError(f"{path}: a folder; state a structure file in it")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            found = ase.io.read(path, index=":")
        except Exception as error:  # whatever the reader of that format raises
            raise ValueError(
                f"{path}: expected a structure file, such as .xyz; ASE cannot read it "
                f"({type(error).__name__}: {error})"
            ) from error
        structures.extend(found)
        _check_positions(path, structures[-len(found) :])
        _check_distances(path, structures[-len(found)])
    return structures


def _check_positions(path: Path, structures: Sequence[Atoms]) -> None:
    """Refuse positions that are not numbers."""
    import numpy as np

    for index, atoms in enumerate(structures):
        bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
        if len(bad):
            raise ValueError(
                f"{path}: expected finite positions, but that of atom {bad[0]} of structure "
                f"{index} is {atoms.positions[bad[0]]}"
            )


def _check_distances(path: Path, atoms: Atoms) -> None:
    """Warn of an atom of a molecule that nothing is bonded to."""
    import numpy as np
    from ase.data import covalent_radii

    from eqcalc.structures import GeometryWarning

    if not 1 < len(atoms) <= _CHECKED_ATOMS or atoms.pbc.any():
        return
    distances = atoms.get_all_distances()
    np.fill_diagonal(distances, np.inf)
    radii = covalent_radii[atoms.numbers]
    ratios = distances / (radii[:, None] + radii)
    atom = int(np.argmax(ratios.min(axis=1)))
    neighbour = int(np.argmin(ratios[atom]))
    if ratios[atom, neighbour] > _BONDED:
        warnings.warn(
            f"{path}: the nearest neighbour of atom {atom} ({atoms.symbols[atom]}) is "
            f"{atoms.symbols[neighbour]} at {distances[atom, neighbour]:.2f} Å, too far for a "
            "bond; coordinates are taken in ångström",
            GeometryWarning,
            stacklevel=2,
        )


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
        lower, upper = values
        if not (math.isfinite(lower) and math.isfinite(upper)):
            raise argparse.ArgumentError(
                self, f"expected two finite numbers, got {lower:g} {upper:g}"
            )
        if not lower < upper:
            raise argparse.ArgumentError(
                self, f"expected the lower number first, got {lower:g} {upper:g}"
            )
        setattr(namespace, self.dest, values)


class PositiveRange(Range):
    """Two numbers above zero, the lower one first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the pair, or refuse it."""
        if not min(values) > 0.0:
            raise argparse.ArgumentError(
                self, f"expected two positive numbers, got {values[0]:g} {values[1]:g}"
            )
        super().__call__(parser, namespace, values, option_string)


def add_precision(command: Any) -> None:
    """Add the option of the precision of the network."""
    command.add_argument(
        "--precision",
        help="of the network: float64, float32, tf32 or bf16; see doctor (default: as stored)",
    )


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
