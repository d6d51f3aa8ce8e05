# SPDX-License-Identifier: MIT
"""The vibrational problem of a molecule on an expanded surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eqcalc.anharmonic.configuration_interaction import (
    Hamiltonian,
    States,
    connections,
    elements,
    outer_correction,
    self_consistent_rotations,
    vibrational_states,
)
from eqcalc.anharmonic.expansion import Expansion, Modes, expanded
from eqcalc.anharmonic.modal_basis import ModalBasis
from eqcalc.anharmonic.rotation_coupling import (
    TENSOR,
    coriolis_constants,
    inverse_inertia_surface,
    pair_coupling,
    rotational_constants,
    vibrational_angular_momentum,
)
from eqcalc.normal_modes import NormalModes

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

    def hamiltonian(self, *, coarse: bool = False, highest: int = 3) -> Hamiltonian:
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
        self, bases: Sequence[ModalBasis], *, coarse: bool = False, highest: int = 3
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
    return states.energies + outer_correction(hamiltonian, states)


def levels_in(hamiltonian: Hamiltonian, states: States, quanta: int, upper: float) -> np.ndarray:
    """Return the energies of the same states in another Hamiltonian or basis, cm⁻¹.

    The same state is that of the largest overlap; nan if its square is below one half.
    """
    found = vibrational_states(hamiltonian, quanta, upper)
    overlaps = states.overlaps(found) ** 2
    levels = corrected_levels(hamiltonian, found.selected(np.argmax(overlaps, axis=1)))
    return np.where(overlaps.max(axis=1) > 0.5, levels, np.nan)


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
