# SPDX-License-Identifier: MIT
"""Training and evaluation of potentials."""

from eqcalc.training.config import TrainingConfig
from eqcalc.training.evaluate import EvaluationTable, evaluate
from eqcalc.training.settings import ConfigError
from eqcalc.training.train import TrainingResult, train

__all__ = [
    "ConfigError",
    "EvaluationTable",
    "TrainingConfig",
    "TrainingResult",
    "evaluate",
    "train",
]
