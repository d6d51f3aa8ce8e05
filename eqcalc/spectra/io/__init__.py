# SPDX-License-Identifier: MIT
"""Spectra and series in files."""

from eqcalc.spectra.io.files import SpectrumFileError, read_raman, read_spectrum, write_spectrum
from eqcalc.spectra.io.jcamp import JcampError

__all__ = [
    "JcampError",
    "SpectrumFileError",
    "read_raman",
    "read_spectrum",
    "write_spectrum",
]
