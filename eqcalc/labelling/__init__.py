# SPDX-License-Identifier: MIT
"""Reference labels: geometries sampled and labelled with a quantum-chemistry code."""

from eqcalc.labelling.ase_calculators import CalculatorMethod
from eqcalc.labelling.conformer_search import (
    conformational_bonds,
    conformers,
    relax,
    rotatable_bonds,
    rotate,
    same_conformer,
)
from eqcalc.labelling.dft import PySCF
from eqcalc.labelling.external import AIQM2, PTB
from eqcalc.labelling.gfn2 import GFN2
from eqcalc.labelling.labels import LabelReport, OtherRunError, generate, label
from eqcalc.labelling.method import (
    CombinedMethod,
    ConvergenceError,
    Method,
    MethodCalculator,
    MethodEvaluator,
    UnavailableQuantityError,
)
from eqcalc.labelling.registry import as_method, method_named
from eqcalc.labelling.sampling import (
    SamplingError,
    SamplingPlan,
    distinct,
    finite_difference_modes,
    langevin,
    sample,
)

__all__ = [
    "AIQM2",
    "GFN2",
    "PTB",
    "CalculatorMethod",
    "CombinedMethod",
    "ConvergenceError",
    "LabelReport",
    "Method",
    "MethodCalculator",
    "MethodEvaluator",
    "OtherRunError",
    "PySCF",
    "SamplingError",
    "SamplingPlan",
    "UnavailableQuantityError",
    "as_method",
    "conformational_bonds",
    "conformers",
    "distinct",
    "finite_difference_modes",
    "generate",
    "label",
    "langevin",
    "method_named",
    "relax",
    "rotatable_bonds",
    "rotate",
    "same_conformer",
    "sample",
]
