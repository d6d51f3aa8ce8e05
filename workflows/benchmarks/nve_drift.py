# SPDX-License-Identifier: MIT
"""Energy drift of constant-energy dynamics of ethanol, by default with the shipped model.

    OMP_NUM_THREADS=1 python workflows/benchmarks/nve_drift.py

For precisions of the network and time steps: slope of the total energy (mean and
standard error over replicas), and its root-mean-square fluctuation, which is the Δt²
error of velocity Verlet and no drift. What rounding of forces adds is a random walk: it
shows in the fluctuation and in the error of the slope before it shows in the slope. On a
CPU tf32 and bf16 are imitated, so they are slow there.
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
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.models.precision import PRECISIONS, in_precision
from eqcalc.runtime import evaluator_for, keep_freed_memory


def drift(
    model: Path,
    precision: str,
    timestep: float,
    duration: float,
    replicas: int,
    temperature: float,
) -> tuple[float, float, float]:
    """Return slope and its error [meV/atom/ns], and fluctuation [meV/atom]."""
    atoms = molecule("CH3CH2OH")
    potential = in_precision(load_model(model), precision)
    with tempfile.TemporaryDirectory() as folder:
        trajectory = simulate(
            atoms,
            evaluator_for(potential, torch.tensor(atoms.numbers)),
            output=Path(folder) / "nve.h5",
            method="NVE",
            temperature=temperature,
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
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--timesteps", nargs="+", type=float, default=[0.5, 0.25], help="fs")
    parser.add_argument("--model", type=Path, default=shipped_model("ethanol"))
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    sys.stdout.write("network  step/fs  drift/(meV/atom/ns)  fluctuation/(meV/atom)\n")
    for precision in arguments.precisions:
        for timestep in arguments.timesteps:
            slope, error, noise = drift(
                arguments.model,
                precision,
                timestep,
                arguments.duration,
                arguments.replicas,
                arguments.temperature,
            )
            sys.stdout.write(
                f"{precision}  {timestep:7.2f}  {slope:+9.3f} ± {error:.3f}  {noise:18.4f}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
