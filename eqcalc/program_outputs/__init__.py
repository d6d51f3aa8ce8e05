# SPDX-License-Identifier: MIT
"""Outputs of quantum-chemistry programs: geometries with charge and spin, and their labels."""

from eqcalc.program_outputs.quantum_chemistry import PROGRAMS, Gaussian, program_of
from eqcalc.program_outputs.steps import REAL, Output, Step, real

__all__ = ["PROGRAMS", "REAL", "Gaussian", "Output", "Step", "program_of", "real"]
