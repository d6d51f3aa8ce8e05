# SPDX-License-Identifier: MIT
"""The names under which the readers of series are known, and the way to all of them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from eqcalc.plugins import class_named
from eqcalc.spectra.io.formats.base import SeriesReader
from eqcalc.spectra.io.formats.columns import ColumnsReader, GPUMDReader
from eqcalc.spectra.io.formats.extxyz import ExtxyzReader
from eqcalc.spectra.io.formats.ipi import IPIReader
from eqcalc.spectra.io.formats.outputs import CP2KReader, VASPReader
from eqcalc.spectra.io.formats.schnetpack import SchNetPackReader
from eqcalc.validation import InvalidInputError, existing_file

#: Group of entry points under which installed packages announce readers.
ENTRY_POINTS = "eqcalc.series_readers"

_Class = TypeVar("_Class", bound=type[SeriesReader])

_READERS: dict[str, type[SeriesReader]] = {
    reader.name: reader
    for reader in (
        ColumnsReader,
        CP2KReader,
        ExtxyzReader,
        GPUMDReader,
        IPIReader,
        SchNetPackReader,
        VASPReader,
    )
}


def register_reader(reader: _Class) -> _Class:
    """Make a reader of your own known by its `name`; a decorator of the class.

    Raises
    ------
    InvalidInputError
        Another reader has this name.
    """
    if _READERS.setdefault(reader.name, reader) is not reader:
        raise InvalidInputError("another reader has this name", key="name", value=reader.name)
    return reader


def find_reader(format: str) -> SeriesReader:
    """Return the reader of a format.

    Parameters
    ----------
    format
        Name of a registered reader, ``package.module:Class``, or the name under which an
        installed package announces one as an entry point of the group ``eqcalc.series_readers``.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    found = class_named("format", format, _READERS, ENTRY_POINTS)
    if not (inspect.isclass(found) and issubclass(found, SeriesReader)):
        raise InvalidInputError(key="format", value=format, expected="a subclass of SeriesReader")
    return found()


def read_series(
    paths: Sequence[str | Path],
    format: str,
    key: str | Sequence[int] | None = None,
    time_key: str | int | None = None,
) -> dict[str, np.ndarray]:
    """Return the replicas of a series that another code wrote, by the names of their files.

    Parameters
    ----------
    paths
        One file per replica, or per bead for i-PI.
    format
        Its name; see :func:`find_reader`.
    key
        Numbers of the columns from 0 (``"columns"``), or the name of the quantity
        (``"extxyz"``, ``"schnetpack"``).
    time_key
        Number of the column (``"columns"``), or name (``"extxyz"``), of the time or
        step, which is checked to be even. By default it is looked for.

    Returns
    -------
    ``[n_frames, 3]``, ``[n_frames, 6]`` (xx, yy, zz, yz, xz, xy) or ``[n_frames, 3, 3]`` each.

    Raises
    ------
    InvalidInputError
        The format is unknown, a key is missing or has no meaning, or a file is given twice.
    InvalidFileError
        A file is not as it should be, or there is none.
    """
    reader = find_reader(format)
    if (key is None) != (reader.key is None):
        expected = "none" if reader.key is None else f"the {reader.key} of the quantity"
        raise InvalidInputError(key="key", value=key, expected=f"{expected} (format {format})")
    if time_key is not None and not reader.has_time_key:
        raise InvalidInputError(
            key="time_key", value=time_key, expected=f"none (format {format} has no times)"
        )
    found: dict[Path, Path] = {}
    for path in paths:
        existing = existing_file(path)
        if existing.resolve() in found:
            raise InvalidInputError(
                "given twice", file=path, advice="each is one replica, or one bead"
            )
        found[existing.resolve()] = existing
    if not found:
        raise InvalidInputError(key="paths", value=[], expected="a file")
    return reader.read(list(found.values()), key, time_key)
