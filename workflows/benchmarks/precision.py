# SPDX-License-Identifier: MIT
"""Errors that come from the precision of the network and from how it is executed.

    OMP_NUM_THREADS=1 python workflows/benchmarks/precision.py

The forces, dipoles and polarizabilities of every execution in every precision are
compared with eager ones in float64, and with the labels, on the structures that the
shipped model was not trained on. The drift of the energy in dynamics is measured by
nve_drift.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from eqcalc import Dataset, load_model, shipped_model
from eqcalc.models.precision import PRECISIONS, in_precision
from eqcalc.runtime import EXECUTIONS, EagerEvaluator, ExecutionUnavailableError
from eqcalc.training.config import DataConfig
from eqcalc.training.data import split_dataset

QUANTITIES = ("forces", "dipole", "polarizability")
DATA = Path(__file__).parents[2] / "data" / "ethanol" / "pbe0-def2tzvp.h5"


def root_mean_square(values: Tensor) -> float:
    """Return the root of the mean square."""
    return float(values.square().mean().sqrt())


def main() -> None:
    """Print root-mean-square deviations, and mean absolute errors of the forces."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    potential = load_model(shipped_model(), device=options.device)
    dataset = Dataset.open(options.data)
    division = DataConfig(**potential.metadata["training"]["config"]["data"])
    rows = split_dataset(dataset, division).test
    structures = dataset.structures(rows)
    positions = structures.positions.reshape(len(rows), -1, 3)
    numbers = structures.numbers[: positions.shape[1]]
    labels = dataset.labels(rows)[0]["forces"].reshape(positions.shape)

    def evaluated(kind: type[EagerEvaluator], precision: str) -> dict[str, Tensor]:
        found = kind(in_precision(potential, precision), numbers)(positions, QUANTITIES)
        return {name: value.cpu() for name, value in found.items()}

    exact = evaluated(EagerEvaluator, "float64")
    print(f"{len(rows)} structures of {options.data.name}, not used in training")
    print("                     RMS deviation from eager float64          MAE of forces,")
    print("                     forces/(meV/Å)   μ/(e Å)   α/(e²Å²/eV)  labels/(meV/Å)")
    for name, kind in EXECUTIONS.items():
        if name == "compiled":  # takes minutes for each; see compiled.py
            continue
        for precision in PRECISIONS:
            try:
                found = evaluated(kind, precision)
            except ExecutionUnavailableError as reason:
                print(f"{name:9} {precision:9}  {reason}")
                continue
            rms = [root_mean_square(found[q] - exact[q]) for q in QUANTITIES]
            error = 1e3 * float((found["forces"] - labels).abs().mean())
            print(
                f"{name:9} {precision:9}  {1e3 * rms[0]:14.1e} {rms[1]:9.1e} {rms[2]:13.1e} "
                f"{error:15.4f}"
            )


if __name__ == "__main__":
    main()
