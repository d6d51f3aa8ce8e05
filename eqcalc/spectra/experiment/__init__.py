# SPDX-License-Identifier: MIT
"""Measured spectra, and how computed ones compare with them."""
