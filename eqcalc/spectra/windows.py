# SPDX-License-Identifier: MIT
"""Lag windows: the taper of a correlation function and the line width it causes.

Every window is 1 at lag zero and 0 (or close to it) at the largest lag, and
acts on the correlation function of a time derivative. Multiplying by a window
is a convolution of the spectrum with a kernel of unit area, so that integrated
intensities do not depend on the window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eqcalc.units import SPEED_OF_LIGHT_CM_PER_FS

__all__ = ["WINDOWS", "Window", "lag_for_resolution", "lag_window", "window"]


@dataclass(frozen=True)
class Window:
    """A one-sided lag window w(s) on 0 ≤ s = t/T < 1, with w(0) = 1.

    Parameters
    ----------
    name
        Name by which it is chosen.
    function
        w(s) as a function of an array s.
    width
        Full width at half maximum of its kernel times the window length T, in
        units of 1/T (frequency, not angular frequency).
    energy
        ∫w² dt / T over all t (both signs): sets the variance of the spectrum.
    """

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    width: float
    energy: float

    def full_width(self, lag: float) -> float:
        """Return the full width at half maximum [cm⁻¹] given to a sharp line by `lag` [fs]."""
        return self.width / (SPEED_OF_LIGHT_CM_PER_FS * lag)


def _blackman(s: np.ndarray) -> np.ndarray:
    # 0.42 + 0.5 cos(πs) + 0.08 cos(2πs), written to be exactly 1 at zero
    return 1.0 - 0.5 * (1.0 - np.cos(np.pi * s)) - 0.08 * (1.0 - np.cos(2.0 * np.pi * s))


def _parzen(s: np.ndarray) -> np.ndarray:
    return np.where(s <= 0.5, 1.0 - 6.0 * s**2 * (1.0 - s), 2.0 * (1.0 - s) ** 3)


#: All windows by name. Widths and energies are those of the continuous kernels.
WINDOWS: dict[str, Window] = {
    w.name: w
    for w in (
        Window("rectangular", np.ones_like, 0.60335, 2.0),
        Window("hann", lambda s: np.cos(0.5 * np.pi * s) ** 2, 1.0, 0.75),
        Window("hamming", lambda s: 0.54 + 0.46 * np.cos(np.pi * s), 0.90761, 0.7948),
        Window("blackman", _blackman, 1.14940, 0.6092),
        Window("bartlett", lambda s: 1.0 - s, 0.88589, 2.0 / 3.0),
        Window("parzen", _parzen, 1.27567, 0.53929),
        # standard deviation T/3
        Window("gaussian", lambda s: np.exp(-4.5 * s**2), 1.12964, 0.5908),
    )
}


def window(name: str) -> Window:
    """Return the window called `name`.

    Raises
    ------
    ValueError
        No such window; the message lists those that exist.
    """
    try:
        return WINDOWS[name]
    except KeyError:
        raise ValueError(f"unknown lag window {name!r}; known: {', '.join(WINDOWS)}") from None


def lag_window(name: str, n_lags: int) -> np.ndarray:
    """Return the window `name` sampled at the lags 0 … n_lags − 1 of a length n_lags, [n_lags]."""
    return window(name).function(np.arange(n_lags) / n_lags)


def lag_for_resolution(name: str, resolution: float) -> float:
    """Return the largest lag [fs] at which window `name` gives a line `resolution` [cm⁻¹] wide."""
    if not resolution > 0.0:
        raise ValueError(f"the resolution must be a positive wavenumber in cm⁻¹, got {resolution}")
    return window(name).width / (SPEED_OF_LIGHT_CM_PER_FS * resolution)
