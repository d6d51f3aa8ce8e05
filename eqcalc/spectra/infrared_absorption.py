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

from typing import Any

import numpy as np

from eqcalc.spectra.estimator.estimation import Density, Estimation, beads_warning, grouped
from eqcalc.spectra.estimator.statistics import Estimate
from eqcalc.spectra.frames import in_frame
from eqcalc.spectra.quantum_factors import relative_quantum_factor
from eqcalc.spectra.series import Series, TrajectoryLike, read_series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import AVOGADRO, INTENSITY_PER_SQUARED_CHARGE_PER_MASS

#: Decadic absorption coefficient [L mol⁻¹ cm⁻¹] of 1 km/mol per cm⁻¹.
_MOLAR = 100.0 / np.log(10.0)
#: Cross-section [cm²] of 1 km/mol per cm⁻¹.
_CROSS_SECTION = 1e5 / AVOGADRO
#: A molecule whose smallest moment of inertia is below this fraction of the largest is linear.
_LINEAR = 0.01

#: What an infrared spectrum can be: unit, label, factor from km/mol per cm⁻¹.
INFRARED_QUANTITIES: dict[str, tuple[str, str, float]] = {
    "intensity": ("km/mol per cm⁻¹", "IR intensity", 1.0),
    "molar absorption coefficient": ("L/(mol cm)", "molar absorption coefficient", _MOLAR),
    "cross-section": ("cm²", "absorption cross-section", _CROSS_SECTION),
}


def _quantity(name: str) -> tuple[str, str, float]:
    try:
        return INFRARED_QUANTITIES[name]
    except KeyError:
        known = ", ".join(repr(k) for k in INFRARED_QUANTITIES)
        raise ValueError(f"unknown infrared quantity {name!r}; known: {known}") from None


def infrared(
    data: TrajectoryLike | Any = None,
    *,
    derivative: Any = None,
    interval: float | None = None,
    temperature: float | None = None,
    unit: str | None = None,
    method: str | None = None,
    timestep: float | None = None,
    n_beads: int | None = None,
    quantity: str = "intensity",
    quantum_factor: str = "harmonic",
    n_molecules: int = 1,
    frame: str = "laboratory",
    reference: np.ndarray | None = None,
    **estimation: Any,
) -> Spectrum:
    """Return the infrared absorption spectrum of a dipole moment.

    Parameters
    ----------
    data
        A trajectory with the observable ``"dipole"`` (or ``"dipole_rate"``), or
        the dipole moment: ``[n_replicas, n_frames, 3]``, one replica
        ``[n_frames, 3]``, or replicas of different length, a list or by name.
        For ring polymers, the mean over the beads of the dipole moment of each.
    derivative
        The time derivative of the dipole moment in the same forms, instead of
        `data`. False: take finite differences of a trajectory's dipole moment
        even if its derivative was recorded.
    interval
        Time between frames, fs. Arrays only.
    temperature
        K. For a trajectory, its own by default.
    unit
        Unit of the arrays, such as ``"e*Å"`` or ``"D"``; with `derivative`,
        ``"e*Å/fs"`` or ``"D/fs"``.
    method
        Name of the dynamics (``"NVE"``, ``"T-RPMD"``, …). Arrays only.
    timestep
        Step of the integrator, fs, for the corrections that need it. Arrays only.
    n_beads
        Beads behind the mean of ring-polymer dynamics, for what has to be
        warned of. Arrays only.
    quantity
        ``"intensity"`` [km/mol per cm⁻¹], ``"molar absorption coefficient"``
        [L mol⁻¹ cm⁻¹, decadic] or ``"cross-section"`` [cm² per molecule].
    quantum_factor
        ``"harmonic"`` (contained already), ``"standard"``, ``"schofield"`` or
        ``"none"``; see :mod:`eqcalc.spectra.quantum_factors`.
    n_molecules
        Molecules the dipole moment belongs to; the result is per molecule.
    frame
        ``"laboratory"`` keeps the rotational envelope; ``"eckart"`` and
        ``"corotating"`` take the rotation of the molecule out (trajectories
        with positions only): see :mod:`eqcalc.spectra.frames`.
    reference
        ``[n_atoms, 3]``, Å, geometry of the Eckart frame; the first of the
        trajectory by default.
    estimation
        Window, resolution, errors: see :class:`eqcalc.spectra.Estimation`.

    Raises
    ------
    TypeError, ValueError
        The input is incomplete, has a wrong shape, repeats frames, jumps, has
        equal replicas, or asks for a second quantum correction.
    """
    _quantity(quantity)
    if n_molecules < 1:
        raise ValueError(f"n_molecules must be at least 1, got {n_molecules}")
    series = read_series(
        data,
        derivative if frame == "laboratory" else False,
        name="dipole",
        shapes=[(3,)],
        interval=interval,
        temperature=temperature,
        unit=unit,
        method=method,
        timestep=timestep,
        n_beads=n_beads,
    )
    series = in_frame(series, data, frame, reference)
    relative_quantum_factor(np.zeros(1), series.temperature, quantum_factor, series.method)
    signals = series.signals("e*Å", 3)
    density = Estimation(**estimation).density(series, signals, grouped(slice(0, 3)))
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
    unit, label, factor = _quantity(quantity)
    scale = INTENSITY_PER_SQUARED_CHARGE_PER_MASS / n_molecules
    values = density.values[0] * scale
    samples = None if density.samples is None else density.samples[:, 0] * scale
    spectrum = Spectrum(
        wavenumber=density.wavenumber,
        values=values,
        unit=INFRARED_QUANTITIES["intensity"][0],
        label=INFRARED_QUANTITIES["intensity"][1],
        samples=samples,
        n_independent=density.n_independent,
        provenance={
            "spectrum": "infrared",
            "quantum_factor": quantum_factor,
            "n_molecules": n_molecules,
            "frame": frame,
            **density.provenance,
        },
        warnings=density.warnings + beads_warning(series, density.wavenumber, values, samples),
    )
    if quantum_factor != "harmonic":
        relative = relative_quantum_factor(
            spectrum.wavenumber, series.temperature, quantum_factor, series.method
        )
        spectrum = spectrum.weighted(relative, f"quantum factor {quantum_factor} / harmonic")
    return spectrum if factor == 1.0 else spectrum.scaled(factor, unit=unit, label=label)


def convert_infrared(spectrum: Spectrum, quantity: str) -> Spectrum:
    """Return an infrared spectrum as another of :data:`INFRARED_QUANTITIES`."""
    unit, label, factor = _quantity(quantity)
    for known, _, own in INFRARED_QUANTITIES.values():
        if spectrum.unit == known:
            return spectrum.scaled(factor / own, unit=unit, label=label)
    raise ValueError(f"not an infrared spectrum in absolute units: {spectrum.unit!r}")


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
    derivative = np.asarray(dipole_derivative, dtype=float)
    masses = np.asarray(masses, dtype=float)
    if derivative.ndim != 4 or derivative.shape[1:] != (len(masses), 3, 3):
        raise ValueError(
            f"dipole_derivative: expected shape [n_samples, {len(masses)}, 3, 3], "
            f"got {derivative.shape}"
        )
    totals = INTENSITY_PER_SQUARED_CHARGE_PER_MASS * np.einsum(
        "sabc,a->s", derivative**2, 1.0 / masses
    )
    n = len(totals)
    error = float(totals.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Estimate(float(totals.mean()), error)


def without_rotation(
    dipole_derivative: np.ndarray, positions: np.ndarray, masses: np.ndarray
) -> np.ndarray:
    """Return ∂μ/∂r without what turning the molecule as a whole does to the dipole moment.

    The :func:`sum_rule` of the result is that of classical nuclei without angular
    momentum. A linear molecule does not turn about its axis.

    Parameters
    ----------
    dipole_derivative
        ``[n_samples, n_atoms, 3 (a), 3 (c)]``, ∂μ_c/∂r_a, in e.
    positions
        ``[n_samples, n_atoms, 3]``, Å, the geometries it belongs to.
    masses
        ``[n_atoms]``, amu.
    """
    masses = np.asarray(masses, dtype=float)
    centre = np.einsum("sia,i->sa", positions, masses) / masses.sum()
    centred = np.sqrt(masses)[:, None] * (positions - centre[:, None])
    products = np.einsum("sia,sib->sab", centred, centred)
    inertia = np.trace(products, axis1=1, axis2=2)[:, None, None] * np.eye(3) - products
    moments, axes = np.linalg.eigh(inertia)
    # mass-weighted displacements of turns about the principal axes, each of norm √moment
    turns = np.cross(np.swapaxes(axes, 1, 2)[:, :, None], centred[:, None])
    kept = moments > 1e-9 * moments.max(axis=1, keepdims=True)
    # bending vibrations of a linear molecule turn it a bit about its axis
    if moments.min(axis=1).mean() < _LINEAR * moments.max(axis=1).mean():
        kept &= moments > moments.min(axis=1, keepdims=True)
    weight = np.divide(1.0, moments, out=np.zeros_like(moments), where=kept)
    root = np.sqrt(masses)[:, None, None]
    weighted = np.asarray(dipole_derivative, dtype=float) / root
    slopes = np.einsum("skia,siac,sk->skc", turns, weighted, weight)
    return root * (weighted - np.einsum("skia,skc->siac", turns, slopes))


def _with_harmonic_factor(spectrum: Spectrum) -> Spectrum:
    """Return an infrared spectrum with the harmonic quantum factor, whatever it has."""
    record = spectrum.provenance
    name = record.get("quantum_factor", "harmonic")
    if name == "harmonic":
        return spectrum
    relative = relative_quantum_factor(spectrum.wavenumber, record["temperature_K"], name)
    return spectrum.weighted(1.0 / relative, f"quantum factor harmonic / {name}")


def sum_rule_ratio(spectrum: Spectrum, expected: Estimate) -> Estimate:
    """Return the integral of an infrared spectrum over the exact one, with its error.

    The rule holds with the harmonic quantum factor; any other that the spectrum has is
    replaced by it. The error is nan if one of the two is not known.

    A ratio away from 1 by more than a few of its errors means a wrong
    temperature, a series that is not in equilibrium or not sampled finely
    enough, or a wrong unit.
    """
    found = convert_infrared(_with_harmonic_factor(spectrum), "intensity").integrate()
    ratio = found.value / expected.value
    relative = np.hypot(found.error / found.value, expected.error / expected.value)
    return Estimate(ratio, abs(ratio) * float(relative))
