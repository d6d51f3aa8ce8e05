# SPDX-License-Identifier: MIT
"""Registry of the readers of series, and the function that calls them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from eqcalc.plugins import class_named
from eqcalc.spectra.io.formats.base import SeriesReader, SeriesReplicas
from eqcalc.spectra.io.formats.columns import ColumnsReader, GPUMDReader
from eqcalc.spectra.io.formats.extxyz import ExtxyzReader
from eqcalc.spectra.io.formats.ipi import IPIReader
from eqcalc.spectra.io.formats.outputs import CP2KReader, VASPReader
from eqcalc.spectra.io.formats.schnetpack import SchNetPackReader
from eqcalc.spectra.series_checks import require_polarizabilities
from eqcalc.validation import InvalidFileError, InvalidInputError, existing_file, instance

#: Entry-point group of readers in installed packages.
ENTRY_POINTS = "eqcalc.series_readers"

#: Beyond any dipole moment or polarizability, in any unit.
_LARGEST = 1e9

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
    """Register a custom reader under its `name`; a class decorator.

    Raises
    ------
    InvalidInputError
        Another reader has this name.
    """
    if not (inspect.isclass(reader) and issubclass(reader, SeriesReader)):
        raise InvalidInputError(key="reader", value=reader, expected="a subclass of SeriesReader")
    if _READERS.setdefault(reader.name, reader) is not reader:
        raise InvalidInputError("another reader has this name", key="name", value=reader.name)
    return reader


def find_reader(format: str) -> SeriesReader:
    """Return the reader of a format.

    Parameters
    ----------
    format
        Name of a registered reader, ``package.module:Class``, or the name of an entry point of an
        installed package in the group ``eqcalc.series_readers``.

    Raises
    ------
    InvalidInputError
        There is no such reader.
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
    *,
    interval: float | None = None,
    timestep: float | None = None,
    unit: str | None = None,
) -> SeriesReplicas:
    """Return the replicas of a series written by another code, by file name.

    Parameters
    ----------
    paths
        One file per replica, or per bead for i-PI.
    format
        Its name; see :func:`find_reader`.
    key
        Numbers of the columns from 0 (``"columns"``; by default the three that are not the time,
        if there are three), or the name of the quantity (``"extxyz"``, ``"schnetpack"``).
    time_key
        Number of the column (``"columns"``), or name (``"extxyz"``), of the time or
        step, which must have equal increments. By default it is detected.
    interval
        Time between frames, fs, compared with the files that say it.
    timestep
        Step of the integrator, fs, compared with the steps between frames and `interval`.
    unit
        Unit of the values, compared with the files that say it.

    Returns
    -------
    ``[n_frames, 3]``, ``[n_frames, 6]`` (xx, yy, zz, yz, xz, xy) or ``[n_frames, 3, 3]`` each; with
    the interval and the unit, as stated or from the files.

    Raises
    ------
    InvalidInputError
        The format is unknown, a key is missing or invalid, or a file is given twice.
    InvalidFileError
        A file is missing or invalid, or contradicts `interval` or `unit`; or a polarizability is
        not symmetric, or its mean not positive definite, as with columns in another order.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    reader = find_reader(instance("format", format, str, "the name of a format"))
    if (key is None) != (reader.key is None) and reader.key != "columns":
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
    reader.interval, reader.timestep, reader.unit = interval, timestep, unit
    replicas = SeriesReplicas(reader.read(list(found.values()), key, time_key))
    replicas.interval, replicas.unit = reader.interval, reader.unit
    for name, values in replicas.items():
        if (largest := float(np.abs(values).max(initial=0.0))) > _LARGEST:
            raise InvalidFileError(
                key="values", value=largest, expected=f"numbers below {_LARGEST:g}", file=name
            )
        try:
            require_polarizabilities([values])
        except InvalidInputError as error:
            raise error.of_kind(InvalidFileError).within_file(name) from None
    return replicas
