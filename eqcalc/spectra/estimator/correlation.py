# SPDX-License-Identifier: MIT
"""Correlation functions by FFT, their windows, and sums over lags that can be averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dct, irfft, next_fast_len, rfft

from eqcalc.units import SPECTRAL_PREFACTOR, SPEED_OF_LIGHT_CM_PER_FS


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
