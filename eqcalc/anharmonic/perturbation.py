# SPDX-License-Identifier: MIT
r"""Second-order vibrational perturbation theory with resonances diagonalised.

With H₀ the harmonic oscillators, H₁ the cubic and H₂ the quartic terms and Coriolis coupling,
a canonical Van Vleck transformation gives the effective Hamiltonian of the states with few
quanta (GVPT2; Barone, J. Chem. Phys. 122, 014108 (2005)):

    ⟨a|H|b⟩ = E_a δ_ab + ⟨a|H₁ʳ + H₂|b⟩
              + ½ Σ_c ⟨a|H₁ⁿ|c⟩⟨c|H₁ⁿ|b⟩ [1/(E_a − E_c) + 1/(E_b − E_c)]

where H₁ʳ are the elements of Fermi resonances by the test of Martin et al., J. Chem. Phys. 103,
2589 (1995), and H₁ⁿ all others. Second-order elements between states further apart than
:data:`COUPLED` are left out. Sums are explicit, so that no case of degenerate or equal
indices needs its own formula. Transition moments are those of

    X + [S₁, X] + [S₂, X] + ½ [S₁, [S₁, X]],   S_ab = W_ab/(E_a − E_b)

with W = H₁ⁿ for S₁ and H₂ + [S₁, H₁ʳ] + ½ [S₁, H₁ⁿ] for S₂, to second order in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eqcalc.anharmonic.configuration_interaction import States, all_configurations, matrix
from eqcalc.anharmonic.modal_basis import ModalBasis, Modes, oscillator_matrices
from eqcalc.anharmonic.rotation_coupling import pair_coupling
from eqcalc.anharmonic.taylor import ForceField
from eqcalc.validation import InvalidInputError

#: States closer than this couple in second order; sums of two wavenumbers this close to a third are
#: candidates for a Fermi resonance, cm⁻¹.
COUPLED = 200.0
#: Most modes for which all matrices fit into memory.
LARGEST = 9
#: A Fermi resonance changes a wavenumber by more than this beyond second order, cm⁻¹.
_RESONANT = 1.0


@dataclass(frozen=True)
class Resonance:
    """A Fermi resonance ω_k ≈ ω_i + ω_j, i ≤ j."""

    k: int
    i: int
    j: int


def fermi_resonances(field: ForceField) -> list[Resonance]:
    """Return the triples of modes that second-order energies cannot treat."""
    w, found = field.wavenumber, []
    for k in range(len(w)):
        for i in range(len(w)):
            for j in range(i, len(w)):
                if k in (i, j):
                    continue
                gap = abs(w[i] + w[j] - w[k])
                scale = 256.0 if i == j else 64.0
                if gap <= COUPLED and field.cubic[i, j, k] ** 4 >= _RESONANT * scale * gap**3:
                    found.append(Resonance(k, i, j))
    return found


def perturbed_states(field: ForceField, quanta: int = 2) -> States:
    """Return the states of at most so many quanta of the effective Hamiltonian, cm⁻¹.

    The configurations are those of the harmonic oscillators, the energies from the bottom of the
    surface.
    """
    n = len(field.wavenumber)
    inside = all_configurations(n, quanta, quanta)
    everything = all_configurations(n, quanta + 3, quanta + 3)
    powers = _powers(quanta + 4)
    first = matrix(dict(_cubic(field, powers)), everything, inside)
    resonant = _resonant_elements(everything, inside, fermi_resonances(field))
    rest = first * ~resonant
    energies, outer = ((rows + 0.5) @ field.wavenumber for rows in (inside, everything))
    # ½ Σ_c H_ac H_cb [1/(E_a − E_c) + 1/(E_b − E_c)] = ½ (S₁ᵀ H₁ + H₁ᵀ S₁)
    product = (rest * _inverse(energies[None, :] - outer[:, None])).T @ rest
    second = matrix(dict(_quartic(field, powers)), inside, inside)
    effective = 0.5 * (product + product.T) + second
    effective *= np.abs(energies[:, None] - energies[None, :]) < COUPLED
    # the configurations of the model space come first among all
    effective += (first * resonant)[: len(inside)] + np.diag(energies)
    effective -= 0.25 * field.rotational_constants.sum() * np.eye(len(inside))
    levels, vectors = np.linalg.eigh(effective)
    return States(levels, inside, vectors)


def perturbed_fundamentals(field: ForceField) -> np.ndarray:
    """Return the wavenumber of the state with most of one quantum in each mode, cm⁻¹."""
    states = perturbed_states(field)
    single = [np.flatnonzero(row)[0] for row in states.configurations if row.sum() == 1]
    places = np.flatnonzero(states.configurations.sum(axis=1) == 1)
    result = np.empty(len(places))
    result[single] = states.energies[np.argmax(states.vectors[places] ** 2, axis=1)]
    return result - states.energies[0]


def perturbed_moments(field: ForceField, states: States) -> np.ndarray:
    """Return ⟨0|X|f⟩ of the properties of a force field, ``[n_states, n_components]``.

    Raises
    ------
    InvalidInputError
        The molecule has more modes than memory allows for.
    """
    n = len(field.wavenumber)
    if n > LARGEST:
        expected = f"at most {LARGEST} modes for intensities by perturbation theory"
        raise InvalidInputError(key="modes", value=n, expected=expected, advice="use VCI")
    quanta = int(states.configurations.sum(axis=1).max())
    rows = all_configurations(n, quanta + 3, quanta + 3)
    energies = (rows + 0.5) @ field.wavenumber
    powers = _powers(quanta + 4)
    first = matrix(dict(_cubic(field, powers)), rows, rows)
    second = matrix(dict(_quartic(field, powers)), rows, rows)
    resonant = _resonant_elements(rows, rows, fermi_resonances(field))
    kept, rest = first * resonant, first * ~resonant
    gap = energies[:, None] - energies[None, :]
    s1 = rest * _inverse(gap)
    w = second + _commutator(s1, kept) + 0.5 * _commutator(s1, rest)
    s2 = w * _inverse(gap) * (np.abs(gap) >= COUPLED)
    size = len(states.configurations)
    result = np.empty((len(states.energies), field.first.shape[1]))
    for component in range(field.first.shape[1]):
        one, two, three = (
            matrix(dict(_property(field, powers, order, component)), rows, rows)
            for order in (1, 2, 3)
        )
        inner = _commutator(s1, one)
        whole = one + two + inner + three
        whole += _commutator(s1, two + 0.5 * inner) + _commutator(s2, one)
        result[:, component] = states.vectors[:, 0] @ whole[:size, :size] @ states.vectors
    return result


def _commutator(s: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(s @ x - x @ s)


def _inverse(gap: np.ndarray) -> np.ndarray:
    """Return 1/gap, zero where two configurations have the same energy."""
    return np.divide(1.0, gap, out=np.zeros_like(gap), where=np.abs(gap) > 1e-6)


def _powers(n: int) -> list[np.ndarray]:
    """Return the matrices of 1, q, …, q⁴ in n harmonic-oscillator functions."""
    q, _ = oscillator_matrices(n + 5)
    return [np.linalg.matrix_power(q, p)[:n, :n] for p in range(5)]


def _product(powers: list[np.ndarray], *exponents: int) -> np.ndarray:
    """Return the operator of a product of powers of different modes."""
    result = np.array(1.0)
    for exponent in exponents:
        result = np.multiply.outer(result, powers[exponent])
    return result


def _cubic(field: ForceField, powers: list[np.ndarray]) -> Iterator[tuple[Modes, np.ndarray]]:
    """Return H₁ by its modes."""
    phi, n = field.cubic, len(field.wavenumber)
    for i in range(n):
        yield (i,), phi[i, i, i] / 6.0 * powers[3]
        for j in range(i + 1, n):
            yield (
                (i, j),
                0.5 * phi[i, i, j] * _product(powers, 2, 1)
                + 0.5 * phi[i, j, j] * _product(powers, 1, 2),
            )
            for k in range(j + 1, n):
                yield (i, j, k), phi[i, j, k] * _product(powers, 1, 1, 1)


def _quartic(field: ForceField, powers: list[np.ndarray]) -> Iterator[tuple[Modes, np.ndarray]]:
    """Return H₂ by its modes."""
    phi, n = field.quartic, len(field.wavenumber)
    size = len(powers[0])
    # two more functions make the square of the angular momentum complete
    q, d = oscillator_matrices(size + 2)
    bases = [ModalBasis(np.zeros_like(q), q, d, (), ())] * n
    coriolis = {
        modes: term[:size, :size, :size, :size]
        for modes, term in pair_coupling(
            field.zeta, field.rotational_constants, field.wavenumber, bases
        ).items()
    }
    for i in range(n):
        yield (i,), phi[i, i, i] / 24.0 * powers[4]
        for j in range(i + 1, n):
            yield (
                (i, j),
                coriolis.get((i, j), 0.0)
                + phi[i, i, j] / 6.0 * _product(powers, 3, 1)
                + phi[j, j, i] / 6.0 * _product(powers, 1, 3)
                + phi[i, j, j] / 4.0 * _product(powers, 2, 2),
            )
            for k in range(j + 1, n):
                yield (
                    (i, j, k),
                    0.5 * phi[i, j, k] * _product(powers, 2, 1, 1)
                    + 0.5 * phi[j, i, k] * _product(powers, 1, 2, 1)
                    + 0.5 * phi[k, i, j] * _product(powers, 1, 1, 2),
                )


def _property(
    field: ForceField, powers: list[np.ndarray], order: int, component: int
) -> Iterator[tuple[Modes, np.ndarray]]:
    """Return the terms of one order of a property by their modes."""
    n = len(field.wavenumber)
    first, second, third = (x[..., component] for x in (field.first, field.second, field.third))
    for i in range(n):
        single = {1: first[i], 2: second[i, i] / 2.0, 3: third[i, i] / 6.0}[order]
        yield (i,), single * powers[order]
        for j in range(i + 1, n):
            if order == 2:
                yield (i, j), second[i, j] * _product(powers, 1, 1)
            elif order == 3:
                yield (
                    (i, j),
                    0.5 * third[i, j] * _product(powers, 2, 1)
                    + 0.5 * third[j, i] * _product(powers, 1, 2),
                )


def _resonant_elements(
    rows: np.ndarray, columns: np.ndarray, resonances: list[Resonance]
) -> np.ndarray:
    """Return which pairs of configurations differ by the quanta of a Fermi resonance."""
    places = {tuple(row): i for i, row in enumerate(rows.tolist())}
    result = np.zeros((len(rows), len(columns)), dtype=bool)
    for resonance in resonances:
        change = np.zeros(rows.shape[1], dtype=int)
        change[resonance.k] += 1
        change[resonance.i] -= 1
        change[resonance.j] -= 1
        for changed in (columns + change, columns - change):
            for b, row in enumerate(changed.tolist()):
                a = places.get(tuple(row))
                if a is not None:
                    result[a, b] = True
    return result
