# SPDX-License-Identifier: MIT
"""Spectra of Lorentzian bands."""

import numpy as np

from eqcalc.spectra import Spectrum


def lines(positions, widths, areas, scale=1.0, seed=None, step=1.0):
    nu = np.arange(0.0, 4001.0, step)
    basis = np.array(
        [
            (w / 2 / np.pi) / ((nu - scale * p) ** 2 + w**2 / 4)
            for p, w in zip(positions, widths, strict=True)
        ]
    )
    samples = None
    if seed is not None:
        weights = 1.0 + 0.1 * np.random.default_rng(seed).normal(size=(100, len(areas)))
        samples = (weights * areas) @ basis
    return Spectrum(
        nu,
        np.asarray(areas) @ basis,
        "km/mol per cm⁻¹",
        "IR intensity",
        samples=samples,
        n_independent=20,
    )


BANDS = ([900.0, 1100.0, 1450.0, 2950.0], [15.0, 20.0, 15.0, 30.0], [10.0, 60.0, 30.0, 120.0])
