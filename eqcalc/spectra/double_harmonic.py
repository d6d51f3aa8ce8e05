# SPDX-License-Identifier: MIT
"""Double-harmonic spectra: normal modes with infrared intensities and Raman activities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from eqcalc.facts import aligned, preformatted
from eqcalc.normal_modes import NormalModes
from eqcalc.spectra.sticks import Sticks, missing_intensities
from eqcalc.units import conversion_factor
from eqcalc.validation import finite
from eqcalc.validation import shape as shaped

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def harmonic_analysis(
    positions: np.ndarray,
    masses: np.ndarray,
    hessian: np.ndarray,
    dipole_derivative: np.ndarray | None = None,
    polarizability_derivative: np.ndarray | None = None,
    provenance: dict[str, Any] | None = None,
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
    provenance
        Molecule, model and level of theory, JSON-able: the ``"source"`` of its spectra.

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
        **vars(modes),
        dipole_derivative=dipole,
        polarizability_derivative=polarizability,
        provenance=provenance or {},
    )


@dataclass(frozen=True, repr=False)
class HarmonicSpectrum(NormalModes, Sticks):
    """Normal modes and their intensities, in ascending order of wavenumber.

    Parameters
    ----------
    dipole_derivative
        ``[n_modes, 3]``, ∂μ/∂Q, e/amu^½, or None.
    polarizability_derivative
        ``[n_modes, 3, 3]``, ∂α/∂Q, Å²/amu^½, or None.
    provenance
        Molecule, model and level of theory, JSON-able.
    wavenumber_error
        ``[n_modes]``, standard deviation of the wavenumbers that the model states [cm⁻¹], or None.
    """

    dipole_derivative: np.ndarray | None = None
    polarizability_derivative: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    wavenumber_error: np.ndarray | None = None
    kind: ClassVar[str] = "double-harmonic"

    def table(self) -> str:
        """Return the modes as text: wavenumber, reduced mass, intensities, depolarization."""
        heads = ["mode", "ν̃/cm⁻¹", "μ/amu"]
        units = ["", "", ""]
        columns: list[list[str]] = [
            [str(k + 1) for k in range(len(self))],
            [f"{abs(nu):.2f}{'i' if nu < 0 else ''}" for nu in self.wavenumber],
            [f"{m:.3f}" for m in self.reduced_mass],
        ]
        if self.wavenumber_error is not None:
            heads.insert(2, "±")
            units.insert(2, "")
            columns.insert(2, [f"{error:.1f}" for error in self.wavenumber_error])
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

    def _repr_html_(self) -> str:
        return preformatted(self.table())

    def plot(self, **options: Any) -> Figure:
        """Return a figure, which notebooks display; see :func:`~eqcalc.spectra.plot_harmonic`."""
        from eqcalc.spectra import plot_harmonic

        return plot_harmonic(self, **options)

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON-able lists."""
        return {
            "wavenumber_cm-1": self.wavenumber.tolist(),
            "reduced_mass_amu": self.reduced_mass.tolist(),
            "residual_cm-1": self.residual.tolist(),
            **(
                {}
                if self.wavenumber_error is None
                else {"wavenumber_error_cm-1": self.wavenumber_error.tolist()}
            ),
            **self.intensities(),
        }


@dataclass(frozen=True, repr=False)
class PrintedModes(NormalModes, Sticks):
    """Normal modes and intensities that a program has printed, without derivatives.

    Parameters
    ----------
    printed
        ``"infrared"`` intensities, km/mol, and ``"raman"`` activities, Å⁴/amu, as far as known:
        ``[n_modes]`` each.
    provenance
        Molecule and level of theory, JSON-able.
    """

    printed: Mapping[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    dipole_derivative: None = field(default=None, init=False)
    polarizability_derivative: None = field(default=None, init=False)
    kind: ClassVar[str] = "double-harmonic"

    @property
    def known(self) -> frozenset[str]:
        """Of ``"infrared"`` and ``"raman"``, those whose intensities are printed."""
        return frozenset(self.printed)

    @property
    def infrared_intensity(self) -> np.ndarray:
        """Integrated absorption of each mode, km/mol."""
        if "infrared" not in self.printed:
            raise missing_intensities("infrared intensities", "dipole")
        return self.printed["infrared"]

    @property
    def raman_activity(self) -> np.ndarray:
        """45a'² + 7γ'² of each mode, Å⁴/amu."""
        if "raman" not in self.printed:
            raise missing_intensities("Raman activities", "polarizability")
        return self.printed["raman"]
