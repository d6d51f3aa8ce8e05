# SPDX-License-Identifier: MIT
"""The model captured once as a CUDA graph and replayed.

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


class CapturedGraph(NamedTuple):
    """A CUDA graph with its input and output tensors."""

    replay: Callable[[], None]
    inputs: Tensor
    outputs: Values


def capture_cuda_graph(function: Callable[[Tensor], Values], inputs: Tensor) -> CapturedGraph:
    """Capture a function of one tensor as a CUDA graph.

    Parameters
    ----------
    function
        Called a few times to warm up and once for capture; it must neither synchronize with the
        device nor copy from the host.
    inputs
        Values to warm up with; the graph has its own copy.
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
        # entered twice, as a failed capture does not restore the stream
        with (
            torch.cuda.stream(stream),
            torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
        ):
            outputs = function(static)
    return CapturedGraph(graph.replay, static, outputs)


@contextmanager
def _waiting_refused() -> Iterator[None]:
    """Make synchronization with a GPU an error, in all threads, inside the context.

    An aborted capture leaves the allocator of torch before 2.12 unusable, so synchronization is
    detected beforehand.
    """
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class CapturedExecution(OneMoleculeExecution):
    """Execution of one molecule on a GPU by replaying CUDA graphs.

    There is one graph for every number of structures and set of quantities; the least recently used
    are dropped. Results are copies, which later calls do not overwrite.

    Parameters
    ----------
    potential
        The model, on a GPU.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    charge
        Its total charge [e].
    limit
        Number of graphs to keep; each holds the memory of one evaluation.
    capture
        Function that captures a graph.

    Raises
    ------
    ExecutionUnavailableError
        The model is not on a GPU, cannot be captured, or the graph disagrees with the eager
        execution.
    """

    name: ClassVar[str] = "captured"
    manner: ClassVar[str] = "captured as a CUDA graph"
    #: Number of structures in the comparison with the eager execution.
    checked: ClassVar[int] = 3

    def __init__(
        self,
        potential: Potential,
        numbers: Tensor,
        *,
        charge: float = 0.0,
        limit: int = 8,
        capture: Callable[[Callable[[Tensor], Values], Tensor], CapturedGraph] = capture_cuda_graph,
        **options: Any,
    ) -> None:
        super().__init__(potential, skin=0.0)
        if capture is capture_cuda_graph and potential.device.type != "cuda":
            raise ExecutionUnavailableError(
                "CUDA graphs need a GPU",
                key="device",
                value=str(potential.device),
                expected="cuda",
            )
        #: The function that is captured.
        self.captured = self._to_capture(potential, numbers, charge=charge, **options)
        #: Captures a function; also used for a whole time step.
        self.capture = capture
        self._limit = count("limit", limit)
        self._graphs: OrderedDict[tuple[int, tuple[str, ...]], CapturedGraph] = OrderedDict()
        #: Number of graphs captured so far; if it keeps growing, `limit` is too small.
        self.captures = 0
        # graphs read the memory of these tensors
        self._read = [t.detach() for t in (*potential.parameters(), *potential.buffers())]
        try:
            # captured at other positions than those compared: the graph must read its input
            trial = trial_molecule(potential, numbers, self.checked, charge)
            other = trial.with_positions(1.1 * trial.positions)
            self.evaluate(other, potential.available_for(trial))
            verify(self, (trial,))
        except ExecutionUnavailableError:
            raise
        except Exception as error:  # errors of CUDA graph capture and of kernels
            raise ExecutionUnavailableError(f"cannot be captured: {error}", key="model") from error

    def _to_capture(
        self, potential: Potential, numbers: Tensor, *, charge: float, **options: Any
    ) -> Execution:
        # a neighbour search would synchronize with the device
        return EagerExecution(potential, skin=0.0, static_atoms=math.inf)

    @property
    def parts(self) -> Mapping[str, str]:
        """How each quantity is evaluated."""
        return {name: f"{how}, {self.manner}" for name, how in self.captured.parts.items()}

    def check_memory(self) -> None:
        """Raise ModelChangedError if the parameters have moved in memory since capture."""
        now = next(self.potential.parameters(), None)
        if now is not None and now.data_ptr() != self._read[0].data_ptr():
            raise ModelChangedError("the model was moved or converted after capture")

    def evaluate(self, structures: Structures, quantities: Collection[str]) -> Values:
        """Evaluate copies of the molecule; see :class:`~eqcalc.runtime.Execution`.

        Raises
        ------
        ModelChangedError
            The model has been moved or converted since capture.
        """
        self.check_memory()
        positions = structures.positions.detach()
        key = (structures.n_structures, tuple(sorted(quantities)))
        graph = self._graphs.get(key)
        if graph is None:
            graph = self.capture(
                lambda static: self.captured.evaluate(structures.with_positions(static), key[1]),
                positions,
            )
            self.captures += 1
            self._graphs[key] = graph
            if len(self._graphs) > self._limit:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        graph.inputs.copy_(positions)
        graph.replay()
        return {name: graph.outputs[name].clone() for name in quantities}


class CapturedCompiledExecution(CapturedExecution):
    """Execution on a GPU by replaying CUDA graphs of programs compiled ahead of time.

    The compiler fuses operations, and the graph removes launch overhead. A missing program is
    compiled, which takes minutes; see :class:`CompiledExecution`, whose other options, such as
    `only_cached`, are accepted too.

    Parameters
    ----------
    potential, numbers, charge, limit, capture
        See :class:`CapturedExecution`.

    Raises
    ------
    ExecutionUnavailableError
        The model cannot be compiled or captured here, or disagrees with the eager execution.
    """

    name: ClassVar[str] = "captured-compiled"
    compiles: ClassVar[bool] = True
    #: Its program exists already.
    checked: ClassVar[int] = 1

    def _to_capture(
        self, potential: Potential, numbers: Tensor, *, charge: float, **options: Any
    ) -> Execution:
        return CompiledExecution(potential, numbers, charge=charge, **options)
