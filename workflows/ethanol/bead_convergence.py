# SPDX-License-Identifier: MIT
"""Quantum nuclei of ethanol at 300 K: convergence with the number of beads, and i-PI beside it.

    OMP_NUM_THREADS=1 python workflows/ethanol/bead_convergence.py --output runs/beads

For each number of beads the engine of eqcalc samples the ring polymer (PILE-L), and for
some of them i-PI does, with the same model and its own integrator. Printed are potential
energy, centroid-virial kinetic energy, and mean and width of the bonded O–H distance,
with standard errors from blocks; what both engines have is compared in units of the
error of the difference. ``bead_convergence.png`` shows the energies and the distribution
of all O–H distances. Everything goes on when it was interrupted.

With the defaults this is 450,000 evaluations of the model per row. The README beside this file
has a run with up to 64 beads.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import ase.io
import matplotlib as mpl
import numpy as np
import torch

from eqcalc import Trajectory, ipi, load_model, shipped_model, simulate
from eqcalc.dynamics import Equilibration
from eqcalc.runtime import evaluator_for, keep_freed_memory

mpl.use("Agg")
from matplotlib import pyplot as plt

TEMPERATURE = 300.0  # K
TIMESTEP = 0.25  # fs
EQUILIBRATION = 300.0  # fs
STRIDE = 20  # steps between samples
REPLICAS = 4
BLOCKS = 5  # of each replica
EDGES = np.linspace(0.7, 4.2, 176)  # Å
MOLECULE = Path(__file__).with_name("ethanol.xyz")


@dataclass(frozen=True)
class Result:
    """Means over blocks of time.

    Parameters
    ----------
    blocks
        By name, ``[n_blocks]``: energies relative to the minimum [eV], distances [Å].
    histogram
        Density of the distances of all O–H pairs, ``[n_bins]`` [1/Å].
    """

    blocks: dict[str, np.ndarray]
    histogram: np.ndarray

    def mean(self, name: str) -> float:
        """Return the mean over the blocks."""
        return float(self.blocks[name].mean())

    def error(self, name: str) -> float:
        """Return the standard error of the mean."""
        values = self.blocks[name]
        return float(values.std(ddof=1) / math.sqrt(len(values)))


NAMES = ("potential", "kinetic", "O–H mean", "O–H width")


def analyse(trajectories: list[Trajectory], skip: float, minimum: float) -> Result:
    """Average over everything after the first `skip` fs."""
    atoms = ase.io.read(MOLECULE)
    oxygen = int(np.flatnonzero(atoms.numbers == 8)[0])
    hydrogens = np.flatnonzero(atoms.numbers == 1)
    bonded = int(np.argmin(atoms.get_distances(oxygen, hydrogens)))
    blocks: dict[str, list[float]] = {name: [] for name in NAMES}
    counts = np.zeros(len(EDGES) - 1)
    for trajectory in trajectories:
        series = [
            trajectory.observable(name)
            for name in ("potential_energy", "kinetic_energy_virial", "bead_positions")
        ]
        first = math.ceil(skip / series[0].interval)
        for replica in range(trajectory.n_replicas):
            parts = [np.array_split(s.values[replica, first:], BLOCKS) for s in series]
            for potential, kinetic, beads in zip(*parts, strict=True):
                arms = beads[:, :, hydrogens] - beads[:, :, oxygen, None]
                distances = np.linalg.norm(arms, axis=-1)
                counts += np.histogram(distances, EDGES)[0]
                values = (
                    potential.mean() - minimum,
                    kinetic.mean(),
                    distances[..., bonded].mean(),
                    distances[..., bonded].std(),
                )
                for name, value in zip(NAMES, values, strict=True):
                    blocks[name].append(float(value))
    density = len(hydrogens) * counts / counts.sum() / np.diff(EDGES)
    return Result({name: np.array(values) for name, values in blocks.items()}, density)


def with_eqcalc(folder: Path, model: Path, beads: int, steps: int) -> list[Trajectory]:
    """Sample with the engine of eqcalc, all replicas in one call."""
    atoms = ase.io.read(MOLECULE)
    evaluator = evaluator_for(load_model(model), torch.tensor(atoms.numbers))
    return [
        simulate(
            atoms,
            evaluator,
            output=folder / f"eqcalc-{beads}.h5",
            method="PILE-L" if beads > 1 else "Langevin",
            temperature=TEMPERATURE,
            timestep=TIMESTEP,
            steps=steps,
            seed=1,
            replicas=REPLICAS,
            beads=beads,
            equilibration=Equilibration(EQUILIBRATION),
            translation="none",
            observables=dict.fromkeys(
                ("potential_energy", "kinetic_energy_virial", "bead_positions", "temperature"),
                STRIDE,
            ),
        )
    ]


def with_ipi(folder: Path, model: Path, beads: int, steps: int) -> list[Trajectory]:
    """Sample with i-PI, one run for each replica."""
    total = steps + round(EQUILIBRATION / TIMESTEP)
    runs = []
    for seed in range(1, REPLICAS + 1):
        where = folder / f"ipi-{beads}-{seed}"
        where.mkdir(exist_ok=True)
        source = where / "input.xml"
        if not source.exists():
            ipi.write_input(
                source,
                model,
                method="PILE-L",
                steps=total,
                atoms=ase.io.read(MOLECULE),
                temperature=TEMPERATURE,
                timestep=TIMESTEP,
                beads=beads,
                seed=seed,
                strides=ipi.Strides(spectra=0, energies=STRIDE, centroid=0, beads=STRIDE),
            )
        result = where / "trajectory.h5"
        if not result.exists():
            ipi.run(source)
            ipi.read_run(where, result)
        runs.append(Trajectory.open(result))
    return runs


def figure(path: Path, rows: dict[tuple[str, int], Result]) -> None:
    """Draw energies against beads, and the distributions of the distances."""
    canvas, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for engine, marker in (("eqcalc", "o"), ("i-PI", "x")):
        beads = sorted(p for name, p in rows if name == engine)
        for quantity, colour in (("potential", "C0"), ("kinetic", "C1")):
            found = [rows[engine, p] for p in beads]
            left.errorbar(
                beads,
                [result.mean(quantity) for result in found],
                [2.0 * result.error(quantity) for result in found],
                fmt=marker,
                color=colour,
                label=f"{quantity}, {engine}",
            )
    left.set_xscale("log", base=2)
    left.set(xlabel="beads", ylabel="energy / eV (± 2 standard errors)")
    left.legend()
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    for (engine, beads), result in rows.items():
        style = "-" if engine == "eqcalc" else "--"
        right.plot(centres, result.histogram, style, label=f"{engine}, P = {beads}")
    right.set(xlabel="O–H distance / Å", ylabel="density of pairs / Å⁻¹")
    right.legend()
    canvas.savefig(path, dpi=150)


def main() -> None:
    """Run everything that is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/beads"))
    parser.add_argument("--model", type=Path, default=shipped_model("ethanol"))
    parser.add_argument("--beads", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--ipi-beads", type=int, nargs="*", default=[16])
    parser.add_argument("--evaluations", type=int, default=450_000, help="of the model per row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    options.output.mkdir(parents=True, exist_ok=True)
    start = ase.io.read(MOLECULE)
    evaluator = evaluator_for(load_model(options.model), torch.tensor(start.numbers))
    minimum = float(evaluator(torch.from_numpy(start.positions)[None], ("energy",))["energy"])

    rows: dict[tuple[str, int], Result] = {}
    tasks = [("eqcalc", p) for p in options.beads] + [("i-PI", p) for p in options.ipi_beads]
    for engine, beads in tasks:
        steps = max(1, options.evaluations // (REPLICAS * beads) // STRIDE) * STRIDE
        run, skip = (with_eqcalc, 0.0) if engine == "eqcalc" else (with_ipi, EQUILIBRATION)
        found = run(options.output, options.model, beads, steps)
        rows[engine, beads] = analyse(found, skip, minimum)
    print(f"{'':15s}" + "".join(f"{name:>20s}" for name in NAMES))
    for (engine, beads), result in rows.items():
        cells = (f"{result.mean(n):11.4f} ± {result.error(n):.4f}" for n in NAMES)
        print(f"{engine:7s}{beads:4d}    " + "".join(f"{cell:>20s}" for cell in cells))
    for beads in options.ipi_beads:
        if ("eqcalc", beads) not in rows:
            continue
        ours, theirs = rows["eqcalc", beads], rows["i-PI", beads]
        sigmas = [
            (ours.mean(n) - theirs.mean(n)) / math.hypot(ours.error(n), theirs.error(n))
            for n in NAMES
        ]
        print(f"eqcalc − i-PI, {beads} beads, in standard errors: " + ", ".join(
            f"{name} {value:+.1f}" for name, value in zip(NAMES, sigmas, strict=True)
        ))  # fmt: skip
    figure(options.output / "bead_convergence.png", rows)


if __name__ == "__main__":
    main()
