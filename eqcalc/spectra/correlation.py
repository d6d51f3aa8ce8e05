# SPDX-License-Identifier: MIT
"""From a time series to a spectral density: the one kernel behind every spectrum.

For an observable X with time derivative Ẋ

    S(ν̃) = (K/T) ∫ ⟨Ẋ(0)·Ẋ(t)⟩ cos(2πcν̃t) dt,   K = 2c/k_B,

over all times of both signs. In the harmonic limit ∫S dν̃ over a band is
Σ|∂X/∂Q|² of its modes at every temperature, and over the whole axis it is
⟨|Ẋ|²⟩/(k_B T), exactly, for the trapezoid rule on the grid used here.

The components of X are summed, never normalised one by one. Correlation
functions are computed with zero-padded Fourier transforms (Wiener–Khinchin),
piece by piece, so that the memory needed depends on the lag window and not on
the length of the series. The transform to frequencies is the cosine transform
of an even function (type I): lag zero is counted once, and the result is real.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dct, irfft, next_fast_len, rfft

from eqcalc.spectra.windows import lag_window
from eqcalc.units import SPECTRAL_PREFACTOR, SPEED_OF_LIGHT_CM_PER_FS

__all__ = [
    "LagSums",
    "Signal",
    "autocorrelation",
    "cross_lag_sums",
    "differentiate",
    "lag_sums",
    "spectral_density",
    "transfer_function",
]

#: Numbers held at once by one piece of a series; 2**21 float64 are 16 MiB.
_PIECE_SIZE = 2**21


@dataclass(frozen=True)
class Signal:
    """A series along one replica that is read in pieces.

    Parameters
    ----------
    n_frames
        Number of frames.
    n_components
        Number of components of one frame.
    read
        ``read(start, stop)`` returns the frames [start, stop) as a float64
        array ``[stop - start, n_components]``.
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

    The first and the last frame are lost. A sampled sinusoid of angular
    frequency ω comes out multiplied by sin(u)/u, u = ω·interval: see
    :func:`transfer_function`.
    """

    def read(start: int, stop: int) -> np.ndarray:
        values = signal.read(start, stop + 2)
        return (values[2:] - values[:-2]) / (2.0 * interval)

    return Signal(max(signal.n_frames - 2, 0), signal.n_components, read)


def transfer_function(
    wavenumber: np.ndarray, interval: float, timestep: float | None = None
) -> np.ndarray:
    """Return what central differences do to a spectral density.

    Parameters
    ----------
    wavenumber
        Where, cm⁻¹.
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


# --- correlation functions --------------------------------------------------------


@dataclass(frozen=True)
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

    def __add__(self, other: LagSums) -> LagSums:
        """Return the parts of both."""
        return LagSums(
            np.concatenate([self.sums, other.sums]), np.concatenate([self.counts, other.counts])
        )

    def merged(self) -> LagSums:
        """Return all parts as one."""
        return LagSums(self.sums.sum(0, keepdims=True), self.counts.sum(0, keepdims=True))

    def correlation(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the unbiased correlation function of the weighted parts.

        Parameters
        ----------
        weights
            ``[..., n_parts]``, how often each part counts; once by default.

        Returns
        -------
        ``[..., n_groups, n_lags]``
        """
        if weights is None:
            weights = np.ones(self.n_parts)
        n_groups, n_lags = self.sums.shape[1:]
        sums = weights @ self.sums.reshape(self.n_parts, -1)
        counts = weights @ self.counts
        return sums.reshape(*weights.shape[:-1], n_groups, n_lags) / counts[..., None, :]


def _blocks(n_frames: int, n_blocks: int, piece: int) -> list[tuple[int, int, int]]:
    """Return (block, start, stop) of the pieces of a series cut into equal blocks."""
    edges = np.linspace(0, n_frames, n_blocks + 1).astype(int)
    return [
        (block, start, min(start + piece, int(edges[block + 1])))
        for block in range(n_blocks)
        for start in range(int(edges[block]), int(edges[block + 1]), piece)
    ]


def _check_lags(n_lags: int, n_frames: int) -> None:
    if not 1 <= n_lags <= n_frames:
        raise ValueError(
            f"a correlation function of {n_lags} lags needs as many frames of its signal, "
            f"but a replica has {n_frames}; use a shorter lag window or longer replicas"
        )


def lag_sums(
    signal: Signal,
    n_lags: int,
    groups: Sequence[slice] = (slice(None),),
    n_blocks: int = 1,
) -> LagSums:
    """Return the lag sums of one replica, in blocks of equal length.

    A pair of frames belongs to the block of its earlier frame, so that the
    blocks add up to the correlation function of the whole replica.

    Parameters
    ----------
    signal
        The series.
    n_lags
        Number of lags, from zero.
    groups
        Components of each group.
    n_blocks
        Number of blocks.
    """
    _check_lags(n_lags, signal.n_frames)
    piece = max(4 * n_lags, _PIECE_SIZE // signal.n_components)
    sums = np.zeros((n_blocks, len(groups), n_lags))
    counts = np.zeros((n_blocks, n_lags))
    for block, start, stop in _blocks(signal.n_frames, n_blocks, piece):
        end = min(stop + n_lags - 1, signal.n_frames)
        later = np.ascontiguousarray(signal.read(start, end).T)
        length = stop - start
        # long enough that no lag of either sign wraps around onto 0 … n_lags − 1
        n_fft = next_fast_len(max(end - start, length + n_lags - 1), real=True)
        transform = rfft(later, n_fft)
        if length == end - start:
            power = transform.real**2 + transform.imag**2
        else:
            power = rfft(later[:, :length], n_fft).conj() * transform
        for g, group in enumerate(groups):
            sums[block, g] += irfft(power[group].sum(0), n_fft)[:n_lags]
        counts[block] += np.clip(signal.n_frames - start - np.arange(n_lags), 0, length)
    return LagSums(sums, counts)


def cross_lag_sums(
    first: Signal,
    second: Signal,
    n_lags: int,
    pairs: Sequence[tuple[slice, slice]],
    n_blocks: int = 1,
) -> LagSums:
    """Return the time-symmetric lag sums ½Σ[x(t)·y(t+k) + y(t)·x(t+k)] of one replica.

    Parameters
    ----------
    first, second
        Series of equal length.
    n_lags, n_blocks
        As for :func:`lag_sums`.
    pairs
        Components of `first` and of `second` of each group, equally many.
    """
    n_frames = first.n_frames
    _check_lags(n_lags, n_frames)
    if second.n_frames != n_frames:
        raise ValueError(f"series of different length: {n_frames} and {second.n_frames}")
    widest = first.n_components + second.n_components
    piece = max(4 * n_lags, _PIECE_SIZE // widest)
    sums = np.zeros((n_blocks, len(pairs), n_lags))
    counts = np.zeros((n_blocks, n_lags))
    for block, start, stop in _blocks(n_frames, n_blocks, piece):
        end = min(stop + n_lags - 1, n_frames)
        length = stop - start
        n_fft = next_fast_len(max(end - start, length + n_lags - 1), real=True)
        x, x0 = _transforms(first, start, end, length, n_fft)
        y, y0 = (x, x0) if second is first else _transforms(second, start, end, length, n_fft)
        for g, (a, b) in enumerate(pairs):
            power = 0.5 * ((x0[a] * y[b]).sum(0) + (y0[b] * x[a]).sum(0))
            sums[block, g] += irfft(power, n_fft)[:n_lags]
        counts[block] += np.clip(n_frames - start - np.arange(n_lags), 0, length)
    return LagSums(sums, counts)


def _transforms(
    signal: Signal, start: int, end: int, length: int, n_fft: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the transform of the frames [start, end), and conjugated that of the first ones."""
    values = np.ascontiguousarray(signal.read(start, end).T)
    return rfft(values, n_fft), rfft(values[:, :length], n_fft).conj()


def autocorrelation(values: np.ndarray, n_lags: int | None = None) -> np.ndarray:
    """Return the unbiased ⟨x(0)·x(t)⟩, averaged over replicas and summed over components.

    Parameters
    ----------
    values
        ``[n_replicas, n_frames, ...]``.
    n_lags
        Number of lags; all by default.

    Returns
    -------
    ``[n_lags]``, in the squared unit of `values`.
    """
    values = np.asarray(values)
    if values.ndim < 2 or not len(values):
        raise ValueError(
            f"expected values of shape [n_replicas, n_frames, ...], got {values.shape}"
        )
    n_lags = values.shape[1] if n_lags is None else n_lags
    parts = [lag_sums(Signal.from_array(replica), n_lags) for replica in values]
    total = parts[0]
    for part in parts[1:]:
        total = (total + part).merged()
    return total.correlation()[0]


# --- from lags to wavenumbers -------------------------------------------------------


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
        The grid is this many times finer than the resolution of the lags.

    Returns
    -------
    wavenumber
        ``[n_wavenumbers]``, cm⁻¹, from zero to the Nyquist wavenumber.
    density
        ``[..., n_wavenumbers]``, X²/(amu·Å²) per cm⁻¹ for X²/fs² given. Its
        trapezoid integral is K·C(0)/(2cT).
    """
    if padding < 1:
        raise ValueError(f"padding must be at least 1, got {padding}")
    n_lags = correlation.shape[-1]
    n_grid = next_fast_len(padding * n_lags, real=True) + 1
    padded = np.zeros((*correlation.shape[:-1], n_grid))
    padded[..., :n_lags] = correlation * lag_window(window, n_lags)
    density = dct(padded, type=1, axis=-1) * (interval * SPECTRAL_PREFACTOR / temperature)
    nyquist = 1.0 / (2.0 * interval * SPEED_OF_LIGHT_CM_PER_FS)
    return np.linspace(0.0, nyquist, n_grid), density
