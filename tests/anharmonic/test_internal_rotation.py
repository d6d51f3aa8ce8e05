# SPDX-License-Identifier: MIT
"""Internal rotations."""

import numpy as np
import pytest
from ase.build import molecule
from scipy.special import mathieu_a, mathieu_b

from eqcalc.anharmonic.internal_rotation import rotor_states, rotors

ANGLE = 2.0 * np.pi * np.arange(36) / 36


def test_a_free_rotor():
    states = rotor_states(np.zeros(36), np.full(36, 5.0))
    np.testing.assert_allclose(states.levels[:5], [0.0, 5.0, 5.0, 20.0, 20.0], atol=1e-9)


@pytest.mark.parametrize("barrier", [50.0, 373.0, 1000.0])
def test_a_threefold_barrier_has_the_levels_of_mathieu(barrier):
    """The totally symmetric levels are those of Mathieu functions of period π in 3φ/2."""
    constant = 5.3
    energy = 0.5 * barrier * (1.0 - np.cos(3.0 * ANGLE))
    states = rotor_states(energy, np.full(36, constant))
    levels = states.levels - states.levels[0]
    q = barrier / (9.0 * constant)
    even = [mathieu_a(2 * n, q) for n in range(3)] + [mathieu_b(2 * n, q) for n in (1, 2)]
    exact = np.sort(even) * 9.0 * constant / 4.0
    for level in exact - exact[0]:
        assert np.abs(levels - level).min() < 1e-4
    if barrier == 1000.0:
        harmonic = 3.0 * np.sqrt(2.0 * barrier * constant / 2.0)
        assert states.fundamental == pytest.approx(harmonic, rel=0.1)
        assert states.quanta()[:9].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("name", "tops"),
    [
        ("CH3CH2OH", 2),
        ("CH3OH", 1),
        ("C2H6", 1),
        ("H2O2", 1),
        ("C6H6", 0),
        ("C2H2", 0),
        ("CO2", 0),
        ("2-butyne", 0),
    ],
)
def test_tops_of_molecules(name, tops):
    assert len(rotors(molecule(name))) == tops


def test_the_moment_of_inertia_of_a_symmetric_internal_rotor():
    """Both halves of ethane turn against each other: 1/I = 1/I₁ + 1/I₂."""
    ethane = molecule("C2H6")
    (rotor,) = rotors(ethane)
    moved = rotor.displacement(ethane.positions, ethane.get_masses())
    hydrogens = ethane.positions[ethane.numbers == 1]
    half = 1.008 * (hydrogens[:3, :2] ** 2).sum()
    assert moved @ moved == pytest.approx(half / 2.0, rel=1e-6)


def test_a_dipole_that_turns_has_the_intensity_of_its_oscillator():
    """In a high barrier a torsion is harmonic: |⟨1|μ|0⟩|² = (dμ/dφ)² ħ/2Iω."""
    constant, barrier = 20.0, 20_000.0
    states = rotor_states(0.5 * barrier * (1.0 - np.cos(ANGLE)), np.full(36, constant))
    assert states.lowest == 0
    assert states.quanta()[:4].tolist() == [0, 1, 2, 3]
    moment = states.functions[:, 0] @ (np.sin(states.coordinate) * states.functions[:, 1])
    expected = constant / states.fundamental
    assert moment**2 == pytest.approx(expected, rel=0.05)
    assert states.one_quantum(0)[1] == pytest.approx(1.0, abs=0.01)
