# SPDX-License-Identifier: MIT
"""Anharmonic spectra: an n-mode surface of a model, VSCF and VCI, transition moments."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch

from eqcalc.anharmonic.configuration_interaction import (
    Solver,
    States,
    corrected_levels,
    levels_in,
    vibrational_states,
)
from eqcalc.anharmonic.degeneracy import degenerate_levels, localised
from eqcalc.anharmonic.modal_basis import (
    Expansion,
    ModalBasis,
    Surface,
    expanded,
    oscillator_nodes,
)
from eqcalc.anharmonic.perturbation import LARGEST, perturbed_moments, perturbed_states
from eqcalc.anharmonic.rotation_coupling import (
    TENSOR,
    inverse_inertia_surface,
    rotational_constants,
)
from eqcalc.anharmonic.spectrum import AnharmonicSpectrum, Configuration
from eqcalc.anharmonic.taylor import force_field
from eqcalc.normal_modes import NormalModes, centred, principal_axes, require_minimum
from eqcalc.progress import progress_bar
from eqcalc.runtime.evaluator import Evaluator
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.provenance import molecule_facts
from eqcalc.units import (
    HBAR,
    SECOND_RADIATION_CONSTANT,
    WAVENUMBER_PER_EV,
    conversion_factor,
    wavenumber_to_angular_frequency,
)
from eqcalc.validation import InvalidInputError, count, non_negative, one_of, positive

#: Configurations of the default basis are at most so many, if two quanta allow for it.
_CONFIGURATIONS = 3100
#: Points of terms of three modes are by default at most so many.
_POINTS = 40_000
#: Default end of the spectrum, cm⁻¹.
_HIGHEST = 4000.0
#: A cut that falls this far below the minimum leads into a hole of a model, cm⁻¹.
_HOLE = 3000.0
#: What the source of a spectrum states, of the provenance of an evaluator.
_OF_SOURCE = ("model", "level_of_theory", "charge")
#: Structures evaluated at once.
_BATCH = 2000
#: Angular frequency of 1 cm⁻¹.
_OMEGA = wavenumber_to_angular_frequency(1.0)
#: A transition is kept if single quanta make up this part of its upper state, or if it has this
#: part of the largest strength.
_FUNDAMENTAL, _VISIBLE = 0.1, 1e-4
#: States of a smaller population are no initial states.
_POPULATED = 0.01
#: Configurations that are kept of a state.
_LEADING = 5


@dataclass(frozen=True)
class Treatment:
    """How far the surface and the wave functions are taken.

    Parameters
    ----------
    coupling
        Most modes in a term of the surface: 2, 3 or 4.
    quanta
        Largest sum of quanta in a configuration.
    nodes
        Quadrature nodes of terms of one, two and three modes; those of four have half as many.
    upper
        Transitions are computed up to this wavenumber, cm⁻¹; by default 4000, or the highest
        harmonic wavenumber if that is more.
    """

    coupling: int
    quanta: int
    nodes: tuple[int, int, int]
    upper: float | None = None

    def __post_init__(self) -> None:
        one_of("coupling", self.coupling, (2, 3, 4))
        count("quanta", self.quanta, least=2)
        if self.upper is not None:
            positive("upper", self.upper, unit="cm⁻¹")
        if not 3 <= self.nodes[2] <= self.nodes[1] <= self.nodes[0]:
            raise InvalidInputError(
                key="nodes",
                value=self.nodes,
                expected="at least three nodes, and not more for terms of more modes",
            )

    @classmethod
    def for_modes(
        cls,
        n_modes: int,
        *,
        configurations: int = _CONFIGURATIONS,
        points: int = _POINTS,
        **choices: Any,
    ) -> Treatment:
        """Return what minutes on two cores allow for so many modes.

        Parameters
        ----------
        n_modes
            Number of modes that are treated.
        configurations
            Largest size of the basis, if two quanta allow for it.
        points
            Terms of three modes are included if they take at most so many points, and for
            molecules of four modes then that of all four.
        choices
            Fields of the class; None chooses a default.
        """
        quanta = 2
        while quanta < 12 and math.comb(n_modes + quanta + 1, quanta + 1) <= configurations:
            quanta += 1
        nodes = (15, 13, 13) if n_modes <= 4 else (13, 9, 7) if n_modes <= 7 else (13, 7, 5)
        triples = math.comb(n_modes, 3) * nodes[2] ** 3
        coupling = 2 if triples > points else 4 if n_modes == 4 else 3
        chosen: Any = {name: value for name, value in choices.items() if value is not None}
        return replace(cls(coupling, quanta, nodes), **chosen)

    def points(self, n_modes: int) -> int:
        """Return how many configurations of a molecule are evaluated."""
        total = n_modes * self.nodes[0]  # the cuts of the bases
        for modes in range(1, self.coupling + 1):
            nodes = self.all_nodes[modes - 1 :]
            total += math.comb(n_modes, modes) * sum(n**modes for n in nodes)
        return total

    @property
    def all_nodes(self) -> tuple[int, ...]:
        """Quadrature nodes of terms of one, two, three and, if there are any, four modes."""
        return (*self.nodes, self.nodes[2] // 2 + 1) if self.coupling == 4 else self.nodes

    def configurations(self, n_modes: int) -> int:
        """Return the size of the basis."""
        return math.comb(n_modes + self.quanta, self.quanta)


def anharmonic_spectrum(
    modes: NormalModes,
    evaluator: Evaluator,
    treatment: Treatment | None = None,
    *,
    at_rest: Collection[int] = (),
    temperature: float = 0.0,
    progress: bool = False,
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
    temperature
        Of the vibrations, K: above zero, transitions from excited states are included, and
        intensities hold the populations.
    progress
        Show the progress of the evaluations.

    Returns
    -------
    AnharmonicSpectrum
        Errors are *basis*, the change of each wavenumber by the last quantum added to the basis;
        *nodes*, by fewer nodes in terms of two modes; *coupling*, by leaving out the terms of
        most modes, if they are of three or four and not all terms; and *symmetry*, half of the
        splitting of degenerate fundamentals, which are at their mean.

    Raises
    ------
    NotAMinimumError
        A wavenumber is imaginary.
    InvalidInputError
        No mode is left to treat, or the energy falls far below that of the minimum.
    """
    require_minimum(modes)
    harmonic = modes.wavenumber
    active = [k for k in range(len(modes)) if k not in at_rest]
    if not active:
        raise InvalidInputError(key="molecule", expected="a vibration that is no torsion")
    treatment = treatment or Treatment.for_modes(len(active))
    modes = treated_modes(modes, at_rest)
    wavenumber = modes.wavenumber
    kept = tuple(name for name in ("dipole", "polarizability") if name in evaluator.quantities)
    larger = [
        list(combinations(range(len(modes)), n)) if n <= treatment.coupling else [] for n in (3, 4)
    ]
    total = treatment.points(len(modes))
    with progress_bar(total=total, desc="energies", unit="geometries", shown=progress) as bar:
        surface = model_surface(modes, evaluator, kept, bar.update)
        bases = _modal_bases(surface, wavenumber, treatment.all_nodes)
        expansion = expanded(surface, bases, *larger)
    _require_well(expansion, active)
    solver = Solver(modes, bases, expansion)
    hamiltonian = solver.hamiltonian()
    end = treatment.upper or max(_HIGHEST, float(wavenumber.max()))
    size = (treatment.quanta, end)
    degenerate = degenerate_levels(modes)
    states = vibrational_states(hamiltonian, *size, degenerate)
    population = _population(states.energies, temperature)
    lower, upper, moments = _transitions(solver, states, population)
    ends = np.concatenate([[0], lower, upper, *states.partners]).astype(int)
    used, places = np.unique(ends, return_inverse=True)
    states, population = states.selected(used), population[used]
    lower, upper = places[1 : len(lower) + 1], places[len(lower) + 1 :][: len(upper)]
    levels = corrected_levels(hamiltonian, states)
    order = np.argsort(levels[upper] - levels[lower], kind="stable")
    gap = (levels[upper] - levels[lower])[order]
    order = order[(gap > 0.0) & (gap <= end)]
    lower, upper, moments = lower[order], upper[order], moments[order]
    transitions = levels[upper] - levels[lower]
    variants = _variants(solver, states, treatment, end, degenerate)
    errors = {
        name: np.abs(other[upper] - other[lower] - transitions) for name, other in variants.items()
    }
    if degenerate:
        errors["symmetry"] = np.hypot(states.splitting[lower], states.splitting[upper])
    scaled = moment_derivatives(moments, transitions)
    dipole = polarizability = None
    if "dipole" in kept:
        dipole = scaled[:, 1:4] * np.sqrt(population[lower] - population[upper])[:, None]
    if "polarizability" in kept:
        components = scaled[:, -6:] * np.sqrt(population[lower])[:, None]
        polarizability = np.empty((len(transitions), 3, 3))
        for value, (a, b) in zip(components.T, TENSOR, strict=True):
            polarizability[:, a, b] = polarizability[:, b, a] = value
        polarizability *= conversion_factor("e^2*Å^2/eV", "Å^3")
    named = [_leading(states, f, active) for f in range(len(levels))]
    return AnharmonicSpectrum(
        harmonic=harmonic,
        wavenumber=transitions,
        dipole_derivative=dipole,
        polarizability_derivative=polarizability,
        assignment=[named[f] for f in upper],
        initial=[named[i] for i in lower],
        zero_point_energy=float(levels[0] + expansion.reference[0]),
        rotational_constants=rotational_constants(modes),
        errors=errors,
        provenance=_provenance(
            modes,
            evaluator,
            method="VCI",
            mode_coupling=treatment.coupling,
            quanta=treatment.quanta,
            nodes=list(treatment.nodes),
            temperature_K=temperature,
        ),
    )


def perturbed_spectrum(
    modes: NormalModes, evaluator: Evaluator, *, at_rest: Collection[int] = ()
) -> AnharmonicSpectrum:
    """Return fundamentals, overtones and combination bands of two quanta by GVPT2.

    The arguments are those of :func:`anharmonic_spectrum`; the evaluator needs forces. Of more
    than :data:`~eqcalc.anharmonic.perturbation.LARGEST` modes there are no intensities.
    """
    active = [k for k in range(len(modes)) if k not in at_rest]
    wanted = ("dipole", "polarizability") if len(active) <= LARGEST else ()
    kept = [name for name in wanted if name in evaluator.quantities]
    field = force_field(treated_modes(modes, at_rest), evaluator, kept)
    states = perturbed_states(field)
    transitions = states.energies[1:] - states.energies[0]
    dipole = polarizability = None
    if kept:
        scaled = moment_derivatives(perturbed_moments(field, states)[1:], transitions)
        dipole = scaled[:, :3] if "dipole" in kept else None
        if "polarizability" in kept:
            polarizability = scaled[:, -9:].reshape(-1, 3, 3)
            polarizability = polarizability * conversion_factor("e^2*Å^2/eV", "Å^3")
    named = [_leading(states, f, active) for f in range(len(states.energies))]
    return AnharmonicSpectrum(
        harmonic=modes.wavenumber,
        wavenumber=transitions,
        dipole_derivative=dipole,
        polarizability_derivative=polarizability,
        assignment=named[1:],
        initial=[named[0]] * len(transitions),
        rotational_constants=field.rotational_constants,
        zero_point_energy=float(states.energies[0]),
        provenance={**evaluator.provenance, "method": "GVPT2"},
    )


def harmonic_fundamentals(
    modes: HarmonicSpectrum,
    evaluator: Evaluator,
    scale: np.ndarray,
    *,
    temperature: float = 0.0,
) -> AnharmonicSpectrum:
    """Return the fundamentals of harmonic oscillators at scaled wavenumbers.

    Transitions from excited states lie on them: they leave infrared intensities as they are, and
    make Raman activities n + 1 times as large, with the mean quantum number n.

    Parameters
    ----------
    modes
        At a minimum, with intensities.
    evaluator
        What they are the modes of.
    scale
        Factor of each wavenumber, ``[n_modes]``; ones where none is known.
    temperature
        K.
    """
    require_minimum(modes)
    aligned, axes = treated_modes(modes), principal_frame(modes)
    wavenumber = scale * modes.wavenumber
    order = np.argsort(wavenumber, kind="stable")
    dipole, polarizability = modes.dipole_derivative, modes.polarizability_derivative
    if dipole is not None:
        dipole = (dipole @ axes)[order]
    if polarizability is not None:
        quanta = np.zeros(len(wavenumber))
        if non_negative("temperature", temperature, unit="K") > 0.0:
            quanta = 1.0 / np.expm1(SECOND_RADIATION_CONSTANT * wavenumber / temperature)
        polarizability = axes.T @ polarizability @ axes * np.sqrt(quanta + 1.0)[:, None, None]
        polarizability = polarizability[order]
    return AnharmonicSpectrum(
        harmonic=modes.wavenumber,
        wavenumber=wavenumber[order],
        dipole_derivative=dipole,
        polarizability_derivative=polarizability,
        assignment=[[Configuration({int(k): 1}, 1.0)] for k in order],
        initial=[[Configuration({}, 1.0)]] * len(order),
        rotational_constants=rotational_constants(aligned),
        zero_point_energy=0.5 * float(modes.wavenumber.sum()),
        provenance=_provenance(
            aligned,
            evaluator,
            method="harmonic" if (scale == 1.0).all() else "scaled harmonic",
            scale=np.round(scale, 6).tolist(),
            temperature_K=temperature,
        ),
    )


def _provenance(modes: NormalModes, evaluator: Evaluator, **facts: Any) -> dict[str, Any]:
    """Return how a spectrum was computed, and of which molecule in which frame."""
    numbers = evaluator.numbers.cpu().numpy()
    return {
        # first, since a reference method as evaluator has a "method" of its own
        **evaluator.provenance,
        **facts,
        "source": {
            **{k: v for k, v in evaluator.provenance.items() if k in _OF_SOURCE},
            **molecule_facts(numbers, modes.masses, modes.positions),
        },
    }


def moment_derivatives(moments: np.ndarray, wavenumber: np.ndarray) -> np.ndarray:
    """Return √(2ω/ħ) ⟨i|X|f⟩, the derivative by Q of a harmonic mode of that wavenumber.

    Parameters
    ----------
    moments
        Components of each transition, ``[n_transitions, n]``.
    wavenumber
        ``[n_transitions]``, cm⁻¹.
    """
    return np.asarray(moments * np.sqrt(2.0 * _OMEGA * wavenumber / HBAR)[:, None])


def principal_frame(modes: NormalModes) -> np.ndarray:
    """Return the axes of ascending moments of inertia as columns, ``[3, 3]``, right-handed."""
    axes = principal_axes(modes.positions, modes.masses)[1]
    return np.asarray(axes * np.sign(np.linalg.det(axes)))


def treated_modes(modes: NormalModes, at_rest: Collection[int] = ()) -> NormalModes:
    """Return modes without those at rest, in the axes of ascending moments of inertia.

    Degenerate ones are localised (:func:`~eqcalc.anharmonic.degeneracy.localised`).
    """
    active = [k for k in range(len(modes)) if k not in at_rest]
    axes = principal_frame(modes)
    found = NormalModes(
        positions=centred(modes.positions, modes.masses) @ axes,
        masses=modes.masses,
        eigenvalues=modes.eigenvalues[active],
        vectors=modes.vectors[active] @ axes,
        rigid=modes.rigid @ axes,
        residual=modes.residual,
    )
    return localised(found)


def model_surface(
    modes: NormalModes,
    evaluator: Evaluator,
    properties: Sequence[str],
    evaluated: Callable[[int], Any] | None = None,
) -> Surface:
    """Return the function of normal coordinates that an evaluator gives.

    Its columns are the energy above that of q = 0, with the last term of Watson's kinetic
    energy, cm⁻¹; then the components of the dipole moment, e Å, and of the polarizability,
    e²Å²/eV, in the order of :data:`~eqcalc.anharmonic.rotation_coupling.TENSOR`. After each call of
    the evaluator `evaluated` is told the number of geometries.
    """
    steps = modes.steps
    inverse_inertia = None if modes.linear else inverse_inertia_surface(modes)
    names = ("energy", *properties)

    def evaluate(q: np.ndarray, origin: float) -> np.ndarray:
        positions = modes.positions + np.einsum("pk,kia->pia", q, steps, optimize=True)
        found = evaluator(torch.as_tensor(positions), names)
        columns = [(found["energy"].cpu().numpy()[:, None] - origin) * WAVENUMBER_PER_EV]
        if inverse_inertia is not None:
            columns[0] = columns[0] - 0.25 * inverse_inertia(q)[:, :3].sum(1, keepdims=True)
        if "dipole" in properties:
            columns.append(found["dipole"].cpu().numpy())
        if "polarizability" in properties:
            tensor = found["polarizability"].cpu().numpy()
            columns.append(np.stack([tensor[:, a, b] for a, b in TENSOR], axis=1))
        if evaluated is not None:
            evaluated(len(q))
        return np.concatenate(columns, axis=1)

    at_rest = evaluator(torch.as_tensor(modes.positions[None]), ("energy",))["energy"].item()

    def surface(q: np.ndarray) -> np.ndarray:
        blocks = [q[i : i + _BATCH] for i in range(0, len(q), _BATCH)]
        return np.concatenate([evaluate(block, at_rest) for block in blocks])

    return surface


def one_mode_fundamentals(modes: NormalModes, evaluator: Evaluator, nodes: int = 13) -> np.ndarray:
    """Return the fundamental of each mode in the cut along it alone, ``[n_modes]``, cm⁻¹.

    Parameters
    ----------
    modes
        Directions and wavenumbers of the oscillators, at a minimum of the evaluator's energy. The
        directions may be the modes of a similar energy.
    evaluator
        Energies, in double precision.
    nodes
        Of each cut.
    """
    modes = treated_modes(modes)
    surface = model_surface(modes, evaluator, ())
    bases = _modal_bases(surface, modes.wavenumber, (nodes, nodes - 4, nodes - 4))
    return np.array([basis.hamiltonian[1, 1] - basis.hamiltonian[0, 0] for basis in bases])


def _modal_bases(
    surface: Surface, wavenumber: np.ndarray, nodes: Sequence[int]
) -> list[ModalBasis]:
    """Return the basis of each mode from the cut along it."""
    places = oscillator_nodes(nodes[0])
    n = len(wavenumber)
    points = np.zeros((n, len(places), n))
    points[np.arange(n), :, np.arange(n)] = places
    cuts = surface(points.reshape(-1, n))[:, 0].reshape(n, -1) - surface(np.zeros((1, n)))[0, 0]
    return [
        ModalBasis.from_cut(float(nu), cut, nodes[1:])
        for nu, cut in zip(wavenumber, cuts, strict=True)
    ]


def _require_well(expansion: Expansion, active: Sequence[int]) -> None:
    """Require that no cut through a single mode leads far below the minimum.

    Raises
    ------
    InvalidInputError
        One does: states would be in a hole that only the model has.
    """
    for place, k in enumerate(active):
        depth = -float(expansion.terms[(place,)][:, 0].min())
        if depth > _HOLE:
            raise InvalidInputError(
                f"the energy along ν{k + 1} falls {depth:.3g} cm⁻¹ below that of the minimum: the "
                "model does not know such structures",
                key="molecule",
                advice="use another model or level of theory, such as gfn2",
            )


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


def _variants(
    solver: Solver,
    states: States,
    treatment: Treatment,
    end: float,
    degenerate: Sequence[Sequence[int]],
) -> dict[str, np.ndarray]:
    """Return the levels of the states in lesser treatments, by what these lack."""
    whole = solver.hamiltonian()
    lesser = {"basis": (whole, treatment.quanta - 1)}
    lesser["nodes"] = (solver.hamiltonian(coarse=True), treatment.quanta)
    # a molecule of three modes has no terms of more
    if 3 <= treatment.coupling < states.configurations.shape[1]:
        fewer = solver.hamiltonian(highest=treatment.coupling - 1)
        lesser["coupling"] = (fewer, treatment.quanta)
    return {
        name: levels_in(hamiltonian, states, quanta, end, degenerate)
        for name, (hamiltonian, quanta) in lesser.items()
    }


def _population(energies: np.ndarray, temperature: float) -> np.ndarray:
    """Return the Boltzmann population of each state."""
    if non_negative("temperature", temperature, unit="K") == 0.0:
        return np.eye(len(energies))[0]
    weights = np.exp(-SECOND_RADIATION_CONSTANT * (energies - energies[0]) / temperature)
    return np.asarray(weights / weights.sum())


def _transitions(
    solver: Solver, states: States, population: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lower and upper states of visible transitions and fundamentals, with their moments."""
    single = states.configurations.sum(axis=1) == 1
    fundamental = (states.vectors[single] ** 2).sum(axis=0) > _FUNDAMENTAL
    lower, upper, found = [], [], []
    populated = np.flatnonzero(population >= _POPULATED)
    for initial, moments in zip(populated, solver.moments(states, populated), strict=True):
        above = np.arange(initial + 1, len(states.energies))
        lower.append(np.full(len(above), initial))
        upper.append(above)
        found.append(moments[above])
    i, f, moments = np.concatenate(lower), np.concatenate(upper), np.concatenate(found)
    keep = fundamental[f] & (i == 0)
    strength = ((states.energies[f] - states.energies[i]) * population[i])[:, None] * moments**2
    # dipole moment and polarizability each by its own scale
    for part in (strength[:, 1:4], strength[:, -6:]):
        total = part.sum(axis=1)
        keep |= total > _VISIBLE * total.max(initial=0.0)
    return i[keep], f[keep], moments[keep]
