# SPDX-License-Identifier: MIT
"""Readers of labelled structures in the formats of other programs.

To use your own, write a class that implements :class:`Reader` and pass it to
:func:`~eqcalc.datasets.convert` as the format ``"package.module:Class"``, or register it as
an entry point in the group ``eqcalc.readers``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

__all__ = ["Frame", "FrameError", "Reader"]


class FrameError(ValueError):
    """One structure of a file cannot be used; the others may be valid."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A structure as read from a file, in the units of the file.

    Parameters
    ----------
    numbers, positions
        ``[n_atoms]`` and ``[n_atoms, 3]``.
    values
        All other data of the structure, by key in the file.
    cell, pbc
        Cell vectors as rows, in the unit of the positions, and periodicity.
    units
        Units by key that the format defines for this structure.
    padded
        Number of rows of per-atom values, if they are padded to more than the atoms.
    level_of_theory
        That of this structure, if the file states one for each.
    """

    numbers: np.ndarray
    positions: np.ndarray
    values: Mapping[str, Any] = field(default_factory=dict)
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    padded: int | None = None
    level_of_theory: str = ""


class Reader(Protocol):
    """A file that is read structure by structure.

    The first argument of its class is the path; others are options of the format. It may have
    a length, the number of structures.

    Attributes
    ----------
    keys
        Keys defined by the format, by meaning; structures need not have them.
    units
        Units defined by the file or its format, by meaning. Those of other keys may be in
        an attribute ``units_by_key``.
    problems
        Optional: errors for which no structure can be read; an attribute ``values`` then holds
        the other values of the first one.
    level_of_theory
        Level of theory recorded in the file, that of most structures; empty if none.
    """

    keys: Mapping[str, str]
    units: Mapping[str, str]
    level_of_theory: str

    def __iter__(self) -> Iterator[Frame | FrameError]:
        """Yield structures, or errors in place of unreadable ones."""
        ...
