# SPDX-License-Identifier: MIT
"""Pair distributions and close contacts of the liquid."""

from __future__ import annotations

import numpy as np
import pytest

from eqcalc.datasets import Record
from tests.workflows import module

pairs = module("liquid_water/pairs.py")


def test_pair_distribution_of_an_ideal_gas_is_one() -> None:
    """Also of atoms of one kind, whose pairs with themselves do not count."""
    cell = np.diag([8.0, 9.0, 10.0])
    positions = np.random.default_rng(0).uniform(-20.0, 20.0, (40, 90, 3))
    edges = np.linspace(1.0, 4.0, 4)
    for kinds in ((range(60), range(60, 90)), (range(60), range(60))):
        g = pairs.pair_distribution(positions, cell, tuple(np.array(k) for k in kinds), edges)
        np.testing.assert_allclose(g, 1.0, atol=0.03)


def test_contacts_are_close_and_pull_hard() -> None:
    """Clusters of a sparse cell have contacts that it has not, and large forces."""
    pytest.importorskip("tblite")
    contacts = module("liquid_water/contacts.py")
    molecule = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * 3.1
    positions = (corners[:, None] + molecule).reshape(-1, 3)
    cell = Record(np.tile([8, 1, 1], 8), positions, {}, cell=6.2 * np.eye(3), pbc=True)
    made = list(contacts.contacts([cell], 12))
    assert len(made) == 12
    closest = []
    for record in made:
        distances = record.atoms().get_all_distances()
        first = np.arange(len(distances)) // 3
        closest.append(distances[first[:, None] != first].min())
        assert 2 <= len(distances) / 3 <= 4
        assert np.abs(record.labels["forces"]).max() <= contacts.LARGEST_FORCE
    assert np.median(closest) < 1.7
    assert np.median([np.abs(r.labels["forces"]).max() for r in made]) > 3.0
