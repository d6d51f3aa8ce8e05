# SPDX-License-Identifier: MIT
"""Figures of spectra: confidence bands, infrared above Raman, harmonic intensities as sticks.

All functions return :class:`matplotlib.figure.Figure` objects, which notebooks display and
``savefig`` writes; the global state of pyplot is not changed.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eqcalc.files import replacing
from eqcalc.spectra.assignment.bands import AssignedBand
from eqcalc.spectra.assignment.decomposition import Decomposition
from eqcalc.spectra.assignment.modes import REMAINDER, ROTATION
from eqcalc.spectra.committee import CommitteeSpectrum
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.experiment.band_lists import BandList
from eqcalc.spectra.experiment.band_matching import BandComparison
from eqcalc.spectra.experiment.comparison import Comparison
from eqcalc.spectra.frames import MOLECULAR_FRAMES
from eqcalc.spectra.provenance import sample
from eqcalc.spectra.raman_scattering import RamanSpectrum
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import (
    InvalidInputError,
    bounds,
    file_path,
    file_suffix,
    instance,
    instances,
    positive,
    within,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's colour-blind-safe palette: blue,
#: vermilion, green, purple, orange, sky blue.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: The (first) measured spectrum of a panel.
_MEASURED = "black"
_STICKS = "#6E6E6E"
_FOOTER_WIDTH = 130  # characters
#: A mode is labelled above a band if it contributes at least this fraction of its area.
_NAMED_SHARE = 0.2
_STYLE: Any = {
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.linewidth": 0.8,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}
#: Axis labels of units that differ from those of :class:`Spectrum`.
_AXIS_UNITS = {
    "km/mol per cm⁻¹": "km mol⁻¹ / cm⁻¹",
    "Å⁴/amu per cm⁻¹": "Å⁴ amu⁻¹ / cm⁻¹",
    "L/(mol cm)": "L mol⁻¹ cm⁻¹",
    "cm²/sr per cm⁻¹": "cm² sr⁻¹ / cm⁻¹",
    "states per cm⁻¹": "states / cm⁻¹",
    "1/cm⁻¹": "cm",
    "1": "",
}


class _Sticks(NamedTuple):
    """Integrated intensities of normal modes."""

    wavenumber: np.ndarray
    strength: np.ndarray
    unit: str


class _Panel(NamedTuple):
    """The content of one panel: spectra of one unit, sticks, and measured bands."""

    spectra: Sequence[Spectrum]
    sticks: _Sticks | None = None
    measured: BandList | None = None


def plot_spectrum(
    spectra: Spectrum | Sequence[Spectrum],
    *,
    names: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
    level: float = 0.95,
) -> Figure:
    """Return a figure of one or several spectra of the same unit.

    Parameters
    ----------
    spectra
        Spectra to draw.
    names
        Names in the legend; methods and temperatures by default.
    limits
        Range of wavenumbers, cm⁻¹.
    reversed_axis
        Wavenumbers decrease from left to right, as in infrared spectroscopy.
    level
        Probability of the confidence bands.

    Raises
    ------
    InvalidInputError
        There are no spectra, their units differ, or the number of names is wrong.
    """
    listed = [spectra] if isinstance(spectra, Spectrum) else spectra
    found = instances("spectra", listed, Spectrum)
    if not found:
        raise InvalidInputError(key="spectra", expected="a spectrum to draw")
    units = sorted({s.unit for s in found})
    if len(units) > 1:
        raise InvalidInputError(key="spectra", value=units, expected="spectra of one unit")
    return _stacked([_Panel(found)], names, _range(found, None, limits), reversed_axis, level)


def plot_infrared_raman(
    infrared: Sequence[Spectrum],
    raman: Sequence[RamanSpectrum | Spectrum] = (),
    harmonic: HarmonicSpectrum | None = None,
    *,
    measured: BandList | None = None,
    names: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
    level: float = 0.95,
    title: str | None = None,
) -> Figure:
    """Return the figure of a molecule: infrared above Raman, harmonic intensities in both.

    Parameters
    ----------
    infrared, raman
        Spectra of different methods; either may be empty. Raman is drawn as activity 45A + 7G,
        which may be given itself.
    harmonic
        Double-harmonic spectrum of the same potential, drawn as sticks.
    measured
        Measured bands, marked at the top.
    names, limits, reversed_axis, level
        As for :func:`plot_spectrum`.
    title
        Title of the figure.
    """
    instances("infrared", infrared, Spectrum)
    if harmonic is not None:
        instance("harmonic", harmonic, HarmonicSpectrum)
    if isinstance(raman, Sequence):
        raman = [r.activity() if isinstance(r, RamanSpectrum) else r for r in raman]
    activities = instances("raman", raman, Spectrum)
    panels = _panels(infrared, activities, harmonic)
    shown = _range([*infrared, *activities], harmonic, limits)
    panels = [panel._replace(measured=measured) for panel in panels]
    return _stacked(panels, names, shown, reversed_axis, level, title)


def plot_harmonic(
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
        As for :func:`plot_spectrum`.
    """
    instance("harmonic", harmonic, HarmonicSpectrum)
    within("fwhm", positive("fwhm", fwhm, unit="cm⁻¹"), 0.0, 10_000.0, unit="cm⁻¹")
    infrared = [] if harmonic.dipole_derivative is None else [harmonic.infrared(fwhm)]
    raman = [] if harmonic.polarizability_derivative is None else [harmonic.raman(fwhm)]
    panels = _panels(infrared, raman, harmonic)
    name = f"broadened, {fwhm:g} cm⁻¹"
    return _stacked(panels, [name], _range([], harmonic, None), reversed_axis, 0.95)


def plot_comparison(
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
        Comparisons with one measured spectrum.
    names, measured_name
        Of the computed spectra, and of the measured one.
    reversed_axis
        As for :func:`plot_spectrum`.
    """
    if not instances("comparisons", comparisons, Comparison):
        raise InvalidInputError(key="comparisons", value=comparisons, expected="one or more")
    if len(instances("names", names, str)) != len(comparisons):
        raise InvalidInputError(key="names", value=names, expected=f"{len(comparisons)} names")
    measured = comparisons[0].measured
    scaled = [
        f"{name}, wavenumbers × {c.wavenumber_scale.value:.3f}" if c.fitted else name
        for name, c in zip(names, comparisons, strict=True)
    ]
    return plot_spectrum(
        [measured, *(c.calculated for c in comparisons)],
        names=[measured_name, *scaled],
        limits=(float(measured.wavenumber[0]), float(measured.wavenumber[-1])),
        reversed_axis=reversed_axis,
    )


def plot_bands(comparison: BandComparison, name: str = "", reversed_axis: bool = False) -> Figure:
    """Return a computed spectrum with listed bands as sticks, tied to the computed ones.

    Parameters
    ----------
    comparison
        Bands matched to a spectrum.
    name
        Of the spectrum in the legend.
    reversed_axis
        As for :func:`plot_spectrum`.
    """
    instance("comparison", comparison, BandComparison)
    spectrum, listed = comparison.calculated, comparison.listed
    limits = (float(spectrum.wavenumber[0]), float(spectrum.wavenumber[-1]))
    figure = plot_spectrum([spectrum], names=[name], limits=limits, reversed_axis=reversed_axis)
    axes = figure.axes[0]
    top = _height([spectrum], limits, 0.95)
    strengths = np.ones(len(listed.position)) if listed.intensity is None else listed.intensity
    # unknown intensities have a stick of unit height as well
    known = np.nan_to_num(strengths / max(np.nanmax(strengths), 1e-300), nan=1.0)
    axes.vlines(listed.position, -0.35 * top * known, 0.0, _MEASURED, linewidth=1.0)
    for match in comparison.matches:
        if match.band is not None:
            place = match.band.position.value
            height = np.interp(place, spectrum.wavenumber, spectrum.values)
            axes.plot([match.position.value, place], [0.0, height], color=_STICKS, linewidth=0.6)
    axes.set_ylim(-0.4 * top, None)
    (stick,) = axes.plot([], [], color=_MEASURED, linewidth=1.0)
    (legend,) = figure.legends
    handles: list[Any] = [stick, *legend.legend_handles]
    labels = [listed.label, *(text.get_text() for text in legend.get_texts())]
    legend.remove()
    layout: dict[str, Any] = {"loc": "outside upper center", "frameon": False, "fontsize": 8.0}
    figure.legend(handles, labels, ncols=len(labels), **layout)
    return figure


def plot_committee(
    committee: CommitteeSpectrum,
    *,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
    level: float = 0.95,
) -> Figure:
    """Return the mean spectrum of a committee with its sampling error, and its model error below.

    The options are those of :func:`plot_spectrum`.
    """
    import matplotlib as mpl

    mean = instance("committee", committee, CommitteeSpectrum).mean
    errors = [("models", _COLOURS[1], committee.model_error)]
    if mean.standard_error is not None:
        errors.append(("sampling", _COLOURS[0], mean.standard_error))
    shown = _range([mean], None, limits)
    inside = mean.inside(*shown)
    with mpl.rc_context(_STYLE):
        figure = _new_figure(6.7, 3.8)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_panel(upper, _Panel([mean]), ["mean of the committee"], shown, level)
        upper.legend(frameon=False, loc="best")
        for name, colour, error in errors:
            lower.plot(mean.wavenumber, error, color=colour, linewidth=1.1, label=name)
        highest = max(float(error[inside].max(initial=0.0)) for _, _, error in errors)
        lower.set_ylim(0.0, 1.12 * highest or 1.0)
        lower.set_ylabel("standard\nerror")
        lower.legend(frameon=False, loc="best")
        _set_abscissa(lower, shown, reversed_axis)
        _add_footer(figure, [mean])
    return figure


def plot_assignment(
    modes: Decomposition,
    bands: Sequence[AssignedBand],
    harmonic: HarmonicSpectrum,
    *,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
) -> Figure:
    """Return an assigned spectrum with the numbers of the modes above its bands.

    Rotation and the remainder, which belong to no mode, are drawn as separate curves, and the
    double-harmonic intensities as sticks.

    Parameters
    ----------
    modes, bands
        From :func:`eqcalc.spectra.decompose_dipole_by_modes` and
        :func:`eqcalc.spectra.assign_bands`.
    harmonic
        The modes.
    limits, reversed_axis
        See :func:`plot_spectrum`.
    """
    from matplotlib.patheffects import withStroke

    parts = {"rotation": ROTATION, "in no mode": REMAINDER}
    instance("modes", modes, Decomposition)
    names = ["all", *(name for name, part in parts.items() if part in modes.names)]
    curves = [modes.total, *(modes.share(parts[name]) for name in names[1:])]
    figure = plot_infrared_raman(
        curves, harmonic=harmonic, names=names, limits=limits, reversed_axis=reversed_axis
    )
    axes = figure.axes[0]
    lower, upper = sorted(axes.get_xlim())
    for item in bands:
        position = item.band.position.value
        named = sorted(
            int(name.split()[1])
            for name, share in item.shares
            if share.value >= _NAMED_SHARE and name.startswith("mode ")
        )
        if not named or not lower <= position <= upper:
            continue
        height = modes.total.between(item.band.lower, item.band.upper).values.max()
        axes.annotate(
            ", ".join(map(str, named)),
            (position, height),
            xytext=(0.0, 3.0),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7.5,
            color="black",
            path_effects=[withStroke(linewidth=2.0, foreground="white")],
            zorder=10,
        )
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: float = 200.0) -> Path:
    """Write a figure as PNG, PDF or SVG, by the suffix of the path, atomically."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as AnyFigure

    path = file_path(path)
    instance("figure", figure, AnyFigure)
    file_suffix(path, (".png", ".pdf", ".svg"), key="path")
    within("dpi", dpi, 1.0, 10_000.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE), replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    return path


def dynamics_name(spectrum: Spectrum) -> str:
    """Return the legend entry of a spectrum: its dynamics, temperature and beads."""
    record = spectrum.provenance
    if "temperature_K" not in record:
        return str(record.get("spectrum", spectrum.label))
    beads = f", {record['n_beads']} beads" if record.get("n_beads", 1) > 1 else ""
    still = ", without rotation" if record.get("frame") in MOLECULAR_FRAMES else ""
    return f"{record['method']}, {record['temperature_K']:g} K{beads}{still}"


# --- panels ---------------------------------------------------------------------------


def _panels(
    infrared: Sequence[Spectrum], raman: Sequence[Spectrum], harmonic: HarmonicSpectrum | None
) -> list[_Panel]:
    """Return the panels, infrared above Raman, of the available spectra, with sticks."""
    sticks: list[_Sticks | None] = [None, None]
    if harmonic is not None and harmonic.dipole_derivative is not None:
        sticks[0] = _Sticks(harmonic.wavenumber, harmonic.infrared_intensity, "km mol⁻¹")
    if harmonic is not None and harmonic.polarizability_derivative is not None:
        sticks[1] = _Sticks(harmonic.wavenumber, harmonic.raman_activity, "Å⁴ amu⁻¹")
    drawn = zip((infrared, raman), sticks, strict=True)
    panels = [_Panel(spectra, own) for spectra, own in drawn if spectra]
    if not panels:
        raise InvalidInputError(expected="an infrared or a Raman spectrum to draw")
    return panels


def _range(
    spectra: Sequence[Spectrum],
    harmonic: HarmonicSpectrum | None,
    limits: tuple[float, float] | None,
) -> tuple[float, float]:
    """Return the range shown: the given one, or where values exceed 1 % of the maximum."""
    if limits is not None:
        return bounds("limits", limits, unit="cm⁻¹")
    highest = 0.0
    strongest: dict[str, float] = {}
    for s in spectra:
        strongest[s.unit] = max(strongest.get(s.unit, 0.0), float(np.nanmax(s.values)))
    for s in spectra:
        above = np.flatnonzero(s.values > 0.01 * strongest[s.unit])
        highest = max(highest, float(s.wavenumber[above[-1]]) if len(above) else 0.0)
    if harmonic is not None:
        highest = max(highest, float(harmonic.wavenumber.max()))
    return 0.0, 100.0 * np.ceil((highest + 100.0) / 100.0)


def _stacked(
    panels: Sequence[_Panel],
    names: Sequence[str] | None,
    limits: tuple[float, float],
    reversed_axis: bool,
    level: float,
    title: str | None = None,
) -> Figure:
    """Return stacked panels with a common abscissa and legend."""
    import matplotlib as mpl

    if names is not None:
        instances("names", names, str)
    with mpl.rc_context(_STYLE):
        figure = _new_figure(6.7, 0.5 + 2.5 * len(panels))
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(rows, panels, strict=True):
            named = names or [dynamics_name(s) for s in panel.spectra]
            _draw_panel(axes, panel, named, limits, level)
        # above the panels, so that it hides no data
        handles: dict[str, Any] = {}
        for axes in rows:
            for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(text, handle)
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside upper center",
            ncols=len(handles) if len(handles) < 5 else 3,
            frameon=False,
        )
        _set_abscissa(rows[-1], limits, reversed_axis)
        _add_footer(figure, [s for panel in panels for s in panel.spectra])
        if title:
            rows[0].set_title(title, fontsize=10.0)
    return figure


def _add_footer(figure: Figure, spectra: Sequence[Spectrum]) -> None:
    """Say below a figure of which molecule, level of theory and model its spectra are."""
    known = [sample(s.provenance) for s in spectra if _is_calculated(s)]
    lines = [line for text in dict.fromkeys(known) for line in textwrap.wrap(text, _FOOTER_WIDTH)]
    figure.supxlabel("\n".join(lines), fontsize=6.5, color="0.35", x=0.02, ha="left")


def _new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, with its own canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that notebooks display independently of pyplot."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=120)
            return buffer.getvalue()

    figure = NotebookFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_panel(
    axes: Axes,
    panel: _Panel,
    names: Sequence[str],
    limits: tuple[float, float],
    level: float,
) -> None:
    """Draw spectra with their confidence bands, and sticks on a separate axis."""
    spectra = panel.spectra
    if len(names) != len(spectra):
        raise InvalidInputError(
            key="names", value=names, expected=f"one for each of {len(spectra)} spectra"
        )
    palette = iter(_COLOURS * len(spectra))
    measured = next((s for s in spectra if not _is_calculated(s)), None)
    for spectrum, name in zip(spectra, names, strict=True):
        colour = _MEASURED if spectrum is measured else next(palette)
        if spectrum.standard_error is not None:
            band = spectrum.confidence_band(level)
            axes.fill_between(spectrum.wavenumber, *band, color=colour, alpha=0.25, linewidth=0.0)
        axes.plot(spectrum.wavenumber, spectrum.values, color=colour, label=name, linewidth=1.1)
    if any(s.standard_error is not None for s in spectra):
        axes.plot([], [], color="0.8", linewidth=6.0, label=f"{100 * level:g} % confidence")
    # free ring-polymer modes, where spurious resonances may appear
    modes = {nu for s in spectra for nu in s.provenance.get("ring_modes_cm-1", [])}
    triangles = {"marker": "v", "markersize": 4.0, "color": _COLOURS[3]}
    _mark(axes, sorted(modes), limits, "free ring-polymer modes", **triangles)
    if (bands := panel.measured) is not None:
        lines = {"marker": "|", "markersize": 8.0, "color": _MEASURED}
        _mark(axes, bands.position, limits, bands.label, **lines)
    axes.axhline(0.0, color="0.6", linewidth=0.5, zorder=0)
    height = _height(spectra, limits, level)
    axes.set_ylim(-0.04 * height, 1.12 * height)
    unit = _AXIS_UNITS.get(spectra[0].unit, spectra[0].unit)
    axes.set_ylabel(spectra[0].label + (f"\n{unit}" if unit else ""))
    if panel.sticks is not None:
        _draw_sticks(axes, panel.sticks, limits)


def _is_calculated(spectrum: Spectrum) -> bool:
    return "spectrum" in spectrum.provenance or "file" not in spectrum.provenance


def _mark(
    axes: Axes,
    positions: Sequence[float] | np.ndarray,
    limits: tuple[float, float],
    label: str,
    **style: Any,
) -> None:
    """Mark wavenumbers at the top of a panel."""
    shown = [nu for nu in positions if limits[0] <= nu <= limits[1]]
    if shown:
        axes.plot(
            shown,
            np.ones(len(shown)),
            linestyle="none",
            clip_on=False,
            transform=axes.get_xaxis_transform(),
            label=label,
            **style,
        )


def _height(spectra: Sequence[Spectrum], limits: tuple[float, float], level: float) -> float:
    """Return the height of the panel: all curves, and bands up to half as high again."""
    curve = band = 0.0
    for s in spectra:
        inside = s.inside(*limits)
        if inside.sum() < 2:
            continue
        curve = max(curve, float(np.nanmax(s.values[inside], initial=0.0)))
        if s.standard_error is not None:
            upper = s.confidence_band(level)[1][inside]
            band = max(band, float(np.nanmax(upper, initial=0.0)))
    return max(curve, min(band, 1.5 * curve)) or 1.0


def _draw_sticks(axes: Axes, sticks: _Sticks, limits: tuple[float, float]) -> None:
    """Draw integrated intensities as sticks against a separate axis on the right."""
    inside = (sticks.wavenumber >= limits[0]) & (sticks.wavenumber <= limits[1])
    wavenumber, strength = sticks.wavenumber[inside], sticks.strength[inside]
    twin = axes.twinx()
    twin.vlines(wavenumber, 0.0, strength, color=_STICKS, linewidth=0.9, zorder=1)
    twin.plot(wavenumber, strength, ".", color=_STICKS, markersize=2.5, zorder=1)
    twin.set_ylabel(f"harmonic / {sticks.unit}", color=_STICKS)
    twin.tick_params(axis="y", right=True, colors=_STICKS)
    top = float(strength.max(initial=0.0)) or 1.0
    twin.set_ylim(-0.04 * top, 1.12 * top)
    axes.tick_params(axis="y", right=False)
    axes.set_zorder(twin.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot([], [], color=_STICKS, linewidth=0.9, label="double harmonic")


def _set_abscissa(axes: Axes, limits: tuple[float, float], reversed_axis: bool) -> None:
    """Set the range, direction and label of the wavenumber axis."""
    from matplotlib.ticker import AutoMinorLocator

    axes.set_xlim(limits[::-1] if reversed_axis else limits)
    axes.set_xlabel("wavenumber / cm⁻¹")
    axes.xaxis.set_minor_locator(AutoMinorLocator())
