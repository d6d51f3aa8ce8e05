# SPDX-License-Identifier: MIT
"""Experiments on models: trainings over grids, latent spaces, spherical harmonics."""
