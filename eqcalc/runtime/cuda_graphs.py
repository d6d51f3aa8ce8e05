# SPDX-License-Identifier: MIT
"""The model recorded once as a CUDA graph and played back.

A small molecule keeps a GPU busy for a few microseconds per operation, less
than it takes to launch one. A graph launches all operations of an evaluation
at once.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.runtime.ahead_of_time import CompiledExecution
from eqcalc.runtime.execution import (
    EagerExecution,
    Execution,
    ExecutionUnavailableError,
    ModelChangedError,
    OneMoleculeExecution,
)
from eqcalc.runtime.verification import trial_molecule, verify
from eqcalc.structures import Structures
from eqcalc.validation import count

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


class CapturedExecution(OneMoleculeExecution):
    """Execution of one molecule on a GPU by playing back recorded evaluations.

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
    ExecutionUnavailableError
        The model is not on a GPU, cannot be recorded, or the recording
        disagrees with the eager execution.
    """

    name: ClassVar[str] = "captured"
    manner: ClassVar[str] = "recorded as a CUDA graph"
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
        **options: Any,
    ) -> None:
        super().__init__(potential, skin=0.0)
        if record is record_cuda_graph and potential.device.type != "cuda":
            raise ExecutionUnavailableError(
                "recorded evaluations are played back by a GPU",
                key="device",
                value=str(potential.device),
                expected="cuda",
            )
        #: What is recorded.
        self.recorded = self._to_record(potential, numbers, charge=charge, **options)
        #: What records a function, of a whole time step too.
        self.record = record
        self._limit = count("limit", limit)
        self._recordings: OrderedDict[tuple[int, tuple[str, ...]], Recording] = OrderedDict()
        #: Number of recordings made so far; one that keeps growing is a waste of time.
        self.recordings = 0
        # a recording reads the memory of these
        self._read = [t.detach() for t in (*potential.parameters(), *potential.buffers())]
        try:
            # recorded at other positions than those of the comparison: a recording must read them
            trial = trial_molecule(potential, numbers, self.checked, charge)
            other = trial.with_positions(1.1 * trial.positions)
            self.evaluate(other, potential.available_for(trial))
            verify(self, (trial,))
        except ExecutionUnavailableError:
            raise
        except Exception as error:  # whatever CUDA refuses to record, and kernels to do
            raise ExecutionUnavailableError(f"cannot be recorded: {error}", key="model") from error

    def _to_record(
        self, potential: Potential, numbers: Tensor, *, charge: float, **options: Any
    ) -> Execution:
        # a search for neighbours would wait for the device
        return EagerExecution(potential, skin=0.0, static_atoms=math.inf)

    @property
    def parts(self) -> Mapping[str, str]:
        """How each quantity is evaluated."""
        return {name: f"{how}, {self.manner}" for name, how in self.recorded.parts.items()}

    def check_memory(self) -> None:
        """Raise ModelChangedError if the model lies elsewhere than when it was recorded."""
        now = next(self.potential.parameters(), None)
        if now is not None and now.data_ptr() != self._read[0].data_ptr():
            raise ModelChangedError("the model was moved or converted after it was recorded")

    def evaluate(self, structures: Structures, quantities: Collection[str]) -> Values:
        """Evaluate copies of the molecule; see :class:`~eqcalc.runtime.Execution`.

        Raises
        ------
        ModelChangedError
            The model has been moved or converted since.
        """
        self.check_memory()
        positions = structures.positions.detach()
        key = (structures.n_structures, tuple(sorted(quantities)))
        recording = self._recordings.get(key)
        if recording is None:
            recording = self.record(
                lambda static: self.recorded.evaluate(structures.with_positions(static), key[1]),
                positions,
            )
            self.recordings += 1
            self._recordings[key] = recording
            if len(self._recordings) > self._limit:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        recording.inputs.copy_(positions)
        recording.play()
        return {name: recording.outputs[name].clone() for name in quantities}


class CapturedCompiledExecution(CapturedExecution):
    """Execution on a GPU by playing back recorded programs that were compiled ahead of time.

    The compiler joins operations, the recording spares their launches. Where a program is
    missing it is compiled, in minutes; see :class:`CompiledExecution`. Further options of
    that, such as `only_cached`, are taken too.

    Parameters
    ----------
    potential, numbers, charge, limit, record
        See :class:`CapturedExecution`.

    Raises
    ------
    ExecutionUnavailableError
        The model cannot be compiled or recorded here, or disagrees with the eager execution.
    """

    name: ClassVar[str] = "captured-compiled"
    compiles: ClassVar[bool] = True
    #: Its program is there already.
    checked: ClassVar[int] = 1

    def _to_record(
        self, potential: Potential, numbers: Tensor, *, charge: float, **options: Any
    ) -> Execution:
        return CompiledExecution(potential, numbers, charge=charge, **options)
