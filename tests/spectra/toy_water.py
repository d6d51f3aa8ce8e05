# SPDX-License-Identifier: MIT
"""A water molecule whose every property is an elementary function: the test's real molecule."""

import numpy as np

from eqcalc.spectra import HarmonicSpectrum, harmonic_analysis
from eqcalc.units import POLARIZABILITY_VOLUME

#: eV per kcal/mol, and eV per amu Å²/fs²
KCAL, EV = 0.0433641042, 103.642697
CHARGES = np.array([-0.84, 0.42, 0.42])
MASSES = np.array([15.999, 1.008, 1.008])
BOLTZMANN = 8.31446261815324e-7  # amu Å²/fs²/K
_KB, _KA = 1059.162 * KCAL, 75.90 * KCAL
_ANGLE = np.deg2rad(112.0)
EQUILIBRIUM = np.array(
    [
        [0.0, 0.0, 0.0],
        [np.sin(_ANGLE / 2), 0.0, np.cos(_ANGLE / 2)],
        [-np.sin(_ANGLE / 2), 0.0, np.cos(_ANGLE / 2)],
    ]
)


def forces(r: np.ndarray) -> np.ndarray:
    """Return forces [..., 3, 3] in eV/Å."""
    d = r[..., 1:, :] - r[..., :1, :]
    length = np.linalg.norm(d, axis=-1, keepdims=True)
    u = d / length
    cosine = (u[..., 0, :] * u[..., 1, :]).sum(-1)
    angle = np.arccos(cosine)
    # dV/dθ · dθ/dcos
    slope = (-_KA * (angle - _ANGLE) / np.sqrt(1.0 - cosine**2))[..., None, None]
    other = u[..., ::-1, :]
    on_h = -_KB * (length - 1.0) * u - slope * (other - cosine[..., None, None] * u) / length
    return np.concatenate([-on_h.sum(-2, keepdims=True), on_h], axis=-2)


def dipole(r: np.ndarray) -> np.ndarray:
    """Return the dipole moment [..., 3] in e·Å."""
    return np.einsum("...ia,i->...a", r, CHARGES)


def polarizability(r: np.ndarray) -> np.ndarray:
    """Return the polarizability [..., 3, 3] in Å³."""
    d = r[..., 1:, :] - r[..., :1, :]
    length = np.linalg.norm(d, axis=-1)[..., None, None]
    u = d / length[..., 0]
    stretch, eye = length - 1.0, np.eye(3)
    bond = (0.55 + 1.10 * stretch) * eye + (0.35 + 1.40 * stretch) * (
        u[..., :, None] * u[..., None, :] - eye / 3.0
    )
    return 0.30 * eye + bond.sum(-3)


def derivatives(function, h: float = 1e-4) -> np.ndarray:
    """Return ∂f/∂r at equilibrium by central differences, [3, 3, ...]."""
    steps = h * np.eye(9).reshape(9, 3, 3)
    up, down = function(EQUILIBRIUM + steps), function(EQUILIBRIUM - steps)
    return ((up - down) / (2.0 * h)).reshape(3, 3, *up.shape[1:])


def hessian() -> np.ndarray:
    """Return the Hessian [3, 3, 3, 3] in eV/Å²."""
    return -derivatives(forces)


def propagate(r, v, timestep: float, n_steps: int, every: int = 1):
    """Return positions [Å] and velocities [Å/fs] of velocity Verlet, [replica, frame, 3, 3]."""
    acceleration = EV**-1 / MASSES[:, None]
    positions, velocities = [], []
    f = forces(r)
    for step in range(n_steps):
        if step % every == 0:
            positions.append(r)
            velocities.append(v)
        v = v + 0.5 * timestep * acceleration * f
        r = r + timestep * v
        f = forces(r)
        v = v + 0.5 * timestep * acceleration * f
    return np.stack(positions, 1), np.stack(velocities, 1)


def harmonic_modes() -> HarmonicSpectrum:
    """Return the double-harmonic spectrum."""
    return harmonic_analysis(
        EQUILIBRIUM,
        MASSES,
        hessian(),
        derivatives(dipole),
        derivatives(polarizability) * POLARIZABILITY_VOLUME,
    )
