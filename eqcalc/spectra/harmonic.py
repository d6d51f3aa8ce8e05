# SPDX-License-Identifier: MIT
"""Normal-mode analysis: from second derivatives to the double-harmonic spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np

from eqcalc.spectra.harmonic_spectrum import HarmonicSpectrum
from eqcalc.units import angular_frequency_to_wavenumber, conversion_factor


def rigid_motions(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return orthonormal mass-weighted translations and rotations, ``[5 or 6, 3 n_atoms]``.

    A linear molecule has five, an atom three.

    Parameters
    ----------
    positions
        ``[n_atoms, 3]``, Å.
    masses
        ``[n_atoms]``, amu.
    """
    root = np.sqrt(masses)
    centred = positions - masses @ positions / masses.sum()
    translations = [np.outer(root / np.linalg.norm(root), axis).ravel() for axis in np.eye(3)]
    rotations = np.array([(root[:, None] * np.cross(axis, centred)).ravel() for axis in np.eye(3)])
    _, sizes, directions = np.linalg.svd(rotations, full_matrices=False)
    # moments of inertia are the squares of the sizes; that of a linear molecule is zero
    kept = directions[sizes > 1e-4 * max(sizes[0], 1e-12)] if len(positions) > 1 else []
    return np.array([*translations, *kept])


def harmonic_analysis(
    positions: np.ndarray,
    masses: np.ndarray,
    hessian: np.ndarray,
    dipole_derivative: np.ndarray | None = None,
    polarizability_derivative: np.ndarray | None = None,
) -> HarmonicSpectrum:
    """Return the normal modes of a stationary point and their intensities.

    Translations and rotations are projected out, so that a molecule has 3N − 6
    modes (3N − 5 if linear) whatever small forces are left.

    Parameters
    ----------
    positions
        ``[n_atoms, 3]``, Å.
    masses
        ``[n_atoms]``, amu.
    hessian
        ``[n_atoms, 3, n_atoms, 3]`` or ``[3 n_atoms, 3 n_atoms]``, eV/Å².
    dipole_derivative
        ``[n_atoms, 3, 3]``, ∂μ_b/∂r_ia at [i, a, b], e.
    polarizability_derivative
        ``[n_atoms, 3, 3, 3]``, ∂α_bc/∂r_ia at [i, a, b, c], e²Å/eV.

    Raises
    ------
    ValueError
        A shape is wrong, a number is not finite, or the Hessian is not symmetric.
    """
    positions = np.asarray(positions, dtype=float)
    masses = np.asarray(masses, dtype=float)
    n = len(masses)
    given: dict[str, tuple[Any, int]] = {
        "positions": (positions, 3 * n),
        "hessian": (hessian, 9 * n * n),
        "dipole_derivative": (dipole_derivative, 9 * n),
        "polarizability_derivative": (polarizability_derivative, 27 * n),
    }
    for name, (array, size) in given.items():
        if array is None:
            continue
        if np.size(array) != size:
            raise ValueError(f"{name}: wrong shape {np.shape(array)} for {n} atoms")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: contains values that are not finite")
    if np.any(masses <= 0.0):
        raise ValueError("masses: expected positive masses in amu")
    force_constants = np.asarray(hessian, dtype=float).reshape(3 * n, 3 * n)
    asymmetry = float(np.abs(force_constants - force_constants.T).max())
    if asymmetry > 1e-2 * max(float(np.abs(force_constants).max()), 1e-12):
        raise ValueError(f"hessian: not symmetric, elements differ by up to {asymmetry:.2g} eV/Å²")
    root = np.repeat(np.sqrt(masses), 3)
    weighted = 0.5 * (force_constants + force_constants.T) / np.outer(root, root)
    rigid = rigid_motions(positions, masses)
    # an orthonormal basis of the vibrations: the complement of the rigid motions
    basis = np.linalg.svd(rigid)[2][len(rigid) :]
    eigenvalues, vectors = np.linalg.eigh(basis @ weighted @ basis.T)
    modes = ((vectors.T @ basis) / root).reshape(-1, n, 3)
    residual = np.linalg.eigvalsh(rigid @ weighted @ rigid.T)
    dipole = polarizability = None
    if dipole_derivative is not None:
        dipole = np.einsum(
            "kia,iab->kb", modes, np.asarray(dipole_derivative, float).reshape(n, 3, 3)
        )
    if polarizability_derivative is not None:
        tensor = np.asarray(polarizability_derivative, float).reshape(n, 3, 3, 3)
        tensor = 0.5 * (tensor + tensor.swapaxes(-1, -2))
        polarizability = np.einsum("kia,iabc->kbc", modes, tensor)
        polarizability = polarizability * conversion_factor("e^2*Å^2/eV", "Å^3")
    return HarmonicSpectrum(
        wavenumber=_signed_wavenumber(eigenvalues),
        modes=modes,
        masses=masses,
        positions=positions,
        dipole_derivative=dipole,
        polarizability_derivative=polarizability,
        residual=_signed_wavenumber(residual),
    )


def isotope_shifts(
    harmonic: HarmonicSpectrum, masses: np.ndarray
) -> tuple[np.ndarray, HarmonicSpectrum]:
    """Return how far each mode moves when the masses change.

    Parameters
    ----------
    harmonic
        Modes with the original masses.
    masses
        ``[n_atoms]``, the new masses, amu.

    Returns
    -------
    shifts
        ``[n_modes]``, cm⁻¹: wavenumber of the new mode that resembles each
        original one most, less the original wavenumber.
    modes
        All new modes, without intensities.
    """
    from scipy.optimize import linear_sum_assignment

    masses = np.asarray(masses, dtype=float)
    changed = harmonic_analysis(harmonic.positions, masses, harmonic.hessian())
    a = harmonic.modes * np.sqrt(harmonic.masses)[:, None]
    b = changed.modes * np.sqrt(masses)[:, None]
    overlap = np.einsum("kia,lia->kl", a, b) ** 2
    rows, columns = linear_sum_assignment(-overlap)
    shifts = np.empty(len(harmonic))
    shifts[rows] = changed.wavenumber[columns] - harmonic.wavenumber[rows]
    return shifts, changed


def _signed_wavenumber(eigenvalues: np.ndarray) -> np.ndarray:
    """Return √λ as a wavenumber [cm⁻¹], negative for a negative λ [eV/(Å² amu)]."""
    scale = angular_frequency_to_wavenumber(1.0)
    return np.asarray(np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * scale)
