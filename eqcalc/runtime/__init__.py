# SPDX-License-Identifier: MIT
"""How a model is executed: one protocol, of which the eager one is the reference."""

from eqcalc.runtime.ahead_of_time import CompiledEvaluator
from eqcalc.runtime.cpp_compiler import ExecutionUnavailableError
from eqcalc.runtime.cpu_execution import FusedEvaluator, FusedExecution
from eqcalc.runtime.cpu_kernels import Closest
from eqcalc.runtime.cuda_graphs import CapturedCompiledEvaluator, CapturedEvaluator
from eqcalc.runtime.evaluator import EagerEvaluator, Evaluator
from eqcalc.runtime.execution import EagerExecution, Execution
from eqcalc.runtime.molecule_execution import MoleculeExecution
from eqcalc.runtime.rendezvous import Rendezvous
from eqcalc.runtime.selection import EXECUTIONS, ExecutionWarning, evaluator_for, execution_for
from eqcalc.runtime.triton.execution import (
    CapturedTritonEvaluator,
    TritonEvaluator,
    with_triton_kernels,
)

__all__ = [
    "EXECUTIONS",
    "CapturedCompiledEvaluator",
    "CapturedEvaluator",
    "CapturedTritonEvaluator",
    "Closest",
    "CompiledEvaluator",
    "EagerEvaluator",
    "EagerExecution",
    "Evaluator",
    "Execution",
    "ExecutionUnavailableError",
    "ExecutionWarning",
    "FusedEvaluator",
    "FusedExecution",
    "MoleculeExecution",
    "Rendezvous",
    "TritonEvaluator",
    "evaluator_for",
    "execution_for",
    "with_triton_kernels",
]
