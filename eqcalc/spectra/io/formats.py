# SPDX-License-Identifier: MIT
"""One door to the readers of :mod:`eqcalc.spectra.io.readers`: a format's name and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.spectra.io.readers import (
    SeriesError,
    read_columns,
    read_cp2k_moments,
    read_extxyz_series,
    read_gpumd,
    read_ipi_extras,
    read_schnetpack,
    read_vasp_outcar,
)

#: Takes a file, the key or columns of the quantity, and those of the time.
FileReader = Callable[[Path, Any, Any], np.ndarray]


@dataclass(frozen=True)
class SeriesFormat:
    """A format of series of dipole moments or polarizabilities.

    Parameters
    ----------
    text
        What it is.
    read
        Takes the paths, the key or columns of the quantity and those of the time,
        and returns replicas by name.
    key
        What has to be stated to find the quantity: ``"columns"``, a ``"key"``, or nothing.
    units
        Units that the code writes, of the dipole moment and the polarizability;
        None if they depend on its input.
    has_time_key
        The time of a frame may be stated where its quantity is.
    """

    text: str
    read: Callable[[Sequence[Path], Any, Any], dict[str, np.ndarray]]
    key: str | None = None
    units: tuple[str | None, str | None] = (None, None)
    has_time_key: bool = False


def _each(read: FileReader) -> Callable[[Sequence[Path], Any, Any], dict[str, np.ndarray]]:
    """Return a reader of files that are a replica each."""
    return lambda paths, key, time: {str(path): read(path, key, time) for path in paths}


def _beads(paths: Sequence[Path], key: None, time: None) -> dict[str, np.ndarray]:
    name = str(paths[0]) if len(paths) == 1 else f"mean of {paths[0]} … {paths[-1]}"
    return {name: read_ipi_extras(paths)}


def _schnetpack(paths: Sequence[Path], key: str, time: None) -> dict[str, np.ndarray]:
    return {
        f"{path}, molecule {index}": molecule
        for path in paths
        for index, molecule in enumerate(read_schnetpack(path, key))
    }


#: Formats by name.
FORMATS: dict[str, SeriesFormat] = {
    "columns": SeriesFormat(
        "text in columns (LAMMPS fix ave/time, GROMACS xvg, …), a file per replica",
        _each(lambda path, key, time: read_columns(path, key, time_column=time)[0]),
        "columns",
        has_time_key=True,
    ),
    "cp2k": SeriesFormat(
        "moments printed by CP2K, a file per replica",
        _each(lambda path, key, time: read_cp2k_moments(path)),
        units=("D", None),
    ),
    "extxyz": SeriesFormat(
        "extended XYZ, a file per replica",
        _each(read_extxyz_series),
        "key",
        has_time_key=True,
    ),
    "gpumd": SeriesFormat(
        "dipole.out or polarizability.out of GPUMD, a file per replica",
        _each(lambda path, key, time: read_gpumd(path)[0]),
    ),
    "i-pi": SeriesFormat("extras of i-PI, a file per bead of one ring polymer", _beads),
    "schnetpack": SeriesFormat("HDF5 of SchNetPack 2, molecules as replicas", _schnetpack, "key"),
    "vasp": SeriesFormat(
        "OUTCAR of VASP, a file per replica",
        _each(lambda path, key, time: read_vasp_outcar(path)),
        units=("e*Å", None),
    ),
}


def read_foreign(
    paths: Sequence[str | Path],
    format: str,
    key: str | Sequence[int] | None = None,
    time_key: str | int | None = None,
) -> dict[str, np.ndarray]:
    """Return the replicas of a series written by another code, by the names of their files.

    Parameters
    ----------
    paths
        One file per replica, or per bead for i-PI.
    format
        One of :data:`FORMATS`.
    key
        Numbers of the columns from 0 (``"columns"``), or the name of the quantity
        (``"extxyz"``, ``"schnetpack"``).
    time_key
        Number of the column (``"columns"``), or name (``"extxyz"``), of the time or
        step, which is checked to be even. By default it is looked for.

    Raises
    ------
    SeriesError
        The format is unknown, a key is missing or has no meaning, a file is given
        twice, or is not as it should be.
    FileNotFoundError
        There is no such file.
    """
    if format not in FORMATS:
        raise SeriesError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    chosen = FORMATS[format]
    if (key is None) != (chosen.key is None):
        wanted = "needs no key" if chosen.key is None else f"needs the {chosen.key} of the quantity"
        raise SeriesError(f"format {format}: {wanted}")
    if time_key is not None and not chosen.has_time_key:
        raise SeriesError(f"format {format}: takes no key of the time")
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            raise SeriesError(f"{path}: is a folder; expected a file")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        if path.resolve() in found:
            raise SeriesError(f"{path}: given twice; each is one replica, or one bead")
        found[path.resolve()] = path
    if not found:
        raise SeriesError("no file given")
    return chosen.read(list(found.values()), key, time_key)
