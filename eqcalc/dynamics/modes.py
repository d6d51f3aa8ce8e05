# SPDX-License-Identifier: MIT
"""Rigid motions and normal modes of a molecule."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eqcalc.units import angular_frequency_to_wavenumber


def rigid_motions(positions: Tensor, masses: Tensor) -> Tensor:
    """Return an orthonormal basis of translations and rotations, mass-weighted.

    Parameters
    ----------
    positions
        ``[n_atoms, 3]`` [Å].
    masses
        ``[n_atoms]`` [amu].

    Returns
    -------
    Tensor
        ``[3 n_atoms, n]`` with n = 6, 5 for a linear molecule, 3 for an atom; the first
        three are the translations.
    """
    root = masses.double().sqrt().view(-1, 1)
    r = positions.double()
    r = r - (masses.view(-1, 1) * r).sum(dim=0) / masses.sum()
    axes = torch.eye(3, dtype=torch.float64)
    shifts = torch.stack([(root * axis).flatten() for axis in axes.unbind()], dim=1)
    turns = torch.stack(
        [(root * torch.linalg.cross(axis.expand_as(r), r)).flatten() for axis in axes.unbind()],
        dim=1,
    )
    u, s, _ = torch.linalg.svd(turns, full_matrices=False)
    keep = s > 1e-4 * masses.sum().sqrt()
    return torch.cat([shifts / masses.sum().sqrt(), u[:, keep]], dim=1)


def normal_modes(hessian: Tensor, positions: Tensor, masses: Tensor) -> tuple[Tensor, Tensor]:
    """Diagonalise the mass-weighted Hessian with rigid motions projected out.

    Parameters
    ----------
    hessian
        ``[3 n_atoms, 3 n_atoms]`` (or ``[n_atoms, 3, n_atoms, 3]``) [eV/Å²].
    positions
        ``[n_atoms, 3]`` [Å], a minimum.
    masses
        ``[n_atoms]`` [amu].

    Returns
    -------
    frequencies
        ω [1/ASE time], ``[3 n_atoms]``: first the rigid motions (exactly 0), then the
        vibrations, ascending.
    vectors
        ``[3 n_atoms, 3 n_atoms]``, orthonormal columns in mass-weighted coordinates.

    Raises
    ------
    ValueError
        The Hessian has the wrong shape, or the structure is not a minimum.
    """
    n = 3 * len(masses)
    if hessian.numel() != n * n:
        raise ValueError(
            f"the Hessian of {len(masses)} atoms has {n}x{n} elements, got shape "
            f"{tuple(hessian.shape)}"
        )
    matrix = hessian.detach().cpu().double().reshape(n, n)
    root = masses.double().repeat_interleave(3).sqrt()
    weighted = 0.5 * (matrix + matrix.T) / (root[:, None] * root)
    rigid = rigid_motions(positions, masses)
    # A basis of the vibrational space: the complement of the rigid motions.
    basis = torch.linalg.qr(rigid, mode="complete")[0][:, rigid.shape[1] :]
    squares, vectors = torch.linalg.eigh(basis.T @ weighted @ basis)
    if bool((squares <= 0.0).any()):
        values = [
            f"{-angular_frequency_to_wavenumber(math.sqrt(-float(s))):.0f}"
            for s in squares[squares <= 0.0]
        ]
        raise ValueError(
            "the structure is not a minimum: it has imaginary frequencies "
            f"({', '.join(values)} cm⁻¹); relax it before sampling its normal modes"
        )
    frequencies = torch.cat([squares.new_zeros(rigid.shape[1]), squares.sqrt()])
    return frequencies, torch.cat([rigid, basis @ vectors], dim=1)
