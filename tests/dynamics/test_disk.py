# SPDX-License-Identifier: MIT
"""A disk that fills up or turns read-only, and readers of a running simulation."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eqcalc.dynamics import simulate, simulation
from eqcalc.spectra import infrared
from eqcalc.trajectory import Trajectory
from tests.analytic import ToyWater

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def can_mount():
    """Whether a process may mount a file system of its own here."""
    if shutil.which("unshare") is None:
        return False
    command = [*NAMESPACE, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="this system does not let users mount")
def test_full_and_read_only_disks_cost_nothing_that_was_written(tmp_path):
    """A real file system without space, then read-only, then well again: bitwise the same."""
    script = ROOT / "tests" / "dynamics" / "small_disk.py"
    found = subprocess.run(
        [*NAMESPACE, sys.executable, script, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr


SPECTRUM = """
import sys
from eqcalc.spectra import infrared
from eqcalc.trajectory import Trajectory
trajectory = Trajectory.open(sys.argv[1])
spectrum = infrared(trajectory, lag=100.0)
print(trajectory.complete, trajectory.n_frames("dipole"))
print(*(float(value).hex() for value in spectrum.integrate(500.0, 4000.0)))
"""


@pytest.mark.slow
def test_another_process_computes_the_spectrum_of_a_running_simulation(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "_VISIBLE_AFTER", 0.0)
    path, printed = tmp_path / "run.h5", []

    class Watched(ToyWater):
        def __call__(self, positions, quantities):
            if len(self.calls) == 700:
                command = [sys.executable, "-c", SPECTRUM, str(path)]
                found = subprocess.run(
                    command, capture_output=True, text=True, check=True, env=ENVIRONMENT
                )
                printed.extend(found.stdout.split())
            return super().__call__(positions, quantities)

    simulate(
        ToyWater().atoms,
        Watched(),
        output=path,
        method="NVE",
        temperature=300.0,
        timestep=0.5,
        steps=1000,
        seed=3,
        replicas=4,
        observables={"dipole": 1},
        progress=False,
    )
    assert printed[:2] == ["False", "700"]  # steps 0 to 699
    dipole = Trajectory.open(path).observable("dipole")
    same = infrared(
        dipole.values[:, :700],
        interval=dipole.interval,
        unit=dipole.unit,
        temperature=300.0,
        method="NVE",
        timestep=0.5,
        lag=100.0,
    )
    expected = same.integrate(500.0, 4000.0)
    np.testing.assert_allclose([float.fromhex(word) for word in printed[2:]], expected, rtol=1e-9)
    assert expected[0] > 10.0
