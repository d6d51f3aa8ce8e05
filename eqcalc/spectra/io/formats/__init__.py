# SPDX-License-Identifier: MIT
"""Readers of dipole moments and polarizabilities written by other codes, one module per code."""

from eqcalc.spectra.io.formats.base import SeriesReader
from eqcalc.spectra.io.formats.registry import (
    find_reader,
    read_series,
    register_reader,
)

__all__ = [
    "SeriesReader",
    "find_reader",
    "read_series",
    "register_reader",
]
