# SPDX-License-Identifier: MIT
"""Reference labels: geometries sampled and labelled with a quantum-chemistry code."""

from eqcalc.reference.gfn2 import GFN2
from eqcalc.reference.label import label
from eqcalc.reference.method import Method, MethodCalculator, NotConverged
from eqcalc.reference.sampling import SamplingPlan, sample

__all__ = [
    "GFN2",
    "Method",
    "MethodCalculator",
    "NotConverged",
    "SamplingPlan",
    "label",
    "sample",
]
