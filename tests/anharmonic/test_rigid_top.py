# SPDX-License-Identifier: MIT
"""Rotational envelopes beside sum rules and closed forms."""

import numpy as np
import pytest
from sympy.physics.wigner import wigner_3j as exact_3j

from eqcalc.anharmonic import rigid_top
from eqcalc.anharmonic.rigid_top import (
    rotational_envelope,
    spherical_components,
    wigner_3j,
)
from eqcalc.units import SECOND_RADIATION_CONSTANT
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


@pytest.mark.slow
def test_a_heavy_top_has_the_envelope_of_a_lighter_one_narrowed(monkeypatch):
    """The same bands from levels up to J = 74, and from those of a lighter top up to 50."""
    found = []
    for largest in (100, 50):
        monkeypatch.setattr(rigid_top, "_LARGEST", largest)
        rigid_top._envelope.cache_clear()
        found.append(rotational_envelope(WATER / 20.0, 300.0))
    rigid_top._envelope.cache_clear()
    shift = np.arange(-80.0, 80.5, 0.25)
    kernel = np.exp(-0.5 * (np.arange(-40, 41) * 0.25 / 3.0) ** 2)

    def smooth(envelope, values):
        return np.convolve(np.interp(shift, envelope.shift, values, 0.0, 0.0), kernel, "same")

    for axis in range(3):
        exact, scaled = (smooth(e, e.vector[axis]) for e in found)
        assert np.abs(scaled - exact).max() < 0.04 * exact.max()
        assert found[1].vector[axis].sum() == pytest.approx(1.0, abs=1e-6)
    for p in range(5):
        exact, scaled = (smooth(e, e.tensor[p, p]) for e in found)
        assert np.abs(scaled - exact).max() < 0.04 * exact.max()


@pytest.mark.slow
def test_the_envelope_of_a_heavy_molecule_is_that_of_a_classical_top():
    a, b, c = constants = np.array([0.04, 0.018, 0.013])  # about those of aspirin, J to 440
    heavy = rotational_envelope(constants, 300.0)
    square = heavy.vector @ heavy.shift**2
    kt = 300.0 / SECOND_RADIATION_CONSTANT
    np.testing.assert_allclose(square, 2.0 * kt * np.array([b + c, a + c, a + b]), rtol=0.02)


def test_temperature_is_checked():
    with refused(key="temperature"):
        rotational_envelope(WATER, 0.0)
