# SPDX-License-Identifier: MIT
"""Lines with infrared intensities and Raman activities: normal modes, or quantum transitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from eqcalc.facts import Column, column, jsonable
from eqcalc.spectra.lines import LINE_SHAPES
from eqcalc.spectra.raman_scattering import stokes_factor
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import (
    INTENSITY_PER_SQUARED_CHARGE_PER_MASS,
    INTENSITY_PER_SQUARED_DEBYE_PER_MASS,
)
from eqcalc.validation import InvalidInputError, one_of, positive


class Sticks:
    """Intensities of lines, from derivatives of the dipole moment and the polarizability.

    A class of lines has the attributes below. A quantum transition has the derivatives of the
    harmonic mode with the same wavenumber ν and transition moments, ∂X/∂Q = √(2ω/ħ) ⟨0|X|f⟩.

    Attributes
    ----------
    wavenumber
        ``[n_lines]``, cm⁻¹; an imaginary wavenumber is given as negative.
    dipole_derivative
        ``[n_lines, 3]``, ∂μ/∂Q, e/amu^½, or None.
    polarizability_derivative
        ``[n_lines, 3, 3]``, ∂α/∂Q, Å²/amu^½, or None.
    kind
        What the lines are; recorded in broadened spectra.
    provenance
        Molecule, model and level of theory, JSON-able, if known; recorded likewise.
    """

    kind: ClassVar[str]

    # attributes of a subclass, some of them properties
    wavenumber: Any
    dipole_derivative: Any
    polarizability_derivative: Any

    @property
    def known(self) -> frozenset[str]:
        """Of ``"infrared"`` and ``"raman"``, those whose intensities are known."""
        derivatives = {"infrared": self.dipole_derivative, "raman": self.polarizability_derivative}
        return frozenset(name for name, value in derivatives.items() if value is not None)

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
        out = np.full(len(self.wavenumber), np.nan)
        return np.divide(3.0 * self.anisotropic, lower, out=out, where=lower > 1e-12)

    def raman_cross_section(
        self, temperature: float, laser_wavelength: float, **options: bool
    ) -> np.ndarray:
        """Return the differential cross-section of each mode, cm²/sr.

        The options are those of :func:`eqcalc.spectra.raman_scattering.stokes_factor`. It
        is nan for imaginary modes.
        """
        real = self.wavenumber > 0.0
        result = np.full(len(self.wavenumber), np.nan)
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

    def intensities(self) -> dict[str, list[float | None]]:
        """Return the intensities that are known as JSON-able lists."""
        result: dict[str, list[float | None]] = {}
        if "infrared" in self.known:
            result["infrared_km/mol"] = self.infrared_intensity.tolist()
        if "raman" in self.known:
            result["raman_angstrom4/amu"] = self.raman_activity.tolist()
        if self.polarizability_derivative is not None:
            result["depolarization_ratio"] = jsonable(self.depolarization_ratio)
        return result

    def intensity_columns(self, digits: int) -> list[Column]:
        """Return the columns of a table: intensities and, to some digits, depolarization ratios."""
        columns = []
        if self.dipole_derivative is not None:
            columns.append(column("IR", "km/mol", self.infrared_intensity, ".3f"))
        if self.polarizability_derivative is not None:
            columns.append(column("Raman", "Å⁴/amu", self.raman_activity, ".3f"))
            columns.append(column("ρ", "", self.depolarization_ratio, f".{digits}f"))
        return columns

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
        record = {"spectrum": self.kind, "line_shape": shape, "resolution_cm-1": fwhm}
        source = getattr(self, "provenance", {})
        record |= {"source": source} if source else {}
        axis = np.asarray(wavenumber, dtype=float)
        return Spectrum(axis, line @ strength[real], "", "", provenance=record)

    def _dipole(self) -> np.ndarray:
        if self.dipole_derivative is None:
            raise missing_intensities("infrared intensities", "dipole")
        return self.dipole_derivative

    def _polarizability(self) -> np.ndarray:
        if self.polarizability_derivative is None:
            raise missing_intensities("Raman activities", "polarizability")
        return self.polarizability_derivative


def missing_intensities(what: str, quantity: str) -> InvalidInputError:
    """Return the error of lines without these intensities."""
    return InvalidInputError(
        f"no {what}: the {quantity} derivative was not given",
        key=f"{quantity}_derivative",
        expected=f"that of a model which predicts the {quantity}",
        advice="take one, or train one on labels with it (eqcalc label, eqcalc train)",
    )
