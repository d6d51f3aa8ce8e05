# SPDX-License-Identifier: MIT
"""Captured evaluations: what can be tested without a GPU."""

import pytest
import torch

from eqcalc.models import Potential, PotentialConfig, References
from eqcalc.models.registry import representation_config
from eqcalc.neighbors import Pairs
from eqcalc.runtime import (
    CapturedExecution,
    ExecutionUnavailableError,
    ModelChangedError,
    MoleculeEvaluator,
    eager_evaluator,
)
from eqcalc.runtime.cuda_graphs import CapturedGraph
from eqcalc.structures import Structures
from tests.conftest import make_potential, slow
from tests.errors import refused
from tests.no_host import NoHost

NAMES = ("energy", "forces", "dipole", "polarizability")
OTHERS = ("lnet", "cormorant")


def capture_on_the_host(function, inputs):
    """Replay into the same memory every time, as a CUDA graph does."""
    static = inputs.clone()
    outputs = {name: value.clone() for name, value in function(static).items()}

    def replay():
        for name, value in function(static).items():
            outputs[name].copy_(value)

    return CapturedGraph(replay, static, outputs)


@pytest.fixture
def positions(ethanol, generator):
    noise = 0.05 * torch.randn(130, 9, 3, generator=generator, dtype=torch.float64)
    return torch.tensor(ethanol.positions) + noise


def captured_evaluator(potential, numbers, **options):
    return MoleculeEvaluator(CapturedExecution(potential, numbers, **options), numbers)


def evaluator_of(ethanol, **options):
    numbers = torch.tensor(ethanol.numbers)
    return captured_evaluator(make_potential(), numbers, capture=capture_on_the_host, **options)


@pytest.mark.parametrize("n", [1, 5, *slow(2, 16)])
def test_replaying_gives_what_eager_gives(ethanol, positions, n):
    evaluator = evaluator_of(ethanol)
    eager = eager_evaluator(make_potential(), torch.tensor(ethanol.numbers))
    for start in (0, 7):
        batch = positions[start : start + n]
        for name, value in eager(batch, NAMES).items():
            assert torch.equal(evaluator(batch, NAMES)[name], value)


def test_results_survive_the_next_call_and_layouts_do_not_matter(ethanol, positions):
    evaluator = evaluator_of(ethanol)
    first = evaluator(positions[:3], NAMES)
    kept = {name: value.clone() for name, value in first.items()}
    strided = positions[3:6].permute(2, 0, 1).contiguous().permute(1, 2, 0)
    second = evaluator(strided, NAMES)
    for name in NAMES:
        assert torch.equal(first[name], kept[name])
        assert torch.equal(second[name], evaluator(positions[3:6], NAMES)[name])


def test_captures_are_counted_and_the_oldest_is_forgotten(ethanol, positions):
    evaluator = evaluator_of(ethanol, limit=2)
    start = evaluator.execution.captures
    for _ in range(5):  # as in dynamics: two kinds of call in turn
        evaluator(positions[:4], ("forces",))
        evaluator(positions[:4], NAMES)
    assert evaluator.execution.captures == start + 2
    evaluator(positions[:4], ("dipole",))
    evaluator(positions[:4], NAMES)
    assert evaluator.execution.captures == start + 3
    evaluator(positions[:4], ("forces",))
    assert evaluator.execution.captures == start + 4


def test_without_a_gpu_nothing_is_captured(ethanol):
    with refused(ExecutionUnavailableError, key="device", expected="cuda"):
        captured_evaluator(make_potential(), torch.tensor(ethanol.numbers))


def test_what_cannot_be_captured_is_told(ethanol):
    def refuse(function, inputs):
        raise RuntimeError("operation not permitted when stream is capturing")

    with refused(ExecutionUnavailableError, key="model"):
        captured_evaluator(make_potential(), torch.tensor(ethanol.numbers), capture=refuse)


def test_a_recording_that_does_not_read_its_input_is_refused(ethanol):
    def empty(function, inputs):
        return capture_on_the_host(function, inputs)._replace(replay=lambda: None)

    with refused(
        ExecutionUnavailableError, problem="the captured execution deviates from the eager one"
    ):
        captured_evaluator(make_potential(), torch.tensor(ethanol.numbers), capture=empty)


def test_a_model_that_was_moved_is_not_replayed(ethanol, positions):
    potential = make_potential()
    evaluator = captured_evaluator(
        potential, torch.tensor(ethanol.numbers), capture=capture_on_the_host
    )
    with torch.no_grad():  # changed where it is: the graph reads it
        potential.heads["dipole"].blocks[0].mix.weight.mul_(1.1)
    numbers = torch.tensor(ethanol.numbers)
    expected = eager_evaluator(potential, numbers)(positions[:2], ("dipole",))["dipole"]
    assert torch.equal(evaluator(positions[:2], ("dipole",))["dipole"], expected)
    potential.float()
    with refused(ModelChangedError, key="model"):
        evaluator(positions[:2], NAMES)


@pytest.mark.parametrize("name", ["painn", "schnet", *slow(*OTHERS)])
def test_an_evaluation_needs_nothing_of_the_host(ethanol, name):
    """Tensors on the meta device have no values, so that looking at one is an error."""
    if name in OTHERS:
        pytest.importorskip("e3nn")
    config = PotentialConfig(representation_config({"name": name}))
    potential = Potential(config, References((1, 6, 8))).to("meta")
    numbers = torch.tensor(ethanol.numbers, device="meta")
    positions = torch.empty(4, 9, 3, dtype=torch.float64, device="meta")
    indices = torch.empty(4 * 72, dtype=torch.int64, device="meta")
    pairs = Pairs(indices, indices, degree=8)
    potential.evaluate(Structures.stack(numbers, positions, 1.0), pairs, NAMES)  # makes tables
    with NoHost():
        values = potential.evaluate(Structures.stack(numbers, positions, 1.0), pairs, NAMES)
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "energy": (4,),
        "forces": (36, 3),
        "dipole": (4, 3),
        "polarizability": (4, 3, 3),
    }
