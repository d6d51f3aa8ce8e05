# SPDX-License-Identifier: MIT
"""Cost of a model against the number of molecules, their size, and the size of a box of water.

    OMP_NUM_THREADS=1 python workflows/benchmarks/scaling.py --output scaling.png

PaiNN with 128 features and 3 layers in float32; energy and forces; median CPU
time of a call on a CPU, wall time on a GPU. Water is a lattice of distorted
molecules at 0.997 g/cm³; that the time is linear in the atoms is checked.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

import eqcalc
from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.runtime import EagerExecution, eager_evaluator, evaluator_for, execution_for
from eqcalc.runtime.verification import trial_positions
from eqcalc.structures import Structures

FORCES = ("energy", "forces")
#: Volume of a water molecule at 0.997 g/cm³ [Å³].
WATER_VOLUME = 30.0


def random_potential(device: str) -> Potential:
    """Return PaiNN 128 × 3 with random parameters for H, C and O."""
    torch.manual_seed(0)
    config = PotentialConfig(PaiNNConfig(), ("energy",))
    return Potential(config, References((1, 6, 8))).to(device)


def water(n_molecules: int) -> Atoms:
    """Return water molecules in random orientations on a lattice in a cubic box."""
    generator = np.random.default_rng(0)
    edge = (n_molecules * WATER_VOLUME) ** (1.0 / 3.0)
    per_edge = int(np.ceil(n_molecules ** (1.0 / 3.0) - 1e-9))
    box = Atoms(cell=[edge] * 3, pbc=True)
    for index in range(n_molecules):
        one = molecule("H2O")
        one.rotate(generator.uniform(0.0, 360.0), generator.normal(size=3), center="COM")
        site = np.array(np.unravel_index(index, (per_edge,) * 3)) * edge / per_edge
        one.translate(site - one.get_center_of_mass())
        box += one
    return box


def milliseconds(call: Callable[[], object], device: str, seconds: float) -> float:
    """Return the median time of a call."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    times: list[float] = []
    begin = time.perf_counter()
    call()
    while len(times) < 3 or (time.perf_counter() - begin < seconds and len(times) < 200):
        start = clock()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return 1e3 * float(np.median(times))


def batches(device: str, sizes: list[int], seconds: float) -> list[tuple[int, float, float]]:
    """Time batches of ethanol, with the chosen execution and the eager one."""
    potential, numbers = random_potential(device), torch.tensor(molecule("CH3CH2OH").numbers)
    fast, eager = evaluator_for(potential, numbers), eager_evaluator(potential, numbers)
    rows = []
    for n in sizes:
        positions = trial_positions(9, n).to(device)
        rows.append(
            (
                n,
                milliseconds(lambda x=positions: fast(x, FORCES), device, seconds),
                milliseconds(lambda x=positions: eager(x, FORCES), device, seconds),
            )
        )
    return rows


def molecules(device: str, sizes: list[int], seconds: float) -> list[tuple[int, float, float]]:
    """Time single molecules of growing size."""
    potential = random_potential(device)
    rows = []
    for n in sizes:
        numbers = torch.tensor([(1, 6, 8)[k % 3] for k in range(n)])
        positions = trial_positions(n, 1).to(device)
        fast, eager = evaluator_for(potential, numbers), eager_evaluator(potential, numbers)
        rows.append(
            (
                n,
                milliseconds(lambda f=fast, x=positions: f(x, FORCES), device, seconds),
                milliseconds(lambda f=eager, x=positions: f(x, FORCES), device, seconds),
            )
        )
    return rows


def boxes(device: str, sizes: list[int], seconds: float) -> list[tuple[int, float, float]]:
    """Time boxes of water, the neighbour list being kept."""
    potential = random_potential(device)
    fast, eager = execution_for(potential), EagerExecution(potential)
    rows = []
    for n in sizes:
        structures = Structures.from_atoms(water(n // 3), device=device)
        rows.append(
            (
                structures.n_atoms,
                milliseconds(lambda s=structures: fast.evaluate(s, FORCES), device, seconds),
                milliseconds(lambda s=structures: eager.evaluate(s, FORCES), device, seconds)
                if n <= 1000
                else float("nan"),
            )
        )
    return rows


def draw(tables: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """Draw all tables, both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(4.0 * len(tables), 3.6), layout="constrained")
    for axes, (title, rows) in zip(figure.subplots(1, len(tables)), tables.items(), strict=True):
        x, fast, eager = np.array(rows).T
        axes.loglog(x, fast, "o-", label="chosen by eqcalc")
        axes.loglog(x, eager, "s--", label="eager")
        axes.set(xlabel=title, ylabel="energy and forces / ms")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Print the tables and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    parser.add_argument("--largest-box", type=int, default=6000, help="atoms")
    parser.add_argument("--output", type=Path, help="figure")
    parser.add_argument("--json", type=Path, help="tables as numbers")
    options = parser.parse_args()
    device, seconds = options.device, options.seconds
    print(
        f"eqcalc {eqcalc.__version__}, torch {torch.__version__}, {device}, "
        f"{torch.get_num_threads()} thread, {platform.machine()}"
    )
    waters = [n for n in (192, 384, 768, 1536, 3000, 6000) if n <= options.largest_box]
    tables = {
        "molecules of ethanol": batches(device, [1, 2, 4, 8, 16, 64, 256], seconds),
        "atoms of one molecule": molecules(device, [2, 5, 10, 20, 50, 100, 200], seconds),
        "atoms of liquid water": boxes(device, waters, seconds),
    }
    for title, rows in tables.items():
        print(f"\n{title:>22} {'chosen ms':>10} {'eager ms':>10}")
        for n, fast, eager in rows:
            print(f"{n:22d} {fast:10.3f} {eager:10.3f}", flush=True)
    sizes, fast, _ = np.array(tables["atoms of liquid water"]).T
    slope = np.polyfit(np.log(sizes), np.log(fast), 1)[0]
    print(f"\nThe time of a box of water grows as the number of atoms to the power {slope:.2f}.")
    if options.output is not None:
        draw(tables, options.output)
    if options.json is not None:
        options.json.write_text(json.dumps({**tables, "power of atoms": slope}, indent=1))


if __name__ == "__main__":
    main()
