# SPDX-License-Identifier: MIT
"""The infrared band of a rotating Morse O–H by each method, beside the exact one.

Classical dynamics, T-RPMD, and Te PIGS for several temperatures of the path integrals, with
corrections learned by a network, at 300 K. Exact are all rotational lines of v = 0 → 1.

    python workflows/quantum_nuclei/rotating_bond.py

Takes about ten minutes of one core. Rerun it to resume.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.units import Bohr, Hartree
from methods_of_dynamics import TEMPERATURE, Study
from torch import Tensor

from eqcalc import infrared
from eqcalc.dynamics import Equilibration, StabilityLimits
from eqcalc.trajectory import Trajectory
from eqcalc.units import BOLTZMANN, HBAR, WAVENUMBER_PER_EV

DEPTH, LENGTH, WIDTH = 0.18748 * Hartree, 1.8324 * Bohr, 1.1605 / Bohr
OXYGEN, REDUCED = 15.9949, 1741.1 / 1822.888486
MASSES = (OXYGEN, 1.0 / (1.0 / REDUCED - 1.0 / OXYGEN))
BAND = (2900.0, 4400.0)


class MorseBond:
    """O–H with V = D (1 − exp(−a (r − r_e)))² and a dipole moment linear in r."""

    numbers = torch.tensor([8, 1])
    charge = 0.0
    quantities = ("energy", "forces", "dipole")
    provenance: ClassVar = {"model": "Morse O-H", "level_of_theory": "Morse potential"}

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Return energies, forces and dipole moments of ``[n, 2, 3]`` Å."""
        arm = positions[:, 1] - positions[:, 0]
        r = arm.norm(dim=-1, keepdim=True)
        e = torch.exp(-WIDTH * (r - LENGTH))
        force = -2.0 * DEPTH * WIDTH * (1.0 - e) * e * arm / r
        return {
            "energy": DEPTH * (1.0 - e[:, 0]).square(),
            "forces": torch.stack([-force, force], dim=1),
            "dipole": 0.3 * arm,
        }

    @property
    def atoms(self) -> Atoms:
        """The bond at rest."""
        return Atoms("OH", positions=[(0.0, 0.0, 0.0), (0.0, 0.0, LENGTH)], masses=MASSES)


def exact_band(n_points: int = 500, highest: int = 25) -> tuple[float, float]:
    """Return centroid and width of the band of v = 0 → 1 with all rotational lines [cm⁻¹].

    Radial sinc basis (Colbert and Miller, J. Chem. Phys. 96, 1982 (1992)) for each J.
    """
    r = np.linspace(0.5, 2.2, n_points)
    step = r[1] - r[0]
    difference = np.subtract.outer(np.arange(n_points), np.arange(n_points))
    kinetic = 2.0 * (-1.0) ** difference / np.where(difference == 0, 1, difference) ** 2
    kinetic[difference == 0] = np.pi**2 / 3.0
    inertia = HBAR**2 / (2.0 * REDUCED)
    potential = DEPTH * (1.0 - np.exp(-WIDTH * (r - LENGTH))) ** 2
    levels = []
    for j in range(highest + 2):
        energies, states = np.linalg.eigh(
            inertia / step**2 * kinetic + np.diag(potential + inertia * j * (j + 1) / r**2)
        )
        levels.append((energies[:2], states[:, :2]))
    lines = []
    for j in range(highest + 1):
        lower, below = levels[j]
        for other, factor in ((j + 1, j + 1), (j - 1, j)):  # Hönl and London
            if other < 0:
                continue
            upper, above = levels[other]
            energy = upper[1] - lower[0]
            moment = (above[:, 1] * r) @ below[:, 0]
            population = np.exp(-(lower[0] - levels[0][0][0]) / (BOLTZMANN * TEMPERATURE))
            emission = 1.0 - np.exp(-energy / (BOLTZMANN * TEMPERATURE))
            strength = population * emission * factor * moment**2 * energy
            lines.append((energy * WAVENUMBER_PER_EV, strength))
    x, weight = np.array(lines).T
    return moments(x, weight)


def moments(x: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return mean and root-mean-square width."""
    centroid = np.average(x, weights=weight)
    return float(centroid), float(np.sqrt(np.average((x - centroid) ** 2, weights=weight)))


def bands(trajectory: Trajectory) -> tuple[float, ...]:
    """Return centroid and width of the band, and the standard error of the centroid."""
    spectrum = infrared(trajectory, resolution=25.0, frequency_correction=True)
    part = spectrum.between(*BAND)
    return *moments(part.wavenumber, part.values), spectrum.band(*BAND).centroid.error


STUDY = Study(
    name="rotating_bond",
    potential=MorseBond(),
    dynamics={
        "timestep": 0.25,
        "steps": 8000,
        "equilibration": Equilibration(1000.0),
        "observables": {"dipole": 4},
        "limits": StabilityLimits(energy_drift=1.0),  # of rings of two atoms
    },
    bands=bands,
    heads=["centroid_cm-1", "width_cm-1", "error_cm-1"],
    elevated=600.0,
    replicas=256,
    epochs=8,
)

if __name__ == "__main__":
    STUDY.main(__doc__, lambda: [("exact", (*exact_band(), 0.0), "")])
