# SPDX-License-Identifier: MIT
"""Assignment of the bands of a spectrum: position, intensity, and contributing modes or parts.

:func:`assign_bands` finds the main contributions to each band of an anharmonic spectrum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eqcalc.facts import aligned, column, jsonable, rows_of, with_error
from eqcalc.spectra.assignment.decomposition import Decomposition
from eqcalc.spectra.assignment.modes import REMAINDER
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.estimator.statistics import Estimate
from eqcalc.spectra.lines import RESOLVED
from eqcalc.spectra.spectrum import Band, Spectrum
from eqcalc.validation import count, instance, instances

#: Smallest share of a mode's kinetic energy for an atom to be listed.
_LEADING_ATOM = 0.1
#: Smallest share of a band for a mode to be its partner.
_PARTNER = 0.5
#: Smallest share of a band for a mode to be named among those that share it.
_SHARER = 0.1
#: Largest distance of a partner from its band, absolute [cm⁻¹] and relative to the band.
_FARTHEST, _FARTHEST_RELATIVE = 100.0, 0.15
#: A remainder below minus this share of a band is reported.
_NEGATIVE = -0.2
#: Unresolved maxima closer than this are reported together [cm⁻¹].
_GAP = 50.0


@dataclass(frozen=True)
class HarmonicPartner:
    """The normal mode to which a band is assigned."""

    mode: int  #: index of the mode, from zero
    wavenumber: float  #: harmonic, cm⁻¹
    intensity: float  #: double-harmonic, km/mol
    #: atoms that carry its motion and their shares of its kinetic energy, largest first
    atoms: tuple[tuple[int, float], ...]
    #: isotope shift of its wavenumber, cm⁻¹, if requested
    isotope_shift: float | None = None


@dataclass(frozen=True)
class AssignedBand:
    """A band and the contributions to its intensity."""

    band: Band  #: position, width and area
    #: parts and their share of the area, largest first; the shares of all parts sum to one
    shares: tuple[tuple[str, Estimate], ...]
    #: if the parts are normal modes and one contributes at least half of the band and is near it
    partner: HarmonicPartner | None = None
    #: if no mode contributes half of the band: those that contribute a tenth or more, and how much
    shared: tuple[tuple[str, Estimate], ...] = ()
    #: why there is no partner, and other problems of the assignment
    doubts: tuple[str, ...] = ()

    @property
    def anharmonic_shift(self) -> float:
        """Position less the harmonic wavenumber, cm⁻¹; nan without a partner."""
        if self.partner is None:
            return float("nan")
        return self.band.position.value - self.partner.wavenumber

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able numbers."""
        band = self.band
        result: dict[str, Any] = {
            "limits_cm-1": [band.lower, band.upper],
            **{
                f"{name}_{unit}": jsonable(getattr(band, name))
                for name, unit in (
                    ("position", "cm-1"),
                    ("centroid", "cm-1"),
                    ("width", "cm-1"),
                    ("area", "km/mol"),
                )
            },
            "shares": {name: jsonable(share) for name, share in self.shares},
            "shared_by": {name: jsonable(share) for name, share in self.shared},
            "doubts": list(self.doubts),
        }
        if self.partner is not None:
            result["harmonic"] = {
                "mode": self.partner.mode + 1,
                "wavenumber_cm-1": self.partner.wavenumber,
                "intensity_km/mol": self.partner.intensity,
                "atoms": {str(atom): share for atom, share in self.partner.atoms},
                "isotope_shift_cm-1": self.partner.isotope_shift,
            }
        return result


def leading_atoms(harmonic: HarmonicSpectrum, mode: int) -> tuple[tuple[int, float], ...]:
    """Return the main atoms of a mode, with m|∂r/∂Q|², their share of its kinetic energy."""
    shares = np.einsum("ia,ia,i->i", *[harmonic.vectors[mode]] * 2, harmonic.masses)
    order = np.argsort(-shares, kind="stable")
    return tuple((int(i), float(shares[i])) for i in order if shares[i] >= _LEADING_ATOM)


def assign_bands(
    decomposition: Decomposition,
    bands: Sequence[Band] | None = None,
    *,
    harmonic: HarmonicSpectrum | None = None,
    isotope_shifts: np.ndarray | None = None,
    n_leading: int = 3,
) -> list[AssignedBand]:
    """Return the leading parts of each band.

    Parameters
    ----------
    decomposition
        Into modes, atoms or fragments.
    bands
        Bands to assign; those of the total by default.
    harmonic
        The modes, if these are the first parts, in the same order.
    isotope_shifts
        ``[n_modes]``, cm⁻¹, of :func:`eqcalc.normal_modes.isotope_shifts`.
    n_leading
        Number of parts listed per band.
    """
    total = instance("decomposition", decomposition, Decomposition).total
    bands = total.bands() if bands is None else instances("bands", bands, Band)
    if harmonic is not None:
        instance("harmonic", harmonic, HarmonicSpectrum)
    count("n_leading", n_leading)
    if not bands:
        return []
    weights = np.array([total.weights(band.lower, band.upper) for band in bands])
    areas = weights @ total.values
    sampled_areas = None if total.samples is None else total.samples @ weights.T
    shares, errors = [], []
    for name in decomposition.names:
        share = decomposition.share(name)
        shares.append(weights @ share.values / areas)
        if share.samples is None or sampled_areas is None:
            errors.append(np.full(len(bands), np.nan))
        else:
            errors.append(np.std(share.samples @ weights.T / sampled_areas, axis=0, ddof=1))
    result, n_parts = [], total.n_independent
    for b, band in enumerate(bands):
        column = np.array([share[b] for share in shares])
        leading = np.argsort(-np.abs(column))
        parts = tuple(
            (decomposition.names[i], Estimate(float(column[i]), float(errors[i][b]), n_parts))
            for i in leading
        )
        named = parts[:n_leading]
        partner, doubts = None, []
        shared: tuple[tuple[str, Estimate], ...] = ()
        if harmonic is not None:
            modes = decomposition.names[: len(harmonic)]
            shared = tuple(part for part in parts if part[0] in modes and part[1].value >= _SHARER)
            doubt = _no_partner(band, *named[0], harmonic, int(leading[0]), shared)
            if doubt is None:
                partner = _partner(harmonic, int(leading[0]), isotope_shifts)
            else:
                doubts.append(doubt)
            if named[0][1].value >= _PARTNER:
                shared = ()
        remainder = column[-1] if decomposition.names[-1] == REMAINDER else 0.0
        if remainder < _NEGATIVE:
            doubts.append(
                f"a negative remainder cancels {-100 * remainder:.0f} %, so that the shares of "
                "the other parts are too large"
            )
        result.append(AssignedBand(band, named, partner, shared, tuple(doubts)))
    return result


def _partner(
    harmonic: HarmonicSpectrum, mode: int, isotope_shifts: np.ndarray | None
) -> HarmonicPartner:
    return HarmonicPartner(
        mode,
        float(harmonic.wavenumber[mode]),
        float(harmonic.infrared_intensity[mode]),
        leading_atoms(harmonic, mode),
        None if isotope_shifts is None else float(isotope_shifts[mode]),
    )


def _no_partner(
    band: Band,
    name: str,
    share: Estimate,
    harmonic: HarmonicSpectrum,
    part: int,
    shared: Sequence[tuple[str, Estimate]],
) -> str | None:
    """Return why the leading part of a band is not its harmonic partner, or None if it is."""
    if part >= len(harmonic):
        return f"{name} contributes more than any mode"
    if share.value < _PARTNER:
        return f"shared by {_percentages(shared)}" if shared else "of no mode in particular"
    position = band.position.value
    apart = abs(position - float(harmonic.wavenumber[part]))
    if apart > max(_FARTHEST, _FARTHEST_RELATIVE * position):
        return (
            f"{name} has {100 * share.value:.0f} %, but is {apart:.0f} cm⁻¹ away: an overtone, "
            "a combination, or a large amplitude of that mode"
        )
    return None


def _percentages(shares: Sequence[tuple[str, Estimate]]) -> str:
    return ", ".join(f"{name} {100.0 * share.value:.0f} %" for name, share in shares)


def assignment_notes(assigned: Sequence[AssignedBand]) -> list[str]:
    """Return the problems of the assignment, grouping bands with the same one."""
    doubts: dict[str, list[str]] = {}
    for item in assigned:
        for doubt in item.doubts:
            doubts.setdefault(doubt, []).append(f"{item.band.position.value:.0f}")
    return [f"{', '.join(where)} cm⁻¹: {doubt}" for doubt, where in doubts.items()]


def unresolved_notes(
    spectrum: Spectrum, threshold: float = 0.02, lower: float | None = None
) -> list[str]:
    """Return a note about the maxima that :meth:`Spectrum.bands` rejects, if any.

    Parameters
    ----------
    spectrum, threshold, lower
        As for :meth:`Spectrum.bands`.
    """
    found = instance("spectrum", spectrum, Spectrum).unresolved(threshold, lower)
    if not found:
        return []
    groups = [[found[i] for i in group] for group in group_modes([nu for nu, _ in found], _GAP)]
    return [
        f"maxima at {', '.join(map(_maxima, groups))} cm⁻¹ rise by less than {RESOLVED:g} of their "
        "standard errors (σ) and are not counted as bands; run more replicas"
    ]


def group_modes(wavenumber: Sequence[float] | np.ndarray, separation: float) -> list[list[int]]:
    """Group the indices of ascending wavenumbers at gaps of at least `separation` [cm⁻¹]."""
    gaps = np.flatnonzero(np.diff(wavenumber) >= separation) + 1
    return [group.tolist() for group in np.split(np.arange(len(wavenumber)), gaps)]


def _maxima(group: Sequence[tuple[float, float]]) -> str:
    """Return the range of neighbouring maxima, and the rise of the most significant one."""
    first, last = group[0][0], group[-1][0]
    where = f"{first:.0f}" if len(group) == 1 else f"{first:.0f}–{last:.0f}"
    # rounded down, so that it stays below the limit
    return f"{where} ({np.floor(10.0 * max(rise for _, rise in group)) / 10.0:.1f} σ)"


def assignment_table(
    assigned: Sequence[AssignedBand], unit: str, *, symbols: Sequence[str] | None = None
) -> str:
    """Return assigned bands as text.

    Position, width and area with its standard error; wavenumber, anharmonic shift, isotope shift
    and main atoms of the harmonic partner; and the leading contributions to the intensity.

    Parameters
    ----------
    assigned
        From :func:`assign_bands`.
    unit
        Unit of the areas.
    symbols
        ``[n_atoms]``, chemical symbols.
    """
    bands, partners = [a.band for a in assigned], [a.partner for a in assigned]
    columns = [
        column("ν̃", "", [band.position.value for band in bands], ".0f"),
        column("FWHM", "", [band.width.value for band in bands], ".0f"),
        (f"area / {unit}", "", [with_error(*band.area) for band in bands]),
    ]
    if any(partners):
        harmonic = [p.wavenumber if p else math.nan for p in partners]
        isotope = [p.isotope_shift if p else None for p in partners]
        columns.append(column("harmonic", "", harmonic, ".0f"))
        columns.append(column("shift", "", [a.anharmonic_shift for a in assigned], "+.0f"))
        if isotope != [None] * len(isotope):
            shifts = [math.nan if shift is None else shift for shift in isotope]
            columns.append(column("isotope", "", shifts, "+.0f"))
        columns.append(("moving atoms", "", [_moving_atoms(a, symbols) for a in assigned]))
    columns.append(("carried by", "", [", ".join(_carried(a)) for a in assigned]))
    heads, _, *rows = rows_of(columns)
    # numbers right-aligned, words left-aligned
    last = len(heads) - 1
    return aligned([heads, *rows], words=(last - 1, last) if any(partners) else (last,))


def _carried(item: AssignedBand) -> list[str]:
    """Return the leading part, and the others of at least 1 %."""
    percent = [(name, round(100 * share.value)) for name, share in item.shares]
    return [f"{name} {p} %" for i, (name, p) in enumerate(percent) if p != 0 or i == 0]


def _moving_atoms(item: AssignedBand, symbols: Sequence[str] | None) -> str:
    if item.partner is None:
        return f"shared by {len(item.shared)} modes" if len(item.shared) > 1 else "–"
    return ", ".join(
        f"{'atom ' if symbols is None else symbols[atom]}{atom} {100 * share:.0f} %"
        for atom, share in item.partner.atoms[:3]
    )
