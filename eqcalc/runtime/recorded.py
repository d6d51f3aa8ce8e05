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
from eqcalc.runtime.ahead_of_time import CompiledEvaluator
from eqcalc.runtime.cpp_compiler import ExecutionUnavailableError, ExecutionWarning
from eqcalc.runtime.cuda_graphs import (
    CapturedCompiledEvaluator,
    CapturedEvaluator,
    Recording,
    record_cuda_graph,
)
from eqcalc.runtime.evaluator import EagerEvaluator
from eqcalc.runtime.triton.execution import CapturedTritonEvaluator
from eqcalc.runtime.verification import median_seconds, trial_positions

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
) -> EagerEvaluator:
    """Return the fastest of the evaluators for a GPU.

    The first time one is asked for a kind of model, energy and forces of some 600
    atoms are timed with a recording of the model as it is written, with one that has Triton
    kernels in it, and with one of compiled programs, if there are some in the cache. A recording
    evaluates all pairs of atoms; for a larger molecule the eager evaluator, which leaves out most
    of those beyond the cutoff, is timed too. What cannot be used is told by a warning.

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
        in_cache := CompiledEvaluator.in_cache(potential, numbers, charge=charge),
    )

    makers: dict[str, Callable[[], EagerEvaluator]] = {
        "captured": lambda: CapturedEvaluator(potential, numbers, charge=charge, record=record),
        "captured-triton": lambda: CapturedTritonEvaluator(
            potential, numbers, charge=charge, record=record
        ),
        "captured-compiled": lambda: CapturedCompiledEvaluator(
            potential, numbers, charge=charge, record=record, only_cached=True
        ),
        "eager": lambda: EagerEvaluator(potential, numbers, charge=charge),
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
    faster = min(candidates, key=lambda name: _seconds(candidates[name]))
    if "captured-triton" in candidates:  # else the next is to be told why not, too
        _faster[key] = faster
    return candidates[faster]


def _seconds(evaluator: EagerEvaluator) -> float:
    """Return the median time of an evaluation of a batch."""
    names = tuple({"energy", "forces"} & set(evaluator.quantities)) or evaluator.quantities[:1]
    n_atoms = len(evaluator.numbers)
    positions = _SPREAD * trial_positions(n_atoms, max(1, _ATOMS // n_atoms)).to(evaluator.device)
    return median_seconds(lambda: evaluator(positions, names)[names[0]])
