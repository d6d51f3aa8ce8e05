# SPDX-License-Identifier: MIT
"""Structures to label next: where the model is needed, is unsure, and has no label nearby.

They are proposed by the current model: snapshots of its dynamics with classical nuclei, beads of
ring polymers, Wigner displacements, and nodes of the n-mode surface on which VCI is going to
evaluate it. Two thirds of a round are a random sample of dynamics and displacements, which says
what is typical. The rest is chosen one after the other by the largest

    s d / (1 + E/Ē)²,

where s is the disagreement of members drawn from the distribution of the last layers about forces
and dipole moment; d the distance to the nearest structure that is labelled or chosen, the
root-mean-square difference of interatomic distances as in :func:`eqcalc.labelling.distinct`; and E
the energy above the lowest structure, with its mean Ē. This is farthest-point sampling weighted
with the uncertainty. Without E it chooses what is farthest from the minimum, where s and d are
largest and which matters least for the spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from ase import Atoms

from eqcalc.anharmonic import Treatment
from eqcalc.anharmonic.modal_basis import oscillator_nodes
from eqcalc.datasets import Record
from eqcalc.datasets.checks import pair_distances
from eqcalc.labelling import SamplingPlan, sample
from eqcalc.models.last_layers import last_layer_members
from eqcalc.models.potential import Potential
from eqcalc.molecules import total_charge
from eqcalc.normal_modes import NormalModes
from eqcalc.prediction.level import ModelLevel
from eqcalc.runtime import eager_evaluator

#: Proposed structures for each that is chosen: of the dynamics and of the grid.
_DYNAMICS, _GRID = 4, 2
#: Structures nearer than this are the same, Å.
_SAME = 1e-3
#: Time before the first snapshot, fs.
_EQUILIBRATION = 200.0


def highest_energy(n_atoms: int) -> float:
    """Return how far above a minimum structures are of use, eV; see `SamplingPlan`."""
    return 1.0 + 0.15 * max(1, 3 * n_atoms - 6)


def proposed(
    level: ModelLevel,
    minima: Sequence[tuple[Atoms, NormalModes]],
    n: int,
    temperature: float,
    rng: np.random.Generator,
) -> tuple[list[Record], list[Record]]:
    """Return structures from which `n` may be chosen: of the dynamics, and of the surface.

    Parameters
    ----------
    level
        The current model.
    minima
        Its minima with their normal modes, of one molecule.
    n
        Number of structures that are going to be chosen.
    temperature
        Of the dynamics, K.
    rng
        Random generator.
    """
    starts = [atoms for atoms, _ in minima]
    plan = SamplingPlan(
        classical={temperature: 0.3},
        wigner={},
        torsional_wigner={temperature: 0.2},
        ring_polymer={temperature: 0.5},
        equilibration=_EQUILIBRATION,
        maximum_energy=highest_energy(len(starts[0])),
        minimum_distance=_SAME,
    )
    dynamics = sample(starts, level.method, _DYNAMICS * n, rng, plan)
    nodes: list[Record] = []
    for atoms, modes in minima:
        nodes += _nodes(level, atoms, modes, -(-_GRID * n // len(minima)), rng)
    return dynamics, nodes


def calls(n: int, n_atoms: int, minima: int = 1) -> int:
    """Return about how many times :func:`proposed` evaluates the model."""
    plan = SamplingPlan.default()
    snapshots = round(_DYNAMICS * n * (0.3 + 0.5 / plan.draws_per_hessian))
    hessians = round(_DYNAMICS * n * 0.7 / plan.draws_per_hessian)
    steps = 2 * minima * _EQUILIBRATION + snapshots * plan.interval
    return round(steps / plan.timestep) + hessians * 6 * n_atoms


def disagreement(potential: Potential, records: Sequence[Record], members: int = 8) -> np.ndarray:
    """Return s/(1 + E/Ē)² of structures of one molecule, ``[n]``, relative.

    The standard deviation of the forces and that of the dipole moment, each divided by its mean
    over the structures, are added; ones if the model has no distribution of its last layers.
    """
    total = np.zeros(len(records))
    if potential.last_layers is None:
        return total + 1.0
    energy: np.ndarray | float = 0.0
    positions = torch.as_tensor(np.stack([record.positions for record in records]))
    numbers = torch.as_tensor(records[0].numbers)
    names = ("forces", *(["dipole"] if "dipole" in potential.config.heads else []))
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for member in last_layer_members(potential, members):
        evaluator = eager_evaluator(member, numbers, charge=records[0].charge)
        values = evaluator(positions, ("energy", *names))
        energy = energy + values["energy"].cpu().numpy()
        for name in names:
            found[name].append(values[name].cpu().numpy().reshape(len(records), -1))
    for members_values in found.values():
        deviation = np.sqrt(np.array(members_values).var(axis=0).mean(axis=1))
        total += deviation / max(deviation.mean(), 1e-12)
    above = energy - np.min(energy)
    return np.asarray(total / (1.0 + above / max(float(above.mean()), 1e-12)) ** 2)


def chosen(
    records: Sequence[Record], score: np.ndarray, n: int, known: Sequence[Record] = ()
) -> list[Record]:
    """Return `n` of some structures, uncertain and unlike each other and the known ones.

    Parameters
    ----------
    records, known
        Structures of one molecule, with its atoms in one order.
    score
        How worthwhile each of `records` is, ``[n_records]``.
    n
        At most so many are returned.
    """
    shapes = _shapes(records)
    nearest = np.full(len(records), np.inf)
    for other in _shapes(known) if known else ():
        nearest = np.minimum(nearest, np.linalg.norm(shapes - other, axis=1))
    picked: list[int] = []
    while len(picked) < min(n, len(records)):
        gain = score if np.isinf(nearest).all() else score * nearest
        best = int(np.argmax(gain))
        if nearest[best] < _SAME:
            break
        picked.append(best)
        nearest = np.minimum(nearest, np.linalg.norm(shapes - shapes[best], axis=1))
    return [records[k] for k in picked]


def _shapes(records: Sequence[Record]) -> np.ndarray:
    distances = pair_distances(np.stack([record.positions for record in records]))
    return np.asarray(distances / np.sqrt(distances.shape[1]))


def _nodes(
    level: ModelLevel, atoms: Atoms, modes: NormalModes, n: int, rng: np.random.Generator
) -> list[Record]:
    """Return nodes of terms of one and two modes, the more often the nearer, of low energies."""
    grid = oscillator_nodes(Treatment.for_modes(len(modes)).nodes[1])
    weights = np.exp(-0.25 * grid**2)  # wider than the ground state, exp(−q²)
    weights /= weights.sum()
    pairs = list(combinations(range(len(modes)), 2)) or [(0, 0)]
    q = np.zeros((2 * n, len(modes)))
    for row in q:
        row[list(pairs[rng.integers(len(pairs))])] = rng.choice(grid, 2, p=weights)
    positions = modes.positions + np.einsum("pk,kia->pia", q, modes.steps, optimize=True)
    evaluator = eager_evaluator(
        level.potential, torch.as_tensor(atoms.numbers), charge=total_charge(atoms)
    )
    energies = evaluator(torch.as_tensor(positions), ("energy",))["energy"].cpu().numpy()
    lowest = float(atoms.get_potential_energy())
    inside = np.flatnonzero(energies - lowest < highest_energy(len(atoms)))[:n]
    return [
        Record(
            atoms.numbers, positions[k], charge=total_charge(atoms), source="node of the surface"
        )
        for k in inside
    ]
