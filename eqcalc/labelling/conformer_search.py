# SPDX-License-Identifier: MIT
"""Rotatable bonds, torsions, and a conformer search."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import ase
import numpy as np
from ase.optimize import BFGS

from eqcalc.labelling.method import ConvergenceError, Method, MethodCalculator
from eqcalc.molecules import bonds, connected_parts, unconstrained
from eqcalc.validation import InvalidInputError


def rotatable_bonds(atoms: ase.Atoms) -> list[tuple[int, int]]:
    """Return the bonds (i, j), i < j, about which `atoms` can be rotated.

    Both atoms of the bond must have further neighbours, and it must not be part of a ring.
    Methyl and hydroxyl groups count, and so do double bonds, whose barriers exclude
    unwanted geometries later.
    """
    pairs = bonds(atoms)
    degree = np.bincount(pairs.ravel(), minlength=len(atoms))
    return [
        (int(i), int(j))
        for i, j in pairs
        if degree[i] > 1 and degree[j] > 1 and len(_moving_atoms(atoms, pairs, i, j)) > 0
    ]


def turning_atoms(atoms: ase.Atoms, bond: tuple[int, int]) -> np.ndarray:
    """Return the atoms on the side of the second atom of a bond, which turn about it.

    Raises
    ------
    InvalidInputError
        The bond is part of a ring, or no bond.
    """
    moving = _moving_atoms(atoms, bonds(atoms), *bond)
    if not len(moving):
        raise InvalidInputError(
            key="bond", value=bond, expected="a bond that is not part of a ring"
        )
    return moving


def rotate(atoms: ase.Atoms, bond: tuple[int, int], angle: float) -> ase.Atoms:
    """Return a copy of `atoms` with one side of `bond` rotated by `angle` [degree].

    The side of the second atom of `bond` moves.
    """
    moving = turning_atoms(atoms, bond)
    rotated = atoms.copy()
    i, j = bond
    axis = atoms.positions[j] - atoms.positions[i]
    part = atoms[moving]
    part.rotate(angle, axis, center=atoms.positions[j])
    rotated.positions[moving] = part.positions
    return rotated


def relax(atoms: ase.Atoms, method: Method, fmax: float = 1e-3, steps: int = 500) -> ase.Atoms:
    """Return `atoms` relaxed until no force is above `fmax` [eV/Å].

    Raises
    ------
    ConvergenceError
        Not converged within `steps` steps.
    InvalidInputError
        The atoms are constrained.
    """
    relaxed = unconstrained(atoms).copy()
    relaxed.calc = MethodCalculator(method)
    if not BFGS(relaxed, logfile=None).run(fmax=fmax, steps=steps):
        raise ConvergenceError(f"the geometry is not relaxed after {steps} steps")
    relaxed.calc = None
    return relaxed


def conformers(
    atoms: ase.Atoms,
    method: Method,
    *,
    energy_window: float = 0.4,
    max_trials: int = 243,
    rng: np.random.Generator | None = None,
) -> list[ase.Atoms]:
    """Return the distinct relaxed conformers of `atoms`, lowest energy first.

    Rotatable bonds are rotated by 0, 120 and 240 degrees in all combinations, or in
    `max_trials` random ones drawn with `rng` if there are more. Mirror images count once.

    Parameters
    ----------
    energy_window
        Conformers more than this above the lowest one [eV] are discarded.
    """
    bonds = rotatable_bonds(atoms)
    trials: list[Sequence[float]]
    if 3 ** len(bonds) <= max_trials:
        trials = list(itertools.product((0.0, 120.0, 240.0), repeat=len(bonds)))
    elif rng is None:
        raise InvalidInputError(
            f"{len(bonds)} rotatable bonds give {3 ** len(bonds)} trials",
            key="max_trials",
            value=max_trials,
            advice="pass rng to draw among them",
        )
    else:
        trials = [list(120.0 * rng.integers(0, 3, len(bonds))) for _ in range(max_trials)]
    found: list[tuple[float, np.ndarray, ase.Atoms]] = []
    for angles in trials:
        trial = atoms
        for bond, angle in zip(bonds, angles, strict=True):
            trial = rotate(trial, bond, angle)
        try:
            trial = relax(trial, method)
            energy = float(method.label(trial, ("energy",))["energy"])
        except ConvergenceError:  # two groups clash
            continue
        shape = _shape(trial)
        if not any(abs(energy - e) < 1e-3 and np.abs(shape - s).max() < 0.05 for e, s, _ in found):
            found.append((energy, shape, trial))
    if not found:
        raise ConvergenceError("no trial geometry could be relaxed")
    found.sort(key=lambda item: item[0])
    return [conformer for energy, _, conformer in found if energy - found[0][0] <= energy_window]


def _shape(atoms: ase.Atoms) -> np.ndarray:
    """Return the sorted distances of each pair of elements, equal for mirror images."""
    i, j = np.triu_indices(len(atoms), 1)
    low, high = np.sort(np.stack([atoms.numbers[i], atoms.numbers[j]]), axis=0)
    distances = np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)
    return distances[np.lexsort((distances, high, low))]


def _moving_atoms(atoms: ase.Atoms, pairs: np.ndarray, i: int, j: int) -> np.ndarray:
    """Return the atoms on the side of `j` when the bond i–j is cut; none if in a ring."""
    keep = ~(((pairs == (i, j)) | (pairs == (j, i))).all(axis=1))
    if keep.all():
        return np.empty(0, dtype=int)
    part = connected_parts(pairs[keep], len(atoms))
    return np.empty(0, dtype=int) if part[i] == part[j] else np.flatnonzero(part == part[j])
