# SPDX-License-Identifier: MIT
"""Quantum vibrations: n-mode surfaces, VSCF, VCI, perturbation theory, large amplitudes."""

from eqcalc.anharmonic.analysis import (
    Treatment,
    anharmonic_spectrum,
    harmonic_fundamentals,
    one_mode_fundamentals,
    perturbed_spectrum,
)
from eqcalc.anharmonic.large_amplitude import LargeAmplitude, PathStates
from eqcalc.anharmonic.perturbation import (
    perturbed_fundamentals,
    perturbed_moments,
    perturbed_states,
)
from eqcalc.anharmonic.report import grid_uncertainty
from eqcalc.anharmonic.separation import motion_table, separated_motions, with_motions
from eqcalc.anharmonic.spectrum import AnharmonicSpectrum, Configuration
from eqcalc.anharmonic.taylor import ForceField, force_field

__all__ = [
    "AnharmonicSpectrum",
    "Configuration",
    "ForceField",
    "LargeAmplitude",
    "PathStates",
    "Treatment",
    "anharmonic_spectrum",
    "force_field",
    "grid_uncertainty",
    "harmonic_fundamentals",
    "motion_table",
    "one_mode_fundamentals",
    "perturbed_fundamentals",
    "perturbed_moments",
    "perturbed_spectrum",
    "perturbed_states",
    "separated_motions",
    "with_motions",
]
