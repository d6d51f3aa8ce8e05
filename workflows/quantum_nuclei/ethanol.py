# SPDX-License-Identifier: MIT
"""The correction of the shipped model of ethanol for Te PIGS.

Classical dynamics at the temperature of the path integrals, from all three conformers, gives
the structures in which the rings start: these need to relax only their internal modes.

    python workflows/quantum_nuclei/ethanol.py

writes ``data/models/corrections/ethanol.eqc``. With ``--compare`` the O–H band at 300 K is read
for several temperatures of the path integrals as well. Rerun it to resume.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import time
from pathlib import Path

import torch
from ase import Atoms

from eqcalc import simulate
from eqcalc.centroid import (
    CorrectionError,
    LearningPlan,
    learn_correction,
    temperature_dependence,
)
from eqcalc.demo import ethanol_conformers
from eqcalc.models import load_model
from eqcalc.runtime import evaluator_for
from eqcalc.runtime.evaluator import Evaluator

#: Of spectra, and of the path integrals of the correction that is shipped [K].
TEMPERATURE, ELEVATED = 300.0, 600.0
#: Limits of the O–H band [cm⁻¹].
BAND = (3400.0, 4100.0)
REPLICAS = 40
#: What is computed to learn a correction.
PLAN = {
    "labels": 4000,
    "interval": 2.0,
    "replicas": REPLICAS,
    "equilibration": 40.0,
    "tests": 8,
    "test_time": 200.0,
}
HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "data" / "models" / "corrections" / "ethanol.eqc"


def main() -> None:
    """Learn the correction, or compare several."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/quantum_nuclei/ethanol"))
    parser.add_argument("--compare", type=float, nargs="+", metavar="K")
    options = parser.parse_args()
    torch.set_num_threads(1)
    conformers = list(ethanol_conformers(load_model("ethanol", dtype=torch.float64)).values())
    evaluator = evaluator_for(load_model("ethanol"), torch.as_tensor(conformers[0].numbers))
    starts = thermal(conformers, evaluator, options.folder / "starts.h5")
    if options.compare:
        compare(starts, evaluator, options.folder, options.compare)
        return
    plan = LearningPlan.for_molecule(
        conformers[0], evaluator, temperature=TEMPERATURE, elevated=ELEVATED, **PLAN
    )
    print(plan.told(evaluator, conformers[0]), flush=True)
    folder = options.folder / f"{ELEVATED:g}K"
    correction = learn_correction(starts, evaluator, folder, plan, progress=False)
    SHIPPED.parent.mkdir(exist_ok=True)
    shutil.copyfile(folder / "correction.eqc", SHIPPED)
    print(CorrectionError.of(correction))
    print(f"{time.process_time() / 3600.0:.2f} CPU hours in this call")


def thermal(conformers: list[Atoms], evaluator: Evaluator, path: Path) -> list[Atoms]:
    """Return structures of classical dynamics."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trajectory = simulate(
        conformers,
        evaluator,
        output=path,
        method="Langevin",
        temperature=ELEVATED,
        timestep=0.5,
        steps=600,
        seed=0,
        replicas=REPLICAS,
        observables={"positions": 600},
        progress=False,
    )
    last = trajectory.observable("positions").values[:, -1]
    return [Atoms(conformers[0].numbers, positions) for positions in last]


def compare(starts: list[Atoms], evaluator: Evaluator, folder: Path, elevated: list[float]) -> None:
    """Write the O–H band for several temperatures of the path integrals."""
    found = temperature_dependence(
        *(starts, evaluator, folder),
        temperature=TEMPERATURE,
        elevated=elevated,
        limits=BAND,
        replicas=REPLICAS,
        progress=False,
        plan=PLAN,
    )
    output = HERE / "results" / "ethanol.csv"
    with output.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {' '.join(['python', *sys.argv])}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["elevated_K", "centroid_cm-1", "error_cm-1", "width_cm-1", "correction"])
        for hot, band in found.items():
            correction = load_model(folder / f"{hot:g}K" / "correction.eqc")
            cells = (band.centroid.value, band.centroid.error, band.width.value)
            shown = [f"{x:.1f}" for x in cells]
            writer.writerow([f"{hot:g}", *shown, CorrectionError.of(correction)])
    print(output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
