# SPDX-License-Identifier: MIT
"""Charges and magnetic moments of ASE atoms: what counts, and what is said to be ignored."""

import warnings

import numpy as np
import pytest

from eqcalc.calculator import EqCalculator
from eqcalc.harmonic import harmonic_spectrum, relax
from eqcalc.molecules import IgnoredInputWarning, total_charge
from eqcalc.validation import InvalidInputError
from tests.conftest import make_potential
from tests.errors import refused


def test_magnetic_moments_are_said_to_be_ignored_once(potential, ethanol):
    expected = EqCalculator(potential).get_potential_energy(ethanol)
    ethanol.set_initial_magnetic_moments([1.0, -1.0] + [0.0] * 7)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for _ in range(2):
            ethanol.calc = EqCalculator(potential)
            assert ethanol.get_potential_energy() == expected
    (warning,) = found
    assert warning.category is IgnoredInputWarning
    assert "magnetic moments are ignored" in str(warning.message)


def test_magnetic_moments_of_later_are_said_to_be_ignored(potential, ethanol):
    ethanol.calc = EqCalculator(potential)
    before = ethanol.get_potential_energy()
    ethanol.set_initial_magnetic_moments([1.0] + [0.0] * 8)
    with pytest.warns(IgnoredInputWarning, match="magnetic moments"):
        assert ethanol.get_potential_energy() == before


def test_partial_charges_are_said_to_be_ignored(potential, ethanol):
    ethanol.set_initial_charges([0.4, -0.4] + [0.0] * 7)
    with pytest.warns(IgnoredInputWarning, match="only their sum, zero, counts"):
        EqCalculator(potential).get_potential_energy(ethanol)


@pytest.mark.parametrize(("name", "value"), [("spin", 2), ("multiplicity", 3)])
def test_other_names_are_said_to_be_ignored(potential, ethanol, name, value):
    ethanol.info[name] = value
    with pytest.warns(IgnoredInputWarning, match=f"info..{name}.. is ignored"):
        EqCalculator(potential).get_potential_energy(ethanol)


def test_a_charge_under_any_name_is_refused_by_a_model_of_neutral_molecules(potential, ethanol):
    for name in ("charge", "total_charge"):
        ethanol.info = {name: 1}
        with refused(InvalidInputError, key="charge"):
            EqCalculator(potential).get_potential_energy(ethanol)
        with refused(InvalidInputError, key="charge"):
            harmonic_spectrum(potential, ethanol)


def test_moments_and_charges_of_zero_are_no_reason_to_warn(potential, ethanol):
    ethanol.set_initial_magnetic_moments(np.zeros(9))
    ethanol.set_initial_charges(np.zeros(9))
    ethanol.info |= {"total_charge": 0, "spin": 0, "multiplicity": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error", IgnoredInputWarning)
        EqCalculator(potential).get_potential_energy(ethanol)


@pytest.mark.slow
def test_the_harmonic_spectrum_takes_the_charge_from_either_place(ethanol):
    """Nine atoms share the charge, and its arms are derivatives of the dipole."""
    potential = make_potential(norm_epsilon=1e-2)
    potential.metadata["charges"] = [0.0, 1.0]
    neutral = relax(potential, ethanol)
    spectra = []
    for charge in ("none", "info", "initial"):
        atoms = neutral.copy()
        if charge == "info":
            atoms.info["charge"] = 1
        elif charge == "initial":
            atoms.info.pop("charge", None)
            atoms.set_initial_charges([1.0] + [0.0] * 8)
        assert total_charge(atoms) == (0.0 if charge == "none" else 1.0)
        spectra.append(harmonic_spectrum(potential, atoms).dipole_derivative)
    np.testing.assert_array_equal(spectra[1], spectra[2])
    assert np.abs(spectra[0] - spectra[1]).max() > 0.05  # e, of one ninth
