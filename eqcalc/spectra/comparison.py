# SPDX-License-Identifier: MIT
"""How well a computed spectrum agrees with a measured one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from eqcalc.spectra.experiment import broadened
from eqcalc.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SCORES", "Comparison", "ScoreInterval", "compare", "comparison_figure"]


def match_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return the Cauchy–Schwarz match score (f·g)²/(f·f g·g), 1 for the same shape."""
    return float((f @ g) ** 2 / ((f @ f) * (g @ g)))


def pearson_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return the correlation coefficient of the values."""
    return float(np.corrcoef(f, g)[0, 1])


def spearman_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return the correlation coefficient of the ranks of the values."""
    return pearson_score(rankdata(f), rankdata(g))


def euclidean_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return 1/(1 + |f − g|²/|g|²) of the spectra scaled to equal norm."""
    a, b = f / np.linalg.norm(f), g / np.linalg.norm(g)
    return float(1.0 / (1.0 + ((a - b) @ (a - b))))


#: Similarity of two arrays of values on one grid; 1 for the same shape.
SCORES = {
    "match": match_score,
    "pearson": pearson_score,
    "spearman": spearman_score,
    "euclidean": euclidean_score,
}


class ScoreInterval(NamedTuple):
    """A number with the limits that 95 % of the bootstrap samples lie between."""

    value: float
    lower: float  #: nan without bootstrap samples
    upper: float


@dataclass(frozen=True)
class Comparison:
    """A computed spectrum beside a measured one.

    Parameters
    ----------
    calculated, measured
        On one grid and scaled to unit area.
    wavenumber_scale
        Factor on the computed wavenumbers; fitted to each bootstrap sample too.
    fitted
        The factor was fitted, within limits that the caller gave.
    scores
        Each of :data:`SCORES`.
    displacement
        Earth mover's distance, cm⁻¹: how far intensity has to be moved on
        average to turn one spectrum into the other.
    """

    calculated: Spectrum
    measured: Spectrum
    wavenumber_scale: ScoreInterval
    fitted: bool
    scores: dict[str, ScoreInterval]
    displacement: ScoreInterval

    def table(self) -> str:
        """Return the scores as text, with 95 % intervals from the sampling."""
        how = "fitted" if self.fitted else "not fitted"
        lines = [f"{'wavenumber scale':<20} {_interval(self.wavenumber_scale, 4)} ({how})"]
        lines += [f"{name:<20} {_interval(score, 3)}" for name, score in self.scores.items()]
        lines.append(f"{'displacement/cm⁻¹':<20} {_interval(self.displacement, 1)}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, JSON-able: each as value, lower and upper limit."""
        return {
            "wavenumber_scale": _jsonable(self.wavenumber_scale),
            "wavenumber_scale_fitted": self.fitted,
            "scores": {name: _jsonable(score) for name, score in self.scores.items()},
            "displacement_cm-1": _jsonable(self.displacement),
            "range_cm-1": [float(self.measured.wavenumber[i]) for i in (0, -1)],
        }


def _interval(score: ScoreInterval, digits: int) -> str:
    if np.isnan(score.lower):
        return f"{score.value:.{digits}f}"
    return f"{score.value:.{digits}f}  [{score.lower:.{digits}f}, {score.upper:.{digits}f}]"


def _jsonable(score: ScoreInterval) -> list[float | None]:
    return [None if np.isnan(number) else float(number) for number in score]


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
        Measured spectrum; its grid need not be even. Both must be proportional
        to absorption (or to Raman intensity), not transmittance.
    lower, upper
        Range compared, cm⁻¹.
    scale_range
        Allow one factor on all computed wavenumbers within these limits and
        choose the best match score; by default the computed wavenumbers stand.
    fwhm
        Resolution of the instrument, cm⁻¹, if the computed spectrum is sharper.
    """
    if "TRANSMITTANCE" in measured.unit.upper():
        raise ValueError("measured: convert the transmittance with absorbance() first")
    step = min(1.0, float(np.median(np.diff(calculated.wavenumber))))
    grid = np.arange(lower, upper + 0.5 * step, step)
    target = measured.interpolated(grid)
    if fwhm is not None:
        calculated = broadened(calculated, fwhm)

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
        return np.array([scale, *found, _displacement(grid, y, target.values)])

    best = numbers(calculated.values)
    scale = float(best[0])
    if scale * calculated.wavenumber[-1] < upper or scale * calculated.wavenumber[0] > lower:
        raise ValueError(
            f"the computed spectrum covers {calculated.wavenumber[0]:g} to "
            f"{calculated.wavenumber[-1]:g} cm⁻¹, not {lower:g} to {upper:g} cm⁻¹"
        )
    limits = np.full((2, len(best)), np.nan)
    if calculated.samples is not None:
        sampled = np.array([numbers(sample) for sample in calculated.samples])
        limits = np.quantile(sampled, (0.025, 0.975), axis=0)
    intervals = [ScoreInterval(*map(float, n)) for n in zip(best, *limits, strict=True)]
    moved = replace(
        calculated,
        wavenumber=scale * calculated.wavenumber,
        history=(*calculated.history, f"wavenumbers scaled by {scale:.5f}"),
    ).interpolated(grid)
    return Comparison(
        moved.scaled(1.0 / moved.integrate().value, unit="1/cm⁻¹", label="normalised intensity"),
        target.scaled(1.0 / target.integrate().value, unit="1/cm⁻¹", label="normalised intensity"),
        intervals[0],
        scale_range is not None,
        dict(zip(SCORES, intervals[1:-1], strict=True)),
        intervals[-1],
    )


def _best_scale(score: Callable[[float], float], limits: tuple[float, float]) -> float:
    """Return the scale factor of the highest score: the best of a scan, refined."""
    from scipy.optimize import minimize_scalar

    scan = np.linspace(*limits, 101)
    best = float(scan[np.argmax([score(s) for s in scan])])
    width = scan[1] - scan[0]
    bounds = (max(limits[0], best - width), min(limits[1], best + width))
    found = minimize_scalar(lambda s: -score(s), bounds=bounds, method="bounded")
    return float(found.x) if score(found.x) >= score(best) else best


def _displacement(x: np.ndarray, f: np.ndarray, g: np.ndarray) -> float:
    """Return ∫|F − G| dν̃ of the cumulative distributions of two non-negative spectra."""
    a, b = np.maximum(f, 0.0), np.maximum(g, 0.0)
    difference = np.cumsum(a) / a.sum() - np.cumsum(b) / b.sum()
    return float(np.sum(np.abs(difference)) * (x[1] - x[0]))


def comparison_figure(
    comparisons: Sequence[Comparison],
    names: Sequence[str],
    *,
    measured_name: str = "experiment",
    reversed_axis: bool = False,
) -> Figure:
    """Return computed spectra over the measured one, all of unit area.

    Parameters
    ----------
    comparisons
        Of one measured spectrum.
    names
        Of the computed spectra.
    measured_name
        Of the measured one.
    reversed_axis
        Wavenumbers fall from left to right.
    """
    from eqcalc.spectra.plot import spectrum_figure

    measured = comparisons[0].measured
    return spectrum_figure(
        [*(c.calculated for c in comparisons), measured],
        names=[*names, measured_name],
        limits=(float(measured.wavenumber[0]), float(measured.wavenumber[-1])),
        reversed_axis=reversed_axis,
    )
