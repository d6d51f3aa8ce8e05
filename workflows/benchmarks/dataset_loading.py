# SPDX-License-Identifier: MIT
"""How fast labelled molecules come out of a dataset, in shuffled batches.

Writes molecules of 3 to 29 atoms (18 on average, like QM9) with energies,
forces, dipoles and polarizabilities, and reads one shuffled epoch as
``Structures`` and labels, in this process and without any worker::

    python workflows/benchmarks/dataset_loading.py --molecules 100000

Measured on one core (AMD EPYC, 2 cores shared with other work, load above 3),
100,000 molecules, molecules per second in later epochs and time of a batch:

=========  ====================  =====================
batch      memory-mapped         compressed, in memory
=========  ====================  =====================
10          51,000 (0.20 ms)      53,000 (0.19 ms)
32         159,000 (0.20 ms)     115,000 (0.28 ms)
100        346,000 (0.29 ms)     260,000 (0.38 ms)
=========  ====================  =====================

A training step of PaiNN (energy, forces, dipole, polarizability; measured with
20,000 molecules under a load that halved the rates above) takes 226 ms for a batch
of 10 and 664 ms for one of 32 on that core: reading (0.4 ms) is 0.2 % of it at
most. A GPU was not measured; a step there would have to be shorter than 0.3 ms for
reading to be the bottleneck.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from eqcalc.datasets import Dataset, Record
from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.neighbors import pairs_within


def molecules(n: int, rng: np.random.Generator) -> Iterator[Record]:
    """Yield `n` random molecules with random labels."""
    for _ in range(n):
        count = int(np.clip(rng.normal(18.0, 3.0), 3, 29))
        yield Record(
            rng.choice([1, 6, 7, 8], size=count),
            rng.normal(size=(count, 3)),
            {
                "energy": rng.normal(),
                "forces": rng.normal(size=(count, 3)),
                "dipole": rng.normal(size=3),
                "polarizability": np.eye(3),
            },
        )


def epoch(dataset: Dataset, batch_size: int, rng: np.random.Generator) -> float:
    """Return the seconds one shuffled epoch takes."""
    order = rng.permutation(len(dataset))
    start = time.perf_counter()
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        dataset.structures(batch, dtype=torch.float32)
        dataset.labels(batch, dtype=torch.float32)
    return time.perf_counter() - start


def training_step(dataset: Dataset, batch_size: int, rng: np.random.Generator) -> float:
    """Return the seconds that PaiNN needs for a batch: outputs, forces, gradient of the loss."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = PotentialConfig(PaiNNConfig())
    potential = Potential(config, References(dataset.elements)).to(device)
    names = ("energy", "forces", "dipole", "polarizability")
    times = []
    for _ in range(4):
        batch = dataset.structures(
            rng.integers(0, len(dataset), batch_size), dtype=torch.float32
        ).to(device)
        start = time.perf_counter()
        pairs = pairs_within(batch, potential.cutoff)
        outputs = potential.evaluate(batch, pairs, names, create_graph=True)
        sum(output.square().mean() for output in outputs.values()).backward()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the reading of a dataset in batches.")
    parser.add_argument("--molecules", type=int, default=100_000)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[10, 32, 100])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for compressed in (False, True):
            start = time.perf_counter()
            dataset = Dataset.create(
                Path(folder) / f"{compressed}.h5",
                molecules(arguments.molecules, rng),
                level_of_theory="none",
                compressed=compressed,
            )
            written = time.perf_counter() - start
            kind = "compressed" if compressed else "memory-mapped"
            size = dataset.path.stat().st_size / 1e6
            print(f"{kind}: {len(dataset)} molecules, {size:.0f} MB, made in {written:.1f} s")
            for batch_size in arguments.batch_sizes:
                first = epoch(Dataset.open(dataset.path), batch_size, rng)
                again = min(epoch(dataset, batch_size, rng) for _ in range(3))
                print(
                    f"  batches of {batch_size:4d}: {len(dataset) / first:9.0f} molecules/s in the "
                    f"first epoch, {len(dataset) / again:9.0f} later "
                    f"({1e6 * again * batch_size / len(dataset):.0f} µs per batch)"
                )
        for batch_size in arguments.batch_sizes:
            step = training_step(dataset, batch_size, rng)
            print(f"training step of PaiNN, batch of {batch_size}: {1e3 * step:.1f} ms")


if __name__ == "__main__":
    main()
