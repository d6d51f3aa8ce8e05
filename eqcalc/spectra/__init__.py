# SPDX-License-Identifier: MIT
"""Spectra in absolute units, with errors, from time series, trajectories or normal modes.

:func:`infrared`, :func:`raman` and :func:`vibrational_density_of_states` take a trajectory, or
arrays of any code with their units. The modules of this package add molecular frames, assignment,
comparison with experiment, dielectric response, deconvolution, streaming and committees.
"""

from eqcalc.spectra.assignment.bands import (
    AssignedBand,
    assign_bands,
    assignment_notes,
    assignment_table,
    unresolved_notes,
)
from eqcalc.spectra.assignment.decomposition import Decomposition, decompose
from eqcalc.spectra.assignment.modes import (
    decompose_dipole_by_atoms,
    decompose_dipole_by_groups,
    decompose_dipole_by_modes,
    mode_spectra,
)
from eqcalc.spectra.committee import CommitteeSpectrum, combine_committee
from eqcalc.spectra.cross_terms import MolecularTerms, molecular_terms
from eqcalc.spectra.deconvolution import deconvolve, gle_kernel, langevin_kernel
from eqcalc.spectra.dielectric_response import Dielectric, dielectric, unwrap_dipole
from eqcalc.spectra.double_harmonic import (
    HarmonicSpectrum,
    ModeComparison,
    PrintedModes,
    compare_modes,
    harmonic_analysis,
)
from eqcalc.spectra.estimation import Estimation
from eqcalc.spectra.estimator.statistics import Estimate, replicas_needed
from eqcalc.spectra.estimator.windows import Window, register_window
from eqcalc.spectra.experiment.band_lists import BandList, is_band_list, read_bands
from eqcalc.spectra.experiment.band_matching import BandComparison, compare_bands
from eqcalc.spectra.experiment.comparison import (
    Comparison,
    ScoreInterval,
    compare,
)
from eqcalc.spectra.experiment.fundamentals import known_fundamentals
from eqcalc.spectra.experiment.measured import (
    absorbance,
    broadened,
    gas_absorption,
    molar_absorption,
    read_measured,
    read_table,
)
from eqcalc.spectra.figures import (
    plot_assignment,
    plot_bands,
    plot_committee,
    plot_comparison,
    plot_harmonic,
    plot_infrared_raman,
    plot_spectrum,
    save_figure,
)
from eqcalc.spectra.infrared_absorption import (
    convert_infrared,
    infrared,
    sum_rule,
    sum_rule_ratio,
    without_rotation,
)
from eqcalc.spectra.io import (
    SeriesReader,
    read_harmonic,
    read_raman,
    read_series,
    read_spectrum,
    register_reader,
    write_spectrum,
)
from eqcalc.spectra.power import (
    bonded_chains,
    cross_spectrum,
    internal_coordinates,
    internal_spectrum,
    power_spectrum,
    vibrational_density_of_states,
)
from eqcalc.spectra.raman_scattering import RamanSpectrum, porto, raman, raman_oriented, reduced
from eqcalc.spectra.series import Series
from eqcalc.spectra.spectrum import Band, Spectrum
from eqcalc.spectra.streaming import infrared_accumulator, raman_accumulator

__all__ = [
    "AssignedBand",
    "Band",
    "BandComparison",
    "BandList",
    "CommitteeSpectrum",
    "Comparison",
    "Decomposition",
    "Dielectric",
    "Estimate",
    "Estimation",
    "HarmonicSpectrum",
    "ModeComparison",
    "MolecularTerms",
    "PrintedModes",
    "RamanSpectrum",
    "ScoreInterval",
    "Series",
    "SeriesReader",
    "Spectrum",
    "Window",
    "absorbance",
    "assign_bands",
    "assignment_notes",
    "assignment_table",
    "bonded_chains",
    "broadened",
    "combine_committee",
    "compare",
    "compare_bands",
    "compare_modes",
    "convert_infrared",
    "cross_spectrum",
    "decompose",
    "decompose_dipole_by_atoms",
    "decompose_dipole_by_groups",
    "decompose_dipole_by_modes",
    "deconvolve",
    "dielectric",
    "gas_absorption",
    "gle_kernel",
    "harmonic_analysis",
    "infrared",
    "infrared_accumulator",
    "internal_coordinates",
    "internal_spectrum",
    "is_band_list",
    "known_fundamentals",
    "langevin_kernel",
    "mode_spectra",
    "molar_absorption",
    "molecular_terms",
    "plot_assignment",
    "plot_bands",
    "plot_committee",
    "plot_comparison",
    "plot_harmonic",
    "plot_infrared_raman",
    "plot_spectrum",
    "porto",
    "power_spectrum",
    "raman",
    "raman_accumulator",
    "raman_oriented",
    "read_bands",
    "read_harmonic",
    "read_measured",
    "read_raman",
    "read_series",
    "read_spectrum",
    "read_table",
    "reduced",
    "register_reader",
    "register_window",
    "replicas_needed",
    "save_figure",
    "sum_rule",
    "sum_rule_ratio",
    "unresolved_notes",
    "unwrap_dipole",
    "vibrational_density_of_states",
    "without_rotation",
    "write_spectrum",
]
