# SPDX-License-Identifier: MIT
"""Power spectrum of any series: which wavenumbers an observable moves at."""

from __future__ import annotations

from typing import Any

import numpy as np

from eqcalc.spectra.correlation import Signal
from eqcalc.spectra.estimation import Estimation, grouped
from eqcalc.spectra.signals import Series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import SPECTRAL_PREFACTOR, SPEED_OF_LIGHT_CM_PER_FS

__all__ = ["power_spectrum"]


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
    arrays = [np.asarray(replica, dtype=float) for replica in values]
    if not arrays or any(a.ndim < 1 or a.shape[1:] != arrays[0].shape[1:] for a in arrays):
        raise ValueError("values: expected replicas [n_frames, ...] with the same trailing shape")
    if not interval > 0.0:
        raise ValueError(f"interval: expected a positive time in fs, got {interval}")
    flat = [a.reshape(len(a), -1) for a in arrays]
    if not all(np.isfinite(a).all() for a in flat):
        raise ValueError("values: contains numbers that are not finite")
    if remove_mean:
        mean = sum(a.sum(0) for a in flat) / sum(map(len, flat))
        flat = [a - mean for a in flat]
    # the kernel of a spectrum without its 1/(k_B T)
    series = Series(tuple(flat), float(interval), 1.0, unit, rate=True)
    n_components = flat[0].shape[1]
    density = Estimation(**estimation).density(
        series, [Signal.from_array(a) for a in flat], grouped(slice(0, n_components))
    )
    scale = 2.0 * SPEED_OF_LIGHT_CM_PER_FS / SPECTRAL_PREFACTOR
    provenance = {
        k: v
        for k, v in density.provenance.items()
        if k not in ("temperature_K", "derivative", "method")
    }
    return Spectrum(
        wavenumber=density.wavenumber,
        values=density.values[0] * scale,
        unit=f"({unit})² per cm⁻¹",
        label=label,
        samples=None if density.samples is None else density.samples[:, 0] * scale,
        n_independent=density.n_independent,
        provenance={"spectrum": "power", **provenance},
        warnings=density.warnings,
    )
