# SPDX-License-Identifier: MIT
"""How a spectrum is estimated from a series: window, errors, corrections of the sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eqcalc.spectra.correlation import (
    LagSums,
    Signal,
    lag_sums,
    spectral_density,
    transfer_function,
)
from eqcalc.spectra.quantum import bead_warning, is_kubo, method_warnings, ring_modes
from eqcalc.spectra.signals import Series
from eqcalc.spectra.statistics import bootstrap
from eqcalc.spectra.windows import lag_for_resolution, window
from eqcalc.units import SPEED_OF_LIGHT_CM_PER_FS

__all__ = ["Density", "Estimation", "LagSummer", "beads_warning", "grouped"]

#: Resolution [cm⁻¹] aimed at when none is asked for.
_DEFAULT_RESOLUTION = 10.0
#: Fraction of the Nyquist wavenumber up to which finite differences can be
#: corrected; above it the transfer function is below 0.055 and only noise is left.
_USABLE = 0.8
#: Blocks of a single long run that are resampled.
_MAX_BLOCKS = 40
_MIN_BLOCKS = 5


#: Takes a signal, a number of lags and a number of blocks to lag sums.
LagSummer = Callable[[Signal, int, int], LagSums]


def grouped(*groups: slice) -> LagSummer:
    """Return lag sums of groups of components, each summed into one correlation function."""
    return lambda signal, n_lags, n_blocks: lag_sums(signal, n_lags, groups, n_blocks)


@dataclass(frozen=True)
class Density:
    """Spectral densities of several groups of components, with bootstrap samples."""

    wavenumber: np.ndarray  #: [n_wavenumbers], cm⁻¹
    values: np.ndarray  #: [n_groups, n_wavenumbers]
    samples: np.ndarray | None  #: [n_samples, n_groups, n_wavenumbers]
    n_independent: int
    provenance: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Estimation:
    """Choices of the estimate, the same for every kind of spectrum.

    Parameters
    ----------
    window
        Lag window: ``"hann"``, ``"hamming"``, ``"blackman"``, ``"bartlett"``,
        ``"parzen"``, ``"gaussian"`` or ``"rectangular"``.
    resolution
        Width at half maximum given to a sharp line, cm⁻¹. By default 10 cm⁻¹,
        or what a lag of a third of the shortest replica allows.
    lag
        Largest lag, fs, instead of `resolution`.
    padding
        Points of the grid per resolved point.
    errors
        What is resampled: ``"replicas"``, ``"blocks"`` of all runs, or
        ``"none"``. By default replicas, and blocks with a single replica.
    n_samples
        Number of bootstrap samples.
    generator
        Source of randomness of the bootstrap, or a seed.
    finite_difference
        Correction of the central difference, if the derivative is not given:
        ``"exact"`` restores ω²⟨x²⟩ of what was sampled; ``"velocity-verlet"``
        gives the result of the velocities of the velocity-Verlet algorithm,
        smaller by (sin u/u)², u = ω·timestep; ``"none"`` leaves it. A
        corrected spectrum ends at 0.8 of the Nyquist wavenumber.
    frequency_correction
        Undo the blue shift of the velocity-Verlet algorithm,
        ν̃ = sin(πcν̃'Δt)/(πcΔt), keeping the area of bands.
    """

    window: str = "hann"
    resolution: float | None = None
    lag: float | None = None
    padding: int = 4
    errors: str | None = None
    n_samples: int = 200
    generator: np.random.Generator | int = 0
    finite_difference: str = "exact"
    frequency_correction: bool = False

    def __post_init__(self) -> None:
        window(self.window)
        if self.resolution is not None and self.lag is not None:
            raise TypeError("give either the resolution or the lag of the window, not both")
        for key, value, known in (
            ("errors", self.errors, (None, "replicas", "blocks", "none")),
            (
                "finite_difference",
                self.finite_difference,
                ("exact", "velocity-verlet", "none"),
            ),
        ):
            if value not in known:
                names = ", ".join(repr(k) for k in known if k)
                raise ValueError(f"{key}: expected one of {names}, got {value!r}")

    def density(self, series: Series, signals: Sequence[Signal], summed: LagSummer) -> Density:
        """Return the spectral density of each group of the lag sums.

        Parameters
        ----------
        series
            What the signals were made from.
        signals
            Time derivative of each replica, per fs.
        summed
            Returns the lag sums of a signal; see :func:`grouped`.
        """
        shortest = min(signal.n_frames for signal in signals)
        n_lags = self._number_of_lags(series.interval, shortest)
        sums, unit, warnings = self._sums(signals, summed, n_lags)
        generator = np.random.default_rng(self.generator)
        n_samples = 0 if unit == "none" else self.n_samples
        correlation, correlation_samples = bootstrap(sums, n_samples, generator)

        def transform(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self._corrected(
                *spectral_density(
                    values, series.interval, series.temperature, self.window, self.padding
                ),
                series,
            )

        wavenumber, values = transform(correlation)
        samples = None if correlation_samples is None else transform(correlation_samples)[1]
        warnings += method_warnings(
            series.method, series.temperature, series.n_beads, series.thermostat_time
        )
        lengths = series.lengths
        resolution = window(self.window).full_width(n_lags * series.interval)
        provenance: dict[str, Any] = {
            "method": series.method or "not stated",
            "temperature_K": series.temperature,
            "timestep_fs": series.timestep,
            "interval_fs": series.interval,
            "n_beads": series.n_beads,
            "n_replicas": len(lengths),
            "frames_per_replica": sorted(set(lengths)),
            "total_time_ps": sum(lengths) * series.interval * 1e-3,
            "window": self.window,
            "lag_fs": n_lags * series.interval,
            "resolution_cm-1": resolution,
            "derivative": "given" if series.rate else "central difference",
            "finite_difference_correction": None if series.rate else self.finite_difference,
            "frequency_correction": self.frequency_correction,
            "resampled": unit,
            "n_independent": sums.n_parts,
            "n_samples": 0 if samples is None else len(samples),
        }
        if is_kubo(series.method) and series.n_beads > 1:
            modes = ring_modes(series.n_beads, series.temperature)
            provenance["ring_modes_cm-1"] = [round(float(nu), 2) for nu in modes]
        if series.provenance:
            provenance["source"] = series.provenance
        return Density(wavenumber, values, samples, sums.n_parts, provenance, tuple(warnings))

    def _number_of_lags(self, interval: float, n_frames: int) -> int:
        if self.lag is not None:
            lag = self.lag
        elif self.resolution is not None:
            lag = lag_for_resolution(self.window, self.resolution)
        else:
            lag = min(
                lag_for_resolution(self.window, _DEFAULT_RESOLUTION), n_frames * interval / 3.0
            )
        n_lags = round(lag / interval)
        if not 2 <= n_lags <= n_frames:
            best = window(self.window).full_width(max(n_frames, 1) * interval)
            raise ValueError(
                f"a lag window of {lag:.0f} fs ({n_lags} frames) does not fit the shortest replica "
                f"of {n_frames} usable frames ({n_frames * interval:.0f} fs); ask for a lag up to "
                f"this length (a resolution of at least {best:.1f} cm⁻¹), better a third of it"
            )
        return n_lags

    def _sums(
        self, signals: Sequence[Signal], summed: LagSummer, n_lags: int
    ) -> tuple[LagSums, str, list[str]]:
        """Return the lag sums of every part to resample, what a part is, and warnings."""
        warnings = []
        unit = self.errors or ("replicas" if len(signals) > 1 else "blocks")
        n_blocks = [1] * len(signals)
        if unit == "blocks":
            n_blocks = [int(np.clip(s.n_frames // (2 * n_lags), 1, _MAX_BLOCKS)) for s in signals]
            if sum(n_blocks) < _MIN_BLOCKS:
                unit, n_blocks = "none", [1] * len(signals)
                warnings.append(
                    "no error band: the data are shorter than five blocks of twice the lag window"
                )
            else:
                warnings.append(
                    "errors are from blocks of one trajectory: for an isolated molecule without "
                    "thermostat they miss the scatter between trajectories, which is about 100 % "
                    "per trajectory"
                )
        elif len(signals) == 1:
            unit = "none"
        total: LagSums | None = None
        for signal, blocks in zip(signals, n_blocks, strict=True):
            part = summed(signal, n_lags, blocks)
            total = part if total is None else total + part
            if unit == "none":
                total = total.merged()
        assert total is not None
        return total, unit, warnings

    def _corrected(
        self, wavenumber: np.ndarray, density: np.ndarray, series: Series
    ) -> tuple[np.ndarray, np.ndarray]:
        """Apply the corrections of the finite difference and of the integrator."""
        if not series.rate and self.finite_difference != "none":
            step = None
            if self.finite_difference == "velocity-verlet":
                step = self._timestep(series, "finite_difference='velocity-verlet'")
            n = int(_USABLE * (len(wavenumber) - 1)) + 1
            wavenumber, density = wavenumber[:n], density[..., :n]
            density = density / transfer_function(wavenumber, series.interval, step)
        if self.frequency_correction:
            step = self._timestep(series, "frequency_correction")
            u = np.pi * SPEED_OF_LIGHT_CM_PER_FS * step * wavenumber
            keep = u < 0.5 * np.pi * 0.999
            wavenumber, density, u = wavenumber[keep], density[..., keep], u[keep]
            wavenumber = np.sin(u) / (np.pi * SPEED_OF_LIGHT_CM_PER_FS * step)
            density = density / np.cos(u)
        return wavenumber, density

    @staticmethod
    def _timestep(series: Series, option: str) -> float:
        if series.timestep is None:
            raise TypeError(f"timestep: {option} needs the step of the integrator in fs")
        return series.timestep


def beads_warning(series: Series, wavenumber: np.ndarray, values: np.ndarray) -> tuple[str, ...]:
    """Return a warning if there are too few beads for the highest band of a spectrum.

    A band counts when its height is a hundredth of the highest.
    """
    above = np.flatnonzero(values > 0.01 * np.max(values))
    highest = float(wavenumber[above[-1]]) if len(above) else 0.0
    return tuple(bead_warning(series.method, series.n_beads, series.temperature, highest))
