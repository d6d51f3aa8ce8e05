# SPDX-License-Identifier: MIT
"""Reference labels: geometries sampled and labelled with a quantum-chemistry code."""

from eqcalc.reference.conformers import conformers, relax, rotatable_bonds, rotate
from eqcalc.reference.generate import generate
from eqcalc.reference.gfn2 import GFN2
from eqcalc.reference.label import LabelReport, label
from eqcalc.reference.method import ConvergenceError, Method, MethodCalculator
from eqcalc.reference.plausibility import compare_with_method
from eqcalc.reference.pyscf_dft import PySCF
from eqcalc.reference.sampling import SamplingPlan, distinct, langevin, sample

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
