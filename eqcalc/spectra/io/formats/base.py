# SPDX-License-Identifier: MIT
"""Interface of the readers of series, and checks of the data they read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eqcalc.spectra.continuity import describe_repeat, repeated_frames
from eqcalc.spectra.io.text import split_table, text_lines
from eqcalc.validation import InvalidFileError, located


class SeriesReader:
    """A format of series of dipole moments or polarizabilities.

    A subclass sets the class attributes and implements `read_file` for one file;
    :func:`eqcalc.spectra.io.formats.register_reader` registers it.

    Attributes
    ----------
    name
        Name of the format.
    key
        Argument that locates the quantity: ``"columns"``, a ``"key"``, or None.
    units
        Units of the dipole moment and the polarizability in the output of the code; None if they
        depend on its input.
    has_time_key
        Whether frames may contain their time.
    """

    name: ClassVar[str]
    key: ClassVar[str | None] = None
    units: ClassVar[tuple[str | None, str | None]] = (None, None)
    has_time_key: ClassVar[bool] = False

    def read_file(self, path: Path, key: Any, time_key: Any) -> np.ndarray:
        """Return the series of an existing file.

        ``[n_frames, 3]``, ``[n_frames, 6]`` (xx, yy, zz, yz, xz, xy) or ``[n_frames, 3, 3]``, by
        the keys of the quantity and of the time, if the format has them.
        """
        raise NotImplementedError

    def read(self, paths: Sequence[Path], key: Any, time_key: Any) -> dict[str, np.ndarray]:
        """Return replicas by name; by default, each file is one."""
        replicas = {}
        for path in paths:
            with located(file=path):
                replicas[str(path)] = self.read_file(path, key, time_key)
        return replicas


def number_rows(
    path: Path, comments: str, width: int | None = None
) -> tuple[list[int], np.ndarray]:
    """Return the line numbers and the first `width` columns of a table; by default, all."""
    table = split_table(text_lines(path), comments)
    if len(table.rows) < 2:
        raise InvalidFileError(
            expected="a frame on each line", value=f"{len(table.rows)} lines with numbers"
        )
    width = table.n_columns if width is None else width
    values = table.numbers(range(width), f"{width} numbers, each in a column of its own")
    return [row.number for row in table.rows], values


def matrices(values: np.ndarray) -> np.ndarray:
    """Return frames of nine numbers as 3 × 3, and others as they are."""
    return values.reshape(-1, 3, 3) if values.shape[1] == 9 else values


def check_even(steps: Sequence[float] | np.ndarray, what: str, lines: Sequence[int] = ()) -> None:
    """Check that frames follow each other at equal steps.

    `steps` is the time or step of each frame, `what` its name, and `lines` the line of each frame.
    """
    if len(steps) < 2:
        raise InvalidFileError(expected="two or more frames", value=f"{len(steps)} frames")
    bad = _uneven(np.asarray(steps))
    if len(bad):
        i = int(bad[0])
        raise InvalidFileError(
            f"{what} {steps[i + 1]:.10g} follows {steps[i]:.10g}, but "
            f"{np.median(np.diff(steps)):g} is the usual step: frames are missing or repeated "
            "(a restart?)",
            key=f"line {lines[i + 1]}" if len(lines) else f"frame {i + 1}",
            advice="repair the file, or read its parts as replicas",
        )


def looks_like_time(values: np.ndarray) -> bool:
    """Return whether numbers nearly always increase by the same amount."""
    return len(_uneven(values)) <= 0.1 * len(values) and bool(np.median(np.diff(values)) > 0.0)


def _uneven(steps: np.ndarray) -> np.ndarray:
    """Return the frames after which the step is irregular."""
    gaps = np.diff(steps)
    usual = float(np.median(gaps))
    return np.flatnonzero((np.abs(gaps - usual) > 0.01 * abs(usual)) | (gaps <= 0.0))


def check_unrepeated(values: np.ndarray) -> np.ndarray:
    """Return the frames of a file without frame numbers, after checking that none is repeated."""
    repeated = repeated_frames(values)
    if repeated is not None:
        raise InvalidFileError(f"{describe_repeat(*repeated)} (frames count from 0)")
    return values
