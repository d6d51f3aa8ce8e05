# SPDX-License-Identifier: MIT
"""Simulations on a disk of 400 kB that fills up and turns read-only. Run by test_disk.py.

unshare --user --map-root-user --mount python tests/dynamics/small_disk.py FOLDER
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

from eqcalc.dynamics import simulate
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidFileError
from tests.analytic import ToyWater

STEPS = 1200


class Sabotage(ToyWater):
    """Water during whose evaluation something happens to the disk."""

    def __init__(self, call=0, action=None):
        super().__init__()
        self.provenance = {"model": "ToyWater"}
        self.call, self.action = call, action

    def __call__(self, positions, quantities):
        results = super().__call__(positions, quantities)
        if len(self.calls) == self.call:
            self.action()
        return results


def run(path, evaluator=None):
    return simulate(
        ToyWater().atoms,
        Sabotage() if evaluator is None else evaluator,
        output=path,
        method="Langevin",
        temperature=300.0,
        timestep=0.5,
        steps=STEPS,
        seed=3,
        replicas=2,
        observables={"dipole": 1, "positions": 4},
        checkpoint_interval=0.0,
        progress=False,
    )


def read(path):
    trajectory = Trajectory.open(path)
    return {name: trajectory.observable(name).values for name in trajectory.observables()}


def mount(folder, options):
    subprocess.run(["mount", *options, "tmpfs", str(folder)], check=True)


def failure(path, kinds, evaluator=None):
    try:
        run(path, evaluator)
    except kinds as error:
        return str(error)
    raise AssertionError("the simulation did not notice")


def same_so_far(path, whole, at_least):
    for name, values in read(path).items():
        frames = values.shape[1]
        assert frames >= at_least // (1 if name == "dipole" else 4), (name, frames)
        np.testing.assert_array_equal(values, whole[name][:, :frames])


def main(folder):
    mount(folder, ["-t", "tmpfs", "-o", "size=2M"])
    run(folder / "whole.h5")
    whole = read(folder / "whole.h5")
    for name in ("whole.h5", "whole.h5.checkpoint"):
        (folder / name).unlink()

    mount(folder, ["-o", "remount,size=400k"])
    path, filler = folder / "run.h5", folder / "filler"

    def fill():
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass

    message = failure(path, InvalidFileError, Sabotage(300, fill))
    assert "No space left on device" in message, message
    assert "readable" in message, message
    same_so_far(path, whole, 250)
    filler.unlink()

    mount(folder, ["-o", "remount,ro,size=400k"])
    for name in ("run.h5", "new.h5"):
        message = failure(folder / name, (OSError,))
        assert "Read-only file system" in message, message
    same_so_far(path, whole, 250)

    mount(folder, ["-o", "remount,rw,size=400k"])
    run(path)
    for name, values in read(path).items():
        np.testing.assert_array_equal(values, whole[name])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
