# SPDX-License-Identifier: MIT
"""Text files of other codes: their lines and numbers, and whether their frames are complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from eqcalc.spectra.continuity import describe_repeat, repeated_frames

__all__ = [
    "SeriesError",
    "as_paths",
    "check_even",
    "check_unrepeated",
    "looks_like_time",
    "number_rows",
    "text_lines",
]


class SeriesError(ValueError):
    """A file does not hold the series that was expected."""


def as_paths(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return one or several paths as a list."""
    found = [Path(paths)] if isinstance(paths, str | Path) else [Path(p) for p in paths]
    if not found:
        raise SeriesError("no file given")
    return found


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Return numbers, from 1, and text of the lines of a file."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from enumerate(file, 1)
    except UnicodeDecodeError:
        raise SeriesError(f"{path}: expected a text file (UTF-8), found other data") from None


def number_rows(path: Path, comments: str) -> tuple[list[int], list[list[float]]]:
    """Return line numbers and numbers of the lines that are not comments."""
    lines, rows = [], []
    for number, line in text_lines(path):
        text = line.strip()
        if not text or text[0] in comments:
            continue
        try:
            rows.append([float(word) for word in text.replace(",", " ").split()])
        except ValueError:
            raise SeriesError(
                f"{path}, line {number}: expected numbers, got {text[:60]!r}"
            ) from None
        lines.append(number)
    if len(rows) < 2:
        raise SeriesError(f"{path}: {len(rows)} lines with numbers; expected a frame on each")
    return lines, rows


def _uneven(steps: np.ndarray) -> np.ndarray:
    """Return the frames that the next one does not follow at the usual step."""
    gaps = np.diff(steps)
    usual = float(np.median(gaps))
    return np.flatnonzero((np.abs(gaps - usual) > 0.01 * abs(usual)) | (gaps <= 0.0))


def check_even(
    steps: Sequence[float] | np.ndarray, path: Path, what: str, lines: Sequence[int] = ()
) -> None:
    """Check that frames follow each other at equal steps."""
    if len(steps) < 2:
        raise SeriesError(f"{path}: fewer than two frames")
    bad = _uneven(np.asarray(steps))
    if len(bad):
        i = int(bad[0])
        place = f"line {lines[i + 1]}" if len(lines) else f"frame {i + 1}"
        raise SeriesError(
            f"{path}, {place}: {what} {steps[i + 1]:.10g} follows {steps[i]:.10g}, but "
            f"{np.median(np.diff(steps)):g} is the usual step: frames are missing or repeated (a "
            "restart?); repair the file or read its parts as replicas"
        )


def check_unrepeated(values: np.ndarray, path: Path) -> np.ndarray:
    """Return the frames of a file that does not number them, none of which is there twice."""
    repeated = repeated_frames(values)
    if repeated is not None:
        raise SeriesError(f"{path}: {describe_repeat(*repeated)} (frames count from 0)")
    return values


def looks_like_time(values: np.ndarray) -> bool:
    """Return whether numbers nearly always rise by the same amount."""
    return len(_uneven(values)) <= 0.1 * len(values) and bool(np.median(np.diff(values)) > 0.0)
