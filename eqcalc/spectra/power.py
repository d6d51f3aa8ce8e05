# SPDX-License-Identifier: MIT
"""Power and cross spectra of any series: which wavenumbers observables move at."""

from __future__ import annotations

from typing import Any

import numpy as np

from eqcalc.spectra.correlation import Signal
from eqcalc.spectra.estimation import Estimation, Pairs, grouped
from eqcalc.spectra.signals import Series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import SPECTRAL_PREFACTOR, SPEED_OF_LIGHT_CM_PER_FS

__all__ = ["cross_spectrum", "power_spectrum"]


def power_spectrum(
    values: Any,
    *,
    interval: float,
    unit: str,
    label: str = "power spectrum",
    remove_mean: bool = True,
    **estimation: Any,
) -> Spectrum:
    """Return S(ν̃) with ∫S dν̃ = ⟨|x|²⟩, summed over components.

    Parameters
    ----------
    values
        ``[n_replicas, n_frames, ...]``, or a list of replicas of different
        length.
    interval
        Time between frames, fs.
    unit
        Unit of the values, for the record: bond lengths, angles, charges,
        energies, anything.
    label
        What they are.
    remove_mean
        Subtract the mean over all replicas and times, without which its square
        is in the first points.
    estimation
        See :class:`eqcalc.spectra.Estimation`; corrections of derivatives do
        not apply.
    """
    flat = _flattened(values, "values", remove_mean)
    n_components = flat[0].shape[1]
    pairs = grouped(slice(0, n_components))
    return _spectrum(flat, pairs, interval, f"({unit})² per cm⁻¹", label, "power", estimation)


def cross_spectrum(
    first: Any,
    second: Any,
    *,
    interval: float,
    unit: str,
    label: str = "cross spectrum",
    remove_mean: bool = True,
    **estimation: Any,
) -> Spectrum:
    """Return the co-spectrum S(ν̃) with ∫S dν̃ = ⟨x·y⟩: where two observables move together.

    The transform of the time-symmetric correlation function
    ½⟨x(0)·y(t) + y(0)·x(t)⟩; it is negative where they move against each other.

    Parameters
    ----------
    first, second
        ``[n_replicas, n_frames, ...]`` of the same shape, or lists of replicas
        of different length.
    unit
        Unit of the product, for the record.
    interval, label, remove_mean, estimation
        See :func:`power_spectrum`.
    """
    x = _flattened(first, "first", remove_mean)
    y = _flattened(second, "second", remove_mean)
    if [a.shape for a in x] != [b.shape for b in y]:
        raise ValueError("first and second: expected replicas of the same shapes")
    n = x[0].shape[1]
    joined = [np.concatenate(both, axis=1) for both in zip(x, y, strict=True)]
    pairs = [(slice(0, n), slice(n, 2 * n))]
    return _spectrum(joined, pairs, interval, f"{unit} per cm⁻¹", label, "cross", estimation)


def _flattened(values: Any, name: str, remove_mean: bool) -> list[np.ndarray]:
    """Return replicas ``[n_frames, n_components]`` without their common mean."""
    arrays = [np.asarray(replica, dtype=float) for replica in values]
    if not arrays or any(a.ndim < 1 or a.shape[1:] != arrays[0].shape[1:] for a in arrays):
        raise ValueError(f"{name}: expected replicas [n_frames, ...] with the same trailing shape")
    flat = [a.reshape(len(a), -1) for a in arrays]
    if not all(np.isfinite(a).all() for a in flat):
        raise ValueError(f"{name}: contains numbers that are not finite")
    if remove_mean:
        mean = sum(a.sum(0) for a in flat) / sum(map(len, flat))
        flat = [a - mean for a in flat]
    return flat


def _spectrum(
    flat: list[np.ndarray],
    pairs: Pairs,
    interval: float,
    unit: str,
    label: str,
    kind: str,
    estimation: dict[str, Any],
) -> Spectrum:
    if not interval > 0.0:
        raise ValueError(f"interval: expected a positive time in fs, got {interval}")
    # the kernel of a spectrum without its 1/(k_B T)
    series = Series(tuple(flat), float(interval), 1.0, unit, rate=True)
    signals = [Signal.from_array(a) for a in flat]
    density = Estimation(**estimation).density(series, signals, pairs)
    scale = 2.0 * SPEED_OF_LIGHT_CM_PER_FS / SPECTRAL_PREFACTOR
    provenance = {
        k: v
        for k, v in density.provenance.items()
        if k not in ("temperature_K", "derivative", "method")
    }
    return Spectrum(
        wavenumber=density.wavenumber,
        values=density.values[0] * scale,
        unit=unit,
        label=label,
        samples=None if density.samples is None else density.samples[:, 0] * scale,
        n_independent=density.n_independent,
        provenance={"spectrum": kind, **provenance},
        warnings=density.warnings,
    )
