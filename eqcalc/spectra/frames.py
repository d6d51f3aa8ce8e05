# SPDX-License-Identifier: MIT
"""Removal of molecular rotation: frames that rotate with the molecule.

The spectrum of a rotating molecule has a rotational envelope on each band. For purely vibrational
spectra, either the dynamics starts with zero angular momentum, which classical dynamics at constant
energy conserves, or the dipole moment and polarizability are rotated into a frame that follows the
molecule:

- the Eckart frame of a reference geometry, Σ mᵢ r⁰ᵢ × rᵢ = 0 (Eckart, Phys. Rev.
  47, 552 (1935)), for a molecule that stays near it;
- the corotating frame, in which the angular momentum vanishes at every
  instant, Σ mᵢ rᵢ × ṙᵢ = 0: no reference is needed, so it suits floppy molecules with internal
  rotors, and linear ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, RotationSpline

from eqcalc.normal_modes import (
    LINEAR_IN_MOTION,
    atomic_masses,
    centred,
    inverse_inertia,
    is_linear,
    principal_axes,
)
from eqcalc.spectra.series import Series
from eqcalc.units import ROTATIONAL_CONSTANT, SECOND_RADIATION_CONSTANT
from eqcalc.validation import InvalidInputError, array_of, located, one_of, positive

#: The space-fixed frame.
LABORATORY = "laboratory"
#: Frames that rotate with the molecule.
MOLECULAR_FRAMES: tuple[str, ...] = ("eckart", "corotating")

#: A reference whose second principal extension is below this fraction of the first is linear.
_THIN = 1e-3
#: Superpositions onto their mean until it does not change.
_SUPERPOSITIONS = 5
#: Largest rotation between two frames [rad].
_LARGEST_TURN = 0.5


class FrameError(InvalidInputError):
    """A molecular frame is undefined, or its rotation is not resolved."""


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
    FrameError
        The reference is linear, or a geometry is so far from it that the frame is undefined.
    """
    masses = atomic_masses(masses)
    moving = centred(array_of("positions", positions, (..., len(masses), 3)), masses)
    fixed = centred(array_of("reference", reference, (len(masses), 3)), masses)
    extension = np.linalg.svd(np.sqrt(masses)[:, None] * fixed, compute_uv=False)
    if extension[1] <= _THIN * extension[0]:
        raise FrameError(
            "a linear reference has no Eckart frame",
            key="reference",
            advice="use the corotating frame",
        )
    overlap = np.einsum("i,ia,...ib->...ab", masses, fixed, moving)
    left, sizes, right = np.linalg.svd(overlap)
    sign = np.sign(np.linalg.det(left @ right))
    # the two smallest singular values cancel where two orientations fit equally well
    far = sizes[..., 1] + sign * sizes[..., 2] < 0.05 * extension[1] ** 2
    if np.any(far):
        raise FrameError(
            "too far from the reference for an Eckart frame",
            key=f"geometry {tuple(np.argwhere(far)[0].tolist())}",
            advice="use the corotating frame for molecules that change their conformation",
        )
    left[..., :, 2] *= sign[..., None]
    return np.asarray(left @ right)


def molecular_rotations(
    positions: np.ndarray, reference: np.ndarray, masses: np.ndarray
) -> np.ndarray:
    """Return the rotations of consecutive frames into the Eckart frame, of linear molecules too.

    A linear reference leaves the rotation about its axis open: there the frame does not spin
    (Σ mᵢ(rᵢ × ṙᵢ) = 0 along the axis), so that bending coordinates are continuous.

    Parameters
    ----------
    positions
        ``[n_frames, n_atoms, 3]`` of one replica, Å, a few fs apart.
    reference, masses
        See :func:`eckart_rotations`.

    Returns
    -------
    ``[n_frames, 3, 3]``.
    """
    if not is_linear(reference, masses):
        return eckart_rotations(positions, reference, masses)
    fixed, r = centred(reference, masses), centred(positions, masses)
    along = np.linalg.svd(np.sqrt(masses)[:, None] * fixed)[2][0]
    weights = masses * (fixed @ along)
    without_spin = corotating_rotations(positions[None], masses)[0]
    axis = np.einsum("tab,tib,i->ta", without_spin, r, weights)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    # turn the first axis onto that of the reference, then each of the others, which are near it
    start = Rotation.align_vectors(along[None], axis[:1])[0].as_matrix()
    axis = axis @ start.T
    turn = np.cross(axis, along)
    sine = np.linalg.norm(turn, axis=1, keepdims=True)
    angle = np.arctan2(sine[:, 0], axis @ along)[:, None]
    vector = np.divide(angle * turn, sine, out=np.zeros_like(turn), where=sine > 0.0)
    return np.asarray(Rotation.from_rotvec(vector).as_matrix() @ start @ without_spin)


def branch_separation(positions: np.ndarray, masses: np.ndarray, temperature: float) -> float:
    """Return the distance √(8Bk_BT/hc) of the maxima of P and R branches, cm⁻¹.

    Of a linear molecule, with B of the largest moment of inertia; of others, with the mean of
    the two smaller rotational constants (Herzberg, Infrared and Raman Spectra).
    """
    masses = atomic_masses(masses)
    moments = principal_axes(array_of("positions", positions, (len(masses), 3)), masses)[0][1:]
    thermal = positive("temperature", temperature, unit="K") / SECOND_RADIATION_CONSTANT
    return float(np.sqrt(8.0 * thermal * np.mean(ROTATIONAL_CONSTANT / moments)))


def mean_geometry(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return the mean of superposed frames ``[n_frames, n_atoms, 3]``, a reference [Å]."""
    masses = atomic_masses(masses)
    positions = array_of("positions", positions, ("n_frames", len(masses), 3))
    if not len(positions):
        raise InvalidInputError(key="positions", value=[], expected="one frame or more")
    reference = centred(positions[0], masses)
    if is_linear(positions, masses, LINEAR_IN_MOTION):
        # the frames do not bend on average: the mean extension along the axis
        r = centred(positions, masses)
        weights = masses * (reference @ np.linalg.svd(reference)[2][0])
        axis = np.einsum("tia,i->ta", r, weights)
        axis /= np.linalg.norm(axis, axis=1, keepdims=True)
        extension = np.einsum("tia,ta->ti", r, axis).mean(axis=0)
        return extension[:, None] * axis[0]
    for _ in range(_SUPERPOSITIONS):
        rotations = eckart_rotations(positions, reference, masses)
        reference = np.einsum("tab,tib->ia", rotations, centred(positions, masses)) / len(positions)
    return reference


def corotating_rotations(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return the rotations into the frame without angular momentum.

    The frame of each step follows from the one before by the rotation vector
    θ = I⁻¹ Σ mᵢ r̄ᵢ × Δrᵢ of the mean geometry r̄. The frames have to be close
    together: a few fs. For linear molecules the frame does not rotate about the axis.

    Parameters
    ----------
    positions, masses
        See :func:`eckart_rotations`.

    Returns
    -------
    ``[n_replicas, n_frames, 3, 3]``, the unit matrix at the first frame.

    Raises
    ------
    FrameError
        The molecule rotates by more than half a radian between two frames.
    """
    masses = atomic_masses(masses)
    form = ("n_replicas", "n_frames", len(masses), 3)
    r = centred(array_of("positions", positions, form), masses)
    mean = 0.5 * (r[:, 1:] + r[:, :-1])
    step = r[:, 1:] - r[:, :-1]
    momentum = np.einsum("i,rtia->rta", masses, np.cross(mean, step))
    # near-linear geometries: the bending motion is not a rotation about the axis
    inverse = inverse_inertia(mean, masses, linear=is_linear(r, masses, LINEAR_IN_MOTION))
    angle = np.einsum("rtab,rtb->rta", inverse, momentum)
    turn = np.linalg.norm(angle, axis=-1)
    if turn.max(initial=0.0) > _LARGEST_TURN:
        raise FrameError(
            key="rotation between two frames",
            value=round(float(turn.max()), 2),
            expected=f"at most {_LARGEST_TURN} rad",
            advice="write the positions more often",
        )
    # the frame counter-rotates
    n_replicas, n_steps = angle.shape[:2]
    turns = Rotation.from_rotvec(-angle.reshape(-1, 3)).as_matrix()
    turns = turns.reshape(n_replicas, n_steps, 3, 3)
    result = np.empty((n_replicas, n_steps + 1, 3, 3))
    result[:, 0] = np.eye(3)
    for t in range(n_steps):
        result[:, t + 1] = result[:, t] @ turns[:, t]
    return result


def interpolate_rotations(rotations: np.ndarray, interval: float, times: np.ndarray) -> np.ndarray:
    """Return rotations ``[n_replicas, n_times, 3, 3]`` interpolated smoothly to other times.

    The `rotations` ``[n_replicas, n_frames, 3, 3]`` are at 0, interval, …; the times [fs] must lie
    within their range.
    """
    rotations = array_of("rotations", rotations, ("n_replicas", "n_frames", 3, 3))
    if not rotations.size or np.linalg.det(rotations).min() <= 0.0:
        raise InvalidInputError(key="rotations", value=rotations, expected="proper rotations")
    known = positive("interval", interval, unit="fs") * np.arange(rotations.shape[1])
    times = array_of("times", times, ("n_times",))
    if not 0.0 <= times.min(initial=0.0) <= times.max(initial=0.0) <= known[-1] * (1.0 + 1e-9):
        raise InvalidInputError(
            key="times",
            value=(float(times.min()), float(times.max())),
            expected=f"times within those of the rotations, 0 to {known[-1]:g} fs",
        )
    return np.stack(
        [RotationSpline(known, Rotation.from_matrix(u))(times).as_matrix() for u in rotations]
    )


def rotate(values: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Rotate vectors ``[..., 3]`` or tensors ``[..., 3, 3]`` by rotations ``[..., 3, 3]``.

    The leading axes of both are the same; atoms need an axis of length one in
    the rotations. Positions are rotated about the origin.
    """
    rotations = array_of("rotations", rotations, (..., 3, 3))
    values = array_of("values", values, (..., 3))
    tensors = values.ndim == rotations.ndim
    leading, fixed = values.shape[: -2 if tensors else -1], rotations.shape[:-2]
    if len(leading) != len(fixed) or any(
        b not in (a, 1) for a, b in zip(leading, fixed, strict=True)
    ):
        raise InvalidInputError(
            key="values",
            value=values.shape,
            expected=f"vectors or tensors compatible with rotations of shape {rotations.shape}",
        )
    if tensors:
        return np.einsum("...ab,...bc,...dc->...ad", rotations, values, rotations, optimize=True)
    return np.einsum("...ab,...b->...a", rotations, values)


def _rotations(series: Series, frame: str, reference: np.ndarray | None = None) -> list[np.ndarray]:
    """Return the rotations into a frame, ``[n_frames, 3, 3]`` at the positions of each replica."""
    if series.positions is None or series.masses is None:
        raise FrameError(
            "the series has no positions and masses",
            key="frame",
            value=frame,
            expected=LABORATORY,
            advice="record the positions, or pass both to eqcalc.spectra.Series",
        )
    masses, factor = series.masses, series.positions.factor("Å")
    positions = [factor * np.asarray(r[:], dtype=float) for r in series.positions.replicas]
    fixed = positions[0][0] if reference is None else reference

    def rotations(r: np.ndarray) -> np.ndarray:
        if frame == "corotating":
            return corotating_rotations(r, masses)
        return np.stack([molecular_rotations(one, fixed, masses) for one in r])

    if len(set(map(len, positions))) == 1:
        return list(rotations(np.stack(positions)))
    found = []
    for index, r in enumerate(positions):
        with located(section=series.name(index)):
            found.append(rotations(r[None])[0])
    return found


def in_frame(series: Series, frame: str, reference: np.ndarray | None = None) -> Series:
    """Return a series of vectors or tensors in a molecular frame.

    If positions were recorded less often than the series, the rotation, which is slow, is
    interpolated.

    Parameters
    ----------
    series
        Series with positions and masses.
    frame
        ``"laboratory"`` or one of :data:`MOLECULAR_FRAMES`.
    reference
        ``[n_atoms, 3]``, Å, of the Eckart frame; the first frame of the first
        replica by default.

    Raises
    ------
    FrameError
        The series has no positions, or is a time derivative, which is not that of the rotated
        observable; or the frame is undefined.
    """
    if one_of("frame", frame, (LABORATORY, *MOLECULAR_FRAMES)) == LABORATORY:
        return series
    if series.rate:
        raise FrameError(
            f"in the {frame} frame the derivative is that of the rotated observable; give the "
            f"{series.quantity} itself",
            key="frame",
        )
    rotations = _rotations(series, frame, reference)
    assert series.positions is not None
    interval = series.positions.interval

    def turned(values: Any, u: np.ndarray) -> np.ndarray:
        covered = int((len(u) - 1) * interval / series.interval + 1e-9) + 1
        n_frames = min(len(values), covered)
        if not np.isclose(interval, series.interval):
            times = series.interval * np.arange(n_frames)
            u = interpolate_rotations(u[None], interval, times)[0]
        return rotate(np.asarray(values[:n_frames], dtype=float), u[:n_frames])

    return replace(series, replicas=tuple(map(turned, series.replicas, rotations)))
