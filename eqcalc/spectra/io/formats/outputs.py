# SPDX-License-Identifier: MIT
"""Dipole moments in the main output of CP2K and VASP."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from eqcalc.spectra.io.formats.base import (
    SeriesReader,
    check_even,
    check_unrepeated,
)
from eqcalc.spectra.io.text import text_lines
from eqcalc.validation import InvalidFileError, numbers_in

_MOMENT = re.compile(r"(?<!\w)X=\s*(\S+)\s+Y=\s*(\S+)\s+Z=\s*(\S+)", re.IGNORECASE)
#: Step numbers in the main output of older and newer versions.
_STEP = re.compile(r"(?:STEP NUMBER\s*=|MD\| Step number)\s*(\d+)")
#: In an OUTCAR.
_DIPOLE = re.compile(r"dipolmoment\s+(-?\d\S*)\s+(-?\d\S*)\s+(-?\d\S*)\s+electrons")
_IONIC_STEP = re.compile(r"Iteration\s+(\d+)\(")


class CP2KReader(SeriesReader):
    """Lines ``X= … Y= … Z= …`` of each step: the main output, or the file of moments alone."""

    name = "cp2k"
    units = ("D", None)

    def read_file(self, path: Path, key: None, time_key: None) -> np.ndarray:
        """Return the dipole moments, Debye."""
        frames, steps, lines = [], [], []
        for number, line in text_lines(path):
            if (match := _MOMENT.search(line)) is not None:
                frames.append(numbers_in(" ".join(match.groups()), f"line {number}"))
            elif (step := _STEP.search(line)) is not None:
                steps.append(int(step.group(1)))
                lines.append(number)
        if len(frames) < 2:
            expected = "lines of the form X= … Y= … Z= …"
            raise InvalidFileError(expected=expected, value=f"{len(frames)} of them")
        if steps:
            check_even(steps, "step", lines)
        return check_unrepeated(np.array(frames))


class VASPReader(SeriesReader):
    """The dipole moment of every ionic step in an OUTCAR.

    VASP prints it with ``LDIPOL`` or ``IDIPOL``, in each electronic step.

    The converged one, the last before the forces, is read.
    """

    name = "vasp"
    units = ("e*Å", None)

    def read_file(self, path: Path, key: None, time_key: None) -> np.ndarray:
        """Return the dipole moments, e·Å."""
        frames: list[list[float]] = []
        current: list[float] | None = None
        step: int | None = None
        steps, lines = [], []
        for number, line in text_lines(path):
            if "dipolmoment" in line:
                match = _DIPOLE.search(line)
                if match is None:
                    raise InvalidFileError(
                        key=f"line {number}", expected="a dipole moment", value=line.strip()
                    )
                current = numbers_in(" ".join(match.groups()), f"line {number}")
            elif "Iteration" in line and (found := _IONIC_STEP.search(line)) is not None:
                step = int(found.group(1))
            elif "TOTAL-FORCE" in line:
                if current is None:
                    raise InvalidFileError(
                        f"ionic step {len(frames) + 1} has no dipole moment",
                        key=f"line {number}",
                        advice="run with LDIPOL = .TRUE. or IDIPOL",
                    )
                frames.append(current)
                if step is not None:
                    steps.append(step)
                    lines.append(number)
                current = None
        if len(frames) < 2:
            expected = "ionic steps with a dipole moment"
            raise InvalidFileError(expected=expected, value=f"{len(frames)} of them")
        if steps:
            check_even(steps, "ionic step", lines)
        return check_unrepeated(np.array(frames))
