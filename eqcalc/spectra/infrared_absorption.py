# SPDX-License-Identifier: MIT
"""Infrared absorption in absolute units from a dipole moment.

With μ the dipole moment of one molecule and F its classical or Kubo-transformed
correlation function, linear response gives the absorption per molecule of an
isotropic gas (refractive index 1)

    σ(ν̃) = 1/(6 ε₀ c k_B T) ∫ ⟨μ̇(0)·μ̇(t)⟩ cos(2πcν̃t) dt,

so that the integral over a band is the N_A/(12 ε₀c²) Σ|∂μ/∂Q|² of the
double-harmonic approximation at any temperature. This contains the harmonic
quantum factor: multiplying by x/(1 − e^−x) would count it twice. For RPMD and
CMD the same formula holds with the Kubo transform approximated (Habershon,
Fanourgakis and Manolopoulos, J. Chem. Phys. 129, 074501 (2008)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eqcalc.normal_modes import (
    LINEAR_IN_MOTION,
    atomic_masses,
    centred,
    inverse_inertia,
    is_linear,
)
from eqcalc.spectra.estimation import Density
from eqcalc.spectra.estimator.statistics import Estimate
from eqcalc.spectra.frames import LABORATORY
from eqcalc.spectra.observable import (
    Observable,
    SpectrumOptions,
    estimated,
    with_beads_warning,
)
from eqcalc.spectra.quantum_factors import exact_factor, with_quantum_factor
from eqcalc.spectra.series import Series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.trajectory import Trajectory
from eqcalc.units import AVOGADRO, INTENSITY_PER_SQUARED_CHARGE_PER_MASS
from eqcalc.validation import InvalidInputError, array_of, count, instance, one_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: The dipole moment, of a molecule or of a cell.
DIPOLE = Observable("dipole", [(3,)], "e*Å", 3)
#: Decadic absorption coefficient [L mol⁻¹ cm⁻¹] of 1 km/mol per cm⁻¹.
_MOLAR = 100.0 / np.log(10.0)
#: Cross-section [cm²] of 1 km/mol per cm⁻¹.
_CROSS_SECTION = 1e5 / AVOGADRO

#: Infrared quantities: unit, label, factor from km/mol per cm⁻¹.
INFRARED_QUANTITIES: dict[str, tuple[str, str, float]] = {
    "intensity": ("km/mol per cm⁻¹", "IR intensity", 1.0),
    "molar absorption coefficient": ("L/(mol cm)", "molar absorption coefficient", _MOLAR),
    "cross-section": ("cm²", "absorption cross-section", _CROSS_SECTION),
}


def infrared(
    data: Series | Trajectory | Any = None,
    *,
    quantity: str = "intensity",
    quantum_factor: str = "harmonic",
    n_molecules: int = 1,
    frame: str = LABORATORY,
    reference: np.ndarray | None = None,
    **options: Unpack[SpectrumOptions],
) -> Spectrum:
    """Return the infrared absorption spectrum of a dipole moment.

    Parameters
    ----------
    data
        A trajectory with the observable ``"dipole"`` (or ``"dipole_rate"``), a
        :class:`eqcalc.spectra.Series`, or the dipole moment: ``[n_replicas, n_frames, 3]``,
        one replica ``[n_frames, 3]``, or replicas of different length, a list or by name.
        For ring polymers, the mean over the beads of the dipole moment of each.
    quantity
        ``"intensity"`` [km/mol per cm⁻¹], ``"molar absorption coefficient"``
        [L mol⁻¹ cm⁻¹, decadic] or ``"cross-section"`` [cm² per molecule].
    quantum_factor
        ``"harmonic"`` (already contained), ``"standard"``, ``"schofield"`` or
        ``"none"``; see :mod:`eqcalc.spectra.quantum_factors`.
    n_molecules
        Number of molecules of the dipole moment; the result is per molecule.
    frame
        ``"laboratory"`` keeps the rotational envelope; ``"eckart"`` and ``"corotating"`` remove the
        rotation of the molecule (positions are required): see :mod:`eqcalc.spectra.frames`.
    reference
        ``[n_atoms, 3]``, Å, geometry of the Eckart frame; the first of the
        series by default.
    options
        For arrays: ``interval`` [fs], ``temperature`` [K] and ``unit`` are needed; ``method``,
        ``timestep`` and ``n_beads`` are as in :class:`eqcalc.spectra.Series`; and
        ``derivative``, the time derivative in the same forms (``"e*Å/fs"``), instead of `data`.
        A trajectory takes ``temperature``, and ``derivative=False`` for finite differences of
        the dipole moment even if its derivative was recorded.
        For all: window, resolution, errors, … of :class:`eqcalc.spectra.Estimation`.

    Raises
    ------
    InvalidInputError
        The input is incomplete, has a wrong shape, repeats frames, jumps or has equal replicas, or
        a second quantum correction is requested.
    """
    one_of("quantity", quantity, INFRARED_QUANTITIES)
    count("n_molecules", n_molecules)
    density, series = estimated(
        DIPOLE,
        data,
        options,
        quantum_factor=quantum_factor,
        frame=frame,
        reference=reference,
    )
    return infrared_result(density, series, quantity, quantum_factor, n_molecules, frame)


def infrared_result(
    density: Density,
    series: Series,
    quantity: str = "intensity",
    quantum_factor: str = "harmonic",
    n_molecules: int = 1,
    frame: str = "laboratory",
) -> Spectrum:
    """Return the infrared spectrum of the spectral density of a dipole moment in e Å."""
    scale = INTENSITY_PER_SQUARED_CHARGE_PER_MASS / n_molecules
    unit, label, _ = INFRARED_QUANTITIES["intensity"]
    spectrum = density.spectrum(
        [scale],
        unit=unit,
        label=label,
        spectrum="infrared",
        n_molecules=n_molecules,
        frame=frame,
    )
    spectrum = with_beads_warning(spectrum, series)
    spectrum = with_quantum_factor(spectrum, series.temperature, quantum_factor)
    return spectrum if quantity == "intensity" else convert_infrared(spectrum, quantity)


def convert_infrared(spectrum: Spectrum, quantity: str) -> Spectrum:
    """Convert an infrared spectrum to another of :data:`INFRARED_QUANTITIES`.

    Raises
    ------
    InvalidInputError
        There is no such quantity, or the spectrum is not an infrared one.
    """
    unit, label, factor = INFRARED_QUANTITIES[one_of("quantity", quantity, INFRARED_QUANTITIES)]
    known = {unit: own for unit, _, own in INFRARED_QUANTITIES.values()}
    given = instance("spectrum", spectrum, Spectrum).unit
    own = known[one_of("unit of the spectrum", given, known)]
    return spectrum.scaled(factor / own, unit=unit, label=label)


# --- sum rule ------------------------------------------------------------------------


def sum_rule(dipole_derivative: np.ndarray, masses: np.ndarray) -> Estimate:
    """Return the exact integrated absorption N_A/(12ε₀c²) ⟨Σ|∂μ/∂r|²/m⟩, km/mol.

    It holds for classical and for quantum nuclei at any temperature, rotation
    included (translation only if the molecule is charged). For ring polymers
    the samples are those of all beads.

    Parameters
    ----------
    dipole_derivative
        ``[n_samples, n_atoms, 3, 3]``, ∂μ/∂r of independent geometries, in e.
        The order of the last two axes does not matter.
    masses
        ``[n_atoms]``, amu.
    """
    masses = atomic_masses(masses)
    form = ("n_samples", len(masses), 3, 3)
    derivative = array_of("dipole_derivative", dipole_derivative, form)
    if not len(derivative):
        raise InvalidInputError(key="dipole_derivative", value=[], expected="one geometry or more")
    totals = INTENSITY_PER_SQUARED_CHARGE_PER_MASS * np.einsum(
        "sabc,a->s", derivative**2, 1.0 / masses
    )
    return Estimate.of_mean(totals)


def without_rotation(
    dipole_derivative: np.ndarray, positions: np.ndarray, masses: np.ndarray
) -> np.ndarray:
    """Return ∂μ/∂r without the contribution of overall rotation.

    The :func:`sum_rule` of the result is that of classical nuclei without angular
    momentum. A linear molecule does not rotate about its axis.

    Parameters
    ----------
    dipole_derivative
        ``[n_samples, n_atoms, 3 (a), 3 (c)]``, ∂μ_c/∂r_a, in e.
    positions
        ``[n_samples, n_atoms, 3]``, Å, the geometries it belongs to.
    masses
        ``[n_atoms]``, amu.
    """
    masses = atomic_masses(masses)
    form = ("n_samples", len(masses), 3, 3)
    derivative = array_of("dipole_derivative", dipole_derivative, form)
    positions = array_of("positions", positions, (len(derivative), len(masses), 3))
    linear = is_linear(positions, masses, LINEAR_IN_MOTION)
    inverse = inverse_inertia(positions, masses, linear=linear)
    # displacements of rotations about x, y and z, and their effect on the dipole moment
    turns = np.cross(np.eye(3)[:, None], centred(positions, masses)[:, None])
    slopes = np.einsum("skia,siac->skc", turns, derivative)
    rotation = np.einsum("skia,skl,slc->siac", turns, inverse, slopes, optimize=True)
    return derivative - masses[:, None, None] * rotation


def sum_rule_ratio(spectrum: Spectrum, expected: Estimate) -> Estimate:
    """Return the ratio of an infrared spectrum's integral to the exact one, with its error.

    The rule holds with the quantum factor that is exact for the dynamics, which replaces any other:
    the harmonic one, or for quantum energies in classical dynamics the standard one. The error is
    nan if that of either integral is unknown.

    A ratio away from 1 by more than a few of its errors means a wrong
    temperature, a series that is not in equilibrium or not sampled finely
    enough, or a wrong unit.
    """
    instance("expected", expected, Estimate, "an estimate, of sum_rule")
    record = instance("spectrum", spectrum, Spectrum).provenance
    exact = exact_factor(record.get("correlation"))
    if record.get("quantum_factor", exact) != exact:
        spectrum = with_quantum_factor(spectrum, record["temperature_K"], exact)
    found = convert_infrared(spectrum, "intensity").integrate()
    ratio = found.value / expected.value
    relative = np.hypot(found.error / found.value, expected.error / expected.value)
    return Estimate(ratio, abs(ratio) * float(relative), spectrum.n_independent)
