# SPDX-License-Identifier: MIT
r"""Inversion of pyramidal atoms: which mode it is, and its path through the plane.

The coordinate is the height h of the atom above the plane of its three neighbours. V and F are
those of structures relaxed at fixed h, on both sides of the plane; levels of both wells split by
tunnelling, as in ammonia (:mod:`~eqcalc.anharmonic.large_amplitude`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from scipy.interpolate import CubicSpline

from eqcalc.anharmonic.large_amplitude import Held, LargeAmplitude, PathStates
from eqcalc.anharmonic.rotation_coupling import ROTATIONAL
from eqcalc.molecules import bonded_neighbours
from eqcalc.normal_modes import NormalModes, centred, rigid_motions
from eqcalc.units import WAVENUMBER_PER_EV

#: A mode is an inversion if the path makes up this part of it, below this wavenumber, cm⁻¹.
_INVERSION, _HIGHEST = 0.6, 1300.0
#: Atoms at a smaller height are planar, Å.
_PLANAR = 0.05
#: The scan goes to this energy beyond the minima, cm⁻¹, in steps of this height, Å.
_ENERGY, _STEP = 9000.0, 0.05
#: Largest height of a scan, Å.
_LARGEST = 1.2
#: Stiffness that holds the height, eV/Å².
_STIFFNESS = 100.0
#: Points of the grid of the states.
_GRID = 401


@dataclass(frozen=True)
class Pyramid:
    """An atom with three neighbours.

    Parameters
    ----------
    atom, neighbours
        Its index, and theirs.
    """

    atom: int
    neighbours: tuple[int, int, int]

    def height(self, positions: np.ndarray) -> float:
        """Return the height of the atom above the plane of its neighbours, Å."""
        first = positions[self.neighbours[0]]
        return float((positions[self.atom] - first) @ self._normal(positions))

    def gradient(self, positions: np.ndarray) -> np.ndarray:
        """Return ∂h/∂r, ``[n_atoms, 3]``: each neighbour by its part of the foot of the height."""
        normal = self._normal(positions)
        corners = positions[list(self.neighbours)]
        foot = positions[self.atom] - self.height(positions) * normal
        # barycentric coordinates: corners.T @ parts = foot, of sum one
        system = np.vstack([(corners - foot).T, np.ones(3)])
        parts = np.linalg.lstsq(system, np.array([0.0, 0.0, 0.0, 1.0]), rcond=None)[0]
        gradient = np.zeros_like(positions)
        gradient[self.atom] = normal
        gradient[list(self.neighbours)] = -parts[:, None] * normal
        return gradient

    def _normal(self, positions: np.ndarray) -> np.ndarray:
        first, second, third = positions[list(self.neighbours)]
        normal = np.cross(second - first, third - first)
        return np.asarray(normal / np.linalg.norm(normal))


def pyramids(atoms: Atoms) -> list[Pyramid]:
    """Return the atoms of a molecule that have three neighbours and are not in their plane.

    Their heights are positive.
    """
    found = []
    for atom, three in enumerate(bonded_neighbours(atoms)):
        if len(three) == 3:
            pyramid = Pyramid(atom, (three[0], three[1], three[2]))
            if pyramid.height(atoms.positions) < 0.0:
                pyramid = Pyramid(atom, (three[1], three[0], three[2]))
            if pyramid.height(atoms.positions) > _PLANAR:
                found.append(pyramid)
    return found


def inversion_mode(modes: NormalModes, pyramid: Pyramid) -> int | None:
    """Return the mode that changes the height of a pyramid, None if several do."""
    gradient = pyramid.gradient(modes.positions)
    # along the gradient of h, in mass-weighted coordinates
    steepest = (gradient / np.sqrt(modes.masses)[:, None]).ravel()
    part = (modes.weighted @ steepest) ** 2 / (steepest @ steepest)
    mode = int(np.argmax(part))
    is_one = part[mode] > _INVERSION and modes.wavenumber[mode] < _HIGHEST
    return mode if is_one else None


def inverting(atoms: Atoms, pyramid: Pyramid) -> LargeAmplitude:
    """Return the levels of an inversion from a relaxed scan of the height.

    Parameters
    ----------
    atoms
        A relaxed molecule with its calculator; not changed.
    pyramid
        What inverts.
    """
    masses = atoms.get_masses()
    scanned = atoms.copy()
    scanned.calc = atoms.calc
    start = pyramid.height(atoms.positions)
    lowest = WAVENUMBER_PER_EV * atoms.get_potential_energy()
    height, energy, structures = [], [], []

    def relaxed(wanted: float) -> float:
        Held(lambda x: pyramid.height(x) - wanted, pyramid.gradient, _STIFFNESS).relax(scanned)
        height.append(pyramid.height(scanned.positions))
        energy.append(WAVENUMBER_PER_EV * scanned.get_potential_energy() - lowest)
        structures.append(centred(scanned.positions, masses))
        return energy[-1]

    wanted = start
    while wanted < _LARGEST and relaxed(wanted) < _ENERGY:
        wanted += _STEP
    scanned.positions = atoms.positions
    wanted = start - _STEP
    while wanted > -_LARGEST and (relaxed(wanted) < _ENERGY or wanted > 0.0):
        wanted -= _STEP

    order = np.argsort(height)
    h, v = np.array(height)[order], np.array(energy)[order]
    path = np.array(structures)[order]
    # structures follow each other without turning, and what turns is taken out
    tangents = CubicSpline(h, path * np.sqrt(masses)[:, None]).derivative()(h).reshape(len(h), -1)
    rigid = [rigid_motions(positions, masses) for positions in path]
    tangents -= np.array([r.T @ (r @ t) for r, t in zip(rigid, tangents, strict=True)])
    constant = ROTATIONAL / (tangents**2).sum(axis=1)
    name = f"inversion of {chemical_symbols[atoms.numbers[pyramid.atom]]}{pyramid.atom}"
    direction = tangents[int(np.argmin(np.abs(h - start)))]
    states = inversion_states(h, v, constant, start)
    return LargeAmplitude(name, direction, h, v, constant, path, states, periodic=False)


def inversion_states(
    height: np.ndarray, energy: np.ndarray, constant: np.ndarray, start: float
) -> PathStates:
    """Return the states of −d/dh F d/dh + V between the ends of a scan.

    Parameters
    ----------
    height, energy, constant
        h, V and F, ``[n]``, Å, cm⁻¹, cm⁻¹ Å².
    start
        Height of the relaxed structure, Å.
    """
    grid = np.linspace(height[0], height[-1], _GRID)
    step = grid[1] - grid[0]
    # F between the points, so that the matrix is symmetric
    between = CubicSpline(height, constant)(0.5 * (grid[1:] + grid[:-1])) / step**2
    ends = np.concatenate([[between[0]], between, [between[-1]]])
    hamiltonian = np.diag(ends[1:] + ends[:-1] + CubicSpline(height, energy)(grid))
    hamiltonian -= np.diag(between, 1) + np.diag(between, -1)
    levels, functions = np.linalg.eigh(hamiltonian)
    near = 0.5 + 0.5 * np.tanh(grid / (0.2 * start))
    return PathStates(grid, levels, functions, near, grid - start)
