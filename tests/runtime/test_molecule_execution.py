# SPDX-License-Identifier: MIT
"""Evaluators of whatever molecule comes, such as captures replayed on the host."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from eqcalc import EqCalculator
from eqcalc.runtime import EagerExecution
from eqcalc.runtime.cuda_graphs import CapturedExecution
from eqcalc.runtime.molecule_execution import MoleculeExecution, _round
from eqcalc.structures import Structures
from tests.conftest import make_potential
from tests.runtime.test_cuda_graphs import NAMES, capture_on_the_host


class Made:
    """Makes evaluators that replay on the host, and counts them."""

    def __init__(self):
        self.molecules = []

    def __call__(self, potential, numbers, *, charge):
        self.molecules.append((tuple(numbers.tolist()), charge))
        return CapturedExecution(potential, numbers, charge=charge, capture=capture_on_the_host)


def moved(atoms, seed):
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=seed)
    return atoms


@pytest.mark.parametrize(
    ("frames", "captures"),
    [
        (["H2O"], 1),
        (["CH3CH2OH"] * 3, 1),
        (["H2O", "CH4"], 0),  # of different sizes
        (["CO", "H2"], 0),  # of one size
    ],
)
def test_values_are_those_of_the_eager_execution(frames, captures):
    potential, made = make_potential(), Made()
    structures = Structures.from_atoms([moved(molecule(f), k) for k, f in enumerate(frames)])
    execution, eager = MoleculeExecution(potential, made), EagerExecution(potential)
    found, expected = (one.evaluate(structures, NAMES) for one in (execution, eager))
    assert len(made.molecules) == captures
    assert execution.closest_pair(structures) == eager.closest_pair(structures)
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=1e-12)


def test_molecules_and_charges_have_captures_of_their_own():
    potential, made = make_potential(), Made()
    execution, eager = MoleculeExecution(potential, made), EagerExecution(potential)
    for name, charge in (("H2O", 0), ("CH4", 0), ("H2O", 0), ("H2O", 1), ("CH4", 0)):
        atoms = moved(molecule(name), len(made.molecules))
        atoms.info["charge"] = charge
        structures = Structures.from_atoms(atoms)
        structures.charge.fill_(float(charge))
        found = execution.evaluate(structures, NAMES)
        for key, value in eager.evaluate(structures, NAMES).items():
            assert torch.equal(found[key], value)
    assert len(made.molecules) == 3


def test_crystals_and_long_chains_are_evaluated_otherwise():
    potential, made, others = make_potential(), Made(), []

    def otherwise(*given, **options):
        others.append(EagerExecution(*given, **options))
        return others[-1]

    execution = MoleculeExecution(potential, made, otherwise=otherwise)
    execution.evaluate(Structures.from_atoms(molecule("H2O")), NAMES)
    assert not others
    made.molecules.clear()
    crystal = Structures.from_atoms(bulk("C"))
    stress = execution.evaluate(crystal, ("energy", "stress"))["stress"]
    assert torch.equal(stress, EagerExecution(potential).evaluate(crystal, ("stress",))["stress"])
    line = torch.zeros(1, 70, 3, dtype=torch.float64)
    line[0, :, 0] = 1.2 * torch.arange(70)
    chain = Structures.stack(torch.full((70,), 6), line)
    assert bool(execution.evaluate(chain, ("energy",))["energy"].isfinite().all())
    assert not made.molecules
    assert len(others) == 1


def test_molecules_without_an_evaluator_are_evaluated_as_written():
    potential, asked = make_potential(), []

    def none(potential, numbers, *, charge):
        asked.append(numbers.tolist())

    execution, structures = (
        MoleculeExecution(potential, none),
        Structures.from_atoms(molecule("H2")),
    )
    for _ in range(2):
        found = execution.evaluate(structures, NAMES)
    for name, value in EagerExecution(potential).evaluate(structures, NAMES).items():
        assert torch.equal(found[name], value)
    assert asked == [[1, 1]]


def test_a_molecule_is_captured_once_it_was_met_often_enough():
    potential, made = make_potential(), Made()
    execution, eager = MoleculeExecution(potential, made, patience=2), EagerExecution(potential)
    for k, name in enumerate(["H2O", "H2O", "CH4", "CH4", "H2O", "H2O", "CH4"]):
        structures = Structures.from_atoms(moved(molecule(name), k))
        found = execution.evaluate(structures, NAMES)
        for key, value in eager.evaluate(structures, NAMES).items():
            assert torch.equal(found[key], value)
        assert len(made.molecules) == (k > 3) + (k > 5)


def test_changing_numbers_of_copies_need_few_graphs():
    potential, made = make_potential(), Made()
    execution, eager = MoleculeExecution(potential, made), EagerExecution(potential)
    for n in (7, 6, 5, 3, 2, 1, 8):
        structures = Structures.from_atoms([moved(molecule("H2O"), k) for k in range(n)])
        found, expected = (one.evaluate(structures, NAMES) for one in (execution, eager))
        assert execution.closest_pair(structures) == eager.closest_pair(structures)
        for key, value in expected.items():
            assert found[key].shape == value.shape
            torch.testing.assert_close(found[key], value, rtol=1e-12, atol=1e-12)
    ((captured,),) = [execution._executions.values()]
    assert captured.captures <= 5  # of 1, 2, 4 and 8, and that of the check
    assert [_round(n) for n in (1, 2, 3, 64, 65, 128, 129)] == [1, 2, 4, 64, 128, 128, 192]


def test_a_calculator_replays(ethanol):
    potential, made = make_potential(), Made()
    atoms = ethanol.copy()
    atoms.calc = EqCalculator(potential, execution=MoleculeExecution(potential, made))
    other = ethanol.copy()
    other.calc = EqCalculator(potential, execution=EagerExecution(potential))
    for seed in range(3):
        for one in (atoms, other):
            one.rattle(0.02, seed=seed)
        np.testing.assert_array_equal(atoms.get_forces(), other.get_forces())
        np.testing.assert_array_equal(atoms.get_dipole_moment(), other.get_dipole_moment())
    assert len(made.molecules) == 1
