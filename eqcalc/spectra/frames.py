# SPDX-License-Identifier: MIT
"""Molecular rotation taken out of a trajectory: frames that move with the molecule.

A spectrum of a rotating molecule shows the envelope of each band. Without
rotation, one sees vibrations alone. Either the dynamics starts with zero
angular momentum, which classical dynamics at constant energy conserves, or the
dipole moment and polarizability are turned into a frame that follows the
molecule:

- the Eckart frame of a reference geometry, Σ mᵢ r⁰ᵢ × rᵢ = 0 (Eckart, Phys. Rev.
  47, 552 (1935)), for a molecule that stays near it;
- the corotating frame, in which the angular momentum vanishes at every
  instant, Σ mᵢ rᵢ × ṙᵢ = 0: no reference is needed, so that it serves floppy
  molecules with internal rotors, and linear ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, RotationSpline

from eqcalc.spectra.series import Series

#: Frames in which a spectrum can be seen.
FRAMES: tuple[str, ...] = ("laboratory", "eckart", "corotating")

#: Moments of inertia below this fraction of the largest count as zero (linear molecule).
_LINEAR = 1e-6


def _centred(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    centre = np.einsum("...ia,i->...a", positions, masses) / masses.sum()
    return positions - centre[..., None, :]


def eckart_rotations(
    positions: np.ndarray, reference: np.ndarray, masses: np.ndarray
) -> np.ndarray:
    """Return the rotations that take geometries into the Eckart frame of a reference.

    They minimise the mass-weighted distance to the reference (Kabsch, Acta
    Cryst. A 32, 922 (1976)), which is the Eckart condition.

    Parameters
    ----------
    positions
        ``[n_replicas, n_frames, n_atoms, 3]`` or any other leading axes, Å.
    reference
        ``[n_atoms, 3]``, Å. Not linear.
    masses
        ``[n_atoms]``, amu.

    Returns
    -------
    ``[n_replicas, n_frames, 3, 3]``; U·r is in the frame of the reference.

    Raises
    ------
    ValueError
        The reference is linear, or a geometry is so far from it that the frame
        is not defined.
    """
    masses = np.asarray(masses, dtype=float)
    centred = _centred(np.asarray(positions, dtype=float), masses)
    fixed = _centred(np.asarray(reference, dtype=float), masses)
    spread = np.linalg.svd(np.sqrt(masses)[:, None] * fixed, compute_uv=False)
    if spread[1] <= np.sqrt(_LINEAR) * spread[0]:
        raise ValueError(
            "the Eckart frame of a linear reference is not defined about its axis; use the "
            "corotating frame"
        )
    overlap = np.einsum("i,ia,...ib->...ab", masses, fixed, centred)
    left, sizes, right = np.linalg.svd(overlap)
    sign = np.sign(np.linalg.det(left @ right))
    # the two smallest singular values cancel where two orientations fit equally well
    gap = sizes[..., 1] + sign * sizes[..., 2]
    if np.any(gap < 0.05 * spread[1] ** 2):
        where = tuple(int(i) for i in np.argwhere(gap < 0.05 * spread[1] ** 2)[0])
        raise ValueError(
            f"the geometry at {where} (replica, frame) is too far from the reference for an "
            "Eckart frame; use the corotating frame for molecules that change their conformation"
        )
    left[..., :, 2] *= sign[..., None]
    return np.asarray(left @ right)


def corotating_rotations(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return the rotations into the frame without angular momentum.

    The frame of each step follows from the one before by the rotation vector
    θ = I⁻¹ Σ mᵢ r̄ᵢ × Δrᵢ of the mean geometry r̄. The frames have to be close
    together: a few fs. For linear molecules the frame does not turn about the
    axis.

    Parameters
    ----------
    positions
        ``[n_replicas, n_frames, n_atoms, 3]``, Å.
    masses
        ``[n_atoms]``, amu.

    Returns
    -------
    ``[n_replicas, n_frames, 3, 3]``, the unit matrix at the first frame.

    Raises
    ------
    ValueError
        The molecule turns by more than half a radian between two frames.
    """
    masses = np.asarray(masses, dtype=float)
    centred = _centred(np.asarray(positions, dtype=float), masses)
    mean = 0.5 * (centred[:, 1:] + centred[:, :-1])
    step = centred[:, 1:] - centred[:, :-1]
    momentum = np.einsum("i,rtia->rta", masses, np.cross(mean, step))
    square = np.einsum("i,rtia,rtib->rtab", masses, mean, mean)
    inertia = np.trace(square, axis1=-2, axis2=-1)[..., None, None] * np.eye(3) - square
    moments, axes = np.linalg.eigh(inertia)
    # near-linear geometries: the bending motion is not a rotation about the axis
    floor = _LINEAR if _is_linear(centred, masses) else 0.0
    inverse = np.where(moments > floor * moments[..., -1:], 1.0 / np.maximum(moments, 1e-12), 0.0)
    if floor:
        inverse[..., 0] = 0.0
    angle = np.einsum("rtab,rtb,rtcb,rtc->rta", axes, inverse, axes, momentum)
    largest = float(np.linalg.norm(angle, axis=-1).max(initial=0.0))
    if largest > 0.5:
        raise ValueError(
            f"the molecule turns by {largest:.2f} rad between two frames: record the positions "
            "more often"
        )
    # the frame turns against the molecule
    n_replicas, n_steps = angle.shape[:2]
    turns = Rotation.from_rotvec(-angle.reshape(-1, 3)).as_matrix()
    turns = turns.reshape(n_replicas, n_steps, 3, 3)
    result = np.empty((n_replicas, n_steps + 1, 3, 3))
    result[:, 0] = np.eye(3)
    for t in range(n_steps):
        result[:, t + 1] = result[:, t] @ turns[:, t]
    return result


def _is_linear(centred: np.ndarray, masses: np.ndarray) -> bool:
    """Return whether a molecule vibrates about a linear geometry."""
    moments = np.linalg.svd(np.sqrt(masses)[:, None] * centred, compute_uv=False)
    return float(np.median(moments[..., 1] / moments[..., 0])) < 0.1


def interpolate_rotations(rotations: np.ndarray, interval: float, times: np.ndarray) -> np.ndarray:
    """Return rotations at other times, by a smooth path through those given.

    Parameters
    ----------
    rotations
        ``[n_replicas, n_frames, 3, 3]`` at 0, interval, ….
    interval
        fs.
    times
        ``[n_times]``, fs, within the time of the frames.

    Returns
    -------
    ``[n_replicas, n_times, 3, 3]``
    """
    known = interval * np.arange(rotations.shape[1])
    return np.stack(
        [RotationSpline(known, Rotation.from_matrix(u))(times).as_matrix() for u in rotations]
    )


def rotate(values: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Turn vectors ``[..., 3]`` or tensors ``[..., 3, 3]`` by rotations ``[..., 3, 3]``.

    The leading axes of both are the same; atoms need an axis of length one in
    the rotations. Positions are turned about the origin.
    """
    if values.ndim == rotations.ndim:
        return np.einsum("...ab,...bc,...dc->...ad", rotations, values, rotations, optimize=True)
    if values.ndim == rotations.ndim - 1:
        return np.einsum("...ab,...b->...a", rotations, values)
    raise ValueError(
        f"cannot turn values of shape {values.shape} by rotations of shape {rotations.shape}"
    )


def molecular_rotations(
    trajectory: Any, frame: str, reference: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Return the rotations into a molecular frame along a trajectory, and their interval [fs].

    Parameters
    ----------
    trajectory
        A trajectory with the observable ``"positions"``.
    frame
        ``"eckart"`` or ``"corotating"``; see :mod:`eqcalc.spectra.frames`.
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
            "eqcalc.spectra.frames.rotate first"
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
