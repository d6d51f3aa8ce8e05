# SPDX-License-Identifier: MIT
"""Time this version beside another checkout of eqcalc, in turn, in one run.

    git worktree add ../eqcalc-0.1 v0.1.0
    OMP_NUM_THREADS=1 python workflows/benchmarks/beside_another_version.py ../eqcalc-0.1

Each version runs in a process of its own and is asked for one row after the other, in
alternating order; what is compared is CPU time. The rows use nothing but what both versions
have: the public face and ``evaluator_for``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rows() -> dict[str, Callable[[], object]]:
    """Return what is timed, by its name."""
    import ase.io
    import numpy as np
    import torch

    from eqcalc import EqCalculator, infrared, load_model, raman, shipped_model, simulate
    from eqcalc.runtime import evaluator_for

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    ethanol = ase.io.read(ROOT / "workflows/ethanol/ethanol.xyz")
    evaluator = evaluator_for(load_model(shipped_model()), torch.tensor(ethanol.numbers))
    batches = {
        n: torch.tensor(ethanol.positions + 0.03 * rng.normal(size=(n, 9, 3))) for n in (1, 50)
    }
    called = ethanol.copy()
    called.calc = EqCalculator(shipped_model())
    dipole = 1e-3 * np.cumsum(rng.normal(size=(1, 200_000, 3)), axis=1)
    tensor = 1e-3 * np.cumsum(rng.normal(size=(1, 200_000, 3, 3)), axis=1)
    series = {"interval": 0.5, "temperature": 300.0, "method": "NVE", "resolution": 10.0}
    folder = Path(tempfile.mkdtemp())

    def evaluate(n: int, repeats: int, *names: str) -> Callable[[], object]:
        return lambda: [evaluator(batches[n], ("energy", "forces", *names)) for _ in range(repeats)]

    def call() -> None:
        for _ in range(20):
            called.positions += 1e-4 * rng.normal(size=(9, 3))
            called.get_forces()

    def dynamics() -> None:
        for old in folder.iterdir():
            old.unlink()
        simulate(
            ethanol,
            evaluator,
            output=folder / "run.h5",
            method="T-RPMD",
            temperature=300.0,
            timestep=0.5,
            steps=60,
            replicas=2,
            beads=16,
            seed=1,
        )

    response = ("dipole", "polarizability")
    return {
        "40 × 1 molecule, E + F": evaluate(1, 40),
        "40 × 1 molecule, E + F + μ + α": evaluate(1, 40, *response),
        "3 × 50 molecules, E + F": evaluate(50, 3),
        "3 × 50 molecules, E + F + μ + α": evaluate(50, 3, *response),
        "20 calls of EqCalculator": call,
        "infrared, 200,000 frames": lambda: infrared(dipole, unit="e*Å", **series),
        "Raman, 200,000 frames": lambda: raman(
            tensor + tensor.swapaxes(-1, -2), unit="e^2*Å^2/eV", **series
        ),
        "simulate, T-RPMD, 2 × 16 beads, 60 steps": dynamics,
    }


def answer() -> None:
    """Time rows as they are asked for on standard input."""
    known = rows()
    for row in known.values():
        row()
    print(*(f"row {name}" for name in known), "ready", sep="\n", flush=True)
    for line in sys.stdin:
        begin = time.process_time()
        known[line.strip()]()
        print(f"seconds {time.process_time() - begin}", flush=True)


class Version:
    """A process with one version of eqcalc."""

    def __init__(self, checkout: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--answer", str(checkout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
        )
        #: Names of the rows.
        self.rows = [line[4:] for line in iter(self._line, "ready") if line.startswith("row ")]

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a version ended; run the row by hand with its checkout in PYTHONPATH")
        return line.strip()

    def seconds(self, row: str) -> float:
        """Return the CPU time of a row."""
        assert self._process.stdin is not None
        print(row, file=self._process.stdin, flush=True)
        while not (line := self._line()).startswith("seconds "):
            pass
        return float(line.split()[1])


def main() -> None:
    """Print the median CPU times of both versions and the median of their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="the other version")
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        return answer()
    other, this = Version(options.checkout), Version(ROOT)
    print("| row | other | this | this / other (quartiles) |\n|---|---|---|---|")
    for row in this.rows:
        pairs = []
        for pair in range(options.pairs):
            both = (other, this) if pair % 2 else (this, other)
            found = {version: version.seconds(row) for version in both}
            pairs.append((found[other], found[this]))
        first, middle, last = statistics.quantiles([b / a for a, b in pairs], n=4)
        a, b = (1e3 * statistics.median(values) for values in zip(*pairs, strict=True))
        print(f"| {row} | {a:.1f} ms | {b:.1f} ms | {middle:.3f} ({first:.3f} to {last:.3f}) |")
    return None


if __name__ == "__main__":
    main()
