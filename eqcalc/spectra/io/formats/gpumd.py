# SPDX-License-Identifier: MIT
"""``dipole.out`` and ``polarizability.out`` of GPUMD."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eqcalc.spectra.io.formats.base import SeriesReader, check_even, number_rows
from eqcalc.validation import InvalidFileError


class GPUMDReader(SeriesReader):
    """The columns are the step and μx μy μz, or the step and αxx αyy αzz αxy αyz αzx."""

    name = "gpumd"

    def read_file(self, path: Path, key: None, time_key: None) -> np.ndarray:
        """Return the dipole moments or polarizabilities."""
        lines, rows = number_rows(path, "#")
        widths = sorted({len(row) for row in rows})
        if widths not in ([4], [7]):
            raise InvalidFileError(
                key="columns", value=widths, expected="4 (dipole.out) or 7 (polarizability.out)"
            )
        table = np.array(rows)
        check_even(table[:, 0], "step", lines)
        if widths == [4]:
            return table[:, 1:]
        xx, yy, zz, xy, yz, zx = table[:, 1:].T
        tensor = np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
        return np.moveaxis(tensor, -1, 0)
