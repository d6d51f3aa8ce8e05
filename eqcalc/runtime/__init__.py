# SPDX-License-Identifier: MIT
"""How a model is executed: one protocol, of which the eager one is the reference."""

from eqcalc.runtime.evaluator import EagerEvaluator, Evaluator

__all__ = ["EagerEvaluator", "Evaluator"]
