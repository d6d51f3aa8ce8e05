# SPDX-License-Identifier: MIT
"""Reference values are recovered exactly where the labels are sums over atoms."""

import numpy as np
import pytest
import torch

from eqcalc.structures import Structures
from eqcalc.training.references import fit_element_values, label_scales, remainder

TABLE = {1: -13.587, 6: -1029.831, 8: -2041.840}
FORMULAS = ([8, 1, 1], [6, 1, 1, 1, 1], [6, 8, 1, 1], [6, 6, 8, 1, 1, 1, 1, 1, 1])


def structures_of(formulas):
    numbers = torch.tensor(np.concatenate(formulas))
    positions = torch.zeros(len(numbers), 3, dtype=torch.float64)
    return Structures.pack(numbers, positions, [len(f) for f in formulas])


def test_exact_recovery_of_element_energies():
    structures = structures_of(FORMULAS)
    energies = torch.tensor([sum(TABLE[z] for z in f) for f in FORMULAS], dtype=torch.float64)
    fitted = fit_element_values(structures, energies, (1, 6, 8))
    assert fitted == pytest.approx(TABLE, rel=1e-10)
    assert remainder(structures, energies, fitted).abs().max() < 1e-8


def test_one_molecule_determines_the_sum_only():
    structures = structures_of([FORMULAS[3]] * 5)
    energies = torch.tensor([-4210.0, -4210.5, -4209.5, -4210.2, -4209.8], dtype=torch.float64)
    fitted = fit_element_values(structures, energies, (1, 6, 8))
    left = remainder(structures, energies, fitted)
    torch.testing.assert_close(left, energies - energies.mean())
    # an element that does not occur gets nothing
    assert fit_element_values(structures, energies, (1, 6, 7, 8))[7] == pytest.approx(0.0)


def test_scales_by_hand():
    structures = structures_of([[8, 1, 1], [8, 1, 1]])
    labels = {
        "energy": torch.tensor([-2070.0, -2067.0], dtype=torch.float64),
        "forces": torch.arange(18.0, dtype=torch.float64).reshape(6, 3),
        "dipole": torch.tensor([[0.0, 0.0, 0.3], [0.0, 0.4, torch.nan]], dtype=torch.float64),
        "polarizability": torch.eye(3, dtype=torch.float64).repeat(2, 1, 1) * 0.1,
    }
    labels["polarizability"][0, 0, 1] = labels["polarizability"][0, 1, 0] = 0.03
    present = {n: torch.tensor([True, True]) for n in labels}
    present["dipole"] = torch.tensor([True, False])
    energies = {8: -2041.5, 1: -13.5}  # adds up to −2068.5
    alphas = {8: 0.06, 1: 0.02}  # adds up to 0.1
    scales = label_scales(structures, labels, present, energies, alphas)
    assert scales["energy"] == pytest.approx(1.5 / 3)
    assert scales["forces"] == pytest.approx(np.sqrt(np.mean(np.arange(18.0) ** 2)))
    assert scales["dipole"] == pytest.approx(0.3 / np.sqrt(3.0))
    assert scales["polarizability"] == pytest.approx(0.03 * np.sqrt(2 / 18))


def test_labels_without_spread_do_not_divide_by_zero():
    structures = structures_of([[8, 1, 1], [8, 1, 1]])
    labels = {"energy": torch.full((2,), -2068.5, dtype=torch.float64)}
    present = {"energy": torch.tensor([True, True])}
    fitted = fit_element_values(structures, labels["energy"], (1, 8))
    assert label_scales(structures, labels, present, fitted, {}) == {"energy": 1.0}
