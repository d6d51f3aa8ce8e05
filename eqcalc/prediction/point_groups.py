# SPDX-License-Identifier: MIT
r"""Point groups of structures, and the irreducible representations of their normal modes.

An operation is fixed by where it takes two atoms that do not lie on one line with the centre of
mass, and by whether it is a rotation. All pairs of atoms are tried, and those operations are
kept that take every atom near to one of its isotope.

An operation R that takes atom i to atom j takes the mass-weighted displacement of i, turned by R,
to j. Modes whose displacements R maps to combinations of themselves span a representation; its
character is the trace of that matrix. The symbols follow from a few characters (Mulliken, J. Chem.
Phys. 23, 1997 (1955)):

=========  =========================================================================
A, B       one mode, whose character under the principal axis is 1 or −1
E, T       two and three modes
1, 2       1 or −1 under a twofold axis across the principal one, or a vertical mirror plane
g, u       1 or −1 under inversion
′, ″       1 or −1 under the horizontal mirror plane, without inversion
Σ, Π       one and two modes of a linear molecule
=========  =========================================================================

In C2v, B1 is symmetric under the mirror plane with fewer atoms, which is xz: x is across the plane
of a planar molecule. In D2 and D2h, B1, B2 and B3 are symmetric under C2(z), C2(y) and C2(x); z is
the axis with the most atoms on it, and x that with the most atoms in the plane across it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from ase import Atoms

from eqcalc.normal_modes import NormalModes, centred, is_linear

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


#: Atoms are on an axis or plane if they are nearer than this, Å.
_ON = 0.1
#: Part of the displacements of modes that operations may take to others.
_CLOSED = 0.1
_KNOWN = (
    *("C1", "Cs", "Ci", "C2", "C3", "C2v", "C3v", "C4v", "C2h", "C3h"),
    *("D2", "D3", "D2h", "D3h", "D4h", "D2d", "D3d", "Td", "C∞v", "D∞h"),
)


def mode_irreps(modes: NormalModes, atoms: Atoms) -> list[str]:
    """Return the irreducible representation of each mode, ``""`` if it is not found.

    Parameters
    ----------
    modes
        Normal modes.
    atoms
        The structure they belong to, with its masses.
    """
    group = symmetry(atoms).point_group
    result = [""] * len(modes)
    if group not in _KNOWN:
        return result
    linear = "∞" in group
    found = [-np.eye(3)] if group == "D∞h" else [] if linear else operations(atoms)
    r = centred(atoms.positions, atoms.get_masses())
    vectors = modes.vectors * np.sqrt(modes.masses)[:, None]
    matrices = []
    for operation in found:
        image = image_of_atoms(atoms, operation)
        assert image is not None
        moved = np.empty_like(vectors)
        moved[:, image] = vectors @ operation.T
        matrices.append(np.einsum("kia,lia->kl", vectors, moved))
    k = 0
    while k < len(modes):
        size = _degeneracy(matrices, k) if not linear else _pair(modes, k)
        if size:
            traces = [float(np.trace(m[k : k + size, k : k + size])) / size for m in matrices]
            symbol = _linear(size, traces) if linear else _symbol(group, size, found, traces, r)
            result[k : k + size] = [symbol] * size
        k += max(size, 1)
    return result


def _degeneracy(matrices: Sequence[np.ndarray], k: int) -> int:
    """Return how many modes from k on are mapped to each other, zero if more than three."""
    for size in range(1, min(3, len(matrices[0]) - k) + 1):
        blocks = (m[k : k + size, k : k + size] for m in matrices)
        if all(size - float((block**2).sum()) < _CLOSED for block in blocks):
            return size
    return 0


def _pair(modes: NormalModes, k: int) -> int:
    """Return two for a bending mode of a linear molecule, which is across the axis, else one."""
    r = centred(modes.positions, modes.masses)
    axis = r[np.argmax(np.linalg.norm(r, axis=1))]
    along = modes.vectors[k] @ (axis / np.linalg.norm(axis))
    return 1 if float(modes.masses @ along**2) > 0.5 else 2


def _linear(size: int, traces: Sequence[float]) -> str:
    parity = "" if not traces else "g" if traces[0] > 0.0 else "u"
    return f"Σ{parity}⁺" if size == 1 else f"Π{parity}"


class _Characters:
    """Characters of a representation divided by that of the identity, by kinds of operations."""

    def __init__(self, found: Sequence[np.ndarray], traces: Sequence[float], r: np.ndarray) -> None:
        self._found, self._traces, self._r = found, np.round(traces, 1), r
        proper = [np.linalg.det(m) > 0.0 for m in found]
        orders = [order_of(m) if p else 1 for m, p in zip(found, proper, strict=True)]
        every = range(len(found))
        self.main = [k for k in every if orders[k] == max(orders)][:1]
        axis = axis_of(found[self.main[0]])
        mirrors = [k for k in every if not proper[k] and abs(np.trace(found[k]) - 1.0) < 0.3]
        self.inversion = [k for k in every if np.trace(found[k]) < -2.5]
        self.level = [k for k in mirrors if abs(self._axis(k) @ axis) > 0.9]
        self.upright = [k for k in mirrors if k not in self.level]
        self.upright.sort(key=lambda k: _on_plane(r, self._axis(k)))
        self.twofold = [k for k in every if orders[k] == 2]
        self.across = [k for k in self.twofold if abs(self._axis(k) @ axis) < 0.1]
        self.fourfold = [k for k in every if not proper[k] and abs(np.trace(found[k]) + 1.0) < 0.3]

    def _axis(self, k: int) -> np.ndarray:
        operation = self._found[k]
        return axis_of(operation if np.linalg.det(operation) > 0.0 else -operation)

    def sign(self, kind: Sequence[int]) -> int:
        """Return the sign of the character of the first operation of a kind, zero without."""
        return int(np.sign(self._traces[kind[0]])) if kind else 0

    def axes(self) -> list[int]:
        """Return the twofold rotations about z, y and x of D2 and D2h."""

        def place(k: int) -> tuple[int, int]:
            return -_on_axis(self._r, self._axis(k)), _on_plane(self._r, self._axis(k))

        return sorted(self.twofold, key=place)


def _symbol(
    group: str, size: int, found: Sequence[np.ndarray], traces: Sequence[float], r: np.ndarray
) -> str:
    """Return Mulliken's symbol from the characters divided by that of the identity."""
    c = _Characters(found, traces, r)
    parity = {1: "g", -1: "u", 0: ""}[c.sign(c.inversion)]
    prime = "" if parity or group == "C2v" else {1: "′", -1: "″", 0: ""}[c.sign(c.level)]
    numbers = {1: "1", -1: "2", 0: ""}
    letter, number = "AET"[size - 1], ""
    if group == "Cs":
        prime = {1: "′", -1: "″"}[c.sign(c.level + c.upright)]
    elif group == "Td":
        mirrored = c.sign(c.upright + c.level)
        number = {"A": numbers[mirrored], "E": "", "T": numbers[-mirrored]}[letter]
    elif group in ("D2", "D2h"):
        signs = [c.sign([k]) for k in c.axes()]
        if min(signs) < 0:
            letter, number = "B", str(1 + signs.index(1))
    elif group == "C2v":
        letter = "A" if c.sign(c.main) > 0 else "B"
        number = numbers[c.sign(c.upright)]
    elif size == 1 and group not in ("C1", "Ci"):
        letter = "A" if c.sign(c.fourfold if group == "D2d" else c.main) > 0 else "B"
        number = numbers[c.sign(c.across or c.upright)]
    return f"{letter}{number}{parity}{prime}"


def _on_axis(r: np.ndarray, axis: np.ndarray) -> int:
    return int((np.linalg.norm(np.cross(r, axis), axis=1) < _ON).sum())


def _on_plane(r: np.ndarray, normal: np.ndarray) -> int:
    return int((np.abs(r @ normal) < _ON).sum())
