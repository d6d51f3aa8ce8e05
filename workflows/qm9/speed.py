# SPDX-License-Identifier: MIT
"""Time of one prediction of 50 molecules of QM9 for every network.

    export OMP_NUM_THREADS=1
    python workflows/qm9/speed.py data/qm9/subset.h5 --output workflows/qm9/results

All networks have the size of their papers and random parameters, and run as written,
operation by operation, without gradients. CPU times are medians of interleaved calls; on a
GPU (``--device cuda``) they are wall times between synchronisations. The PaiNN paper gives
13 ms for PaiNN and 45 ms for DimeNet++ on a GPU it does not name.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eqcalc.datasets import Dataset
from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.models.networks.cormorant import CormorantConfig
from eqcalc.models.networks.dimenet import DimeNetConfig
from eqcalc.models.networks.irreps_gcn import IrrepsGCNConfig
from eqcalc.models.networks.lnet import VARIANTS
from eqcalc.models.networks.schnet import SchNetConfig
from eqcalc.training.data import Batches
from eqcalc.training.sweeps import how_made

NETWORKS: dict[str, Any] = {
    "PaiNN": PaiNNConfig(),
    "SchNet": SchNetConfig(),
    **{name: VARIANTS[name] for name in ("L1Net", "L0Net", "L0Net Deep")},
    "Irreps [0,1,2]": IrrepsGCNConfig(),
    "Irreps [0..4]": IrrepsGCNConfig(degrees=(0, 1, 2, 3, 4), multiplicity=16),
    "Cormorant": CormorantConfig(),
    "DimeNet++": DimeNetConfig(),
}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    dataset = Dataset.open(options.dataset)
    rows = np.sort(np.random.default_rng(0).permutation(len(dataset))[:50])
    device = torch.device(options.device)

    cases = {}
    for name, config in NETWORKS.items():
        torch.manual_seed(0)
        settings = PotentialConfig(config, ("internal_energy_0K",))
        potential = Potential(settings, References(dataset.elements)).to(device).eval()
        cases[name] = (potential, Batches(dataset, (), config.cutoff)[rows].to(device))

    def seconds(name: str) -> float:
        potential, batch = cases[name]
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        start = clock()
        with torch.no_grad():
            potential(batch.structures, batch.pairs)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - start

    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.repeats + 2):
        for name, values in times.items():
            values.append(seconds(name))
    clock = "CPU" if device.type == "cpu" else "wall"
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"speed-{device.type}.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        stream.write(f"# {how_made(device)}; float32, {clock} time\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["network", "parameters", "pairs", "ms per 50 molecules", "fastest"])
        for name, (potential, batch) in cases.items():
            values = sorted(1e3 * value for value in times[name][2:])
            row = [
                name,
                sum(parameter.numel() for parameter in potential.parameters()),
                len(batch.pairs.receiver),
                f"{statistics.median(values):.1f}",
                f"{values[0]:.1f}",
            ]
            writer.writerow(row)
            print(*row, sep="\t")


if __name__ == "__main__":
    main()
