# SPDX-License-Identifier: MIT
"""Rotational envelopes beside sum rules and closed forms."""

import numpy as np
import pytest
from sympy.physics.wigner import wigner_3j as exact_3j

from eqcalc.anharmonic.rigid_top import (
    rotational_envelope,
    spherical_components,
    wigner_3j,
)
from tests.errors import refused

WATER = np.array([27.88, 14.51, 9.29])


@pytest.mark.parametrize(
    ("j", "rank", "upper", "k", "q"),
    [(3, 1, 4, 2, -1), (3, 2, 2, -1, 1), (5, 2, 5, 3, -2), (4, 2, 6, -4, 0), (1, 1, 0, 0, 0)],
)
def test_3j_symbols(j, rank, upper, k, q):
    expected = float(exact_3j(j, rank, upper, k, q, -k - q))
    assert wigner_3j(j, rank, upper, np.array([k]), q)[0] == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def envelope():
    return rotational_envelope(WATER, 300.0)


def test_mean_shift_is_that_of_the_sum_rule(envelope):
    """½[u, [H, u]] of a unit vector along a, b, c is B + C, A + C, A + B at any temperature."""
    a, b, c = WATER
    mean = envelope.vector @ envelope.shift
    np.testing.assert_allclose(mean, [b + c, a + c, a + b], rtol=1e-3)


def test_width_is_that_of_a_classical_top():
    """The mean squared shift is 2kT(B + C) for a dipole along a, and so on."""
    a, b, c = np.array([6.0, 2.0, 1.6])
    found = rotational_envelope(np.array([a, b, c]), 300.0)
    classical = 2.0 * 300.0 / 1.438777 * np.array([b + c, a + c, a + b])
    np.testing.assert_allclose(found.vector @ found.shift**2, classical, rtol=0.03)


def test_components_of_the_polarizability(envelope):
    tensor = np.array([[1.0, 0.3, -0.2], [0.3, -0.5, 0.7], [-0.2, 0.7, 2.0]])
    traceless = tensor - np.eye(3) * np.trace(tensor) / 3.0
    assert (spherical_components(tensor) ** 2).sum() == pytest.approx((traceless**2).sum())
    assert envelope.anisotropic_raman(tensor).sum() == pytest.approx((traceless**2).sum())
    assert envelope.anisotropic_raman(tensor).min() > -1e-12


def test_a_linear_molecule_has_branches_of_boltzmann_populations():
    """R(J) of a parallel band is (J + 1) exp[−BJ(J + 1)/kT]/Q, at 2B(J + 1)."""
    b, temperature = 2.0, 100.0
    found = rotational_envelope(np.array([0.0, b, b]), temperature)
    j = np.arange(40)
    weight = np.exp(-b * j * (j + 1) * 1.438777 / temperature)
    expected = (j + 1) * weight / ((2 * j + 1) * weight).sum()
    for i in range(6):
        place = np.argmin(np.abs(found.shift - 2.0 * b * (i + 1)))
        assert found.vector[0, place] == pytest.approx(expected[i], rel=1e-3)
    # a perpendicular band has half of its strength in the Q branch, at −Bl²
    branch = np.abs(found.shift + b) < 0.1 * b
    assert found.vector[1][branch].sum() == pytest.approx(0.5, abs=0.03)
    assert found.vector[0][branch].sum() == pytest.approx(0.0, abs=1e-12)


def test_temperature_is_checked():
    with refused(key="temperature"):
        rotational_envelope(WATER, 0.0)
