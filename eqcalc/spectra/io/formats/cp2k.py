# SPDX-License-Identifier: MIT
"""Dipole moments ``X= … Y= … Z= …`` that CP2K prints in each step."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from eqcalc.spectra.io.formats.base import (
    SeriesReader,
    check_even,
    check_unrepeated,
    numbers,
    text_lines,
)
from eqcalc.validation import InvalidFileError

_MOMENT = re.compile(r"(?<!\w)X=\s*(\S+)\s+Y=\s*(\S+)\s+Z=\s*(\S+)", re.IGNORECASE)
#: In the main output, of older and newer versions.
_STEP = re.compile(r"(?:STEP NUMBER\s*=|MD\| Step number)\s*(\d+)")


class CP2KReader(SeriesReader):
    """The main output, or the file of the moments alone."""

    name = "cp2k"
    units = ("D", None)

    def read_file(self, path: Path, key: None, time_key: None) -> np.ndarray:
        """Return the dipole moments, Debye."""
        frames, steps, lines = [], [], []
        for number, line in text_lines(path):
            if (match := _MOMENT.search(line)) is not None:
                frames.append(numbers(" ".join(match.groups()), f"line {number}"))
            elif (step := _STEP.search(line)) is not None:
                steps.append(int(step.group(1)))
                lines.append(number)
        if len(frames) < 2:
            expected = "lines of the form X= … Y= … Z= …"
            raise InvalidFileError(expected=expected, value=f"{len(frames)} of them")
        if steps:
            check_even(steps, "step", lines)
        return check_unrepeated(np.array(frames))
