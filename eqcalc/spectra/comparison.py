# SPDX-License-Identifier: MIT
"""How well a computed spectrum agrees with a measured one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from eqcalc.spectra.experiment import broadened, read_measured
from eqcalc.spectra.infrared import convert_infrared
from eqcalc.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "SCORES",
    "Comparison",
    "ScoreInterval",
    "compare",
    "comparison_figure",
    "write_comparison",
]


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
        # on an even grid; that of a spectrum with corrected wavenumbers is not
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


def write_comparison(
    calculated: Sequence[str | Path],
    measured: str | Path,
    folder: str | Path,
    *,
    lower: float,
    upper: float,
    scale_range: tuple[float, float] | None = None,
    fwhm: float | None = None,
    names: Sequence[str] | None = None,
    unit: str = "arbitrary units",
    reversed_axis: bool = False,
) -> str:
    """Compare files of computed spectra with a measured one; write a figure and the scores.

    Parameters
    ----------
    calculated
        Files of eqcalc; HDF5 files have the samples that intervals come from.
    measured
        See :func:`eqcalc.spectra.read_measured`.
    folder
        Receives ``comparison.txt``, ``comparison.json`` and ``comparison.png``.
    lower, upper, scale_range, fwhm
        See :func:`compare`.
    names
        Of the computed spectra in the legend; their dynamics by default.
    unit
        Of a measured spectrum in a text file.
    reversed_axis
        Wavenumbers fall from left to right.

    Returns
    -------
    What is in ``comparison.txt``.
    """
    from eqcalc.spectra.files import atomically
    from eqcalc.spectra.plot import dynamics_name, save

    target = read_measured(measured, unit=unit)
    spectra = [Spectrum.read(path) for path in calculated]
    names = list(names or map(dynamics_name, spectra))
    if len(names) != len(spectra):
        raise ValueError(f"names: expected {len(spectra)}, got {len(names)}")
    options: dict[str, Any] = {"scale_range": scale_range, "fwhm": fwhm}
    first, last = target.wavenumber[0], target.wavenumber[-1]
    if lower < first or upper > last:
        raise ValueError(
            f"{measured}: covers {first:g} to {last:g} cm⁻¹, and the limits {lower:g} to {upper:g} "
            "cm⁻¹ go beyond"
        )
    found = []
    for path, spectrum in zip(calculated, spectra, strict=True):
        try:
            found.append(compare(spectrum, target, lower=lower, upper=upper, **options))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    notes = [f"note: {warning}" for warning in target.warnings]
    texts = ["\n".join([f"{Path(measured).name}, {lower:g} to {upper:g} cm⁻¹", *notes])]
    for name, comparison, spectrum in zip(names, found, spectra, strict=True):
        texts.append(f"{name}\n{comparison.table()}{_absolute(spectrum, target, comparison)}")
    text = "\n\n".join(texts)
    record = {
        "measured": {"file": str(measured), **target.provenance},
        "calculated": [
            {"file": str(path), "name": name, **comparison.to_dict()}
            for path, name, comparison in zip(calculated, names, found, strict=True)
        ],
    }
    folder = Path(folder)
    figure = comparison_figure(found, names, reversed_axis=reversed_axis)
    save(figure, folder / "comparison.png")
    for name, content in (
        ("comparison.txt", text),
        ("comparison.json", json.dumps(record, indent=1, ensure_ascii=False)),
    ):
        atomically(folder / name, lambda p, c=content: p.write_text(c + "\n", encoding="utf-8"))  # type: ignore[misc]
    return text


def _absolute(spectrum: Spectrum, measured: Spectrum, comparison: Comparison) -> str:
    """Return a line with both integrated absorptions, if both are in absolute units."""
    try:
        ours, theirs = (convert_infrared(s, "intensity") for s in (spectrum, measured))
    except ValueError:
        return ""
    lower, upper = comparison.measured.wavenumber[[0, -1]]
    scale = comparison.wavenumber_scale.value
    a, b = ours.integrate(lower / scale, upper / scale), theirs.integrate(lower, upper)
    return (
        f"\nintegrated absorption: computed {a.value:.1f} ± {a.error:.1f} km/mol, "
        f"measured {b.value:.1f} km/mol"
    )


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
    from eqcalc.spectra.figures import spectrum_figure

    measured = comparisons[0].measured
    scaled = [
        f"{name}, wavenumbers × {c.wavenumber_scale.value:.3f}" if c.fitted else name
        for name, c in zip(names, comparisons, strict=True)
    ]
    return spectrum_figure(
        [measured, *(c.calculated for c in comparisons)],
        names=[measured_name, *scaled],
        limits=(float(measured.wavenumber[0]), float(measured.wavenumber[-1])),
        reversed_axis=reversed_axis,
    )
