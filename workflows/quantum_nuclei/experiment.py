# SPDX-License-Identifier: MIT
"""Measured fundamentals of small molecules beside each treatment of the nuclei by one model.

    python workflows/quantum_nuclei/experiment.py

With the general model: harmonic wavenumbers, the same with a factor that was fitted to other
molecules, VCI, and at 300 K maxima of the density of states of each normal mode (in the Eckart
frame) by classical dynamics, T-RPMD and Te PIGS. Measured fundamentals are assigned to modes by
VCI. Some minutes of one core for each molecule; rerun it to resume.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from methods_of_dynamics import RESULTS, TEMPERATURE
from rdkit import RDLogger
from scipy.optimize import linear_sum_assignment

sys.path.insert(0, str(Path(__file__).parents[1] / "general"))
from fundamentals import Molecule, half, molecules

from eqcalc import anharmonic_spectrum, simulate
from eqcalc.centroid import LearningPlan, corrected, learn_correction
from eqcalc.dynamics import Equilibration
from eqcalc.harmonic import HarmonicSpectrum, harmonic_spectrum, relax
from eqcalc.models import load_model
from eqcalc.prediction import molecule_from
from eqcalc.runtime import evaluator_for
from eqcalc.spectra.assignment.modes import mode_names, mode_spectra

#: Factors of harmonic wavenumbers of the general model, fitted to the other half of the molecules.
SCALED = Path(__file__).parents[1] / "general" / "results" / "fundamentals-general.json"
NAMES = (
    "Water",
    "Carbon dioxide",
    "Ammonia",
    "Formaldehyde",
    "Acetylene",
    "Methane",
    "Formic acid",
)
METHODS = ("harmonic", "scaled harmonic", "VCI", "classical", "T-RPMD", "Te PIGS")
#: Of the spectra [cm⁻¹].
RESOLUTION = 40.0
#: Limits in which the maximum of a mode is sought, in parts of its harmonic wavenumber.
WINDOW = (0.86, 1.06)
DYNAMICS = {
    "temperature": TEMPERATURE,
    "timestep": 0.5,
    "equilibration": Equilibration(300.0),
    "observables": {"positions": 2, "velocities": 2},
    "seed": 5,
}
RUNS = {
    "classical": {"method": "NVE", "replicas": 24, "steps": 4000},
    "T-RPMD": {"method": "T-RPMD", "beads": 32, "replicas": 8, "steps": 2000},
    "Te PIGS": {"method": "Te-PIGS", "replicas": 24, "steps": 4000},
}
#: What is computed for a correction.
PLAN = {"labels": 2000, "interval": 2.0, "equilibration": 100.0, "tests": 4, "test_time": 200.0}


def maxima(
    name: str, evaluator: object, atoms: Atoms, harmonic: HarmonicSpectrum, file: Path
) -> np.ndarray:
    """Return the maximum of each mode by a method of dynamics [cm⁻¹]."""
    run = simulate(atoms, evaluator, output=file, **DYNAMICS, **RUNS[name])
    positions, velocities = (run.observable(key) for key in ("positions", "velocities"))
    spectra = mode_spectra(
        positions.values,
        velocities.values,
        harmonic,
        interval=positions.interval,
        temperature=TEMPERATURE,
        timestep=DYNAMICS["timestep"],
        resolution=RESOLUTION,
        frequency_correction=True,
        quantum_factor="none",
    )
    return np.array(
        [
            spectra.part(mode).band(*(x * wavenumber for x in WINDOW)).position.value
            for mode, wavenumber in zip(mode_names(harmonic), harmonic.wavenumber, strict=True)
        ]
    )


def treated(molecule: Molecule, folder: Path) -> dict[str, np.ndarray]:
    """Return the wavenumbers of all modes by each treatment [cm⁻¹]."""
    model = load_model("general", dtype=torch.float64)
    atoms = relax(model, molecule_from(f"smiles:{molecule.smiles}"))
    harmonic = harmonic_spectrum(model, atoms)
    found = {"harmonic": np.asarray(harmonic.wavenumber)}
    exact = evaluator_for(model, atoms.numbers)
    found["VCI"] = anharmonic_spectrum(harmonic, exact).fundamentals()
    evaluator = evaluator_for(load_model("general"), atoms.numbers)
    plan = LearningPlan.for_molecule(atoms, evaluator, temperature=TEMPERATURE, **PLAN)
    correction = learn_correction(atoms, evaluator, folder / "correction", plan)
    evaluators = {"Te PIGS": corrected(evaluator, correction)}
    for name in RUNS:
        file = folder / f"{name.replace(' ', '-')}.h5"
        found[name] = maxima(name, evaluators.get(name, evaluator), atoms, harmonic, file)
    return found


def rows(names: Sequence[str], folder: Path) -> Iterator[dict[str, float | str]]:
    """Yield each measured fundamental of the molecules with what the treatments have."""
    known = {m.name.split(" (")[0]: (inchi, m) for inchi, m in molecules().items()}
    scales = json.loads(SCALED.read_text(encoding="utf-8"))["summary"]["scales"]
    for name in names:
        inchi, molecule = known[name]
        found = treated(molecule, folder / name.replace(" ", "-"))
        found["scaled harmonic"] = scales[1 - half(inchi)] * found["harmonic"]
        nearest = np.abs(found["VCI"][:, None] - molecule.measured)
        for mode, band in zip(*linear_sum_assignment(nearest), strict=True):
            values = {method: round(float(found[method][mode]), 1) for method in METHODS}
            yield {"molecule": name, "measured": float(molecule.measured[band]), **values}


def main() -> None:
    """Run every treatment and write the table, root mean square errors last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", nargs="+", default=NAMES, metavar="NAME")
    parser.add_argument("--folder", type=Path, default=Path("runs/quantum_nuclei/experiment"))
    parser.add_argument("--output", type=Path, default=RESULTS / "experiment.csv")
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    torch.set_num_threads(1)
    table: list[dict[str, float | str]] = []
    for row in rows(options.molecules, options.folder):
        table.append(row)
        print(row, flush=True)
    measured = np.array([row["measured"] for row in table], dtype=float)
    errors = {m: np.array([row[m] for row in table], dtype=float) - measured for m in METHODS}
    for name, part in (
        ("root mean square error", measured > 0.0),
        ("the same below 2000", measured < 2000.0),
        ("the same above", measured >= 2000.0),
    ):
        size = {m: round(float(np.sqrt(np.mean(e[part] ** 2))), 1) for m, e in errors.items()}
        table.append({"molecule": name, "measured": "", **size})
        print(table[-1], flush=True)
    with options.output.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {' '.join(['python', *sys.argv])}\n")
        writer = csv.DictWriter(file, ["molecule", "measured", *METHODS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
