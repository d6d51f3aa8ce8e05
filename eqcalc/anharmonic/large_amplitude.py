# SPDX-License-Identifier: MIT
r"""Motions of large amplitude in one dimension, and their states.

Along a coordinate s of relaxed structures

    H = −d/ds F(s) d/ds + V(s),   F = ħ²/2g,   g = |∂(√m r)/∂s|² without rigid motions

(Pitzer, J. Chem. Phys. 14, 239 (1946), for internal rotations; Miller, Handy, Adams, J. Chem.
Phys. 72, 99 (1980), for any path). The motion does not couple to others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from scipy.interpolate import CubicSpline
from scipy.signal import resample

#: Of a number of states.
_ROUNDING = 1e-6
#: Lowest states, among which is the first that belongs to the well.
_LOWEST = 12


@dataclass(frozen=True, eq=False)
class PathStates:
    """States along a coordinate, on an even grid.

    Parameters
    ----------
    coordinate
        The grid, ``[n_grid]``.
    levels
        ``[n_states]``, cm⁻¹, ascending.
    functions
        Real wave functions as columns, ``[n_grid, n_states]``, of unit length.
    near
        One within the well of the relaxed structure, zero in others, ``[n_grid]``.
    displacement
        A function of the coordinate that is linear within that well, ``[n_grid]``.
    """

    coordinate: np.ndarray
    levels: np.ndarray
    functions: np.ndarray
    near: np.ndarray
    displacement: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Probability of each state within the well."""
        return np.asarray(self.near @ self.functions**2)

    @property
    def lowest(self) -> int:
        """The lowest state that belongs to the well as much as to any other."""
        inside = self.inside
        return int(np.flatnonzero(inside >= 0.5 * inside[:_LOWEST].max())[0])

    @property
    def fundamental(self) -> float:
        """From the lowest state of the well to its first excitation, cm⁻¹.

        The mean of those that have a part in it, if partners by tunnelling share it.
        """
        part = self.one_quantum(self.lowest)
        part[part < 0.5 * part.max()] = 0.0
        return float(part @ self.levels / part.sum() - self.levels[self.lowest])

    def one_quantum(self, state: int) -> np.ndarray:
        """Return the part of each higher state in a state that is moved within the well.

        They add to one or less.
        """
        moved = self.near * self.displacement * self.functions[:, state]
        part = (self.functions.T @ moved) ** 2 / (moved @ moved)
        part[: state + 1] = 0.0
        return np.asarray(part)

    def quanta(self) -> np.ndarray:
        """Return the quanta of each state: how many states of the well lie below it."""
        inside = self.inside
        # half of its own, so that partners by tunnelling share a number
        below = np.cumsum(inside) - 0.5 * inside
        return np.maximum(np.floor(below - _ROUNDING), 0.0).astype(int)


@dataclass(frozen=True, eq=False)
class LargeAmplitude:
    """A motion of large amplitude.

    Parameters
    ----------
    name
        Kind of motion and atoms.
    direction
        ∂(√m r)/∂s at the relaxed structure without rigid motions, ``[3 n_atoms]``.
    coordinate, energy, constant, positions
        Of the scan: s, in rad or Å; V and F, in cm⁻¹ and powers of the unit of s; structures,
        ``[n, n_atoms, 3]``, Å.
    states
        Levels and wave functions.
    periodic
        Whether the scan goes once around.
    """

    name: str
    direction: np.ndarray
    coordinate: np.ndarray
    energy: np.ndarray
    constant: np.ndarray
    positions: np.ndarray
    states: PathStates
    periodic: bool

    @property
    def levels(self) -> np.ndarray:
        """Energies above the lowest, cm⁻¹, ascending."""
        return self.states.levels - self.states.levels[0]

    @property
    def barrier(self) -> float:
        """Highest energy between wells above the lowest of the scan, cm⁻¹."""
        inner = self.energy if self.periodic else self.energy[_between_minima(self.energy)]
        return float(inner.max() - self.energy.min())

    def on_grid(self, values: np.ndarray, cut: int | None = None) -> np.ndarray:
        """Interpolate values of the scan, ``[n, …]``, to the grid of the states.

        Those of a periodic scan need not close between the index `cut` and the next one.
        """
        grid, places = self.states.coordinate, self.coordinate
        if self.periodic and cut is None:
            return np.asarray(resample(values, len(grid)))
        if cut is not None:
            beyond = places > places[cut]
            places = np.where(beyond, places - 2.0 * np.pi, places)
            order = np.argsort(places)
            grid = np.where(grid > self.coordinate[cut], grid - 2.0 * np.pi, grid)
            places, values = places[order], values[order]
        return np.asarray(CubicSpline(places, values)(grid))


def _between_minima(energy: np.ndarray) -> slice:
    inner = np.flatnonzero((energy[1:-1] <= energy[:-2]) & (energy[1:-1] <= energy[2:])) + 1
    return slice(int(inner[0]), int(inner[-1]) + 1) if len(inner) else slice(None)


class Held:
    """A constraint of ASE that holds a coordinate by a stiff spring, ½k(s − s₀)².

    Parameters
    ----------
    excess
        s − s₀ from positions ``[n_atoms, 3]``.
    gradient
        ∂s/∂r from positions, ``[n_atoms, 3]``.
    stiffness
        k, eV and powers of the unit of s.
    """

    def __init__(
        self,
        excess: Callable[[np.ndarray], float],
        gradient: Callable[[np.ndarray], np.ndarray],
        stiffness: float,
    ) -> None:
        self.excess, self.gradient, self.stiffness = excess, gradient, stiffness

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        """Leave positions as they are."""

    def adjust_forces(self, atoms: Atoms, forces: np.ndarray) -> None:
        """Add the force of the spring."""
        x = atoms.positions
        forces -= self.stiffness * self.excess(x) * self.gradient(x)

    def adjust_potential_energy(self, atoms: Atoms) -> float:
        """Return the energy of the spring."""
        return 0.5 * self.stiffness * self.excess(atoms.positions) ** 2

    def get_removed_dof(self, atoms: Atoms) -> int:
        """Return zero: the spring yields."""
        return 0

    def relax(self, atoms: Atoms) -> None:
        """Relax everything but the coordinate, and take the spring off again."""
        atoms.set_constraint(self)
        BFGS(atoms, logfile=None).run(fmax=5e-3, steps=300)
        atoms.set_constraint()
