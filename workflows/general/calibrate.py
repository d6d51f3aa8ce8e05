# SPDX-License-Identifier: MIT
"""Uncertainty of the general model, and its errors on molecules that were held out.

    python workflows/general/calibrate.py runs/hcno/model.eqc --output data/models/hcno.eqc \
        --results workflows/general/results/hcno.json

The distribution of the last layers is fitted to some structures of the training set and scaled on
the validation molecules; the test molecules, seen by neither, give the errors by temperature and
size, and predicted against actual errors. For dipole moments the labels are those towards which
``correct_dipoles.py`` corrected them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from correct_dipoles import LABELS, held_out

from eqcalc.datasets import Dataset
from eqcalc.models.checkpoint import load_model, save_model
from eqcalc.models.last_layers import last_layer_factors, with_last_layers
from eqcalc.models.potential import Potential
from eqcalc.training import calibrated_last_layers, calibration, evaluate

#: Dipole moments of the model are not those of PTB.
NOT_OF_PTB = ("energy", "forces", "polarizability")
DATA = Path(__file__).parents[2] / "data" / "hcno" / "hcno-aiqm2.h5"


def errors(
    model: Potential, dataset: Dataset, rows: np.ndarray, quantities: Sequence[str]
) -> dict[str, float]:
    """Return mean absolute errors by quantity and unit."""
    found = evaluate(model, dataset, rows, names=quantities)
    return {f"{row.quantity} [{row.unit}]": row.mae for row in found.rows}


def main() -> None:
    """Fit, scale, evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--fitted", type=int, default=300, help="structures of the training set")
    parser.add_argument("--tested", type=int, default=200, help="for predicted against actual")
    options = parser.parse_args()
    dataset = Dataset.open(DATA)
    split = dataset.splits["molecules"]
    rng = np.random.default_rng(0)
    some = rng.choice(split["training"], options.fitted, replace=False)
    model = load_model(options.model)
    fitted = calibrated_last_layers(model, dataset, some, split["validation"][::3], progress=True)
    dipoles = Dataset.open(LABELS)
    left_out = held_out(dipoles)
    kept, unseen = np.flatnonzero(~left_out), np.flatnonzero(left_out)
    of_dipoles = calibrated_last_layers(model, dipoles, kept, unseen, progress=True)
    factors = {**last_layer_factors(fitted), **last_layer_factors(of_dipoles)}
    model = with_last_layers(model, factors)
    save_model(model, options.output)
    test = split["test"]
    kinds, structures = dataset.source()[test], dataset.structures(test)
    heavy = (structures.numbers > 1).double().unsqueeze(-1)
    sizes = structures.sum_over_atoms(heavy).squeeze(-1).int().numpy()
    groups = {"all": np.ones(len(test), dtype=bool)}
    of_qm9 = "harmonic quantum distribution "
    for kind in sorted({kind for kind in kinds if kind.startswith(of_qm9)}):
        groups[kind.removeprefix(of_qm9)] = kinds == kind
    groups["small molecules"] = np.array([not kind.startswith(of_qm9) for kind in kinds])
    groups |= {f"{n} heavy atoms": sizes == n for n in sorted(set(sizes))}
    tables = {
        name: {"structures": int(chosen.sum()), **errors(model, dataset, test[chosen], NOT_OF_PTB)}
        for name, chosen in groups.items()
    }
    tables["dipole moments"] = {
        "structures": len(unseen),
        **errors(model, dipoles, unseen, ["dipole"]),
    }
    tested = rng.choice(test, options.tested, replace=False)
    checked = [c for c in calibration(model, dataset, tested) if c.quantity != "dipole"]
    checked += calibration(model, dipoles, unseen)
    found = {"errors": tables, "calibration": {c.quantity: c.record() for c in checked}}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(found, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
