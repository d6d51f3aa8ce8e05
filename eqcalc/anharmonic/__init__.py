# SPDX-License-Identifier: MIT
"""Quantum vibrations of a molecule: n-mode surfaces, VSCF, VCI, perturbation theory, rotors."""

from eqcalc.anharmonic.analysis import (
    Treatment,
    anharmonic_spectrum,
    one_mode_fundamentals,
    perturbed_spectrum,
)
from eqcalc.anharmonic.internal_rotation import (
    HinderedRotor,
    hindered_rotor,
    rotor_table,
    rotors,
    separated_torsions,
    with_torsions,
)
from eqcalc.anharmonic.perturbation import (
    perturbed_fundamentals,
    perturbed_moments,
    perturbed_states,
)
from eqcalc.anharmonic.spectrum import AnharmonicSpectrum, Configuration
from eqcalc.anharmonic.taylor import ForceField, force_field

__all__ = [
    "AnharmonicSpectrum",
    "Configuration",
    "ForceField",
    "HinderedRotor",
    "Treatment",
    "anharmonic_spectrum",
    "force_field",
    "hindered_rotor",
    "one_mode_fundamentals",
    "perturbed_fundamentals",
    "perturbed_moments",
    "perturbed_spectrum",
    "perturbed_states",
    "rotor_table",
    "rotors",
    "separated_torsions",
    "with_torsions",
]
