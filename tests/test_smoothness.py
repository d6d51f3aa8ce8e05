# SPDX-License-Identifier: MIT
"""Local derivatives against those of a finite range, on energies with known constants."""

import numpy as np
import pytest
import torch

from eqcalc.harmonic import mode_smoothness
from eqcalc.normal_modes import NormalModes, NotAMinimumError
from eqcalc.units import HBAR, angular_frequency_to_wavenumber

MASSES = np.array([15.999, 1.008, 1.008, 12.011])
POSITIONS = np.array([[0.0, 0, 0], [0.9, 0.2, 0], [-0.3, 0.9, 0.1], [0.1, -0.4, 1.3]])
#: φ_kkk and φ_kkkk of each mode, cm⁻¹; the first has a Morse potential.
CUBIC = [0.0, 150.0, -800.0, 20.0, 300.0, 0.0]
QUARTIC = [0.0, 100.0, -250.0, 5.0, 400.0, -90.0]
CM = angular_frequency_to_wavenumber(1.0) / HBAR  # cm⁻¹/eV


@pytest.fixture
def modes():
    square = np.random.default_rng(5).standard_normal((12, 12))
    return NormalModes.from_hessian(POSITIONS, MASSES, square @ square.T + 12.0 * np.eye(12))


def surface(modes, needle=0.0):
    """Return the evaluator of a sum over modes; a needle in the fourth, as of a length."""
    unit = np.sqrt(HBAR / modes.angular_frequency)
    omega = modes.wavenumber

    def evaluate(positions, quantities):
        q = modes.coordinates(positions.numpy() - POSITIONS) / unit
        energy = 0.5 * omega * q**2 + np.array(CUBIC) / 6 * q**3 + np.array(QUARTIC) / 24 * q**4
        slope = omega * q + np.array(CUBIC) / 2 * q**2 + np.array(QUARTIC) / 6 * q**3
        a = np.sqrt(2.0 * 0.02)  # anharmonicity: 2 % of the wavenumber
        depth, decay = omega[0] / (2.0 * a**2), np.exp(-a * q[:, 0])
        energy[:, 0] = depth * (1.0 - decay) ** 2
        slope[:, 0] = 2.0 * depth * a * (1.0 - decay) * decay
        width = 0.05
        energy[:, 3] += needle * (np.sqrt(q[:, 3] ** 2 + width**2) - width)
        slope[:, 3] += needle * q[:, 3] / np.sqrt(q[:, 3] ** 2 + width**2)
        to_forces = modes.vectors * MASSES[:, None] / unit[:, None, None]
        forces = -np.einsum("nk,kia->nia", slope, to_forces)
        values = {"energy": energy.sum(axis=1) / CM, "forces": forces / CM}
        return {name: torch.from_numpy(values[name]) for name in quantities}

    return evaluate


def test_constants_of_a_known_energy(modes):
    found = mode_smoothness(modes, surface(modes))
    morse = 7.0 * modes.wavenumber[0] * (2.0 * 0.02)  # φ_kkkk = 14 D a⁴, D = ω/2a²
    expected = [morse, *QUARTIC[1:]]
    np.testing.assert_allclose(found.local_quartic, expected, rtol=2e-3, atol=0.01)
    np.testing.assert_allclose(found.grid_quartic, expected, rtol=2e-3, atol=0.01)
    np.testing.assert_allclose(found.local_curvature, modes.wavenumber, rtol=1e-6)
    np.testing.assert_allclose(found.grid_curvature, modes.wavenumber, rtol=1e-4)
    assert found.trusted.all()
    assert "may be trusted for all modes" in found.summary()
    assert found.table().count("yes") == len(found) == 6


def test_a_needle_is_found(modes):
    """1 cm⁻¹ of a length with a needle: invisible in energies and forces, not locally."""
    found = mode_smoothness(modes, surface(modes, needle=1.0))
    assert found.trusted.tolist() == [True, True, True, False, True, True]
    assert found.curvature_deviation[3] == pytest.approx(1.0 / 0.05, rel=0.3)
    assert found.local_quartic[3] < -5000.0
    assert abs(found.grid_quartic[3] - QUARTIC[3]) / 16.0 < 2.0
    assert found.summary().endswith("but 4")
    assert found.table() in found._repr_html_()


def test_a_saddle_point_is_refused(modes):
    eigenvalues = np.array([-0.1, *modes.eigenvalues[1:]])
    saddle = NormalModes(**{**vars(modes), "eigenvalues": eigenvalues})
    with pytest.raises(NotAMinimumError):
        mode_smoothness(saddle, surface(modes))
