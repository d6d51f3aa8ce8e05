# SPDX-License-Identifier: MIT
"""Readers of labelled structures in the formats of other programs, one file each.

A reader of your own is a class like :class:`Reader`, which
:func:`~eqcalc.datasets.convert` takes as the format ``"package.module:Class"``, or by its
entry point of the group ``eqcalc.readers``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

__all__ = ["Frame", "FrameError", "Reader"]


class FrameError(ValueError):
    """One structure of a file cannot be used; the others may be fine."""


@dataclass(frozen=True)
class Frame:
    """A structure as it stands in a file, in the units of the file.

    Parameters
    ----------
    numbers, positions
        ``[n_atoms]`` and ``[n_atoms, 3]``.
    values
        Everything else the file says about the structure, by its key there.
    cell, pbc
        Cell vectors as rows, in the unit of the positions, and periodicity.
    """

    numbers: np.ndarray
    positions: np.ndarray
    values: Mapping[str, Any] = field(default_factory=dict)
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None


class Reader(Protocol):
    """A file that is read one structure after the other.

    It is opened by a class whose first argument is the path; other arguments are the
    options of the format. It may have a length, the number of structures.

    Attributes
    ----------
    keys
        Keys whose meaning the format fixes, by what they mean.
    units
        Units that the file or its format states, by what they are the unit of. Those of
        other keys may be in an attribute ``units_by_key``.
    level_of_theory
        What the file says about it; empty if nothing.
    """

    keys: Mapping[str, str]
    units: Mapping[str, str]
    level_of_theory: str

    def __iter__(self) -> Iterator[Frame | FrameError]:
        """Yield structures; an unreadable one as the error that says why."""
        ...
