# SPDX-License-Identifier: MIT
"""Comparison of computed with measured spectra: scale factor and similarity with intervals."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from eqcalc.facts import jsonable, preformatted
from eqcalc.spectra.estimator.statistics import (
    Estimate,
    confidence_interval,
    sample_limits,
)
from eqcalc.spectra.experiment.measured import broadened
from eqcalc.spectra.experiment.ordinates import is_absorbance, is_transmittance
from eqcalc.spectra.infrared_absorption import INFRARED_QUANTITIES
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import InvalidInputError, bounds, instance

_RAMAN_UNITS = ("Å⁴/amu per cm⁻¹", "cm²/sr per cm⁻¹")
#: Units of infrared absorption.
INFRARED_UNITS = tuple(unit for unit, _, _ in INFRARED_QUANTITIES.values())
#: Prefixes of labels of absorption spectra that have no specific unit.
_PERMITTIVITY = "imaginary part of the permittivity"
_INFRARED_LABELS = ("absorbance", "absorption coefficient", _PERMITTIVITY)
_Map = Callable[[np.ndarray], np.ndarray]
#: Quantities without bands whose intensities could be compared.
_NO_INTENSITIES = ("depolarization ratio", "refractive index", "real part of the permittivity")


def spectroscopy(spectrum: Spectrum) -> str | None:
    """Return ``"infrared"``, ``"Raman"`` or ``"density of states"``; None if unknown.

    It is known for spectra of eqcalc, JCAMP-DX files with a data type, units of absorption, and
    text files whose header says so.
    """
    record = spectrum.provenance
    stated = " ".join(str(record.get(key, "")) for key in ("DATATYPE", "header"))
    if spectrum.unit.startswith("states per"):
        return "density of states"
    raman = spectrum.unit in _RAMAN_UNITS or re.search("raman", stated, re.IGNORECASE)
    infrared = (
        spectrum.unit in INFRARED_UNITS
        or spectrum.label.startswith(_INFRARED_LABELS)
        or is_absorbance(spectrum.unit)
        or is_transmittance(spectrum.unit)
        or re.search("infrared|transmittance|absorbance|ft-?ir", stated, re.IGNORECASE)
    )
    if bool(raman) == bool(infrared):
        return None
    return "Raman" if raman else "infrared"


def _is_permittivity(spectrum: Spectrum) -> bool:
    """Return whether a spectrum is the imaginary part of the permittivity."""
    stated = f"{spectrum.label} {spectrum.unit}".lower()
    return _PERMITTIVITY in stated


def check_intensity(spectrum: Spectrum) -> None:
    """Raise an error unless the spectrum is an intensity; a depolarization ratio is not."""
    if spectrum.label.startswith(_NO_INTENSITIES):
        raise InvalidInputError(
            "has no bands to compare",
            key=spectrum.label,
            advice="give a spectrum of intensities, such as infrared or raman-cross-section",
        )


# --- similarity -----------------------------------------------------------------------


def match_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return the Cauchy–Schwarz match score (f·g)²/(f·f g·g)."""
    return float((f @ g) ** 2 / ((f @ f) * (g @ g)))


def pearson_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return the correlation coefficient of the values."""
    return float(np.corrcoef(f, g)[0, 1])


def spearman_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return the correlation coefficient of the ranks of the values."""
    return pearson_score(rankdata(f), rankdata(g))


def euclidean_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return 1/(1 + |f − g|²/|g|²) of the spectra scaled to equal norm."""
    difference = f / np.linalg.norm(f) - g / np.linalg.norm(g)
    return float(1.0 / (1.0 + difference @ difference))


#: Similarity of two arrays of values on one grid; 1 for the same shape.
SCORES = {
    "match": match_score,
    "pearson": pearson_score,
    "spearman": spearman_score,
    "euclidean": euclidean_score,
}


#: Each score as a distance, 0 for the same shape, and the inverse: 1 − cos θ of the spectra as
#: vectors for the match and the Euclidean score, one minus a correlation for the others.
_DISTANCES: dict[str, tuple[_Map, _Map]] = {
    "match": (lambda s: 1.0 - np.sqrt(s), lambda d: np.maximum(1.0 - d, 0.0) ** 2),
    "pearson": (lambda s: 1.0 - s, lambda d: 1.0 - d),
    "spearman": (lambda s: 1.0 - s, lambda d: 1.0 - d),
    "euclidean": (lambda s: 0.5 * (1.0 / s - 1.0), lambda d: 1.0 / (1.0 + 2.0 * d)),
}


def displacement(x: np.ndarray, f: np.ndarray, g: np.ndarray) -> float:
    """Return ∫|F − G| dν̃ of the cumulative distributions of two non-negative spectra."""
    a, b = np.maximum(f, 0.0), np.maximum(g, 0.0)
    difference = np.cumsum(a) / a.sum() - np.cumsum(b) / b.sum()
    return float(np.sum(np.abs(difference)) * (x[1] - x[0]))


# --- comparison -----------------------------------------------------------------------


class ScoreInterval(NamedTuple):
    """A value with its 95 % interval, from bootstrap samples.

    Noise makes spectra dissimilar: the truth is more often above the value of a score than below.
    """

    value: float
    lower: float  #: nan without bootstrap samples
    upper: float

    def text(self, digits: int) -> str:
        """Return the value and the interval with the given number of digits."""
        value, lower, upper = (f"{x:.{digits}f}" for x in self)
        return value if np.isnan(self.lower) else f"{value}  [{lower}, {upper}]"

    def to_list(self) -> list[float | None]:
        """Return the three numbers, JSON-able."""
        return jsonable(self)


@dataclass(frozen=True)
class Comparison:
    """Comparison of a computed with a measured spectrum.

    Parameters
    ----------
    calculated, measured
        On one grid and scaled to unit area.
    wavenumber_scale
        Factor on the computed wavenumbers; fitted to each bootstrap sample too.
    scale_range
        Limits within which the factor was fitted; None if it was not fitted.
    scores
        Each of :data:`eqcalc.spectra.experiment.comparison.SCORES`.
    displacement
        Earth mover's distance, cm⁻¹: how far intensity has to be moved on
        average to turn one spectrum into the other.
    """

    calculated: Spectrum
    measured: Spectrum
    wavenumber_scale: ScoreInterval
    scale_range: tuple[float, float] | None
    scores: dict[str, ScoreInterval]
    displacement: ScoreInterval

    @property
    def fitted(self) -> bool:
        """Whether the factor was fitted."""
        return self.scale_range is not None

    @property
    def scale_limit(self) -> float | None:
        """The limit of `scale_range` at which the fit ended, if any; it is then meaningless."""
        return self._limit_near(self.wavenumber_scale.value)

    def _limit_near(self, scale: float) -> float | None:
        """Return the limit at which a scale factor lies within the step of the fit."""
        limits = self.scale_range or (0.0, 0.0)
        near = max(1e-3 * (limits[1] - limits[0]), 2e-5)
        return next((x for x in limits if self.fitted and abs(scale - x) <= near), None)

    def _repr_html_(self) -> str:
        return preformatted(self.table())

    def table(self) -> str:
        """Return the scores as text, with 95 % intervals from the sampling."""
        how = "fitted" if self.fitted else "not fitted"
        if self.scale_limit is not None:
            how = (
                f"at the limit {self.scale_limit:g} of the allowed range, not a best fit: widen it "
                "(--scale), or compare bands that correspond (--limits)"
            )
        elif any(self._limit_near(end) is not None for end in self.wavenumber_scale[1:]):
            how = "fitted; the interval is truncated by the allowed range: widen it (--scale)"
        lines = [f"{'wavenumber scale':<20} {self.wavenumber_scale.text(4)} ({how})"]
        lines += [f"{name:<20} {score.text(3)}" for name, score in self.scores.items()]
        lines.append(f"{'displacement/cm⁻¹':<20} {self.displacement.text(1)}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, JSON-able: each as value, lower and upper limit."""
        return {
            "wavenumber_scale": self.wavenumber_scale.to_list(),
            "wavenumber_scale_fitted": self.fitted,
            "wavenumber_scale_at_limit": self.scale_limit is not None,
            "scores": {name: score.to_list() for name, score in self.scores.items()},
            "displacement_cm-1": self.displacement.to_list(),
            "range_cm-1": [float(self.measured.wavenumber[i]) for i in (0, -1)],
        }


def compare(
    calculated: Spectrum,
    measured: Spectrum,
    *,
    lower: float,
    upper: float,
    scale_range: tuple[float, float] | None = None,
    fwhm: float | None = None,
) -> Comparison:
    """Compare the shape of a computed spectrum with a measured one.

    Parameters
    ----------
    calculated
        Computed spectrum.
    measured
        Measured spectrum; its grid may be uneven. Both must be proportional
        to absorption (or to Raman intensity), not transmittance.
    lower, upper
        Range compared, cm⁻¹.
    scale_range
        Allow one factor on all computed wavenumbers within these limits and
        choose the best match score; by default they are not scaled.
    fwhm
        Resolution of the instrument, cm⁻¹, if the computed spectrum is sharper.

    Raises
    ------
    InvalidInputError
        One is infrared and the other Raman, or one is not an intensity; one does
        not cover the range (the computed one with every factor allowed); a
        value is not finite, or an integral not positive.
    """
    _check_spectroscopies(calculated, measured)
    _check_coverage(calculated, lower, upper, scale_range)
    step = min(1.0, float(np.median(np.diff(calculated.wavenumber))))
    grid = np.arange(lower, upper + 0.5 * step, step)
    target = measured.interpolated(grid)
    if fwhm is not None:
        # on an even grid; corrected wavenumbers are uneven
        axis = calculated.wavenumber
        even = calculated.interpolated(np.linspace(axis[0], axis[-1], len(axis)))
        calculated = broadened(even, fwhm)

    def scaled(values: np.ndarray, scale: float) -> np.ndarray:
        return np.interp(grid, scale * calculated.wavenumber, values)

    def numbers(values: np.ndarray) -> np.ndarray:
        """Return the scale factor, the scores and the displacement."""
        scale = 1.0
        if scale_range is not None:
            scale = _best_scale(
                lambda s: match_score(scaled(values, s), target.values), scale_range
            )
        y = scaled(values, scale)
        found = [score(y, target.values) for score in SCORES.values()]
        return np.array([scale, *found, displacement(grid, y, target.values)])

    _check_values("measured spectrum", grid, target.values)
    _check_values("computed spectrum", grid, scaled(calculated.values, 1.0))
    best = numbers(calculated.values)
    scale = float(best[0])
    limits = np.full((2, len(best)), np.nan)
    if calculated.samples is not None:
        sampled = np.array([numbers(sample) for sample in calculated.samples])
        part, n = calculated.between(lower, upper), calculated.n_independent
        errors = np.zeros(0) if part.standard_error is None else part.standard_error
        size, error = (float(np.linalg.norm(v)) for v in (part.values, errors))
        parts = Estimate(size, error, n).effective_parts() or float(n)
        limits = _limits(best, sampled, (n, parts), scale_range)
    intervals = [ScoreInterval(*map(float, n)) for n in zip(best, *limits, strict=True)]
    moved = replace(
        calculated,
        wavenumber=scale * calculated.wavenumber,
        history=(*calculated.history, f"wavenumbers scaled by {scale:.5f}"),
    ).interpolated(grid)
    ours, theirs = (
        s.scaled(1.0 / s.integrate().value, unit="1/cm⁻¹", label="normalised intensity")
        for s in (moved, target)
    )
    scores = dict(zip(SCORES, intervals[1:-1], strict=True))
    return Comparison(ours, theirs, intervals[0], scale_range, scores, intervals[-1])


def _limits(
    best: np.ndarray,
    sampled: np.ndarray,
    parts: tuple[float, float],
    scale_range: tuple[float, float] | None,
) -> np.ndarray:
    """Return the 95 % limits of the scale factor, the scores and the displacement, ``[2, n]``.

    Those of the factor are of :func:`confidence_interval`.

    Parameters
    ----------
    best, sampled
        ``[n]`` and ``[n_samples, n]``.
    parts
        The number of independent parts, and of equal ones whose scatter is known as well.
    scale_range
        Limits of the factor, if it was fitted.
    """
    limits = np.empty((2, len(best)))
    error = np.sqrt(np.mean((sampled[:, 0] - best[0]) ** 2))
    limits[:, 0] = np.concatenate(confidence_interval(best[:1], error[None], 0.95, parts[0]))
    if scale_range is not None:
        limits[:, 0] = np.clip(limits[:, 0], *scale_range)
    for i, (name, (distance, score)) in enumerate(_DISTANCES.items(), 1):
        d, samples = distance(best[i]), distance(sampled[:, i])
        if name == "spearman":
            limits[::-1, i] = score(_sample_limits(d, samples, parts[1]))
        else:
            limits[::-1, i] = score(_angle_limits(d, samples, parts[0]))
    excess = float(np.mean(sampled[:, -1]) - best[-1])
    limits[:, -1] = _sample_limits(best[-1], sampled[:, -1], parts[1], excess)
    return limits


def _angle_limits(best: np.ndarray, samples: np.ndarray, n_parts: float) -> np.ndarray:
    """Return the 95 % limits of 1 − cos θ, ``[2]``.

    It is a square of deviations. Noise adds to it, and as much again to that of samples, by
    which it is corrected.
    """
    bias, error = np.mean(samples) - best, np.std(samples, ddof=1)
    reach = student.ppf(0.975, max(n_parts - 1.0, 1.0)) * error
    ends = best - bias + np.array([-reach, reach])
    return np.maximum([min(ends[0], best), max(ends[1], best)], 0.0)


def _sample_limits(
    best: np.ndarray, samples: np.ndarray, n_parts: float, excess: float = 0.0
) -> np.ndarray:
    """Return the 95 % limits of a distance that is no smooth function of the values, ``[2]``.

    They are the quantiles of the samples, since ranks change in steps and a standard deviation
    misses the next one. The samples are stretched by what Student's t of few parts exceeds that
    of many, and reflected towards agreement, from which noise takes the distance away.

    Parameters
    ----------
    best, samples
        The distance, and ``[n_samples]`` of them.
    n_parts
        Number of equal parts whose scatter is known as well.
    excess
        What noise adds to a distance. Samples have it twice, and the upper limit is without.
    """
    stretch = student.ppf(0.975, max(n_parts - 1.0, 1.0)) / norm.ppf(0.975)
    low, high = best + stretch * (sample_limits(samples) - best)
    return np.maximum([min(low, 2.0 * best - high), max(high - 2.0 * excess, best)], 0.0)


def _check_spectroscopies(calculated: Spectrum, measured: Spectrum) -> None:
    """Raise an error for spectra of different kinds."""
    instance("calculated", calculated, Spectrum)
    instance("measured", measured, Spectrum)
    if is_transmittance(measured.unit):
        raise InvalidInputError(
            key="measured", value=measured.unit, expected="absorption", advice="use absorbance()"
        )
    check_intensity(calculated)
    check_intensity(measured)
    permittivity = [_is_permittivity(spectrum) for spectrum in (calculated, measured)]
    ours, theirs = spectroscopy(calculated), spectroscopy(measured)
    if theirs is not None and permittivity[0] != permittivity[1]:
        raise InvalidInputError(
            f"the absorption is not proportional to the {_PERMITTIVITY}",
            key="measured",
            value=measured.label,
            expected=f"the same quantity as the computed spectrum, {calculated.label}",
        )
    if ours is not None and theirs is not None and ours != theirs:
        raise InvalidInputError(
            key="measured",
            value=f"{theirs} ({measured.label})",
            expected=f"{ours}, as the computed spectrum ({calculated.label})",
        )


def _check_coverage(
    calculated: Spectrum, lower: float, upper: float, scale_range: tuple[float, float] | None
) -> None:
    """Raise an error unless the computed spectrum covers the range for all scale factors."""
    bounds("limits", (lower, upper), unit="cm⁻¹")
    first, last = calculated.wavenumber[[0, -1]]
    if lower < first or upper > last:
        raise InvalidInputError(
            key="limits",
            value=(lower, upper),
            expected=f"a range within the computed spectrum, {first:g} to {last:g} cm⁻¹",
        )
    if scale_range is None:
        return
    least, most = bounds("scale", scale_range)
    if not 0.0 < least < most < np.inf:
        expected = "two positive factors, the smaller one first"
        raise InvalidInputError(key="scale", value=scale_range, expected=expected)
    smallest, largest = upper / last, lower / first if first > 0.0 else np.inf
    if least < smallest or most > largest:
        end = f"to {largest:.3f}" if np.isfinite(largest) else "or more"
        raise InvalidInputError(
            f"would move the computed spectrum ({first:g} to {last:g} cm⁻¹) out of {lower:g} to "
            f"{upper:g} cm⁻¹",
            key="scale",
            value=scale_range,
            expected=f"{smallest:.3f} {end}",
        )


def _check_values(name: str, wavenumber: np.ndarray, values: np.ndarray) -> None:
    """Raise an error for values without a defined score."""
    within = f"in {wavenumber[0]:g} to {wavenumber[-1]:g} cm⁻¹"
    if not np.isfinite(values).all():
        where = wavenumber[~np.isfinite(values)][0]
        raise InvalidInputError(f"has no finite value at {where:g} cm⁻¹", key=name)
    if np.ptp(values) == 0.0:
        raise InvalidInputError(f"is constant {within}: nothing to compare", key=name)
    if not values.sum() > 0.0:
        raise InvalidInputError(
            f"the integral {within} is not positive", key=name, advice="subtract the baseline"
        )


def _best_scale(score: Callable[[float], float], limits: tuple[float, float]) -> float:
    """Return the scale factor of the highest score: the best of a scan, refined."""
    scan = np.linspace(*limits, 101)
    best = float(scan[np.argmax([score(s) for s in scan])])
    width = scan[1] - scan[0]
    ends = (max(limits[0], best - width), min(limits[1], best + width))
    found = minimize_scalar(lambda s: -score(s), bounds=ends, method="bounded")
    return float(found.x) if score(found.x) >= score(best) else best
