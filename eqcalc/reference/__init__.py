# SPDX-License-Identifier: MIT
"""Reference labels: geometries sampled and labelled with a quantum-chemistry code."""

from eqcalc.reference.gfn2 import GFN2
from eqcalc.reference.label import label
from eqcalc.reference.method import ConvergenceError, Method, MethodCalculator
from eqcalc.reference.sampling import SamplingPlan, sample

__all__ = [
    "GFN2",
    "ConvergenceError",
    "Method",
    "MethodCalculator",
    "SamplingPlan",
    "label",
    "sample",
]
