# SPDX-License-Identifier: MIT
"""Parity plots: predicted values over labels."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from eqcalc.quantities import quantity
from eqcalc.units import conversion_factor

#: With more points than this, densities are drawn instead of dots.
_DOTS = 5000


def parity_plot(name: str, labels: np.ndarray, predicted: np.ndarray) -> Figure:
    """Draw predicted over labelled values of one quantity, and the errors below.

    Energies of both are drawn relative to the mean of the labels.

    Parameters
    ----------
    name
        The quantity.
    labels, predicted
        Arrays of one shape, in internal units.
    """
    q = quantity(name)
    small_unit, small_label = q.report[0]
    unit, label = q.figure or q.report[0]
    title = name.replace("_", " ") + (" components" if q.rank else "")
    factor = conversion_factor(q.unit, unit)
    theirs = labels.ravel() * factor
    ours = predicted.ravel() * factor
    if name == "energy":
        title = "energy − mean"
        theirs, ours = theirs - theirs.mean(), ours - theirs.mean()
    error = (ours - theirs) * conversion_factor(unit, small_unit)

    figure = Figure(figsize=(4.6, 5.8), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    low, high = min(theirs.min(), ours.min()), max(theirs.max(), ours.max())
    upper.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
    lower.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    for axes, values in ((upper, ours), (lower, error)):
        if len(theirs) > _DOTS:
            axes.hexbin(theirs, values, gridsize=80, norm=LogNorm(), linewidths=0.1, cmap="viridis")
        else:
            axes.plot(theirs, values, ".", markersize=2.5, alpha=0.6, markeredgewidth=0.0)
    mae, rmse = np.abs(error).mean(), np.sqrt(np.square(error).mean())
    upper.set_title(f"{title}: MAE {mae:.3g}, RMSE {rmse:.3g} {small_label}", fontsize=10)
    upper.set_ylabel(f"model [{label}]")
    lower.set_ylabel(f"error [{small_label}]")
    lower.set_xlabel(f"label [{label}]")
    return figure
