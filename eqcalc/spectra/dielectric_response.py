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

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import fftconvolve

from eqcalc.spectra.infrared_absorption import DIPOLE
from eqcalc.spectra.observable import SpectrumOptions, estimated
from eqcalc.spectra.quantum_factors import with_quantum_factor
from eqcalc.spectra.series import Series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.trajectory import Trajectory
from eqcalc.units import (
    AVOGADRO,
    CONDUCTIVITY_PER_ABSORPTION,
    INTENSITY_PER_SQUARED_CHARGE_PER_MASS,
)
from eqcalc.validation import InvalidInputError, array_of, positive

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Elements of the Kramers–Kronig matrix held at once; 2**22 float64 are 32 MiB.
_MATRIX_SIZE = 2**22
#: Absorption [cm⁻¹] of one molecule per Å³ with 1 e²/amu per cm⁻¹.
_ABSORPTION = INTENSITY_PER_SQUARED_CHARGE_PER_MASS * 1e5 / AVOGADRO * 1e24
#: Largest remainder of a step, in quanta, after reduction to the nearest branch.
_CLEAR = 0.4


def unwrap_dipole(dipole: np.ndarray, cell: np.ndarray, charge: float = 1.0) -> np.ndarray:
    """Remove the jumps of the dipole moment of a cell when charges cross its boundary.

    Parameters
    ----------
    dipole
        ``[n_replicas, n_frames, 3]``, e Å.
    cell
        ``[3, 3]``, rows are the lattice vectors, Å.
    charge
        Smallest charge that may cross, e: the dipole moment is defined modulo
        this charge times a lattice vector.

    Raises
    ------
    InvalidInputError
        The cell has no volume, or a step is nearly as close to another branch.
    """
    quantum = positive("charge", charge, unit="e") * array_of("cell", cell, (3, 3))
    dipole = array_of("dipole", dipole, ("n_replicas", "n_frames", 3))
    if not abs(np.linalg.det(quantum)) > 1e-6 * np.prod(np.linalg.norm(quantum, axis=1)):
        raise InvalidInputError(
            key="cell",
            value=np.asarray(cell).tolist(),
            expected="three lattice vectors that span a volume, in Å",
        )
    step = np.diff(dipole, axis=1) @ np.linalg.inv(quantum)
    whole = np.round(step)
    left = np.abs(step - whole).max(axis=2, initial=0.0)
    if np.any(left > _CLEAR):
        replica, frame = np.unravel_index(int(np.argmax(left > _CLEAR)), left.shape)
        raise InvalidInputError(
            "the branch of the polarization is ambiguous",
            key=f"dipole, replica {replica}, frame {frame}",
            value=round(float(left[replica, frame]), 2),
            expected=f"steps within {_CLEAR} of a whole number of quanta",
            advice="write frames more often, or check the cell and the charge",
        )
    jumps = np.cumsum(whole, axis=1) @ quantum
    result = dipole.copy()
    result[:, 1:] -= jumps
    return result


def kramers_kronig(wavenumber: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    """Return ε'(ν̃) − ε(∞) = (2/π) P∫ ν̃'ε''(ν̃')/(ν̃'² − ν̃²) dν̃'.

    ε'' is interpolated linearly between grid points, for which the principal value is exact; the
    response beyond the grid is neglected. (At the ends of the grid the result diverges unless ε''
    is zero there.)

    Parameters
    ----------
    wavenumber
        ``[n_wavenumbers]``, cm⁻¹, ascending, any spacing.
    imaginary
        ``[..., n_wavenumbers]``, ε''.
    """
    x = np.asarray(wavenumber, dtype=float)
    y = np.asarray(imaginary, dtype=float)
    # ν'/(ν'² − ν²) = ½[1/(ν' − ν) + 1/(ν' + ν)]; integrals of hat functions against 1/(ν' − s)
    steps = np.diff(x)
    if np.allclose(steps, steps[0], rtol=1e-9, atol=0.0):
        return _even_grid_integrals(y, float(x[0] / steps[0])) / np.pi
    result = np.empty_like(y)
    block = max(1, _MATRIX_SIZE // len(x))
    for start in range(0, len(x), block):
        s = x[start : start + block]
        matrix = _hat_integrals(x, s) + _hat_integrals(x, -s)
        result[..., start : start + block] = y @ matrix.T / np.pi
    return result


def _even_grid_integrals(y: np.ndarray, first: float) -> np.ndarray:
    """Return Σ_j P∫ φ_j(x')[1/(x' − x_i) + 1/(x' + x_i)] dx' y_j on an even grid.

    The integrals depend on j − i and on j + i only, so both sums are convolutions. `first` is the
    first abscissa in steps of the grid.
    """
    n = y.shape[-1]
    left, right = y[..., :-1], y[..., 1:]

    def summed(left: np.ndarray, right: np.ndarray, falling: Any, rising: Any) -> np.ndarray:
        lead = (None,) * (y.ndim - 1)
        whole = fftconvolve(left, falling[lead], axes=-1)
        whole += fftconvolve(right, rising[lead], axes=-1)
        return np.asarray(whole[..., n - 2 : 2 * n - 2])

    falling, rising = _interval_integrals(np.arange(-(n - 1), n - 1))
    minus = summed(left, right, falling[::-1], rising[::-1])
    falling, rising = _interval_integrals(2.0 * first + np.arange(2 * n - 2))
    return minus + summed(left[..., ::-1], right[..., ::-1], falling, rising)


def _interval_integrals(first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ∫(1 − t)/(t + a) dt and ∫t/(t + a) dt over 0 ≤ t ≤ 1 for successive a.

    The infinite logarithms of the two intervals beside a = 0 cancel and are left out.
    """
    ends = np.append(first, first[-1] + 1)
    span = np.diff(np.log(np.where(ends == 0.0, 1.0, np.abs(ends))))
    return (first + 1.0) * span - 1.0, 1.0 - first * span


def _hat_integrals(x: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return P∫ φ_j(x')/(x' − s_i) dx' for the hat functions of a grid, ``[n_s, n_x]``."""
    distance = x[None, :] - s[:, None]
    step = np.diff(x)
    scale = float(step.mean())
    log = np.log(np.where(distance == 0.0, 1.0, np.abs(distance) / scale))
    # on [a, b]: ∫dx/(x−s) = L(b) − L(a), ∫(x−s)dx/(x−s) = b − a
    span = log[:, 1:] - log[:, :-1]
    # the infinite logarithms of the two intervals beside s cancel and are left out
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
        return self._real

    @cached_property
    def _real(self) -> Spectrum:
        """The real part, of which n, k and α are made too."""
        loss = self.imaginary()
        grid = np.concatenate([[0.0], loss.wavenumber])

        def transform(y: np.ndarray) -> np.ndarray:
            padded = np.concatenate([np.zeros((*y.shape[:-1], 1)), y], axis=-1)
            return self.high_frequency + kramers_kronig(grid, padded)[..., 1:]

        return replace(
            loss,
            values=transform(loss.values),
            samples=None if loss.samples is None else transform(loss.samples),
            standard_error=None,
            label="real part of the permittivity",
            history=(*loss.history, "Kramers–Kronig"),
        )

    def refractive_index(self) -> Spectrum:
        """Return n(ν̃) = √[(|ε| + ε')/2]."""
        return self.real().combined(
            self.imaginary(),
            lambda a, b: np.sqrt(0.5 * (np.hypot(a, b) + a)),
            label="refractive index",
        )

    def extinction_coefficient(self) -> Spectrum:
        """Return k(ν̃) = √[(|ε| − ε')/2], the imaginary part of the refractive index."""
        return self.real().combined(
            self.imaginary(),
            lambda a, b: b / np.sqrt(2.0 * (np.hypot(a, b) + a)),
            label="extinction coefficient",
        )

    def conductivity(self) -> Spectrum:
        """Return σ(ν̃) = 2πcν̃ ε₀ε''(ν̃) = cε₀ α(ν̃)n(ν̃), S/cm."""
        return self.absorption.weighted(
            CONDUCTIVITY_PER_ABSORPTION, "times cε₀", unit="S/cm", label="conductivity"
        )

    def absorption_coefficient(self) -> Spectrum:
        """Return the Napierian absorption coefficient α(ν̃), cm⁻¹."""
        index = self.refractive_index()
        part = self.absorption.between(float(index.wavenumber[0]) - 1e-9, None)
        return part.combined(index, lambda a, n: a / n, unit="cm⁻¹", label="absorption coefficient")


def dielectric(
    data: Series | Trajectory | Any = None,
    *,
    volume: float,
    high_frequency: float = 1.0,
    quantum_factor: str = "harmonic",
    **options: Unpack[SpectrumOptions],
) -> Dielectric:
    """Return the dielectric function from the dipole moment of a periodic cell.

    Parameters
    ----------
    data, quantum_factor, options
        See :func:`eqcalc.spectra.infrared`; the dipole moment is that of the
        whole cell.
    volume
        Of the cell, Å³.
    high_frequency
        ε(∞), from experiment or from the polarizability.
    """
    scale = _ABSORPTION / positive("volume", volume, unit="Å³")
    density, series = estimated(DIPOLE, data, options, quantum_factor=quantum_factor)
    absorption = density.spectrum(
        [scale],
        unit="cm⁻¹",
        label="absorption coefficient times refractive index",
        spectrum="dielectric",
        volume_angstrom3=volume,
    )
    absorption = with_quantum_factor(absorption, series.temperature, quantum_factor)
    return Dielectric(absorption, volume, series.temperature, high_frequency)
