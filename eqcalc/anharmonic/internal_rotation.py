# SPDX-License-Identifier: MIT
r"""Internal rotations: which modes they are, and their levels in one dimension.

Rectilinear coordinates stretch the bonds of a group that turns, so that torsions are no modes
of an n-mode surface. Each is treated by itself as a hindered rotor about its bond,

    H = −d/dφ F(φ) d/dφ + V(φ),   F = ħ²/2I,

with V from a relaxed scan of the dihedral angle, and I the moment of inertia of the internal
rotation with total momentum and angular momentum of the molecule zero (Pitzer, J. Chem. Phys.
14, 239 (1946), for arbitrary tops: the squared length of its mass-weighted displacement
without rigid motions). Its transitions have the moments ⟨i|μ(φ)|f⟩ of the structures of the scan,
turned onto the relaxed one (Eckart, Phys. Rev. 47, 552 (1935)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixInternals
from ase.data import chemical_symbols
from ase.optimize import BFGS
from scipy.optimize import linear_sum_assignment
from scipy.signal import resample
from scipy.spatial.transform import Rotation

from eqcalc.anharmonic.analysis import moment_derivatives, treated_modes
from eqcalc.anharmonic.rotation_coupling import ROTATIONAL
from eqcalc.anharmonic.spectrum import AnharmonicSpectrum, Configuration
from eqcalc.facts import aligned
from eqcalc.labelling.conformer_search import rotatable_bonds, turning_atoms
from eqcalc.normal_modes import NormalModes, centred, rigid_motions
from eqcalc.runtime.evaluator import Evaluator
from eqcalc.units import SECOND_RADIATION_CONSTANT, WAVENUMBER_PER_EV, conversion_factor

#: A mode is a torsion if internal rotations make up this part of it, below this wavenumber, cm⁻¹.
_TORSION, _HIGHEST = 0.6, 450.0
#: Tops with a smaller moment of inertia lie on their axis, amu Å².
_LINEAR_TOP = 0.1
#: Points of the grid, as many as functions exp(imφ), |m| ≤ 60.
_GRID = 121
#: Initial states of a smaller population, and transitions of a smaller part of the largest
#: strength, are left out; so are those between partners by tunnelling, cm⁻¹.
_POPULATED, _VISIBLE, _TUNNELLING = 0.01, 0.01, 20.0
#: Upper states that are at least this part of the state that is moved have one quantum more.
_ONE_QUANTUM = 0.1
#: Of a number of states.
_ROUNDING = 1e-6


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
    positions
        Structures of the scan, ``[n_angles, n_atoms, 3]``, Å.
    states
        Levels and wave functions.
    """

    rotor: Rotor
    angle: np.ndarray
    energy: np.ndarray
    constant: np.ndarray
    positions: np.ndarray
    states: RotorStates

    @property
    def levels(self) -> np.ndarray:
        """Energies above the lowest, cm⁻¹, ascending."""
        return self.states.levels - self.states.levels[0]

    @property
    def fundamental(self) -> float:
        """Transition out of the well of the structure the scan started from, cm⁻¹."""
        return self.states.fundamental


@dataclass(frozen=True)
class RotorStates:
    """States of a hindered rotor on an even grid of angles.

    Parameters
    ----------
    levels
        ``[n_states]``, cm⁻¹, ascending.
    functions
        Real wave functions as columns, ``[n_grid, n_states]``, of unit length.
    """

    levels: np.ndarray
    functions: np.ndarray

    @classmethod
    def of(cls, energy: np.ndarray, constant: np.ndarray) -> RotorStates:
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
        return cls(*np.linalg.eigh(kinetic + np.diag(resample(energy, _GRID))))

    @property
    def angle(self) -> np.ndarray:
        """The grid, rad."""
        return 2.0 * np.pi * np.arange(_GRID) / _GRID

    @property
    def _near(self) -> np.ndarray:
        """One within ±60° of φ = 0, zero elsewhere."""
        return np.asarray(0.5 + 0.5 * np.tanh(8.0 * (np.cos(self.angle) - 0.5)))

    @property
    def inside(self) -> np.ndarray:
        """Probability of each state within ±60° of φ = 0."""
        return np.asarray(self._near @ self.functions**2)

    @property
    def fundamental(self) -> float:
        """From the lowest state at home to the one that is most its first excitation, cm⁻¹."""
        upper = int(np.argmax(self.one_quantum(self.lowest)))
        return float(self.levels[upper] - self.levels[self.lowest])

    @property
    def lowest(self) -> int:
        """The lowest state that belongs to the well at φ = 0 as much as to any other."""
        inside = self.inside
        return int(np.flatnonzero(inside >= 0.5 * inside[:12].max())[0])

    def one_quantum(self, state: int) -> np.ndarray:
        """Return the part of each higher state in a state that is moved, sin φ ψ within the well.

        They add to one or less.
        """
        moved = self._near * np.sin(self.angle) * self.functions[:, state]
        part = (self.functions.T @ moved) ** 2 / (moved @ moved)
        part[: state + 1] = 0.0
        return part

    def quanta(self) -> np.ndarray:
        """Return the quanta of each state: how many states of the well lie below it."""
        inside = self.inside
        # half of its own, so that partners by tunnelling share a number
        below = np.cumsum(inside) - 0.5 * inside
        return np.maximum(np.floor(below - _ROUNDING), 0.0).astype(int)


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
    structures = np.empty((points, len(atoms), 3))
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
        structures[p] = centred(scanned.positions, scanned.get_masses())
        moved = rotor.displacement(structures[p], scanned.get_masses())
        constant[p] = ROTATIONAL / (moved @ moved)
    energy -= energy.min()
    states = RotorStates.of(energy, constant)
    return HinderedRotor(rotor, angle, energy, constant, structures, states)


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


def with_torsions(
    spectrum: AnharmonicSpectrum,
    torsions: Sequence[int],
    turned: Sequence[HinderedRotor],
    modes: NormalModes,
    evaluator: Evaluator,
    temperature: float = 0.0,
) -> AnharmonicSpectrum:
    """Return a spectrum with the transitions of internal rotations.

    Parameters
    ----------
    spectrum
        The transitions of the other modes.
    torsions, turned
        The modes that are torsions, and the rotors: see :func:`separated_torsions`. Each torsion
        is the rotor that is most like it.
    modes
        All normal modes.
    evaluator
        Dipole moments and polarizabilities, as far as the spectrum has them.
    temperature
        Of the populations of the states in the well of the structure, K.

    Returns
    -------
    AnharmonicSpectrum
        Of the coupling of a torsion to other modes nothing is known: its error is nan.
    """
    if not torsions:
        return spectrum
    turns = np.array([f.rotor.displacement(modes.positions, modes.masses) for f in turned])
    weighted = (modes.vectors[torsions] * np.sqrt(modes.masses)[:, None]).reshape(len(torsions), -1)
    alike = (weighted @ turns.T) ** 2 / (turns**2).sum(axis=1)
    pairs = zip(*linear_sum_assignment(-alike), strict=True)
    reference = treated_modes(modes, torsions).positions
    for row, column in pairs:
        lines = _transitions(turned[column], spectrum, evaluator, reference, modes, temperature)
        spectrum = _merged(spectrum, torsions[row], lines)
    return spectrum


@dataclass(frozen=True)
class _Lines:
    """Transitions of a rotor, with quanta of both states and weights of one quantum."""

    wavenumber: np.ndarray
    dipole: np.ndarray | None
    polarizability: np.ndarray | None
    quanta: list[tuple[int, int]]
    weight: np.ndarray


def _transitions(
    found: HinderedRotor,
    spectrum: AnharmonicSpectrum,
    evaluator: Evaluator,
    reference: np.ndarray,
    modes: NormalModes,
    temperature: float,
) -> _Lines:
    """Return the visible transitions from states in the well of the structure."""
    states = found.states
    above = states.levels - states.levels[states.lowest]
    population = np.eye(len(above))[states.lowest]
    if temperature > 0.0:
        population = states.inside * np.exp(-SECOND_RADIATION_CONSTANT * above / temperature)
    population /= population.sum()
    lower, upper = np.nonzero(
        (population >= _POPULATED)[:, None] & (above - above[:, None] > _TUNNELLING)
    )
    wavenumber = above[upper] - above[lower]

    turned = [
        Rotation.align_vectors(reference, structure, weights=modes.masses)[0].apply(structure)
        for structure in found.positions
    ]
    kept = [
        name
        for name in ("dipole", "polarizability")
        if getattr(spectrum, f"{name}_derivative") is not None
    ]
    values = evaluator(torch.as_tensor(np.array(turned)), kept) if kept else {}
    moments = {}
    for name in kept:
        along = resample(values[name].cpu().numpy().reshape(len(turned), -1), _GRID)
        products = states.functions[:, lower] * states.functions[:, upper]
        moments[name] = moment_derivatives(products.T @ along, wavenumber)
    one = np.array([states.one_quantum(int(i)) for i in range(len(above))])[lower, upper]
    from_lowest = lower == states.lowest
    keep = from_lowest & (one == one[from_lowest].max(initial=0.0))
    for moment in moments.values():
        strength = population[lower] * (moment**2).sum(axis=1)
        keep |= strength > _VISIBLE * strength.max(initial=0.0)
    quanta = states.quanta()
    start = population[lower][keep]
    emptied = np.zeros(len(start))
    if temperature > 0.0:
        emptied = np.exp(-SECOND_RADIATION_CONSTANT * wavenumber[keep] / temperature)
    dipole = polarizability = None
    if "dipole" in moments:
        dipole = moments["dipole"][keep] * np.sqrt(start * (1.0 - emptied))[:, None]
    if "polarizability" in moments:
        polarizability = moments["polarizability"][keep] * np.sqrt(start)[:, None]
        polarizability = polarizability.reshape(-1, 3, 3) * conversion_factor("e^2*Å^2/eV", "Å^3")
    next_one = quanta[lower] + 1
    higher = np.where(one >= _ONE_QUANTUM, next_one, np.maximum(quanta[upper], next_one))
    pairs = list(zip(quanta[lower][keep].tolist(), higher[keep].tolist(), strict=True))
    return _Lines(wavenumber[keep], dipole, polarizability, pairs, one[keep])


def _merged(spectrum: AnharmonicSpectrum, mode: int, lines: _Lines) -> AnharmonicSpectrum:
    """Return a spectrum with the lines of a mode, in ascending order."""
    wavenumber = np.concatenate([spectrum.wavenumber, lines.wavenumber])
    order = np.argsort(wavenumber, kind="stable")

    def joined(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
        return None if first is None or second is None else np.concatenate([first, second])[order]

    def states(first: Sequence[Sequence[Configuration]], end: int) -> list[Sequence[Configuration]]:
        added = [
            [Configuration({mode: v[end]} if v[end] else {}, float(w) if end else 1.0)]
            for v, w in zip(lines.quanta, lines.weight, strict=True)
        ]
        both = [*first, *added]
        return [both[k] for k in order]

    # there is no other basis, and nothing is known of coupling
    unknown = {name: np.nan if name == "coupling" else 0.0 for name in spectrum.errors}
    errors = {
        name: np.append(error, np.full(len(lines.quanta), unknown[name]))[order]
        for name, error in spectrum.errors.items()
    }
    return replace(
        spectrum,
        wavenumber=wavenumber[order],
        dipole_derivative=joined(spectrum.dipole_derivative, lines.dipole),
        polarizability_derivative=joined(spectrum.polarizability_derivative, lines.polarizability),
        assignment=states(spectrum.assignment, 1),
        initial=states(spectrum.initial, 0),
        errors=errors,
    )


def rotor_table(atoms: Atoms, turned: Sequence[HinderedRotor]) -> str:
    """Return internal rotations as text."""
    rows = [["internal rotation", "barrier/cm⁻¹", "F/cm⁻¹", "ν̃/cm⁻¹"]]
    for found in turned:
        ends = [f"{chemical_symbols[atoms.numbers[i]]}{i + 1}" for i in found.rotor.dihedral[1:3]]
        values = (f"{found.energy.max():.0f}", f"{found.constant.mean():.2f}")
        rows.append(["–".join(ends), *values, f"{found.fundamental:.1f}"])
    return aligned(rows, words={0})
