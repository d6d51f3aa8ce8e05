# SPDX-License-Identifier: MIT
"""Lists of measured bands, and the bands of a computed spectrum that belong to them.

A list has positions and, where they are known, intensities and uncertainties. Bands are matched
one to one: of all ways to pair listed and computed bands that are nearer than the window, the one
with the least sum of squared distances relative to the window, plus one half for every listed and
every computed band that is left out (the assignment problem, solved by SciPy).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from eqcalc.facts import aligned
from eqcalc.spectra.estimator.statistics import Estimate
from eqcalc.spectra.experiment.comparison import check_intensity, spectroscopy
from eqcalc.spectra.experiment.ordinates import check_kind, is_transmittance, ordinate
from eqcalc.spectra.infrared_absorption import INFRARED_QUANTITIES, convert_infrared
from eqcalc.spectra.io.files import is_written_by_eqcalc, read_jcamp_file
from eqcalc.spectra.io.text import read_text
from eqcalc.spectra.spectrum import Band, Spectrum
from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    bounds,
    located,
    number_in,
    positive,
)

#: Titles of columns of a list of bands.
_TITLES = {
    "intensity": r"km[^a-z]{0,3}mol|intens|activity|raman(?! ?shift)|absorb|height|area|Å|\bA\^?4",
    "uncertainty": r"uncert|error|std|sigma|±|\+/-",
    "position": r"wave ?number|frequen|position|raman ?shift|cm\^?[-−⁻]|1/cm|\bpeak|\bband"
    r"|^ν|^nu\b|^x$",
    "name": r"mode|assign|symm|motion|label|species|descr|vibration",
}
#: A curve has points nearer than this [cm⁻¹], or evenly spaced, or more of them.
_SPARSE, _UNEVEN, _MOST_BANDS = 10.0, 0.3, 200
#: Window by default: relative to the wavenumber, and at least in cm⁻¹.
_WINDOW, _LEAST_WINDOW = 0.04, 30.0
#: Lower limit by default, to exclude rotation [cm⁻¹].
_LOWEST = 100.0


@dataclass(frozen=True)
class BandList:
    """Measured bands.

    Parameters
    ----------
    position
        ``[n_bands]``, cm⁻¹; a degenerate vibration may be listed more than once.
    intensity
        ``[n_bands]``, or None; nan where it is unknown.
    unit
        Of the intensities: ``"km/mol"``, ``"Å⁴/amu"``, or a text for relative ones.
    uncertainty
        ``[n_bands]``, cm⁻¹, or None; nan where it is unknown.
    names
        Assignment of each band, or empty.
    """

    position: np.ndarray
    intensity: np.ndarray | None = None
    unit: str = ""
    uncertainty: np.ndarray | None = None
    names: tuple[str, ...] = ()
    label: str = "listed bands"
    provenance: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def chosen(self, keep: np.ndarray) -> BandList:
        """Return the bands of a boolean or index array."""
        return replace(
            self,
            position=self.position[keep],
            intensity=None if self.intensity is None else self.intensity[keep],
            uncertainty=None if self.uncertainty is None else self.uncertainty[keep],
            names=tuple(np.array(self.names, dtype=object)[keep]) if self.names else (),
        )


# --- reading --------------------------------------------------------------------------


def is_band_list(path: str | Path) -> bool:
    """Return whether a file is a list of bands, not a curve.

    It is a JCAMP-DX peak table; a table with one number in a line, or whose titles say what a
    curve has not; or it has few points, far apart and uneven.
    """
    path = Path(path)
    known = path.suffix.lower() in (".h5", ".hdf5") or is_written_by_eqcalc(path)
    if known or not path.is_file():  # the reader says what is missing
        return False
    text = read_text(path)
    if text.lstrip().startswith("##"):
        return bool(re.search(r"^##PEAK ?TABLE=", text, re.MULTILINE | re.IGNORECASE)) and not (
            re.search(r"^##XY(DATA|POINTS)=", text, re.MULTILINE | re.IGNORECASE)
        )
    try:
        rows, titles = _rows(text)
        found = _from_rows(rows, titles, "")
    except InvalidInputError:
        return False
    if len(rows) > _MOST_BANDS or not len(rows):
        return False
    if found.intensity is None or found.unit or found.uncertainty is not None or found.names:
        return True
    gaps = np.diff(np.unique(found.position))
    sparse = len(gaps) > 1 and np.median(gaps) >= _SPARSE
    return bool(sparse and gaps.std() > _UNEVEN * gaps.mean())


def read_bands(path: str | Path) -> BandList:
    """Read a list of bands: a JCAMP-DX peak table, or columns of text.

    Columns without titles are the position and, optionally, the intensity. With titles the
    position, intensity (km/mol or Raman activity, Å⁴/amu; else relative), uncertainty and
    assignment are found by them.

    Raises
    ------
    InvalidFileError
        There is no such file, or a position is not a positive number, or an intensity negative.
    """
    path = Path(path)
    with located(file=path):
        text = read_text(path)
        if text.lstrip().startswith("##"):
            return _from_jcamp(read_jcamp_file(path))
        return _from_rows(*_rows(text), path.stem)


def _from_jcamp(spectrum: Spectrum) -> BandList:
    check_kind(spectrum.provenance.get("DATATYPE", ""), "data type")
    ordinate(spectrum.unit, "unit of the values")
    known = not is_transmittance(spectrum.unit)  # of a maximum, not of its baseline
    return BandList(
        spectrum.wavenumber,
        intensity=spectrum.values if known else None,
        unit=spectrum.unit if known else "",
        label=spectrum.label,
        provenance=spectrum.provenance,
        warnings=spectrum.warnings,
    )


def _rows(text: str) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """Return the numbered rows of a list of bands, split into columns, and the titles."""
    lines = [
        (number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)
    ]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise InvalidFileError(expected="a list of bands")
    first = lines[0][1]
    delimiter = next((mark for mark in "\t;," if mark in first), None)
    if delimiter is None:
        rows = [(number, line.split()) for number, line in lines]
    else:
        parts = csv.reader((line for _, line in lines), delimiter=delimiter)
        rows = [(number, part) for (number, _), part in zip(lines, parts, strict=False)]
    if delimiter != ",":
        rows = [(number, [_point(word) for word in part]) for number, part in rows]
    titled = all(number_in(word.strip()) is None for word in rows[0][1])
    return (rows[1:], rows[0][1]) if titled else (rows, [])


def _point(word: str) -> str:
    """Return a word whose decimal comma is a point."""
    return re.sub(r"^\s*([+-]?\d*),(\d+)\s*$", r"\1.\2", word)


def _from_rows(rows: list[tuple[int, list[str]]], titles: list[str], label: str) -> BandList:
    places: dict[str, list[int]] = {name: [] for name in _TITLES}
    for column, title in enumerate(titles):
        for name, pattern in _TITLES.items():
            if re.search(pattern, title, re.IGNORECASE):
                places[name].append(column)
                break
    if not titles:
        places = {"position": [0], "intensity": [1], "uncertainty": [], "name": []}
    if not places["position"]:
        raise InvalidFileError(
            key="titles of the columns", value=", ".join(titles)[:60], expected="a wavenumber"
        )

    def numbers(name: str, least: float) -> np.ndarray:
        """Return the first column of a name with any numbers; nan where there is none."""
        for place in places[name]:
            words = [row[place].strip() if place < len(row) else "" for _, row in rows]
            values = [number_in(word) for word in words]
            if any(value is not None for value in values):
                for (number, _), word, value in zip(rows, words, values, strict=True):
                    if (value is None and word) or (value is not None and value < least):
                        expected = f"{name}: a number of at least {least:g}"
                        key = f"line {number}"
                        raise InvalidFileError(key=key, value=word, expected=expected)
                return np.array([np.nan if v is None else v for v in values])
        return np.full(len(rows), np.nan)

    position = numbers("position", 1e-9)
    if not len(rows) or np.isnan(position).any():
        line = rows[int(np.argmax(np.isnan(position)))][0] if rows else 1
        raise InvalidFileError(key=f"line {line}", expected="position: a positive number")
    intensity, uncertainty = numbers("intensity", 0.0), numbers("uncertainty", 0.0)
    words = "".join(titles[place] for place in places["intensity"] if titles)
    unit = "km/mol" if re.search(r"km.*mol", words) else ""
    unit = "Å⁴/amu" if re.search(r"activity|Å|A\^?4", words, re.IGNORECASE) and not unit else unit
    names = [" ".join(row[i].strip() for i in places["name"] if i < len(row)) for _, row in rows]
    return BandList(
        position,
        None if np.isnan(intensity).all() else intensity,
        unit,
        None if np.isnan(uncertainty).all() else uncertainty,
        tuple(names) if any(names) else (),
        label,
    )


# --- matching -------------------------------------------------------------------------


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

    def table(self) -> str:
        """Return the bands as text, with standard errors in brackets, and a summary."""
        unit = self.listed.unit
        absolute = unit in ("km/mol", "Å⁴/amu")
        rows = [
            [
                " + ".join(f"{self.listed.position[i]:.0f}" for i in m.members),
                "–" if m.band is None else _pair(_place(m)),
                "–" if m.band is None else _pair(m.deviation, sign="+"),
                *([_number(m.intensity)] if self.listed.intensity is not None else []),
                *(["–" if m.band is None else _pair(m.band.area)] if absolute else []),
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

        def numbers(values: Sequence[float]) -> list[float | None]:
            return [None if np.isnan(value) else float(value) for value in values]

        return {
            "listed": self.listed.label,
            "wavenumber_scale": self.scale,
            "window": self.window,
            "bands": [
                {
                    "listed_cm-1": [float(self.listed.position[i]) for i in m.members],
                    "names": [self.listed.names[i] for i in m.members if self.listed.names],
                    "measured_cm-1": numbers(m.position),
                    "computed_cm-1": None if m.band is None else numbers(_place(m)),
                    "deviation_cm-1": numbers(m.deviation),
                    "measured_intensity": numbers([m.intensity])[0],
                    "computed_area": None if m.band is None else numbers(m.band.area),
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
        4 % of the wavenumber, at least 30 cm⁻¹.

    Raises
    ------
    InvalidInputError
        The spectrum has no intensities or is of another kind than those of the list; the limits
        contain no listed band or leave the spectrum.
    """
    check_intensity(calculated)
    _check_unit(calculated, listed)
    if listed.unit == "km/mol" and calculated.unit in _INFRARED:
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
    shown = replace(calculated, wavenumber=scale * calculated.wavenumber).between(lower, upper)
    return BandComparison(shown, chosen, matches, others, scale, stated)


_INFRARED = tuple(unit for unit, _, _ in INFRARED_QUANTITIES.values())


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
    inside = (spectrum.wavenumber >= band.lower) & (spectrum.wavenumber <= band.upper)
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


def _pair(estimate: Estimate, sign: str = "") -> str:
    text = f"{estimate.value:{sign}.1f}"
    return text if np.isnan(estimate.error) else f"{text} ({estimate.error:.1f})"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4g}"
