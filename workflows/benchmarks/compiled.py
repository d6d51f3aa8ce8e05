# SPDX-License-Identifier: MIT
"""CPU time of the compiled execution beside the eager one, for every network.

    OMP_NUM_THREADS=1 python workflows/benchmarks/compiled.py

Energy, forces, dipole and polarizability of ethanol with networks of the papers' size, in
calls made in turn; the ratio is the median over neighbouring calls. "First start" is the
time to compile the programs for both batch sizes, "second start" that of finding them in the
cache and comparing them with the eager execution, in wall time and in CPU time (with that of
the C++ compiler).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import replace

import torch
from ase.build import molecule

from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.models.networks.cormorant import CormorantConfig
from eqcalc.models.networks.irreps_gcn import IrrepsGCNConfig
from eqcalc.models.networks.lnet import VARIANTS
from eqcalc.models.networks.schnet import SchNetConfig
from eqcalc.runtime import (
    ExecutionUnavailableError,
    MoleculeEvaluator,
    eager_evaluator,
    evaluator_for,
)

NETWORKS = {
    "SchNet": SchNetConfig(),
    "L1Net": VARIANTS["L1Net"],
    "irreps_gcn (radius)": replace(IrrepsGCNConfig(), graph="radius"),
    "Cormorant": CormorantConfig(),
    "PaiNN": PaiNNConfig(),
}
NAMES = ("energy", "forces", "dipole", "polarizability")


def started(potential: Potential, positions: torch.Tensor, batches: list[int]) -> MoleculeEvaluator:
    """Return an evaluator that has all programs, and print how long that took."""
    begin, cpu = time.perf_counter(), os.times()
    numbers = torch.from_numpy(molecule("CH3CH2OH").numbers)
    evaluator = evaluator_for(potential, numbers, execution="compiled")
    for n in batches:
        evaluator(positions[:n], NAMES)
    used = sum(after - before for after, before in zip(os.times()[:4], cpu[:4], strict=True))
    wall = time.perf_counter() - begin
    made = evaluator.execution.compilations
    print(f"  start: {made} compiled, {wall:.1f} s, {used:.1f} s of CPU time")
    return evaluator


def main() -> None:
    """Compile and time the networks asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    options = parser.parse_args()

    atoms = molecule("CH3CH2OH")
    noise = torch.randn(max(options.batches), 9, 3, generator=torch.Generator().manual_seed(1))
    positions = torch.from_numpy(atoms.positions) + 0.05 * noise.double()
    for name in options.networks:
        print(name, flush=True)
        torch.manual_seed(0)
        potential = Potential(PotentialConfig(NETWORKS[name]), References((1, 6, 8)))
        eager = eager_evaluator(potential, torch.from_numpy(atoms.numbers))
        try:
            started(potential, positions, options.batches)
        except ExecutionUnavailableError as reason:
            print(f"  {reason}", flush=True)
            continue
        compiled = started(potential, positions, options.batches)
        for n in options.batches:
            times: dict[str, list[float]] = {"eager": [], "compiled": []}
            begin = time.process_time()
            while time.process_time() - begin < options.seconds:
                for kind, evaluator in (("eager", eager), ("compiled", compiled)):
                    before = time.process_time()
                    evaluator(positions[:n], NAMES)
                    times[kind].append(1e3 * (time.process_time() - before))
            ratios = [e / c for e, c in zip(times["eager"], times["compiled"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(
                f"  {n} molecules: eager {statistics.median(times['eager']):.2f} ms, compiled "
                f"{statistics.median(times['compiled']):.2f} ms, "
                f"ratio {middle:.2f} ({low:.2f} to {high:.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
