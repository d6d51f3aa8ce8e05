# SPDX-License-Identifier: MIT
"""Double-harmonic spectra: normal modes with infrared intensities and Raman activities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eqcalc.facts import aligned
from eqcalc.normal_modes import NormalModes
from eqcalc.spectra.lines import LINE_SHAPES
from eqcalc.spectra.raman_scattering import stokes_factor
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import (
    INTENSITY_PER_SQUARED_CHARGE_PER_MASS,
    INTENSITY_PER_SQUARED_DEBYE_PER_MASS,
    conversion_factor,
)
from eqcalc.validation import finite, one_of, positive
from eqcalc.validation import shape as shaped


def harmonic_analysis(
    positions: np.ndarray,
    masses: np.ndarray,
    hessian: np.ndarray,
    dipole_derivative: np.ndarray | None = None,
    polarizability_derivative: np.ndarray | None = None,
) -> HarmonicSpectrum:
    """Return the normal modes of a stationary point and their intensities.

    Parameters
    ----------
    positions, masses, hessian
        See :func:`eqcalc.normal_modes.NormalModes.from_hessian`.
    dipole_derivative
        ``[n_atoms, 3, 3]``, ∂μ_b/∂r_ia at [i, a, b], e.
    polarizability_derivative
        ``[n_atoms, 3, 3, 3]``, ∂α_bc/∂r_ia at [i, a, b, c], e²Å/eV.

    Raises
    ------
    ValueError
        A shape is wrong, a value is non-finite, or the Hessian is not symmetric.
    """
    modes = NormalModes.from_hessian(positions, masses, hessian)
    n = len(modes.masses)
    dipole = polarizability = None
    if dipole_derivative is not None:
        tensor = finite("dipole_derivative", dipole_derivative)
        shaped("dipole_derivative", tensor, (n, 3, 3))
        dipole = np.einsum("kia,iab->kb", modes.vectors, tensor)
    if polarizability_derivative is not None:
        tensor = finite("polarizability_derivative", polarizability_derivative)
        shaped("polarizability_derivative", tensor, (n, 3, 3, 3))
        tensor = 0.5 * (tensor + tensor.swapaxes(-1, -2))
        polarizability = np.einsum("kia,iabc->kbc", modes.vectors, tensor)
        polarizability = polarizability * conversion_factor("e^2*Å^2/eV", "Å^3")
    return HarmonicSpectrum(
        **vars(modes), dipole_derivative=dipole, polarizability_derivative=polarizability
    )


@dataclass(frozen=True, repr=False)
class HarmonicSpectrum(NormalModes):
    """Normal modes and their intensities, in ascending order of wavenumber.

    Parameters
    ----------
    dipole_derivative
        ``[n_modes, 3]``, ∂μ/∂Q, e/amu^½, or None.
    polarizability_derivative
        ``[n_modes, 3, 3]``, ∂α/∂Q, Å²/amu^½, or None.
    """

    dipole_derivative: np.ndarray | None = None
    polarizability_derivative: np.ndarray | None = None

    @property
    def infrared_intensity(self) -> np.ndarray:
        """Integrated absorption of each mode, km/mol."""
        derivative = self._dipole()
        return INTENSITY_PER_SQUARED_CHARGE_PER_MASS * np.einsum("ka,ka->k", derivative, derivative)

    @property
    def infrared_activity(self) -> np.ndarray:
        """|∂μ/∂Q|² of each mode, (D/Å)²/amu."""
        return self.infrared_intensity / INTENSITY_PER_SQUARED_DEBYE_PER_MASS

    @property
    def isotropic(self) -> np.ndarray:
        """a'² of each mode, Å⁴/amu."""
        return np.asarray((np.einsum("kaa->k", self._polarizability()) / 3.0) ** 2)

    @property
    def anisotropic(self) -> np.ndarray:
        """γ'² of each mode, Å⁴/amu."""
        derivative = self._polarizability()
        square = np.einsum("kab,kab->k", derivative, derivative)
        return np.asarray(1.5 * (square - 3.0 * self.isotropic))

    @property
    def raman_activity(self) -> np.ndarray:
        """45a'² + 7γ'² of each mode, Å⁴/amu."""
        return 45.0 * self.isotropic + 7.0 * self.anisotropic

    @property
    def depolarization_ratio(self) -> np.ndarray:
        """ρ = 3γ'²/(45a'² + 4γ'²) of each mode; nan for a mode without Raman activity."""
        lower = 45.0 * self.isotropic + 4.0 * self.anisotropic
        out = np.full(len(self), np.nan)
        return np.divide(3.0 * self.anisotropic, lower, out=out, where=lower > 1e-12)

    def raman_cross_section(
        self, temperature: float, laser_wavelength: float, **options: bool
    ) -> np.ndarray:
        """Return the differential cross-section of each mode, cm²/sr.

        The options are those of :func:`eqcalc.spectra.raman_scattering.stokes_factor`. It
        is nan for imaginary modes.
        """
        real = self.wavenumber > 0.0
        result = np.full(len(self), np.nan)
        weight = stokes_factor(self.wavenumber[real], temperature, laser_wavelength, **options)
        result[real] = weight * self.raman_activity[real]
        return result

    def infrared(
        self,
        fwhm: float = 10.0,
        *,
        wavenumber: np.ndarray | None = None,
        shape: str = "lorentzian",
    ) -> Spectrum:
        """Return the broadened infrared spectrum, km/mol per cm⁻¹.

        Parameters
        ----------
        fwhm
            Full width at half maximum of each line, cm⁻¹.
        wavenumber
            Axis, cm⁻¹; by default from zero to beyond the highest mode.
        shape
            ``"lorentzian"``, ``"gaussian"`` or ``"triangular"``, of unit area.
        """
        broadened = self._broadened(self.infrared_intensity, fwhm, wavenumber, shape)
        return replace(broadened, unit="km/mol per cm⁻¹", label="IR intensity")

    def raman(
        self,
        fwhm: float = 10.0,
        *,
        wavenumber: np.ndarray | None = None,
        shape: str = "lorentzian",
    ) -> Spectrum:
        """Return the broadened Raman activity 45a'² + 7γ'², Å⁴/amu per cm⁻¹.

        The arguments are those of :meth:`infrared`.
        """
        broadened = self._broadened(self.raman_activity, fwhm, wavenumber, shape)
        return replace(broadened, unit="Å⁴/amu per cm⁻¹", label="Raman activity")

    def _broadened(
        self, strength: np.ndarray, fwhm: float, wavenumber: np.ndarray | None, shape: str
    ) -> Spectrum:
        """Return lines of a shape and strength at the real wavenumbers."""
        positive("fwhm", fwhm, unit="cm⁻¹")
        line_shape = LINE_SHAPES[one_of("shape", shape, LINE_SHAPES)]
        if wavenumber is None:
            upper = max(float(np.max(self.wavenumber, initial=0.0)), 100.0) + 20.0 * fwhm
            wavenumber = np.linspace(0.0, upper, int(np.ceil(10.0 * upper / fwhm)) + 1)
        real = self.wavenumber > 0.0
        line = line_shape(np.asarray(wavenumber)[:, None] - self.wavenumber[real], fwhm)
        record = {"spectrum": "double-harmonic", "line_shape": shape, "resolution_cm-1": fwhm}
        axis = np.asarray(wavenumber, dtype=float)
        return Spectrum(axis, line @ strength[real], "", "", provenance=record)

    def table(self) -> str:
        """Return the modes as text: wavenumber, reduced mass, intensities, depolarization."""
        heads = ["mode", "ν̃/cm⁻¹", "μ/amu"]
        units = ["", "", ""]
        columns: list[list[str]] = [
            [str(k + 1) for k in range(len(self))],
            [f"{abs(nu):.2f}{'i' if nu < 0 else ''}" for nu in self.wavenumber],
            [f"{m:.3f}" for m in self.reduced_mass],
        ]
        if self.dipole_derivative is not None:
            heads += ["IR", "IR"]
            units += ["(D/Å)²/amu", "km/mol"]
            columns.append([f"{a:.4f}" for a in self.infrared_activity])
            columns.append([f"{a:.3f}" for a in self.infrared_intensity])
        if self.polarizability_derivative is not None:
            heads += ["Raman", "ρ"]
            units += ["Å⁴/amu", ""]
            columns.append([f"{a:.3f}" for a in self.raman_activity])
            columns.append([f"{r:.4f}" for r in self.depolarization_ratio])
        return aligned([heads, units, *zip(*columns, strict=True)])

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON-able lists."""
        result: dict[str, Any] = {
            "wavenumber_cm-1": self.wavenumber.tolist(),
            "reduced_mass_amu": self.reduced_mass.tolist(),
            "residual_cm-1": self.residual.tolist(),
        }
        if self.dipole_derivative is not None:
            result["infrared_km/mol"] = self.infrared_intensity.tolist()
        if self.polarizability_derivative is not None:
            result["raman_angstrom4/amu"] = self.raman_activity.tolist()
            result["depolarization_ratio"] = [
                None if np.isnan(r) else float(r) for r in self.depolarization_ratio
            ]
        return result

    def _dipole(self) -> np.ndarray:
        if self.dipole_derivative is None:
            raise ValueError("no infrared intensities: the dipole derivative was not given")
        return self.dipole_derivative

    def _polarizability(self) -> np.ndarray:
        if self.polarizability_derivative is None:
            raise ValueError("no Raman activities: the polarizability derivative was not given")
        return self.polarizability_derivative
