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
    from eqcalc.runtime.cuda_graphs import CapturedExecution, CapturedGraph
    from eqcalc.runtime.evaluator import Evaluator, MoleculeEvaluator


Step = Callable[[State, Collection[str]], State]


def stepper(integrator: Integrator, evaluator: Evaluator, noise: GaussianNoise | None) -> Step:
    """Return a function that advances a state by one step and evaluates quantities.

    Steps are captured if the evaluator replays CUDA graphs.
    """
    if hasattr(getattr(evaluator, "execution", None), "captured"):
        return CapturedStep(integrator, cast("MoleculeEvaluator", evaluator), noise)

    def step(state: State, quantities: Collection[str]) -> State:
        numbers = None if noise is None else noise(state.step)
        return integrator.step(state, evaluator, numbers, quantities)

    return step


class CapturedStep:
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
        self._model = evaluator.using(self._execution.captured)
        self._graphs: dict[tuple[str, ...], CapturedGraph] | None = {}
        self._last: tuple[State, Tensor] | None = None

    def __call__(self, state: State, quantities: Collection[str]) -> State:
        """Return the state one step later; `quantities` besides energy and forces."""
        names = tuple(sorted(quantities))
        graph = self._graph(state, names)
        if graph is None:
            numbers = None if self._noise is None else self._noise(state.step)
            return self._integrator.step(state, self._evaluator, numbers, names)
        return self._replayed(graph, state)

    def _replayed(self, graph: CapturedGraph, state: State) -> State:
        self._execution.check_memory()
        # the output of the last step is packed already
        known = self._last is not None and self._last[0] is state
        graph.inputs.copy_(self._last[1] if known and self._last else _packed(state))
        graph.replay()
        values = {name: value.clone() for name, value in graph.outputs.items()}
        packed = values.pop("state")
        after = _unpacked(packed, state, state.step + 1, values)
        self._last = (after, packed)
        return after

    def _graph(self, state: State, names: tuple[str, ...]) -> CapturedGraph | None:
        if self._graphs is None:
            return None
        if names not in self._graphs:

            def step(packed: Tensor) -> dict[str, Tensor]:
                number = packed[-1:].to(torch.int64)
                numbers = None if self._noise is None else self._noise.draw(number)[0]
                before = _unpacked(packed, state, 0, {})
                after = self._integrator.step(before, self._model, numbers, names)
                return {"state": _packed(after, packed[-1:] + 1.0), **after.properties}

            try:
                # with another state than the first: a graph must read its input
                other = replace(state, positions=1.01 * state.positions, step=state.step + 1)
                graph = self._execution.capture(step, _packed(other))
                self._check(graph, state, names)
                self._graphs[names] = graph
            except Exception as error:  # operations that CUDA cannot capture
                from eqcalc.runtime.execution import ExecutionWarning

                warnings.warn(
                    f"steps cannot be captured and are taken operation by operation: {error}",
                    ExecutionWarning,
                    stacklevel=2,
                )
                self._graphs = None
                return None
        return self._graphs[names]

    def _check(self, graph: CapturedGraph, state: State, names: tuple[str, ...]) -> None:
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
                self._replayed(graph, state),
                self._integrator.step(state, self._model, numbers, names),
            )
        )
        tolerance = TOLERANCES[precision_of(self._evaluator.potential)]
        for name, deviation in deviations(found, expected).items():
            if not deviation <= tolerance:
                raise RuntimeError(f"a replayed step deviates by {deviation:.1e} in its {name}")


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
