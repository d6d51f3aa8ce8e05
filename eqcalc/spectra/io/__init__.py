# SPDX-License-Identifier: MIT
"""Spectra and series in files."""
