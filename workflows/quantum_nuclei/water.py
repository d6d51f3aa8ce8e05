# SPDX-License-Identifier: MIT
"""Bend and asymmetric stretch of the q-TIP4P/F water monomer by each method, beside VCI.

VCI of this potential agrees with its exact levels (tests/anharmonic). Dynamics at 300 K, infrared
in the Eckart frame.

    python workflows/quantum_nuclei/water.py

Takes about ten minutes of one core. Rerun it to resume.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.units import kcal, mol
from methods_of_dynamics import Row, Study
from torch import Tensor

from eqcalc import anharmonic_spectrum, infrared
from eqcalc.dynamics import Equilibration
from eqcalc.normal_modes import NormalModes
from eqcalc.trajectory import Trajectory

#: Limits of the bands [cm⁻¹].
BANDS = {"bend": (1300.0, 1900.0), "asymmetric stretch": (3300.0, 4400.0)}


class Water:
    """A monomer of q-TIP4P/F (Habershon et al., J. Chem. Phys. 131, 024501 (2009))."""

    numbers = torch.tensor([8, 1, 1])
    charge = 0.0
    quantities = ("energy", "forces", "dipole")
    provenance: ClassVar = {"model": "q-TIP4P/F", "level_of_theory": "q-TIP4P/F"}
    masses = (15.9949146221, 1.0078250319, 1.0078250319)
    depth, width, length = 116.09 * kcal / mol, 2.287, 0.9419
    stiffness, angle = 87.85 * kcal / mol, float(np.deg2rad(107.4))

    def energy(self, positions: Tensor) -> Tensor:
        """Return energies ``[n]`` of ``[n, 3, 3]`` Å."""
        bonds = positions[:, 1:] - positions[:, :1]
        lengths = bonds.norm(dim=-1)
        x = self.width * (lengths - self.length)
        stretch = self.depth * (x.square() - x.pow(3) + 7.0 / 12.0 * x.pow(4)).sum(dim=-1)
        angle = torch.arccos((bonds[:, 0] * bonds[:, 1]).sum(dim=-1) / lengths.prod(dim=-1))
        return stretch + 0.5 * self.stiffness * (angle - self.angle).square()

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Return energies, forces and dipole moments."""
        with torch.enable_grad():
            x = positions.detach().requires_grad_()
            energy = self.energy(x)
            forces = -torch.autograd.grad(energy.sum(), x)[0]
        hydrogens = positions[:, 1] + positions[:, 2]
        negative = 0.73612 * positions[:, 0] + 0.13194 * hydrogens
        dipole = 0.5564 * hydrogens - 1.1128 * negative
        return {"energy": energy.detach(), "forces": forces, "dipole": dipole}

    @property
    def atoms(self) -> Atoms:
        """The molecule at rest."""
        x, y = self.length * np.sin(0.5 * self.angle), self.length * np.cos(0.5 * self.angle)
        places = [(0.0, 0.0, 0.0), (x, y, 0.0), (-x, y, 0.0)]
        return Atoms("OHH", positions=places, masses=self.masses)

    def modes(self) -> NormalModes:
        """Return the harmonic modes."""
        atoms = self.atoms
        hessian = torch.autograd.functional.hessian(
            lambda x: self.energy(x[None])[0], torch.from_numpy(atoms.positions)
        )
        return NormalModes.from_hessian(atoms.positions, atoms.get_masses(), hessian.numpy())


def bands(trajectory: Trajectory) -> list[float]:
    """Return centroid, its standard error, and full width of each band [cm⁻¹]."""
    spectrum = infrared(trajectory, frame="eckart", resolution=25.0, frequency_correction=True)
    found = [spectrum.band(*limits) for limits in BANDS.values()]
    return [x for b in found for x in (b.centroid.value, b.centroid.error, b.width.value)]


def references() -> Iterator[Row]:
    """Yield the anharmonic and harmonic wavenumbers."""
    modes = Water().modes()
    quantum = anharmonic_spectrum(modes, Water()).fundamentals()
    for name, wavenumber in (("VCI", quantum), ("harmonic", modes.wavenumber)):
        yield name, [x for k in (0, 2) for x in (wavenumber[k], np.nan, np.nan)], ""


STUDY = Study(
    name="water",
    potential=Water(),
    dynamics={
        "timestep": 0.5,
        "steps": 4000,
        "equilibration": Equilibration(500.0),
        "observables": {"dipole": 2, "positions": 2},
    },
    bands=bands,
    heads=[f"{name}_{what}_cm-1" for name in BANDS for what in ("centroid", "error", "width")],
    elevated=500.0,
    replicas=96,
    epochs=15,
)

if __name__ == "__main__":
    STUDY.main(__doc__, references)
