# SPDX-License-Identifier: MIT
"""From the name of a molecule to its spectrum."""

from eqcalc.prediction.bands import Conformer, PredictedBand
from eqcalc.prediction.convergence import ActiveLearning
from eqcalc.prediction.errors import Calibration, ModelError, calibration_of
from eqcalc.prediction.level import Level, ModelLevel, ReferenceLevel, level_named
from eqcalc.prediction.planning import Plan, other_levels, plan
from eqcalc.prediction.report import read_experiment
from eqcalc.prediction.result import Prediction
from eqcalc.prediction.structure import molecule_from
from eqcalc.prediction.workflow import predict

__all__ = [
    "ActiveLearning",
    "Calibration",
    "Conformer",
    "Level",
    "ModelError",
    "ModelLevel",
    "Plan",
    "PredictedBand",
    "Prediction",
    "ReferenceLevel",
    "calibration_of",
    "level_named",
    "molecule_from",
    "other_levels",
    "plan",
    "predict",
    "read_experiment",
]
