# SPDX-License-Identifier: MIT
"""What figures of spectra are made of: curves with bands, sticks, panels, axes.

Everything is drawn on :class:`matplotlib.figure.Figure` objects; the global
state of pyplot is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eqcalc.spectra.harmonic import HarmonicSpectrum
from eqcalc.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


#: Okabe and Ito's palette, told apart by colour-blind readers: blue,
#: vermilion, green, purple, orange, sky blue.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: The (first) measured spectrum of a panel.
MEASURED = "black"
_STICKS = "#6E6E6E"

#: Wavenumbers, strengths and unit of sticks.
Sticks = tuple[np.ndarray, np.ndarray, str]
#: Spectra of a panel and its sticks.
Panel = tuple[Sequence[Spectrum], Sticks | None]
STYLE: Any = {
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


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, on a canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path, dpi: float = 200.0) -> Path:
    """Write a figure as PNG, PDF or SVG, by the ending of the path."""
    import matplotlib as mpl

    from eqcalc.spectra.io.files import atomically

    path = Path(path)
    with mpl.rc_context(STYLE):
        return atomically(path, lambda temporary: figure.savefig(temporary, dpi=dpi))


def draw(
    axes: Axes,
    spectrum: Spectrum,
    *,
    label: str | None = None,
    colour: str = COLOURS[0],
    level: float = 0.95,
    scale: float = 1.0,
    **line: Any,
) -> None:
    """Draw a spectrum with its confidence band.

    Parameters
    ----------
    axes
        Where.
    spectrum
        What.
    label
        Name in the legend.
    colour
        Of the line and, lighter, of the band.
    level
        Probability of the band.
    scale
        Factor on the values.
    line
        Options of :meth:`matplotlib.axes.Axes.plot`.
    """
    if spectrum.standard_error is not None:
        low, high = spectrum.confidence_band(level)
        axes.fill_between(
            spectrum.wavenumber, scale * low, scale * high, color=colour, alpha=0.25, linewidth=0.0
        )
    options = {"linewidth": 1.1, **line}
    axes.plot(spectrum.wavenumber, scale * spectrum.values, color=colour, label=label, **options)


def draw_sticks(axes: Axes, wavenumber: np.ndarray, strength: np.ndarray, unit: str) -> Axes:
    """Draw integrated intensities as sticks against an axis of their own on the right.

    Returns
    -------
    The axes of the sticks.
    """
    twin = axes.twinx()
    twin.vlines(wavenumber, 0.0, strength, color=_STICKS, linewidth=0.9, zorder=1)
    twin.plot(wavenumber, strength, ".", color=_STICKS, markersize=2.5, zorder=1)
    twin.set_ylabel(f"harmonic / {unit}", color=_STICKS)
    twin.tick_params(axis="y", right=True, colors=_STICKS)
    axes.tick_params(axis="y", right=False)
    axes.set_zorder(twin.get_zorder() + 1)
    axes.patch.set_visible(False)
    return twin


def _is_calculated(spectrum: Spectrum) -> bool:
    return "spectrum" in spectrum.provenance or "file" not in spectrum.provenance


def _axis_label(unit: str) -> str:
    """Return a unit as printed on an axis: 'km/mol per cm⁻¹' becomes 'km mol⁻¹ cm'."""
    known = {
        "km/mol per cm⁻¹": "km mol⁻¹ / cm⁻¹",
        "Å⁴/amu per cm⁻¹": "Å⁴ amu⁻¹ / cm⁻¹",
        "L/(mol cm)": "L mol⁻¹ cm⁻¹",
        "cm²/sr per cm⁻¹": "cm² sr⁻¹ / cm⁻¹",
        "states per cm⁻¹": "states / cm⁻¹",
        "1/cm⁻¹": "cm",
        "1": "",
    }
    return known.get(unit, unit)


def _upper_limit(spectra: Sequence[Spectrum], lower: float, upper: float, level: float) -> float:
    """Return the height of the panel: all curves, and bands up to half as high again."""
    curve = band = 0.0
    for part in (s.between(lower, upper) for s in spectra if _overlaps(s, lower, upper)):
        curve = max(curve, float(np.nanmax(part.values, initial=0.0)))
        if part.standard_error is not None:
            band = max(band, float(np.nanmax(part.confidence_band(level)[1], initial=0.0)))
    return max(curve, min(band, 1.5 * curve)) or 1.0


def _overlaps(spectrum: Spectrum, lower: float, upper: float) -> bool:
    """Return whether at least two points of a spectrum lie in a range."""
    inside = (spectrum.wavenumber >= lower) & (spectrum.wavenumber <= upper)
    return int(inside.sum()) > 1


def shown_range(
    spectra: Sequence[Spectrum],
    harmonic: HarmonicSpectrum | None,
    limits: tuple[float, float] | None,
) -> tuple[float, float]:
    """Return the range shown: what is asked for, or everything with a hundredth of the maximum."""
    if limits is not None:
        lower, upper = sorted(limits)
        return lower, upper
    highest = 0.0
    strongest = {
        unit: max(float(np.nanmax(s.values)) for s in spectra if s.unit == unit)
        for unit in {s.unit for s in spectra}
    }
    for s in spectra:
        above = np.flatnonzero(s.values > 0.01 * strongest[s.unit])
        highest = max(highest, float(s.wavenumber[above[-1]]) if len(above) else 0.0)
    if harmonic is not None:
        highest = max(highest, float(harmonic.wavenumber.max()))
    return 0.0, 100.0 * np.ceil((highest + 100.0) / 100.0)


def panel(
    axes: Axes,
    spectra: Sequence[Spectrum],
    names: Sequence[str],
    sticks: Sticks | None,
    limits: tuple[float, float],
    level: float,
) -> None:
    """Draw spectra of one unit with their confidence bands, and sticks on an axis of their own.

    Parameters
    ----------
    axes
        Where.
    spectra, names
        What, and what it is called in the legend.
    sticks
        Harmonic wavenumbers, intensities and their unit, or None.
    limits
        Range of wavenumbers [cm⁻¹].
    level
        Probability of the confidence bands.
    """
    if len(names) != len(spectra):
        raise ValueError(
            f"names: expected one for each of {len(spectra)} spectra, got {len(names)}"
        )
    height = _upper_limit(spectra, *limits, level)
    ring_modes: list[float] = []
    palette = iter(COLOURS * len(spectra))
    reference = next((s for s in spectra if not _is_calculated(s)), None)
    for spectrum, name in zip(spectra, names, strict=True):
        colour = MEASURED if spectrum is reference else next(palette)
        draw(axes, spectrum, label=name, colour=colour, level=level)
        ring_modes += spectrum.provenance.get("ring_modes_cm-1", [])
    if any(s.standard_error is not None for s in spectra):
        axes.plot([], [], color="0.8", linewidth=6.0, label=f"{100 * level:g} % confidence")
    shown = sorted({nu for nu in ring_modes if limits[0] <= nu <= limits[1]})
    for i, nu in enumerate(shown):
        axes.plot(
            nu,
            1.0,
            marker="v",
            markersize=4.0,
            color=COLOURS[3],
            linestyle="none",
            clip_on=False,
            transform=axes.get_xaxis_transform(),
            label="free ring-polymer modes" if i == 0 else None,
        )
    axes.axhline(0.0, color="0.6", linewidth=0.5, zorder=0)
    axes.set_ylim(-0.04 * height, 1.12 * height)
    unit = _axis_label(spectra[0].unit)
    axes.set_ylabel(spectra[0].label + (f"\n{unit}" if unit else ""))
    if sticks is not None:
        wavenumber, strength, unit = sticks
        inside = (wavenumber >= limits[0]) & (wavenumber <= limits[1])
        twin = draw_sticks(axes, wavenumber[inside], strength[inside], unit)
        top = float(strength[inside].max(initial=0.0)) or 1.0
        twin.set_ylim(-0.04 * top, 1.12 * top)
        axes.plot([], [], color=_STICKS, linewidth=0.9, label="double harmonic")


def stacked(
    panels: Sequence[Panel],
    names: Sequence[str] | None,
    limits: tuple[float, float],
    reversed_axis: bool,
    level: float,
    title: str | None,
) -> Figure:
    """Return panels above each other on one abscissa, with a common legend."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = new_figure(6.7, 0.5 + 2.5 * len(panels))
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (spectra, sticks) in zip(rows, panels, strict=True):
            panel(
                axes, spectra, names or [dynamics_name(s) for s in spectra], sticks, limits, level
            )
        # above the panels, where it hides neither curves nor sticks
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
        abscissa(rows[-1], limits, reversed_axis)
        if title:
            rows[0].set_title(title, fontsize=10.0)
    return figure


def abscissa(axes: Axes, limits: tuple[float, float], reversed_axis: bool) -> None:
    """Set the range and the label of the wavenumber axis, which may fall from left to right."""
    axes.set_xlim(limits[::-1] if reversed_axis else limits)
    axes.set_xlabel("wavenumber / cm⁻¹")
    from matplotlib.ticker import AutoMinorLocator

    axes.xaxis.set_minor_locator(AutoMinorLocator())


def dynamics_name(spectrum: Spectrum) -> str:
    """Return what a spectrum is called in a legend: its dynamics, temperature and beads."""
    record = spectrum.provenance
    if "temperature_K" not in record:
        return str(record.get("spectrum", spectrum.label))
    beads = f", {record['n_beads']} beads" if record.get("n_beads", 1) > 1 else ""
    return f"{record['method']}, {record['temperature_K']:g} K{beads}"
