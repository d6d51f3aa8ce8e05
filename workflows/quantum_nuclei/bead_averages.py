# SPDX-License-Identifier: MIT
"""Intensities of Te PIGS with dipole moment and polarizability at the centroid and of the beads.

Classical dynamics at 300 K moves fast modes so little that their intensities are those of the
normal modes of the potential of the centroid at its minimum. Centroids are held there and on both
sides along each mode; mean forces give this potential, and means of μ and α over beads what an
ideal correction of them would learn, both with errors from the copies of each ring. Exact are the
intensities of VCI on the same surface. Of ethanol the O–H stretch is moved alone;
its band is that of three states in resonance.

    python workflows/quantum_nuclei/bead_averages.py

Takes about ten minutes of one core. Rerun it to resume.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from methods_of_dynamics import RESULTS
from rotating_bond import LENGTH, MorseBond
from torch import Tensor

from eqcalc import anharmonic_spectrum, simulate
from eqcalc.anharmonic import Configuration
from eqcalc.demo import ethanol_conformers
from eqcalc.dynamics import StabilityLimits
from eqcalc.harmonic import evaluator_spectrum, harmonic_spectrum, relax
from eqcalc.models import load_model
from eqcalc.normal_modes import NormalModes, finite_difference_hessian
from eqcalc.runtime import evaluator_for
from eqcalc.spectra.sticks import Sticks
from eqcalc.units import HBAR, conversion_factor

#: Of the path integrals [K].
ELEVATED = 600.0
#: Displacement of the centroid along a mode, in q; and for derivatives of μ and α.
STEP, SMALL = 0.4, 0.01
#: A state belongs to a band if one quantum of its mode makes up this part of it.
RESONANT = 0.05
#: Polarizability volume of a polarizability, Å³ per e²Å²/eV.
VOLUME = conversion_factor("e^2*Å^2/eV", "Å^3")
#: Relaxation of the rings, and the time of each average [fs].
RELAXATION, TIME = 100.0, 400.0


class BentDipole(MorseBond):
    """The bond with a dipole moment ∝ r exp(−(r − r_e)/a) along it."""

    def __init__(self, range_: float) -> None:
        self.range = range_

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Return energies, forces and dipole moments."""
        found = super().__call__(positions, quantities)
        r = (positions[:, 1] - positions[:, 0]).norm(dim=-1, keepdim=True)
        found["dipole"] = found["dipole"] * torch.exp(-(r - LENGTH) / self.range)
        return found

    def modes(self) -> NormalModes:
        """Return the harmonic mode."""
        atoms = self.atoms
        hessian = finite_difference_hessian(
            atoms.positions,
            lambda r: self(torch.from_numpy(r), ("forces",))["forces"].numpy(),
            1e-4,
        )
        return NormalModes.from_hessian(atoms.positions, atoms.get_masses(), hessian)


def cases() -> Iterator[tuple[str, NormalModes, Any, Any, int, list[int]]]:
    """Yield names, modes, evaluators for VCI and for rings, beads, and modes that are moved."""
    for a in (2.0, -3.0):
        bond = BentDipole(a)
        yield f"O-H, dipole moment r exp(-r/{a:g} Å)", bond.modes(), bond, bond, 24, [0]
    water = molecule("H2O")
    yield "water, general model", *evaluated("general", water), 18, [0, 1, 2]
    gauche = ethanol_conformers(load_model("ethanol", dtype=torch.float64))["gauche"]
    yield "O-H of gauche ethanol", *evaluated("ethanol", gauche), 19, [20]


def evaluated(model: str, atoms: Atoms) -> tuple[NormalModes, Any, Any]:
    """Return modes, and evaluators of a model in double and in single precision."""
    potential = load_model(model, dtype=torch.float64)
    numbers = torch.as_tensor(atoms.numbers)
    modes = harmonic_spectrum(potential, relax(potential, atoms))
    return modes, evaluator_for(potential, numbers), evaluator_for(load_model(model), numbers)


def intensities(
    modes: NormalModes,
    evaluator: Any,
    rings: Any,
    beads: int,
    which: list[int],
    path: Path,
    copies: int,
) -> tuple[np.ndarray, ...]:
    """Return intensities at the centroid and averaged, with errors, ``[n_modes]``.

    Of infrared [km/mol], and Raman activities [Å⁴/amu] if the evaluator has polarizabilities.
    """
    names = [name for name in STRENGTHS if name in evaluator.quantities]
    n, steps = len(which), modes.steps[which]
    places = np.concatenate([np.zeros((1, n)), STEP * np.eye(n), -STEP * np.eye(n)])
    held = modes.positions + np.einsum("pk,kia->pia", places, steps)
    numbers = evaluator.numbers.tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    trajectory = simulate(
        [Atoms(numbers, x, masses=modes.masses) for x in held],
        rings,
        output=path,
        method="CC-PIMD",
        temperature=ELEVATED,
        beads=beads,
        timestep=0.5,
        steps=round((RELAXATION + TIME) / 0.5),
        replicas=copies * len(held),
        seed=1,
        observables=dict.fromkeys(("centroid_force", *names), 4),
        limits=StabilityLimits(energy_drift=np.inf),  # of rings of few atoms
        progress=False,
    )

    def means(name: str) -> np.ndarray:
        series = trajectory.observable(name)
        kept = series.values[:, round(RELAXATION / series.interval) :].mean(axis=1)
        return kept.reshape(copies, len(held), *kept.shape[1:])

    def slope(values: np.ndarray) -> np.ndarray:
        return (values[1 : n + 1] - values[n + 1 :]) / (2.0 * STEP)

    def at(x: np.ndarray, name: str) -> np.ndarray:
        return evaluator(torch.from_numpy(x), (name,))[name].numpy()

    gradient = -np.einsum("cpia,kia->cpk", means("centroid_force"), steps)
    learned = {name: means(name) - at(held, name) for name in names}
    root = np.sqrt(modes.angular_frequency[which] / HBAR)

    def of(copy: slice) -> np.ndarray:
        mean = gradient[copy].mean(axis=0)
        curvature = slope(mean)
        curvature = 0.5 * (curvature + curvature.T)
        rest = -np.linalg.solve(curvature, mean[0])
        around = rest + SMALL * np.concatenate([np.eye(n), -np.eye(n)])
        around = modes.positions + np.einsum("pk,kia->pia", around, steps)
        axes = np.linalg.eigh(curvature * np.outer(root, root))[1] * root[:, None]
        result = []
        for name in names:
            up, down = np.split(at(around, name), 2)
            plain, added = (up - down) / (2.0 * SMALL), slope(learned[name][copy].mean(axis=0))
            for slopes in (plain, plain + added):
                result.append(STRENGTHS[name](np.einsum("kl,k...->l...", axes, slopes)))
        return np.array(result)

    whole = of(slice(None))
    error = np.std([of(slice(c, None, 4)) for c in range(4)], axis=0, ddof=1) / 2.0
    return tuple(x for pair in zip(whole, error, strict=True) for x in pair)


def _part(states: Sequence[Configuration], mode: int) -> float:
    """Return the weight of one quantum of a mode among the leading configurations of a state."""
    return sum(found.weight for found in states if found.quanta == {mode: 1})


@dataclass(frozen=True, eq=False)
class Lines(Sticks):
    """Normal modes, of which nothing but derivatives of one quantity is known."""

    kind: ClassVar[str] = "normal modes of the centroid"

    dipole_derivative: np.ndarray | None = None
    polarizability_derivative: np.ndarray | None = None


#: Of ∂μ/∂Q, ``[n, 3]`` e/amu^½, km/mol; of ∂α/∂Q, ``[n, 3, 3]`` e²Å²/eV/amu^½, Å⁴/amu.
STRENGTHS = {
    "dipole": lambda x: Lines(x).infrared_intensity,
    "polarizability": lambda x: Lines(None, VOLUME * x).raman_activity,
}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "bead_averages.csv")
    parser.add_argument("--folder", type=Path, default=Path("runs/bead_averages"))
    parser.add_argument("--copies", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with options.output.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {' '.join(['python', *sys.argv])}\n")
        writer = csv.writer(file, lineterminator="\n")
        kinds = ("centroid", "centroid_error", "averaged", "averaged_error")
        writer.writerow(["molecule", "mode", "strength", "VCI", "harmonic", *kinds])
        for number, (name, modes, exact, rings, beads, which) in enumerate(cases()):
            path = options.folder / f"{number}.h5"
            found = intensities(modes, exact, rings, beads, which, path, options.copies)
            soft = np.flatnonzero(modes.wavenumber < 300.0).tolist()  # torsions
            quantum = anharmonic_spectrum(modes, exact, at_rest=soft)
            parts = np.array([[_part(found, k) for found in quantum.assignment] for k in which])
            harmonic = evaluator_spectrum(modes, exact)
            for first, kind in ((0, "infrared_intensity"), (4, "raman_activity"))[
                : len(found) // 4
            ]:
                columns = [
                    (parts >= RESONANT) @ getattr(quantum, kind),
                    getattr(harmonic, kind)[which],
                ]
                for row in zip(which, *columns, *found[first : first + 4], strict=True):
                    writer.writerow([name, row[0] + 1, kind, *(f"{x:.2f}" for x in row[1:])])
            file.flush()
    print(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
