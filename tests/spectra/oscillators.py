# SPDX-License-Identifier: MIT
"""Synthetic thermal oscillators with known spectra."""

import numpy as np

C = 2.99792458e-5  # cm/fs
BOLTZMANN = 8.31446261815324e-7  # amu Å²/fs²/K


def angular(wavenumber: float) -> float:
    """Return 2πcν̃ in 1/fs."""
    return 2.0 * np.pi * C * wavenumber


def oscillator(
    wavenumber, charge=1.0, mass=1.0, temperature=300.0, interval=0.5, n_frames=40000, n_replicas=4
):
    """Return q·x(t) of oscillators at exactly kT with evenly spread phases, [replica, frame]."""
    omega = angular(wavenumber)
    amplitude = np.sqrt(2.0 * BOLTZMANN * temperature / mass) / omega
    phase = 2.0 * np.pi * (np.arange(n_replicas) + 0.3) / n_replicas
    return charge * amplitude * np.cos(omega * interval * np.arange(n_frames) + phase[:, None])


def vector(x):
    """Return x along one axis of a vector, [..., 3]."""
    return x[..., None] * np.array([0.48, 0.6, 0.64])
