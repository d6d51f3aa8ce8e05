# SPDX-License-Identifier: MIT
"""CPU time of a step of dynamics, and how much of it is not the model.

    OMP_NUM_THREADS=1 python workflows/benchmarks/dynamics_cost.py

Ethanol with the shipped model, one replica, default output (dipole and polarizability
every fs). The model alone is timed inside the same run, so that both see the same load.

Measured on one core of an AMD EPYC shared with other work (load above 4), eager model,
CPU ms per step: all the rest, including start and end of the run, is

=====  ====  =====  =====
beads  all   model  rest
=====  ====  =====  =====
1      4.01  3.85   0.15
16     20.6  20.0   0.54
64     77.6  76.7   0.94
=====  ====  =====  =====

Without start and end it is 0.06 ms for one bead and 0.28 ms for 64 with a thermostat.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from ase.build import molecule
from torch import Tensor

from eqcalc.dynamics import simulate
from eqcalc.models.checkpoint import load_model
from eqcalc.runtime import EagerEvaluator
from eqcalc.runtime.memory import keep_freed_memory
from eqcalc.shipped import shipped_model


class Timed:
    """An evaluator that adds up the CPU time spent in it."""

    def __init__(self, evaluator: EagerEvaluator) -> None:
        self.evaluator = evaluator
        self.numbers = evaluator.numbers
        self.provenance: dict[str, Any] = evaluator.provenance
        self.seconds = 0.0

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate, see eqcalc.runtime.evaluator.Evaluator."""
        start = time.process_time()
        results = self.evaluator(positions, quantities)
        self.seconds += time.process_time() - start
        return results


def measure(beads: int, steps: int) -> tuple[float, float, float]:
    """Return CPU ms per step: all, model, rest."""
    atoms = molecule("CH3CH2OH")
    potential = load_model(shipped_model("ethanol"), dtype=torch.float32)
    evaluator = Timed(EagerEvaluator(potential, torch.tensor(atoms.numbers)))
    evaluator(torch.from_numpy(atoms.positions)[None], ("energy", "forces"))
    with tempfile.TemporaryDirectory() as folder:
        evaluator.seconds, start = 0.0, time.process_time()
        simulate(
            atoms,
            evaluator,
            output=Path(folder) / "run.h5",
            method="T-RPMD" if beads > 1 else "NVE",
            temperature=300.0,
            timestep=0.25,
            steps=steps,
            seed=1,
            beads=beads,
            progress=False,
        )
        total = time.process_time() - start
    scale = 1e3 / (steps + 1)
    return total * scale, evaluator.seconds * scale, (total - evaluator.seconds) * scale


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beads", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--model-calls", type=int, default=4000, help="per number of beads")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    sys.stdout.write("beads  all/ms  model/ms  rest/ms  rest/all\n")
    for beads in arguments.beads:
        total, model, rest = measure(beads, max(50, arguments.model_calls // beads))
        sys.stdout.write(
            f"{beads:5d} {total:7.2f} {model:9.2f} {rest:8.3f} {100 * rest / total:7.1f} %\n"
        )


if __name__ == "__main__":
    main()
