# SPDX-License-Identifier: MIT
r"""Vibrational self-consistent field and configuration interaction.

VSCF (Bowman, J. Chem. Phys. 68, 608 (1978)) gives each mode the functions of the mean
field of the others in the ground state. VCI diagonalises the Hamiltonian in all
configurations of at most n quanta. As that is better for the ground state than for excited
ones, the configurations of n + 1 to n + 3 quanta (cubic terms connect states that differ by three;
in the largest bases to n + 2) are added by second-order perturbation theory, each as a two-level
problem so that no denominator vanishes:

    ΔE_i = Σ_c ½ [sgn(Δ) √(Δ² + 4⟨c|H|i⟩²) − Δ],   Δ = E_i − E_c.

A configuration is the number of quanta in each mode, a row of an integer array. An operator
on some modes connects configurations which agree in all other modes; these are found by a sum of
random 64-bit numbers, one for each mode and quantum, in which the modes of the
operator are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import eigh

from eqcalc.anharmonic.degeneracy import partners
from eqcalc.anharmonic.modal_basis import Expansion, ModalBasis, Modes, expanded
from eqcalc.anharmonic.rotation_coupling import (
    TENSOR,
    coriolis_constants,
    inverse_inertia_surface,
    pair_coupling,
    rotational_constants,
    vibrational_angular_momentum,
)
from eqcalc.normal_modes import NormalModes

#: Configurations outside the basis whose coupling is computed at once.
_BLOCK = 8000
#: Configurations of three more quanta are added for at most so many couplings to the basis.
_COUPLINGS = 200_000_000


@dataclass(frozen=True, eq=False)
class Hamiltonian:
    """Vibrational Hamiltonian in the product of one-mode functions, cm⁻¹.

    Parameters
    ----------
    bases
        Of the modes.
    potential
        Terms of one and more modes; those of one mode with the kinetic energy.
    momenta
        iπ_a of each axis, as terms of two modes.
    inverse_inertia
        B_ab by its axes, as a constant and terms.
    """

    bases: Sequence[ModalBasis]
    potential: Mapping[Modes, np.ndarray]
    momenta: Sequence[Mapping[Modes, np.ndarray]] = ()
    inverse_inertia: Mapping[tuple[int, int], Mapping[Modes, np.ndarray]] | None = None

    def matrix(self, rows: np.ndarray) -> np.ndarray:
        """Return the Hamiltonian between configurations, ``[n, n]``."""
        result = matrix(self.potential, rows, rows)
        if self.inverse_inertia is None:
            return result
        wider = all_configurations(rows.shape[1], int(rows.sum(axis=1).max()) + 2, self._highest)
        rotated = [
            _sparse(momentum, wider, rows) if momentum else None for momentum in self.momenta
        ]
        for (a, b), terms in self.inverse_inertia.items():
            left, right = rotated[a], rotated[b]
            if left is not None and right is not None:
                result += (left.T @ (_sparse(terms, wider, wider) @ right)).toarray()
        return 0.5 * (result + result.T)

    @property
    def _highest(self) -> int:
        return len(self.bases[0]) - 1


@dataclass(frozen=True, eq=False)
class States:
    """Vibrational states.

    Parameters
    ----------
    energies
        ``[n_states]``, cm⁻¹, ascending, from the bottom of the surface.
    configurations
        ``[n_configurations, n_modes]``.
    vectors
        Coefficients of the configurations, ``[n_configurations, n_states]``.
    partners
        States of one degenerate level, which have its mean energy, with half of the splitting by
        the truncated surface, cm⁻¹.
    """

    energies: np.ndarray
    configurations: np.ndarray
    vectors: np.ndarray
    partners: Mapping[tuple[int, ...], float] = field(default_factory=dict)

    def selected(self, which: np.ndarray) -> States:
        """Return some of the states."""
        place = {f: i for i, f in enumerate(which.tolist())}
        partners = {
            tuple(place[f] for f in found): half
            for found, half in self.partners.items()
            if place.keys() >= set(found)
        }
        return States(self.energies[which], self.configurations, self.vectors[:, which], partners)

    def averaged(self, levels: np.ndarray) -> np.ndarray:
        """Return levels of the states, ``[n_states]``, those of partners at their mean."""
        levels = levels.copy()
        for found in self.partners:
            levels[list(found)] = levels[list(found)].mean()
        return levels

    @property
    def splitting(self) -> np.ndarray:
        """Half of the splitting of each state from its partners, ``[n_states]``, cm⁻¹."""
        result = np.zeros(len(self.energies))
        for found, half in self.partners.items():
            result[list(found)] = half
        return result

    def overlaps(self, other: States) -> np.ndarray:
        """Return the overlaps with states in a part of the configurations, ``[n, n_other]``."""
        rows = {tuple(row): i for i, row in enumerate(other.configurations.tolist())}
        place = np.array([rows.get(tuple(row), -1) for row in self.configurations.tolist()])
        common = place >= 0
        return np.asarray(self.vectors[common].T @ other.vectors[place[common]])


def self_consistent_rotations(
    bases: Sequence[ModalBasis], potential: Mapping[Modes, np.ndarray], tolerance: float = 1e-6
) -> list[np.ndarray]:
    """Return the rotation of each basis to the functions of the mean field of the ground state.

    Parameters
    ----------
    bases, potential
        See :class:`Hamiltonian`.
    tolerance
        Change of the ground-state energies of the modes at convergence, cm⁻¹.
    """
    rotations = [np.eye(len(basis)) for basis in bases]
    energies = np.zeros(len(bases))
    coupled = {modes: term for modes, term in potential.items() if len(modes) > 1}
    for _ in range(100):
        before = energies.copy()
        ground = [rotation[:, 0] for rotation in rotations]
        fields = [potential[(k,)].copy() for k in range(len(bases))]
        for modes, term in coupled.items():
            n = len(term)
            for place, k in enumerate(modes):
                field = np.moveaxis(term, (2 * place, 2 * place + 1), (0, 1))
                for other in modes[:place] + modes[place + 1 :]:
                    lowest = ground[other][:n]
                    field = np.einsum("abcd...,c,d->ab...", field, lowest, lowest)
                fields[k][:n, :n] += field
        for k, field in enumerate(fields):
            values, rotations[k] = np.linalg.eigh(field)
            energies[k] = values[0]
        if np.abs(energies - before).max() < tolerance:
            break
    return rotations


def vibrational_states(
    hamiltonian: Hamiltonian,
    quanta: int,
    upper: float,
    degenerate: Sequence[Sequence[int]] = (),
) -> States:
    """Return the states up to an energy above the ground state.

    Parameters
    ----------
    hamiltonian
        In the functions of :func:`self_consistent_rotations`.
    quanta
        Largest sum of quanta of a configuration.
    upper
        Highest energy above the ground state, cm⁻¹.
    degenerate
        Modes of each degenerate level (:mod:`~eqcalc.anharmonic.degeneracy`). States with a part in
        one are joined, and turned into single quanta of one mode each as far as possible.
    """
    rows = all_configurations(len(hamiltonian.bases), quanta, len(hamiltonian.bases[0]) - 1)
    full = hamiltonian.matrix(rows)
    # the ground configuration lies above the ground state
    highest = float(full[0, 0]) + upper
    energies, vectors = eigh(full, subset_by_value=(-np.inf, highest), overwrite_a=True)
    split: dict[tuple[int, ...], float] = {}
    for level in degenerate:
        single = [
            int(np.flatnonzero((rows.sum(axis=1) == 1) & (rows[:, k] == 1))[0]) for k in level
        ]
        for found in partners(energies, vectors[single]):
            left, _, right = np.linalg.svd(vectors[np.ix_(single, found)])
            vectors[:, found] = vectors[:, found] @ (left @ right).T
            split[tuple(found)] = 0.5 * float(np.ptp(energies[found]))
            energies[found] = energies[found].mean()
    return States(energies, rows, vectors, split)


def outer_correction(hamiltonian: Hamiltonian, states: States) -> np.ndarray:
    """Return the second-order energies of configurations of up to three more quanta, cm⁻¹.

    Of up to two more, if there are too many of three.
    """
    inside = states.configurations
    quanta = int(inside.sum(axis=1).max())
    n_modes = inside.shape[1]
    couplings = math.comb(n_modes + quanta + 3, n_modes) * len(inside)
    end = quanta + (3 if couplings <= _COUPLINGS else 2)
    outside = all_configurations(n_modes, end, len(hamiltonian.bases[0]) - 1)
    outside = outside[outside.sum(axis=1) > quanta]
    correction = np.zeros(len(states.energies))
    for start in range(0, len(outside), _BLOCK):
        block = outside[start : start + _BLOCK]
        coupling = matrix(hamiltonian.potential, block, inside) @ states.vectors
        gap = states.energies - diagonal(hamiltonian.potential, block)[:, None]
        root = np.sqrt(gap**2 + 4.0 * coupling**2)
        correction += 0.5 * (np.sign(gap) * root - gap).sum(axis=0)
    return correction


def _sparse(
    operators: Mapping[Modes, np.ndarray], rows: np.ndarray, columns: np.ndarray
) -> sparse.csr_matrix:
    """Return the matrix of a sum of operators, without zeros."""
    parts = []
    for modes, operator in operators.items():
        i, j = connections(rows, columns, modes)
        values = elements(operator, rows[i], columns[j], modes) if modes else operator + 0.0 * i
        kept = np.abs(values) > 1e-10
        parts.append((values[kept], i[kept], j[kept]))
    values, i, j = (np.concatenate(part) for part in zip(*parts, strict=True))
    return sparse.csr_matrix((values, (i, j)), shape=(len(rows), len(columns)))


# --- configurations --------------------------------------------------------------------


def all_configurations(n_modes: int, quanta: int, highest: int) -> np.ndarray:
    """Return all configurations of at most so many quanta, ``[n, n_modes]``.

    Parameters
    ----------
    n_modes
        Number of modes.
    quanta
        Largest sum of quanta.
    highest
        Most quanta in a single mode.
    """
    rows = np.zeros((1, 0), dtype=np.int64)
    left = np.array([quanta])
    for _ in range(n_modes):
        choices = np.minimum(left, highest) + 1
        parent = np.repeat(np.arange(len(rows)), choices)
        added = np.arange(len(parent)) - np.repeat(np.cumsum(choices) - choices, choices)
        rows = np.column_stack([rows[parent], added])
        left = left[parent] - added
    return rows[np.lexsort((*-rows.T[::-1], rows.sum(axis=1)))]


def connections(
    rows: np.ndarray, columns: np.ndarray, modes: Modes
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of configurations that agree in all but these modes, as two indices."""
    # what is left of a row without the quanta of these modes must fit among the columns
    rest = rows.sum(axis=1) - rows[:, list(modes)].sum(axis=1)
    candidates = np.flatnonzero(rest <= columns.sum(axis=1).max())
    weights = np.array(np.random.default_rng(0).integers(1, 2**63, rows.shape[1]), dtype=np.uint64)
    weights[list(modes)] = 0
    keys = (rows[candidates].astype(np.uint64) * weights).sum(axis=1)
    others = (columns.astype(np.uint64) * weights).sum(axis=1)
    order = np.argsort(others, kind="stable")
    first = np.searchsorted(others[order], keys, side="left")
    counts = np.searchsorted(others[order], keys, side="right") - first
    starts = np.repeat(first - np.cumsum(counts) + counts, counts)
    return np.repeat(candidates, counts), order[starts + np.arange(len(starts))]


def elements(
    operator: np.ndarray, rows: np.ndarray, columns: np.ndarray, modes: Modes
) -> np.ndarray:
    """Return elements of an operator ``[n, n, n', n', …]`` between pairs of configurations.

    It is zero between functions of more quanta than it has.
    """
    quanta = np.stack([x[:, k] for k in modes for x in (rows, columns)])
    known = (quanta < len(operator)).all(axis=0)
    if known.all():
        return np.asarray(operator[tuple(quanta)])
    result = np.zeros(len(rows))
    result[known] = operator[tuple(quanta[:, known])]
    return result


def matrix(
    operators: Mapping[Modes, np.ndarray], rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Return the matrix of a sum of operators, ``[n_rows, n_columns]``."""
    result = np.zeros((len(rows), len(columns)))
    for modes, operator in operators.items():
        i, j = connections(rows, columns, modes)
        result[i, j] += elements(operator, rows[i], columns[j], modes)
    return result


def diagonal(operators: Mapping[Modes, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return the diagonal elements of a sum of operators, ``[n_rows]``."""
    result = np.zeros(len(rows))
    for modes, operator in operators.items():
        result += elements(operator, rows, rows, modes)
    return result


#: The inverse inertia varies with the vibrations for molecules of at most so many modes; for larger
#: ones it is that of the equilibrium, and changes two modes at a time.
_ALL_ROTATION = 9


class Solver:
    """The molecule in the functions of its self-consistent field."""

    def __init__(
        self, modes: NormalModes, bases: Sequence[ModalBasis], expansion: Expansion
    ) -> None:
        self._expansion = expansion
        first = self._potential(bases)
        rotations = self_consistent_rotations(bases, first)
        self._bases = [basis.rotated(r) for basis, r in zip(bases, rotations, strict=True)]
        zeta = coriolis_constants(modes)
        self._pairs: dict[Modes, np.ndarray] = {}
        self._rotation: dict[str, Any] = {}
        if len(bases) > _ALL_ROTATION:
            constants = rotational_constants(modes)
            self._pairs = pair_coupling(zeta, constants, modes.wavenumber, self._bases)
        else:
            momenta = [
                vibrational_angular_momentum(axis, modes.wavenumber, self._bases) for axis in zeta
            ]
            inertia = _inverse_inertia(modes, self._bases)
            self._rotation = {"momenta": momenta, "inverse_inertia": inertia}

    def hamiltonian(self, *, coarse: bool = False, highest: int = 4) -> Hamiltonian:
        """Return the Hamiltonian, if wanted with fewer nodes, or without terms of more modes."""
        potential = self._potential(self._bases, coarse=coarse, highest=highest)
        for pair, term in self._pairs.items():
            potential[pair] = potential[pair] + term
        return Hamiltonian(self._bases, potential, **self._rotation)

    def moments(self, states: States, initial: np.ndarray) -> np.ndarray:
        """Return ⟨i|X|f⟩ of every component of the surface for some initial states.

        The shape is ``[n_initial, n_states, n_components]``.
        """
        rows, vectors = states.configurations, states.vectors[:, initial].T
        acted = vectors[:, :, None] * self._expansion.reference
        for modes in self._expansion.terms:
            i, j = connections(rows, rows, modes)
            for component in range(1, acted.shape[2]):
                operator = self._expansion.operator(modes, component, self._bases)
                values = elements(operator, rows[i], rows[j], modes)
                for whole, vector in zip(acted, vectors, strict=True):
                    whole[:, component] += np.bincount(i, values * vector[j], len(rows))
        return np.asarray(states.vectors.T @ acted)

    def _potential(
        self, bases: Sequence[ModalBasis], *, coarse: bool = False, highest: int = 4
    ) -> dict[Modes, np.ndarray]:
        """Return the terms of the Hamiltonian, without Coriolis coupling."""
        result: dict[Modes, np.ndarray] = {}
        for modes in self._expansion.terms:
            if len(modes) == 1:
                result[modes] = bases[modes[0]].hamiltonian
            elif len(modes) == 2 and coarse:
                result[modes] = self._expansion.coarse_operator(modes, 0, bases)
            elif len(modes) <= highest:
                result[modes] = self._expansion.operator(modes, 0, bases)
        return result


def corrected_levels(hamiltonian: Hamiltonian, states: States) -> np.ndarray:
    """Return the energies with those of the configurations outside of the basis, cm⁻¹."""
    return states.averaged(states.energies + outer_correction(hamiltonian, states))


def levels_in(
    hamiltonian: Hamiltonian,
    states: States,
    quanta: int,
    upper: float,
    degenerate: Sequence[Sequence[int]] = (),
) -> np.ndarray:
    """Return the energies of the same states in another Hamiltonian or basis, cm⁻¹.

    The same state is that of the largest overlap; nan if its square is below one half.
    """
    found = vibrational_states(hamiltonian, quanta, upper, degenerate)
    overlaps = states.overlaps(found) ** 2
    levels = corrected_levels(hamiltonian, found.selected(np.argmax(overlaps, axis=1)))
    return states.averaged(np.where(overlaps.max(axis=1) > 0.5, levels, np.nan))


def _inverse_inertia(
    modes: NormalModes, bases: Sequence[ModalBasis]
) -> dict[tuple[int, int], dict[Modes, np.ndarray]]:
    """Return B_ab with terms of one mode, for the smallest molecules of two."""
    surface = inverse_inertia_surface(modes)
    depth = 2 if len(bases) <= 4 else 1
    expansion = expanded(surface, bases)
    result = {}
    for component, (a, b) in enumerate(TENSOR):
        terms: dict[Modes, np.ndarray] = {(): np.array(expansion.reference[component])}
        for found in expansion.terms:
            if len(found) <= depth:
                terms[found] = expansion.operator(found, component, bases)
        result[a, b] = terms
        if a != b:
            result[b, a] = terms
    return result
