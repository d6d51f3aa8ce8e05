# SPDX-License-Identifier: MIT
from typing import ClassVar

import ase
import numpy as np
import pytest
from ase.build import molecule
from ase.vibrations import Vibrations

from eqcalc.labelling import GFN2, MethodCalculator, relax
from eqcalc.labelling.normal_modes import (
    NormalModes,
    normal_modes,
    ring_polymers,
    wigner_displacements,
)
from eqcalc.units import BOLTZMANN, HBAR, wavenumber_to_angular_frequency


@pytest.fixture(scope="module")
def water():
    return relax(molecule("H2O"), GFN2(), fmax=1e-4)


@pytest.fixture(scope="module")
def modes(water):
    return normal_modes(water, GFN2())


def oscillator(*wavenumbers):
    """Unit-mass modes, each along its own coordinate."""
    omega = np.array([wavenumber_to_angular_frequency(abs(w)) for w in wavenumbers])
    vectors = np.eye(3 * len(omega))[: len(omega)].reshape(len(omega), len(omega), 3)
    return NormalModes(np.sign(wavenumbers) * omega**2, vectors)


def test_wavenumbers_are_those_of_ase(water, modes, tmp_path):
    water = water.copy()
    water.calc = MethodCalculator(GFN2())
    vibrations = Vibrations(water, delta=0.005, nfree=2, name=str(tmp_path / "vib"))
    vibrations.run()
    np.testing.assert_allclose(
        modes.wavenumbers, np.real(vibrations.get_frequencies())[-3:], atol=0.5
    )


def test_vectors_are_mass_weighted_orthonormal_and_internal(water, modes):
    mass = water.get_masses()
    overlap = np.einsum("iac,a,jac->ij", modes.vectors, mass, modes.vectors)
    np.testing.assert_allclose(overlap, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(np.einsum("a,mac->mc", mass, modes.vectors), 0.0, atol=1e-10)
    angular = np.cross(water.positions - water.get_center_of_mass(), modes.vectors)
    np.testing.assert_allclose(np.einsum("a,mac->mc", mass, angular), 0.0, atol=1e-9)


def test_number_of_modes():
    class Springs:
        """Forces of no meaning; only the count of modes matters."""

        quantities: ClassVar = ("forces",)

        def label(self, atoms, quantities=None):
            return {"forces": -atoms.positions}

    linear = ase.Atoms("CO2", [[0, 0, 0], [0, 0, 1.2], [0, 0, -1.2]])
    assert len(normal_modes(linear, Springs()).curvatures) == 4
    assert len(normal_modes(molecule("CH4"), Springs()).curvatures) == 9
    assert len(normal_modes(molecule("N2"), Springs()).curvatures) == 1


def test_wigner_variance_is_that_of_a_quantum_oscillator():
    modes = oscillator(100.0, 1500.0, 3600.0)
    rng = np.random.default_rng(0)
    for temperature in (0.0, 300.0):
        drawn = wigner_displacements(modes, temperature, 100_000, rng)
        found = np.einsum("mac,sac->sm", modes.vectors, drawn).var(axis=0)
        omega = np.sqrt(modes.curvatures)
        expected = HBAR / (2 * omega)
        if temperature:
            expected = expected / np.tanh(HBAR * omega / (2 * BOLTZMANN * temperature))
        np.testing.assert_allclose(found, expected, rtol=0.02)


def test_soft_and_imaginary_modes_are_left_alone():
    modes = oscillator(-300.0, 100.0, 1500.0)
    drawn = wigner_displacements(modes, 300.0, 50, np.random.default_rng(0), 400.0)
    moved = np.einsum("mac,sac->sm", modes.vectors, drawn).std(axis=0) > 0
    assert moved.tolist() == [False, False, True]


def test_ring_polymer_about_a_classical_centroid_is_quantum():
    """Classical centroids plus beads have the variance of the quantum oscillator."""
    temperature, kT = 300.0, BOLTZMANN * 300.0
    modes = oscillator(100.0, 1000.0)
    rng = np.random.default_rng(1)
    drawn = ring_polymers(modes, temperature, 64, 4000, rng)
    np.testing.assert_allclose(drawn.sum(axis=1), 0.0, atol=1e-12)
    beads = np.einsum("mac,sbac->sbm", modes.vectors, drawn)
    omega = np.sqrt(modes.curvatures)
    total = kT / omega**2 + beads.reshape(-1, 2).var(axis=0)
    expected = HBAR / (2 * omega) / np.tanh(HBAR * omega / (2 * kT))
    np.testing.assert_allclose(total, expected, rtol=0.02)


def test_ring_polymer_of_a_free_particle():
    """The squared radius of gyration is ħ²/(12 kT) (1 − 1/P²) per mass-weighted coordinate."""
    kT, n_beads = BOLTZMANN * 300.0, 16
    modes = oscillator(1e-3)
    drawn = ring_polymers(modes, 300.0, n_beads, 20_000, np.random.default_rng(2))
    radius = np.einsum("mac,sbac->sbm", modes.vectors, drawn).var()
    assert radius == pytest.approx(HBAR**2 / (12 * kT**2) * kT * (1 - n_beads**-2), rel=0.02)


def test_neighbouring_beads_are_bound_by_springs():
    """The mean squared bond of a free ring polymer is ħ²/(P m kT) · (P − 1)/P."""
    kT, n_beads = BOLTZMANN * 300.0, 16
    drawn = ring_polymers(oscillator(1e-3), 300.0, n_beads, 20_000, np.random.default_rng(3))
    bond = drawn[..., 0, 0] - np.roll(drawn[..., 0, 0], 1, axis=1)
    expected = HBAR**2 / (n_beads * kT) * (n_beads - 1) / n_beads
    assert bond.var() == pytest.approx(expected, rel=0.02)


def test_one_bead_is_the_centroid():
    assert not ring_polymers(oscillator(500.0), 300.0, 1, 5, np.random.default_rng(0)).any()
