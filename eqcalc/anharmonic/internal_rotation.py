# SPDX-License-Identifier: MIT
r"""Internal rotations: which modes they are, and their levels in one dimension.

Rectilinear coordinates stretch the bonds of a group that turns, so that torsions are no modes
of an n-mode surface. Each is treated by itself as a hindered rotor about its bond,

    H = −d/dφ F(φ) d/dφ + V(φ),   F = ħ²/2I,

with V from a relaxed scan of the dihedral angle, and I the moment of inertia of the internal
rotation with total momentum and angular momentum of the molecule zero (Pitzer, J. Chem. Phys.
14, 239 (1946), for arbitrary tops: the squared length of its mass-weighted displacement
without rigid motions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.constraints import FixInternals
from ase.data import chemical_symbols
from ase.optimize import BFGS

from eqcalc.anharmonic.rotation_coupling import ROTATIONAL
from eqcalc.facts import aligned
from eqcalc.labelling.conformer_search import rotatable_bonds, turning_atoms
from eqcalc.normal_modes import NormalModes, centred, rigid_motions
from eqcalc.units import WAVENUMBER_PER_EV

#: A mode is a torsion if internal rotations make up this part of it, below this wavenumber, cm⁻¹.
_TORSION, _HIGHEST = 0.6, 450.0
#: Tops with a smaller moment of inertia lie on their axis, amu Å².
_LINEAR_TOP = 0.1
#: Highest angular momentum of the basis functions exp(imφ).
_LARGEST_M = 60


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
        if moved @ moved > _LINEAR_TOP:
            found.append(rotor)
    return found


def torsional_modes(modes: NormalModes, found: Sequence[Rotor]) -> list[int]:
    """Return the modes that consist of internal rotations, ascending."""
    if not found:
        return []
    turns = np.array([rotor.displacement(modes.positions, modes.masses) for rotor in found])
    basis = np.linalg.qr(turns.T)[0]
    weighted = (modes.vectors * np.sqrt(modes.masses)[:, None]).reshape(len(modes), -1)
    part = ((weighted @ basis) ** 2).sum(axis=1)
    return [int(k) for k in np.flatnonzero((part > _TORSION) & (modes.wavenumber < _HIGHEST))]


@dataclass(frozen=True)
class HinderedRotor:
    """Levels of an internal rotation.

    Parameters
    ----------
    rotor
        What turns.
    angle
        φ − φ₀ of the scan, rad, from zero at the structure it started from, over 2π.
    energy
        V, cm⁻¹.
    constant
        F, cm⁻¹.
    levels
        Energies above the lowest, cm⁻¹, ascending.
    fundamental
        Transition out of the well of the structure it started from: from its lowest state
        to the state with the largest matrix element of sin(φ − φ₀), cm⁻¹.
    """

    rotor: Rotor
    angle: np.ndarray
    energy: np.ndarray
    constant: np.ndarray
    levels: np.ndarray
    fundamental: float


def hindered_rotor(atoms: Atoms, rotor: Rotor, points: int = 36) -> HinderedRotor:
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
    start = atoms.get_dihedral(*rotor.dihedral)
    scanned = atoms.copy()
    scanned.calc = atoms.calc
    for p, turn in enumerate(angle):
        scanned.set_constraint()
        wanted = start + np.degrees(turn)
        scanned.set_dihedral(*rotor.dihedral, wanted, indices=list(rotor.top))
        # a copy of the list: it is changed in place
        scanned.set_constraint(FixInternals(dihedrals_deg=[[wanted, list(rotor.dihedral)]]))
        BFGS(scanned, logfile=None).run(fmax=5e-3, steps=200)
        energy[p] = WAVENUMBER_PER_EV * scanned.get_potential_energy()
        positions = centred(scanned.positions, scanned.get_masses())
        moved = rotor.displacement(positions, scanned.get_masses())
        constant[p] = ROTATIONAL / (moved @ moved)
    energy -= energy.min()
    levels, fundamental = rotor_levels(energy, constant)
    return HinderedRotor(rotor, angle, energy, constant, levels, fundamental)


def rotor_levels(energy: np.ndarray, constant: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the levels of a rotor and the fundamental of the well at φ = 0.

    Parameters
    ----------
    energy, constant
        V and F on an even grid of angles over 2π, starting at φ = 0, ``[n]``, cm⁻¹.

    Returns
    -------
    levels
        Above the lowest, cm⁻¹.
    fundamental
        See :class:`HinderedRotor`, cm⁻¹.
    """
    m = np.arange(-_LARGEST_M, _LARGEST_M + 1)
    difference = m[:, None] - m[None]

    def matrix(values: np.ndarray) -> np.ndarray:
        """Return ⟨m|f|m'⟩ of a function on the grid."""
        n = len(values)
        coefficients = np.fft.fft(values) / n
        highest = (n - 1) // 2
        inside = np.abs(difference) <= highest
        return np.where(inside, coefficients[difference % n], 0.0)

    hamiltonian = m[:, None] * matrix(constant) * m[None] + matrix(energy)
    levels, states = np.linalg.eigh(hamiltonian)
    angle = 2.0 * np.pi * np.arange(len(energy)) / len(energy)
    # the lowest state that is at home in the well: within ±60° of its bottom
    near = matrix(0.5 + 0.5 * np.tanh(8.0 * (np.cos(angle) - 0.5)))
    inside = np.einsum("as,ab,bs->s", states.conj(), near, states).real
    lowest = int(np.flatnonzero(inside >= 0.5 * inside[:12].max())[0])
    strength = np.abs(states.conj().T @ matrix(np.sin(angle)) @ states[:, lowest]) ** 2
    strength[: lowest + 1] = 0.0
    partner = int(np.argmax(strength * (levels - levels[lowest])))
    return levels - levels[0], float(levels[partner] - levels[lowest])


def separated_torsions(
    atoms: Atoms, modes: NormalModes
) -> tuple[list[int], tuple[HinderedRotor, ...]]:
    """Return the modes that are torsions, and the internal rotations in their place.

    Parameters
    ----------
    atoms
        A relaxed molecule with its calculator.
    modes
        Its normal modes.

    Returns
    -------
    torsions
        See :func:`torsional_modes`.
    turned
        The levels of every rotor; none if no mode is a torsion.
    """
    found = rotors(atoms)
    torsions = torsional_modes(modes, found)
    return torsions, tuple(hindered_rotor(atoms, rotor) for rotor in found if torsions)


def rotor_table(atoms: Atoms, turned: Sequence[HinderedRotor]) -> str:
    """Return internal rotations as text."""
    rows = [["internal rotation", "barrier/cm⁻¹", "F/cm⁻¹", "ν̃/cm⁻¹"]]
    for found in turned:
        ends = [f"{chemical_symbols[atoms.numbers[i]]}{i + 1}" for i in found.rotor.dihedral[1:3]]
        values = (f"{found.energy.max():.0f}", f"{found.constant.mean():.2f}")
        rows.append(["–".join(ends), *values, f"{found.fundamental:.1f}"])
    return aligned(rows, words={0})
