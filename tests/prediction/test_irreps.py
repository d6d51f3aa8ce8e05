# SPDX-License-Identifier: MIT
"""Irreducible representations of normal modes, against those of group theory."""

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from eqcalc.normal_modes import NormalModes
from eqcalc.prediction.point_groups import mode_irreps
from tests.prediction.test_point_groups import allene


def network(atoms: Atoms) -> NormalModes:
    """Return the modes of springs between all pairs of atoms, which have all the symmetry."""
    n = len(atoms)
    hessian = np.zeros((n, 3, n, 3))
    for i in range(n):
        for j in range(i):
            d = atoms.positions[i] - atoms.positions[j]
            length = np.linalg.norm(d)
            block = 30.0 / length**4 * (np.outer(d, d) / length**2 + 0.1 * np.eye(3))
            hessian[i, :, i] += block
            hessian[j, :, j] += block
            hessian[i, :, j] -= block
            hessian[j, :, i] -= block
    return NormalModes.from_hessian(atoms.positions, atoms.get_masses(), hessian)


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (molecule("H2O"), {"A1": 2, "B2": 1}),
        (molecule("H2CO"), {"A1": 3, "B1": 1, "B2": 2}),
        (molecule("NH3"), {"A1": 2, "E": 4}),
        (molecule("CH3CN"), {"A1": 4, "E": 8}),
        (molecule("CH4"), {"A1": 1, "E": 2, "T2": 6}),
        (molecule("BF3"), {"A1′": 1, "A2″": 1, "E′": 4}),
        (molecule("C2H6"), {"A1g": 3, "A1u": 1, "A2u": 2, "Eg": 6, "Eu": 6}),
        (allene(), {"A1": 3, "B1": 1, "B2": 3, "E": 8}),
        (molecule("trans-butane"), {"Ag": 11, "Au": 8, "Bg": 7, "Bu": 10}),
        (molecule("H2O2"), {"A": 4, "B": 2}),
        (molecule("CH3OH"), {"A′": 8, "A″": 4}),
        (molecule("CO2"), {"Σg⁺": 1, "Σu⁺": 1, "Πu": 2}),
        (molecule("HCN"), {"Σ⁺": 2, "Π": 2}),
        # z along C=C, x across the plane
        (molecule("C2H4"), {"Ag": 3, "Au": 1, "B1u": 2, "B2u": 2, "B3u": 1, "B2g": 1, "B3g": 2}),
    ],
    ids=lambda value: str(value.symbols) if isinstance(value, Atoms) else "",
)
def test_known_molecules(atoms, expected):
    turned = atoms.copy()
    turned.positions = Rotation.from_rotvec([0.3, 1.1, -2.0]).apply(atoms.positions)
    assert Counter(mode_irreps(network(turned), turned)) == expected


def test_isotopes_lower_the_symmetry():
    atoms = molecule("H2O")
    atoms.set_masses([16.0, 1.008, 2.014])
    assert Counter(mode_irreps(network(atoms), atoms)) == {"A′": 3}


def test_groups_whose_symbols_are_not_known_have_none():
    assert set(mode_irreps(network(molecule("C6H6")), molecule("C6H6"))) == {""}
