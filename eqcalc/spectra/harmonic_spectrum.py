# SPDX-License-Identifier: MIT
"""Normal modes with their infrared intensities and Raman activities, and spectra of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eqcalc.spectra.raman_scattering import raman_weight
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import (
    INTENSITY_PER_SQUARED_CHARGE_PER_MASS,
    INTENSITY_PER_SQUARED_DEBYE_PER_MASS,
    angular_frequency_to_wavenumber,
)


@dataclass(frozen=True)
class HarmonicSpectrum:
    """Normal modes and their intensities, in ascending order of wavenumber.

    Parameters
    ----------
    wavenumber
        ``[n_modes]``, cm⁻¹; an imaginary wavenumber is given as negative.
    modes
        ``[n_modes, n_atoms, 3]``, displacement ∂r/∂Q along the normal
        coordinate, amu^−½: √m·mode are orthonormal.
    masses
        ``[n_atoms]``, amu.
    positions
        ``[n_atoms, 3]``, Å.
    dipole_derivative
        ``[n_modes, 3]``, ∂μ/∂Q, e/amu^½, or None.
    polarizability_derivative
        ``[n_modes, 3, 3]``, ∂α/∂Q, Å²/amu^½, or None.
    residual
        ``[5 or 6]``, cm⁻¹: wavenumbers of translation and rotation before they
        were projected out. Values far from zero mean that the geometry is not
        a stationary point.
    """

    wavenumber: np.ndarray
    modes: np.ndarray
    masses: np.ndarray
    positions: np.ndarray
    dipole_derivative: np.ndarray | None
    polarizability_derivative: np.ndarray | None
    residual: np.ndarray

    def __len__(self) -> int:
        return len(self.wavenumber)

    @property
    def reduced_mass(self) -> np.ndarray:
        """Reduced mass of each mode, 1/Σ|∂r/∂Q|², amu."""
        return 1.0 / np.einsum("kna,kna->k", self.modes, self.modes)

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

    def hessian(self) -> np.ndarray:
        """Return the force constants of the vibrations, ``[3 n_atoms, 3 n_atoms]``, eV/Å²."""
        eigenvalues = (
            np.sign(self.wavenumber) * (self.wavenumber / angular_frequency_to_wavenumber(1.0)) ** 2
        )
        weighted = (self.modes * self.masses[:, None]).reshape(len(self), -1)
        return np.asarray((weighted.T * eigenvalues) @ weighted)

    def raman_cross_section(
        self, temperature: float, laser_wavelength: float, **options: bool
    ) -> np.ndarray:
        """Return the differential cross-section of each mode, cm²/sr.

        The options are those of :func:`eqcalc.spectra.raman_scattering.raman_weight`. It
        is nan for imaginary modes.
        """
        real = self.wavenumber > 0.0
        result = np.full(len(self), np.nan)
        weight = raman_weight(self.wavenumber[real], temperature, laser_wavelength, **options)
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
            ``"lorentzian"`` or ``"gaussian"``, of unit area.
        """
        return self._broadened(
            self.infrared_intensity,
            fwhm,
            wavenumber,
            shape,
            "km/mol per cm⁻¹",
            "IR intensity",
        )

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
        return self._broadened(
            self.raman_activity, fwhm, wavenumber, shape, "Å⁴/amu per cm⁻¹", "Raman activity"
        )

    def _broadened(
        self,
        strength: np.ndarray,
        fwhm: float,
        wavenumber: np.ndarray | None,
        shape: str,
        unit: str,
        label: str,
    ) -> Spectrum:
        if not fwhm > 0.0:
            raise ValueError(f"fwhm: expected a positive width in cm⁻¹, got {fwhm}")
        if wavenumber is None:
            upper = max(float(np.max(self.wavenumber, initial=0.0)), 100.0) + 20.0 * fwhm
            wavenumber = np.linspace(0.0, upper, int(np.ceil(10.0 * upper / fwhm)) + 1)
        real = self.wavenumber > 0.0
        distance = np.asarray(wavenumber)[:, None] - self.wavenumber[real]
        if shape == "lorentzian":
            line = 0.5 * fwhm / np.pi / (distance**2 + 0.25 * fwhm**2)
        elif shape == "gaussian":
            c = 4.0 * np.log(2.0) / fwhm**2
            line = np.sqrt(c / np.pi) * np.exp(-c * distance**2)
        else:
            raise ValueError(f"shape: expected 'lorentzian' or 'gaussian', got {shape!r}")
        return Spectrum(
            wavenumber=np.asarray(wavenumber, dtype=float),
            values=line @ strength[real],
            unit=unit,
            label=label,
            provenance={
                "spectrum": "double-harmonic",
                "line_shape": shape,
                "resolution_cm-1": fwhm,
            },
        )

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
        widths = [max(map(len, (h, u, *c))) for h, u, c in zip(heads, units, columns, strict=True)]
        rows = [heads, units, *zip(*columns, strict=True)]
        return "\n".join(
            "  ".join(text.rjust(w) for text, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

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
