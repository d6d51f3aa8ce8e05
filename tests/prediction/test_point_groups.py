# SPDX-License-Identifier: MIT
"""Point groups, symmetry numbers and chirality."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from eqcalc.prediction.point_groups import symmetry


def octahedron(symbols="SF6"):
    return Atoms(symbols, 1.6 * np.vstack([np.zeros(3), np.eye(3), -np.eye(3)]))


def allene():
    ends = [[0, 0.93, 1.86], [0, -0.93, 1.86], [0.93, 0, -1.86], [-0.93, 0, -1.86]]
    return Atoms("C3H4", [[0, 0, 0], [0, 0, 1.3], [0, 0, -1.3], *ends])


@pytest.mark.parametrize(
    ("atoms", "point_group", "number", "chiral"),
    [
        (molecule("H2O"), "C2v", 2, False),
        (molecule("NH3"), "C3v", 3, False),
        (molecule("CH4"), "Td", 12, False),
        (molecule("C6H6"), "D6h", 12, False),
        (molecule("C2H4"), "D2h", 4, False),
        (molecule("C2H6"), "D3d", 6, False),
        (molecule("H2O2"), "C2", 2, True),
        (molecule("CH3CH2OH"), "Cs", 1, False),
        (molecule("CO2"), "D∞h", 2, False),
        (molecule("CO"), "C∞v", 1, False),
        (molecule("trans-butane"), "C2h", 2, False),
        (molecule("BF3"), "D3h", 6, False),
        (octahedron(), "Oh", 24, False),
        (allene(), "D2d", 4, False),
    ],
)
def test_known_molecules(atoms, point_group, number, chiral):
    found = symmetry(atoms)
    assert (found.point_group, found.number, found.chiral) == (point_group, number, chiral)
    # neither the orientation nor the noise of a relaxation changes it
    turned = atoms.copy()
    noise = np.random.default_rng(3).normal(scale=3e-3, size=atoms.positions.shape)
    turned.positions = Rotation.from_rotvec([0.3, 1.1, -2.0]).apply(atoms.positions) + noise
    assert symmetry(turned) == found


def test_isotopes_lower_the_symmetry():
    atoms = molecule("CH4")
    atoms.set_masses([12.011, 2.014, 1.008, 1.008, 1.008])
    assert symmetry(atoms).point_group == "C3v"
    atoms.set_masses([12.011, 2.014, 3.016, 1.008, 1.008])
    assert symmetry(atoms).point_group == "Cs"


def test_four_different_neighbours_are_chiral():
    assert symmetry(Atoms("CHFClBr", molecule("CH4").positions)).chiral
