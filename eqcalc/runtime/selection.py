# SPDX-License-Identifier: MIT
"""Choice of the execution of a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from eqcalc.models.checkpoint import load_model
from eqcalc.models.committee import Committee
from eqcalc.models.potential import Potential
from eqcalc.models.precision import check_precision, in_precision
from eqcalc.runtime.ahead_of_time import CompiledExecution
from eqcalc.runtime.cpp_compiler import compiler
from eqcalc.runtime.cpu_execution import FusedExecution
from eqcalc.runtime.cuda_graphs import CapturedCompiledExecution, CapturedExecution
from eqcalc.runtime.evaluator import Evaluator, MoleculeEvaluator, known_numbers
from eqcalc.runtime.execution import (
    EagerExecution,
    Execution,
    ExecutionUnavailableError,
    ExecutionWarning,
)
from eqcalc.runtime.gpu_choice import faster_captured, faster_execution
from eqcalc.runtime.molecule_execution import MoleculeExecution
from eqcalc.runtime.triton.execution import CapturedTritonExecution, TritonExecution
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
            _warn(f"{reason}{_HINT if compiler() else ''}")
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
                _warn(f"{reason}{_HINT if compiler() else ''}")
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
        _warn(str(reason))
        return None


def _warn(reason: str) -> None:
    warnings.warn(
        f"running the model eagerly, several times slower: {reason}",
        ExecutionWarning,
        stacklevel=4,
    )
