# SPDX-License-Identifier: MIT
"""CPU or GPU time, memory and file size of a step as the number of replicas grows.

    OMP_NUM_THREADS=1 python workflows/benchmarks/replica_scaling.py --output scaling.png

T-RPMD of ethanol with the shipped model and the default output. Each size runs in a
process of its own, whose peak memory (on a GPU, that of the device) is reported. On a CPU
time is CPU time, elsewhere time on the clock.

Measured with 4 beads on one core shared with other work, CPU ms:

========  ===========  ===========  =========
replicas  ms per step  per replica  memory/MB
========  ===========  ===========  =========
1         1.82         1.82         346
4         7.32         1.83         347
16        20.5         1.28         347
64        78.2         1.22         347
256       308          1.20         352
========  ===========  ===========  =========

The file grows by 35 bytes per step and replica: dipole and polarizability every fs (96
bytes per fs, whatever the number of beads), positions and velocities every 10 fs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib as mpl
import torch
from ase.build import molecule

from eqcalc import load_model, shipped_model, simulate
from eqcalc.runtime import evaluator_for

mpl.use("Agg")
from matplotlib import pyplot as plt


def measure(replicas: int, beads: int, device: str, calls: int) -> dict[str, float]:
    """Return ms per step, peak memory [MB] and bytes of the trajectory per step."""
    atoms = molecule("CH3CH2OH")
    potential = load_model(shipped_model("ethanol"), device=device)
    evaluator = evaluator_for(potential, torch.tensor(atoms.numbers))
    clock = time.process_time if device == "cpu" else time.perf_counter
    steps = max(12, calls // (replicas * beads))
    times, sizes = [], []
    with tempfile.TemporaryDirectory() as folder:
        for length in (4, steps, 3 * steps):
            path = Path(folder) / f"{length}.h5"
            start = clock()
            simulate(
                atoms,
                evaluator,
                output=path,
                method="T-RPMD" if beads > 1 else "NVE",
                temperature=300.0,
                timestep=0.25,
                steps=length,
                seed=1,
                replicas=replicas,
                beads=beads,
                progress=False,
            )
            times.append(clock() - start)
            sizes.append(path.stat().st_size)
    if device == "cpu":
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    else:
        memory = torch.cuda.max_memory_allocated() / 2.0**20
    return {
        "replicas": replicas,
        "ms per step": 1e3 * (times[2] - times[1]) / (2 * steps),
        "memory MB": memory,
        "bytes per step": (sizes[2] - sizes[1]) / (2 * steps),
    }


def figure(path: Path, rows: list[dict[str, float]], beads: int) -> None:
    """Draw time and memory against the number of replicas."""
    canvas, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    replicas = [row["replicas"] for row in rows]
    slope = rows[-1]["ms per step"] / replicas[-1]
    left.loglog(replicas, [row["ms per step"] for row in rows], "o-", label="measured")
    left.loglog(replicas, [slope * n for n in replicas], ":", label="proportional")
    left.set(xlabel=f"replicas of {beads} beads", ylabel="ms per step")
    left.legend()
    right.semilogx(replicas, [row["memory MB"] for row in rows], "o-")
    right.set(xlabel=f"replicas of {beads} beads", ylabel="peak memory / MB", ylim=(0, None))
    canvas.savefig(path, dpi=150)


def main() -> None:
    """Measure every size in a process of its own, print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--beads", type=int, default=4)
    parser.add_argument("--calls", type=int, default=2000, help="of the model, at least, per size")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=Path("replica_scaling.png"))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one is not None:
        result = measure(options.one, options.beads, options.device, options.calls)
        sys.stdout.write(json.dumps(result))
        return
    rows = []
    print("replicas  ms per step  per replica  memory/MB  bytes/step/replica")
    for replicas in options.replicas:
        command = [sys.executable, "-W", "ignore", __file__, "--one", str(replicas)]
        command += ["--beads", str(options.beads), "--calls", str(options.calls)]
        command += ["--device", options.device]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        row = json.loads(found)
        rows.append(row)
        print(
            f"{replicas:8d} {row['ms per step']:12.2f} {row['ms per step'] / replicas:12.3f} "
            f"{row['memory MB']:10.0f} {row['bytes per step'] / replicas:19.0f}",
            flush=True,
        )
    figure(options.output, rows, options.beads)


if __name__ == "__main__":
    main()
