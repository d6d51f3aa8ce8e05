# SPDX-License-Identifier: MIT
"""What a model was trained on is recorded, and other molecules are told apart from it."""

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from eqcalc.calculator import EqCalculator
from eqcalc.models.checkpoint import load_model, model_hash, shipped_model
from eqcalc.models.compositions import (
    Compositions,
    UnknownCompositionWarning,
    formula,
    general_model_extends_to,
    general_model_knows,
)
from eqcalc.runtime import eager_evaluator


def compositions(*names):
    numbers = [molecule(name).numbers for name in names]
    return Compositions.of(np.concatenate(numbers), np.array([len(z) for z in numbers]))


def test_few_compositions_are_listed_and_isomers_are_one():
    found = compositions("CH3CH2OH", "H2O", "CH3OCH3", "H2O")
    assert (found.count, found.formulas, found.atoms) == (2, ("C2H6O", "H2O"), (3, 9))
    assert found.elements == {1: (2, 6), 6: (0, 2), 8: (1, 1)}
    assert found.contain(molecule("H2O").numbers[::-1])
    # within the ranges of the elements, but never seen
    assert not found.contain(molecule("CH3OH").numbers)
    assert Compositions.of_model({"training": {"dataset": {"compositions": found.settings()}}}) == (
        found
    )


def test_many_compositions_are_recorded_by_their_ranges():
    alkanes = [np.repeat([6, 1], [n, 2 * n + 2]) for n in range(2, 100)]
    found = Compositions.of(np.concatenate(alkanes), np.array([len(z) for z in alkanes]))
    assert (found.count, found.formulas, found.atoms) == (98, (), (8, 299))
    assert len(str(found.settings())) < 200
    assert "98 compositions of 8–299 atoms, H 6–200, C 2–99" in str(found)
    assert found.contain(np.repeat([6, 1], [50, 90]))
    assert not found.contain(molecule("CH4").numbers)  # too small
    assert not found.contain(np.repeat([6, 8], [9, 1]))  # another element
    assert not found.contain(np.repeat([6, 1], [120, 90]))


@pytest.fixture(scope="module")
def shipped():
    return load_model(shipped_model("ethanol"))


def test_the_shipped_model_warns_of_other_molecules_once(shipped):
    methanol = molecule("CH3OH")
    with pytest.warns(UnknownCompositionWarning, match=r"^CH4O was not .* \(C2H6O\)"):
        eager_evaluator(shipped, torch.tensor(methanol.numbers))
    methanol.calc = EqCalculator(shipped)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", UnknownCompositionWarning)
        methanol.get_forces()
        methanol.rattle(0.01)
        methanol.get_forces()
        other = methanol.copy()
        other.calc = EqCalculator(shipped)
        other.get_forces()
    assert [w.category for w in found] == [UnknownCompositionWarning]


def test_what_was_trained_on_is_no_reason_to_warn(shipped, ethanol):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownCompositionWarning)
        ethanol.calc = EqCalculator(shipped)
        ethanol.get_forces()
        eager_evaluator(shipped, torch.tensor(molecule("CH3OCH3").numbers))
    assert formula(ethanol.numbers) == "C2H6O"
    assert model_hash(shipped) == shipped.metadata["hash"]  # nothing was added to the file


def test_models_that_do_not_know_their_training_do_not_warn(potential, ethanol):
    assert Compositions.of_model(potential.metadata) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownCompositionWarning)
        EqCalculator(potential).get_potential_energy(ethanol)


@pytest.mark.parametrize(
    ("name", "known", "extends"),
    [
        ("C6H6", True, False),
        ("trans-butane", True, False),
        ("CH3Cl", False, False),  # another element
        ("CH3", False, False),  # a radical
    ],
)
def test_kinds_of_the_general_model(name, known, extends):
    atoms = molecule(name)
    assert (general_model_knows(atoms), general_model_extends_to(atoms)) == (known, extends)


def test_the_general_model_extends_to_longer_chains():
    decane = carbon_chain(10)
    assert not general_model_knows(decane)
    assert general_model_extends_to(decane)
    decane.info["charge"] = 2
    assert not general_model_extends_to(decane)
    assert not general_model_extends_to(carbon_chain(16))  # than were compared
    nitrogen = Atoms("N12", np.arange(36.0).reshape(12, 3))
    assert not general_model_extends_to(nitrogen)


def carbon_chain(n: int) -> Atoms:
    """Return an alkane whose hydrogen atoms are not at their places."""
    x = 1.5 * np.arange(n)
    carbon = np.column_stack([x, np.zeros(n), np.zeros(n)])
    sides = [carbon + np.array([0.0, y, 0.0]) for y in (1.1, -1.1)]
    ends = [[-1.1, 0.0, 0.0], [x[-1] + 1.1, 0.0, 0.0]]
    return Atoms(f"C{n}H{2 * n + 2}", np.concatenate([carbon, *sides, ends]))
