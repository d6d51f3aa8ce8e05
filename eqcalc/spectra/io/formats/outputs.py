# SPDX-License-Identifier: MIT
"""Dipole moments in the main output of CP2K and VASP."""

from __future__ import annotations

import itertools
import re
import warnings
from pathlib import Path

import numpy as np

from eqcalc.files import text_lines
from eqcalc.spectra.io.formats.base import (
    SeriesReader,
    check_even,
    check_unrepeated,
)
from eqcalc.validation import InvalidFileError, numbers_in

_MOMENT = re.compile(r"(?<!\w)X=\s*(\S+)\s+Y=\s*(\S+)\s+Z=\s*(\S+)", re.IGNORECASE)
#: Step numbers and times in the main output of older and newer versions.
_TIME = re.compile(r"(?:TIME \[fs\]\s*=|MD\| Time \[fs\])\s*(\S+)")
_STEP = re.compile(r"(?:STEP NUMBER\s*=|MD\| Step number)\s*(\d+)")
_STARTED = "PROGRAM STARTED AT"
#: In an OUTCAR.
_DIPOLE = re.compile(r"dipolmoment\s+(-?\d\S*)\s+(-?\d\S*)\s+(-?\d\S*)\s+(electrons.*)")
_POTIM = re.compile(r"\s*POTIM\s*=\s*(\d\S*)")
_IONIC_STEP = re.compile(r"Iteration\s+(\d+)\(")


class RestartWarning(UserWarning):
    """A restart has computed steps again."""


class CP2KReader(SeriesReader):
    """Lines ``X= … Y= … Z= …`` of each step: the main output, or the file of moments alone.

    A restart from a step before the last one replaces the steps since.
    """

    name = "cp2k"
    units = ("D", None)

    def read_file(self, path: Path, key: None, time_key: None) -> np.ndarray:
        """Return the dipole moments, Debye."""
        frames: list[list[float]] = []
        steps: list[int] = []
        lines: list[int] = []
        times: list[float] = []
        counts: list[int] = []  # of moments at each step
        before: int | None = None  # of moments at the last restart
        again = False
        for number, line in text_lines(path):
            if (match := _MOMENT.search(line)) is not None:
                found = numbers_in(" ".join(match.groups()), f"line {number}")
                if not again:
                    frames.append(found)
                again = False
            elif (step := _STEP.search(line)) is not None:
                count = int(step.group(1))
                if before is not None and count in steps and len(frames) - before < 2:
                    first = steps.index(count)
                    new = frames[before:]
                    warnings.warn(
                        f"{path}: line {number}: a restart goes on from step {count - 1}; steps "
                        f"{count} to {steps[-1]} of the run before it are replaced",
                        RestartWarning,
                        stacklevel=2,
                    )
                    frames[counts[first] - len(new) :] = new
                    del steps[first:], lines[first:], times[first:], counts[first:]
                before = None
                steps.append(count)
                lines.append(number)
                counts.append(len(frames))
            elif (time := _TIME.search(line)) is not None:
                times += numbers_in(time.group(1), f"line {number}")
            elif _STARTED in line:
                again = bool(steps)  # a restart computes the step it starts from again
                before = len(frames)
            elif "ipole" in line:
                self.says_unit([line], 3, f"line {number}")
        if len(frames) < 2:
            expected = "lines of the form X= … Y= … Z= …"
            raise InvalidFileError(expected=expected, value=f"{len(frames)} of them")
        if len(steps) > 1:
            step_size, _ = check_even(steps, "step", lines)
            self.says_steps(step_size, "steps")
            # one before the first step is that of the start, one after the last of a step cut off
            if {b - a for a, b in itertools.pairwise(counts)} != {1} or counts[0] > 2:
                raise InvalidFileError(
                    "dipole moments and steps are counted apart",
                    key="X= Y= Z=",
                    value=f"{len(frames)} moments",
                    expected=f"one for each of {len(steps)} steps",
                    advice="print the moments once per step (EACH of PRINT in &MD and &MOMENTS)",
                )
        if len(times) > 1:
            interval, slack = check_even(times, "time")
            self.says_interval(interval, "fs", "Time [fs]", slack)
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
        printed: tuple[int, str] | None = None
        step: int | None = None
        steps, lines = [], []
        for number, line in text_lines(path):
            if "dipolmoment" in line:
                printed = number, line.strip()
            elif (time := _POTIM.match(line)) is not None:
                self.says_interval(numbers_in(time.group(1), "POTIM")[0], "fs", "POTIM")
            elif "Iteration" in line and (found := _IONIC_STEP.search(line)) is not None:
                step = int(found.group(1))
            elif "TOTAL-FORCE" in line:
                if printed is None:
                    raise InvalidFileError(
                        f"ionic step {len(frames) + 1} has no dipole moment",
                        key=f"line {number}",
                        advice="run with LDIPOL = .TRUE. or IDIPOL",
                    )
                where = f"line {printed[0]}"
                match = _DIPOLE.search(printed[1])
                if match is None:
                    raise InvalidFileError(key=where, expected="a dipole moment", value=printed[1])
                frames.append(numbers_in(" ".join(match.groups()[:3]), where))
                if len(frames) == 1:
                    self.says_unit([match.group(4)], 3, where)
                if step is not None:
                    steps.append(step)
                    lines.append(number)
                printed = None
        if len(frames) < 2:
            expected = "ionic steps with a dipole moment"
            raise InvalidFileError(expected=expected, value=f"{len(frames)} of them")
        if steps:
            check_even(steps, "ionic step", lines)
        return check_unrepeated(np.array(frames))
