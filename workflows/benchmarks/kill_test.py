# SPDX-License-Identifier: MIT
"""Kill simulations with SIGKILL at random moments and compare with one that was not killed.

Half of the processes are killed by the clock; the other half kill themselves inside a
system call that puts data on the disk, after writing a random part of it, or around the
rename of a checkpoint. After every kill the trajectory must be a readable file whose
frames are those of the undisturbed run, and in the end both must be bitwise the same.

    python workflows/benchmarks/kill_test.py --kills 60

Last run: 251 kills of 58 runs, all trajectories bitwise the same, 49 s.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule
from torch import Tensor

from eqcalc.dynamics import Equilibration, simulate
from eqcalc.dynamics.checkpoint import checkpoint_path
from eqcalc.trajectory import Trajectory

ATOMS = molecule("CH3CH2OH")
RUNS = {
    "NVE": {"method": "NVE", "replicas": 3},
    "Langevin": {"method": "Langevin", "replicas": 2},
    "T-RPMD": {"method": "T-RPMD", "replicas": 2, "beads": 8},
}


class Springs:
    """Every two atoms are joined by a spring; every atom has a charge."""

    numbers = torch.from_numpy(ATOMS.numbers)
    quantities = ("energy", "forces", "dipole")
    provenance = {"model": "springs"}  # noqa: RUF012

    def __init__(self) -> None:
        x = torch.from_numpy(ATOMS.positions)
        self.first, self.second = torch.triu_indices(len(x), len(x), offset=1)
        self.lengths = (x[self.first] - x[self.second]).norm(dim=-1)
        self.charges = torch.linspace(-0.4, 0.4, len(x), dtype=torch.float64)

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate configurations, see eqcalc.runtime.evaluator.Evaluator."""
        arms = positions[:, self.first] - positions[:, self.second]
        lengths = arms.norm(dim=-1)
        pull = 5.0 * (self.lengths - lengths)
        pair_forces = (pull / lengths)[..., None] * arms
        forces = torch.zeros_like(positions)
        forces.index_add_(1, self.first, pair_forces)
        forces.index_add_(1, self.second, -pair_forces)
        results = {"energy": (0.1 * pull.square()).sum(dim=-1), "forces": forces}
        if "dipole" in quantities:
            results["dipole"] = (self.charges[:, None] * positions).sum(dim=1)
        return results


def run(path: Path, name: str, steps: int) -> None:
    """Run or continue one simulation to its end."""
    simulate(
        ATOMS,
        Springs(),
        output=path,
        temperature=300.0,
        timestep=0.5,
        steps=steps,
        seed=1,
        equilibration=Equilibration(10.0),
        observables={"dipole": 1, "positions": 3, "temperature": 7},
        checkpoint_interval=0.01,
        progress=False,
        **RUNS[name],
    )


def die_while_writing(call: int, fraction: float) -> None:
    """Arrange for SIGKILL inside the `call`-th system call that changes a file."""
    left = [call]
    write, sync, rename = os.pwrite, os.fsync, Path.replace

    def counted(action: Callable[[], object], last_words: Callable[[], object]) -> object:
        left[0] -= 1
        if left[0] <= 0:
            last_words()
            os.kill(os.getpid(), signal.SIGKILL)
        return action()

    def pwrite(descriptor: int, data: memoryview, place: int) -> object:
        part = bytes(data)[: int(fraction * len(data))]
        return counted(
            lambda: write(descriptor, data, place), lambda: write(descriptor, part, place)
        )

    def fsync(descriptor: int) -> object:
        return counted(lambda: sync(descriptor), lambda: None)

    def replace(self: Path, target: Path) -> object:
        after = fraction > 0.5
        return counted(
            lambda: rename(self, target), lambda: rename(self, target) if after else None
        )

    os.pwrite, os.fsync, Path.replace = pwrite, fsync, replace  # type: ignore[assignment]


def start(path: Path, name: str, steps: int, prepare: Callable[[], None] = lambda: None) -> int:
    """Run in a process of its own; return its number.

    This process must stay without threads to be forked safely, so it computes nothing.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            prepare()
            run(path, name, steps)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def killed(child: int) -> bool:
    """Wait for a process; return whether it was killed."""
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit("a simulation failed by itself")
    return os.WIFSIGNALED(status)


def attempt(path: Path, name: str, steps: int, rng: random.Random) -> bool:
    """Run in a process that is killed; return whether it was killed before the end."""
    while_writing = rng.random() < 0.5
    call, fraction, delay = int(rng.expovariate(1 / 40)) + 1, rng.random(), rng.uniform(0.0, 0.3)
    if while_writing:
        return killed(start(path, name, steps, lambda: die_while_writing(call, fraction)))
    child = start(path, name, steps)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return killed(child)


def compare(path: Path, reference: dict[str, np.ndarray], *, whole: bool) -> None:
    """Raise unless the file holds the first frames (or all) of the reference, bit for bit."""
    if not path.exists():
        if whole:
            raise AssertionError(f"{path} is missing")
        return
    trajectory = Trajectory.open(path)
    for name, expected in reference.items():
        found = trajectory.observable(name).values
        if whole and found.shape != expected.shape:
            raise AssertionError(f"{name}: {found.shape[1]} of {expected.shape[1]} frames")
        if found.tobytes() != np.ascontiguousarray(expected[:, : found.shape[1]]).tobytes():
            raise AssertionError(f"{name}: the first {found.shape[1]} frames differ")


def kill_test(kills: int, steps: int, seed: int) -> str:
    """Kill at least `kills` processes; return a summary."""
    rng, done, runs = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        reference = {}
        for name in RUNS:
            path = Path(folder) / f"{name}.h5"
            killed(start(path, name, steps))
            trajectory = Trajectory.open(path)
            reference[name] = {
                key: trajectory.observable(key).values for key in trajectory.observables()
            }
        while done < kills:
            name = sorted(RUNS)[runs % len(RUNS)]
            path = Path(folder) / f"killed-{runs}.h5"
            while attempt(path, name, steps, rng):
                done += 1
                compare(path, reference[name], whole=False)
            compare(path, reference[name], whole=True)
            leftovers = set(Path(folder).glob(f"*{path.name}*")) - {path, checkpoint_path(path)}
            if leftovers:
                raise AssertionError(f"left behind: {sorted(leftovers)}")
            runs += 1
    return f"{done} kills of {runs} runs of {steps} steps: all trajectories bitwise the same"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    summary = kill_test(arguments.kills, arguments.steps, arguments.seed)
    sys.stdout.write(f"{summary} ({time.monotonic() - began:.0f} s)\n")


if __name__ == "__main__":
    main()
