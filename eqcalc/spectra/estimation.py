# SPDX-License-Identifier: MIT
"""How a spectrum is estimated from a series: window, errors, corrections of the sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import eqcalc
from eqcalc.facts import ComparedByValue
from eqcalc.spectra.estimator.correlation import (
    LagSums,
    Pairs,
    Signal,
    highest_wavenumber,
    lag_sums,
    periodogram_density,
    periodogram_sums,
    periodogram_width,
    spectral_density,
    transfer_function,
)
from eqcalc.spectra.estimator.statistics import bootstrap
from eqcalc.spectra.estimator.windows import window
from eqcalc.spectra.quantum_factors import method_warnings, ring_modes
from eqcalc.spectra.series import Series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import SPEED_OF_LIGHT_CM_PER_FS
from eqcalc.validation import InvalidInputError, count, one_of, positive

#: Default resolution [cm⁻¹], if the series is long enough.
_DEFAULT_RESOLUTION = 10.0
#: Fraction of the Nyquist wavenumber up to which finite differences can be corrected; above it the
#: transfer function is below 0.055 and only noise remains.
_USABLE = 0.8
#: Above all fundamentals of common molecules [cm⁻¹]; only H2 is higher.
HIGHEST_VIBRATION = 4200.0
#: Above the first overtones of H2O [cm⁻¹] are a few per cent of the intensity at most.
_ABOVE_ALL, _MUCH = 5000.0, 0.05
#: Estimators of the spectral density.
ESTIMATORS: tuple[str, ...] = ("correlation", "welch", "multitaper")
#: Number of blocks of a single long run for resampling.
_MAX_BLOCKS = 40
_MIN_BLOCKS = 5
#: Frames of the shortest lag window.
_FEWEST_LAGS = 4
_TOO_SHORT = "no error band: the data are shorter than five blocks of twice the lag window"
_FROM_BLOCKS = (
    "errors are from blocks of a trajectory: for an isolated molecule without thermostat they miss "
    "the scatter between trajectories, which is about 100 % per trajectory"
)


def grouped(*groups: slice) -> Pairs:
    """Return the pairs of components whose products are averaged, one group per spectrum."""
    return [(group, group) for group in groups]


class LagWindowError(InvalidInputError):
    """A lag window, or a segment, is longer than the series."""


@dataclass(frozen=True)
class Products:
    """Averaged products of a series with itself, before the transform to a spectrum."""

    sums: LagSums  #: or sums of periodograms, of every part to resample
    n_lags: int  #: frames of the lag window or of a segment
    resampled: str  #: what a part is: "replicas", "blocks" or "none"
    frames: tuple[int, ...]  #: of each replica
    warnings: tuple[str, ...] = ()  #: warnings about the errors


@dataclass(frozen=True, eq=False)
class Density(ComparedByValue):
    """Spectral densities of several groups of components, with bootstrap samples."""

    wavenumber: np.ndarray  #: [n_wavenumbers], cm⁻¹
    values: np.ndarray  #: [n_groups, n_wavenumbers]
    samples: np.ndarray | None  #: [n_samples, n_groups, n_wavenumbers]
    n_independent: int
    provenance: dict[str, Any]
    warnings: tuple[str, ...]

    def spectrum(
        self, weights: Sequence[float], *, unit: str, label: str, **record: Any
    ) -> Spectrum:
        """Return the sum of the densities of the first groups, each times its weight.

        The record is added to the provenance.
        """

        def summed(densities: np.ndarray) -> np.ndarray:
            return np.tensordot(weights, densities[..., : len(weights), :], (0, -2))

        values = summed(self.values)
        return Spectrum(
            wavenumber=self.wavenumber,
            values=values,
            unit=unit,
            label=label,
            samples=None if self.samples is None else summed(self.samples),
            n_independent=self.n_independent,
            provenance={**record, **self.provenance},
            warnings=(*self.warnings, *self._implausible(values, label)),
        )

    def _implausible(self, values: np.ndarray, label: str) -> tuple[str, ...]:
        """Return a warning if there is no intensity, or much where molecules do not vibrate."""
        whole = float(np.abs(values).sum())
        if whole == 0.0:
            return (f"{label}: none at all, since the values do not change along the time",)
        share = float(np.abs(values[self.wavenumber > _ABOVE_ALL]).sum()) / whole
        if share < _MUCH:
            return ()
        interval = self.provenance["interval_fs"]
        return (
            f"{label}: {share:.0%} is above {_ABOVE_ALL:.0f} cm⁻¹, where no fundamental is: is the "
            f"interval of {interval:g} fs right? If it is, the values are noisy or rounded",
        )


@dataclass(frozen=True, kw_only=True)
class Estimation:
    """Options of the spectral estimate, common to all kinds of spectra.

    Parameters
    ----------
    estimator
        ``"correlation"``: transform of the windowed correlation function;
        ``"welch"``: tapered half-overlapping segments; ``"multitaper"``: seven
        orthogonal tapers per segment.
    window
        Lag window of the correlation function: ``"hann"``, ``"hamming"``,
        ``"blackman"``, ``"bartlett"``, ``"parzen"``, ``"gaussian"``,
        ``"rectangular"``, or another of :mod:`eqcalc.spectra.estimator.windows`.
    resolution
        Full width at half maximum of a sharp line, cm⁻¹. By default 10 cm⁻¹, or that of a lag
        window of a third of the shortest replica.
    lag
        Largest lag, or length of a segment, fs, instead of `resolution`.
    padding
        Points of the grid per resolved point.
    errors
        What is resampled: ``"replicas"``, ``"blocks"`` of all runs, or
        ``"none"``. By default replicas, and blocks with a single replica.
    n_samples
        Number of bootstrap samples; with 100 of them an error is known to 7 %, better
        than a few dozen replicas allow.
    generator
        Random generator of the bootstrap, or a seed.
    finite_difference
        Correction of the central difference, if the derivative is not given:
        ``"exact"`` restores ω²⟨x²⟩ of the sampled signal; ``"velocity-verlet"``
        gives the result of the velocities of the velocity-Verlet algorithm,
        smaller by (sin u/u)², u = ω·timestep; ``"none"`` leaves it. A
        corrected spectrum ends at 0.8 of the Nyquist wavenumber.
    frequency_correction
        Undo the blue shift of the velocity-Verlet algorithm,
        ν̃ = sin(πcν̃'Δt)/(πcΔt), keeping the area of bands.
    """

    estimator: str = "correlation"
    window: str = "hann"
    resolution: float | None = None
    lag: float | None = None
    padding: int = 4
    errors: str | None = None
    n_samples: int = 100
    generator: np.random.Generator | int = 0
    finite_difference: str = "exact"
    frequency_correction: bool = False

    def __post_init__(self) -> None:
        window(self.window)
        if self.resolution is not None and self.lag is not None:
            raise InvalidInputError("give either the resolution or the lag, not both", key="lag")
        for key, number, unit in (("resolution", self.resolution, "cm⁻¹"), ("lag", self.lag, "fs")):
            if number is not None:
                positive(key, number, unit=unit)
        count("padding", self.padding)
        count("n_samples", self.n_samples, least=0)
        one_of("frequency_correction", self.frequency_correction, (False, True))
        if not isinstance(self.generator, np.random.Generator):
            count("generator", self.generator, least=0)
        one_of("estimator", self.estimator, ESTIMATORS)
        one_of("errors", self.errors, (None, "replicas", "blocks", "none"))
        known = ("exact", "velocity-verlet", "none")
        one_of("finite_difference", self.finite_difference, known)

    def density(self, series: Series, signals: Sequence[Signal], pairs: Pairs) -> Density:
        """Return the spectral density of each pair of groups of components.

        `signals` are the time derivatives of each replica of the series, per fs.
        """
        return self.transform(series, self.products(series, signals, pairs))

    def transform(self, series: Series, products: Products) -> Density:
        """Return the spectral densities of products, with errors and provenance."""
        generator = np.random.default_rng(self.generator)
        n_samples = 0 if products.resampled == "none" else self.n_samples
        mean, mean_samples = bootstrap(products.sums, n_samples, generator)

        def density(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if self.estimator == "correlation":
                found = spectral_density(
                    values, series.interval, series.temperature, self.window, self.padding
                )
            else:
                found = periodogram_density(values, series.interval, series.temperature)
            return self._corrected(*found, series)

        wavenumber, values = density(mean)
        samples = None if mean_samples is None else density(mean_samples)[1]
        warnings = (
            *products.warnings,
            *series.warnings,
            *_aliasing_warning(series.interval),
            *method_warnings(
                series.dynamics, series.temperature, series.n_beads, series.thermostat_time
            ),
        )
        n_parts = products.sums.n_parts
        n_samples = 0 if samples is None else len(samples)
        provenance = self._provenance(series, products, n_samples)
        return Density(wavenumber, values, samples, n_parts, provenance, warnings)

    def _provenance(self, series: Series, products: Products, n_samples: int) -> dict[str, Any]:
        lag = products.n_lags * series.interval
        record: dict[str, Any] = {
            "method": series.method or "not stated",
            "correlation": series.correlation or "not stated",
            "temperature_K": series.temperature,
            "timestep_fs": series.timestep,
            "interval_fs": series.interval,
            "n_beads": series.n_beads,
            "n_replicas": len(products.frames),
            "frames_per_replica": sorted(set(products.frames)),
            "total_time_ps": sum(products.frames) * series.interval * 1e-3,
            "estimator": self.estimator,
            "window": self.window if self.estimator == "correlation" else None,
            "lag_fs": lag,
            "resolution_cm-1": self._width(lag),
            "derivative": "given" if series.rate else "central difference",
            "finite_difference_correction": None if series.rate else self.finite_difference,
            "frequency_correction": self.frequency_correction,
            "resampled": products.resampled,
            "n_independent": products.sums.n_parts,
            "n_samples": n_samples,
            "eqcalc_version": eqcalc.__version__,
        }
        if series.dynamics and series.dynamics.ring_resonances and series.n_beads > 1:
            modes = ring_modes(series.n_beads, series.temperature)
            record["ring_modes_cm-1"] = [round(float(nu), 2) for nu in modes]
        if series.provenance:
            record["source"] = series.provenance
        return record

    def _width(self, lag: float) -> float:
        """Return the width [cm⁻¹] of a sharp line for a window or segment of `lag` fs."""
        if self.estimator == "correlation":
            return window(self.window).full_width(lag)
        return periodogram_width(self.estimator, lag)

    def number_of_lags(self, interval: float, n_frames: int) -> int:
        """Return the length in frames of the lag window or of a segment.

        The frames are `interval` fs apart; the shortest replica has `n_frames` usable ones.

        Raises
        ------
        LagWindowError
            The window is longer than the shortest replica.
        """
        n_frames = max(n_frames, 0)
        if self.lag is not None:
            lag = self.lag
        elif self.resolution is not None:
            lag = self._width(1.0) / self.resolution
        else:
            lag = min(self._width(1.0) / _DEFAULT_RESOLUTION, n_frames * interval / 3.0)
        n_lags = round(lag / interval)
        if n_lags < _FEWEST_LAGS or n_frames < _FEWEST_LAGS:
            few = n_frames < 3 * _FEWEST_LAGS
            raise LagWindowError(
                f"too few frames for a spectrum: {n_frames} usable ones"
                if few
                else f"a lag window of {n_lags} frames, where wavenumbers end at "
                f"{highest_wavenumber(interval):.0f} cm⁻¹",
                key="lag",
                value=round(lag, 3),
                expected=f"at least {_FEWEST_LAGS * interval:g} fs, or {_FEWEST_LAGS} frames",
                advice="" if few else f"is the interval of {interval:g} fs right?",
            )
        if n_lags > n_frames:
            best = self._width(n_frames * interval)
            raise LagWindowError(
                f"a lag window of {n_lags} frames exceeds the shortest replica of {n_frames} "
                "usable frames",
                key="lag",
                value=round(lag, 3),
                expected=f"at most {n_frames * interval:g} fs, better a third of it (a resolution "
                f"of at least {best:.1f} cm⁻¹)",
            )
        return n_lags

    def products(self, series: Series, signals: Sequence[Signal], pairs: Pairs) -> Products:
        """Return the averaged products, the input of :meth:`transform`."""
        frames = [signal.n_frames for signal in signals]
        try:
            n_lags = self.number_of_lags(series.interval, min(frames))
        except LagWindowError as error:
            error.key = f"lag, {series.name(int(np.argmin(frames)))}"
            raise
        resampled, n_blocks, warnings = self._parts(signals, n_lags)
        warnings = (*warnings, *self._short_replicas(series, frames))
        sums = LagSums.joined(
            [self._summed(s, n_lags, pairs, n) for s, n in zip(signals, n_blocks, strict=True)]
        )
        if resampled == "none":
            sums = sums.merged()
        return Products(sums, n_lags, resampled, series.lengths, warnings)

    def _short_replicas(self, series: Series, frames: Sequence[int]) -> tuple[str, ...]:
        """Return a warning if a few short replicas determine the default resolution."""
        if self.lag is not None or self.resolution is not None or len(frames) < 2:
            return ()
        usual = int(np.median(frames))
        short = [i for i, n in enumerate(frames) if n < usual / 2]
        now, without = (
            self._width(self.number_of_lags(series.interval, n) * series.interval)
            for n in (min(frames), usual)
        )
        if not short or now < 1.2 * without:
            return ()
        named = ", ".join(f"{series.name(i)} ({series.lengths[i]} frames)" for i in short)
        return (
            f"the resolution of {now:.0f} cm⁻¹ is that of short replicas: {named}; half of all "
            f"have {usual} frames or more, which allow {without:.0f} cm⁻¹: omit the short ones",
        )

    def _summed(self, signal: Signal, n_lags: int, pairs: Pairs, n_blocks: int) -> LagSums:
        if self.estimator != "correlation":
            return periodogram_sums(signal, self.estimator, n_lags, self.padding, pairs, n_blocks)
        return lag_sums(signal, n_lags, pairs, n_blocks)

    def _parts(
        self, signals: Sequence[Signal], n_lags: int
    ) -> tuple[str, list[int], tuple[str, ...]]:
        """Return the resampling unit, the number of parts of each replica, and warnings."""
        single = [1] * len(signals)
        if self.errors == "none":
            return "none", single, ()
        if self.errors == "replicas" or (self.errors is None and len(signals) > 1):
            return ("replicas" if len(signals) > 1 else "none"), single, ()
        n_blocks = [int(np.clip(s.n_frames // (2 * n_lags), 1, _MAX_BLOCKS)) for s in signals]
        if len(signals) > 1 and max(n_blocks) == 1:
            return "replicas", single, ()
        if sum(n_blocks) < _MIN_BLOCKS:
            return "none", single, (_TOO_SHORT,)
        return "blocks", n_blocks, (_FROM_BLOCKS,)

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
            raise InvalidInputError(
                f"{option} needs the time step of the integrator in fs", key="timestep"
            )
        return series.timestep


def _aliasing_warning(interval: float) -> tuple[str, ...]:
    """Return a warning if the frames are too far apart for the vibrations of hydrogen."""
    nyquist = highest_wavenumber(interval)
    if nyquist > HIGHEST_VIBRATION:
        return ()
    return (
        f"frames every {interval:g} fs: a vibration above {nyquist:.0f} cm⁻¹ is aliased "
        "to a lower wavenumber; write frames at least every 3 fs unless there is none",
    )
