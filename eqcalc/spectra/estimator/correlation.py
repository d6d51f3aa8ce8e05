# SPDX-License-Identifier: MIT
"""Spectral densities of series from correlation functions or tapered segments.

Correlation functions are computed by FFT as lag sums, which are averaged and transformed.
Welch's and Thomson's estimates average |Σ_t h_t Ẋ_t e^(−iωt)|² over segments, and over several
orthogonal tapers h (Σh² = 1) in the multitaper estimate. These are non-negative, unlike the
transform of a windowed correlation function. Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967);
Thomson, Proc. IEEE 70, 1055 (1982).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.fft import dct, irfft, next_fast_len, rfft
from scipy.signal.windows import dpss

from eqcalc.spectra.estimator.windows import lag_window
from eqcalc.units import SPECTRAL_PREFACTOR, SPEED_OF_LIGHT_CM_PER_FS
from eqcalc.validation import InvalidInputError, count, one_of

#: Components of the two factors of each density: equal for an autospectrum, different for a cross
#: spectrum.
Pairs = Sequence[tuple[slice, slice]]

#: Largest number of values of one piece of a series; 2**21 float64 are 16 MiB.
_PIECE_SIZE = 2**21
#: Time–bandwidth product of the multitaper estimate; it has 2NW − 1 tapers.
MULTITAPER_BANDWIDTH = 4.0


@dataclass(frozen=True, eq=False)
class Signal:
    """A series along one replica that is read in pieces.

    ``read(start, stop)`` returns the frames [start, stop) as a float64 array
    ``[stop - start, n_components]``.
    """

    n_frames: int
    n_components: int
    read: Callable[[int, int], np.ndarray]

    @classmethod
    def from_array(cls, values: np.ndarray) -> Signal:
        """Wrap an array ``[n_frames, ...]``; trailing axes are components."""
        values = np.asarray(values)
        n_components = int(np.prod(values.shape[1:], dtype=int))

        def read(start: int, stop: int) -> np.ndarray:
            return values[start:stop].reshape(stop - start, n_components).astype(float, copy=False)

        return cls(len(values), n_components, read)


def differentiate(signal: Signal, interval: float) -> Signal:
    """Return the time derivative of `signal` by central differences, per fs.

    The first and the last frame are lost. A sampled sinusoid of angular frequency ω is multiplied
    by sin(u)/u, u = ω·interval: see :func:`transfer_function`.
    """

    def read(start: int, stop: int) -> np.ndarray:
        values = signal.read(start, stop + 2)
        return (values[2:] - values[:-2]) / (2.0 * interval)

    return Signal(max(signal.n_frames - 2, 0), signal.n_components, read)


def transfer_function(
    wavenumber: np.ndarray, interval: float, timestep: float | None = None
) -> np.ndarray:
    """Return the transfer function of central differences for spectral densities.

    Parameters
    ----------
    wavenumber
        Wavenumbers, cm⁻¹.
    interval
        Time between frames, fs.
    timestep
        None: relative to the exact derivative of a sampled sinusoid,
        (sin u/u)² with u = 2πcν̃·interval. A time step [fs]: relative to the
        velocities of the velocity-Verlet algorithm with this step, which are
        themselves central differences of the positions over one step.
    """
    u = 2.0 * np.pi * SPEED_OF_LIGHT_CM_PER_FS * interval * np.asarray(wavenumber)
    if timestep is None:
        return np.sinc(u / np.pi) ** 2
    # sin(u)/(s sin(u/s)) written with sinc so that it is defined at zero
    return (np.sinc(u / np.pi) / np.sinc(u * timestep / interval / np.pi)) ** 2


@dataclass(frozen=True, eq=False)
class LagSums:
    """Σ_t x(t)·x(t+k) and the number of its terms, for parts of the data.

    A part is a replica or a block of one; sums over parts give the correlation
    function of all data, and sums over resampled parts that of a bootstrap
    sample, for replicas of any lengths.

    Parameters
    ----------
    sums
        ``[n_parts, n_groups, n_lags]``; a group is a set of components that
        are summed, such as the three of a vector.
    counts
        ``[n_parts, n_lags]``.
    """

    sums: np.ndarray
    counts: np.ndarray

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return len(self.sums)

    @classmethod
    def joined(cls, several: Sequence[LagSums]) -> LagSums:
        """Concatenate the parts of several."""
        sums, counts = zip(*[(one.sums, one.counts) for one in several], strict=True)
        return cls(np.concatenate(sums), np.concatenate(counts))

    def merged(self) -> LagSums:
        """Sum all parts into one."""
        return LagSums(self.sums.sum(0, keepdims=True), self.counts.sum(0, keepdims=True))

    def correlation(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the unbiased correlation function ``[..., n_groups, n_lags]`` of weighted parts.

        `weights` ``[..., n_parts]`` are the multiplicities of the parts; one by default.
        """
        if weights is None:
            weights = np.ones(self.n_parts)
        n_groups, n_lags = self.sums.shape[1:]
        sums = weights @ self.sums.reshape(self.n_parts, -1)
        counts = weights @ self.counts
        return sums.reshape(*weights.shape[:-1], n_groups, n_lags) / counts[..., None, :]


def lag_sums(
    signal: Signal,
    n_lags: int,
    pairs: Pairs = ((slice(None), slice(None)),),
    n_blocks: int = 1,
) -> LagSums:
    """Return the time-symmetric lag sums ½Σ[x(t)·y(t+k) + y(t)·x(t+k)] of one replica.

    Each pair holds the components x and y of a group, of equal number; identical for an
    autocorrelation. A pair of frames belongs to the block of its earlier frame, so that the
    `n_blocks` of equal length add up to the correlation function of the whole replica.

    Raises
    ------
    InvalidInputError
        There are fewer frames than lags.
    """
    n_frames = signal.n_frames
    if not 1 <= n_lags <= n_frames:
        raise InvalidInputError(
            key="n_lags",
            value=n_lags,
            expected=f"1 to {n_frames}, the frames of the signal of a replica",
            advice="use a shorter lag window or longer replicas",
        )
    alike = all(a == b for a, b in pairs)
    piece = max(4 * n_lags, _PIECE_SIZE // signal.n_components)
    sums = np.zeros((n_blocks, len(pairs), n_lags))
    counts = np.zeros((n_blocks, n_lags))
    edges = np.linspace(0, n_frames, n_blocks + 1).astype(int).tolist()
    for block, (first, last) in enumerate(pairwise(edges)):
        for start in range(first, last, piece):
            length = min(piece, last - start)
            end = min(start + length + n_lags - 1, n_frames)
            # long enough that no lag of either sign wraps around onto 0 … n_lags − 1
            n_fft = next_fast_len(max(end - start, length + n_lags - 1), real=True)
            values = np.ascontiguousarray(signal.read(start, end).T)
            all_frames = rfft(values, n_fft)
            if alike and length == end - start:
                power = all_frames.real**2 + all_frames.imag**2
            else:
                earlier = rfft(values[:, :length], n_fft).conj()
                power = earlier * all_frames if alike else None
            for g, (a, b) in enumerate(pairs):
                if power is not None:
                    product = power[a].sum(0)
                else:
                    product = 0.5 * (
                        (earlier[a] * all_frames[b]).sum(0) + (earlier[b] * all_frames[a]).sum(0)
                    )
                sums[block, g] += irfft(product, n_fft)[:n_lags]
            counts[block] += np.clip(n_frames - start - np.arange(n_lags), 0, length)
    return LagSums(sums, counts)


def spectral_density(
    correlation: np.ndarray,
    interval: float,
    temperature: float,
    window: str = "hann",
    padding: int = 4,
) -> tuple[np.ndarray, np.ndarray]:
    """Return S(ν̃) of a correlation function of time derivatives.

    Parameters
    ----------
    correlation
        ``[..., n_lags]``, ⟨Ẋ(0)·Ẋ(t)⟩ at lags 0, interval, … in X²/fs².
    interval
        Time between lags, fs.
    temperature
        K.
    window
        Name of the lag window; its length is n_lags·interval.
    padding
        Refinement of the grid relative to the resolution of the lags.

    Returns
    -------
    wavenumber
        ``[n_wavenumbers]``, cm⁻¹, from zero to the Nyquist wavenumber.
    density
        ``[..., n_wavenumbers]``, X²/(amu·Å²) per cm⁻¹ for X²/fs² given. Its
        trapezoid integral is K·C(0)/(2cT).
    """
    n_lags = correlation.shape[-1]
    n_grid = next_fast_len(count("padding", padding) * n_lags, real=True) + 1
    padded = np.zeros((*correlation.shape[:-1], n_grid))
    padded[..., :n_lags] = correlation * lag_window(window, n_lags)
    density = dct(padded, type=1, axis=-1) * (interval * SPECTRAL_PREFACTOR / temperature)
    return np.linspace(0.0, highest_wavenumber(interval), n_grid), density


# --- tapered segments -----------------------------------------------------------------


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
    signal, pairs, n_blocks
        As in :func:`lag_sums`.
    estimator
        ``"welch"`` or ``"multitaper"``.
    n_segment
        Frames of a segment.
    padding
        Refinement of the grid relative to that of a segment.

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
    """Return wavenumbers and S(ν̃), as :func:`spectral_density`, of mean periodograms."""
    density = periodogram * (interval * SPECTRAL_PREFACTOR / temperature)
    return np.linspace(0.0, highest_wavenumber(interval), periodogram.shape[-1]), density


def highest_wavenumber(interval: float) -> float:
    """Return the Nyquist wavenumber [cm⁻¹] of frames every `interval` fs."""
    return 1.0 / (2.0 * interval * SPEED_OF_LIGHT_CM_PER_FS)
