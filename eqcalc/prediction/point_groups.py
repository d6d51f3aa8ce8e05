# SPDX-License-Identifier: MIT
"""Point group, symmetry number and chirality of a structure.

An operation is fixed by where it takes two atoms that do not lie on one line with the centre of
mass, and by whether it is a rotation. All pairs of atoms are tried, and those operations are
kept that take every atom near to one of its isotope.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from ase import Atoms

from eqcalc.normal_modes import centred, is_linear

#: How far an atom may be from the image of another, Å.
_TOLERANCE = 0.1
#: A structure that is not tightly relaxed is linear if I_a/I_c is below this value.
ALMOST_LINEAR = 1e-3


@dataclass(frozen=True)
class Symmetry:
    """Symmetry of a structure.

    Parameters
    ----------
    point_group
        Schoenflies symbol, such as ``"C2v"``.
    number
        Number of rotations that leave the structure as it is.
    chiral
        Whether it differs from its mirror image.
    """

    point_group: str
    number: int
    chiral: bool


def symmetry(atoms: Atoms, tolerance: float = _TOLERANCE) -> Symmetry:
    """Return the symmetry of a structure; isotopes of an element are different atoms.

    Parameters
    ----------
    atoms
        The structure, with its masses.
    tolerance
        How far an atom may be from the image of another, Å.
    """
    if is_linear(atoms.positions, atoms.get_masses(), ALMOST_LINEAR):
        centre = image_of_atoms(atoms, -np.eye(3), tolerance) is not None
        return Symmetry("D∞h" if centre else "C∞v", 2 if centre else 1, False)
    found = operations(atoms, tolerance)
    rotations = [r for r in found if np.linalg.det(r) > 0.0]
    others = [r for r in found if np.linalg.det(r) < 0.0]
    return Symmetry(_schoenflies(rotations, others), len(rotations), not others)


def image_of_atoms(
    atoms: Atoms, operation: np.ndarray, tolerance: float = _TOLERANCE
) -> np.ndarray | None:
    """Return which atom each one is taken to, ``[n_atoms]``; None if to none of its isotope.

    Parameters
    ----------
    atoms, tolerance
        See :func:`symmetry`.
    operation
        Orthogonal matrix about the centre of mass, ``[3, 3]``.
    """
    r = centred(atoms.positions, atoms.get_masses())
    distances = np.linalg.norm((r @ operation.T)[:, None] - r[None], axis=-1)
    distances[~_same_isotopes(atoms)] = np.inf
    image = distances.argmin(axis=1)
    near = distances.min(axis=1).max() < tolerance
    return image if near and len(np.unique(image)) == len(r) else None


def _same_isotopes(atoms: Atoms) -> np.ndarray:
    """Return which atoms are of one isotope, ``[n_atoms, n_atoms]``."""
    kinds = np.round(np.stack([atoms.numbers, atoms.get_masses()], axis=1), 2)
    return np.asarray((kinds[:, None] == kinds).all(axis=-1))


def operations(atoms: Atoms, tolerance: float = _TOLERANCE) -> list[np.ndarray]:
    """Return the symmetry operations of a structure that is not linear, each ``[3, 3]``.

    The arguments are those of :func:`symmetry`.
    """
    r = centred(atoms.positions, atoms.get_masses())
    alike = _same_isotopes(atoms)
    spread = np.linalg.norm(np.cross(r[:, None], r[None]), axis=-1)
    i, j = np.unravel_index(np.argmax(spread), spread.shape)
    home = _frame(r[i], r[j])
    mirror = np.diag([1.0, 1.0, -1.0])
    found: list[np.ndarray] = []
    for k, l in permutations(range(len(r)), 2):
        lengths = np.abs(
            [
                np.linalg.norm(r[k]) - np.linalg.norm(r[i]),
                np.linalg.norm(r[l]) - np.linalg.norm(r[j]),
                np.linalg.norm(r[k] - r[l]) - np.linalg.norm(r[i] - r[j]),
            ]
        )
        if not (alike[i, k] and alike[j, l] and (lengths < 2.0 * tolerance).all()):
            continue
        away = _frame(r[k], r[l])
        for turned in (away, away @ mirror):
            operation = turned @ home.T
            if image_of_atoms(atoms, operation, tolerance) is not None:
                found.append(operation)
    return found


def _frame(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return right-handed axes in columns, the first along a, the second in the plane of b."""
    first = a / np.linalg.norm(a)
    third = np.cross(a, b)
    third = third / np.linalg.norm(third)
    return np.stack([first, np.cross(third, first), third], axis=1)


def _schoenflies(rotations: list[np.ndarray], others: list[np.ndarray]) -> str:
    """Return the symbol of a group of rotations and of operations that are none."""
    number = len(rotations)
    orders = [order_of(r) for r in rotations]
    n = max(orders)
    inversion = any(np.trace(r) < -2.5 for r in others)
    if orders.count(3) > 2:  # several threefold axes
        name = {12: "T", 24: "O", 60: "I"}.get(number, "?")
        return name + ("" if not others else "h" if inversion or name != "T" else "d")
    mirrors = [r for r in others if np.trace(r) > 0.5 and np.allclose(r @ r, np.eye(3), atol=0.3)]
    if n == 1:
        return "C1" if not others else "Ci" if inversion else "Cs"
    axis = axis_of(rotations[orders.index(n)])
    across = any(abs(axis_of(-r) @ axis) > 0.9 for r in mirrors)
    if number == n:
        if not others:
            return f"C{n}"
        return f"C{n}h" if across else f"C{n}v" if mirrors else f"S{2 * n}"
    if not others:
        return f"D{n}"
    return f"D{n}h" if (inversion if n == 2 else across) else f"D{n}d"


def order_of(rotation: np.ndarray) -> int:
    """Return n of the smallest power that is the identity, from the angle."""
    angle = np.arccos(np.clip(0.5 * (np.trace(rotation) - 1.0), -1.0, 1.0))
    turns = angle / (2.0 * np.pi)
    return next(n for n in range(1, 100) if abs(n * turns - round(n * turns)) < 0.04)


def axis_of(rotation: np.ndarray) -> np.ndarray:
    """Return the axis of a rotation: the eigenvector of its symmetric part of eigenvalue one."""
    return np.asarray(np.linalg.eigh(0.5 * (rotation + rotation.T))[1][:, -1])
