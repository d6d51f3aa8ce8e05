# SPDX-License-Identifier: MIT
"""Distances, angles and dihedral angles along a trajectory, and their spectra."""

import ase
import numpy as np
import pytest
from ase.build import molecule

from eqcalc.spectra import bonded_chains, internal_coordinates, internal_spectrum
from eqcalc.validation import InvalidInputError
from tests.spectra.oscillators import oscillator


def test_values_are_those_of_ase():
    atoms = molecule("H2O2")
    atoms.rattle(0.1, seed=3)
    for chain, expected in (
        ([0, 1], atoms.get_distance(0, 1)),
        ([2, 0, 1], atoms.get_angle(2, 0, 1)),
        ([2, 0, 1, 3], atoms.get_dihedral(2, 0, 1, 3)),
    ):
        found = internal_coordinates(atoms.positions[None], np.array([chain]))
        assert (found[0, 0] - expected + 180.0) % 360.0 == pytest.approx(180.0, abs=1e-10)


def test_dihedral_angles_go_on_beyond_half_a_turn():
    angles = np.radians(np.linspace(150.0, 250.0, 21))
    ends = np.stack([np.cos(angles), np.sin(angles), np.ones_like(angles)], axis=-1)
    fixed = np.tile([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.0]], (len(angles), 1, 1))
    positions = np.concatenate([fixed, ends[:, None]], axis=1)
    found = internal_coordinates(positions, np.array([[0, 1, 2, 3]]))[:, 0]
    assert np.ptp(found) == pytest.approx(100.0)


def test_a_bond_across_the_boundary_has_its_length():
    atoms = ase.Atoms("OH", [[0.2, 1.0, 1.0], [9.3, 1.0, 1.0]], cell=[10.0] * 3, pbc=True)
    chains = bonded_chains(atoms, "O-H")
    found = internal_coordinates(atoms.positions[None], chains, np.asarray(atoms.cell))
    assert found[0, 0] == pytest.approx(0.9)


def test_elements_stand_for_all_bonded_chains():
    ethanol = molecule("CH3CH2OH")
    assert len(bonded_chains(ethanol, "C-H")) == 5
    assert len(bonded_chains(ethanol, "H-C-H")) == 4  # three of the methyl group, one of CH2
    assert len(bonded_chains(ethanol, "C-C-O-H")) == 1
    assert np.array_equal(bonded_chains(ethanol, "0-1-2"), [[0, 1, 2]])


@pytest.mark.parametrize("name", ["O", "O-N", "0-9", "0-0", "O-H-O-H-O", "C-1", ""])
def test_what_is_no_coordinate_is_refused(name):
    with pytest.raises(InvalidInputError) as caught:
        bonded_chains(molecule("CH3CH2OH"), name)
    assert (caught.value.key, caught.value.value) == ("internal", name)


def test_a_bond_vibrates_at_its_wavenumber():
    class Run:  # what a trajectory of another engine has
        numbers = np.array([8, 1])
        cell = None
        masses = np.array([15.999, 1.008])
        temperature, timestep, n_beads, method = 300.0, 0.5, 1, "NVE"

        def __init__(self):
            self.provenance = {}

        def observables(self):
            return ("positions",)

        def observable(self, name):
            bond = 0.97 + 0.05 * oscillator(3700.0, n_frames=4000)
            positions = np.zeros((*bond.shape[:2], 2, 3))
            positions[..., 1, 2] = bond.reshape(bond.shape[:2])

            class Series:
                values, interval, unit = positions, 0.5, "Å"

            return Series

    for name in ("O-H", "0-1"):
        spectrum = internal_spectrum(Run(), name, lag=500.0)
        band = spectrum.band(3500.0, 3900.0)
        assert band.position.value == pytest.approx(3700.0, abs=1.0)
        assert spectrum.unit == "(Å)² per cm⁻¹"
