# SPDX-License-Identifier: MIT
"""Figures of spectra: one or several, infrared above Raman, with harmonic sticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eqcalc.spectra.harmonic import HarmonicSpectrum
from eqcalc.spectra.plot import (
    COLOURS,
    STYLE,
    Panel,
    Sticks,
    abscissa,
    dynamics_name,
    new_figure,
    panel,
    shown_range,
    stacked,
)
from eqcalc.spectra.raman_scattering import RamanSpectrum
from eqcalc.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def spectrum_figure(
    spectra: Sequence[Spectrum],
    *,
    names: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
    level: float = 0.95,
) -> Figure:
    """Return a figure of spectra of one unit on common axes.

    Parameters
    ----------
    spectra
        What to draw.
    names
        Names in the legend; methods and temperatures by default.
    limits
        Range of wavenumbers, cm⁻¹.
    reversed_axis
        Wavenumbers fall from left to right, as in infrared spectroscopy.
    level
        Probability of the confidence bands.
    """
    if not spectra:
        raise ValueError("no spectrum to draw")
    if len({s.unit for s in spectra}) > 1:
        raise ValueError(
            f"spectra of different units: {', '.join(sorted({s.unit for s in spectra}))}"
        )
    import matplotlib as mpl

    shown = shown_range(spectra, None, limits)
    with mpl.rc_context(STYLE):
        figure = new_figure(6.7, 3.0)
        axes = figure.subplots()
        panel(axes, spectra, names or [dynamics_name(s) for s in spectra], None, shown, level)
        axes.legend(frameon=False, loc="best")
        abscissa(axes, shown, reversed_axis)
    return figure


def committee_figure(
    mean: Spectrum,
    model_error: np.ndarray,
    *,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
    level: float = 0.95,
) -> Figure:
    """Return the mean spectrum of a committee with its sampling error, and its model error below.

    Parameters
    ----------
    mean
        With the errors of sampling.
    model_error
        ``[n_wavenumbers]``, standard deviation between the members.
    limits
        Range of wavenumbers, cm⁻¹.
    reversed_axis
        Wavenumbers fall from left to right.
    level
        Probability of the confidence band.
    """
    import matplotlib as mpl

    shown = shown_range([mean], None, limits)
    with mpl.rc_context(STYLE):
        figure = new_figure(6.7, 3.8)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        panel(upper, [mean], ["mean of the committee"], None, shown, level)
        upper.legend(frameon=False, loc="best")
        lower.plot(mean.wavenumber, model_error, color=COLOURS[1], linewidth=1.1, label="models")
        if mean.standard_error is not None:
            lower.plot(
                mean.wavenumber,
                mean.standard_error,
                color=COLOURS[0],
                linewidth=1.1,
                label="sampling",
            )
        inside = (mean.wavenumber >= shown[0]) & (mean.wavenumber <= shown[1])
        errors = [
            model_error[inside],
            *([] if mean.standard_error is None else [mean.standard_error[inside]]),
        ]
        lower.set_ylim(0.0, 1.12 * max(float(e.max()) for e in errors) or 1.0)
        lower.set_ylabel("standard\nerror")
        lower.legend(frameon=False, loc="best")
        abscissa(lower, shown, reversed_axis)
    return figure


def infrared_figure(
    spectra: Sequence[Spectrum],
    harmonic: HarmonicSpectrum,
    *,
    names: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
    level: float = 0.95,
) -> Figure:
    """Return infrared spectra over the double-harmonic intensities as sticks.

    The parameters are those of :func:`spectra_figure`.
    """
    shown = shown_range(spectra, harmonic, limits)
    panels: list[Panel] = [(spectra, _infrared_sticks(harmonic))]
    return stacked(panels, names, shown, reversed_axis, level, None)


def spectra_figure(
    infrared: Sequence[Spectrum],
    raman: Sequence[RamanSpectrum] = (),
    harmonic: HarmonicSpectrum | None = None,
    *,
    names: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
    level: float = 0.95,
    title: str | None = None,
) -> Figure:
    """Return the figure of a molecule: infrared above, Raman below, harmonic sticks in both.

    Parameters
    ----------
    infrared
        Infrared spectra of different methods.
    raman
        Raman spectra of the same methods, drawn as activity 45A + 7G.
    harmonic
        Double-harmonic spectrum of the same potential, drawn as sticks.
    names
        Names of the methods in the legend.
    limits
        Range of wavenumbers, cm⁻¹.
    reversed_axis
        Wavenumbers fall from left to right.
    level
        Probability of the confidence bands.
    title
        Above the figure.
    """
    activities = [r.activity() for r in raman]
    panels: list[Panel] = []
    if infrared:
        panels.append((infrared, _infrared_sticks(harmonic)))
    if activities:
        panels.append((activities, _raman_sticks(harmonic)))
    if not panels:
        raise ValueError("neither an infrared nor a Raman spectrum to draw")
    shown = shown_range([*infrared, *activities], harmonic, limits)
    return stacked(panels, names, shown, reversed_axis, level, title)


def harmonic_figure(
    harmonic: HarmonicSpectrum, *, fwhm: float = 10.0, reversed_axis: bool = False
) -> Figure:
    """Return the broadened double-harmonic spectra with sticks, infrared above Raman.

    Parameters
    ----------
    harmonic
        Modes with at least one kind of intensity.
    fwhm
        Full width at half maximum of each line, cm⁻¹.
    reversed_axis
        Wavenumbers fall from left to right.
    """
    panels: list[Panel] = []
    if harmonic.dipole_derivative is not None:
        panels.append(([harmonic.infrared(fwhm)], _infrared_sticks(harmonic)))
    if harmonic.polarizability_derivative is not None:
        panels.append(([harmonic.raman(fwhm)], _raman_sticks(harmonic)))
    if not panels:
        raise ValueError("the harmonic analysis has no intensities to draw")
    shown = shown_range([], harmonic, None)
    name = f"broadened, {fwhm:g} cm⁻¹"
    return stacked(panels, [name], shown, reversed_axis, 0.95, None)


def _infrared_sticks(harmonic: HarmonicSpectrum | None) -> Sticks | None:
    if harmonic is None or harmonic.dipole_derivative is None:
        return None
    return harmonic.wavenumber, harmonic.infrared_intensity, "km mol⁻¹"


def _raman_sticks(harmonic: HarmonicSpectrum | None) -> Sticks | None:
    if harmonic is None or harmonic.polarizability_derivative is None:
        return None
    return harmonic.wavenumber, harmonic.raman_activity, "Å⁴ amu⁻¹"
