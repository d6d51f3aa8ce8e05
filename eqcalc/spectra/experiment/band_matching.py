# SPDX-License-Identifier: MIT
"""The bands of a computed spectrum that belong to listed ones.

Bands are matched one to one: of all ways to pair listed and computed bands that are nearer than
the window, the one with the least sum of squared distances relative to the window, plus one half
for every listed and every computed band that is left out (the assignment problem, solved by SciPy).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from eqcalc.facts import aligned, jsonable, number, preformatted, with_bracketed_error
from eqcalc.spectra.estimator.statistics import Estimate
from eqcalc.spectra.experiment.band_lists import BandList
from eqcalc.spectra.experiment.comparison import INFRARED_UNITS, check_intensity, spectroscopy
from eqcalc.spectra.experiment.ordinates import ordinate
from eqcalc.spectra.infrared_absorption import convert_infrared
from eqcalc.spectra.spectrum import Band, Spectrum
from eqcalc.validation import InvalidInputError, bounds, instance, positive

#: Window by default: relative to the wavenumber, and at least in cm⁻¹.
_WINDOW, _LEAST_WINDOW = 0.06, 30.0
#: Lower limit by default, to exclude rotation [cm⁻¹].
_LOWEST = 100.0


class MatchedBand(NamedTuple):
    """Listed bands that are one at the resolution of the spectrum, and their computed band."""

    members: tuple[int, ...]  #: indices of the listed bands
    position: Estimate  #: measured, cm⁻¹: mean of the members, and its uncertainty
    intensity: float  #: sum of the members, nan if unknown
    band: Band | None  #: computed, at scaled wavenumbers
    deviation: Estimate  #: computed less measured, cm⁻¹
    note: str


@dataclass(frozen=True)
class BandComparison:
    """Listed bands, the computed ones that belong to them, and those that do not.

    Parameters
    ----------
    calculated
        The spectrum, at scaled wavenumbers.
    listed
        Bands in the range.
    matches
        One for each group of listed bands, ascending.
    others
        Computed bands without a listed one.
    scale
        Factor on the computed wavenumbers.
    window
        Text that states the window.
    """

    calculated: Spectrum
    listed: BandList
    matches: tuple[MatchedBand, ...]
    others: tuple[Band, ...]
    scale: float
    window: str

    @property
    def deviations(self) -> np.ndarray:
        """Computed less measured wavenumbers of the matched bands, cm⁻¹."""
        return np.array([m.deviation.value for m in self.matches if m.band is not None])

    def statistics(self) -> dict[str, float]:
        """Return number, mean, mean absolute, root mean square and largest deviation, cm⁻¹."""
        d = self.deviations
        if not len(d):
            return {"matched": 0}
        return {
            "matched": len(d),
            "mean": float(d.mean()),
            "mean_absolute": float(np.abs(d).mean()),
            "root_mean_square": float(np.sqrt(np.mean(d**2))),
            "largest": float(d[np.argmax(np.abs(d))]),
        }

    def _repr_html_(self) -> str:
        return preformatted(self.table())

    def table(self) -> str:
        """Return the bands as text, with standard errors in brackets, and a summary."""
        unit = self.listed.unit
        absolute = unit in ("km/mol", "Å⁴/amu")
        rows = [
            [
                " + ".join(f"{self.listed.position[i]:.0f}" for i in m.members),
                "–" if m.band is None else with_bracketed_error(*_place(m)),
                with_bracketed_error(*m.deviation, "+.1f"),
                *([number(m.intensity, ".4g")] if self.listed.intensity is not None else []),
                *(
                    ["–" if m.band is None else with_bracketed_error(*m.band.area)]
                    if absolute
                    else []
                ),
                "; ".join(
                    dict.fromkeys(
                        [*(self.listed.names[i] for i in m.members if self.listed.names), m.note]
                    )
                ).strip("; "),
            ]
            for m in self.matches
        ]
        head = ["measured/cm⁻¹", "computed", "deviation"]
        head += [f"measured {unit}".strip()] if self.listed.intensity is not None else []
        head += [f"computed {unit}"] if absolute else []
        lines = [aligned([[*head, "assignment"], *rows], words=(len(head),)), ""]
        numbers = self.statistics()
        if numbers["matched"]:
            lines.append(
                f"{numbers['matched']} of {len(self.matches)} matched; deviation/cm⁻¹: mean "
                f"{numbers['mean']:+.1f}, mean absolute {numbers['mean_absolute']:.1f}, root mean "
                f"square {numbers['root_mean_square']:.1f}, largest {numbers['largest']:+.1f}"
            )
        else:
            lines.append(f"none of {len(self.matches)} matched")
        if self.scale != 1.0:
            lines.append(f"computed wavenumbers scaled by {self.scale:.4f} (fitted)")
        lines.append(f"window: {self.window}")
        if self.others:
            places = ", ".join(f"{band.position.value:.0f}" for band in self.others)
            lines.append(f"computed bands that are not listed: {places} cm⁻¹")
        lines += [f"note: {warning}" for warning in self.listed.warnings]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able numbers."""
        return {
            "listed": self.listed.label,
            "wavenumber_scale": self.scale,
            "window": self.window,
            "bands": [
                {
                    "listed_cm-1": [float(self.listed.position[i]) for i in m.members],
                    "names": [self.listed.names[i] for i in m.members if self.listed.names],
                    "measured_cm-1": jsonable(m.position),
                    "computed_cm-1": None if m.band is None else jsonable(_place(m)),
                    "deviation_cm-1": jsonable(m.deviation),
                    "measured_intensity": jsonable([m.intensity])[0],
                    "computed_area": None if m.band is None else jsonable(m.band.area),
                    "note": m.note,
                }
                for m in self.matches
            ],
            "not_listed_cm-1": [float(band.position.value) for band in self.others],
            "intensity_unit": self.listed.unit,
            "deviations_cm-1": self.statistics(),
        }


def compare_bands(
    calculated: Spectrum,
    listed: BandList,
    *,
    limits: tuple[float, float] | None = None,
    scale_range: tuple[float, float] | None = None,
    window: float | None = None,
) -> BandComparison:
    """Match the bands of a computed spectrum to listed ones.

    Listed bands nearer than the resolution of the spectrum are one, at their mean (weighted by
    intensities if these are known), with which the centroid of the computed band is compared.

    Parameters
    ----------
    calculated
        Computed spectrum of intensities.
    listed
        The list; see :func:`read_bands`.
    limits
        Range compared, cm⁻¹; by default that of the list, widened by the window, but from 100 cm⁻¹
        unless a band is listed below.
    scale_range
        Allow one factor on all computed wavenumbers within these limits.
    window
        Largest distance of a listed and a computed band that belong together, cm⁻¹; by default
        6 % of the wavenumber, at least 30 cm⁻¹: classical and harmonic X–H stretches are 5 % high.

    Raises
    ------
    InvalidInputError
        The spectrum has no intensities or is of another kind than those of the list; the limits
        contain no listed band or leave the spectrum.
    """
    instance("listed", listed, BandList)
    check_intensity(instance("calculated", calculated, Spectrum))
    _check_unit(calculated, listed)
    if listed.unit == "km/mol" and calculated.unit in INFRARED_UNITS:
        calculated = convert_infrared(calculated, "intensity")
    lower, upper = _limits(calculated, listed, limits, window)
    ascending = listed.chosen(np.argsort(listed.position, kind="stable"))
    chosen = ascending.chosen((ascending.position >= lower) & (ascending.position <= upper))
    if not len(chosen.position):
        raise InvalidInputError(
            "no band is listed between them", key="limits", value=(lower, upper)
        )
    first = float(calculated.wavenumber[0])
    found = calculated.bands(lower=max(first, lower / 1.05), upper=upper * 1.05)
    found = [_centred(calculated, band) for band in found]
    groups = _groups(chosen, calculated, found)
    widths = np.array([_width(g.position.value, window) for g in groups])
    scale = 1.0
    if scale_range is not None:
        low, high = bounds("scale", scale_range)
        scale = _best_scale(found, groups, widths, low, high)
    moved = [_moved(band, scale) for band in found]
    moved = [band for band in moved if lower <= band.position.value <= upper]
    _, pairs = _assigned(moved, groups, widths)
    matches = tuple(_match(g, pairs.get(i), moved, pairs) for i, g in enumerate(groups))
    others = tuple(band for j, band in enumerate(moved) if j not in pairs.values())
    stated = (
        f"{window:g} cm⁻¹" if window else f"{100 * _WINDOW:g} %, at least {_LEAST_WINDOW:g} cm⁻¹"
    )
    end = max([upper, *(match.band.upper for match in matches if match.band is not None)])
    shown = replace(calculated, wavenumber=scale * calculated.wavenumber).between(lower, end)
    return BandComparison(shown, chosen, matches, others, scale, stated)


def _check_unit(calculated: Spectrum, listed: BandList) -> None:
    """Raise an error for infrared intensities beside a Raman spectrum, or Raman ones."""
    stated = " ".join([str(listed.provenance.get("DATATYPE", "")), listed.unit])
    of_list = ordinate(listed.unit).spectroscopy if listed.unit else None
    if re.search("raman", stated, re.IGNORECASE):
        of_list = "Raman"
    elif re.search("infrared", stated, re.IGNORECASE):
        of_list = "infrared"
    kind = spectroscopy(calculated)
    if of_list and kind and of_list != kind:
        raise InvalidInputError(
            key="measured", value=f"{of_list} ({listed.unit or listed.label})", expected=kind
        )


def _limits(
    calculated: Spectrum,
    listed: BandList,
    limits: tuple[float, float] | None,
    window: float | None,
) -> tuple[float, float]:
    """Return the range that is compared."""
    if window is not None:
        positive("window", window, unit="cm⁻¹")
    first, last = (float(x) for x in calculated.wavenumber[[0, -1]])
    if limits is None:
        low, high = listed.position.min(), listed.position.max()
        below = low - _width(low, window)
        lower = below if low < _LOWEST else max(below, _LOWEST)
        return max(first, lower), min(last, high + _width(high, window))
    lower, upper = bounds("limits", limits, unit="cm⁻¹")
    if lower < first or upper > last:
        expected = f"a range within the computed spectrum, {first:g} to {last:g} cm⁻¹"
        raise InvalidInputError(key="limits", value=limits, expected=expected)
    return lower, upper


def _width(position: float, window: float | None) -> float:
    return float(window or max(_LEAST_WINDOW, _WINDOW * position))


def _groups(listed: BandList, calculated: Spectrum, found: Sequence[Band]) -> list[MatchedBand]:
    """Return the listed bands, those that the spectrum cannot resolve as one."""
    widths = [band.width.value for band in found if np.isfinite(band.width.value)]
    resolution = calculated.provenance.get("resolution_cm-1", min(widths, default=0.0))
    members: list[list[int]] = []
    for i, position in enumerate(listed.position):
        if members and position - listed.position[members[-1][0]] < max(resolution, 1e-6):
            members[-1].append(i)
        else:
            members.append([i])
    unknown = np.full(len(listed.position), np.nan)
    intensity = unknown if listed.intensity is None else listed.intensity
    uncertainty = unknown if listed.uncertainty is None else listed.uncertainty
    groups = []
    for group in members:
        x, y = listed.position[group], intensity[group]
        weights = y if np.isfinite(y).all() and y.sum() > 0.0 else np.ones(len(group))
        # the mean of equal weights is uncertain by the unknown intensities too
        spread = 0.0 if weights is y else float(x.std())
        error = np.hypot(np.sqrt(np.mean(uncertainty[group] ** 2)), spread)
        position = Estimate(float(np.average(x, weights=weights)), float(error))
        groups.append(
            MatchedBand(tuple(group), position, float(y.sum()), None, Estimate(np.nan, np.nan), "")
        )
    return groups


def _centred(spectrum: Spectrum, band: Band) -> Band:
    """Return a band whose centroid is that of its upper half, without its tails."""
    inside = spectrum.inside(band.lower, band.upper)
    x = spectrum.wavenumber[inside]

    def centre(y: np.ndarray) -> float:
        high = np.maximum(y[inside] - 0.5 * y[inside].max(), 0.0)
        return float(high @ x / high.sum())

    return band._replace(centroid=spectrum.estimate(centre))


def _place(match: MatchedBand) -> Estimate:
    """Return the computed position: the centroid of a band that stands for several."""
    assert match.band is not None
    return match.band.centroid if len(match.members) > 1 else match.band.position


def _moved(band: Band, scale: float) -> Band:
    """Return a band at scaled wavenumbers; its area is that of the unscaled one."""
    return band._replace(
        lower=scale * band.lower,
        upper=scale * band.upper,
        **{
            name: Estimate(*(scale * number for number in getattr(band, name)))
            for name in ("position", "centroid", "width")
        },
    )


def _assigned(
    found: Sequence[Band], groups: Sequence[MatchedBand], widths: np.ndarray
) -> tuple[float, dict[int, int]]:
    """Return the cost of the best assignment, and the computed band of each group that has one."""
    n, m = len(groups), len(found)
    cost = np.full((n + m, n + m), 1e6)
    for i, group in enumerate(groups):
        for j, band in enumerate(found):
            computed = _place(group._replace(band=band)).value
            distance = abs(computed - group.position.value) / widths[i]
            if distance < 1.0:
                cost[i, j] = distance**2
    # a group or a band may be left out, for half of the largest cost of a pair
    cost[np.arange(n), m + np.arange(n)] = 0.5
    cost[n + np.arange(m), np.arange(m)] = 0.5
    cost[n:, m:] = 0.0
    rows, columns = linear_sum_assignment(cost)
    pairs = {int(i): int(j) for i, j in zip(rows, columns, strict=True) if i < n and j < m}
    return float(cost[rows, columns].sum()), pairs


def _best_scale(
    found: Sequence[Band],
    groups: Sequence[MatchedBand],
    widths: np.ndarray,
    low: float,
    high: float,
) -> float:
    """Return the factor of the assignment of least cost in a scan, refined by least squares."""
    scan = np.linspace(low, high, 101)
    costs = [_assigned([_moved(band, s) for band in found], groups, widths)[0] for s in scan]
    best = float(scan[int(np.argmin(costs))])
    for _ in range(3):
        _, pairs = _assigned([_moved(band, best) for band in found], groups, widths)
        if not pairs:
            return best
        x = np.array([_place(groups[i]._replace(band=found[j])).value for i, j in pairs.items()])
        y = np.array([groups[i].position.value for i in pairs])
        best = float(np.clip(np.sum((x / y) * 1.0) / np.sum((x / y) ** 2), low, high))
    return best


def _match(
    group: MatchedBand, place: int | None, found: Sequence[Band], pairs: dict[int, int]
) -> MatchedBand:
    """Return a group with its computed band and the deviation, or the reason that it has none."""
    if place is None:
        at = group.position.value
        within = [j for j in pairs.values() if found[j].lower <= at <= found[j].upper]
        note = "no computed band"
        if within:
            note = (
                f"not resolved: within the computed band at {found[within[0]].position.value:.0f}"
            )
        return group._replace(note=note)
    matched = group._replace(band=found[place])
    computed = _place(matched)
    errors = [e for e in (computed.error, group.position.error) if np.isfinite(e)]
    error = float(np.hypot.reduce(errors)) if errors else float("nan")
    return matched._replace(deviation=Estimate(computed.value - group.position.value, error))
