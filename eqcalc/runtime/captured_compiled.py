# SPDX-License-Identifier: MIT
"""Compiled programs played back: few operations, and one launch for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import ClassVar

from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.runtime.captured import CapturedEvaluator, Recording, Values, record_cuda_graph
from eqcalc.runtime.compiled import CompiledEvaluator

__all__ = ["CapturedCompiledEvaluator"]


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
