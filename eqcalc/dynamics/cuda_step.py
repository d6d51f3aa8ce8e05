# SPDX-License-Identifier: MIT
"""Whole time steps as CUDA graphs: integrator, noise and model captured together.

A step of a small molecule takes some fifty operations besides the model, each shorter than
its launch overhead on a GPU.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from eqcalc.dynamics.integrator import Integrator
from eqcalc.dynamics.noise import GaussianNoise
from eqcalc.dynamics.state import VARIABLES, State

if TYPE_CHECKING:
    from eqcalc.runtime.cuda_graphs import CapturedExecution, Recording
    from eqcalc.runtime.evaluator import Evaluator, MoleculeEvaluator


Step = Callable[[State, Collection[str]], State]


def stepper(integrator: Integrator, evaluator: Evaluator, noise: GaussianNoise | None) -> Step:
    """Return a function that advances a state by one step and evaluates quantities.

    Steps are captured if the evaluator replays CUDA graphs.
    """
    if hasattr(getattr(evaluator, "execution", None), "recorded"):
        return RecordedStep(integrator, cast("MoleculeEvaluator", evaluator), noise)

    def step(state: State, quantities: Collection[str]) -> State:
        numbers = None if noise is None else noise(state.step)
        return integrator.step(state, evaluator, numbers, quantities)

    return step


class RecordedStep:
    """Integrator steps, captured for each set of quantities and replayed.

    States are those of :meth:`Integrator.step` and are not modified by later steps. If capture
    fails, a warning gives the reason and only the model is replayed.

    Parameters
    ----------
    integrator
        The integrator.
    evaluator
        An evaluator that replays CUDA graphs.
    noise
        Random numbers of the thermostat, if any.
    """

    def __init__(
        self,
        integrator: Integrator,
        evaluator: MoleculeEvaluator,
        noise: GaussianNoise | None = None,
    ) -> None:
        self._integrator, self._evaluator, self._noise = integrator, evaluator, noise
        self._execution = cast("CapturedExecution", evaluator.execution)
        #: Evaluates the model eagerly, for capture.
        self._model = evaluator.using(self._execution.recorded)
        self._recordings: dict[tuple[str, ...], Recording] | None = {}
        self._last: tuple[State, Tensor] | None = None

    def __call__(self, state: State, quantities: Collection[str]) -> State:
        """Return the state one step later; `quantities` besides energy and forces."""
        names = tuple(sorted(quantities))
        recording = self._recording(state, names)
        if recording is None:
            numbers = None if self._noise is None else self._noise(state.step)
            return self._integrator.step(state, self._evaluator, numbers, names)
        return self._played(recording, state)

    def _played(self, recording: Recording, state: State) -> State:
        self._execution.check_memory()
        # the output of the last step is packed already
        known = self._last is not None and self._last[0] is state
        recording.inputs.copy_(self._last[1] if known and self._last else _packed(state))
        recording.play()
        values = {name: value.clone() for name, value in recording.outputs.items()}
        packed = values.pop("state")
        after = _unpacked(packed, state, state.step + 1, values)
        self._last = (after, packed)
        return after

    def _recording(self, state: State, names: tuple[str, ...]) -> Recording | None:
        if self._recordings is None:
            return None
        if names not in self._recordings:

            def step(packed: Tensor) -> dict[str, Tensor]:
                number = packed[-1:].to(torch.int64)
                numbers = None if self._noise is None else self._noise.draw(number)[0]
                before = _unpacked(packed, state, 0, {})
                after = self._integrator.step(before, self._model, numbers, names)
                return {"state": _packed(after, packed[-1:] + 1.0), **after.properties}

            try:
                # with another state than the first: a graph must read its input
                other = replace(state, positions=1.01 * state.positions, step=state.step + 1)
                recording = self._execution.record(step, _packed(other))
                self._check(recording, state, names)
                self._recordings[names] = recording
            except Exception as error:  # operations that CUDA cannot capture
                from eqcalc.runtime.execution import ExecutionWarning

                warnings.warn(
                    f"steps cannot be recorded and are taken operation by operation: {error}",
                    ExecutionWarning,
                    stacklevel=2,
                )
                self._recordings = None
                return None
        return self._recordings[names]

    def _check(self, recording: Recording, state: State, names: tuple[str, ...]) -> None:
        """Raise RuntimeError if a replayed step differs from that of the integrator."""
        from eqcalc.models.precision import precision_of
        from eqcalc.runtime.verification import TOLERANCES, deviations

        numbers = None if self._noise is None else self._noise(state.step)
        found, expected = (
            {
                **{name: v for name in VARIABLES if (v := getattr(after, name)).numel()},
                **after.properties,
            }
            for after in (
                self._played(recording, state),
                self._integrator.step(state, self._model, numbers, names),
            )
        )
        tolerance = TOLERANCES[precision_of(self._evaluator.potential)]
        for name, deviation in deviations(found, expected).items():
            if not deviation <= tolerance:
                raise RuntimeError(f"a step played back deviates by {deviation:.1e} in its {name}")


def _packed(state: State, step: Tensor | None = None) -> Tensor:
    """Pack all variables of a state and its step into one float64 vector."""
    if step is None:
        step = state.positions.new_full((1,), float(state.step))
    return torch.cat([*(getattr(state, name).reshape(-1) for name in VARIABLES), step])


def _unpacked(packed: Tensor, like: State, step: int, properties: dict[str, Tensor]) -> State:
    """Unpack a vector into a state with the shapes of another."""
    shapes = [getattr(like, name).shape for name in VARIABLES]
    parts = packed[:-1].split([math.prod(shape) for shape in shapes])
    variables = {
        name: part.view(shape) for name, part, shape in zip(VARIABLES, parts, shapes, strict=True)
    }
    return State(**variables, step=step, properties=properties)
