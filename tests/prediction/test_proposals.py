# SPDX-License-Identifier: MIT
"""Structures that are proposed for labels."""

import numpy as np
import pytest
from ase.build import molecule

from eqcalc.datasets import Record
from eqcalc.prediction.level import start_level
from eqcalc.prediction.proposals import calls, proposed


@pytest.fixture(scope="module")
def level():
    return start_level("general", molecule("H2O"))


@pytest.fixture(scope="module")
def minimum(level):
    relaxed = level.relaxed(molecule("H2O"))
    return relaxed, level.modes(relaxed)


def lengths(records):
    """Return the lengths of both bonds of each water molecule."""
    places = np.array([record.positions for record in records])
    return np.linalg.norm(places[:, 1:] - places[:, :1], axis=-1)


def test_the_minimum_and_displacements_as_wide_as_the_ground_state(level, minimum):
    found = proposed(level, [minimum], 60, 298.15, np.random.default_rng(0))
    assert len(found) == 60
    np.testing.assert_allclose(found[0].positions, minimum[0].positions)
    spread = lengths(found[1:]).std()
    # an O–H bond of 3700 cm⁻¹: √(ħ/2μω) = 0.069 Å; the mean square of factors is 0.57
    assert spread == pytest.approx(0.069 * 0.57**0.5, rel=0.25)


def test_only_rotatable_bonds_take_evaluations():
    assert calls(20, molecule("H2CO")) == 0
    assert calls(20, molecule("CH3OH")) > 0


def test_a_known_minimum_is_not_proposed_again(level, minimum):
    known = [Record.from_atoms(minimum[0].copy())]
    found = proposed(level, [minimum], 4, 298.15, np.random.default_rng(0), known)
    assert len(found) == 4
    assert all("Wigner" in record.source for record in found)
