# SPDX-License-Identifier: MIT
"""Double-harmonic spectra: normal modes with infrared intensities and Raman activities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from eqcalc.facts import Column, ComparedByValue, aligned, column, preformatted, rows_of
from eqcalc.normal_modes import NormalModes, matched_modes, mode_overlap
from eqcalc.spectra.frames import FrameError, molecular_rotations
from eqcalc.spectra.sticks import Sticks, missing_intensities
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidInputError, finite
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


@dataclass(frozen=True, repr=False, eq=False)
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
        wavenumber = [f"{abs(nu):.2f}{'i' if nu < 0 else ''}" for nu in self.wavenumber]
        columns: list[Column] = [
            column("mode", "", range(1, len(self) + 1), "d"),
            ("ν̃/cm⁻¹", "", wavenumber),
        ]
        if self.wavenumber_error is not None:
            columns.append(column("±", "", self.wavenumber_error, ".1f"))
        columns.append(column("μ/amu", "", self.reduced_mass, ".3f"))
        if self.dipole_derivative is not None:
            columns.append(column("IR", "(D/Å)²/amu", self.infrared_activity, ".4f"))
        return aligned(rows_of([*columns, *self.intensity_columns(4)]))

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


@dataclass(frozen=True, repr=False, eq=False)
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


# --- comparison with a reference, mode by mode --------------------------------------

#: Masses [amu] that differ by less are those of the same isotopes.
_SAME_MASS = 0.1
#: Modes closer than this [cm⁻¹] are degenerate.
_DEGENERATE = 1.0
#: Intensities by name: attribute, heading and unit.
_INTENSITIES = {
    "infrared": ("infrared_intensity", "IR", "km/mol"),
    "raman": ("raman_activity", "Raman", "Å⁴/amu"),
}


@dataclass(frozen=True, eq=False)
class ModeComparison(ComparedByValue):
    """Modes of a reference, each with the calculated one of the largest overlap.

    Parameters
    ----------
    calculated, reference
        The vibrations.
    matched
        ``[n_modes]``, index of the calculated mode of each mode of the reference.
    overlap
        ``[n_modes]``, squared overlaps of mass-weighted displacements, with all calculated modes
        that are degenerate with the matched one; 1 for the same motion.
    distance
        Mass-weighted root-mean-square distance of the two geometries, Å.
    """

    calculated: HarmonicSpectrum
    reference: HarmonicSpectrum | PrintedModes
    matched: np.ndarray
    overlap: np.ndarray
    distance: float

    def values(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return reference and calculated values, ``"wavenumber"``, ``"infrared"`` or ``"raman"``.

        ``[n_modes]`` each, in the order of the reference and the units of the spectra.
        """
        attribute = _INTENSITIES[name][0] if name in _INTENSITIES else name
        return getattr(self.reference, attribute), getattr(self.calculated, attribute)[self.matched]

    @property
    def compared(self) -> list[str]:
        """The wavenumber, and the intensities that both have."""
        both = self.reference.known & self.calculated.known
        return ["wavenumber", *(name for name in _INTENSITIES if name in both)]

    def deviations(self, name: str) -> np.ndarray:
        """Return calculated minus reference values, ``[n_modes]``; see :meth:`values`."""
        reference, calculated = self.values(name)
        return calculated - reference

    def _repr_html_(self) -> str:
        return preformatted(f"{self.table()}\n{self.summary()}")

    def table(self) -> str:
        """Return the modes and their deviations as text."""
        reference, calculated = self.values("wavenumber")
        columns = [
            column("mode", "", range(1, len(reference) + 1), "d"),
            column("ν̃/cm⁻¹", "", reference, ".2f"),
            column("model", "", calculated, ".2f"),
            column("Δ", "", calculated - reference, "+.2f"),
            column("overlap", "", self.overlap, ".3f"),
        ]
        for name in self.compared[1:]:
            _, head, unit = _INTENSITIES[name]
            known, found = self.values(name)
            columns += [column(head, unit, known, ".2f"), column("model", "", found, ".2f")]
        heads, units, *rows = rows_of(columns)
        return aligned([heads, *([units] if any(units) else []), *rows])

    def summary(self) -> str:
        """Return mean and largest deviations, a line for each quantity."""
        lines = []
        for name in self.compared:
            found = self.deviations(name)
            worst = int(np.abs(found).argmax())
            _, head, unit = _INTENSITIES.get(name, (name, "ν̃", "cm⁻¹"))
            lines.append(
                f"{head}: mean deviation {found.mean():+.2f}, mean absolute "
                f"{np.abs(found).mean():.2f}, largest {found[worst]:+.2f} {unit} (mode {worst + 1})"
            )
        lines.append(f"geometries: {self.distance:.4f} Å apart (mass-weighted rms)")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-able lists."""
        return {
            "provenance": self.reference.provenance,
            "mode": (self.matched + 1).tolist(),
            "overlap": self.overlap.tolist(),
            "distance_angstrom": self.distance,
            "wavenumber_cm-1": self.reference.wavenumber.tolist(),
            **self.reference.intensities(),
        }


def compare_modes(
    calculated: HarmonicSpectrum, reference: HarmonicSpectrum | PrintedModes
) -> ModeComparison:
    """Match modes one to one by :func:`~eqcalc.normal_modes.matched_modes`.

    The molecules may be turned, and mirror images of each other.

    Parameters
    ----------
    calculated, reference
        Vibrations of the same atoms in the same order, with the same masses.

    Raises
    ------
    InvalidInputError
        Masses or the numbers of modes differ, or the geometries are too far apart.
    """
    masses = reference.masses
    same = len(masses) == len(calculated.masses) and len(reference) == len(calculated)
    if not same or np.abs(masses - calculated.masses).max() > _SAME_MASS:
        raise InvalidInputError(
            "not the same atoms in the same order",
            key="reference",
            value=f"{len(reference)} modes, masses {np.round(masses, 3).tolist()}",
            expected=f"{len(calculated)} modes, {np.round(calculated.masses, 3).tolist()}",
        )
    images = []
    for sign in (1.0, -1.0):
        try:
            turn = molecular_rotations(
                sign * reference.positions[None], calculated.positions, masses
            )[0]
        except FrameError:
            continue
        turned = replace(
            reference,
            positions=sign * reference.positions @ turn.T,
            vectors=sign * reference.vectors @ turn.T,
        )
        images.append((_distance(turned, calculated), turned))
    if not images:
        raise InvalidInputError(
            "its geometry cannot be superposed on that of the model",
            key="reference",
            expected="the same conformer",
        )
    distance, turned = min(images, key=lambda image: round(image[0], 6))
    squares, columns = mode_overlap(turned, calculated) ** 2, matched_modes(turned, calculated)
    wavenumber = calculated.wavenumber
    alike = np.abs(wavenumber[columns, None] - wavenumber) < _DEGENERATE
    overlap = np.where(alike, squares, 0.0).sum(axis=1)
    return ModeComparison(calculated, reference, columns, overlap, distance)


def _distance(one: Any, other: Any) -> float:
    """Return the mass-weighted root-mean-square distance of superposed geometries, Å."""
    weights = one.masses / one.masses.sum()
    shift = one.positions - other.positions
    shift = shift - weights @ shift
    return float(np.sqrt(weights @ np.square(shift).sum(axis=1)))
