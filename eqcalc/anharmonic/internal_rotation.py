# SPDX-License-Identifier: MIT
r"""Internal rotations: which modes they are, and their levels in one dimension.

Rectilinear coordinates stretch the bonds of a group that turns, so that torsions are no modes
of an n-mode surface. Each is a hindered rotor about its bond
(:mod:`~eqcalc.anharmonic.large_amplitude`), with V from a relaxed scan of the dihedral angle, and
F = ħ²/2I with the moment of inertia of the internal rotation with total momentum and angular
momentum of the molecule zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import get_dihedrals, get_dihedrals_derivatives
from scipy.signal import resample

from eqcalc.anharmonic.large_amplitude import Held, LargeAmplitude, PathStates
from eqcalc.anharmonic.rotation_coupling import ROTATIONAL
from eqcalc.labelling.conformer_search import rotatable_bonds, turning_atoms
from eqcalc.normal_modes import NormalModes, centred, rigid_motions
from eqcalc.units import WAVENUMBER_PER_EV

#: A mode is a torsion if internal rotations make up this part of it, below this wavenumber, cm⁻¹.
_TORSION, _HIGHEST = 0.6, 450.0
#: Tops with a smaller moment of inertia lie on their axis, amu Å².
_LINEAR_TOP = 0.1
#: Inner angles of a dihedral angle are at least this far from 180°, degrees.
_BENT = 10.0
#: Stiffness that holds a dihedral angle, eV/rad².
_STIFFNESS = 300.0
#: Points of the grid, as many as functions exp(imφ), |m| ≤ 60.
_GRID = 121


@dataclass(frozen=True)
class Rotor:
    """A group of atoms that can turn about a bond.

    Parameters
    ----------
    dihedral
        Atoms of the angle φ: the second and third are the bond, the fourth is in the top.
    top
        Atoms that turn, the smaller side of the bond.
    """

    dihedral: tuple[int, int, int, int]
    top: tuple[int, ...]

    def beyond(self, angle: float, positions: np.ndarray) -> float:
        """Return φ less an angle [degree], rad, between −π and π."""
        found = float(get_dihedrals(*self._arms(positions))[0]) - angle
        return float(np.radians((found + 180.0) % 360.0 - 180.0))

    def gradient(self, positions: np.ndarray) -> np.ndarray:
        """Return ∂φ/∂r, ``[n_atoms, 3]``, rad/Å."""
        found = np.zeros_like(positions)
        derivatives = get_dihedrals_derivatives(*self._arms(positions))[0]
        found[list(self.dihedral)] = np.radians(derivatives)
        return found

    def _arms(self, positions: np.ndarray) -> list[np.ndarray]:
        return [arm[None] for arm in np.diff(positions[list(self.dihedral)], axis=0)]

    def displacement(self, positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
        """Return √m ∂r/∂φ without rigid motions, ``[3 n_atoms]``, Å amu^½ per radian."""
        _, i, j, _ = self.dihedral
        axis = positions[j] - positions[i]
        axis = axis / np.linalg.norm(axis)
        turned = np.zeros_like(positions)
        top = list(self.top)
        turned[top] = np.cross(axis, positions[top] - positions[j])
        weighted = (np.sqrt(masses)[:, None] * turned).ravel()
        rigid = rigid_motions(positions, masses)
        return np.asarray(weighted - rigid.T @ (rigid @ weighted))


def rotors(atoms: Atoms) -> list[Rotor]:
    """Return the groups of a molecule that can turn about a bond outside of rings."""
    found = []
    distances = atoms.get_all_distances()
    for i, j in rotatable_bonds(atoms):
        sides = [((j, i), turning_atoms(atoms, (j, i))), ((i, j), turning_atoms(atoms, (i, j)))]
        (start, end), top = min(sides, key=lambda side: len(side[1]))
        rest = [k for k in range(len(atoms)) if k not in top and k != start]
        before = min(rest, key=lambda k: distances[start, k])
        after = min((k for k in top if k != end), key=lambda k: distances[end, k])
        rotor = Rotor((before, start, end, int(after)), tuple(top.tolist()))
        moved = rotor.displacement(atoms.positions, atoms.get_masses())
        inner = [atoms.get_angle(*rotor.dihedral[k : k + 3]) for k in (0, 1)]
        if moved @ moved > _LINEAR_TOP and max(inner) < 180.0 - _BENT:
            found.append(rotor)
    return found


def torsional_modes(modes: NormalModes, found: Sequence[Rotor]) -> list[int]:
    """Return the modes that consist of internal rotations, ascending."""
    if not found:
        return []
    turns = np.array([rotor.displacement(modes.positions, modes.masses) for rotor in found])
    basis = np.linalg.qr(turns.T)[0]
    part = ((modes.weighted @ basis) ** 2).sum(axis=1)
    return [int(k) for k in np.flatnonzero((part > _TORSION) & (modes.wavenumber < _HIGHEST))]


def hindered_rotor(atoms: Atoms, rotor: Rotor, points: int = 36) -> LargeAmplitude:
    """Return the levels of an internal rotation from a relaxed scan.

    Parameters
    ----------
    atoms
        A relaxed molecule with its calculator; not changed.
    rotor
        What turns.
    points
        Number of angles.
    """
    angle = 2.0 * np.pi * np.arange(points) / points
    energy, constant = np.empty(points), np.empty(points)
    structures = np.empty((points, len(atoms), 3))
    start = atoms.get_dihedral(*rotor.dihedral)
    scanned = atoms.copy()
    scanned.calc = atoms.calc
    for p, turn in enumerate(angle):
        wanted = start + np.degrees(turn)
        scanned.set_dihedral(*rotor.dihedral, wanted, indices=list(rotor.top))
        excess = partial(rotor.beyond, wanted)
        Held(excess, rotor.gradient, _STIFFNESS).relax(scanned)
        # at the angle that was wanted, by the slope that the spring tells
        moved_on = _STIFFNESS * excess(scanned.positions) ** 2
        energy[p] = WAVENUMBER_PER_EV * (scanned.get_potential_energy() + moved_on)
        structures[p] = centred(scanned.positions, scanned.get_masses())
        moved = rotor.displacement(structures[p], scanned.get_masses())
        constant[p] = ROTATIONAL / (moved @ moved)
    energy -= energy.min()
    ends = [f"{chemical_symbols[atoms.numbers[i]]}{i}" for i in rotor.dihedral[1:3]]
    direction = rotor.displacement(structures[0], scanned.get_masses())
    return LargeAmplitude(
        "rotation about " + "–".join(ends),
        *(direction, angle, energy, constant, structures),
        states=rotor_states(energy, constant),
        periodic=True,
    )


def rotor_states(energy: np.ndarray, constant: np.ndarray) -> PathStates:
    """Return the states of −d/dφ F d/dφ + V.

    Parameters
    ----------
    energy, constant
        V and F on an even grid of angles over 2π, starting at φ = 0, ``[n]``, cm⁻¹.
    """
    apart = np.arange(_GRID)[:, None] - np.arange(_GRID)
    half = np.pi * apart / _GRID + np.eye(_GRID)
    derivative = np.where(apart, 0.5 * (-1.0) ** apart / np.sin(half), 0.0)
    kinetic = derivative.T @ (resample(constant, _GRID)[:, None] * derivative)
    levels, functions = np.linalg.eigh(kinetic + np.diag(resample(energy, _GRID)))
    angle = 2.0 * np.pi * np.arange(_GRID) / _GRID
    # within ±60° of the relaxed structure
    near = 0.5 + 0.5 * np.tanh(8.0 * (np.cos(angle) - 0.5))
    return PathStates(angle, levels, functions, near, np.sin(angle))
