# SPDX-License-Identifier: MIT
"""How a model is executed: one protocol, of which the eager one is the reference."""

from eqcalc.runtime.compiler import ExecutionUnavailableError
from eqcalc.runtime.evaluator import EagerEvaluator, Evaluator
from eqcalc.runtime.fused_evaluator import FusedEvaluator
from eqcalc.runtime.selection import EXECUTIONS, ExecutionWarning, evaluator_for

__all__ = [
    "EXECUTIONS",
    "EagerEvaluator",
    "Evaluator",
    "ExecutionUnavailableError",
    "ExecutionWarning",
    "FusedEvaluator",
    "evaluator_for",
]
