# SPDX-License-Identifier: MIT
"""Serve i-PI from two hosts, kill clients with SIGKILL, and compare with a run left alone.

The hosts are network namespaces joined by a virtual cable, which needs root on Linux. The first
has i-PI and a client, the second another client; both clients connect over TCP and evaluate half
of the beads each. Clients are killed in turn while the run goes on and started again. The run must
end by itself with every record once, and the trajectory must be that of the undisturbed run.

    OMP_NUM_THREADS=1 python workflows/ipi/two_hosts.py --output two_hosts.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch

import eqcalc
from eqcalc import read_run
from eqcalc.dynamics import Equilibration
from eqcalc.ipi import Strides, TCPSocket, write_input
from eqcalc.ipi.description import Description
from eqcalc.models.checkpoint import shipped_model

MOLECULE = Path(__file__).parents[1] / "ethanol" / "ethanol.xyz"
ADDRESSES = ("10.123.7.1", "10.123.7.2")
PORT = 31415
BEADS = 8
STRIDES = Strides(spectra=1, energies=1, centroid=4, beads=4, checkpoint=10)
#: Largest difference of the trajectories, relative to the spread of each observable.
TOLERANCE = 1e-10
#: Longest wait for anything [s].
PATIENCE = 1800.0


@contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    """Make two network namespaces with a cable between them."""
    names = (f"eqcalc-{os.getpid()}-a", f"eqcalc-{os.getpid()}-b")

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    try:
        for name in names:
            ip("netns", "add", name)
        cable = ("link", "add", "cable", "netns", names[0], "type", "veth")
        ip(*cable, "peer", "name", "cable", "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


class Host:
    """Starts eqcalc commands on a host; they do not outlive it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, log: str, *arguments: Any) -> subprocess.Popen[bytes]:
        """Run ``eqcalc`` in the background, with this log."""
        command = ["ip", "netns", "exec", self.name, sys.executable, "-m", "eqcalc", *arguments]
        with (self.folder / log).open("ab") as stream:
            process = subprocess.Popen(
                [str(word) for word in command], stdout=stream, stderr=subprocess.STDOUT
            )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            process.kill()
            process.wait()


def prepare(folder: Path, steps: int) -> Path:
    """Write the input of a run, which starts from the same equilibrated beads every time."""
    return write_input(
        folder / "input.xml",
        shipped_model("ethanol"),
        method="T-RPMD",
        atoms=ase.io.read(MOLECULE),
        beads=BEADS,
        steps=steps,
        seed=5,
        strides=STRIDES,
        connection=TCPSocket(ADDRESSES[0], PORT, clients=2),
        equilibration=Equilibration(20.0),
    )


def simulate(folder: Path, steps: int, kills: int) -> dict[str, Any]:
    """Run i-PI with two clients, which are killed in turn; return what happened."""
    path = prepare(folder, steps)
    client = ("ipi", "client", shipped_model("ethanol"), "--host", ADDRESSES[0], "--port", PORT)
    with two_hosts() as names:
        hosts = [Host(name, folder) for name in names]
        try:
            clients = [
                host.start(f"client-{i}-0.log", *client, "--wait", PATIENCE)
                for i, host in enumerate(hosts)
            ]
            server = hosts[0].start("server.log", "ipi", "run", path)
            killed = []
            for count in range(kills):
                which = (count + 1) % 2  # the other host first
                wait_until(partial(is_connected, clients[which]), server)
                wait_until(partial(is_done, path, step_of(path) + 40), server)  # both have served
                clients[which].kill()
                clients[which].wait()
                killed.append({"host": which, "after_step": step_of(path)})
                log = f"client-{which}-{count + 1}.log"
                clients[which] = hosts[which].start(log, *client, "--wait", PATIENCE)
            status = server.wait(PATIENCE)
            ends = [process.wait(PATIENCE) for process in clients]
        finally:
            for host in hosts:
                host.end()
    if status != 0:
        raise RuntimeError((folder / "server.log").read_text())
    served = {
        log.stem: int(found[1])
        for log in sorted(folder.glob("client-*.log"))
        if (found := re.search(r"(\d+) structures in", log.read_text()))
    }
    if any(ends) or len(served) < 2:
        raise RuntimeError(f"clients ended with {ends} and served {served}")
    return {"kills": killed, "structures_by_surviving_client": served}


def step_of(path: Path) -> int:
    """Return the steps done at the last checkpoint."""
    checkpoint = path.with_name("simulation.checkpoint")
    return Description.read(checkpoint).step if checkpoint.exists() else 0


def is_done(path: Path, step: int) -> bool:
    """Return whether the last checkpoint is at this step or later."""
    return step_of(path) >= step


def is_connected(client: subprocess.Popen[bytes]) -> bool:
    """Return whether there is a connection to i-PI on the host of a client."""
    rows = [line.split() for line in Path(f"/proc/{client.pid}/net/tcp").read_text().splitlines()]
    return any(row[2].endswith(f":{PORT:04X}") and row[3] == "01" for row in rows[1:])


def wait_until(holds: Callable[[], bool], run: subprocess.Popen[bytes]) -> None:
    """Wait until something holds while a command runs."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if run.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the run has ended too early: make it longer, or kill less")
        time.sleep(0.05)


def steps_in(path: Path) -> list[int]:
    """Return the steps of the records of an output, as they are on the disk."""
    rows = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return [round(float(row.split()[0])) for row in rows]


def compare(disturbed: Path, alone: Path, steps: int) -> dict[str, Any]:
    """Return how much two runs differ; raise if a record is missing or there twice."""
    for folder in (disturbed, alone):
        for name in ("simulation.spectra", "simulation.energies"):
            if steps_in(folder / name) != list(range(steps + 1)):
                raise RuntimeError(f"{folder / name}: records are missing or there twice")
    one, other = read_run(disturbed), read_run(alone)
    differences = {}
    for name in other.observables():
        found, expected = one.observable(name).values, other.observable(name).values
        spread = float(np.ptp(expected))
        differences[name] = float(np.abs(found - expected).max()) / spread
    return {
        "frames": {name: other.n_frames(name) for name in other.observables()},
        "largest_relative_difference": differences,
        "bitwise_equal": sorted(name for name, value in differences.items() if value == 0.0),
    }


def main() -> None:
    """Run both and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--output", type=Path, help="result (.json)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="eqcalc-hosts-") as scratch:
        folders = Path(scratch) / "disturbed", Path(scratch) / "alone"
        happened = simulate(folders[0], options.steps, options.kills)
        undisturbed = simulate(folders[1], options.steps, 0)
        found = compare(*folders, options.steps)
    worst = max(found["largest_relative_difference"].values())
    result = {
        "versions": {
            "eqcalc": eqcalc.__version__,
            "ipi": version("ipi"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "steps": options.steps,
        "beads": BEADS,
        "disturbed": happened,
        "alone": undisturbed,
        **found,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n")
    if worst > TOLERANCE:
        raise SystemExit(f"the trajectories differ by {worst:.1e} of their spread")


if __name__ == "__main__":
    main()
