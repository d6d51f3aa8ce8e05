# SPDX-License-Identifier: MIT
"""How to execute a model on a GPU: recorded, with Triton kernels or without, or not recorded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.neighbors import STATIC_ATOMS
from eqcalc.runtime.ahead_of_time import CompiledExecution
from eqcalc.runtime.cpp_compiler import ExecutionUnavailableError, ExecutionWarning
from eqcalc.runtime.cuda_graphs import (
    CapturedCompiledExecution,
    CapturedExecution,
    Recording,
    record_cuda_graph,
)
from eqcalc.runtime.execution import EagerExecution
from eqcalc.runtime.triton.execution import CapturedTritonExecution
from eqcalc.runtime.verification import median_seconds, trial_molecule

#: Atoms of the trial; much fewer leave a GPU idle with any kernels.
_ATOMS = 576
_WITHOUT = {
    "captured-triton": "without fused kernels",
    "captured-compiled": "without compiled programs",
}

#: What was faster, by device, precision, network and number of atoms. It is measured once, so
#: that the members of a committee, and evaluators made again, are executed alike.
_faster: dict[tuple[Any, ...], str] = {}
#: Spacing of atoms in the trial, relative to that of verification: the density of a molecule.
_SPREAD = 1.5


def faster_recording(
    potential: Potential,
    numbers: Tensor,
    *,
    charge: float = 0.0,
    record: Callable[..., Recording] = record_cuda_graph,
) -> EagerExecution:
    """Return the fastest of the executions of a molecule on a GPU.

    The first time one is asked for a kind of model, energy and forces of some 600
    atoms are timed with a recording of the model as it is written, with one that has Triton
    kernels in it, and with one of compiled programs, if there are some in the cache. A recording
    evaluates all pairs of atoms; for a larger molecule the eager execution, which leaves out most
    of those beyond the cutoff, is timed too. What cannot be used is told by a warning.

    Parameters
    ----------
    potential, numbers, charge, record
        See :class:`CapturedExecution`.

    Raises
    ------
    ExecutionUnavailableError
        Neither can be used.
    """
    key = (
        str(potential.device),
        precision_of(potential),
        potential.config.representation,
        len(numbers),
        in_cache := CompiledExecution.in_cache(potential, numbers, charge=charge),
    )

    makers: dict[str, Callable[[], EagerExecution]] = {
        "captured": lambda: CapturedExecution(potential, numbers, charge=charge, record=record),
        "captured-triton": lambda: CapturedTritonExecution(
            potential, numbers, charge=charge, record=record
        ),
        "captured-compiled": lambda: CapturedCompiledExecution(
            potential, numbers, charge=charge, record=record, only_cached=True
        ),
        "eager": lambda: EagerExecution(potential, skin=0.0),
    }
    if key in _faster:
        return makers[_faster[key]]()
    candidates = {"captured": makers["captured"]()}
    if len(numbers) > STATIC_ATOMS:
        candidates["eager"] = makers["eager"]()
    for name in ("captured-triton", *(["captured-compiled"] if in_cache else [])):
        try:
            candidates[name] = makers[name]()
        except ExecutionUnavailableError as reason:
            warnings.warn(
                f"recording the model as it is written, {_WITHOUT[name]}: {reason}",
                ExecutionWarning,
                stacklevel=3,
            )
    if len(candidates) == 1:
        return candidates["captured"]
    faster = min(candidates, key=lambda name: _seconds(candidates[name], numbers))
    if "captured-triton" in candidates:  # else the next is to be told why not, too
        _faster[key] = faster
    return candidates[faster]


def _seconds(execution: EagerExecution, numbers: Tensor) -> float:
    """Return the median time of an evaluation of a batch."""
    potential = execution.potential
    names = tuple({"energy", "forces"} & set(potential.quantities)) or potential.quantities[:1]
    batch = trial_molecule(potential, numbers, max(1, _ATOMS // len(numbers)))
    batch = batch.with_positions(_SPREAD * batch.positions)
    return median_seconds(lambda: execution.evaluate(batch, names)[names[0]])
