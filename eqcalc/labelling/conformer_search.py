# SPDX-License-Identifier: MIT
"""Rotatable bonds, torsions, and a conformer search."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import ase
import numpy as np
from ase.optimize import BFGS

from eqcalc.labelling.method import ConvergenceError, Method, MethodCalculator
from eqcalc.molecules import bonded_neighbours, bonds, connected_parts, unconstrained
from eqcalc.validation import InvalidInputError

#: Shorter bonds are double bonds, by the atomic numbers, Å: not those of conjugated chains or
#: amides.
_DOUBLE = {(6, 6): 1.4, (6, 7): 1.3, (7, 7): 1.3}
#: Bonded atoms of a linear chain have a larger angle, degree.
_LINEAR = 170.0
#: Relaxed structures whose energies [eV] and distances [Å] differ by less are the same.
_SAME_ENERGY, _SAME_SHAPE = 1e-3, 0.05


def rotatable_bonds(atoms: ase.Atoms) -> list[tuple[int, int]]:
    """Return the bonds (i, j), i < j, about which `atoms` can be rotated.

    Both atoms of the bond must have further neighbours, and it must not be part of a ring.
    Methyl and hydroxyl groups count, and so do double bonds.
    """
    pairs = bonds(atoms)
    degree = np.bincount(pairs.ravel(), minlength=len(atoms))
    return [
        (int(i), int(j))
        for i, j in pairs
        if degree[i] > 1 and degree[j] > 1 and len(_moving_atoms(atoms, pairs, i, j)) > 0
    ]


def conformational_bonds(atoms: ase.Atoms) -> list[tuple[int, int]]:
    """Return the rotatable bonds of which a third of a turn makes another conformer.

    A group with three equal ends, such as methyl, comes back to the same structure, and so does
    what is on the axis; of the bonds of a linear chain one is returned. About a double bond another
    isomer is made.
    """
    neighbours = bonded_neighbours(atoms)

    def end(before: int, here: int) -> tuple[int, list[int]]:
        """Return where a linear chain ends, and what is bonded to it there."""
        beyond = [k for k in neighbours[here] if k != before]
        while len(beyond) == 1 and atoms.get_angle(before, here, beyond[0]) > _LINEAR:
            before, here = here, beyond[0]
            beyond = [k for k in neighbours[here] if k != before]
        return here, beyond

    def turns(beyond: list[int]) -> bool:
        """Return whether a third of a turn changes a group."""
        equal = len({int(atoms.numbers[k]) for k in beyond}) == 1
        ends = all(len(neighbours[k]) == 1 for k in beyond)
        return bool(beyond) and not (len(beyond) == 3 and equal and ends)

    found: dict[tuple[int, int], tuple[int, int]] = {}
    for i, j in rotatable_bonds(atoms):
        low, high = sorted((int(atoms.numbers[i]), int(atoms.numbers[j])))
        if atoms.get_distance(i, j) < _DOUBLE.get((low, high), 0.0):
            continue
        (first, left), (last, right) = end(j, i), end(i, j)
        if turns(left) and turns(right):
            found.setdefault((min(first, last), max(first, last)), (i, j))
    return list(found.values())


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
    return _rotated(atoms, bond, angle, turning_atoms(atoms, bond))


def _rotated(
    atoms: ase.Atoms, bond: tuple[int, int], angle: float, moving: np.ndarray
) -> ase.Atoms:
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

    Bonds of :func:`conformational_bonds` are rotated by 0, 120 and 240 degrees in all combinations,
    or in `max_trials` of them, random ones drawn with `rng`, if there are more. Mirror images count
    once. Trials whose groups clash, so that atoms of different groups are bonded, or that become
    another molecule than the first one, which is not rotated, are left out.

    Parameters
    ----------
    energy_window
        Conformers more than this above the lowest one [eV] are discarded.
    """
    turning = conformational_bonds(atoms)
    trials: list[Sequence[float]]
    if 3 ** len(turning) <= max_trials:
        trials = list(itertools.product((0.0, 120.0, 240.0), repeat=len(turning)))
    elif rng is None:
        raise InvalidInputError(
            f"{len(turning)} rotatable bonds give {3 ** len(turning)} trials",
            key="max_trials",
            value=max_trials,
            advice="pass rng to draw among them",
        )
    else:
        drawn = rng.integers(0, 3, (max_trials, len(turning)))
        drawn[0] = 0
        trials = [list(row) for row in 120.0 * drawn]
    moving = [turning_atoms(atoms, bond) for bond in turning]
    given, connected = _bonded(atoms), set[tuple[int, int]]()
    found: list[tuple[float, ase.Atoms]] = []
    for angles in trials:
        trial = atoms
        for bond, angle, side in zip(turning, angles, moving, strict=True):
            trial = _rotated(trial, bond, angle, side)
        if _bonded(trial) != given:
            continue
        try:
            trial = relax(trial, method)
            energy = float(method.label(trial, ("energy",))["energy"])
        except ConvergenceError:
            continue
        bonded = _bonded(trial)
        connected = connected or bonded
        if bonded != connected:
            continue
        if not any(same_conformer(trial, other, energy - e) for e, other in found):
            found.append((energy, trial))
    if not found:
        raise ConvergenceError("no trial geometry could be relaxed")
    found.sort(key=lambda item: item[0])
    return [conformer for energy, conformer in found if energy - found[0][0] <= energy_window]


def _bonded(atoms: ase.Atoms) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in bonds(atoms)}


def same_conformer(first: ase.Atoms, second: ase.Atoms, difference: float) -> bool:
    """Return whether relaxed structures of a molecule are the same, or mirror images.

    Parameters
    ----------
    first, second
        The structures.
    difference
        Of their energies, eV.
    """
    if abs(difference) >= _SAME_ENERGY:
        return False
    return bool(np.abs(_shape(first) - _shape(second)).max() < _SAME_SHAPE)


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
