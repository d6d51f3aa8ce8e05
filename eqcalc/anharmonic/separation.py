# SPDX-License-Identifier: MIT
r"""Modes that leave an n-mode surface, and come back as transitions of motions in one dimension.

Transitions have the moments ⟨i|μ(s)|f⟩ of the structures of a scan, each turned onto the relaxed
one (Eckart, Phys. Rev. 47, 552 (1935)), or onto each other if both ends of a bond turn alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from eqcalc.anharmonic.analysis import moment_derivatives, treated_modes
from eqcalc.anharmonic.internal_rotation import hindered_rotor, rotors, torsional_modes
from eqcalc.anharmonic.inversion import inversion_mode, inverting, pyramids
from eqcalc.anharmonic.large_amplitude import LargeAmplitude
from eqcalc.anharmonic.spectrum import AnharmonicSpectrum, Configuration
from eqcalc.facts import aligned
from eqcalc.normal_modes import NormalModes
from eqcalc.runtime.evaluator import Evaluator
from eqcalc.units import SECOND_RADIATION_CONSTANT, conversion_factor

#: Initial states of a smaller population, and transitions of a smaller part of the largest
#: strength, are left out; so are those between partners by tunnelling, cm⁻¹.
_POPULATED, _VISIBLE, _TUNNELLING = 0.01, 0.01, 20.0
#: Upper states that are at least this part of the state that is moved have one quantum more.
_ONE_QUANTUM = 0.1
#: Modes below this are no vibrations: a group that turns about a linear chain, cm⁻¹.
_FREE = 20.0
#: Structures jump where one step of a scan is so many times the median one.
_JUMP = 4.0
#: Inversions with a higher barrier are vibrations about one minimum, cm⁻¹.
_BARRIER = 4000.0


def separated_motions(
    atoms: Atoms, modes: NormalModes
) -> tuple[list[int], tuple[LargeAmplitude, ...]]:
    """Return the modes that are torsions or inversions, and the motions in their place.

    Parameters
    ----------
    atoms
        A relaxed molecule with its calculator.
    modes
        Its normal modes.

    Returns
    -------
    at_rest
        Modes that do not belong on an n-mode surface, those of free rotations included.
    motions
        The internal rotation that is most like each torsion, and inversions over low barriers.
    """
    found = rotors(atoms)
    at_rest = torsional_modes(modes, found)
    turns = [rotor.displacement(modes.positions, modes.masses) for rotor in found]
    motions = [hindered_rotor(atoms, found[k]) for _, k in _pairs(modes, at_rest, turns)]
    for pyramid in pyramids(atoms):
        mode = inversion_mode(modes, pyramid)
        if mode is not None and mode not in at_rest:
            motion = inverting(atoms, pyramid)
            if motion.barrier < _BARRIER:
                at_rest, motions = [*at_rest, mode], [*motions, motion]
    free = [int(k) for k in np.flatnonzero(modes.wavenumber < _FREE) if k not in at_rest]
    return [*at_rest, *free], tuple(motions)


def with_motions(
    spectrum: AnharmonicSpectrum,
    at_rest: Sequence[int],
    motions: Sequence[LargeAmplitude],
    modes: NormalModes,
    evaluator: Evaluator,
    temperature: float = 0.0,
) -> AnharmonicSpectrum:
    """Return a spectrum with the transitions of motions of large amplitude.

    Parameters
    ----------
    spectrum
        The transitions of the other modes.
    at_rest, motions
        The modes that are not part of it, and the motions in their place. Each mode is the motion
        that is most like it.
    modes
        All normal modes.
    evaluator
        Dipole moments and polarizabilities, as far as the spectrum has them.
    temperature
        Of the populations of the states in the well of the structure, K.

    Returns
    -------
    AnharmonicSpectrum
        Errors of the motions are nan: nothing is known of their coupling to other modes. The
        provenance has the modes, counted from one, as ``separated_modes``.
    """
    if not at_rest:
        return spectrum
    reference = treated_modes(modes, at_rest).positions
    for row, column in _pairs(modes, at_rest, [motion.direction for motion in motions]):
        lines = _transitions(motions[column], spectrum, evaluator, reference, modes, temperature)
        spectrum = _merged(spectrum, at_rest[row], lines)
    record = {**spectrum.provenance, "separated_modes": sorted(k + 1 for k in at_rest)}
    return replace(spectrum, provenance=record)


def _pairs(
    modes: NormalModes, at_rest: Sequence[int], directions: Sequence[np.ndarray]
) -> list[tuple[int, int]]:
    """Return which mode, as an index of `at_rest`, is which direction."""
    if not at_rest or not directions:
        return []
    paths = np.array(directions)
    alike = (modes.weighted[list(at_rest)] @ paths.T) ** 2 / (paths**2).sum(axis=1)
    rows, columns = linear_sum_assignment(-alike)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class _Lines:
    """Transitions of a motion, with quanta of both states and weights of one quantum."""

    wavenumber: np.ndarray
    dipole: np.ndarray | None
    polarizability: np.ndarray | None
    quanta: list[tuple[int, int]]
    weight: np.ndarray


def _transitions(
    found: LargeAmplitude,
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

    turned, cut = _without_rotation(found, reference, modes.masses)
    kept = [
        name
        for name in ("dipole", "polarizability")
        if getattr(spectrum, f"{name}_derivative") is not None
    ]
    values = evaluator(torch.as_tensor(turned), kept) if kept else {}
    moments = {}
    for name in kept:
        along = found.on_grid(values[name].cpu().numpy().reshape(len(turned), -1), cut)
        products = states.functions[:, lower] * states.functions[:, upper]
        moments[name] = moment_derivatives(products.T @ along, wavenumber)
    parts = {int(i): states.one_quantum(int(i)) for i in np.unique(lower)}
    one = np.array([parts[i][f] for i, f in zip(lower.tolist(), upper.tolist(), strict=True)])
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


def _without_rotation(
    found: LargeAmplitude, reference: np.ndarray, masses: np.ndarray
) -> tuple[np.ndarray, int | None]:
    """Return the structures of a scan turned onto a reference, and where they do not close.

    Two equal halves of a molecule, as in hydrogen peroxide, turn by half of the angle each: after
    a whole turn of one against the other the molecule has made half a turn. Such structures follow
    each other from the relaxed one to the highest barrier, of which the index is returned.
    """

    def onto(goal: np.ndarray, structure: np.ndarray) -> np.ndarray:
        return np.asarray(
            Rotation.align_vectors(goal, structure, weights=masses)[0].apply(structure)
        )

    turned = np.array([onto(reference, structure) for structure in found.positions])
    if not found.periodic:
        return turned, None
    moved = np.roll(turned, -1, axis=0) - turned
    steps = np.sqrt((moved**2 * masses[:, None]).sum(axis=(1, 2)))
    if steps.max() < _JUMP * np.median(steps):
        return turned, None
    cut = int(np.argmax(found.energy))
    for p in range(1, cut + 1):
        turned[p] = onto(turned[p - 1], found.positions[p])
    for p in range(len(turned) - 1, cut, -1):
        turned[p] = onto(turned[(p + 1) % len(turned)], found.positions[p])
    return turned, cut


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

    errors = {
        name: np.append(error, np.full(len(lines.quanta), np.nan))[order]
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


def motion_table(motions: Sequence[LargeAmplitude]) -> str:
    """Return motions of large amplitude as text."""
    rows = [["motion", "barrier", "fundamental"], ["(atoms from 0)", "cm⁻¹", "cm⁻¹"]]
    for found in motions:
        rows.append([found.name, f"{found.barrier:.0f}", f"{found.states.fundamental:.1f}"])
    return aligned(rows, words={0})
