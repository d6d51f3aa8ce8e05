# SPDX-License-Identifier: MIT
"""The model recorded once as a CUDA graph and played back.

A small molecule keeps a GPU busy for a few microseconds per operation, less
than it takes to launch one. A graph launches all operations of an evaluation
at once.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.runtime.ahead_of_time import CompiledEvaluator
from eqcalc.runtime.cpp_compiler import ExecutionUnavailableError
from eqcalc.runtime.evaluator import EagerEvaluator
from eqcalc.runtime.verification import trial_positions, verify_evaluator

Values = dict[str, Tensor]


class Recording(NamedTuple):
    """Operations on tensors at fixed addresses."""

    play: Callable[[], None]
    inputs: Tensor
    outputs: Values


def record_cuda_graph(function: Callable[[Tensor], Values], inputs: Tensor) -> Recording:
    """Record a function of one tensor as a CUDA graph.

    Parameters
    ----------
    function
        Called a few times to warm up, and once to be recorded; it may neither
        wait for the device nor copy from the host.
    inputs
        Values to warm up with; the recording has a copy of its own.
    """
    static = inputs.clone()
    with torch.cuda.device(inputs.device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                function(static)
            with _waiting_refused():
                function(static)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # entered twice, as a recording that fails does not leave the stream by itself
        with (
            torch.cuda.stream(stream),
            torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
        ):
            outputs = function(static)
    return Recording(graph.replay, static, outputs)


@contextmanager
def _waiting_refused() -> Iterator[None]:
    """Make waiting for a GPU an error, also in other threads; what was set before comes back.

    A recording that is broken off leaves the allocator of torch before 2.12 unusable, so what
    would break it is found before.
    """
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class CapturedEvaluator(EagerEvaluator):
    """Execution on a GPU by playing back recorded evaluations.

    There is one recording for every number of structures and set of quantities;
    the least recently used are forgotten. Results are copies, which the next
    call leaves alone.

    Parameters
    ----------
    potential
        The model, on a GPU.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    charge
        Its total charge [e].
    limit
        Number of recordings to keep; each holds the memory of one evaluation.
    record
        What records a function.

    Raises
    ------
    ValueError
        The molecule contains an element that the model does not know.
    ExecutionUnavailableError
        The model is not on a GPU, cannot be recorded, or the recording
        disagrees with the eager execution.
    """

    execution: ClassVar[str] = "captured"
    #: A search for neighbours would wait for the device.
    static_atoms: ClassVar[float] = math.inf
    #: Number of structures of the evaluation that is compared with the eager one.
    checked: ClassVar[int] = 3

    def __init__(
        self,
        potential: Potential,
        numbers: Tensor,
        *,
        charge: float = 0.0,
        limit: int = 8,
        record: Callable[[Callable[[Tensor], Values], Tensor], Recording] = record_cuda_graph,
    ) -> None:
        super().__init__(potential, numbers, charge=charge)
        self._check_recorder(potential, record)
        if limit < 1:
            raise ValueError(f"limit: expected a positive integer, got {limit}")
        #: What records a function, of a whole time step too.
        self.record = record
        self._limit = limit
        self._recordings: OrderedDict[tuple[int, tuple[str, ...]], Recording] = OrderedDict()
        #: Number of recordings made so far; one that keeps growing is a waste of time.
        self.recordings = 0
        # a recording reads the memory of these
        self._read = [t.detach() for t in (*potential.parameters(), *potential.buffers())]
        try:
            # recorded at other positions than those of the comparison: a recording must read them
            trial = trial_positions(len(self.numbers), self.checked)
            self(1.1 * trial, potential.defined_for(self.stack(trial)))
            eager = EagerEvaluator(potential, numbers, charge=charge)
            verify_evaluator(self, eager, self.checked)
        except ExecutionUnavailableError:
            raise
        except Exception as error:  # whatever CUDA refuses to record, and kernels to do
            raise ExecutionUnavailableError(f"the model cannot be recorded: {error}") from error

    @staticmethod
    def _check_recorder(potential: Potential, record: Callable[..., Recording]) -> None:
        if record is record_cuda_graph and potential.device.type != "cuda":
            raise ExecutionUnavailableError("only a GPU can play back recorded evaluations")

    def check_memory(self) -> None:
        """Raise RuntimeError if the model lies elsewhere than when it was recorded."""
        now = next(self.potential.parameters(), None)
        if now is not None and now.data_ptr() != self._read[0].data_ptr():
            raise RuntimeError(
                "the model was moved or converted after it was recorded; make a new evaluator"
            )

    def unrecorded(self, positions: Tensor, quantities: Collection[str]) -> Values:
        """Evaluate operation by operation, within a recording of more than this."""
        return super().__call__(positions, quantities)

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> Values:
        """Evaluate ``[n_structures, n_atoms, 3]`` Å; see :class:`Evaluator`.

        Raises
        ------
        RuntimeError
            The model has been moved or converted since.
        """
        self.check_memory()
        positions = positions.detach().to(device=self.device, dtype=torch.float64)
        key = (len(positions), tuple(sorted(quantities)))
        recording = self._recordings.get(key)
        if recording is None:
            recording = self.record(lambda static: self.unrecorded(static, key[1]), positions)
            self.recordings += 1
            self._recordings[key] = recording
            if len(self._recordings) > self._limit:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        recording.inputs.copy_(positions)
        recording.play()
        return {name: recording.outputs[name].clone() for name in quantities}


class CapturedCompiledEvaluator(CapturedEvaluator):
    """Execution on a GPU by playing back recorded programs that were compiled ahead of time.

    The compiler joins operations, the recording spares their launches. Where a program is
    missing it is compiled, in minutes; see :class:`CompiledEvaluator`.

    Parameters
    ----------
    potential, numbers, charge, record
        See :class:`CapturedEvaluator`.
    only_cached
        Compile nothing: what needs a program that is not in the cache is recorded as written.

    Raises
    ------
    ValueError
        The molecule contains an element that the model does not know.
    ExecutionUnavailableError
        The model cannot be compiled or recorded here, or disagrees with the eager execution.
    """

    execution: ClassVar[str] = "captured-compiled"
    compiles: ClassVar[bool] = True
    #: Its program is there already.
    checked: ClassVar[int] = 1

    def __init__(
        self,
        potential: Potential,
        numbers: Tensor,
        *,
        charge: float = 0.0,
        only_cached: bool = False,
        record: Callable[[Callable[[Tensor], Values], Tensor], Recording] = record_cuda_graph,
    ) -> None:
        self._check_recorder(potential, record)
        #: What is recorded.
        self.compiled = CompiledEvaluator(
            potential, numbers, charge=charge, only_cached=only_cached
        )
        super().__init__(potential, numbers, charge=charge, record=record)

    def unrecorded(self, positions: Tensor, quantities: Collection[str]) -> Values:
        """Evaluate by programs, within a recording of more than this."""
        return self.compiled(positions, quantities)
