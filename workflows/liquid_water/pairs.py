# SPDX-License-Identifier: MIT
"""Pair distribution functions g(r) of a run of water beside the measured first maximum of O–O.

    python workflows/liquid_water/pairs.py runs/liquid-water/run.h5 --output pairs.csv

Errors are standard errors of the mean of the replicas. Measured at 295 K: L. B. Skinner and
others, J. Chem. Phys. 138, 074506 (2013).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from eqcalc.trajectory import Trajectory

PAIRS = {"O-O": (8, 8), "O-H": (8, 1), "H-H": (1, 1)}
#: Position [Å] and height of the first maximum of g_OO, with their errors.
MEASURED = ((2.80, 0.01), (2.57, 0.05))


def pair_distribution(
    positions: np.ndarray, cell: np.ndarray, pair: tuple[np.ndarray, np.ndarray], edges: np.ndarray
) -> np.ndarray:
    """Return g(r) of two kinds of atoms in the bins between `edges`.

    Parameters
    ----------
    positions
        [n_frames, n_atoms, 3], Å.
    cell
        [3, 3], Å; orthogonal, and edges of the bins up to half of its shortest vector.
    pair
        Indices of the atoms of both kinds.
    edges
        [n + 1], Å.
    """
    lengths, (first, second) = np.diag(cell), pair
    counts = np.zeros(len(edges) - 1)
    for frame in positions:
        vectors = frame[first, None] - frame[None, second]
        distances = np.linalg.norm(vectors - lengths * np.round(vectors / lengths), axis=2)
        counts += np.histogram(distances[distances > 0.0], edges)[0]
    same = np.array_equal(first, second)
    n_pairs = len(first) * (len(second) - same) * len(positions)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    return counts / n_pairs * np.prod(lengths) / shells


def main() -> None:
    """Print the first maximum of O–O and write the functions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--every", type=float, default=20.0, help="time between frames [fs]")
    parser.add_argument("--output", type=Path, help="write the functions to this file (.csv)")
    options = parser.parse_args()
    run = Trajectory.open(options.run)
    series = run.observable("positions")
    numbers, cell = np.asarray(run.numbers), np.asarray(run.cell)
    step = max(1, round(options.every / series.interval))
    edges = np.linspace(0.8, 0.5 * np.diag(cell).min(), 91)
    radius = 0.5 * (edges[1:] + edges[:-1])
    table = {"r [A]": radius}
    for name, kinds in PAIRS.items():
        pair = tuple(np.flatnonzero(numbers == z) for z in kinds)
        each = [pair_distribution(p[::step], cell, pair, edges) for p in series.values]
        table[f"g {name}"] = np.mean(each, axis=0)
        table[f"error {name}"] = np.std(each, axis=0, ddof=1) / np.sqrt(len(each))
    first = np.flatnonzero(radius < 3.4)
    top = first[np.argmax(table["g O-O"][first])]
    (place, place_error), (height, height_error) = MEASURED
    print(
        f"first maximum of g_OO: {radius[top]:.2f} Å, "
        f"{table['g O-O'][top]:.2f} ± {table['error O-O'][top]:.2f}; "
        f"measured {place} ± {place_error} Å, {height} ± {height_error}"
    )
    if options.output is not None:
        with options.output.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(table)
            writer.writerows([f"{x:.4f}" for x in row] for row in zip(*table.values(), strict=True))


if __name__ == "__main__":
    main()
