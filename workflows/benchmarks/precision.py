# SPDX-License-Identifier: MIT
"""Errors that come from the precision of the network and from how it is executed.

    OMP_NUM_THREADS=1 python workflows/benchmarks/precision.py

The forces, dipoles and polarizabilities of every execution in float32 and float64
are compared with eager ones in float64, on the labelled structures of ethanol. The
drift of the energy in dynamics is measured by nve_drift.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from eqcalc import Dataset, load_model, shipped_model
from eqcalc.runtime import EXECUTIONS, EagerEvaluator, ExecutionUnavailableError

QUANTITIES = ("forces", "dipole", "polarizability")
DATA = Path(__file__).parents[2] / "data" / "ethanol" / "pbe0-def2tzvp.h5"


def root_mean_square(values: Tensor) -> float:
    """Return the root of the mean square."""
    return float(values.square().mean().sqrt())


def main() -> None:
    """Print a table of root-mean-square deviations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    dataset = Dataset.open(options.data)
    n = len(dataset)
    structures = dataset.structures(range(n))
    positions = structures.positions.reshape(n, -1, 3)
    numbers = structures.numbers[: positions.shape[1]]

    def evaluated(kind: type[EagerEvaluator], dtype: torch.dtype) -> dict[str, Tensor]:
        potential = load_model(shipped_model(), device=options.device, dtype=dtype)
        found = kind(potential, numbers)(positions, QUANTITIES)
        return {name: value.cpu() for name, value in found.items()}

    exact = evaluated(EagerEvaluator, torch.float64)
    print(f"{n} structures of {options.data.name}; RMS deviations")
    print("                     forces/(meV/Å)   μ/(e Å)   α/(e²Å²/eV)")
    for name, kind in EXECUTIONS.items():
        for dtype in (torch.float32, torch.float64):
            precision = str(dtype).removeprefix("torch.")
            try:
                found = evaluated(kind, dtype)
            except ExecutionUnavailableError as reason:
                print(f"{name:9} {precision:9}  {reason}")
                continue
            rms = [root_mean_square(found[q] - exact[q]) for q in QUANTITIES]
            print(f"{name:9} {precision:9}  {1e3 * rms[0]:14.1e} {rms[1]:9.1e} {rms[2]:13.1e}")


if __name__ == "__main__":
    main()
