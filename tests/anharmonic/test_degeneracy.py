# SPDX-License-Identifier: MIT
"""Degenerate levels: coordinates that do not depend on axes, and what truncation splits."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from eqcalc.anharmonic import Treatment, anharmonic_spectrum
from eqcalc.anharmonic.configuration_interaction import vibrational_states
from eqcalc.anharmonic.degeneracy import degenerate_levels, localised
from tests.anharmonic.surfaces import CarbonDioxide, Tetrahedron, Water
from tests.anharmonic.test_configuration_interaction import hamiltonian

QUICK = Treatment(coupling=3, quanta=4, nodes=(11, 7, 5))


class Turned(Tetrahedron):
    """The same molecule with its atoms in another order and in other axes."""

    def __init__(self, bound, seed):
        super().__init__(bound)
        self.turn = torch.from_numpy(Rotation.random(random_state=seed).as_matrix())
        self.order = np.random.default_rng(seed).permutation(bound + 1)
        self.back = np.argsort(self.order)
        self.numbers, self.masses = self.numbers[self.order], self.masses[self.order]
        self.equilibrium = self.equilibrium[self.order] @ self.turn.T

    def _original(self, r):
        return (r @ self.turn)[:, self.back]

    def energy(self, r):
        return super().energy(self._original(r))

    def dipole(self, r):
        return super().dipole(self._original(r)) @ self.turn.T


@pytest.mark.parametrize(
    ("molecule", "levels"),
    [
        (Water(), []),
        (CarbonDioxide(), [[0, 1]]),
        (Tetrahedron(3), [[1, 2], [4, 5]]),
        (Tetrahedron(4), [[0, 1, 2], [3, 4], [6, 7, 8]]),
    ],
)
def test_levels_are_those_of_the_point_group(molecule, levels):
    assert degenerate_levels(molecule.modes()) == levels


@pytest.mark.parametrize("bound", [3, 4])
def test_localised_coordinates_do_not_depend_on_the_axes(bound):
    """Weights of atoms, in the order of their size, are those of the other molecule."""

    def weights(molecule):
        modes = localised(molecule.modes())
        np.testing.assert_allclose(modes.weighted @ modes.weighted.T, np.eye(len(modes)), atol=1e-9)
        return np.sort((modes.vectors**2).sum(axis=2), axis=1)

    plain = weights(Tetrahedron(bound))
    for seed in range(3):
        np.testing.assert_allclose(weights(Turned(bound, seed)), plain, atol=1e-5)


@pytest.mark.slow
def test_levels_do_not_depend_on_axes_and_degenerate_ones_are_equal():
    spectra = [
        anharmonic_spectrum(molecule.modes(), molecule, QUICK)
        for molecule in (Tetrahedron(3), Turned(3, 1))
    ]
    for spectrum in spectra:
        found = spectrum.fundamentals()
        np.testing.assert_allclose(found, spectra[0].fundamentals(), atol=2e-3)
        place = spectrum.fundamental_transitions()
        for pair in ([1, 2], [4, 5]):
            assert found[pair[0]] == pytest.approx(found[pair[1]], abs=1e-9)
            # terms of three modes are not all: what they split is stated
            assert (spectrum.errors["symmetry"][place[pair]] > 0.01).all()
            strength = spectrum.infrared_intensity[place[pair]].sum()
            other = spectra[0].infrared_intensity[spectra[0].fundamental_transitions()[pair]].sum()
            assert strength == pytest.approx(other, rel=1e-3)
        assert (spectrum.errors["symmetry"][place[[0, 3]]] == 0.0).all()


def test_the_whole_surface_of_a_pair_splits_nothing():
    """A cubic threefold potential of two modes is complete in terms of two modes."""

    def surface(q):
        x, y = q.T
        return (750.0 * (x**2 + y**2) + 60.0 * (x**3 - 3.0 * x * y**2))[:, None]

    states = vibrational_states(hamiltonian(surface, [1500.0, 1500.0]), 10, 3500.0, [[0, 1]])
    assert [set(found) for found in states.partners] == [{1, 2}]
    assert states.splitting.max() < 1e-3


@pytest.mark.parametrize("angle", [0.0, 0.2, 0.5])
def test_the_mean_is_that_of_the_symmetric_surface_in_first_order(angle):
    """(x² − y²) z² has no invariant part: the mean moves by the square of what it splits."""
    omega = np.array([1500.0, 1500.0, 2100.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def level(size):
        def surface(q):
            x, y = turn @ q[:, :2].T
            z = q[:, 2]
            symmetric = 40.0 * (x**3 - 3.0 * x * y**2) + 60.0 * z * (q[:, 0] ** 2 + q[:, 1] ** 2)
            lower = size * (q[:, 0] ** 2 - q[:, 1] ** 2) * z**2
            return (0.5 * q**2 @ omega + symmetric + lower)[:, None]

        states = vibrational_states(hamiltonian(surface, omega), 9, 2000.0, [[0, 1]])
        (pair,) = states.partners
        first, second = states.energies[list(pair)]
        assert first == second
        return first - states.energies[0], states.splitting[pair[0]]

    plain, none = level(0.0)
    assert none < 0.02
    for size in (5.0, 10.0):
        mean, half = level(size)
        # ⟨x²⟩ is 3/2 in one quantum and 1/2 in none, ⟨z²⟩ is 1/2
        assert half == pytest.approx(0.5 * size, rel=0.1)
        assert abs(mean - plain) < 0.03 * half
