# SPDX-License-Identifier: MIT
"""Line shapes, and detection of bands in a curve."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.signal import find_peaks

#: Line shapes of unit area as functions of the distance from the line and the full width at half
#: maximum; triangular is that of a grating with equal slits.
LINE_SHAPES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "gaussian": lambda x, fwhm: (
        np.sqrt(4.0 * np.log(2.0) / fwhm**2 / np.pi) * np.exp(-(4.0 * np.log(2.0) / fwhm**2) * x**2)
    ),
    "lorentzian": lambda x, fwhm: 0.5 * fwhm / np.pi / (x**2 + 0.25 * fwhm**2),
    "triangular": lambda x, fwhm: np.maximum(1.0 - np.abs(x) / fwhm, 0.0) / fwhm,
}
#: A band rises by this many standard errors above the adjacent valleys.
RESOLVED = 2.0


def resolved_bands(
    y: np.ndarray, threshold: float, error: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """Return the first and the last point of each resolved band of ``[n]`` values, ascending.

    A maximum is a band if it is at least the fraction `threshold` of the highest value, and
    rises by as much, and by two standard errors, above the adjacent valleys.
    """
    if len(y) < 3 or not np.any(y > 0.0):
        return []
    prominence = np.full(len(y), threshold * y.max())
    if error is not None:
        prominence = np.maximum(prominence, RESOLVED * error)
    peaks, found = find_peaks(y, height=threshold * y.max(), prominence=0.0)
    peaks = peaks[found["prominences"] >= prominence[peaks]]
    valleys = [int(p + np.argmin(y[p : q + 1])) for p, q in pairwise(peaks)]
    edges = [0, *valleys, len(y) - 1]
    ends = [_foot(y, int(peak), edges[i], edges[i + 1]) for i, peak in enumerate(peaks)]
    return [(first, last) for first, last in ends if last - first >= 2]


def unresolved_maxima(
    y: np.ndarray, threshold: float, error: np.ndarray
) -> list[tuple[int, float]]:
    """Return the maxima that are high enough for a band but not significant.

    Maxima of resolved bands are excluded. Each is returned as its index, ascending, and its rise
    above the adjacent valleys in standard errors; the arguments are those of
    :func:`resolved_bands`.
    """
    if len(y) < 3 or not np.any(y > 0.0):
        return []
    least = threshold * y.max()
    peaks, found = find_peaks(y, height=least, prominence=least)
    rises = found["prominences"]
    bands = resolved_bands(y, threshold, error)
    tops = [first + int(np.argmax(y[first : last + 1])) for first, last in bands]
    hidden = np.flatnonzero((rises < RESOLVED * error[peaks]) & ~np.isin(peaks, tops))
    return [(int(peaks[i]), float(rises[i] / error[peaks[i]])) for i in hidden]


def maximum(x: np.ndarray, y: np.ndarray) -> float:
    """Return the position of the maximum, refined by a parabola through three points."""
    i = int(np.argmax(y))
    if i in (0, len(y) - 1):
        return float(x[i])
    c = np.polyfit(x[i - 1 : i + 2] - x[i], y[i - 1 : i + 2], 2)
    return float(x[i] - 0.5 * c[1] / c[0]) if c[0] < 0.0 else float(x[i])


def full_width(x: np.ndarray, y: np.ndarray) -> float:
    """Return the full width at half maximum, nan if the band does not fall to half."""
    low, high = _half_height(x, y)
    return high - low


def half_height_centre(x: np.ndarray, y: np.ndarray) -> float:
    """Return the centre of a band at half height, or its maximum if it does not fall to half.

    This is the position of a flat-topped band, whose maximum is ill-defined.
    """
    centre = 0.5 * sum(_half_height(x, y))
    return maximum(x, y) if np.isnan(centre) else centre


def _half_height(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return where a band reaches half of its maximum, nan if it does not."""
    i = int(np.argmax(y))
    half = 0.5 * y[i]
    left, right = np.flatnonzero(y[:i] < half), np.flatnonzero(y[i:] < half)
    if not len(left) or not len(right):
        return float("nan"), float("nan")
    a, b = int(left[-1]), i + int(right[0])
    low = x[a] + (half - y[a]) * (x[a + 1] - x[a]) / (y[a + 1] - y[a])
    high = x[b] + (half - y[b]) * (x[b - 1] - x[b]) / (y[b - 1] - y[b])
    return float(low), float(high)


def _foot(y: np.ndarray, peak: int, first: int, last: int) -> tuple[int, int]:
    """Return the limits of a band: a valley, or well beyond the fall to a hundredth.

    Beyond, because the wings and negative side lobes of the window's kernel belong to the area; but
    at most twenty half-widths, to exclude noise.
    """
    sides = (y[first : peak + 1][::-1], y[peak : last + 1])
    half_width = min(_fall(side, 0.5) for side in sides)
    left, right = (min(3 * _fall(side, 0.01), 20 * half_width, len(side) - 1) for side in sides)
    return peak - left, peak + right


def _fall(side: np.ndarray, fraction: float) -> int:
    """Return after how many points a flank falls below a fraction of its start (or ends)."""
    below = np.flatnonzero(side < fraction * side[0])
    return int(below[0]) if len(below) else len(side)
