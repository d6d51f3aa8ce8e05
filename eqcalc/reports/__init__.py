# SPDX-License-Identifier: MIT
"""From a trajectory to what a chemist reads: spectra, figures, tables, checks, assignments."""
