# SPDX-License-Identifier: MIT
"""Charge, masses and isolation of ASE Atoms."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from eqcalc.molecules import (
    IgnoredInputWarning,
    atomic_masses,
    isolated_molecule,
    isotope_masses,
    states_charge,
    total_charge,
    warn_of_ignored,
)
from eqcalc.validation import InvalidInputError


@pytest.fixture
def water():
    return molecule("H2O")


# --- charge and spin ------------------------------------------------------------------


def test_a_molecule_that_says_nothing_is_neutral(water):
    assert total_charge(water) == 0.0
    assert not states_charge(water)


@pytest.mark.parametrize("value", [-1, 1.0, "1", np.float32(2.0)])
def test_the_charge_is_that_of_info(water, value):
    water.info["charge"] = value
    assert total_charge(water) == float(value)
    assert states_charge(water)


def test_the_charge_is_the_sum_of_the_initial_charges_without_its_rounding_error(water):
    water.set_initial_charges([0.1, 0.2, -0.3])
    assert sum([0.1, 0.2, -0.3]) != 0.0
    assert total_charge(water) == 0.0
    water.set_initial_charges([1.7, -0.4, -0.3])
    assert total_charge(water) == 1.0
    water.info["charge"] = 1
    assert total_charge(water) == 1.0
    water.set_initial_charges([0.5, 0.0, 0.0])
    del water.info["charge"]
    assert total_charge(water) == 0.5


def test_names_of_other_programs_are_not_the_charge(water):
    water.info |= {"total_charge": 1, "Charge": 1}
    assert total_charge(water) == 0.0
    with pytest.warns(IgnoredInputWarning, match=r"atoms\.info\['charge'\]"):
        warn_of_ignored(water)


@pytest.mark.parametrize("value", ["one", None, np.nan, np.inf, [1, 2]])
def test_a_charge_that_is_no_number_is_refused(water, value):
    water.info["charge"] = value
    with pytest.raises(InvalidInputError) as found:
        total_charge(water)
    assert "charge" in found.value.key
    assert found.value.value is value


def test_two_charges_that_disagree_are_refused(water):
    water.info["charge"] = 1
    water.set_initial_charges([0.0, 0.0, 0.0])
    with pytest.raises(InvalidInputError) as found:
        total_charge(water)
    assert found.value.value == 1.0
    water.set_initial_charges([np.nan, 0.0, 0.0])
    with pytest.raises(InvalidInputError):
        total_charge(water)


def test_moments_and_partial_charges_are_said_to_be_ignored(water):
    water.set_initial_magnetic_moments([1.0, 0.0, 0.0])
    with pytest.warns(IgnoredInputWarning, match="magnetic moments"):
        warn_of_ignored(water)
    water.set_initial_magnetic_moments(np.zeros(3))
    water.set_initial_charges([-0.8, 0.4, 0.4])
    with pytest.warns(IgnoredInputWarning, match="only their sum"):
        warn_of_ignored(water)


def test_what_is_usual_is_no_reason_to_warn(water):
    water.info |= {"charge": 1, "total_charge": 1, "spin": 0, "multiplicity": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_ignored(water)


# --- masses ---------------------------------------------------------------------------


def test_masses_are_those_of_the_atoms(water):
    np.testing.assert_array_equal(atomic_masses(water), [15.999, 1.008, 1.008])
    np.testing.assert_array_equal(atomic_masses(water, {"H": 2.014}), [15.999, 2.014, 2.014])
    np.testing.assert_array_equal(atomic_masses(water, [16, 1, 2]), [16.0, 1.0, 2.0])


@pytest.mark.parametrize("given", [{"H": 2.014, "3": 3.016}, {"3": 3.016, "H": 2.014}])
def test_an_atom_comes_before_its_element(given):
    masses = isotope_masses(molecule("CH3CH2OH"), given)
    assert masses[3] == 3.016
    assert masses[8] == 2.014
    assert masses[0] == pytest.approx(12.011)


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ({"D": 2.014}, "masses", "D"),
        ({"3": 2.014}, "masses", "3"),
        ({"-1": 2.014}, "masses", "-1"),
        ({"H": 0.0}, "masses.H", 0.0),
        ({"0": np.inf}, "masses.0", np.inf),
        ([16.0, 1.0], "masses", [2]),
        ([16.0, -1.0, 1.0], "masses[1]", -1.0),
        ([16.0, 1.0, np.inf], "masses[2]", np.inf),
    ],
)
def test_masses_that_make_no_sense_are_refused(water, given, key, value):
    with pytest.raises(InvalidInputError) as found:
        atomic_masses(water, given)
    assert (found.value.key, found.value.value) == (key, value)


# --- positions and cell ---------------------------------------------------------------


def test_isolated_molecules(water):
    assert isolated_molecule(water) is water
    periodic = water.copy()
    periodic.set_cell([9, 9, 9])
    assert isolated_molecule(periodic) is periodic  # a cell alone does not repeat it
    periodic.pbc = (False, False, True)
    broken = water.copy()
    broken.positions[2, 1] = np.nan
    for atoms, key in ((periodic, "atoms.pbc"), (broken, "positions[2, 1]"), (Atoms(), "atoms")):
        with pytest.raises(InvalidInputError) as found:
            isolated_molecule(atoms)
        assert found.value.key == key
