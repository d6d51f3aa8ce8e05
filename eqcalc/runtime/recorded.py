# SPDX-License-Identifier: MIT
"""Which model to record on a GPU: as it is written, or with Triton kernels in it."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.runtime.captured import CapturedEvaluator, Recording, record_cuda_graph
from eqcalc.runtime.compiler import ExecutionUnavailableError, ExecutionWarning
from eqcalc.runtime.triton_evaluator import CapturedTritonEvaluator
from eqcalc.runtime.verification import trial_positions

__all__ = ["faster_recording"]

#: Atoms of the trial; much fewer leave a GPU idle with any kernels.
_ATOMS = 576
_REPEATS = 5

#: What was faster, by device, precision, network and number of atoms. It is measured once, so
#: that the members of a committee, and evaluators made again, are executed alike.
_faster: dict[tuple[Any, ...], type[CapturedEvaluator]] = {}


def faster_recording(
    potential: Potential,
    numbers: Tensor,
    *,
    charge: float = 0.0,
    record: Callable[..., Recording] = record_cuda_graph,
) -> CapturedEvaluator:
    """Return the faster of the evaluators that play back a recording.

    The first time they are asked for a kind of model, energy and forces of some 600
    atoms are timed with both. Where Triton kernels cannot be used, a warning says why.

    Parameters
    ----------
    potential, numbers, charge, record
        See :class:`CapturedEvaluator`.

    Raises
    ------
    ValueError
        The molecule contains an element that the model does not know.
    ExecutionUnavailableError
        Neither can be used.
    """
    key = (
        str(potential.device),
        precision_of(potential),
        potential.config.representation,
        len(numbers),
    )
    if key in _faster:
        return _faster[key](potential, numbers, charge=charge, record=record)
    plain = CapturedEvaluator(potential, numbers, charge=charge, record=record)
    try:
        fused = CapturedTritonEvaluator(potential, numbers, charge=charge, record=record)
    except ExecutionUnavailableError as reason:
        warnings.warn(
            f"recording the model as it is written, without fused kernels: {reason}",
            ExecutionWarning,
            stacklevel=3,
        )
        return plain
    faster = min((fused, plain), key=_seconds)
    _faster[key] = type(faster)
    return faster


def _seconds(evaluator: CapturedEvaluator) -> float:
    """Return the median time of an evaluation of a batch."""
    names = tuple({"energy", "forces"} & set(evaluator.quantities)) or evaluator.quantities[:1]
    n_atoms = len(evaluator.numbers)
    positions = trial_positions(n_atoms, max(1, _ATOMS // n_atoms)).to(evaluator.device)
    times = []
    for _ in range(1 + _REPEATS):
        begin = time.perf_counter()
        evaluator(positions, names)[names[0]].cpu()  # waits for the device
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])  # the first one records
