# SPDX-License-Identifier: MIT
"""Choice of the execution of a model: the fastest at hand, on a GPU by timing."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from eqcalc.models.checkpoint import load_model
from eqcalc.models.committee import Committee
from eqcalc.models.potential import Potential
from eqcalc.models.precision import check_precision, in_precision, precision_of
from eqcalc.neighbors import STATIC_ATOMS
from eqcalc.runtime.ahead_of_time import CompiledExecution
from eqcalc.runtime.cpp_compiler import compiler
from eqcalc.runtime.cpu_execution import FusedExecution
from eqcalc.runtime.cuda_graphs import (
    CapturedCompiledExecution,
    CapturedExecution,
    CapturedGraph,
    capture_cuda_graph,
)
from eqcalc.runtime.evaluator import Evaluator, MoleculeEvaluator, known_numbers
from eqcalc.runtime.execution import (
    EagerExecution,
    Execution,
    ExecutionUnavailableError,
    ExecutionWarning,
)
from eqcalc.runtime.molecule_execution import MoleculeExecution
from eqcalc.runtime.triton.execution import CapturedTritonExecution, TritonExecution
from eqcalc.runtime.verification import trial_crystal, trial_molecule
from eqcalc.structures import Structures
from eqcalc.validation import one_of

#: Executions by name, the fastest first.
EXECUTIONS: dict[str, type[EagerExecution]] = {
    kind.name: kind
    for kind in (
        FusedExecution,
        CapturedCompiledExecution,
        CapturedTritonExecution,
        CapturedExecution,
        TritonExecution,
        CompiledExecution,
        EagerExecution,
    )
}

#: Calls for a molecule from ASE before graph capture, which takes as long as some tens of calls.
_PATIENCE = 5

_EAGERLY = "running the model eagerly, several times slower"
_HINT = (
    "; execution='compiled', or eqcalc simulate --execution compiled, compiles it for a molecule "
    "once, which takes minutes, and is cached"
)


def evaluator_for(
    potential: Potential,
    numbers: Tensor,
    *,
    charge: float = 0.0,
    cell: ArrayLike | None = None,
    execution: str | None = None,
) -> MoleculeEvaluator:
    """Return the fastest evaluator of a molecule, or of a cell, that works here.

    On a CPU it uses the C++ kernels, on a GPU CUDA graphs. Read-outs without kernels are evaluated
    eagerly; see :attr:`MoleculeEvaluator.parts`. A network without kernels runs eagerly on a CPU,
    unless a program compiled for this molecule is cached: compiling takes minutes and is therefore
    done on request only.

    Parameters
    ----------
    potential
        The model, on the device and in the precision to be used.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    charge
        Its total charge [e].
    cell
        Cell vectors as rows, ``[3, 3]`` Å, of a structure that is periodic in all directions.
        Pairs are searched with a skin; the execution is one of :func:`execution_for`.
    execution
        One of :data:`EXECUTIONS`; it is an error if that one cannot be used. By default the fastest
        that works, with a warning if it is not the usual one for the device. ``"compiled"`` works
        for most networks and is cached on disk.

    Raises
    ------
    UnknownElementError
        The molecule contains an element that the model does not know.
    InvalidInputError
        There is no such execution, or the model was not trained on this charge.
    ExecutionUnavailableError
        The requested execution cannot be used here.
    """
    numbers = known_numbers(potential, numbers)
    chosen: Execution
    if cell is not None:
        chosen = execution_for(potential, execution=execution)
    elif execution is None:
        chosen = _fastest(potential, numbers, charge=charge)
    else:
        chosen = _named(execution).for_molecule(potential, numbers, charge=charge)
    return MoleculeEvaluator(chosen, numbers, charge=charge, cell=cell)


def load_evaluator(
    models: str | Path | Sequence[str | Path],
    numbers: ArrayLike,
    *,
    charge: float = 0.0,
    cell: ArrayLike | None = None,
    device: str | None = None,
    precision: str | None = None,
    execution: str | None = None,
) -> Evaluator:
    """Return the evaluator of a molecule from a model file, or the committee of several.

    Parameters
    ----------
    models
        Model files; several are averaged, see :class:`~eqcalc.models.committee.Committee`.
    numbers, charge, cell, execution
        See :func:`evaluator_for`.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …; by default a GPU if there is one.
    precision
        One of :data:`~eqcalc.models.precision.PRECISIONS`; by default as stored.

    Raises
    ------
    InvalidInputError
        A parameter is invalid, or a model was not trained on such a molecule.
    """
    check_precision(precision)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    members = []
    for path in [models] if isinstance(models, str | Path) else models:
        model = in_precision(load_model(path, device=device), precision)
        tensor = torch.as_tensor(numbers)
        members.append(evaluator_for(model, tensor, charge=charge, cell=cell, execution=execution))
    return Committee(members) if len(members) > 1 else members[0]


def execution_for(
    potential: Potential, *, skin: float = 0.5, execution: str | None = None
) -> Execution:
    """Return the fastest execution for structures of any kind that works here.

    Parameters
    ----------
    potential
        The model, on the device and in the precision to be used.
    skin
        Extra distance of the neighbour list of periodic structures [Å].
    execution
        One of :data:`EXECUTIONS`; if it cannot be used, the first evaluation of a molecule raises.
        Crystals and large molecules are evaluated eagerly by all but ``"fused"`` and ``"triton"``.
        By default chosen as by :func:`evaluator_for`.

    Raises
    ------
    InvalidInputError
        There is no such execution.
    ExecutionUnavailableError
        The requested execution cannot be used here.
    """
    if execution is not None:
        kind = _named(execution)
        if kind in (EagerExecution, FusedExecution, TritonExecution):
            return kind(potential, skin=skin)
        return MoleculeExecution(potential, kind.for_molecule, skin=skin)
    if potential.device.type == "cpu":
        try:
            return FusedExecution(potential, skin=skin)
        except ExecutionUnavailableError as reason:
            _warn(f"{_EAGERLY}: {reason}{_HINT if compiler() else ''}")
            return MoleculeExecution(potential, _compiled_before, skin=skin)
    if potential.device.type == "cuda":
        return MoleculeExecution(
            potential, _fastest, skin=skin, patience=_PATIENCE, otherwise=faster_execution
        )
    return EagerExecution(potential, skin=skin)


def _fastest(potential: Potential, numbers: Tensor, *, charge: float) -> EagerExecution:
    """Return the fastest execution of a molecule that works here; the eager one always does."""
    usual: dict[str, Callable[..., EagerExecution]]
    usual = {"cpu": FusedExecution.for_molecule, "cuda": faster_captured}
    kind = potential.device.type
    if kind in usual:
        try:
            return usual[kind](potential, numbers, charge=charge)
        except ExecutionUnavailableError as reason:
            if CompiledExecution.in_cache(potential, numbers, charge=charge):
                compiled = _compiled_before(potential, numbers, charge=charge)
                if compiled is not None:
                    return compiled
            else:
                _warn(f"{_EAGERLY}: {reason}{_HINT if compiler() else ''}")
    return EagerExecution.for_molecule(potential, numbers, charge=charge)


def _named(execution: str) -> type[EagerExecution]:
    return EXECUTIONS[one_of("execution", execution, EXECUTIONS)]


def _compiled_before(
    potential: Potential, numbers: Tensor, *, charge: float
) -> EagerExecution | None:
    """Return an execution with cached programs, or None if there are none."""
    if not CompiledExecution.in_cache(potential, numbers, charge=charge):
        return None
    try:
        return CompiledExecution(potential, numbers, charge=charge, only_cached=True)
    except ExecutionUnavailableError as reason:
        _warn(f"{_EAGERLY}: {reason}")
        return None


# --- by timing, on a GPU ------------------------------------------------------------

#: Evaluations of which the median is taken.
_REPEATS = 5
#: Total atoms of the trial molecules; far fewer would not occupy a GPU.
_ATOMS = 576
#: Atoms of the trial crystal, fewer than in most cells of a GPU.
_ATOMS_OF_A_CRYSTAL = 512
_WITHOUT = {
    "captured-triton": "without fused kernels",
    "captured-compiled": "without compiled programs",
}

#: The faster execution, by device, precision, network and, for molecules, number of atoms. Measured
#: once, so that the members of a committee, and evaluators created later, are executed alike.
_faster: dict[tuple[Any, ...], str] = {}
#: Spacing of atoms in the trials, relative to that of verification: the density of a molecule, and
#: a twentieth of an atom per Å³, less than in most crystals.
_SPREAD, _SPREAD_OF_A_CRYSTAL = 1.5, 1.86


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
        crystal = trial_crystal(potential, _ATOMS_OF_A_CRYSTAL, _SPREAD_OF_A_CRYSTAL)
        _faster[key] = min((fused, plain), key=lambda one: _seconds(one, crystal)).name
    return fused if _faster[key] == fused.name else plain


def _seconds(execution: EagerExecution, batch: Structures) -> float:
    quantities = execution.potential.quantities
    names = tuple({"energy", "forces"} & set(quantities)) or quantities[:1]
    return evaluation_seconds(execution, batch, names)


def evaluation_seconds(
    execution: EagerExecution, batch: Structures, names: Sequence[str], least: float = 0.0
) -> float:
    """Return the median time of an evaluation, including the transfer of its result [s].

    A first call, which may capture or compile, is not counted. Five more are, or as many as take
    `least` s.
    """
    times: list[float] = []
    while len(times) < 1 + _REPEATS or sum(times[1:]) < least:
        begin = time.perf_counter()
        execution.evaluate(batch, names)[names[0]].cpu()  # synchronizes with the device
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def _warn(problem: str) -> None:
    warnings.warn(problem, ExecutionWarning, stacklevel=4)
