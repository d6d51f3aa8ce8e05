# SPDX-License-Identifier: MIT
"""Thermal momenta, with and without motion of the molecule as a whole."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eqcalc.dynamics.modes import rigid_motions
from eqcalc.units import BOLTZMANN

__all__ = ["degrees_of_freedom", "maxwell_boltzmann", "remove_rotation", "remove_translation"]


def maxwell_boltzmann(
    masses: Tensor, n_beads: int, temperature: float, generator: np.random.Generator
) -> Tensor:
    """Draw momenta of a ring polymer from the Maxwell–Boltzmann distribution at P·T.

    Each component is normal with variance m P k_B T, so that the centroid, the mean of
    the beads, is at the physical temperature T.

    Parameters
    ----------
    masses
        ``[n_atoms]`` [amu].
    n_beads
        P.
    temperature
        Physical temperature T [K].
    generator
        Source of the numbers.

    Returns
    -------
    Tensor
        ``[n_beads, n_atoms, 3]`` [amu·Å/ASE time].
    """
    normal = torch.from_numpy(generator.standard_normal((n_beads, len(masses), 3)))
    return torch.sqrt(masses.view(-1, 1) * (n_beads * BOLTZMANN * temperature)) * normal


def remove_translation(momenta: Tensor, masses: Tensor) -> Tensor:
    """Return momenta without motion of the centre of mass of the centroid.

    Every atom of every bead loses m_i V, V = Σ p / (P M); the ring modes of the centre
    of mass, which are quantum fluctuations and not motion as a whole, are kept.

    Parameters
    ----------
    momenta
        ``[..., n_beads, n_atoms, 3]``.
    masses
        ``[n_atoms]`` [amu].
    """
    total = momenta.mean(dim=-3, keepdim=True).sum(dim=-2, keepdim=True)
    return momenta - masses.view(-1, 1) * (total / masses.sum())


def remove_rotation(
    positions: Tensor, momenta: Tensor, masses: Tensor, *, linear: bool = False
) -> Tensor:
    """Return momenta whose centroid has no angular momentum about its centre of mass.

    Every atom of every bead loses m_i ω × r_i with ω = I⁻¹ L of the centroid.

    Parameters
    ----------
    positions, momenta
        ``[..., n_beads, n_atoms, 3]`` [Å, amu·Å/ASE time].
    masses
        ``[n_atoms]`` [amu].
    linear
        The molecule is linear at rest: angular momentum about its long axis belongs to
        the bending vibrations and is kept.
    """
    weights = masses.view(-1, 1)
    centroid = positions.mean(dim=-3)
    r = centroid - (weights * centroid).sum(dim=-2, keepdim=True) / masses.sum()
    p = momenta.mean(dim=-3)
    angular = torch.linalg.cross(r, p).sum(dim=-2)
    square = (weights * r.square()).sum(dim=(-2, -1))
    unit = torch.eye(3, dtype=r.dtype, device=r.device)
    inertia = square[..., None, None] * unit - (weights * r).transpose(-2, -1) @ r
    moments, axes = torch.linalg.eigh(inertia)
    kept = moments > 1e-9 * moments[..., -1:]
    if linear:
        kept = kept & (moments > moments[..., :1])
    inverse = torch.where(kept, 1.0 / torch.where(kept, moments, torch.ones_like(moments)), 0.0)
    omega = (axes @ (inverse * (axes.transpose(-2, -1) @ angular[..., None])[..., 0])[..., None])[
        ..., 0
    ]
    spin = weights * torch.linalg.cross(omega[..., None, :].expand_as(r), r)
    return momenta - spin.unsqueeze(-3)


def degrees_of_freedom(
    positions: Tensor, masses: Tensor, n_beads: int, translation: str, rotation: str
) -> int:
    """Count the momenta that share in the thermal energy.

    3 N P, less 3 for a centre of mass at rest, less the 3 (linear molecule: 2, atom: 0)
    rotations of a molecule that does not rotate.

    Parameters
    ----------
    positions
        ``[n_atoms, 3]`` [Å].
    masses
        ``[n_atoms]`` [amu].
    n_beads
        P.
    translation, rotation
        ``"none"`` or ``"thermal"``.
    """
    n_rigid = rigid_motions(positions, masses).shape[1]
    removed = (3 if translation == "none" else 0) + (n_rigid - 3 if rotation == "none" else 0)
    return 3 * len(masses) * n_beads - removed
