# SPDX-License-Identifier: MIT
"""Checks that a series is what it is said to be: one continuous motion, components in their order.

Repeated frames, unphysical jumps and columns of times give a wrong spectrum with small error bars.
The times of a file are checked when it is read (:mod:`eqcalc.spectra.io.formats`).

Polarizabilities of a molecule or a cell are symmetric and, in the mean over a motion, positive
definite. Columns in another order or shifted by one are not, and give wrong spectra with small
errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eqcalc.validation import InvalidInputError

if TYPE_CHECKING:
    from eqcalc.spectra.series import Series

#: Number of frames examined at a time.
_FRAMES, _LONG = 2**16, 2**20
#: A jump exceeds the median step and the next smaller step by these factors. In any smooth or
#: random motion the largest steps are close to each other: the largest of 10⁸ steps of a normal
#: variable is 8 medians, that of an oscillation 1.4.
_MEDIANS, _GAP = 10.0, 3.0
#: This many consecutive frames equal to earlier ones are a restart, not a coincidence.
_BLOCK = 3
#: Fewer frames than this may rise evenly by chance.
_SOME = 10
#: First remedy for jumps of a quantity.
_REPAIR = {
    "dipole": "remove jumps between polarization branches of a cell with --unwrap or "
    "eqcalc.spectra.unwrap_dipole, unwrap the positions of atoms that left the cell, or "
}


class BrokenSeriesError(InvalidInputError):
    """A series is not one continuous motion, or two replicas are not independent.

    Attributes
    ----------
    replica
        Its name.
    frame
        The last frame before a jump, or the first one that repeats an earlier one; None for equal
        replicas.
    """

    replica: str = ""
    frame: int | None = None


def require_unbroken(series: Series) -> Series:
    """Return the series after checking that its replicas are independent, continuous motions.

    Raises
    ------
    BrokenSeriesError
        A replica repeats frames or jumps, or has times among its components, or two are equal.
    """

    def broken(index: int, frame: int | None, problem: str, advice: str = "") -> Exception:
        name = series.name(index)
        error = BrokenSeriesError(problem, key=f"{series.quantity}, {name}", advice=advice)
        error.replica, error.frame = name, frame
        return error

    for index, values in enumerate(series.replicas):
        # arrays on disk are read in parts
        if isinstance(values, np.ndarray) and not isinstance(values, np.memmap):
            repeated = repeated_frames(values)
            if repeated is not None:
                raise broken(index, repeated[0], describe_repeat(*repeated))
            columns = values.reshape(len(values), -1).T if values.ndim > 1 else values[None]
            times = [i for i, column in enumerate(columns[:9]) if rises_evenly(column)]
            if times and not series.rate:
                raise broken(
                    index,
                    None,
                    f"component {times[0]} rises by the same amount in every frame: a time or step",
                    "leave it out",
                )
        found = None if series.rate else jump(values)
        if found is not None:
            frame, step, usual = found
            raise broken(
                index,
                frame,
                f"jumps by {step:.3g} {series.unit} from frame {frame} to {frame + 1}, where "
                f"{usual:.2g} is usual",
                _REPAIR.get(series.quantity, "") + "repair the failed calculation, or split there "
                "and give the parts as replicas",
            )
    equal = equal_replicas(series.replicas)
    if equal is not None:
        raise broken(
            equal[1],
            None,
            f"the same motion as {series.name(equal[0])}",
            "give each replica once: errors come from independent ones",
        )
    return series


def rises_evenly(values: np.ndarray) -> bool:
    """Return whether all numbers of many rise by the same amount, as times and steps do."""
    if len(values) <= _SOME or not values[1] > values[0]:
        return False
    gaps = np.diff(values)
    return bool(np.allclose(gaps, gaps[0], rtol=1e-6, atol=0.0))


# --- jumps ------------------------------------------------------------------------


def jump(values: Any) -> tuple[int, float, float] | None:
    """Return where a series jumps: the frame before, the length of the step, the median step.

    A step is a jump if it is ten times the median and separated from all ordinary steps, so that
    bursts, noise and decays do not count. The frames ``[n_frames, ...]`` may be in memory or on
    disk.
    """
    for start in range(0, len(values) - 1, _FRAMES):
        found = _jump(_step_lengths(values[start : start + _FRAMES + 1]))
        if found is not None:
            return start + found[0], *found[1:]
    return None


def _jump(steps: np.ndarray) -> tuple[int, float, float] | None:
    """Return :func:`jump` for given step lengths."""
    moving = steps[steps > 0.0]
    if len(moving) < 4:
        return None
    median = float(np.median(moving))
    if moving.max() <= _MEDIANS * median:
        return None
    upper = np.sort(moving[moving >= median])
    apart = (upper[1:] > _GAP * upper[:-1]) & (upper[1:] > _MEDIANS * median)
    if not apart.any():
        return None
    smallest = upper[1 + int(np.argmax(apart))]
    frame = int(np.argmax(steps >= smallest))
    return frame, float(steps[frame]), median


def _step_lengths(values: Any) -> np.ndarray:
    """Return |x(t + 1) − x(t)| over all components, ``[n_frames − 1]``."""
    frames = np.asarray(values, dtype=float).reshape(len(values), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.linalg.norm(np.diff(frames, axis=0), axis=1)
    # non-finite values are reported elsewhere
    return np.where(np.isfinite(steps), steps, 0.0)


# --- repeated frames ----------------------------------------------------------------


def repeated_frames(values: np.ndarray) -> tuple[int, int, int] | None:
    """Return the first, last and original first frame of a segment that was written twice.

    Values with few digits recur by chance; only repetitions beyond chance are reported.

    Parameters
    ----------
    values
        ``[n_frames, ...]``.
    """
    # long series in overlapping parts, to limit memory; restarts go back less far
    for start in range(0, len(values), _LONG):
        first = max(start - _LONG // 4, 0)
        found = _repeated(values[first : start + _LONG])
        if found is not None:
            return found[0] + first, found[1] + first, found[2] + first
    return None


def _repeated(values: np.ndarray) -> tuple[int, int, int] | None:
    """Return :func:`repeated_frames` for a part of a series."""
    flat = np.ascontiguousarray(np.asarray(values, dtype=float).reshape(len(values), -1))
    if len(flat) < 2 * _BLOCK or np.ptp(flat, axis=0).max() == 0.0:
        return None
    same = np.flatnonzero((flat[1:] == flat[:-1]).all(axis=1))
    if len(same) and np.isfinite(flat).all() and len(same) > _chance_repeats(flat, values):
        frame = int(same[0]) + 1
        return frame, frame, frame - 1
    return _repeated_block(flat)


def describe_repeat(first: int, last: int, original: int) -> str:
    """Return the result of :func:`repeated_frames` and a remedy as text."""
    what = (
        f"frame {first} repeats frame {original}"
        if first == last
        else f"frames {first} to {last} repeat those from {original} on"
    )
    return f"{what} (a restart?); remove them, or give the parts before and after as replicas"


def _chance_repeats(flat: np.ndarray, values: np.ndarray) -> float:
    """Return how many frames may equal the previous one by rounding, at turning points."""
    steps = np.diff(flat[:, :9], axis=0)
    # all components must coincide; correlated ones count once
    spread = np.sqrt(np.clip(np.linalg.eigvalsh(steps.T @ steps / len(steps)), 1e-300, None))
    digit = _resolution(flat, np.asarray(values).dtype)
    expected = len(flat) * float(np.prod(np.minimum(digit / spread, 1.0)))
    return 0.0 if expected < 1e-4 else 3.0 + 10.0 * expected


def _resolution(flat: np.ndarray, dtype: np.dtype) -> float:
    """Return the rounding unit of values written as decimals or in single precision."""
    sample = flat[:: max(len(flat) // 1000, 1)]
    largest = float(np.abs(flat).max())
    if digit := last_digit(sample):
        return digit
    single = sample.astype(np.float32)
    if dtype == np.float32 or np.array_equal(single.astype(float), sample):
        return float(np.spacing(np.float32(largest)))
    return 1e-13 * largest


def last_digit(values: np.ndarray) -> float:
    """Return the unit of the last digit of decimal numbers, at most 1; 0 beyond 12 digits."""
    for digits in range(13):
        if np.allclose(np.round(values, digits), values, rtol=1e-14, atol=0.0):
            return float(10.0**-digits)
    return 0.0


def _repeated_block(flat: np.ndarray) -> tuple[int, int, int] | None:
    """Return frames that repeat earlier ones in sequence, as after a restart."""
    # frames are equal if and only if their keys are; adding 0 turns −0 into 0
    odd = np.random.default_rng(0).integers(2**63, size=flat.shape[1], dtype=np.uint64) * 2 + 1
    keys = np.zeros(len(flat), dtype=np.uint64)
    for factor, column in zip(odd, flat.T, strict=True):
        keys += (column + 0.0).view(np.uint64) * factor
    ascending = np.sort(keys)
    if not np.any(ascending[1:] == ascending[:-1]):
        return None
    order = np.argsort(keys, kind="stable")
    equal = keys[order[1:]] == keys[order[:-1]]
    later, earlier = order[1:][equal], order[:-1][equal]
    if not len(later):
        return None
    by_time = np.argsort(later)
    later, offset = later[by_time], (later - earlier)[by_time]
    breaks = np.flatnonzero((np.diff(later) != 1) | (np.diff(offset) != 0)) + 1
    runs = np.split(np.arange(len(later)), breaks)
    blocks = [run for run in runs if len(run) >= _BLOCK and offset[run[0]] > 1]
    in_blocks = sum(map(len, blocks))
    if len(later) - in_blocks > 1:
        # coarse values coincide by chance, even a few in a row; a restart ends where it began
        blocks = [run for run in blocks if len(run) == offset[run[0]]]
        if len(later) > min(2 * in_blocks, len(flat) // 2):
            return None
    if not blocks:
        return None
    first, last = int(later[blocks[0][0]]), int(later[blocks[0][-1]])
    original = first - int(offset[blocks[0][0]])
    # a repetition from start to end is a periodic motion
    periodic = original == 0 and last == len(flat) - 1 and len(flat) >= 3 * first
    return None if periodic else (first, last, original)


# --- replicas -----------------------------------------------------------------------


def equal_replicas(replicas: Sequence[Any]) -> tuple[int, int] | None:
    """Return two replicas that agree over their common length, or None.

    Replicas without motion are not compared.
    """
    starts: dict[bytes, list[int]] = {}
    for index, values in enumerate(replicas):
        if len(values) < _BLOCK:
            continue
        start = np.ascontiguousarray(values[:_BLOCK], dtype=float).tobytes()
        for other in starts.setdefault(start, []):
            if _equal(replicas[other], values):
                return other, index
        starts[start].append(index)
    return None


def _equal(first: Any, second: Any) -> bool:
    length = min(len(first), len(second))
    moving = False
    for i in range(0, length, _FRAMES):
        a, b = (np.asarray(v[i : min(i + _FRAMES, length)]) for v in (first, second))
        if not np.array_equal(a, b):
            return False
        moving = moving or bool(np.any(a != np.asarray(first[:1])))
    return moving


# --- components of polarizabilities -------------------------------------------------

#: Orders of the components: the usual one, and those of other programs.
_ORDER = "xx yy zz yz xz xy"
_ORDERS = (
    "xx xy xz yy yz zz",
    "xx xy yy xz yz zz",
    "xx yy zz xy yz xz",
    "xx yy zz xy xz yz",
)
#: Mean difference of αxy and αyx relative to the mean of all: finite fields are exact to 1 %.
_ASYMMETRIC = 0.03
#: Mean relative to the standard deviation of fluctuations, whose mean was subtracted. Of whole
#: polarizabilities it is 3 or more, also where a long molecule turns.
_NO_MEAN = 0.3
#: Frames of a long replica that are examined.
_EXAMINED = 20_000


class TensorSums:
    """Sums over frames of six or nine numbers, which tell whether these are polarizabilities.

    Frames of another shape are not counted.
    """

    def __init__(self, array: np.ndarray | None = None) -> None:
        #: number of frames; Σ and Σ of squares of xx, yy, zz, yz, xz, xy; Σ|αij − αji| and Σ|αij|
        self.array = np.zeros(15) if array is None else np.array(array, dtype=float)

    def plus(self, frames: np.ndarray) -> TensorSums:
        """Return the sums with ``[n, 6]`` (xx, yy, zz, yz, xz, xy) or ``[n, 3, 3]`` added."""
        flat = np.asarray(frames, dtype=float).reshape(len(frames), -1)
        if flat.shape[1] not in (6, 9):
            return self
        odd, size = 0.0, 0.0
        if flat.shape[1] == 9:
            tensor = flat.reshape(-1, 3, 3)
            odd = float(np.abs(tensor - tensor.swapaxes(1, 2)).sum())
            size = float(np.abs(tensor).sum())
            flat = flat[:, [0, 4, 8, 5, 2, 1]]
        added = [len(flat), *flat.sum(0), *(flat**2).sum(0), odd, size]
        return TensorSums(self.array + added)

    def require_symmetric(self) -> None:
        """Raise InvalidInputError unless the tensors are symmetric."""
        n_frames, odd, size = self.array[[0, 13, 14]]
        if odd > _ASYMMETRIC * size:
            raise InvalidInputError(
                key="polarizability",
                value=f"xy, xz, yz beside yx, zx, zy that differ by {odd / (9.0 * n_frames):.3g}",
                expected="symmetric tensors: xx, xy, xz, yx, yy, yz, zx, zy, zz",
                advice="check the components: is one of them a step?",
            )

    def require_positive(self) -> None:
        """Raise InvalidInputError unless the mean is that of polarizabilities.

        It is positive definite, or nearly zero where the mean was subtracted.
        """
        mean, square = self.array[1:13].reshape(2, 6) / max(self.array[0], 1.0)
        # what is not finite is reported elsewhere
        if not self.array[0] or not np.isfinite(mean).all() or _is_polarizability(mean):
            return
        scatter = np.sqrt(np.maximum(square - mean**2, 0.0))
        if np.abs(mean).max() <= _NO_MEAN * scatter.max():
            return
        fitting = [
            order
            for order in _ORDERS
            if _is_polarizability(np.array([mean[order.split().index(c)] for c in _ORDER.split()]))
        ]
        advice = f"it is with the numbers taken as {' or as '.join(fitting)}" if fitting else ""
        if not fitting and _is_polarizability(-mean):
            advice = "it is with the opposite sign"
        raise InvalidInputError(
            "the mean of the polarizability is not positive definite",
            key="polarizability",
            value=[round(float(x), 4) for x in mean],
            expected=f"{_ORDER}, in this order",
            advice=advice,
        )


def require_polarizabilities(replicas: Sequence[Any], *, rate: bool = False) -> None:
    """Check that frames of six or nine numbers are polarizabilities in the usual order.

    Parameters
    ----------
    replicas
        ``[n_frames, 6]`` (xx, yy, zz, yz, xz, xy) or ``[n_frames, 3, 3]`` each, or on disk;
        frames of another shape are not examined.
    rate
        They are time derivatives, of which only the symmetry is known.

    Raises
    ------
    InvalidInputError
        They are not; the error names the order with which they would be.
    """
    sums = TensorSums()
    for values in replicas:
        sums = sums.plus(values[:: max(1, len(values) // _EXAMINED)])
    sums.require_symmetric()
    if not rate:
        sums.require_positive()


def _is_polarizability(six: np.ndarray) -> bool:
    xx, yy, zz, yz, xz, xy = six
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    least, _, most = np.linalg.eigvalsh(tensor)
    return bool(most > 0.0 and least >= -1e-6 * most)  # a bond of a bond-polarizability model: 0
