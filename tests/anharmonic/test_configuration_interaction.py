# SPDX-License-Identifier: MIT
"""VSCF and VCI of model Hamiltonians with known levels."""

from itertools import combinations

import numpy as np

from eqcalc.anharmonic.configuration_interaction import (
    Hamiltonian,
    all_configurations,
    connections,
    outer_correction,
    self_consistent_rotations,
    vibrational_states,
)
from eqcalc.anharmonic.modal_basis import ModalBasis, expanded, oscillator_nodes

OMEGA, DEPTH = 3737.7486, 41146.6


def morse(q):
    """Return a Morse bond of wavenumber ω, cm⁻¹, in its dimensionless coordinate."""
    return DEPTH * (1.0 - np.exp(-np.sqrt(OMEGA / (2.0 * DEPTH)) * q)) ** 2


def hamiltonian(surface, wavenumber, nodes=15, larger=((), ())):
    """Return the Hamiltonian of a surface without rotation, in self-consistent functions."""
    n = len(wavenumber)
    x = oscillator_nodes(nodes)
    cuts = [surface(np.outer(x, np.eye(n)[k]))[:, 0] for k in range(n)]
    sizes = (nodes - 3, nodes - 3, 6)
    bases = [ModalBasis.from_cut(w, v, sizes) for w, v in zip(wavenumber, cuts, strict=True)]
    expansion = expanded(surface, bases, *larger)

    def terms(functions):
        return {
            modes: functions[modes[0]].hamiltonian
            if len(modes) == 1
            else expansion.operator(modes, 0, functions)
            for modes in expansion.terms
        }

    rotations = self_consistent_rotations(bases, terms(bases))
    bases = [basis.rotated(r) for basis, r in zip(bases, rotations, strict=True)]
    return Hamiltonian(bases, terms(bases))


def test_levels_of_a_morse_oscillator():
    basis = ModalBasis.from_cut(OMEGA, morse(oscillator_nodes(19)), (10, 8))
    levels = np.diag(basis.hamiltonian)
    v = np.arange(3) + 0.5
    exact = OMEGA * v - OMEGA**2 / (4.0 * DEPTH) * v**2
    np.testing.assert_allclose(levels[:3], exact, atol=0.01)


def test_coupled_morse_bonds():
    """Beside the diagonalisation in the full product of both modes' functions."""

    def surface(q):
        return (morse(q[:, 0]) + morse(q[:, 1]) - 60.0 * q[:, 0] * q[:, 1])[:, None]

    found = vibrational_states(hamiltonian(surface, [OMEGA, OMEGA]), 9, 8000.0)
    # an independent grid: sines in a box
    n, box = 80, 11.0
    x = -4.5 + box * np.arange(1, n + 1) / (n + 1)
    s = np.sqrt(2.0 / (n + 1)) * np.sin(
        np.pi * np.outer(np.arange(1, n + 1), np.arange(1, n + 1)) / (n + 1)
    )
    kinetic = 0.5 * OMEGA * (s * (np.pi * np.arange(1, n + 1) / box) ** 2) @ s.T
    one = kinetic + np.diag(morse(x))
    energies, functions = np.linalg.eigh(one)
    kept = functions[:, :20]
    position = kept.T @ (x[:, None] * kept)
    full = np.diag(np.add.outer(energies[:20], energies[:20]).ravel()) - 60.0 * np.kron(
        position, position
    )
    exact = np.linalg.eigvalsh(full)
    np.testing.assert_allclose(found.energies[:6], exact[:6], atol=0.1)


def test_fermi_resonance():
    """ω = 2950 and 1480 cm⁻¹ with φ_122 = 90 cm⁻¹, beside a product of many oscillators."""

    def surface(q):
        a, b = q.T
        return (0.5 * (2950.0 * a**2 + 1480.0 * b**2) + 45.0 * a * b**2)[:, None]

    states = vibrational_states(hamiltonian(surface, [2950.0, 1480.0]), 9, 3500.0)
    n = 20
    step = np.sqrt(0.5 * np.arange(1, n + 2))
    q = np.diag(step, 1) + np.diag(step, -1)
    oscillators = np.add.outer(2950.0 * (np.arange(n) + 0.5), 1480.0 * (np.arange(n) + 0.5))
    full = np.diag(oscillators.ravel()) + 45.0 * np.kron(q[:n, :n], (q @ q)[:n, :n])
    exact = np.linalg.eigvalsh(full)
    np.testing.assert_allclose(states.energies[:4], exact[:4], atol=1e-3)
    np.testing.assert_allclose(exact[2:4] - exact[0], [2930.88, 2976.54], atol=0.01)


def test_terms_of_four_modes():
    """Beside the diagonalisation in the product of six functions of each mode."""
    omega, g = np.array([500.0, 900.0, 600.0, 800.0]), 60.0

    def surface(q):
        return (0.5 * (omega * q**2).sum(1) + g * q.prod(1))[:, None]

    step = np.sqrt(0.5 * np.arange(1, 6))
    q = np.diag(step, 1) + np.diag(step, -1)
    exact = g * np.kron(np.kron(q, q), np.kron(q, q))
    quanta = np.stack(np.meshgrid(*[np.arange(6)] * 4, indexing="ij"), -1).reshape(-1, 4)
    exact += np.diag((quanta + 0.5) @ omega)
    expected = np.linalg.eigvalsh(exact)[:11]
    triples = list(combinations(range(4), 3))
    for quadruples, error in (([(0, 1, 2, 3)], 0.002), ([], 10.0)):
        whole = hamiltonian(surface, omega, 12, (triples, quadruples))
        found = vibrational_states(whole, 8, 1500.0).energies[:11]
        largest = np.abs(found - expected).max()
        assert largest < error if quadruples else largest > error  # 1400 is split by g/2


def test_configurations_outside_of_the_basis_are_nearly_as_good_as_inside():
    def surface(q):
        cubic = 40.0 * q[:, 0] * q[:, 1] ** 2 + 30.0 * q[:, 1] * q[:, 2] ** 2
        return (0.5 * q**2 @ [1500.0, 1900.0, 3100.0] + cubic)[:, None]

    system = hamiltonian(surface, [1500.0, 1900.0, 3100.0], nodes=11)
    small, large = (vibrational_states(system, quanta, 3500.0) for quanta in (2, 6))
    corrected = small.energies + outer_correction(system, small)
    plain, better = (
        np.abs(levels[:4] - large.energies[:4]).max() for levels in (small.energies, corrected)
    )
    assert better < 0.5 * plain


def test_spectators_do_not_shift_combinations():
    """What takes all quanta of the basis is corrected like the rest: hot bands are in place."""
    wavenumber = [1500.0, 1600.0, 1900.0, 2900.0]

    def surface(q):
        cubic = 250.0 * q[:, 2] ** 2 * q[:, 3]  # of modes that are not excited
        return (0.5 * q**2 @ wavenumber + cubic)[:, None]

    system = hamiltonian(surface, wavenumber, nodes=11)
    states = vibrational_states(system, 2, 4500.0)
    levels = states.energies + outer_correction(system, states)

    def level(*quanta):
        (place,) = np.flatnonzero((states.configurations == quanta).all(axis=1))
        return levels[np.argmax(states.vectors[place] ** 2)] - levels[0]

    single = level(1, 0, 0, 0), level(0, 1, 0, 0)
    np.testing.assert_allclose(single, wavenumber[:2], atol=1.0)
    assert abs(level(1, 1, 0, 0) - sum(single)) < 0.1


def test_configurations_and_their_connections():
    rows = all_configurations(3, 3, 2)
    assert len(rows) == len(np.unique(rows, axis=0)) == 17
    assert rows.sum(axis=1).max() == 3
    assert rows.max() == 2
    i, j = connections(rows, rows, (0, 2))
    found = {(int(a), int(b)) for a, b in zip(i, j, strict=True)}
    same = rows[:, None, 1] == rows[None, :, 1]
    assert found == {(int(a), int(b)) for a, b in np.argwhere(same)}
