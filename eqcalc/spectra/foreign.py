# SPDX-License-Identifier: MIT
"""One door to the readers of :mod:`eqcalc.spectra.readers`: a format's name and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.spectra.readers import (
    SeriesError,
    read_columns,
    read_cp2k_moments,
    read_extxyz_series,
    read_gpumd,
    read_ipi_extras,
    read_schnetpack,
    read_vasp_outcar,
)

__all__ = ["FORMATS", "SeriesFormat", "read_foreign"]


@dataclass(frozen=True)
class SeriesFormat:
    """A format of series of dipole moments or polarizabilities.

    Parameters
    ----------
    text
        What it is.
    read
        Takes the paths, the key or columns, and returns replicas.
    key
        What has to be stated to find the quantity: ``"columns"``, a ``"key"``, or nothing.
    units
        Units that the code writes, of the dipole moment and the polarizability;
        None if they depend on its input.
    """

    text: str
    read: Callable[[Sequence[Path], Any], list[np.ndarray]]
    key: str | None = None
    units: tuple[str | None, str | None] = (None, None)


def _schnetpack(paths: Sequence[Path], key: str) -> list[np.ndarray]:
    return [replica for path in paths for replica in read_schnetpack(path, key)]


#: Formats by name.
FORMATS: dict[str, SeriesFormat] = {
    "columns": SeriesFormat(
        "text in columns (LAMMPS fix ave/time, GROMACS xvg, …), a file per replica",
        read_columns,
        "columns",
    ),
    "cp2k": SeriesFormat(
        "moments printed by CP2K, a file per replica",
        lambda paths, _: [read_cp2k_moments(path) for path in paths],
        units=("D", None),
    ),
    "extxyz": SeriesFormat(
        "extended XYZ, a file per replica",
        lambda paths, key: [read_extxyz_series(path, key) for path in paths],
        "key",
    ),
    "gpumd": SeriesFormat(
        "dipole.out or polarizability.out of GPUMD, a file per replica",
        lambda paths, _: read_gpumd(paths),
    ),
    "i-pi": SeriesFormat(
        "extras of i-PI, a file per bead of one ring polymer",
        lambda paths, _: [read_ipi_extras(paths)],
    ),
    "schnetpack": SeriesFormat("HDF5 of SchNetPack 2, molecules as replicas", _schnetpack, "key"),
    "vasp": SeriesFormat(
        "OUTCAR of VASP, a file per replica",
        lambda paths, _: [read_vasp_outcar(path) for path in paths],
        units=("e*Å", None),
    ),
}


def read_foreign(
    paths: Sequence[str | Path], format: str, key: str | Sequence[int] | None = None
) -> list[np.ndarray]:
    """Return the replicas of a series written by another code.

    Parameters
    ----------
    paths
        One file per replica, or per bead for i-PI.
    format
        One of :data:`FORMATS`.
    key
        Numbers of the columns from 0 (``"columns"``), or the name of the quantity
        (``"extxyz"``, ``"schnetpack"``).

    Raises
    ------
    SeriesError
        The format is unknown, the key is missing or has no meaning, or a file
        is not as it should be.
    """
    if format not in FORMATS:
        raise SeriesError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    chosen = FORMATS[format]
    if (key is None) != (chosen.key is None):
        wanted = "needs no key" if chosen.key is None else f"needs the {chosen.key} of the quantity"
        raise SeriesError(f"format {format}: {wanted}")
    found = [Path(path) for path in paths]
    for path in found:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
    return chosen.read(found, key)
