# SPDX-License-Identifier: MIT
"""Labels and dynamics on workers of two hosts, of which one is killed and others are added.

The hosts are network namespaces joined by a virtual cable, which needs root on Linux. The first
has the Dask scheduler and a worker, the second another worker, which is killed with SIGKILL while
it works, as is its nanny; then a third is started there. Labels and trajectory must be those of a
run in one process.

    OMP_NUM_THREADS=1 python workflows/cluster/lost_workers.py --output lost_workers.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import eqcalc
from eqcalc.datasets import Dataset
from eqcalc.trajectory import Trajectory

sys.path.insert(0, str(Path(__file__).parents[1] / "ipi"))
from two_hosts import ADDRESSES, MOLECULE, two_hosts, wait_until

PORT = 8786
SCHEDULER = f"tcp://{ADDRESSES[0]}:{PORT}"
#: Longest wait for anything [s].
PATIENCE = 900.0

#: What is run, by the file that it makes.
COMMANDS: dict[str, list[Any]] = {
    "labels.h5": [
        *("label", MOLECULE, "labels.h5", "--method", "gfn2", "--structures", 60, "--seed", 3),
        *("--quantities", "energy", "forces", "dipole", "polarizability"),
    ],
    "run.h5": [
        *("simulate", "ethanol", MOLECULE, "--output", "run.h5", "--method", "T-RPMD"),
        *("--beads", 8, "--replicas", 24, "--time", 0.5, "--equilibration", 50, "--seed", 5),
    ],
}


def arguments(name: str) -> list[str]:
    """Return the command that makes a file."""
    return [sys.executable, "-m", "eqcalc", *map(str, COMMANDS[name]), "--quiet"]


def disturbed(name: str, folder: Path) -> dict[str, Any]:
    """Run a command on workers that come and go; return what happened."""
    with two_hosts() as hosts:
        started: list[subprocess.Popen[bytes]] = []

        def start(host: int, log: str, *words: str) -> subprocess.Popen[bytes]:
            with (folder / f"{name}-{log}.log").open("wb") as stream:
                process = subprocess.Popen(
                    ["ip", "netns", "exec", hosts[host], *words],
                    cwd=folder,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            started.append(process)
            return process

        def worker(host: int, log: str) -> subprocess.Popen[bytes]:
            return start(
                *(host, log, "dask", "worker", SCHEDULER, "--nthreads", "1"),
                *("--host", ADDRESSES[host], "--local-directory", str(folder / log)),
            )

        try:
            start(0, "scheduler", "dask", "scheduler", "--host", ADDRESSES[0], "--no-dashboard")
            worker(0, "worker-0")
            second = worker(1, "worker-1")
            command = start(0, "command", *arguments(name), "--scheduler", SCHEDULER)
            began = time.monotonic()
            wait_until(lambda: is_under_way(name, folder), command)
            killed_after = time.monotonic() - began
            before = progress_of(name, folder)
            os.killpg(second.pid, signal.SIGKILL)
            wait_until(lambda: progress_of(name, folder) > before, command)
            worker(1, "worker-2")
            status = command.wait(PATIENCE)
            seconds = time.monotonic() - began
        finally:
            for process in started:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if status != 0:
        raise RuntimeError((folder / f"{name}-command.log").read_text())
    log = (folder / f"{name}-worker-2.log").read_text()
    return {
        "command": " ".join(str(word) for word in COMMANDS[name]),
        "killed_after_s": round(killed_after, 1),
        "done_when_killed": before,
        "third_worker_registered": "Registered to" in log,
        "seconds": round(seconds, 1),
    }


def progress_of(name: str, folder: Path) -> int:
    """Return the number of labels, or of frames of all replicas, that are written."""
    if name == "labels.h5":
        journal = folder / "labels.h5.journal"
        return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0
    parts = (folder / "run.h5.shards").glob("[0-9]*.h5")
    return sum(Trajectory.open(path).n_frames("dipole") for path in parts)


def is_under_way(name: str, folder: Path) -> bool:
    """Return whether both workers are busy with tasks that count."""
    return progress_of(name, folder) > (10 if name == "labels.h5" else 300)


def largest_difference(name: str, one: Path, other: Path) -> dict[str, float]:
    """Return the largest difference of each quantity of two files, 0 if they are equal."""
    if name == "labels.h5":
        pairs = list(zip(Dataset.open(one / name), Dataset.open(other / name), strict=True))
        moved = max(float(np.abs(a.positions - b.positions).max()) for a, b in pairs)
        return {"positions": moved} | {
            key: max(float(np.abs(a.labels[key] - b.labels[key]).max()) for a, b in pairs)
            for key in pairs[0][0].labels
        }
    first, second = Trajectory.open(one / name), Trajectory.open(other / name)
    return {
        key: float(np.abs(first.observable(key).values - second.observable(key).values).max())
        for key in first.observables()
    }


def main() -> None:
    """Run both commands undisturbed and disturbed, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="result (.json)")
    output = parser.parse_args().output
    result: dict[str, Any] = {
        "eqcalc": eqcalc.__version__,
        "distributed": version("distributed"),
        "machine": platform.processor() or platform.machine(),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folders = Path(temporary) / "undisturbed", Path(temporary) / "disturbed"
        for folder in folders:
            folder.mkdir()
        for name in COMMANDS:
            subprocess.run(arguments(name), check=True, cwd=folders[0])
            found = disturbed(name, folders[1])
            found["largest_difference"] = largest_difference(name, *folders)
            result[name] = found
            print(json.dumps(found, indent=1), flush=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    if any(max(result[name]["largest_difference"].values()) > 0.0 for name in COMMANDS):
        sys.exit("results differ")


if __name__ == "__main__":
    main()
