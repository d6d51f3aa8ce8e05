# SPDX-License-Identifier: MIT
"""Te PIGS: classical dynamics on the potential of the centroid, learned from path integrals."""

from eqcalc.centroid.correction import (
    CorrectionError,
    corrected,
    correction_error,
    shipped_correction,
    train_correction,
)
from eqcalc.centroid.forces import CentroidForces, constrained_forces, sampled_forces
from eqcalc.centroid.learning import LearningPlan, learn_correction, temperature_dependence

__all__ = [
    "CentroidForces",
    "CorrectionError",
    "LearningPlan",
    "constrained_forces",
    "corrected",
    "correction_error",
    "learn_correction",
    "sampled_forces",
    "shipped_correction",
    "temperature_dependence",
    "train_correction",
]
