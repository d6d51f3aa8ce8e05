# SPDX-License-Identifier: MIT
"""Choose how a model is executed."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.runtime.captured import CapturedEvaluator
from eqcalc.runtime.compiled import CompiledEvaluator
from eqcalc.runtime.compiler import ExecutionUnavailableError, ExecutionWarning, compiler
from eqcalc.runtime.evaluator import EagerEvaluator
from eqcalc.runtime.execution import EagerExecution, Execution, FusedExecution
from eqcalc.runtime.fused_evaluator import FusedEvaluator
from eqcalc.runtime.recorded import faster_recording
from eqcalc.runtime.recorded_execution import RecordedExecution
from eqcalc.runtime.triton_evaluator import CapturedTritonEvaluator, TritonEvaluator

__all__ = ["EXECUTIONS", "ExecutionWarning", "evaluator_for", "execution_for"]

#: Executions by name, the fastest first.
EXECUTIONS: dict[str, Callable[..., EagerEvaluator]] = {
    kind.execution: kind
    for kind in (
        FusedEvaluator,
        CapturedTritonEvaluator,
        CapturedEvaluator,
        TritonEvaluator,
        CompiledEvaluator,
        EagerEvaluator,
    )
}


_HINT = (
    "; execution='compiled', or eqcalc simulate --execution compiled, compiles it once, in minutes"
)


def evaluator_for(
    potential: Potential,
    numbers: Tensor,
    *,
    charge: float = 0.0,
    execution: str | None = None,
) -> EagerEvaluator:
    """Return the fastest evaluator of a molecule that works here.

    On a CPU these are the C++ kernels, on a GPU recorded evaluations. A network without kernels
    runs eagerly on a CPU, unless it was compiled for this molecule before: that takes minutes
    and is therefore never done unasked.

    Parameters
    ----------
    potential
        The model, on the device and in the precision to be used.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    charge
        Its total charge [e].
    execution
        One of :data:`EXECUTIONS`, to have that one or an error. By default the
        fastest that can be built; a warning tells when it is not the one that
        is usual for the device. ``"compiled"`` works for most networks and is found in
        the cache by the next start.

    Raises
    ------
    ValueError
        The molecule contains an element that the model does not know, or there
        is no such execution.
    ExecutionUnavailableError
        The execution asked for cannot be used here.
    """
    if execution is not None:
        if execution not in EXECUTIONS:
            raise ValueError(
                f"execution: expected one of {', '.join(EXECUTIONS)}, got {execution!r}"
            )
        return EXECUTIONS[execution](potential, numbers, charge=charge)
    choices: dict[str, Callable[..., EagerEvaluator]]
    choices = {"cpu": FusedEvaluator, "cuda": faster_recording}
    usual = choices.get(potential.device.type)
    if usual is not None:
        try:
            return usual(potential, numbers, charge=charge)
        except ExecutionUnavailableError as reason:
            unavailable = reason
        if CompiledEvaluator.in_cache(potential, numbers, charge=charge):
            try:
                return CompiledEvaluator(potential, numbers, charge=charge)
            except ExecutionUnavailableError as reason:
                unavailable = reason
        elif compiler() is not None:
            unavailable = ExecutionUnavailableError(f"{unavailable}{_HINT}")
        _warn(unavailable)
    return EagerEvaluator(potential, numbers, charge=charge)


def execution_for(potential: Potential, *, skin: float = 0.5) -> Execution:
    """Return the fastest execution for structures of any kind that works here.

    Parameters
    ----------
    potential
        The model, on the device and in the precision to be used.
    skin
        Extra distance of the neighbour list of periodic structures [Å].
    """
    if potential.device.type == "cpu":
        try:
            return FusedExecution(potential, skin)
        except ExecutionUnavailableError as reason:
            _warn(reason)
    if potential.device.type == "cuda":
        return RecordedExecution(potential, skin)
    return EagerExecution(potential, skin)


def _warn(reason: ExecutionUnavailableError) -> None:
    warnings.warn(
        f"running the model operation by operation, several times slower: {reason}",
        ExecutionWarning,
        stacklevel=3,
    )
