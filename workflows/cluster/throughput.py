# SPDX-License-Identifier: MIT
"""Labels per second against the number of workers, on the cores of this machine.

Command: ``OMP_NUM_THREADS=1 python workflows/cluster/throughput.py --output throughput.json``
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.build import molecule
from distributed import LocalCluster

from eqcalc.labelling import label
from eqcalc.labelling.gfn2 import GFN2


def main() -> None:
    """Label the same structures with each number of workers, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--structures", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True, help="result (.json)")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    structures = [molecule("C6H6") for _ in range(options.structures)]
    for atoms in structures:
        atoms.positions += rng.normal(scale=0.03, size=atoms.positions.shape)
    seconds: dict[int, list[float]] = {n: [] for n in options.workers}
    clusters = {
        n: LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=None, silence_logs=50)
        for n in options.workers
    }
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds + 1):
            for n, cluster in clusters.items():
                target = Path(folder) / f"{turn}-{n}.h5"
                began = time.perf_counter()
                label(
                    *(structures, GFN2(), target),
                    quantities=("energy", "forces", "dipole", "polarizability"),
                    processes=cluster.scheduler_address,
                    progress=False,
                )
                if turn:  # in the first one workers load the program
                    seconds[n].append(time.perf_counter() - began)
    for cluster in clusters.values():
        cluster.close()
    result = {
        "structures": options.structures,
        "labels_per_second": {
            str(n): round(options.structures / statistics.median(times), 2)
            for n, times in seconds.items()
        },
        "seconds": {str(n): [round(t, 2) for t in times] for n, times in seconds.items()},
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
