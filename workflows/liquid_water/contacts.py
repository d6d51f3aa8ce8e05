# SPDX-License-Identifier: MIT
"""Close contacts of water molecules, of which frames of a liquid at 300 K have none.

A network that has never seen them may have minima there: one trained on the cells alone lost
two hydrogen atoms as H₂ after a picosecond. Clusters of two to four molecules are cut from the
cells, atoms are brought together, and GFN2-xTB gives the forces: its errors are small beside
forces of several eV/Å. They are no part of the test of the liquid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import ase
import numpy as np

from eqcalc.datasets import Record
from eqcalc.labelling import GFN2, ConvergenceError

#: The largest force [eV/Å] of a structure that is taken.
LARGEST_FORCE = 30.0


def contacts(cells: Sequence[Record], n: int, seed: int = 0) -> Iterator[Record]:
    """Yield `n` clusters with a close contact and the forces of GFN2-xTB.

    Parameters
    ----------
    cells
        Cells of water.
    n
        The number of clusters.
    seed
        Of the random choices.
    """
    rng, method, made = np.random.default_rng(seed), GFN2(), 0
    changes = (_hydrogens_together, _proton_moved, _oxygens_together, _bond_stretched, _bent)
    while made < n:
        cluster = _cluster(cells[rng.integers(len(cells))].atoms(), int(rng.integers(2, 5)), rng)
        rng.choice(np.array(changes), p=[0.4, 0.25, 0.15, 0.1, 0.1])(cluster, rng)
        cluster.positions += rng.normal(0.0, 0.03, cluster.positions.shape)
        try:
            forces = method.label(cluster, ("forces",))["forces"]
        except ConvergenceError:
            continue
        if np.abs(forces).max() <= LARGEST_FORCE:
            made += 1
            yield Record(
                cluster.numbers, cluster.positions, {"forces": forces}, source="close contacts"
            )


def _cluster(cell: ase.Atoms, size: int, rng: np.random.Generator) -> ase.Atoms:
    """Return a random molecule of `cell` and its nearest ones, each as O, H, H."""
    oxygens, hydrogens = (np.flatnonzero(cell.numbers == z) for z in (8, 1))
    first = rng.choice(oxygens)
    near = oxygens[np.argsort(cell.get_distances(first, oxygens, mic=True))[:size]]
    numbers: list[int] = []
    positions: list[np.ndarray] = []
    for oxygen in near:
        to_hydrogens = cell.get_distances(oxygen, hydrogens, mic=True, vector=True)
        bonded = np.argsort(np.linalg.norm(to_hydrogens, axis=1))[:2]
        place = cell.get_distance(first, oxygen, mic=True, vector=True)
        numbers += [8, 1, 1]
        positions += [place, *(place + to_hydrogens[bonded])]
    return ase.Atoms(numbers, np.array(positions))


def _hydrogens_together(cluster: ase.Atoms, rng: np.random.Generator) -> None:
    """Bring hydrogen atoms of two molecules to 0.6 to 1.5 Å, stretching both bonds."""
    i, j = (3 * m + rng.integers(1, 3) for m in _two_molecules(cluster, rng))
    cluster.set_distance(i, j, rng.uniform(0.6, 1.5), fix=0.5)


def _proton_moved(cluster: ase.Atoms, rng: np.random.Generator) -> None:
    """Move the hydrogen atom nearest to another molecule to 1.0 to 1.6 Å from its oxygen atom."""
    acceptor, donor = (3 * m for m in _two_molecules(cluster, rng))
    proton = min((donor + 1, donor + 2), key=lambda i: cluster.get_distance(acceptor, i))
    cluster.set_distance(acceptor, proton, rng.uniform(1.0, 1.6), fix=0)


def _oxygens_together(cluster: ase.Atoms, rng: np.random.Generator) -> None:
    """Bring two molecules as a whole to an O–O distance of 1.7 to 2.5 Å."""
    first, second = (3 * m for m in _two_molecules(cluster, rng))
    axis = cluster.get_distance(first, second, vector=True)
    length = np.linalg.norm(axis)
    cluster.positions[second : second + 3] += (rng.uniform(1.7, 2.5) / length - 1.0) * axis


def _bond_stretched(cluster: ase.Atoms, rng: np.random.Generator) -> None:
    """Give a bond a length of 0.7 to 1.8 Å."""
    oxygen = 3 * int(rng.integers(len(cluster) // 3))
    cluster.set_distance(oxygen, oxygen + 1, rng.uniform(0.7, 1.8), fix=0)


def _bent(cluster: ase.Atoms, rng: np.random.Generator) -> None:
    """Give a molecule an angle of 35 to 180 degrees."""
    oxygen = 3 * int(rng.integers(len(cluster) // 3))
    cluster.set_angle(oxygen + 1, oxygen, oxygen + 2, rng.uniform(35.0, 180.0))


def _two_molecules(cluster: ase.Atoms, rng: np.random.Generator) -> tuple[int, int]:
    """Return the central molecule and another, in random order."""
    pair = np.array([0, rng.integers(1, len(cluster) // 3)])
    first, second = rng.permutation(pair)
    return int(first), int(second)
