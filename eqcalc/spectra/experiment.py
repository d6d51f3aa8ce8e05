# SPDX-License-Identifier: MIT
"""Measured spectra, and how well a computed one agrees with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from eqcalc.spectra.spectrum import Spectrum
from eqcalc.spectra.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "SCORES",
    "Comparison",
    "absorbance",
    "broadened",
    "compare",
    "comparison_figure",
    "read_table",
]


# --- reading and preparing --------------------------------------------------------------


def read_table(path: str | Path, *, unit: str, label: str) -> Spectrum:
    """Read a measured spectrum from two columns of text: wavenumber [cm⁻¹] and value.

    Lines that start with ``#`` are comments. The points may come in any order;
    values at the same wavenumber are averaged.

    Parameters
    ----------
    path
        The file.
    unit, label
        Of the values.
    """
    path = Path(path)
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.split("#", 1)[0].replace(",", " ").replace(";", " ").split()
        if not text:
            continue
        try:
            rows.append((float(text[0]), float(text[1])))
        except (ValueError, IndexError):
            raise ValueError(
                f"{path}, line {number}: expected a wavenumber and a value, got {line.strip()!r}"
            ) from None
    if len(rows) < 2:
        raise ValueError(f"{path}: fewer than two points")
    table = np.array(rows)
    wavenumber, inverse, counts = np.unique(table[:, 0], return_inverse=True, return_counts=True)
    values = np.bincount(inverse.ravel(), table[:, 1]) / counts
    return Spectrum(wavenumber, values, unit, label, provenance={"file": path.name})


def absorbance(spectrum: Spectrum) -> Spectrum:
    """Return the decadic absorbance −log₁₀T of a spectrum in transmittance or absorbance.

    Raises
    ------
    ValueError
        The unit is neither, or the transmittance is not positive somewhere:
        cut the range with :meth:`Spectrum.between`.
    """
    unit = spectrum.unit.upper()
    if unit.startswith("ABSORBANCE"):
        return replace(spectrum, unit="1", label="absorbance")
    if not ("TRANSMITTANCE" in unit or unit in ("T", "%T")):
        raise ValueError(f"neither transmittance nor absorbance: {spectrum.unit!r}")
    percent = "PERCENT" in unit or "%" in unit
    transmittance = spectrum.values / (100.0 if percent else 1.0)
    if np.any(transmittance <= 0.0):
        where = float(spectrum.wavenumber[np.argmin(transmittance)])
        raise ValueError(f"the transmittance is not positive at {where:g} cm⁻¹ (saturated?)")
    if not percent and np.median(transmittance) > 2.0:
        raise ValueError("a transmittance above 1: the file gives percent without saying so")
    return replace(
        spectrum,
        values=-np.log10(transmittance),
        standard_error=None,
        samples=None,
        unit="1",
        label="absorbance",
        history=(*spectrum.history, "absorbance from transmittance"),
    )


def broadened(spectrum: Spectrum, fwhm: float, shape: str = "gaussian") -> Spectrum:
    """Return a spectrum as seen by an instrument of a finite resolution.

    Parameters
    ----------
    spectrum
        On an even grid.
    fwhm
        Full width at half maximum of the instrument's line shape, cm⁻¹.
    shape
        ``"gaussian"``, ``"lorentzian"`` or ``"triangular"`` (a grating with
        equal slits).
    """
    steps = np.diff(spectrum.wavenumber)
    step = float(steps.mean())
    if not np.allclose(steps, step, rtol=1e-6):
        raise ValueError("broadening needs an even grid of wavenumbers; interpolate first")
    if not fwhm > 0.0:
        raise ValueError(f"fwhm: expected a positive width in cm⁻¹, got {fwhm}")
    n = len(spectrum)
    distance = step * np.arange(-(n - 1), n)
    if shape == "gaussian":
        line = np.exp(-4.0 * np.log(2.0) * (distance / fwhm) ** 2)
    elif shape == "lorentzian":
        line = 1.0 / (1.0 + (2.0 * distance / fwhm) ** 2)
    elif shape == "triangular":
        line = np.maximum(1.0 - np.abs(distance) / fwhm, 0.0)
    else:
        raise ValueError(f"unknown line shape {shape!r}; known: gaussian, lorentzian, triangular")
    line /= line.sum()

    from scipy.signal import fftconvolve

    def convolve(y: np.ndarray) -> np.ndarray:
        return np.asarray(fftconvolve(y, line, mode="full")[n - 1 : 2 * n - 1])

    return replace(
        spectrum,
        values=convolve(spectrum.values),
        samples=None
        if spectrum.samples is None
        else np.array([convolve(y) for y in spectrum.samples]),
        standard_error=None,
        history=(*spectrum.history, f"broadened, {shape}, {fwhm:g} cm⁻¹"),
    )


# --- scores -----------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Comparison:
    """A computed spectrum beside a measured one.

    Parameters
    ----------
    calculated, measured
        On one grid and scaled to unit area.
    wavenumber_scale
        Factor on the computed wavenumbers.
    scores
        Each of :data:`SCORES`, with the standard error from the sampling of
        the computed spectrum.
    displacement
        Earth mover's distance, cm⁻¹: how far intensity has to be moved on
        average to turn one spectrum into the other.
    """

    calculated: Spectrum
    measured: Spectrum
    wavenumber_scale: float
    scores: dict[str, Estimate]
    displacement: Estimate

    def table(self) -> str:
        """Return the scores as text."""
        lines = [f"wavenumber scale       {self.wavenumber_scale:.4f}"]
        for name, score in self.scores.items():
            lines.append(f"{name:<22} {score.value:.4f} ± {score.error:.4f}")
        shift = self.displacement
        lines.append(f"displacement/cm⁻¹      {shift.value:.1f} ± {shift.error:.1f}")
        return "\n".join(lines)


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

    scale = 1.0
    if scale_range is not None:
        scale = _best_scale(
            lambda s: match_score(scaled(calculated.values, s), target.values), scale_range
        )
    if scale * calculated.wavenumber[-1] < upper or scale * calculated.wavenumber[0] > lower:
        raise ValueError(
            f"the computed spectrum covers {calculated.wavenumber[0]:g} to "
            f"{calculated.wavenumber[-1]:g} cm⁻¹, not {lower:g} to {upper:g} cm⁻¹"
        )
    moved = replace(
        calculated,
        wavenumber=scale * calculated.wavenumber,
        history=(*calculated.history, f"wavenumbers scaled by {scale:.5f}"),
    ).interpolated(grid)
    scores = {
        name: moved.estimate(lambda y, score=score: score(y, target.values))  # type: ignore[misc]
        for name, score in SCORES.items()
    }
    displacement = moved.estimate(lambda y: _displacement(grid, y, target.values))
    return Comparison(
        moved.scaled(1.0 / moved.integrate().value, unit="1/cm⁻¹", label="normalised intensity"),
        target.scaled(1.0 / target.integrate().value, unit="1/cm⁻¹", label="normalised intensity"),
        scale,
        scores,
        displacement,
    )


def _best_scale(score: object, limits: tuple[float, float]) -> float:
    """Return the scale factor of the highest score: the best of a scan, refined."""
    from scipy.optimize import minimize_scalar

    assert callable(score)
    scan = np.linspace(*limits, 201)
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
