# SPDX-License-Identifier: MIT
"""Runs of i-PI in processes of their own, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from ase.build import molecule

from eqcalc.ipi import ExitStatus, Strides, read_run, write_input
from eqcalc.models.checkpoint import save_model
from tests.conftest import make_potential

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
}
#: Longer than any run of these tests, on a machine that does ten other things too.
PATIENCE = 600.0
STRIDES = Strides(spectra=2, energies=2, centroid=4, beads=4, checkpoint=10)


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A small random model in float64, whose weak forces do not tear a molecule apart."""
    path = tmp_path_factory.mktemp("model") / "model.eqc"
    potential = make_potential(features=8, layers=1)
    potential.references.scales["energy"] = 0.02
    save_model(potential, path)
    return path


@pytest.fixture
def water():
    """Too heavy to fly apart within a test, for the model does not bind it."""
    atoms = molecule("H2O")
    atoms.set_masses(100.0 * atoms.get_masses())
    return atoms


@dataclass
class Process:
    """A command that runs in the background and is never left behind."""

    popen: subprocess.Popen
    log: Path

    def wait(self, timeout: float = PATIENCE) -> int:
        return self.popen.wait(timeout)

    def text(self) -> str:
        return self.log.read_text(errors="replace")


@pytest.fixture
def background():
    """Start commands; what still runs at the end of the test is killed."""
    started = []

    def start(*command, log: Path, cwd: Path | None = None) -> Process:
        with log.open("ab") as stream:
            popen = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env=ENVIRONMENT,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        started.append(popen)
        return Process(popen, log)

    yield start
    for popen in started:
        popen.kill()
        popen.wait()


@pytest.fixture
def eqcalc(background):
    """Start an ``eqcalc`` command in the background."""

    def start(*arguments, log: Path, **options) -> Process:
        return background(sys.executable, "-m", "eqcalc", *arguments, log=log, **options)

    return start


@pytest.fixture
def launch(eqcalc):
    """Start ``eqcalc ipi run`` in the background."""

    def start(path: Path, *, timeout: float = PATIENCE, **options) -> Process:
        return eqcalc(
            *("ipi", "run", path, "--timeout", timeout), log=path.with_suffix(".log"), **options
        )

    return start


@pytest.fixture
def prepare(tmp_path, model, water):
    """Write an input with small strides."""

    def write(name: str = "run", **options) -> Path:
        options = {
            "method": "PILE-L",
            "beads": 4,
            "steps": 40,
            "seed": 3,
            "strides": STRIDES,
            **options,
        }
        if not options.get("starts"):
            options.setdefault("atoms", water)
        return write_input(tmp_path / name / "input.xml", model, **options)

    return write


def finish(path: Path, launch):
    """Run i-PI to the end and return what it has written."""
    process = launch(path)
    assert process.wait() == ExitStatus.COMPLETE, process.text()
    trajectory = read_run(path.parent)
    assert trajectory.complete
    return trajectory


def wait_for(condition, timeout: float = PATIENCE) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def lines(path: Path) -> int:
    """Return how many records of a property file are on the disk."""
    if not path.exists():
        return 0
    return sum(not line.startswith("#") for line in path.read_text().splitlines())
