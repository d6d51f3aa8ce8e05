# SPDX-License-Identifier: MIT
"""Figure of an assigned spectrum: bands with the numbers of their modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eqcalc.spectra.assignment.bands import AssignedBand
from eqcalc.spectra.assignment.decomposition import Decomposition
from eqcalc.spectra.assignment.modes import REMAINDER, ROTATION
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.figures import plot_infrared_raman

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: A mode is named above a band if it carries at least this share of its area.
_NAMED_SHARE = 0.2


def assignment_figure(
    modes: Decomposition,
    bands: Sequence[AssignedBand],
    harmonic: HarmonicSpectrum,
    *,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
) -> Figure:
    """Return the spectrum with the numbers of the modes above its bands.

    Rotation and the remainder, which no mode carries, are drawn as curves of
    their own; the double-harmonic intensities as sticks.

    Parameters
    ----------
    modes
        From :func:`eqcalc.spectra.decompose_dipole_by_modes`.
    bands
        From :func:`eqcalc.spectra.assign_bands`.
    harmonic
        The modes.
    limits
        Range of wavenumbers, cm⁻¹.
    reversed_axis
        Wavenumbers fall from left to right.
    """
    curves = [modes.total, modes.share(ROTATION), modes.share(REMAINDER)]
    figure = plot_infrared_raman(
        curves,
        harmonic=harmonic,
        names=["all", "rotation", "in no mode"],
        limits=limits,
        reversed_axis=reversed_axis,
    )
    from matplotlib.patheffects import withStroke

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
