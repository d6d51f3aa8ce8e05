# SPDX-License-Identifier: MIT
"""Recorded steps: what can be tested without a GPU."""

import numpy as np
import pytest
import torch

from eqcalc.dynamics import Method, simulate
from eqcalc.dynamics.cuda_step import CapturedStep
from eqcalc.dynamics.methods import as_method
from eqcalc.dynamics.noise import GaussianNoise
from eqcalc.dynamics.setup import Equilibration
from eqcalc.dynamics.state import State
from eqcalc.runtime import (
    CapturedExecution,
    ExecutionWarning,
    MoleculeEvaluator,
    eager_evaluator,
)
from eqcalc.runtime.cuda_graphs import CapturedGraph
from tests.conftest import make_potential

# steps that are taken operation by operation would pass every test of this file
pytestmark = pytest.mark.filterwarnings("error::eqcalc.runtime.ExecutionWarning")

OBSERVABLES = {"dipole": 4, "polarizability": 4, "positions": 3, "conserved_energy": 1}


class Capturing:
    """Plays back into the same memory every time, as a CUDA graph does."""

    def __init__(self):
        self.functions = []

    def __call__(self, function, inputs):
        self.functions.append(function)
        static = inputs.clone()
        for _ in range(3):  # warming up must not change anything
            outputs = {name: value.clone() for name, value in function(static).items()}
        static.fill_(torch.nan)

        def replay():
            for name, value in function(static).items():
                outputs[name].copy_(value)

        return CapturedGraph(replay, static, outputs)


def captured_evaluator(potential, numbers, **options):
    return MoleculeEvaluator(CapturedExecution(potential, numbers, **options), numbers)


def evaluator_of(atoms, kind, **options):
    return kind(make_potential(features=8), torch.tensor(atoms.numbers), **options)


def run(atoms, evaluator, output, steps=24, **options):
    options = {"method": "T-RPMD", "beads": 4, **options}
    trajectory = simulate(
        atoms,
        evaluator,
        output=output,
        temperature=300.0,
        timestep=0.25,
        steps=steps,
        seed=5,
        replicas=2,
        equilibration=Equilibration(2.0),
        observables=OBSERVABLES,
        progress=False,
        **options,
    )
    return {name: trajectory.observable(name).values for name in OBSERVABLES}


@pytest.mark.parametrize(
    ("method", "beads"), [("NVE", 1), ("NHC", 1), ("SVR", 1), ("PILE-L", 4), ("PA-CMD", 4)]
)
def test_captured_steps_are_the_steps_of_the_integrator(ethanol, tmp_path, method, beads):
    slow = {"PA-CMD": Method("PA-CMD", frequency=4000.0)}  # one that the time step can follow
    choice = {"method": slow.get(method, method), "beads": beads}
    plain = run(ethanol, evaluator_of(ethanol, eager_evaluator), tmp_path / "a.h5", **choice)
    capturing = Capturing()
    evaluator = evaluator_of(ethanol, captured_evaluator, capture=capturing)
    before = len(capturing.functions)
    captured = run(ethanol, evaluator, tmp_path / "b.h5", **choice)
    for name, values in plain.items():
        np.testing.assert_array_equal(captured[name], values, err_msg=name)
    # equilibration and production, the latter with and without dipole and polarizability;
    # the model alone is captured for the first state of each
    assert len(capturing.functions) - before <= 5


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_with_captured_steps(ethanol, tmp_path):
    evaluator = evaluator_of(ethanol, captured_evaluator, capture=Capturing())
    whole = run(ethanol, evaluator, tmp_path / "whole.h5", steps=24)
    run(ethanol, evaluator, tmp_path / "parts.h5", steps=13)
    parts = run(ethanol, evaluator, tmp_path / "parts.h5", steps=24)
    for name, values in whole.items():
        np.testing.assert_array_equal(parts[name], values, err_msg=name)


def stepper_of(ethanol):
    masses = torch.from_numpy(ethanol.get_masses())
    integrator = as_method("Langevin").integrator(
        timestep=0.25, temperature=300.0, n_beads=1, masses=masses
    )
    evaluator = evaluator_of(ethanol, captured_evaluator, capture=Capturing())
    noise = GaussianNoise(7, range(3), (1, 1, 9, 3))
    positions = torch.from_numpy(ethanol.positions).expand(3, 1, 9, 3).clone()
    return CapturedStep(integrator, evaluator, noise), State.at_rest(positions).with_evaluation(
        evaluator
    )


def test_states_survive_the_next_steps(ethanol):
    step, start = stepper_of(ethanol)
    first = step(start, ("dipole",))
    kept = {name: getattr(first, name).clone() for name in ("positions", "momenta", "forces")}
    dipole = first.properties["dipole"].clone()
    second = step(first, ("dipole",))
    step(second, ())
    for name, value in kept.items():
        assert torch.equal(getattr(first, name), value)
    assert torch.equal(first.properties["dipole"], dipole)
    assert not torch.equal(second.positions, first.positions)


def test_a_step_back_is_the_same_step(ethanol):
    """The graph remembers nothing of the steps before."""
    step, start = stepper_of(ethanol)
    first = step(start, ())
    second = step(first, ())
    step(second, ())
    again = step(first, ())
    assert again.step == 2
    assert torch.equal(again.positions, second.positions)
    assert torch.equal(again.momenta, second.momenta)


def test_steps_that_cannot_be_captured_are_taken_all_the_same(ethanol):
    def refuse(function, inputs):
        raise RuntimeError("operation not permitted when stream is capturing")

    captured, start = stepper_of(ethanol)
    plain, _ = stepper_of(ethanol)  # whose model alone is captured already
    plain._execution.capture = refuse
    with pytest.warns(
        ExecutionWarning, match="taken operation by operation: operation not"
    ) as told:
        first = plain(start, ())
        second = plain(first, ())
    assert len(told) == 1
    expected = captured(captured(start, ()), ())
    assert torch.equal(second.positions, expected.positions)
    assert second.step == expected.step == 2


def test_a_captured_step_that_does_not_read_its_input_is_refused(ethanol):
    stepped, start = stepper_of(ethanol)
    capture = stepped._execution.capture
    stepped._execution.capture = lambda *given: capture(*given)._replace(replay=lambda: None)
    with pytest.warns(ExecutionWarning, match="a replayed step deviates by"):
        found = stepped(start, ())
    expected = stepper_of(ethanol)[0](start, ())
    assert torch.equal(found.positions, expected.positions)
