# SPDX-License-Identifier: MIT
"""Energy drift of constant-energy dynamics of ethanol with the shipped model.

    OMP_NUM_THREADS=1 python workflows/benchmarks/nve_drift.py

For network precisions and time steps: slope of the total energy (mean and standard
error over replicas), and its root-mean-square fluctuation, which is the Δt² error of
velocity Verlet and no drift.

Measured with 8 replicas of 3 ps: the same in both precisions, and nothing beyond two
standard errors.

=======  =======  ===================  ======================
network  step/fs  drift/(meV/atom/ns)  fluctuation/(meV/atom)
=======  =======  ===================  ======================
float32  0.50     −4.5 ± 2.4           0.091
float32  0.25     −0.2 ± 0.6           0.015
float64  0.50     −4.5 ± 2.6           0.092
float64  0.25     −0.3 ± 0.5           0.015
=======  =======  ===================  ======================
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule

from eqcalc.dynamics import Equilibration, simulate
from eqcalc.models.checkpoint import load_model
from eqcalc.runtime import evaluator_for
from eqcalc.runtime.memory import keep_freed_memory
from eqcalc.shipped import shipped_model


def drift(
    dtype: torch.dtype, timestep: float, duration: float, replicas: int
) -> tuple[float, float, float]:
    """Return slope and its error [meV/atom/ns], and fluctuation [meV/atom]."""
    atoms = molecule("CH3CH2OH")
    potential = load_model(shipped_model("ethanol"), dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        trajectory = simulate(
            atoms,
            evaluator_for(potential, torch.tensor(atoms.numbers)),
            output=Path(folder) / "nve.h5",
            method="NVE",
            temperature=300.0,
            timestep=timestep,
            steps=round(1000.0 * duration / timestep),
            seed=1,
            replicas=replicas,
            equilibration=Equilibration(300.0),
            observables={"conserved_energy": round(10.0 / timestep)},
            progress=False,
        )
        series = trajectory.observable("conserved_energy")
    energies = 1e3 * series.values / len(atoms)
    slopes = np.polyfit(series.times * 1e-6, energies.T, 1)[0]
    fluctuation = float(energies.std(axis=1).mean())
    return float(slopes.mean()), float(slopes.std(ddof=1) / np.sqrt(replicas)), fluctuation


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--duration", type=float, default=5.0, help="ps")
    parser.add_argument("--replicas", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    sys.stdout.write("network  step/fs  drift/(meV/atom/ns)  fluctuation/(meV/atom)\n")
    for dtype in (torch.float32, torch.float64):
        for timestep in (0.5, 0.25):
            slope, error, noise = drift(dtype, timestep, arguments.duration, arguments.replicas)
            name = str(dtype).removeprefix("torch.")
            sys.stdout.write(
                f"{name}  {timestep:7.2f}  {slope:+9.3f} ± {error:.3f}  {noise:18.4f}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
