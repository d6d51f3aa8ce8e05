# SPDX-License-Identifier: MIT
"""Text in columns: LAMMPS ``fix ave/time``, GROMACS ``.xvg``, any table; the files of GPUMD."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eqcalc.spectra.io.formats.base import (
    SeriesReader,
    check_even,
    check_unrepeated,
    looks_like_time,
    matrices,
    number_rows,
)
from eqcalc.validation import InvalidFileError, InvalidInputError

#: First characters of lines that are skipped.
_COMMENTS = "#@!%"


class ColumnsReader(SeriesReader):
    """Three columns of a dipole moment, six or nine of a polarizability, numbered from 0.

    The column of the time or step must have equal increments; by default it is the first one, if
    nearly all of its increments are equal.
    """

    name = "columns"
    key = "columns"
    has_time_key = True

    def read_file(self, path: Path, key: Sequence[int], time_key: int | None) -> np.ndarray:
        """Return the columns `key`, after checking for equal steps."""
        columns = list(key)
        if len(columns) not in (3, 6, 9) or min(columns) < 0:
            expected = "3, 6 or 9 columns, numbered from 0"
            raise InvalidInputError(key="columns", value=columns, expected=expected)
        if time_key is not None and time_key < 0:
            expected = "a column, numbered from 0"
            raise InvalidInputError(key="time_key", value=time_key, expected=expected)
        last = max(*columns, -1 if time_key is None else time_key)
        lines, table = number_rows(path, _COMMENTS, last + 1)
        times = 0 if time_key is None and 0 not in columns else time_key
        if times is not None and (time_key is not None or looks_like_time(table[:, times])):
            check_even(table[:, times], f"column {times}:", lines)
        return matrices(check_unrepeated(table[:, columns]))


class GPUMDReader(SeriesReader):
    """``dipole.out`` and ``polarizability.out`` of GPUMD.

    The columns are the step and μx μy μz, or the step and αxx αyy αzz αxy αyz αzx.
    """

    name = "gpumd"

    def read_file(self, path: Path, key: None, time_key: None) -> np.ndarray:
        """Return the dipole moments or polarizabilities."""
        lines, table = number_rows(path, "#")
        width = table.shape[1]
        if width not in (4, 7):
            raise InvalidFileError(
                key="columns", value=width, expected="4 (dipole.out) or 7 (polarizability.out)"
            )
        check_even(table[:, 0], "step", lines)
        if width == 4:
            return table[:, 1:]
        xx, yy, zz, xy, yz, zx = table[:, 1:].T
        tensor = np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
        return np.moveaxis(tensor, -1, 0)
