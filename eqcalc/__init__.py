# SPDX-License-Identifier: MIT
"""eqcalc: vibrational spectra from machine-learned (ring-polymer) molecular dynamics."""

__version__ = "0.1.0"
