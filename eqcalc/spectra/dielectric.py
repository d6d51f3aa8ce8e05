# SPDX-License-Identifier: MIT
"""Infrared optics of periodic systems from the dipole moment of the whole cell.

Linear response of an isotropic system of volume V,

    ε''(ω) = β/(6ε₀Vω) ∫⟨Ṁ(0)·Ṁ(t)⟩ cos ωt dt,   α(ν̃)n(ν̃) = 2πν̃ ε''(ν̃),

with the cross terms between molecules contained in M. The real part follows
from the Kramers–Kronig relation, and both give the refractive index. The dipole
moment must not jump when a charge crosses the boundary: use the current
(``derivative``), or unwrap it with :func:`unwrap_dipole`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eqcalc.spectra.estimation import Estimation, grouped
from eqcalc.spectra.quantum import relative_quantum_factor
from eqcalc.spectra.signals import TrajectoryLike, read_series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import AVOGADRO, INTENSITY_PER_SQUARED_CHARGE_PER_MASS

__all__ = ["Dielectric", "dielectric", "kramers_kronig", "unwrap_dipole"]

#: Absorption [cm⁻¹] of one molecule per Å³ with 1 e²/amu per cm⁻¹.
_ABSORPTION = INTENSITY_PER_SQUARED_CHARGE_PER_MASS * 1e5 / AVOGADRO * 1e24


def unwrap_dipole(dipole: np.ndarray, cell: np.ndarray, charge: float = 1.0) -> np.ndarray:
    """Remove the jumps of the dipole moment of a cell when charges cross its boundary.

    Parameters
    ----------
    dipole
        ``[n_replicas, n_frames, 3]``, e Å.
    cell
        ``[3, 3]``, rows are the lattice vectors, Å.
    charge
        Smallest charge that crosses, e: the dipole moment is defined modulo
        this charge times a lattice vector.
    """
    quantum = charge * np.asarray(cell, dtype=float)
    step = np.diff(np.asarray(dipole, dtype=float), axis=1)
    whole = np.round(step @ np.linalg.inv(quantum))
    jumps = np.cumsum(whole, axis=1) @ quantum
    result = np.array(dipole, dtype=float)
    result[:, 1:] -= jumps
    return result


def kramers_kronig(wavenumber: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    """Return ε'(ν̃) − ε(∞) = (2/π) P∫ ν̃'ε''(ν̃')/(ν̃'² − ν̃²) dν̃'.

    The integrand is taken as linear between the points of the grid, and the
    principal value is then exact; the response beyond the grid is missing.

    Parameters
    ----------
    wavenumber
        ``[n_wavenumbers]``, cm⁻¹, ascending, any spacing.
    imaginary
        ``[..., n_wavenumbers]``, ε''.
    """
    x = np.asarray(wavenumber, dtype=float)
    # ν'/(ν'² − ν²) = ½[1/(ν' − ν) + 1/(ν' + ν)]; integrals of hat functions against 1/(ν' − s)
    matrix = 0.5 * (_hat_integrals(x, x) + _hat_integrals(x, -x))
    return (2.0 / np.pi) * imaginary @ matrix.T


def _hat_integrals(x: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return P∫ φ_j(x')/(x' − s_i) dx' for the hat functions of a grid, ``[n_s, n_x]``."""
    distance = x[None, :] - s[:, None]
    # x log|x| and its limit at zero
    log = np.log(np.where(distance == 0.0, 1.0, np.abs(distance)))
    step = np.diff(x)
    # on [a, b]: ∫dx/(x−s) = L(b) − L(a), ∫(x−s)dx/(x−s) = b − a
    span = log[:, 1:] - log[:, :-1]
    # the infinite logarithms of the two intervals beside s cancel: hats are continuous there
    rising = (step - distance[:, :-1] * span) / step
    falling = (distance[:, 1:] * span - step) / step
    result = np.zeros((len(s), len(x)))
    result[:, 1:] += rising
    result[:, :-1] += falling
    return result


@dataclass(frozen=True)
class Dielectric:
    """The frequency-dependent dielectric function of a periodic system.

    Parameters
    ----------
    absorption
        α(ν̃)n(ν̃), Napierian absorption coefficient times refractive index, cm⁻¹.
    volume
        Å³.
    temperature
        K.
    high_frequency
        ε(∞), the square of the refractive index above all vibrations.
    """

    absorption: Spectrum
    volume: float
    temperature: float
    high_frequency: float

    def imaginary(self) -> Spectrum:
        """Return ε''(ν̃) = α(ν̃)n(ν̃)/(2πν̃), from the first wavenumber above zero."""
        part = self.absorption.between(0.5 * float(self.absorption.wavenumber[1]), None)
        return part.weighted(
            1.0 / (2.0 * np.pi * part.wavenumber),
            "divided by 2πν̃",
            unit="1",
            label="imaginary part of the permittivity",
        )

    def real(self) -> Spectrum:
        """Return ε'(ν̃) by the Kramers–Kronig relation.

        Below the first wavenumber ε'' is taken as proportional to ν̃, as for
        any relaxation at low frequency.
        """
        loss = self.imaginary()
        grid = np.concatenate([[0.0], loss.wavenumber])

        def transform(y: np.ndarray) -> np.ndarray:
            padded = np.concatenate([np.zeros((*y.shape[:-1], 1)), y], axis=-1)
            return self.high_frequency + kramers_kronig(grid, padded)[..., 1:]

        return Spectrum(
            wavenumber=loss.wavenumber,
            values=transform(loss.values),
            unit="1",
            label="real part of the permittivity",
            samples=None if loss.samples is None else transform(loss.samples),
            n_independent=loss.n_independent,
            provenance=loss.provenance,
            warnings=loss.warnings,
        )

    def refractive_index(self) -> Spectrum:
        """Return n(ν̃) = √[(|ε| + ε')/2]."""
        return self.real().combined(
            self.imaginary(),
            lambda a, b: np.sqrt(0.5 * (np.hypot(a, b) + a)),
            label="refractive index",
        )

    def absorption_coefficient(self) -> Spectrum:
        """Return the Napierian absorption coefficient α(ν̃), cm⁻¹."""
        index = self.refractive_index()
        part = self.absorption.between(float(index.wavenumber[0]) - 1e-9, None)
        return part.combined(index, lambda a, n: a / n, unit="cm⁻¹", label="absorption coefficient")


def dielectric(
    data: TrajectoryLike | Any = None,
    *,
    volume: float,
    high_frequency: float = 1.0,
    derivative: Any = None,
    interval: float | None = None,
    temperature: float | None = None,
    unit: str | None = None,
    method: str | None = None,
    timestep: float | None = None,
    quantum_factor: str = "harmonic",
    **estimation: Any,
) -> Dielectric:
    """Return the dielectric function from the dipole moment of a periodic cell.

    Parameters
    ----------
    data, derivative, interval, temperature, unit, method, timestep, quantum_factor, estimation
        See :func:`eqcalc.spectra.infrared`; the dipole moment is that of the
        whole cell.
    volume
        Of the cell, Å³.
    high_frequency
        ε(∞), from experiment or from the polarizability.
    """
    if not volume > 0.0:
        raise ValueError(f"volume: expected a positive volume in Å³, got {volume}")
    series = read_series(
        data,
        derivative,
        name="dipole",
        shapes=[(3,)],
        interval=interval,
        temperature=temperature,
        unit=unit,
        method=method,
        timestep=timestep,
    )
    relative_quantum_factor(np.zeros(1), series.temperature, quantum_factor, series.method)
    density = Estimation(**estimation).density(
        series, series.signals("e*Å", 3), grouped(slice(0, 3))
    )
    scale = _ABSORPTION / volume
    absorption = Spectrum(
        wavenumber=density.wavenumber,
        values=density.values[0] * scale,
        unit="cm⁻¹",
        label="absorption coefficient times refractive index",
        samples=None if density.samples is None else density.samples[:, 0] * scale,
        n_independent=density.n_independent,
        provenance={
            "spectrum": "dielectric",
            "quantum_factor": quantum_factor,
            "volume_angstrom3": volume,
            **density.provenance,
        },
        warnings=density.warnings,
    )
    if quantum_factor != "harmonic":
        relative = relative_quantum_factor(
            absorption.wavenumber, series.temperature, quantum_factor, series.method
        )
        absorption = absorption.weighted(relative, f"quantum factor {quantum_factor} / harmonic")
    return Dielectric(absorption, volume, series.temperature, high_frequency)
