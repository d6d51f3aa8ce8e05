# SPDX-License-Identifier: MIT
"""Lag windows, which multiply a correlation function before its transform.

A window is a function w(s) of s = t/T for a largest lag T. Further windows are added with
:func:`register_window`::

    register_window(Window("welch", lambda s: 1.0 - s**2))
    infrared(trajectory, window="welch")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from eqcalc.plugins import load_plugins
from eqcalc.units import SPEED_OF_LIGHT_CM_PER_FS
from eqcalc.validation import InvalidInputError, instance, non_negative, one_of


@dataclass(frozen=True, eq=False)
class Window:
    """A one-sided lag window w(s) on 0 ≤ s = t/T < 1, with w(0) = 1.

    Parameters
    ----------
    name
        Name of the window in options.
    function
        w(s) as a function of an array s.
    width
        Full width at half maximum of its transform times T: a line of this many 1/T in
        frequency, not angular frequency. Computed from the function by default.

    Raises
    ------
    InvalidInputError
        w(0) is not 1, which would scale the area of every band.
    """

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    width: float = 0.0

    def __post_init__(self) -> None:
        key = f"window {instance('name', self.name, str)}"
        values = self.function(np.arange(3) / 4) if callable(self.function) else self.function
        if np.shape(values) != (3,) or not np.isfinite(values).all():
            expected = "a function of an array that returns finite numbers of its shape"
            raise InvalidInputError(key=key, value=values, expected=expected)
        if abs(values[0] - 1.0) > 1e-12:
            raise InvalidInputError(key=key, value=float(values[0]), expected="w(0) = 1")
        if not non_negative("width", self.width):
            object.__setattr__(self, "width", self._computed_width())

    def _computed_width(self) -> float:
        s = (np.arange(4096) + 0.5) / 4096
        w = self.function(s)

        def above_half(frequency: float) -> float:
            return float(w @ np.cos(2.0 * np.pi * frequency * s) - 0.5 * w.sum())

        grid = np.arange(1, 400) * 0.05
        first = next(f for f in grid if above_half(f) < 0.0)
        return 2.0 * float(brentq(above_half, first - 0.05, first))

    def full_width(self, lag: float) -> float:
        """Return the full width at half maximum [cm⁻¹] of a sharp line for a `lag` [fs]."""
        return self.width / (SPEED_OF_LIGHT_CM_PER_FS * lag)


#: All windows by name.
WINDOWS: dict[str, Window] = {}


def register_window(new: Window) -> Window:
    """Register a window under its name.

    Raises
    ------
    InvalidInputError
        The name is taken.
    """
    if instance("window", new, Window).name in WINDOWS:
        raise InvalidInputError("the name is taken", key="window", value=new.name)
    WINDOWS[new.name] = new
    return new


def window(name: str) -> Window:
    """Return the window called `name`.

    Raises
    ------
    InvalidInputError
        There is no such window.
    """
    if isinstance(name, str) and name not in WINDOWS:
        load_plugins()  # which may register it
    return WINDOWS[one_of("window", name, WINDOWS)]


def lag_window(name: str, n_lags: int) -> np.ndarray:
    """Return the window `name` sampled at the lags 0 … n_lags − 1 of a length n_lags, [n_lags]."""
    return window(name).function(np.arange(n_lags) / n_lags)


def _blackman(s: np.ndarray) -> np.ndarray:
    # 0.42 + 0.5 cos(πs) + 0.08 cos(2πs), written to be exactly 1 at zero
    return 1.0 - 0.5 * (1.0 - np.cos(np.pi * s)) - 0.08 * (1.0 - np.cos(2.0 * np.pi * s))


def _parzen(s: np.ndarray) -> np.ndarray:
    return np.where(s <= 0.5, 1.0 - 6.0 * s**2 * (1.0 - s), 2.0 * (1.0 - s) ** 3)


register_window(Window("rectangular", np.ones_like, 0.60335))
register_window(Window("hann", lambda s: np.cos(0.5 * np.pi * s) ** 2, 1.0))
register_window(Window("hamming", lambda s: 0.54 + 0.46 * np.cos(np.pi * s), 0.90761))
register_window(Window("blackman", _blackman, 1.14940))
register_window(Window("bartlett", lambda s: 1.0 - s, 0.88589))
register_window(Window("parzen", _parzen, 1.27567))
# standard deviation T/3
register_window(Window("gaussian", lambda s: np.exp(-4.5 * s**2), 1.12964))
