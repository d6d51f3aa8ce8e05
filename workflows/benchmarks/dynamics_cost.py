# SPDX-License-Identifier: MIT
"""CPU time of a step of dynamics, and how much of it is not the model.

    OMP_NUM_THREADS=1 python workflows/benchmarks/dynamics_cost.py

Ethanol with the shipped model, one replica, default output (dipole and polarizability
every fs), NVE for one bead and T-RPMD for more. The model alone is timed inside the same
run, so that both see the same load; start and end of a run (25 ms) are subtracted.

Measured on one core shared with other work (load 3), compiled kernels, CPU ms per step:

=====  =====  =====  ========
beads  model  rest   rest/all
=====  =====  =====  ========
1      0.45   0.12   20 %
16     4.70   0.45   8.7 %
64     18.1   0.80   4.2 %
=====  =====  =====  ========

With an evaluator that costs nothing the rest is 0.05, 0.21 and 0.35 ms: the network takes
the caches.
"""

from __future__ import annotations

import argparse
import statistics
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
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.runtime import Evaluator, evaluator_for, keep_freed_memory


class Timed:
    """An evaluator that adds up the CPU time spent in it."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.numbers = evaluator.numbers
        self.quantities = evaluator.quantities
        self.provenance: dict[str, Any] = evaluator.provenance
        self.seconds = 0.0

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate, see eqcalc.runtime.evaluator.Evaluator."""
        start = time.process_time()
        results = self.evaluator(positions, quantities)
        self.seconds += time.process_time() - start
        return results


def run(evaluator: Timed, beads: int, steps: int) -> tuple[float, float]:
    """Return the CPU seconds of a simulation, and those of the model in it."""
    with tempfile.TemporaryDirectory() as folder:
        evaluator.seconds, start = 0.0, time.process_time()
        simulate(
            molecule("CH3CH2OH"),
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
        return time.process_time() - start, evaluator.seconds


def measure(evaluator: Timed, beads: int, steps: int) -> tuple[float, float]:
    """Return CPU ms per step of model and rest: a long run less a short one."""
    short, long = run(evaluator, beads, steps), run(evaluator, beads, 3 * steps)
    total, model = (1e3 * (b - a) / (2 * steps) for a, b in zip(short, long, strict=True))
    return model, total - model


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beads", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--model-calls", type=int, default=4000, help="per number of beads")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    atoms = molecule("CH3CH2OH")
    potential = load_model(shipped_model("ethanol"), dtype=torch.float32)
    evaluator = Timed(evaluator_for(potential, torch.tensor(atoms.numbers)))
    sys.stdout.write("beads  model/ms  rest/ms  rest/all\n")
    for beads in arguments.beads:
        run(evaluator, beads, 20)
        steps = max(20, arguments.model_calls // beads)
        found = [measure(evaluator, beads, steps) for _ in range(arguments.repeats)]
        model, rest = (statistics.median(column) for column in zip(*found, strict=True))
        share = 100.0 * rest / (model + rest)
        sys.stdout.write(f"{beads:5d} {model:9.2f} {rest:8.3f} {share:7.1f} %\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
