# SPDX-License-Identifier: MIT
"""A whole model with Triton kernels in it, on a CPU."""

import pytest
import torch
from ase import Atoms

from eqcalc.models import PaiNNConfig, SmoothPaiNNConfig
from eqcalc.neighbors import all_pairs, pairs_within
from eqcalc.runtime import (
    EagerExecution,
    MoleculeEvaluator,
    eager_evaluator,
    evaluator_for,
    execution_for,
)
from eqcalc.runtime.triton.execution import (
    CapturedTritonExecution,
    with_triton_kernels,
)
from eqcalc.runtime.verification import deviations, trial_positions
from eqcalc.structures import Structures
from tests.conftest import make_potential
from tests.runtime.test_cuda_graphs import capture_on_the_host

NAMES = ("energy", "forces", "dipole", "polarizability")
WATER = torch.tensor([8, 1, 1])


def triton_evaluator(potential, numbers):
    return evaluator_for(potential, numbers, execution="triton")


def small_potential(form=PaiNNConfig):
    return make_potential(form=form, features=6, layers=2, radial_functions=3)


every_form = pytest.mark.parametrize("form", [PaiNNConfig, SmoothPaiNNConfig])


@every_form
@pytest.mark.parametrize("numbers", [[6], [6, 8], [8, 1, 1]])
def test_all_quantities_are_those_of_the_eager_execution(numbers, form):
    potential, numbers = small_potential(form), torch.tensor(numbers)
    positions = trial_positions(len(numbers), 3)
    found = triton_evaluator(potential, numbers)(positions, NAMES)
    expected = eager_evaluator(potential, numbers)(positions, NAMES)
    assert max(deviations(found, expected).values()) < 1e-12


@every_form
def test_gradients_of_a_loss_of_forces_are_those_of_the_eager_model(form):
    stack = Structures.stack(WATER, trial_positions(3, 1))
    pairs = all_pairs(stack)
    gradients = []
    for kernels in (False, True):
        potential = small_potential(form)
        executed = with_triton_kernels(potential) if kernels else potential
        values = executed.evaluate(stack, pairs, NAMES, create_graph=True)
        loss = sum((values[name] - 0.1).square().sum() for name in NAMES[1:])
        loss.backward()
        gradients.append({name: p.grad for name, p in potential.named_parameters()})
    eager, fused = gradients
    for name, gradient in eager.items():
        torch.testing.assert_close(fused[name], gradient, rtol=1e-10, atol=1e-12, msg=name)


def test_energy_forces_and_stress_of_a_crystal():
    crystal = Atoms("COH", positions=trial_positions(3, 1)[0], cell=[3.0, 2.8, 3.2], pbc=True)
    potential = make_potential(features=4, layers=2, radial_functions=2, cutoff=2.5)
    structure = Structures.from_atoms(crystal)
    pairs = pairs_within(structure, 2.5)
    names = ("energy", "forces", "stress")
    found = with_triton_kernels(potential).evaluate(structure, pairs, names)
    assert max(deviations(found, potential.evaluate(structure, pairs, names)).values()) < 1e-11


def test_the_execution_of_anything():
    crystal = Atoms("COH", positions=trial_positions(3, 1)[0], cell=[3.0, 2.8, 3.2], pbc=True)
    potential = make_potential(features=4, layers=1, radial_functions=2, cutoff=2.5)
    execution = execution_for(potential, execution="triton")
    names = ("energy", "forces", "stress")
    structure = Structures.from_atoms(crystal)
    eager = EagerExecution(potential)
    found, expected = (one.evaluate(structure, names) for one in (execution, eager))
    assert max(deviations(found, expected).values()) < 1e-11
    assert execution.closest_pair(structure) == eager.closest_pair(structure)


def test_parameters_are_shared():
    potential = small_potential()
    evaluator = triton_evaluator(potential, WATER)
    before = evaluator(trial_positions(3, 1), ("energy",))["energy"]
    with torch.no_grad():
        potential.representation.filters.weight.mul_(1.1)
    after = evaluator(trial_positions(3, 1), ("energy",))["energy"]
    assert not torch.equal(before, after)
    expected = eager_evaluator(potential, WATER)(trial_positions(3, 1), ("energy",))["energy"]
    torch.testing.assert_close(after, expected, rtol=1e-13, atol=0.0)


def test_kernels_can_be_replayed():
    potential = small_potential()
    execution = CapturedTritonExecution(potential, WATER, capture=capture_on_the_host)
    evaluator = MoleculeEvaluator(execution, WATER)
    assert evaluator.provenance["execution"] == "captured-triton"
    positions = trial_positions(3, 5)[3:]
    expected = eager_evaluator(potential, WATER)(positions, NAMES)
    for _ in range(2):
        assert max(deviations(evaluator(positions, NAMES), expected).values()) < 1e-12


def test_time_derivatives_of_properties_stay_available():
    """They are taken in forward mode, which kernels do not have."""
    potential, numbers = small_potential(), torch.tensor([6, 8])
    positions = trial_positions(2, 1)
    velocities = positions.square()
    rates = triton_evaluator(potential, numbers).rates(positions, velocities, ("dipole",))
    expected = eager_evaluator(potential, numbers).rates(positions, velocities, ("dipole",))
    assert torch.equal(rates["dipole"], expected["dipole"])
