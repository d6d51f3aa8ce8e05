# SPDX-License-Identifier: MIT
"""The order of the components of polarizabilities, checked against what polarizabilities are.

Of a molecule or a cell they are symmetric and, in the mean over a motion, positive definite.
Columns in another order or shifted by one are not, and give wrong spectra with small errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eqcalc.validation import InvalidInputError

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
    parts = [values[:: max(1, len(values) // _EXAMINED)] for values in replicas]
    frames = np.concatenate([np.asarray(p, dtype=float).reshape(len(p), -1) for p in parts])
    if not len(frames) or frames.shape[1] not in (6, 9):
        return
    if frames.shape[1] == 9:
        tensor = frames.reshape(-1, 3, 3)
        odd = float(np.abs(tensor - tensor.swapaxes(1, 2)).mean())
        if odd > _ASYMMETRIC * float(np.abs(tensor).mean()):
            raise InvalidInputError(
                key="polarizability",
                value=f"xy, xz, yz beside yx, zx, zy that differ by {odd:.3g}",
                expected="symmetric tensors: xx, xy, xz, yx, yy, yz, zx, zy, zz",
                advice="check the components: is one of them a step?",
            )
        frames = frames[:, [0, 4, 8, 5, 2, 1]]
    mean = frames.mean(0)
    # what is not finite is reported elsewhere
    if rate or not np.isfinite(mean).all() or _is_polarizability(mean):
        return
    if np.abs(mean).max() <= _NO_MEAN * frames.std(0).max():
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


def _is_polarizability(six: np.ndarray) -> bool:
    xx, yy, zz, yz, xz, xy = six
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    least, _, most = np.linalg.eigvalsh(tensor)
    return bool(most > 0.0 and least >= -1e-6 * most)  # a bond of a bond-polarizability model: 0
