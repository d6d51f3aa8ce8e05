# SPDX-License-Identifier: MIT
r"""Coupling of vibrations by the rotation of the molecule-fixed axes.

The kinetic energy of a molecule without total angular momentum in rectilinear normal
coordinates (Watson, Mol. Phys. 15, 479 (1968); linear molecules: 19, 465 (1970)):

    T = ½ Σ_k ω_k p_k² + Σ_ab π_a B_ab(q) π_b − ¼ Σ_a B_aa(q)
    π_a = Σ_{k<l} ζ^a_kl [√(ω_l/ω_k) q_k p_l − √(ω_k/ω_l) q_l p_k]
    B = (ħ²/2) I″⁻¹ I₀ I″⁻¹,  I″_ab = Σ_i m_i (r⁰_i·r_i δ_ab − r⁰_ia r_ib)

=========  =====================================================  ==========
symbol     name                                                   unit
=========  =====================================================  ==========
ω_k        ``wavenumber``                                         cm⁻¹
ζ^a_kl     ``coriolis_constants``, ``[3, n_modes, n_modes]``      1
B_ab(q)    ``inverse_inertia_surface``                            cm⁻¹
=========  =====================================================  ==========

For a linear molecule a runs over the two axes perpendicular to it, B is the number (ħ²/2) I₀/I″²
with I″ = Σ_i m_i r⁰_i·r_i, and the last term is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from eqcalc.anharmonic.modal_basis import ModalBasis, Modes, Surface
from eqcalc.normal_modes import NormalModes, centred
from eqcalc.units import HBAR, angular_frequency_to_wavenumber

#: Components of a symmetric tensor, as rows and columns.
TENSOR = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
#: ħ²/2 of 1/(amu Å²), cm⁻¹.
ROTATIONAL = 0.5 * HBAR * angular_frequency_to_wavenumber(1.0)


def coriolis_constants(modes: NormalModes) -> np.ndarray:
    """Return ζ^a_kl = Σ_i (L_ik × L_il)_a, ``[3, n_modes, n_modes]``, antisymmetric."""
    vectors = modes.vectors * np.sqrt(modes.masses)[:, None]
    return np.asarray(np.cross(vectors[:, None], vectors[None]).sum(axis=2).transpose(2, 0, 1))


def rotational_constants(modes: NormalModes) -> np.ndarray:
    """Return B_aa of the equilibrium about x, y, z, ``[3]``, cm⁻¹; zero about a linear axis."""
    return np.asarray(inverse_inertia_surface(modes)(np.zeros((1, len(modes))))[0, :3])


def inverse_inertia_surface(modes: NormalModes) -> Surface:
    """Return the function q → B_xx, B_yy, B_zz, B_yz, B_xz, B_xy, cm⁻¹."""
    masses = modes.masses
    rest = centred(modes.positions, masses)
    steps = modes.steps

    def surface(q: np.ndarray) -> np.ndarray:
        moved = rest + np.einsum("pk,kia->pia", q, steps, optimize=True)
        products = np.einsum("i,ia,pib->pab", masses, rest, moved, optimize=True)
        if modes.linear:
            # an axis of the linear molecule, and the projector on the plane normal to it
            axis = rest[np.argmax(np.linalg.norm(rest, axis=1))]
            axis = axis / np.linalg.norm(axis)
            inertia = np.trace(products, axis1=1, axis2=2)
            inverse = (np.eye(3) - np.outer(axis, axis)) * (
                np.trace(np.einsum("i,ia,ib->ab", masses, rest, rest)) / inertia**2
            )[:, None, None]
        else:
            half = np.trace(products, axis1=1, axis2=2)[:, None, None] * np.eye(3) - products
            still = np.einsum("i,ia,ib->ab", masses, rest, rest)
            still = np.trace(still) * np.eye(3) - still
            inverse = np.linalg.inv(half)
            inverse = inverse @ still @ np.swapaxes(inverse, 1, 2)
        return ROTATIONAL * np.stack([inverse[:, a, b] for a, b in TENSOR], axis=1)

    return surface


def vibrational_angular_momentum(
    zeta: np.ndarray, wavenumber: np.ndarray, bases: Sequence[ModalBasis]
) -> dict[Modes, np.ndarray]:
    """Return the real operator iπ_a of one axis as terms of two modes.

    Parameters
    ----------
    zeta
        ζ^a_kl, ``[n_modes, n_modes]``.
    wavenumber
        ω_k, ``[n_modes]``.
    bases
        Of the modes.
    """
    operators: dict[Modes, np.ndarray] = {}
    for k, l in combinations(range(len(bases)), 2):
        if abs(zeta[k, l]) < 1e-8:
            continue
        ratio = np.sqrt(wavenumber[l] / wavenumber[k])
        forward = np.einsum("ab,cd->abcd", bases[k].position, bases[l].derivative)
        backward = np.einsum("ab,cd->abcd", bases[k].derivative, bases[l].position)
        operators[k, l] = zeta[k, l] * (ratio * forward - backward / ratio)
    return operators


def pair_coupling(
    zeta: np.ndarray, constants: np.ndarray, wavenumber: np.ndarray, bases: Sequence[ModalBasis]
) -> dict[Modes, np.ndarray]:
    """Return the part of Σ_a B_a π_a² that acts on two modes at a time.

    The rest changes three or four modes at once, by about B; second-order energies of B²/ω
    are left out with it.

    Parameters
    ----------
    zeta
        ``[3, n_modes, n_modes]``.
    constants
        B_a, ``[3]``, cm⁻¹.
    wavenumber
        ω_k, ``[n_modes]``.
    bases
        Of the modes.
    """
    operators: dict[Modes, np.ndarray] = {}
    for axis, constant in zip(zeta, constants, strict=True):
        momenta = vibrational_angular_momentum(axis, wavenumber, bases)
        for modes, momentum in momenta.items():
            square = constant * np.einsum("xayc,xbyd->abcd", momentum, momentum)
            operators[modes] = operators.get(modes, 0.0) + square
    return operators
