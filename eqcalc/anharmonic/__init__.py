# SPDX-License-Identifier: MIT
"""Quantum vibrations of a molecule: n-mode surfaces, VSCF and VCI."""

from eqcalc.anharmonic.analysis import Treatment, anharmonic_spectrum
from eqcalc.anharmonic.spectrum import AnharmonicSpectrum, Configuration

__all__ = ["AnharmonicSpectrum", "Configuration", "Treatment", "anharmonic_spectrum"]
