# SPDX-License-Identifier: MIT
"""Executions of a model: one protocol, with the eager execution as the reference."""

from eqcalc.runtime.ahead_of_time import CompiledExecution
from eqcalc.runtime.cpu_execution import FusedExecution
from eqcalc.runtime.cpu_training import FusedTraining
from eqcalc.runtime.cuda_graphs import CapturedCompiledExecution, CapturedExecution
from eqcalc.runtime.evaluator import Evaluator, MoleculeEvaluator, eager_evaluator
from eqcalc.runtime.execution import (
    ClosestPair,
    EagerExecution,
    Execution,
    ExecutionUnavailableError,
    ExecutionWarning,
    ModelChangedError,
    keep_freed_memory,
    to_numpy,
)
from eqcalc.runtime.molecule_execution import MoleculeExecution
from eqcalc.runtime.selection import EXECUTIONS, evaluator_for, execution_for, load_evaluator
from eqcalc.runtime.triton.execution import (
    CapturedTritonExecution,
    TritonExecution,
    with_triton_kernels,
)

__all__ = [
    "EXECUTIONS",
    "CapturedCompiledExecution",
    "CapturedExecution",
    "CapturedTritonExecution",
    "ClosestPair",
    "CompiledExecution",
    "EagerExecution",
    "Evaluator",
    "Execution",
    "ExecutionUnavailableError",
    "ExecutionWarning",
    "FusedExecution",
    "FusedTraining",
    "ModelChangedError",
    "MoleculeEvaluator",
    "MoleculeExecution",
    "TritonExecution",
    "eager_evaluator",
    "evaluator_for",
    "execution_for",
    "keep_freed_memory",
    "load_evaluator",
    "to_numpy",
    "with_triton_kernels",
]
