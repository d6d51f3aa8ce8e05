# SPDX-License-Identifier: MIT
"""Second-order perturbation theory beside closed formulas and exact levels."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from eqcalc.anharmonic.perturbation import (
    Resonance,
    fermi_resonances,
    perturbed_fundamentals,
    perturbed_moments,
    perturbed_states,
)
from eqcalc.anharmonic.taylor import ForceField, force_field
from tests.anharmonic.surfaces import Water
from tests.errors import refused


def blank(wavenumber):
    """Return harmonic oscillators, with a property q_0."""
    n = len(wavenumber)
    return ForceField(
        wavenumber=np.asarray(wavenumber, dtype=float),
        cubic=np.zeros((n, n, n)),
        quartic=np.zeros((n, n, n)),
        zeta=np.zeros((3, n, n)),
        rotational_constants=np.zeros(3),
        first=np.eye(n)[:, :1],
        second=np.zeros((n, n, 1)),
        third=np.zeros((n, n, 1)),
        asymmetry=(0.0, 0.0),
    )


def random_field(seed=3):
    rng = np.random.default_rng(seed)
    n = 4
    cubic = rng.normal(scale=40.0, size=(n, n, n))
    cubic = np.mean([cubic.transpose(p) for p in permutations(range(3))], axis=0)
    quartic = rng.normal(scale=25.0, size=(n, n, n))
    quartic = 0.5 * (quartic + quartic.transpose(0, 2, 1))
    i = np.arange(n)
    squares = quartic[i[:, None], i, i]
    quartic[i[:, None], i, i] = 0.5 * (squares + squares.T)
    zeta = rng.normal(scale=0.4, size=(3, n, n))
    return replace(
        blank([710.0, 1190.0, 1730.0, 3105.0]),
        cubic=cubic,
        quartic=quartic,
        zeta=zeta - zeta.transpose(0, 2, 1),
        rotational_constants=np.array([9.0, 2.5, 1.5]),
    )


def closed_formula(field):
    """Return the fundamentals of an asymmetric top from anharmonic constants χ (Mills, 1972)."""
    w, phi, quartic = field.wavenumber, field.cubic, field.quartic
    n = len(w)
    chi = np.zeros((n, n))
    for i in range(n):
        chi[i, i] = quartic[i, i, i] / 16.0
        for k in range(n):
            ratio = (8.0 * w[i] ** 2 - 3.0 * w[k] ** 2) / (w[k] * (4.0 * w[i] ** 2 - w[k] ** 2))
            chi[i, i] -= phi[i, i, k] ** 2 * ratio / 16.0
        for j in range(n):
            if i == j:
                continue
            chi[i, j] = quartic[i, j, j] / 4.0
            for k in range(n):
                chi[i, j] -= phi[i, i, k] * phi[j, j, k] / w[k] / 4.0
                d = (w[i] + w[j] + w[k]) * (w[i] + w[j] - w[k])
                d *= (w[i] - w[j] + w[k]) * (w[i] - w[j] - w[k])
                square = w[i] ** 2 + w[j] ** 2 - w[k] ** 2
                chi[i, j] += 0.5 * w[k] * square * phi[i, j, k] ** 2 / d
            coriolis = field.rotational_constants @ field.zeta[:, i, j] ** 2
            chi[i, j] += coriolis * (w[i] / w[j] + w[j] / w[i])
    return w + 2.0 * np.diag(chi) + 0.5 * (chi.sum(axis=1) - np.diag(chi))


def test_explicit_sums_are_the_closed_formulas():
    field = random_field()
    assert fermi_resonances(field) == []
    np.testing.assert_allclose(perturbed_fundamentals(field), closed_formula(field), atol=1e-8)


def test_a_morse_oscillator_is_exact_in_second_order():
    omega, anharmonicity = 3737.7486, 84.8830
    depth = omega**2 / (4.0 * anharmonicity)
    a = np.sqrt(omega / (2.0 * depth))
    field = replace(
        blank([omega]),
        cubic=np.full((1, 1, 1), -6.0 * depth * a**3),
        quartic=np.full((1, 1, 1), 14.0 * depth * a**4),
    )
    states = perturbed_states(field)
    transitions = states.energies[1:] - states.energies[0]
    np.testing.assert_allclose(transitions, [3567.9826, 6966.1992], atol=1e-2)
    # ⟨0|q|1⟩ and ⟨0|q|2⟩; the exact ones are 0.71507 and 0.0779
    moments = np.abs(perturbed_moments(field, states)[:, 0])
    np.testing.assert_allclose(moments[1:], [0.71514, 0.0754], atol=1e-4)


def test_a_fermi_resonance_is_diagonalised():
    """Converged levels of ω = 2950, 1480 and φ_122 = 90 cm⁻¹ are 2930.88 and 2976.54."""
    field = blank([2950.0, 1480.0])
    for order in permutations((0, 1, 1)):
        field.cubic[order] = 90.0
    assert fermi_resonances(field) == [Resonance(0, 1, 1)]
    states = perturbed_states(field)
    transitions = states.energies - states.energies[0]
    np.testing.assert_allclose(transitions[2:4], [2930.88, 2976.54], atol=0.6)
    # plain second order is 30 cm⁻¹ off
    plain = closed_formula(field)[0]
    assert abs(plain - 2976.54) > 20.0


@pytest.fixture(scope="module")
def water():
    return force_field(Water().modes(), Water(), ("dipole",))


def test_water(water):
    """Levels of an independent calculation; exact ones are 1561.66, 3709.43, 3766.79."""
    states = perturbed_states(water)
    np.testing.assert_allclose(
        perturbed_fundamentals(water), [1561.53, 3667.69, 3724.39], atol=0.03
    )
    moments = perturbed_moments(water, states) / 0.20819434
    transitions = states.energies - states.energies[0]
    intensity = 2.506638 * transitions * (moments**2).sum(axis=1)
    # exact: 223.18, 4.68, 135.01, 243.42 km/mol; double harmonic: 223.24, 0, 142.19, 247.05
    np.testing.assert_allclose(intensity[1:5], [223.0, 4.13, 135.1, 242.2], rtol=2e-3)


def test_constants_of_one_order_agree(water):
    assert max(water.asymmetry) < 0.05
    np.testing.assert_allclose(water.cubic, water.cubic.transpose(2, 0, 1), atol=1e-9)


def test_intensities_of_large_molecules_are_refused():
    field = blank(np.linspace(500.0, 3000.0, 10))
    with refused(key="modes", value=10):
        perturbed_moments(field, perturbed_states(field))


def test_step_is_checked():
    with refused(key="step"):
        force_field(Water().modes(), Water(), step=0.0)
