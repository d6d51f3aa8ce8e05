# SPDX-License-Identifier: MIT
"""The fastest execution of a molecule or a crystal on a GPU, selected by timing."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.neighbors import STATIC_ATOMS
from eqcalc.runtime.ahead_of_time import CompiledExecution
from eqcalc.runtime.cuda_graphs import (
    CapturedCompiledExecution,
    CapturedExecution,
    CapturedGraph,
    capture_cuda_graph,
)
from eqcalc.runtime.execution import (
    EagerExecution,
    ExecutionUnavailableError,
    ExecutionWarning,
)
from eqcalc.runtime.triton.execution import CapturedTritonExecution, TritonExecution
from eqcalc.runtime.verification import trial_molecule, trial_positions
from eqcalc.structures import Structures

#: Total atoms of the trial molecules; far fewer would not occupy a GPU.
_ATOMS = 576
#: Atoms of the trial crystal along an edge, and their distance [Å]: a twentieth of an atom per Å³
#: is less than in most crystals, and they are fewer than in most cells of a GPU.
_EDGE, _SPACING = 8, 2.7
_WITHOUT = {
    "captured-triton": "without fused kernels",
    "captured-compiled": "without compiled programs",
}

#: The faster execution, by device, precision, network and, for molecules, number of atoms. Measured
#: once, so that the members of a committee, and evaluators created later, are executed alike.
_faster: dict[tuple[Any, ...], str] = {}
#: Spacing of atoms in the trial, relative to that of verification: the density of a molecule.
_SPREAD = 1.5


def faster_captured(
    potential: Potential,
    numbers: Tensor,
    *,
    charge: float = 0.0,
    capture: Callable[..., CapturedGraph] = capture_cuda_graph,
) -> EagerExecution:
    """Return the fastest of the executions of a molecule on a GPU.

    The first call for a kind of model times energy and forces of some 600 atoms with CUDA graphs of
    the eager model, of the model with Triton kernels, and of compiled programs if they are cached.
    CUDA graphs evaluate all pairs of atoms; for a larger molecule the eager execution, which skips
    most pairs beyond the cutoff, is timed too. A warning names any execution that cannot be used.

    Parameters
    ----------
    potential, numbers, charge, capture
        See :class:`CapturedExecution`.

    Raises
    ------
    ExecutionUnavailableError
        None of them can be used.
    """
    key = (
        str(potential.device),
        precision_of(potential),
        potential.config.representation,
        len(numbers),
        in_cache := CompiledExecution.in_cache(potential, numbers, charge=charge),
    )

    makers: dict[str, Callable[[], EagerExecution]] = {
        "captured": lambda: CapturedExecution(potential, numbers, charge=charge, capture=capture),
        "captured-triton": lambda: CapturedTritonExecution(
            potential, numbers, charge=charge, capture=capture
        ),
        "captured-compiled": lambda: CapturedCompiledExecution(
            potential, numbers, charge=charge, capture=capture, only_cached=True
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
            _warn(f"using CUDA graphs of the eager model, {_WITHOUT[name]}: {reason}")
    if len(candidates) == 1:
        return candidates["captured"]
    batch = trial_molecule(potential, numbers, max(1, _ATOMS // len(numbers)))
    batch = batch.with_positions(_SPREAD * batch.positions)
    faster = min(candidates, key=lambda name: _seconds(candidates[name], batch))
    if "captured-triton" in candidates:  # otherwise the next caller gets the warning too
        _faster[key] = faster
    return candidates[faster]


def faster_execution(potential: Potential, skin: float = 0.5) -> EagerExecution:
    """Return the faster execution of crystals on a GPU: with Triton kernels, or without.

    The first call for a kind of model times energy and forces of 512 atoms with both. If Triton
    kernels cannot be used, a warning says why.
    """
    plain = EagerExecution(potential, skin=skin)
    key = (str(potential.device), precision_of(potential), potential.config.representation)
    # only the energy and its derivatives are defined for a crystal
    if "energy" not in potential.config.heads or _faster.get(key) == plain.name:
        return plain
    try:
        fused = TritonExecution(potential, skin=skin)
    except ExecutionUnavailableError as reason:
        _warn(f"running the model eagerly, without fused kernels: {reason}")
        return plain
    if key not in _faster:
        crystal = _trial_crystal(potential)
        _faster[key] = min((fused, plain), key=lambda one: _seconds(one, crystal)).name
    return fused if _faster[key] == fused.name else plain


def _trial_crystal(potential: Potential) -> Structures:
    n = _EDGE**3
    elements = torch.tensor(potential.references.elements)
    positions = trial_positions(n, 1)
    scale = _SPACING / float(positions.max() / (_EDGE - 1))
    return Structures.pack(
        elements[torch.arange(n) % len(elements)],
        scale * positions[0],
        [n],
        cell=torch.eye(3, dtype=torch.float64)[None] * _EDGE * _SPACING,
        pbc=torch.ones(1, 3, dtype=torch.bool),
    ).to(potential.device)


def _seconds(execution: EagerExecution, batch: Structures, repeats: int = 5) -> float:
    """Return the median time of an evaluation, including the transfer of its result [s].

    A first call, which may capture or compile, is not counted.
    """
    quantities = execution.potential.quantities
    names = tuple({"energy", "forces"} & set(quantities)) or quantities[:1]
    times = []
    for _ in range(1 + repeats):
        begin = time.perf_counter()
        execution.evaluate(batch, names)[names[0]].cpu()  # synchronizes with the device
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def _warn(problem: str) -> None:
    warnings.warn(problem, ExecutionWarning, stacklevel=4)
