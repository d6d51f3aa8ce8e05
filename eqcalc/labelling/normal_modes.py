# SPDX-License-Identifier: MIT
"""Harmonic modes about a geometry, and displacements of quantum nuclei along them."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np

from eqcalc.labelling.method import Method
from eqcalc.units import (
    BOLTZMANN,
    HBAR,
    angular_frequency_to_wavenumber,
    wavenumber_to_angular_frequency,
)


@dataclass(frozen=True)
class NormalModes:
    """Vibrations about a geometry, without translations and rotations.

    Parameters
    ----------
    curvatures
        Squared angular frequencies [1/ASE time²], ``[n_modes]`` ascending;
        negative where the energy falls.
    vectors
        Cartesian displacement per mass-weighted coordinate [amu^-1/2],
        ``[n_modes, n_atoms, 3]``.
    """

    curvatures: np.ndarray
    vectors: np.ndarray

    @property
    def wavenumbers(self) -> np.ndarray:
        """Wavenumbers [cm⁻¹], ``[n_modes]``; negative for imaginary frequencies."""
        omega = np.sign(self.curvatures) * np.sqrt(np.abs(self.curvatures))
        return np.array([angular_frequency_to_wavenumber(w) for w in omega])


def normal_modes(atoms: ase.Atoms, method: Method, step: float = 0.005) -> NormalModes:
    """Return the modes of `atoms` from central differences of the forces.

    Away from a stationary point these are the modes of the local quadratic
    model of the energy; rotations are projected out there too.

    Parameters
    ----------
    step
        Displacement of each coordinate [Å].
    """
    n = len(atoms)
    hessian = np.empty((3 * n, 3 * n))
    shifted = atoms.copy()
    for i in range(3 * n):
        forces = []
        for sign in (1.0, -1.0):
            shifted.positions = atoms.positions
            shifted.positions[i // 3, i % 3] += sign * step
            forces.append(method.label(shifted, ("forces",))["forces"].ravel())
        hessian[i] = (forces[1] - forces[0]) / (2.0 * step)
    hessian = 0.5 * (hessian + hessian.T)

    root_mass = np.sqrt(np.repeat(atoms.get_masses(), 3))
    weighted = hessian / np.outer(root_mass, root_mass)
    basis = _internal_basis(atoms)
    curvatures, coefficients = np.linalg.eigh(basis.T @ weighted @ basis)
    vectors = (basis @ coefficients) / root_mass[:, None]
    return NormalModes(curvatures, vectors.T.reshape(-1, n, 3))


def wigner_displacements(
    modes: NormalModes,
    temperature: float,
    n: int,
    rng: np.random.Generator,
    minimum_wavenumber: float = 0.0,
) -> np.ndarray:
    """Draw displacements from the thermal quantum density of harmonic modes.

    Each mass-weighted coordinate is Gaussian with the variance
    ħ/(2ω) coth(ħω/2kT), the position marginal of the Wigner function of a
    harmonic oscillator (Hillery et al., Phys. Rep. 106, 121 (1984)).

    Parameters
    ----------
    modes
        Modes about the geometry that is displaced.
    temperature
        Temperature [K]; zero is allowed.
    n
        Number of displacements.
    minimum_wavenumber
        Modes below it [cm⁻¹], and imaginary ones, are not displaced.

    Returns
    -------
    numpy.ndarray
        Displacements [Å], ``[n, n_atoms, 3]``.
    """
    lowest = max(wavenumber_to_angular_frequency(minimum_wavenumber) ** 2, 1e-12)
    used = modes.curvatures >= lowest
    omega = np.sqrt(modes.curvatures[used])
    occupation = np.ones_like(omega)
    if temperature > 0.0:
        occupation /= np.tanh(HBAR * omega / (2.0 * BOLTZMANN * temperature))
    sigma = np.sqrt(HBAR / (2.0 * omega) * occupation)
    return np.einsum(
        "sm,mac->sac", rng.standard_normal((n, len(omega))) * sigma, modes.vectors[used]
    )


def ring_polymers(
    modes: NormalModes, temperature: float, n_beads: int, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw beads of thermal ring polymers about a fixed centroid.

    The energy is that of the local quadratic model. Internal mode k of the ring
    polymer then has the variance kT/(ω_k² + ω²) per bead, with
    ω_k = 2 (n_beads kT/ħ) sin(kπ/n_beads) (Ceriotti et al., J. Chem. Phys. 133,
    124104 (2010)). For a harmonic molecule a classical snapshot is distributed
    as a centroid, so snapshot plus bead displacement has the quantum density;
    no mode, soft or stiff, is counted twice.

    Parameters
    ----------
    modes
        Modes about the centroid. Imaginary frequencies are fine as long as the
        springs hold the ring polymer together; stronger ones are taken at that limit.
    temperature
        Temperature [K].
    n_beads
        Beads of each ring polymer.
    n
        Number of ring polymers.

    Returns
    -------
    numpy.ndarray
        Displacements of the beads from the centroid [Å],
        ``[n, n_beads, n_atoms, 3]``; they sum to zero over the beads.
    """
    kT = BOLTZMANN * temperature
    k = np.arange(n_beads // 2 + 1)
    springs = (2.0 * n_beads * kT / HBAR * np.sin(np.pi * k / n_beads)) ** 2
    # 0.75: a ring polymer that is about to fall apart is no thermal sample
    stiffness = np.maximum(modes.curvatures, -0.75 * springs[1] if n_beads > 1 else 0.0)
    amplitude = np.zeros((len(k), len(stiffness)))
    amplitude[1:] = np.sqrt(n_beads * kT / (springs[1:, None] + stiffness))
    noise = np.fft.rfft(rng.standard_normal((n, n_beads, len(stiffness))), axis=1)
    beads = np.fft.irfft(noise * amplitude, n=n_beads, axis=1)
    return np.einsum("sbm,mac->sbac", beads, modes.vectors)


def _internal_basis(atoms: ase.Atoms) -> np.ndarray:
    """Return an orthonormal basis of mass-weighted vibrations, ``[3 n_atoms, n_modes]``."""
    mass = atoms.get_masses()
    centred = atoms.positions - mass @ atoms.positions / mass.sum()
    n = len(atoms)
    rigid = np.zeros((6, n, 3))
    for axis in range(3):
        unit = np.eye(3)[axis]
        rigid[axis] = unit
        rigid[3 + axis] = np.cross(unit, centred)
    rigid *= np.sqrt(mass)[:, None]
    rows = rigid.reshape(6, 3 * n)
    rows[:3] /= np.linalg.norm(rows[:3], axis=1, keepdims=True)
    # the rotation about the axis of a linear molecule vanishes
    rows[3:] /= np.linalg.norm(rows[3:], axis=1).max() or 1.0
    _, singular, directions = np.linalg.svd(rows)
    rank = int((singular > 1e-6).sum())
    return directions[rank:].T
