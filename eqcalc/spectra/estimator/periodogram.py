# SPDX-License-Identifier: MIT
"""Spectral densities from tapered segments: Welch's and Thomson's estimates.

Both average |Σ_t h_t Ẋ_t e^(−iωt)|² over segments, and over several orthogonal
tapers h (Σh² = 1) in the multitaper estimate. They are never negative, unlike
the transform of a windowed correlation function. Welch, IEEE Trans. Audio
Electroacoust. 15, 70 (1967); Thomson, Proc. IEEE 70, 1055 (1982).
"""

from __future__ import annotations

import numpy as np
from scipy.fft import next_fast_len, rfft
from scipy.signal.windows import dpss

from eqcalc.spectra.estimator.correlation import LagSums, Pairs, Signal
from eqcalc.units import SPECTRAL_PREFACTOR, SPEED_OF_LIGHT_CM_PER_FS
from eqcalc.validation import one_of

#: Time–bandwidth product of the multitaper estimate; it has 2NW − 1 tapers.
MULTITAPER_BANDWIDTH = 4.0


def tapers(estimator: str, n_frames: int) -> np.ndarray:
    """Return the tapers of an estimate, ``[n_tapers, n_frames]``, each with Σh² = 1."""
    if one_of("estimator", estimator, ("welch", "multitaper")) == "welch":
        taper = np.sin(np.pi * (np.arange(n_frames) + 0.5) / n_frames) ** 2
        return taper[None] / np.linalg.norm(taper)
    count = int(2 * MULTITAPER_BANDWIDTH - 1)
    return np.asarray(dpss(n_frames, MULTITAPER_BANDWIDTH, count))


def periodogram_width(estimator: str, length: float) -> float:
    """Return the full width at half maximum [cm⁻¹] of a sharp line for segments of `length` [fs].

    1.441/T for Welch's estimate with a Hann taper, 7.38/T for the multitaper one,
    whose flat line shape is 2NW/T wide at its foot.
    """
    factor = 1.4410 if estimator == "welch" else 7.378
    return factor / (SPEED_OF_LIGHT_CM_PER_FS * length)


def periodogram_sums(
    signal: Signal,
    estimator: str,
    n_segment: int,
    padding: int,
    pairs: Pairs,
    n_blocks: int = 1,
) -> LagSums:
    """Return sums of (cross) periodograms over half-overlapping segments of a replica.

    Parameters
    ----------
    signal
        The series.
    estimator
        ``"welch"`` or ``"multitaper"``.
    n_segment
        Frames of a segment.
    padding
        The grid is this many times finer than that of a segment.
    pairs
        Components of the two factors of each group.
    n_blocks
        Number of blocks the segments are collected in.

    Returns
    -------
    ``sums`` are ``[n_blocks, n_pairs, n_wavenumbers]`` from zero to the Nyquist
    wavenumber, ``counts`` the numbers of segments.
    """
    shape = tapers(estimator, n_segment)
    n_fft = 2 * next_fast_len((padding * n_segment + 1) // 2, real=True)
    starts = np.arange(0, signal.n_frames - n_segment + 1, max(n_segment // 2, 1))
    sums = np.zeros((n_blocks, len(pairs), n_fft // 2 + 1))
    counts = np.zeros((n_blocks, n_fft // 2 + 1))
    for index, start in enumerate(starts):
        block = index * n_blocks // len(starts)
        values = signal.read(int(start), int(start) + n_segment).T
        transform = [rfft(values * taper, n_fft) for taper in shape]
        for g, (a, b) in enumerate(pairs):
            power = sum((x[a] * x[b].conj()).real.sum(0) for x in transform)
            sums[block, g] += power / len(shape)
        counts[block] += 1.0
    return LagSums(sums, counts)


def periodogram_density(
    periodogram: np.ndarray, interval: float, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return wavenumbers and S(ν̃) of mean periodograms ``[..., n_wavenumbers]``.

    See :func:`eqcalc.spectra.estimator.correlation.spectral_density`, whose units it has.
    """
    density = periodogram * (interval * SPECTRAL_PREFACTOR / temperature)
    nyquist = 1.0 / (2.0 * interval * SPEED_OF_LIGHT_CM_PER_FS)
    return np.linspace(0.0, nyquist, periodogram.shape[-1]), density
