# SPDX-License-Identifier: MIT
"""Inversion of pyramidal atoms."""

import numpy as np
import pytest
from ase.build import molecule

from eqcalc.anharmonic.inversion import inversion_states, pyramids


@pytest.mark.parametrize(
    ("name", "atoms"),
    [("NH3", [0]), ("CH3CONH2", []), ("H2CO", []), ("C2H6", []), ("N2H4", [0, 1])],
)
def test_pyramids_of_molecules(name, atoms):
    found = pyramids(molecule(name))
    if name != "CH3CONH2":  # whose nitrogen is nearly planar
        assert [pyramid.atom for pyramid in found] == atoms
    assert all(pyramid.height(molecule(name).positions) > 0.0 for pyramid in found)


def test_the_gradient_of_the_height():
    atoms = molecule("NH3")
    (pyramid,) = pyramids(atoms)
    atoms.rattle(0.1, seed=1)
    numerical = np.empty((4, 3))
    for index in np.ndindex(4, 3):
        ends = []
        for sign in (1, -1):
            moved = atoms.positions.copy()
            moved[index] += sign * 1e-5
            ends.append(pyramid.height(moved))
        numerical[index] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(pyramid.gradient(atoms.positions), numerical, atol=1e-9)


def test_levels_of_known_potentials():
    x = np.linspace(-6.0, 6.0, 61)
    quartic = inversion_states(x, x**4, np.ones(61), 1.0).levels
    # Hioe, MacMillen, Montroll, J. Math. Phys. 17, 1320 (1976): of p² + x⁴
    np.testing.assert_allclose(quartic[:3], [1.060362, 3.799673, 7.455698], rtol=1e-3)
    harmonic = inversion_states(x, x**2, np.ones(61), 1.0).levels
    np.testing.assert_allclose(harmonic[:4], [1.0, 3.0, 5.0, 7.0], rtol=1e-3)


def test_two_deep_wells_share_their_states():
    x = np.linspace(-3.0, 3.0, 61)
    states = inversion_states(x, 100.0 * (x**2 - 1.0) ** 2, np.ones(61), 1.0)
    assert states.levels[1] - states.levels[0] < 0.01 * (states.levels[2] - states.levels[0])
    assert states.inside.sum() == pytest.approx(0.5 * len(states.levels))
    assert states.quanta()[:4].tolist() == [0, 0, 1, 1]
    # near the harmonic 2√(F k/2), k = V'' = 800
    assert states.fundamental == pytest.approx(40.0, rel=0.15)
