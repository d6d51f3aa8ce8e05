# SPDX-License-Identifier: MIT
"""Files of spectra, and series written by other codes."""

from eqcalc.spectra.io.files import read_raman, read_spectrum, write_spectrum
from eqcalc.spectra.io.force_constants import read_harmonic
from eqcalc.spectra.io.formats import SeriesReader, read_series, register_reader

__all__ = [
    "SeriesReader",
    "read_harmonic",
    "read_raman",
    "read_series",
    "read_spectrum",
    "register_reader",
    "write_spectrum",
]
