# SPDX-License-Identifier: MIT
"""How a model is executed: one protocol, of which the eager one is the reference."""

from eqcalc.runtime.captured import CapturedEvaluator
from eqcalc.runtime.captured_compiled import CapturedCompiledEvaluator
from eqcalc.runtime.compiled import CompiledEvaluator
from eqcalc.runtime.compiler import ExecutionUnavailableError
from eqcalc.runtime.evaluator import EagerEvaluator, Evaluator
from eqcalc.runtime.execution import EagerExecution, Execution
from eqcalc.runtime.fused import Closest
from eqcalc.runtime.fused_evaluator import FusedEvaluator
from eqcalc.runtime.fused_execution import FusedExecution
from eqcalc.runtime.molecule_execution import MoleculeExecution
from eqcalc.runtime.rendezvous import Rendezvous
from eqcalc.runtime.selection import EXECUTIONS, ExecutionWarning, evaluator_for, execution_for
from eqcalc.runtime.triton_evaluator import (
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
