# SPDX-License-Identifier: MIT
"""What each band is: exact decomposition of a spectrum into modes, atoms or fragments.

A time derivative that is a sum of parts, Ẋ = Σ_g Ẋ_g, has the spectrum
S = Σ_gh S_gh with the cross spectra S_gh of every pair. Nothing is neglected:
the parts of a normal-mode analysis include the remainder that the modes do not
describe (anharmonicity, rotation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eqcalc.spectra.correlation import Signal
from eqcalc.spectra.estimation import Estimation
from eqcalc.spectra.harmonic import HarmonicSpectrum
from eqcalc.spectra.rotation import eckart_rotations
from eqcalc.spectra.signals import Series
from eqcalc.spectra.spectrum import Band, Spectrum
from eqcalc.spectra.statistics import Estimate
from eqcalc.units import INTENSITY_PER_SQUARED_CHARGE_PER_MASS, conversion_factor

__all__ = [
    "AssignedBand",
    "Decomposition",
    "assign_bands",
    "assignment_table",
    "decompose",
    "decompose_dipole_by_atoms",
    "decompose_dipole_by_modes",
    "mode_momenta",
    "mode_spectra",
]


@dataclass(frozen=True)
class Decomposition:
    """A spectrum and the parts it is made of.

    Parameters
    ----------
    names
        Name of each part.
    wavenumber
        ``[n_wavenumbers]``, cm⁻¹.
    matrix
        ``[n_parts, n_parts, n_wavenumbers]``, symmetric; its sum over both
        parts is the total.
    samples
        ``[n_samples, n_parts, n_parts, n_wavenumbers]``, bootstrap, or None.
    total
        The whole spectrum.
    """

    names: tuple[str, ...]
    wavenumber: np.ndarray
    matrix: np.ndarray
    samples: np.ndarray | None
    total: Spectrum

    def _spectrum(self, i: int, j: int, factor: float, label: str) -> Spectrum:
        return Spectrum(
            wavenumber=self.wavenumber,
            values=factor * self.matrix[i, j],
            unit=self.total.unit,
            label=f"{self.total.label}, {label}",
            samples=None if self.samples is None else factor * self.samples[:, i, j],
            n_independent=self.total.n_independent,
            provenance=self.total.provenance,
            warnings=self.total.warnings,
        )

    def part(self, name: str) -> Spectrum:
        """Return the spectrum that a part would have by itself."""
        i = self._index(name)
        return self._spectrum(i, i, 1.0, name)

    def cross(self, first: str, second: str) -> Spectrum:
        """Return the interference of two parts, S_gh + S_hg; it may be negative."""
        i, j = self._index(first), self._index(second)
        if i == j:
            raise ValueError(f"{first!r} does not interfere with itself; use part()")
        return self._spectrum(i, j, 2.0, f"{first} × {second}")

    def share(self, name: str) -> Spectrum:
        """Return the part's share of the total, Σ_h S_gh: shares sum to the total."""
        i = self._index(name)
        return Spectrum(
            wavenumber=self.wavenumber,
            values=self.matrix[i].sum(0),
            unit=self.total.unit,
            label=f"{self.total.label}, share of {name}",
            samples=None if self.samples is None else self.samples[:, i].sum(1),
            n_independent=self.total.n_independent,
            provenance=self.total.provenance,
            warnings=self.total.warnings,
        )

    def _index(self, name: str) -> int:
        try:
            return self.names.index(name)
        except ValueError:
            raise ValueError(f"no part {name!r}; there are: {', '.join(self.names)}") from None


def decompose(
    parts: dict[str, np.ndarray],
    *,
    interval: float,
    temperature: float,
    unit: str,
    quantity_unit: str,
    scale: float = 1.0,
    result_unit: str,
    label: str,
    method: str | None = None,
    timestep: float | None = None,
    **estimation: Any,
) -> Decomposition:
    """Return the cross spectra of the parts of a time derivative.

    Parameters
    ----------
    parts
        Time derivatives ``[n_replicas, n_frames, ...]`` of equal shape.
    interval, temperature
        fs, K.
    unit
        Unit of the parts, such as ``"e*Å/fs"``.
    quantity_unit
        Unit of the observable, such as ``"e*Å"``, that `scale` refers to.
    scale, result_unit, label
        Of the result, relative to (quantity_unit)²/(amu Å²) per cm⁻¹.
    method, timestep
        Of the dynamics, if known.
    estimation
        See :class:`eqcalc.spectra.Estimation`.
    """
    names = tuple(parts)
    arrays = [np.asarray(parts[name], dtype=float) for name in names]
    shapes = {a.shape for a in arrays}
    if len(shapes) != 1 or arrays[0].ndim < 2:
        raise ValueError(
            f"parts: expected arrays [n_replicas, n_frames, ...] of one shape, got {shapes}"
        )
    factor = conversion_factor(unit, f"{quantity_unit}/fs")
    n = len(names)
    stacked = np.stack([a.reshape(*a.shape[:2], -1) for a in arrays], axis=2) * factor
    n_components = stacked.shape[-1]
    series = Series(
        replicas=tuple(stacked),
        interval=interval,
        temperature=temperature,
        unit=f"{quantity_unit}/fs",
        rate=True,
        method=method,
        timestep=timestep,
    )
    signals = [Signal.from_array(replica) for replica in stacked]
    columns = [slice(i * n_components, (i + 1) * n_components) for i in range(n)]
    pairs = [(i, j) for i in range(n) for j in range(i, n)]

    density = Estimation(**estimation).density(
        series, signals, [(columns[i], columns[j]) for i, j in pairs]
    )

    def symmetric(values: np.ndarray) -> np.ndarray:
        full = np.empty((*values.shape[:-2], n, n, values.shape[-1]))
        for k, (i, j) in enumerate(pairs):
            full[..., i, j, :] = full[..., j, i, :] = scale * values[..., k, :]
        return full

    matrix = symmetric(density.values)
    samples = None if density.samples is None else symmetric(density.samples)
    total = Spectrum(
        wavenumber=density.wavenumber,
        values=matrix.sum((0, 1)),
        unit=result_unit,
        label=label,
        samples=None if samples is None else samples.sum((1, 2)),
        n_independent=density.n_independent,
        provenance={"spectrum": "decomposition", **density.provenance},
        warnings=density.warnings,
    )
    return Decomposition(names, density.wavenumber, matrix, samples, total)


# --- normal modes -----------------------------------------------------------------------


def mode_momenta(
    positions: np.ndarray, velocities: np.ndarray, harmonic: HarmonicSpectrum
) -> tuple[np.ndarray, np.ndarray]:
    """Return the momenta P_k = Σ mᵢ (∂rᵢ/∂Q_k)·vᵢ of the normal modes in the Eckart frame.

    Parameters
    ----------
    positions, velocities
        ``[n_replicas, n_frames, n_atoms, 3]``, Å and Å/fs.
    harmonic
        Normal modes; their geometry is the reference of the frame.

    Returns
    -------
    momenta
        ``[n_replicas, n_frames, n_modes]``, Å amu^½/fs.
    rotations
        ``[n_replicas, n_frames, 3, 3]`` into the Eckart frame.
    """
    rotations = eckart_rotations(positions, harmonic.positions, harmonic.masses)
    weighted = harmonic.modes * harmonic.masses[:, None]
    seen = np.einsum("rtab,rtib->rtia", rotations, velocities, optimize=True)
    return np.einsum("kia,rtia->rtk", weighted, seen, optimize=True), rotations


def mode_spectra(
    positions: np.ndarray,
    velocities: np.ndarray,
    harmonic: HarmonicSpectrum,
    *,
    interval: float,
    temperature: float,
    **options: Any,
) -> Decomposition:
    """Return the density of states projected on the normal modes, with mode–mode cross terms.

    Each mode integrates to one state in the harmonic limit. The arguments are
    those of :func:`mode_momenta` and :func:`decompose`.
    """
    momenta, _ = mode_momenta(positions, velocities, harmonic)
    names = mode_names(harmonic)
    return decompose(
        {name: momenta[..., k, None] for k, name in enumerate(names)},
        interval=interval,
        temperature=temperature,
        unit="Å/fs",
        quantity_unit="Å",
        result_unit="states per cm⁻¹",
        label="density of states",
        **options,
    )


def mode_names(harmonic: HarmonicSpectrum) -> tuple[str, ...]:
    """Return a name for each mode: its number and harmonic wavenumber."""
    return tuple(f"mode {k + 1} ({nu:.0f})" for k, nu in enumerate(harmonic.wavenumber))


def decompose_dipole_by_modes(
    dipole_rate: np.ndarray,
    positions: np.ndarray,
    velocities: np.ndarray,
    harmonic: HarmonicSpectrum,
    *,
    interval: float,
    temperature: float,
    **options: Any,
) -> Decomposition:
    """Return the infrared spectrum as contributions of the normal modes and a remainder.

    The part of mode k is (∂μ/∂Q_k) P_k, turned back from the Eckart frame; the
    part ``"remainder"`` is whatever of μ̇ the modes do not carry: rotation,
    electrical and mechanical anharmonicity. All together are the whole
    spectrum, exactly.

    Parameters
    ----------
    dipole_rate
        ``[n_replicas, n_frames, 3]``, e Å/fs, such as the observable
        ``"dipole_rate"``.
    positions, velocities
        ``[n_replicas, n_frames, n_atoms, 3]``, Å and Å/fs, at the same times.
    harmonic
        Normal modes with dipole derivatives.
    interval, temperature, options
        See :func:`decompose`.
    """
    if harmonic.dipole_derivative is None:
        raise ValueError("the harmonic analysis has no dipole derivative")
    momenta, rotations = mode_momenta(positions, velocities, harmonic)
    back = rotations.swapaxes(-1, -2)
    parts = {
        name: momenta[..., k, None] * np.einsum("rtab,b->rta", back, harmonic.dipole_derivative[k])
        for k, name in enumerate(mode_names(harmonic))
    }
    parts["remainder"] = np.asarray(dipole_rate, dtype=float) - sum(parts.values())
    return _infrared(parts, interval, temperature, options)


def decompose_dipole_by_atoms(
    polar_tensors: np.ndarray,
    velocities: np.ndarray,
    groups: dict[str, Sequence[int]],
    *,
    interval: float,
    temperature: float,
    **options: Any,
) -> Decomposition:
    """Return the infrared spectrum as contributions of groups of atoms.

    The part of a group is Σ v_i·(∂μ/∂r_i) over its atoms. Atoms in no group
    are the part ``"others"``.

    Parameters
    ----------
    polar_tensors
        ``[n_replicas, n_frames, n_atoms, 3, 3]``, ∂μ_b/∂r_ia at [i, a, b], e.
    velocities
        ``[n_replicas, n_frames, n_atoms, 3]``, Å/fs.
    groups
        Indices of the atoms of each group; an atom belongs to one at most.
    interval, temperature, options
        See :func:`decompose`.
    """
    n_atoms = velocities.shape[-2]
    chosen = [int(i) for group in groups.values() for i in group]
    if len(set(chosen)) != len(chosen):
        raise ValueError("groups: an atom belongs to more than one group")
    if chosen and not 0 <= min(chosen) <= max(chosen) < n_atoms:
        raise ValueError(f"groups: atoms are numbered from 0 to {n_atoms - 1}")
    rest = [i for i in range(n_atoms) if i not in chosen]
    everything = dict(groups) | ({"others": rest} if rest else {})
    rates = np.einsum("rtia,rtiab->rtib", velocities, polar_tensors, optimize=True)
    parts = {name: rates[:, :, list(atoms)].sum(2) for name, atoms in everything.items()}
    return _infrared(parts, interval, temperature, options)


def _infrared(
    parts: dict[str, np.ndarray], interval: float, temperature: float, options: dict[str, Any]
) -> Decomposition:
    return decompose(
        parts,
        interval=interval,
        temperature=temperature,
        unit="e*Å/fs",
        quantity_unit="e*Å",
        scale=INTENSITY_PER_SQUARED_CHARGE_PER_MASS,
        result_unit="km/mol per cm⁻¹",
        label="IR intensity",
        **options,
    )


# --- tables -------------------------------------------------------------------------------


@dataclass(frozen=True)
class AssignedBand:
    """A band and where its intensity comes from.

    Parameters
    ----------
    band
        Position, width and area.
    shares
        Parts and their share of the area, largest first; the shares of all
        parts sum to one.
    """

    band: Band
    shares: tuple[tuple[str, Estimate], ...]


def assign_bands(
    decomposition: Decomposition, bands: Sequence[Band] | None = None, n_leading: int = 3
) -> list[AssignedBand]:
    """Return the leading parts of each band.

    Parameters
    ----------
    decomposition
        Into modes, atoms or fragments.
    bands
        Bands to assign; those of the total by default.
    n_leading
        Parts named per band.
    """
    total = decomposition.total
    result = []
    for band in total.bands() if bands is None else bands:
        weights = total.weights(band.lower, band.upper)
        area = total.values @ weights
        shares = decomposition.matrix.sum(1) @ weights / area
        errors = np.full(len(shares), np.nan)
        if decomposition.samples is not None and total.samples is not None:
            sampled = decomposition.samples.sum(2) @ weights
            errors = np.std(sampled / (total.samples @ weights)[:, None], axis=0, ddof=1)
        leading = np.argsort(-np.abs(shares))[:n_leading]
        result.append(
            AssignedBand(
                band,
                tuple(
                    (decomposition.names[i], Estimate(float(shares[i]), float(errors[i])))
                    for i in leading
                ),
            )
        )
    return result


def assignment_table(assigned: Sequence[AssignedBand], unit: str) -> str:
    """Return assigned bands as text: position, width, area and its error, leading parts."""
    lines = [f"{'ν̃/cm⁻¹':>10} {'FWHM/cm⁻¹':>10} {f'area/({unit})':>22}  from"]
    for item in assigned:
        band = item.band
        area = f"{band.area.value:.2f} ± {band.area.error:.2f}"
        shares = ", ".join(f"{name} {100 * share.value:.0f} %" for name, share in item.shares)
        lines.append(f"{band.position.value:10.1f} {band.width.value:10.1f} {area:>22}  {shares}")
    return "\n".join(lines)
