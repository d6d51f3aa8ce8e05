# SPDX-License-Identifier: MIT
"""What infrared and Raman spectra cost: CPU time for 200,000 steps, memory for ten million.

    python workflows/benchmarks/spectra_cost.py

Medians of process CPU time of one thread, of series in memory, with and without
bootstrap errors; the memory is what is allocated beyond a series of ten million
frames, which itself has 240 MB.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import tracemalloc
from collections.abc import Callable
from statistics import median

import numpy as np

from eqcalc.spectra import infrared, raman

STEPS, FRAMES, REPEATS = 200_000, 10_000_000, 7
OPTIONS = {"interval": 0.5, "temperature": 300.0}


def cpu(function: Callable[[], object]) -> float:
    """Return the median CPU time of a call [s]."""
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return median(times)


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    dipole = rng.normal(size=(STEPS, 3)).cumsum(0)
    polarizability = rng.normal(size=(STEPS, 6)).cumsum(0)
    print(f"CPU seconds for {STEPS} steps, resolution 10 cm⁻¹")
    for label, errors in (("with errors", None), ("without", "none")):
        ir = cpu(lambda e=errors: infrared(dipole, unit="D", errors=e, **OPTIONS))
        ra = cpu(lambda e=errors: raman(polarizability, unit="Å^3", errors=e, **OPTIONS))
        print(f"  {label:<12} infrared {ir:.3f}, Raman {ra:.3f}")
    series = np.resize(rng.normal(size=(4096, 3)), (FRAMES, 3))
    tracemalloc.start()
    started = time.process_time()
    infrared(series, unit="D", **OPTIONS)
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    print(f"{FRAMES} frames: {peak / 1e6:.0f} MB beyond the series, {seconds:.1f} CPU s")


if __name__ == "__main__":
    main()
