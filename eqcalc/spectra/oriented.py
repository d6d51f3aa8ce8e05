# SPDX-License-Identifier: MIT
"""Raman scattering of oriented samples: crystals, surfaces, single molecules held in place."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from eqcalc.spectra.estimator.estimation import Estimation, grouped
from eqcalc.spectra.quantum_factors import relative_quantum_factor
from eqcalc.spectra.series import TrajectoryLike, read_series
from eqcalc.spectra.spectrum import Spectrum

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def porto(notation: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the incoming and the outgoing polarization of a geometry in Porto's notation.

    Parameters
    ----------
    notation
        ``"z(xy)-z"``: light comes along z polarized along x, and what leaves
        along −z polarized along y is measured. Directions may carry a minus
        sign (Damen, Porto and Tell, Phys. Rev. 142, 570 (1966)).

    Raises
    ------
    ValueError
        The text is not of this form, or a polarization is along its light.
    """
    match = re.fullmatch(r"-?([xyz])\(([xyz])\s*([xyz])\)-?([xyz])", notation.strip().lower())
    if match is None:
        raise ValueError(f"expected a geometry such as 'z(xy)-z', got {notation!r}")
    arrives, incoming, outgoing, leaves = match.groups()
    if incoming == arrives or outgoing == leaves:
        raise ValueError(f"{notation!r}: light is not polarized along its own direction")
    return np.array(_AXES[incoming]), np.array(_AXES[outgoing])


def raman_oriented(
    data: TrajectoryLike | Any = None,
    *,
    incoming: np.ndarray,
    outgoing: np.ndarray,
    derivative: Any = None,
    interval: float | None = None,
    temperature: float | None = None,
    unit: str | None = None,
    method: str | None = None,
    timestep: float | None = None,
    n_beads: int | None = None,
    quantum_factor: str = "harmonic",
    **estimation: Any,
) -> Spectrum:
    """Return the Raman intensity of an oriented sample in one polarization geometry.

    With e_in and e_out the polarizations, s = e_out·α·e_in and the intensity is
    (K/T)∫⟨ṡ(0)ṡ(t)⟩…dt, Å⁴/amu per cm⁻¹. :func:`porto` takes a geometry in
    Porto's notation to the two polarizations.

    Parameters
    ----------
    data, derivative, interval, temperature, unit, method, timestep, n_beads
        See :func:`raman`.
    quantum_factor, estimation
        See :func:`raman`.
    incoming, outgoing
        ``[3]``, directions of the polarizations; normalised here.
    """
    first, second = (np.asarray(v, dtype=float) for v in (outgoing, incoming))
    if first.shape != (3,) or second.shape != (3,) or not (first.any() and second.any()):
        raise ValueError("incoming, outgoing: expected directions with three components, not zero")
    selector = np.outer(first, second) / (np.linalg.norm(first) * np.linalg.norm(second))
    series = read_series(
        data,
        derivative,
        name="polarizability",
        shapes=[(3, 3)],
        interval=interval,
        temperature=temperature,
        unit=unit,
        method=method,
        timestep=timestep,
        n_beads=n_beads,
    )
    relative_quantum_factor(np.zeros(1), series.temperature, quantum_factor, series.method)
    signals = series.signals("Å^3", 1, lambda a: np.einsum("nij,ij->n", a, selector)[:, None])
    density = Estimation(**estimation).density(series, signals, grouped(slice(0, 1)))
    spectrum = Spectrum(
        wavenumber=density.wavenumber,
        values=density.values[0],
        unit="Å⁴/amu per cm⁻¹",
        label="Raman intensity, oriented",
        samples=None if density.samples is None else density.samples[:, 0],
        n_independent=density.n_independent,
        provenance={
            "spectrum": "Raman",
            "quantum_factor": quantum_factor,
            "incoming": second.tolist(),
            "outgoing": first.tolist(),
            **density.provenance,
        },
        warnings=density.warnings,
    )
    if quantum_factor == "harmonic":
        return spectrum
    relative = relative_quantum_factor(
        spectrum.wavenumber, series.temperature, quantum_factor, series.method
    )
    return spectrum.weighted(relative, f"quantum factor {quantum_factor} / harmonic")
