# SPDX-License-Identifier: MIT
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eqcalc.reports.minima import (
    Residence,
    distances,
    residences,
    same_basin,
    thermal_distance,
)
from eqcalc.spectra import harmonic_analysis
from tests.spectra import toy_water as water

RNG = np.random.default_rng(4)
#: Four atoms without any symmetry.
CHIRAL = np.array([[0.0, 0.0, 0.0], [1.1, 0.0, 0.0], [0.0, 1.4, 0.0], [0.2, 0.3, 0.9]])
MASSES = np.array([12.0, 1.0, 14.0, 16.0])


@pytest.fixture(scope="module")
def harmonic():
    return harmonic_analysis(water.EQUILIBRIUM, water.MASSES, water.hessian())


def test_distance_is_blind_to_rigid_motion_but_not_to_reflection():
    turned = CHIRAL @ Rotation.random(20, random_state=1).as_matrix() + RNG.normal(size=(20, 1, 3))
    found = distances(turned, np.stack([CHIRAL, CHIRAL * [1.0, 1.0, -1.0]]), MASSES)
    assert found.shape == (20, 2)
    assert found[:, 0].max() < 1e-6
    assert found[:, 1].min() > 1.0


def test_distance_is_that_of_normal_coordinates(harmonic):
    q = np.array([0.02, -0.03, 0.01])
    moved = water.EQUILIBRIUM + np.einsum("k,kia->ia", q, harmonic.vectors)
    found = distances(moved, water.EQUILIBRIUM[None], water.MASSES)
    assert found[0] == pytest.approx(np.linalg.norm(q), rel=1e-3)


def test_thermal_distance_is_that_of_thermal_normal_coordinates(harmonic):
    omega = 2.0 * np.pi * 2.99792458e-5 * harmonic.wavenumber
    # k_B in amu Å²/(fs² K)
    expected = np.sqrt(np.sum(8.314462618e-7 * 300.0 / omega**2))
    assert thermal_distance(harmonic, 300.0) == pytest.approx(expected, rel=1e-6)


def test_minima_within_vibration_are_one_basin(harmonic):
    soft = np.sqrt(8.314462618e-7 * 300.0) / (2.0 * np.pi * 2.99792458e-5 * harmonic.wavenumber[0])
    for spreads, same in ((1.8, True), (2.2, False)):
        other = water.EQUILIBRIUM + spreads * soft * harmonic.vectors[0]
        # turned as well, as a relaxed geometry may be
        other = other @ Rotation.from_euler("xyz", [0.3, 1.0, -2.0]).as_matrix()
        assert distances(other, water.EQUILIBRIUM[None], water.MASSES)[0] > 0.1
        assert same_basin(harmonic, other, 300.0) is same
    assert same_basin(harmonic, water.EQUILIBRIUM + 5.0, 0.001)


def test_stretches_cover_every_frame_once():
    nearest = [np.array([2, 2, 0, 0, -1]), np.array([1, 1, 1, 1, 1])]
    assert residences(nearest, 10, 43) == [
        Residence(0, 0, 20, 2),
        Residence(0, 20, 40, 0),
        Residence(0, 40, 43, -1),
        Residence(1, 0, 43, 1),
    ]
