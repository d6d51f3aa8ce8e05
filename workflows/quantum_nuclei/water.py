# SPDX-License-Identifier: MIT
"""Bend and asymmetric stretch of the q-TIP4P/F water monomer by each method, beside VCI.

VCI of this potential agrees with its exact levels (tests/anharmonic). Dynamics at 300 K, infrared
in the Eckart frame.

    python workflows/quantum_nuclei/water.py

Takes about ten minutes of one core. Rerun it to resume.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.units import kcal, mol
from torch import Tensor

from eqcalc import anharmonic_spectrum, infrared, simulate
from eqcalc.centroid import CorrectionError, LearningPlan, corrected, learn_correction
from eqcalc.dynamics import Equilibration
from eqcalc.normal_modes import NormalModes
from eqcalc.runtime import Evaluator
from eqcalc.trajectory import Trajectory

TEMPERATURE = 300.0
#: Limits of the bands [cm⁻¹].
BANDS = {"bend": (1300.0, 1900.0), "asymmetric stretch": (3300.0, 4400.0)}
RESULTS = Path(__file__).parent / "results"


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


def bands(trajectory: Trajectory) -> list[tuple[float, float, float]]:
    """Return centroid, its standard error, and full width of each band [cm⁻¹]."""
    spectrum = infrared(trajectory, frame="eckart", resolution=25.0, frequency_correction=True)
    found = [spectrum.band(*limits) for limits in BANDS.values()]
    return [(band.centroid.value, band.centroid.error, band.width.value) for band in found]


def main() -> None:
    """Run every method and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "water.csv", help="table (.csv)")
    parser.add_argument("--folder", type=Path, default=Path("runs/water-pigs"))
    parser.add_argument("--elevated", type=float, nargs="+", default=[500.0])
    parser.add_argument("--replicas", type=int, default=96)
    options = parser.parse_args()
    torch.set_num_threads(1)
    water = Water()

    def run(name: str, evaluator: Evaluator, method: str, **changed: int) -> Trajectory:
        return simulate(
            water.atoms,
            evaluator,
            output=options.folder / f"{name}.h5",
            method=method,
            temperature=TEMPERATURE,
            timestep=0.5,
            steps=4000,
            seed=3,
            equilibration=Equilibration(500.0),
            observables={"dipole": 2, "positions": 2},
            **{"replicas": options.replicas, **changed},
        )

    modes = water.modes()
    quantum = anharmonic_spectrum(modes, water).fundamentals()
    none = float("nan")
    rows = [
        ("VCI", [(quantum[k], none, none) for k in (0, 2)], ""),
        ("harmonic", [(modes.wavenumber[k], none, none) for k in (0, 2)], ""),
        ("classical", bands(run("classical", water, "NVE")), ""),
        ("T-RPMD, 32 beads", bands(run("t-rpmd", water, "T-RPMD", beads=32, replicas=24)), ""),
    ]
    for elevated in options.elevated:
        plan = LearningPlan.for_molecule(
            water.atoms, water, temperature=TEMPERATURE, elevated=elevated, epochs=15
        )
        correction = learn_correction(water.atoms, water, options.folder / f"{elevated:g}K", plan)
        error = CorrectionError.of(correction)
        trajectory = run(f"te-pigs-{elevated:g}K", corrected(water, correction), "Te-PIGS")
        rows.append((f"Te PIGS, {elevated:g} K", bands(trajectory), str(error)))
    with options.output.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {' '.join(['python', *sys.argv])}\n")
        writer = csv.writer(file, lineterminator="\n")
        heads = [f"{name}_{what}_cm-1" for name in BANDS for what in ("centroid", "error", "width")]
        writer.writerow(["method", *heads, "correction"])
        for name, found, note in rows:
            cells = [f"{value:.1f}" for band in found for value in band]
            writer.writerow([name, *(cell.replace("nan", "") for cell in cells), note])
    print(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
