# SPDX-License-Identifier: MIT
"""Measured spectra, and comparison of computed spectra with them."""
