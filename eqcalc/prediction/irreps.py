# SPDX-License-Identifier: MIT
r"""Irreducible representations of normal modes, by characters and Mulliken's rules.

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

import numpy as np
from ase import Atoms

from eqcalc.normal_modes import NormalModes, centred
from eqcalc.prediction.point_groups import (
    axis_of,
    image_of_atoms,
    operations,
    order_of,
    symmetry,
)

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
