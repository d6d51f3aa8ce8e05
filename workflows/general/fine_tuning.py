# SPDX-License-Identifier: MIT
"""Errors of a model of one molecule against the number of its labels, by what it starts from.

    python workflows/general/fine_tuning.py data/ethanol/pbe0-def2tzvp.h5 --split eighth \
        --output workflows/general/results/fine-tuning.json

The general model, and a network without training, are fitted to some labels of the dataset with the
settings of ``eqcalc train --template DATASET --start-from hcno``, by either optimizer, and tested
on those of the test part of the split. An optimizer with epochs keeps a tenth of the labels for
validation. Without labels it is the general model as it is. Rows that the file has are not
computed again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.datasets import Dataset
from eqcalc.files import GENERAL_MODEL, model_file
from eqcalc.training import TrainingConfig, evaluate, train

FEW, EPOCHS = {"name": "gauss_newton"}, {"name": "adamw"}
#: What is fitted, and how.
FITS: dict[str, dict[str, Any]] = {
    "general model, Gauss-Newton": {"model": {"start_from": GENERAL_MODEL}, "optimizer": FEW},
    "general model, AdamW": {"model": {"start_from": GENERAL_MODEL}, "optimizer": EPOCHS},
    "nothing, AdamW": {"optimizer": EPOCHS},
}


def part(dataset: Dataset, split: str, n: int, validation: int, folder: Path) -> Dataset:
    """Write a dataset of `n` labels, some of them to validate, and all of the test part."""
    rows = dataset.splits[split]
    order = np.random.default_rng(0).permutation(rows["training"])[:n]
    chosen = {"training": order[validation:], "validation": order[:validation]}
    chosen["test"] = rows["test"]
    target = folder / "labels.h5"
    with dataset.writer(target) as writer:
        parts, row = {}, 0
        for name, indices in chosen.items():
            for record in dataset.records(indices):
                writer.append(record)
            parts[name] = np.arange(row, row + len(indices))
            row += len(indices)
        writer.add_split("labels", parts)
    return Dataset.open(target)


def trained(dataset: Dataset, fit: dict[str, Any], folder: Path) -> Path:
    """Train and return the model."""
    settings = {
        "output": str(folder / "run"),
        "data": {"path": str(dataset.path), "split": "labels"},
        **fit,
    }
    return train(TrainingConfig.from_settings(settings), progress=False).path


def main() -> None:
    """Train for every number of labels and fit, and write the errors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split", required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 30, 100, 300])
    parser.add_argument("--fits", nargs="+", choices=FITS, default=[*FITS])
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    dataset = Dataset.open(options.dataset)
    test = dataset.splits[options.split]["test"]

    def errors(model: Path, minutes: float) -> dict[str, float]:
        found = {f"{r.quantity} [{r.unit}]": r.mae for r in evaluate(model, dataset, test).rows}
        return {"minutes": minutes, **found}

    general = model_file(GENERAL_MODEL)
    results: dict[str, dict[str, dict[str, float]]] = {}
    if options.output.exists():
        results = json.loads(options.output.read_text(encoding="utf-8"))
    else:
        results["general model"] = {"0": errors(general, 0.0)}
    for n in options.labels:
        for name in options.fits:
            if str(n) in results.setdefault(name, {}):
                continue
            validation = 0 if FITS[name]["optimizer"] is FEW else max(2, n // 10)
            with tempfile.TemporaryDirectory() as folder:
                began = time.process_time()
                labels = part(dataset, options.split, n, validation, Path(folder))
                model = trained(labels, FITS[name], Path(folder))
                spent = (time.process_time() - began) / 60.0
                results[name][str(n)] = errors(model, spent)
            print(n, name, results[name][str(n)], flush=True)
            options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
