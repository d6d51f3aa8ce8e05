# SPDX-License-Identifier: MIT
"""Anharmonic spectra: an n-mode surface of a model, VSCF and VCI, transition moments."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch

from eqcalc.anharmonic.configuration_interaction import (
    Hamiltonian,
    States,
    outer_correction,
    self_consistent_rotations,
    vibrational_states,
)
from eqcalc.anharmonic.configurations import connections, elements
from eqcalc.anharmonic.expansion import Expansion, Modes, Surface, expanded
from eqcalc.anharmonic.modal_basis import ModalBasis, oscillator_nodes
from eqcalc.anharmonic.rotation_coupling import (
    TENSOR,
    coriolis_constants,
    inverse_inertia_surface,
    pair_coupling,
    rotational_constants,
    vibrational_angular_momentum,
)
from eqcalc.anharmonic.spectrum import AnharmonicSpectrum, Configuration
from eqcalc.normal_modes import NormalModes, centred, principal_axes, require_minimum
from eqcalc.runtime.evaluator import Evaluator
from eqcalc.units import (
    HBAR,
    angular_frequency_to_wavenumber,
    conversion_factor,
    wavenumber_to_angular_frequency,
)
from eqcalc.validation import InvalidInputError, count, one_of, positive

#: Configurations of the default basis are at most so many.
_CONFIGURATIONS = 6500
#: Points of terms of three modes are by default at most so many.
_POINTS = 40_000
#: Structures evaluated at once.
_BATCH = 2000
#: Angular frequency of 1 cm⁻¹.
_OMEGA = wavenumber_to_angular_frequency(1.0)
#: The inverse inertia varies with the vibrations for molecules of at most so many modes; for larger
#: ones it is that of the equilibrium, and changes two modes at a time.
_ALL_ROTATION = 9
#: A state is kept if single quanta make up this part of it, or if its transition has this part of
#: the largest strength.
_FUNDAMENTAL, _VISIBLE = 0.1, 1e-4
#: Configurations that are kept of a state.
_LEADING = 5


@dataclass(frozen=True)
class Treatment:
    """How far the surface and the wave functions are taken.

    Parameters
    ----------
    coupling
        Most modes in a term of the surface: 2 or 3.
    quanta
        Largest sum of quanta in a configuration.
    nodes
        Quadrature nodes of terms of one, two and three modes.
    upper
        Transitions are computed up to this wavenumber, cm⁻¹.
    """

    coupling: int
    quanta: int
    nodes: tuple[int, int, int]
    upper: float = 4000.0

    def __post_init__(self) -> None:
        one_of("coupling", self.coupling, (2, 3))
        count("quanta", self.quanta, least=2)
        positive("upper", self.upper, unit="cm⁻¹")
        if not 3 <= self.nodes[2] <= self.nodes[1] <= self.nodes[0]:
            raise InvalidInputError(
                key="nodes",
                value=self.nodes,
                expected="at least three nodes, and not more for terms of more modes",
            )

    @classmethod
    def for_modes(cls, n_modes: int, **choices: Any) -> Treatment:
        """Return what minutes on two cores allow for so many modes; None chooses a default."""
        quanta = 3
        while quanta < 12 and math.comb(n_modes + quanta + 1, quanta + 1) <= _CONFIGURATIONS:
            quanta += 1
        nodes = (15, 13, 13) if n_modes <= 4 else (13, 9, 7) if n_modes <= 7 else (13, 7, 5)
        triples = math.comb(n_modes, 3) * nodes[2] ** 3
        chosen: Any = {name: value for name, value in choices.items() if value is not None}
        return replace(cls(3 if triples <= _POINTS else 2, quanta, nodes), **chosen)


def anharmonic_spectrum(
    modes: NormalModes,
    evaluator: Evaluator,
    treatment: Treatment | None = None,
    *,
    at_rest: Collection[int] = (),
) -> AnharmonicSpectrum:
    """Return fundamentals, overtones and combination bands of a molecule by VCI.

    Parameters
    ----------
    modes
        Normal modes at the minimum of the evaluator's energy, such as those of
        :func:`eqcalc.harmonic.harmonic_spectrum`.
    evaluator
        Energies, and dipole moments and polarizabilities if it has them; in double precision
        unless an error of a wavenumber does not matter.
    treatment
        By default that of :meth:`Treatment.for_modes`.
    at_rest
        Modes, counted from zero, that are not treated: torsions, for which rectilinear
        coordinates do not serve (:func:`~eqcalc.anharmonic.internal_rotation.torsional_modes`).

    Returns
    -------
    AnharmonicSpectrum
        Errors are *basis*, the change of each wavenumber by the last quantum added to the basis;
        *nodes*, by fewer nodes in terms of two modes; and *coupling*, by leaving out
        the terms of three modes, if there are any.

    Raises
    ------
    NotAMinimumError
        A wavenumber is imaginary.
    InvalidInputError
        No mode is left to treat.
    """
    require_minimum(modes)
    harmonic = modes.wavenumber
    active = [k for k in range(len(modes)) if k not in at_rest]
    if not active:
        raise InvalidInputError(key="molecule", expected="a vibration that is no torsion")
    treatment = treatment or Treatment.for_modes(len(active))
    modes = _treated(modes, active)
    wavenumber = modes.wavenumber
    kept = tuple(name for name in ("dipole", "polarizability") if name in evaluator.quantities)
    surface = model_surface(modes, evaluator, kept)
    bases = _modal_bases(surface, wavenumber, treatment)
    triples = list(combinations(range(len(modes)), 3)) if treatment.coupling == 3 else []
    expansion = expanded(surface, bases, triples)
    solver = _Solver(modes, bases, expansion)
    states = solver.states(treatment.quanta, treatment.upper)
    moments = solver.moments(states, expansion.reference.size)
    states, moments = _relevant(states, moments)
    levels = states.energies + solver.correction(states)
    order = np.argsort(levels, kind="stable")
    order = order[levels[order] <= levels.min() + treatment.upper]
    states, moments, levels = states.selected(order), moments[order], levels[order]
    transitions = levels[1:] - levels[0]
    variants = {
        "basis": solver.transitions(states, treatment.quanta - 1, treatment.upper),
        "nodes": solver.transitions(states, treatment.quanta, treatment.upper, coarse=True),
    }
    if triples:
        variants["coupling"] = solver.transitions(
            states, treatment.quanta, treatment.upper, highest=2
        )
    # √(2ω/ħ) makes a moment the derivative by Q of a harmonic mode of that wavenumber
    scaled = moments[1:] * np.sqrt(2.0 * _OMEGA * transitions / HBAR)[:, None]
    polarizability = None
    if "polarizability" in kept:
        polarizability = np.empty((len(transitions), 3, 3))
        for value, (a, b) in zip(scaled[:, -6:].T, TENSOR, strict=True):
            polarizability[:, a, b] = polarizability[:, b, a] = value
        polarizability *= conversion_factor("e^2*Å^2/eV", "Å^3")
    return AnharmonicSpectrum(
        harmonic=harmonic,
        wavenumber=transitions,
        dipole_derivative=scaled[:, 1:4] if "dipole" in kept else None,
        polarizability_derivative=polarizability,
        assignment=[_leading(states, f, active) for f in range(1, len(levels))],
        zero_point_energy=float(levels[0] + expansion.reference[0]),
        errors={name: np.abs(other - transitions) for name, other in variants.items()},
        provenance={
            "method": "VCI",
            "mode_coupling": treatment.coupling,
            "quanta": treatment.quanta,
            "nodes": list(treatment.nodes),
            **evaluator.provenance,
        },
    )


def _treated(modes: NormalModes, active: Sequence[int]) -> NormalModes:
    """Return some modes, with x, y and z the axes of ascending moments of inertia."""
    axes = principal_axes(modes.positions, modes.masses)[1]
    axes = axes * np.sign(np.linalg.det(axes))
    return NormalModes(
        positions=centred(modes.positions, modes.masses) @ axes,
        masses=modes.masses,
        eigenvalues=modes.eigenvalues[active],
        vectors=modes.vectors[active] @ axes,
        rigid=modes.rigid @ axes,
        residual=modes.residual,
    )


def model_surface(modes: NormalModes, evaluator: Evaluator, properties: Sequence[str]) -> Surface:
    """Return the function of normal coordinates that an evaluator gives.

    Its columns are the energy above that of q = 0, with the last term of Watson's kinetic
    energy, cm⁻¹; then the components of the dipole moment, e Å, and of the polarizability,
    e²Å²/eV, in the order of :data:`~eqcalc.anharmonic.rotation_coupling.TENSOR`.
    """
    steps = modes.vectors * np.sqrt(HBAR / modes.angular_frequency)[:, None, None]
    per_energy = angular_frequency_to_wavenumber(1.0) / HBAR
    inverse_inertia = None if modes.linear else inverse_inertia_surface(modes)
    names = ("energy", *properties)

    def evaluate(q: np.ndarray, origin: float) -> np.ndarray:
        positions = modes.positions + np.einsum("pk,kia->pia", q, steps, optimize=True)
        found = evaluator(torch.as_tensor(positions), names)
        columns = [(found["energy"].cpu().numpy()[:, None] - origin) * per_energy]
        if inverse_inertia is not None:
            columns[0] = columns[0] - 0.25 * inverse_inertia(q)[:, :3].sum(1, keepdims=True)
        if "dipole" in properties:
            columns.append(found["dipole"].cpu().numpy())
        if "polarizability" in properties:
            tensor = found["polarizability"].cpu().numpy()
            columns.append(np.stack([tensor[:, a, b] for a, b in TENSOR], axis=1))
        return np.concatenate(columns, axis=1)

    at_rest = evaluator(torch.as_tensor(modes.positions[None]), ("energy",))["energy"].item()

    def surface(q: np.ndarray) -> np.ndarray:
        blocks = [q[i : i + _BATCH] for i in range(0, len(q), _BATCH)]
        return np.concatenate([evaluate(block, at_rest) for block in blocks])

    return surface


class _Solver:
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

    def states(
        self, quanta: int, upper: float, *, coarse: bool = False, highest: int = 3
    ) -> States:
        """Return the states, if wanted with fewer nodes, or without terms of more modes."""
        return vibrational_states(self._hamiltonian(coarse, highest), quanta, upper)

    def correction(self, states: States, *, coarse: bool = False, highest: int = 3) -> np.ndarray:
        """Return the energy of the configurations outside of the basis."""
        return outer_correction(self._hamiltonian(coarse, highest), states)

    def transitions(self, states: States, quanta: int, upper: float, **variant: Any) -> np.ndarray:
        """Return the transitions of the same states in a variant, cm⁻¹.

        The same state is that of the largest overlap; nan if its square is below one half.
        """
        found = self.states(quanta, upper, **variant)
        overlaps = states.overlaps(found) ** 2
        partners = found.selected(np.argmax(overlaps, axis=1))
        levels = partners.energies + self.correction(partners, **variant)
        return np.where(overlaps.max(axis=1) > 0.5, levels - levels[0], np.nan)[1:]

    def _hamiltonian(self, coarse: bool, highest: int) -> Hamiltonian:
        potential = self._potential(self._bases, coarse=coarse, highest=highest)
        for pair, term in self._pairs.items():
            potential[pair] = potential[pair] + term
        return Hamiltonian(self._bases, potential, **self._rotation)

    def moments(self, states: States, n_components: int) -> np.ndarray:
        """Return ⟨0|X|f⟩ of every component of the surface, ``[n_states, n_components]``."""
        rows, ground = states.configurations, states.vectors[:, 0]
        acted = np.outer(ground, self._expansion.reference)
        for modes in self._expansion.terms:
            i, j = connections(rows, rows, modes)
            for component in range(1, n_components):
                operator = self._expansion.operator(modes, component, self._bases)
                products = elements(operator, rows[i], rows[j], modes) * ground[j]
                acted[:, component] += np.bincount(i, products, len(rows))
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


def _modal_bases(
    surface: Surface, wavenumber: np.ndarray, treatment: Treatment
) -> list[ModalBasis]:
    """Return the basis of each mode from the cut along it."""
    nodes = oscillator_nodes(treatment.nodes[0])
    n = len(wavenumber)
    points = np.zeros((n, len(nodes), n))
    points[np.arange(n), :, np.arange(n)] = nodes
    cuts = surface(points.reshape(-1, n))[:, 0].reshape(n, -1) - surface(np.zeros((1, n)))[0, 0]
    return [
        ModalBasis.from_cut(float(nu), cut, treatment.nodes[1:])
        for nu, cut in zip(wavenumber, cuts, strict=True)
    ]


def _leading(states: States, f: int, active: Sequence[int]) -> list[Configuration]:
    """Return the configurations of largest weight of a state."""
    weights = states.vectors[:, f] ** 2
    found = np.argsort(-weights, kind="stable")[:_LEADING]
    result = []
    for c in found:
        excited = states.configurations[c]
        quanta = {active[k]: int(excited[k]) for k in excited.nonzero()[0]}
        result.append(Configuration(quanta, float(weights[c])))
    return result


def _relevant(states: States, moments: np.ndarray) -> tuple[States, np.ndarray]:
    """Return the ground state, the fundamentals, and the states with visible transitions."""
    single = states.configurations.sum(axis=1) == 1
    keep = (states.vectors[single] ** 2).sum(axis=0) > _FUNDAMENTAL
    keep[0] = True
    strength = states.energies[:, None] * moments**2
    # dipole and polarizability each by its own scale
    for part in (strength[:, 1:-6], strength[:, -6:]):
        total = part[1:].sum(axis=1)
        if total.size:
            keep[1:] |= total > _VISIBLE * total.max()
    return states.selected(np.flatnonzero(keep)), moments[keep]
