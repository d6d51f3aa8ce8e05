# SPDX-License-Identifier: MIT
"""Constant-energy dynamics of molecules that the general model has not seen.

    python workflows/general/stability.py --qm9 qm9_geometries.npz --molecules 50 --time 100 \
        --output workflows/general/results/stability.json

Molecules of QM9 that are kept aside (more than seven atoms other than hydrogen, and an index with a
remainder of 5 by 12), drawn at random, at
500 K with a time step of 0.5 fs. A run is stable if the bonds stay those of the start and the
energy is conserved; the largest excursion of the energy is recorded.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import ase
import numpy as np
import torch

from eqcalc.dynamics import Equilibration, UnstableDynamicsError, simulate
from eqcalc.files import GENERAL_MODEL, model_file
from eqcalc.harmonic import relax
from eqcalc.models.checkpoint import load_model
from eqcalc.molecules import bonds
from eqcalc.runtime import evaluator_for

TIMESTEP, TEMPERATURE = 0.5, 500.0  # fs, K


def drawn(path: Path, n: int, rng: np.random.Generator) -> list[tuple[int, ase.Atoms]]:
    """Return the indices and geometries of `n` molecules that are kept aside."""
    with np.load(path) as data:
        ptr, numbers, positions = data["ptr"], data["numbers"], data["positions_A"]
        indices = data["gdb_id"]
        known = [
            k
            for k in np.flatnonzero(indices % 12 == 5)
            if set(numbers[ptr[k] : ptr[k + 1]]) <= {1, 6, 7, 8}
            and (numbers[ptr[k] : ptr[k + 1]] > 1).sum() > 7
        ]
        chosen = np.sort(rng.choice(known, n, replace=False))
        return [
            (int(indices[k]), ase.Atoms(*(x[ptr[k] : ptr[k + 1]] for x in (numbers, positions))))
            for k in chosen
        ]


def main() -> None:
    """Run the molecules one by one and write what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--qm9", type=Path, required=True)
    parser.add_argument("--molecules", type=int, default=50)
    parser.add_argument("--time", type=float, default=100.0, help="of each run [ps]")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    model = load_model(model_file(GENERAL_MODEL), dtype=torch.float32)
    found = []
    for index, start in drawn(options.qm9, options.molecules, np.random.default_rng(0)):
        began = time.monotonic()
        entry = {"QM9 index": index, "formula": str(start.symbols.formula.format("hill"))}
        with tempfile.TemporaryDirectory() as folder:
            try:
                atoms = relax(model, start)
                trajectory = simulate(
                    atoms,
                    evaluator_for(model, torch.as_tensor(atoms.numbers)),
                    output=Path(folder) / "nve.h5",
                    method="NVE",
                    temperature=TEMPERATURE,
                    timestep=TIMESTEP,
                    steps=round(1000 * options.time / TIMESTEP),
                    seed=index,
                    equilibration=Equilibration(500.0),
                    observables={"positions": 1000, "conserved_energy": 20},
                    progress=False,
                )
            except UnstableDynamicsError as error:
                entry["unstable"] = str(error)
            else:
                total = trajectory.observable("conserved_energy").values.ravel()
                drift = np.abs(total - total[0]).max() / len(atoms)
                ends = atoms.copy()
                ends.positions = trajectory.observable("positions").values[0, -1].reshape(-1, 3)
                kept = np.array_equal(bonds(ends), bonds(atoms))
                entry |= {"energy excursion / meV per atom": 1e3 * float(drift), "bonds kept": kept}
        print(entry, f"{time.monotonic() - began:.0f} s", flush=True)
        found.append(entry)
    stable = sum("unstable" not in entry for entry in found)
    summary = {"ps": options.time, "molecules": len(found), "stable": stable}
    print(summary)
    options.output.write_text(json.dumps({"summary": summary, "runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
