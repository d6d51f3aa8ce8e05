# SPDX-License-Identifier: MIT
"""Reference labels: geometries sampled and labelled with a quantum-chemistry code."""

from eqcalc.labelling.conformer_search import conformers, relax, rotatable_bonds, rotate
from eqcalc.labelling.dft import PySCF
from eqcalc.labelling.generation import generate
from eqcalc.labelling.gfn2 import GFN2
from eqcalc.labelling.labels import LabelReport, label
from eqcalc.labelling.method import ConvergenceError, Method, MethodCalculator
from eqcalc.labelling.plausibility import compare_with_method
from eqcalc.labelling.sampling import SamplingPlan, distinct, langevin, sample

__all__ = [
    "GFN2",
    "ConvergenceError",
    "LabelReport",
    "Method",
    "MethodCalculator",
    "PySCF",
    "SamplingPlan",
    "compare_with_method",
    "conformers",
    "distinct",
    "generate",
    "label",
    "langevin",
    "relax",
    "rotatable_bonds",
    "rotate",
    "sample",
]
