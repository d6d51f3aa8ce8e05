# SPDX-License-Identifier: MIT
"""Interface of the readers of series, and checks of the data they read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eqcalc.spectra.series import SAME_STATEMENT
from eqcalc.spectra.series_checks import describe_repeat, last_digit, repeated_frames
from eqcalc.units import (
    FEMTOSECOND,
    atomic_unit,
    conversion_factor,
    known_spelling,
    unit_in_name,
)
from eqcalc.validation import InvalidFileError, located

#: Units of time of other codes, fs.
_TIMES = {
    **dict.fromkeys(("fs", "femtosecond", "femtoseconds"), 1.0),
    **dict.fromkeys(("ps", "picosecond", "picoseconds"), 1e3),
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1e6),
    **dict.fromkeys(("s", "second", "seconds"), 1e15),
    **dict.fromkeys(("a.u.", "a.u", "au", "atomic_unit"), atomic_unit("fs")),
    "Å√(amu/eV)": 1.0 / FEMTOSECOND,  # of ASE, which does not write it
}
#: Units by the number of components of a frame.
UNITS = {3: "e*Å", 6: "Å^3", 9: "Å^3"}


class SeriesReplicas(dict[str, np.ndarray]):
    """Replicas of a series by name, with what was stated or the files say.

    Attributes
    ----------
    interval
        Time between frames, fs, or None.
    unit
        Unit of the values, or None.
    """

    interval: float | None = None
    unit: str | None = None


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

    #: What the caller has stated, and where it has not, what the files say: the time between
    #: frames [fs], the step of the integrator [fs], and the unit.
    interval: float | None = None
    timestep: float | None = None
    unit: str | None = None

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

    # --- what files say of themselves -----------------------------------------------------

    def says_interval(self, step: float, unit: str | None, place: str, slack: float = 0.0) -> None:
        """Compare the time between frames with the stated one, or take it if none was stated.

        Parameters
        ----------
        step
            The time between frames that the file says.
        unit
            Its unit; if None, any in which programs print times.
        place
            Where the file says it.
        slack
            Relative error of `step` due to few digits.
        """
        scales = _TIMES if unit is None else {unit: _TIMES.get(unit.lower(), 0.0)}
        times = {name: step * scale for name, scale in scales.items() if scale > 0.0}
        if self.interval is None and unit is not None and times:
            self.interval = times[unit]
        if self.interval is None or not times:
            return
        if not any(abs(t / self.interval - 1.0) <= SAME_STATEMENT + slack for t in times.values()):
            said = f"{times[unit]:g} fs" if unit is not None else f"{step:g} in any unit of time"
            raise InvalidFileError(
                "the file says another time between frames",
                key=place,
                value=said,
                expected=f"{self.interval:g} fs, the stated interval",
                advice="correct the one that is wrong",
            )

    def says_steps(self, step: float, place: str) -> None:
        """Compare steps of the integrator between frames with the stated interval and time step."""
        # frames may be counted instead
        if self.timestep is not None and step > 1:
            self.says_interval(step * self.timestep, "fs", f"{place}, {step:g} × timestep")

    def says_unit(self, texts: Sequence[str], n_components: int, place: str) -> None:
        """Compare the unit in texts of the file with the stated one, or take it if none was.

        Texts without a unit that measures the quantity say nothing.
        """
        for text in texts:
            said = unit_in(text, n_components)
            if said is None:
                continue
            if self.unit is None:
                self.unit = said
            if abs(conversion_factor(said, self.unit) - 1.0) > SAME_STATEMENT:
                raise InvalidFileError(
                    "the file says another unit",
                    key=place,
                    value=said,
                    expected=f"{self.unit}, the stated one",
                    advice="correct the one that is wrong",
                )


def unit_in(text: str, n_components: int) -> str | None:
    """Return the unit of a dipole moment or polarizability in a text: in brackets, or a word."""
    bracketed = re.findall(r"[\[({]([^\[\](){}]{1,40})[\])}]", text)
    words = [word for word in re.split(r"[\s,;:=\"]+", text[:1000]) if len(word) > 1]
    short = [text] if 1 < len(text.strip()) <= 40 else []
    like = UNITS[n_components]
    after = [] if "time" in text.lower() else re.findall(r"\bin ([^,;()\[\]]{1,30})", text)
    for part in (*bracketed, *after, *short, *words, *text.rsplit("/", 1)[1:]):
        unit = known_spelling(part, like) or unit_in_name(part, like)[1]
        if unit is not None:
            return unit
    return None


def matrices(values: np.ndarray) -> np.ndarray:
    """Return frames of nine numbers as 3 × 3, and others as they are."""
    return values.reshape(-1, 3, 3) if values.shape[1] == 9 else values


def check_even(
    steps: Sequence[float] | np.ndarray, what: str, lines: Sequence[int] = ()
) -> tuple[float, float]:
    """Return the step between frames, and its relative error due to few digits.

    `steps` is the time or step of each frame, `what` its name, and `lines` the line of each frame.

    Raises
    ------
    InvalidFileError
        The frames do not follow each other at equal steps.
    """
    times = np.asarray(steps, dtype=float)
    if len(times) < 2:
        raise InvalidFileError(expected="two or more frames", value=f"{len(times)} frames")
    mean = (times[-1] - times[0]) / (len(times) - 1)
    digit = last_digit(times)
    gaps = np.diff(times)
    usual = _usual(gaps)
    # times are rounded, steps are not
    rounding = 0.0 if digit == 1.0 else 1.01 * digit
    tolerance = min(max(0.01 * abs(usual), rounding), 0.5 * abs(usual))
    bad = np.flatnonzero((np.abs(gaps - usual) > tolerance) | (gaps <= 0.0))
    line = times[0] + mean * np.arange(len(times))
    if len(bad) and mean > 0.0 and rounding and np.abs(times - line).max() <= rounding:
        bad = bad[:0]
    if not len(bad):
        return mean, min(rounding / ((len(times) - 1) * mean), 1.0)
    i = int(bad[0])
    ratio = gaps[i] / usual if usual > 0.0 else 0.0
    expected = f"steps of {usual:g}, as elsewhere"
    advice = "repair the file, or read its parts as replicas"
    if len(bad) > 0.1 * len(gaps) and (gaps > 0.0).all():
        problem = f"steps of {gaps.min():.4g} to {gaps.max():.4g}: a variable time step, or strides"
        expected, advice = "equal steps", "write frames at equal times, or interpolate them"
    elif ratio > 1.5 and abs(ratio - round(ratio)) < 0.01 and (gaps > 0.0).all():
        problem = f"{round(ratio) - 1} missing between {times[i]:.10g} and {times[i + 1]:.10g}"
    else:
        problem = "missing or repeated (a restart?)"
    raise InvalidFileError(
        f"frames: {problem}",
        key=f"line {lines[i + 1]}" if len(lines) else f"frame {i + 1}",
        value=f"{what} {times[i + 1]:.10g} after {times[i]:.10g}",
        expected=expected,
        advice=advice,
    )


def looks_like_time(values: np.ndarray) -> bool:
    """Return whether numbers rise, or nearly always by the same amount (with restarts)."""
    gaps = np.diff(values)
    usual = _usual(gaps)
    even = np.abs(gaps - usual) <= max(0.01 * abs(usual), 1.01 * last_digit(values) % 1.0)
    return bool((gaps > 0.0).all()) or (usual > 0.0 and float(even.mean()) >= 0.9)


def _usual(gaps: np.ndarray) -> float:
    """Return the most frequent step, to four digits."""
    scale = float(np.abs(gaps).max()) or 1.0
    rounded, counts = np.unique(np.round(gaps / scale, 4), return_counts=True)
    common = np.round(gaps / scale, 4) == rounded[np.argmax(counts)]
    return float(np.median(gaps[common]))


def check_unrepeated(values: np.ndarray) -> np.ndarray:
    """Return the frames of a file without frame numbers, after checking that none is repeated."""
    repeated = repeated_frames(values)
    if repeated is not None:
        raise InvalidFileError(f"{describe_repeat(*repeated)} (frames count from 0)")
    return values
