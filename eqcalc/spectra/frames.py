# SPDX-License-Identifier: MIT
"""Series of a trajectory as seen from a frame that moves with the molecule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from eqcalc.spectra.rotation import (
    FRAMES,
    corotating_rotations,
    eckart_rotations,
    interpolate_rotations,
    rotate,
)
from eqcalc.spectra.signals import Series

__all__ = ["in_frame", "molecular_rotations"]


def molecular_rotations(
    trajectory: Any, frame: str, reference: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Return the rotations into a molecular frame along a trajectory, and their interval [fs].

    Parameters
    ----------
    trajectory
        A trajectory with the observable ``"positions"``.
    frame
        ``"eckart"`` or ``"corotating"``; see :mod:`eqcalc.spectra.rotation`.
    reference
        ``[n_atoms, 3]``, Å, of the Eckart frame; the first frame of the first
        replica by default.
    """
    if "positions" not in trajectory.observables():
        raise ValueError(
            f"the {frame} frame needs the observable 'positions'; the trajectory has: "
            f"{', '.join(trajectory.observables()) or 'nothing'}"
        )
    positions = trajectory.observable("positions")
    if frame == "corotating":
        return corotating_rotations(positions.values, trajectory.masses), positions.interval
    if reference is None:
        reference = positions.values[0, 0]
    rotations = eckart_rotations(positions.values, reference, trajectory.masses)
    return rotations, positions.interval


def in_frame(
    series: Series, trajectory: Any, frame: str, reference: np.ndarray | None = None
) -> Series:
    """Return a series of vectors or tensors of a trajectory as seen from a molecular frame.

    Positions that were recorded less often than the series are bridged by
    interpolating the rotation, which is slow.
    """
    if frame not in FRAMES:
        raise ValueError(f"unknown frame {frame!r}; known: {', '.join(FRAMES)}")
    if frame == "laboratory":
        return series
    if not hasattr(trajectory, "observable"):
        raise TypeError(
            f"frame: the {frame} frame needs a trajectory; turn arrays with "
            "eqcalc.spectra.rotation.rotate first"
        )
    if series.rate:
        raise TypeError(
            f"frame: in the {frame} frame the derivative is that of the turned observable; state "
            "derivative=False"
        )
    rotations, interval = molecular_rotations(trajectory, frame, reference)
    covered = int((rotations.shape[1] - 1) * interval / series.interval + 1e-9) + 1
    n_frames = min(*series.lengths, covered)
    if not np.isclose(interval, series.interval):
        times = series.interval * np.arange(n_frames)
        rotations = interpolate_rotations(rotations, interval, times)
    turned = tuple(
        rotate(np.asarray(values[:n_frames], dtype=float), u[:n_frames])
        for values, u in zip(series.replicas, rotations, strict=True)
    )
    return replace(series, replicas=turned)
