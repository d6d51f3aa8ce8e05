# SPDX-License-Identifier: MIT
"""Spectra in absolute units, with errors, from time series, trajectories or normal modes."""

from eqcalc.spectra.estimation import Estimation
from eqcalc.spectra.harmonic import HarmonicSpectrum, harmonic_analysis
from eqcalc.spectra.infrared import convert_infrared, infrared, sum_rule, sum_rule_ratio
from eqcalc.spectra.plot import save, spectra_figure, spectrum_figure
from eqcalc.spectra.raman import RamanSpectrum, raman, reduced
from eqcalc.spectra.spectrum import Band, Spectrum
from eqcalc.spectra.statistics import Estimate, replicas_needed
from eqcalc.spectra.vdos import vibrational_density_of_states

__all__ = [
    "Band",
    "Estimate",
    "Estimation",
    "HarmonicSpectrum",
    "RamanSpectrum",
    "Spectrum",
    "convert_infrared",
    "harmonic_analysis",
    "infrared",
    "raman",
    "reduced",
    "replicas_needed",
    "save",
    "spectra_figure",
    "spectrum_figure",
    "sum_rule",
    "sum_rule_ratio",
    "vibrational_density_of_states",
]
