# SPDX-License-Identifier: MIT
"""Reports of trajectories: spectra, figures, tables, checks, and assignments."""
