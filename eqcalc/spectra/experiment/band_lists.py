# SPDX-License-Identifier: MIT
"""Lists of measured bands, from columns of text and JCAMP-DX peak tables."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.facts import ComparedByValue
from eqcalc.files import read_text
from eqcalc.spectra.experiment.columns import check_range, check_untitled_axis, unit_in_header
from eqcalc.spectra.experiment.ordinates import check_kind, is_transmittance, ordinate
from eqcalc.spectra.io.files import is_written_by_eqcalc, read_jcamp_file
from eqcalc.spectra.io.jcamp import to_wavenumber
from eqcalc.spectra.io.text import thousands_mark
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import InvalidFileError, InvalidInputError, file_path, located, number_in

#: Titles of columns of a list of bands.
_TITLES = {
    "intensity": r"km[^a-z]{0,3}mol|inten|\bint\b|activ|raman(?! ?shift)|absorb|height|area|Å"
    r"|\bA\W*4",
    "uncertainty": r"uncert|error|std|sigma|±|\+/-",
    "position": r"wave ?number|wellenzahl|nombre d.onde|n[uú]mero de onda|freq|position"
    r"|raman ?shift|cm\^?[-−⁻]|1/cm|\bpeak|\bband|^ν|^nu\b|^x$|^(exp|obs|meas)"
    r"|wave ?length|wellenl|energ|^\W*(nm|[µμu]m|[TG]Hz|m?eV)\W*$",
    "name": r"mode|assign|symm|motion|label|species|descr|vibration|^name$",
}
#: Lowest band of a numbered list, and below the highest of any [cm⁻¹].
_LOWEST = 10.0
#: A number whose last digits are uncertain: 1746.01(3).
_LAST_DIGITS = re.compile(r"(?<![\w.])(\d+(?:\.(\d+))?)\((\d{1,2})\)")
#: A range as position, two positions, marks of approximate ones, and strengths behind them.
_RANGE = re.compile(r"(?<![\w.±/-])(\d+(?:\.\d+)?)\s*[-–—−]\s*(\d+(?:\.\d+)?)(?![\w.±/-])")
_WIDE = 0.2  # the largest range of one band, in relation to its position
_TWO_BANDS = re.compile(r"\d{3,4}(?:\.\d+)?\s*/\s*\d{3,4}(?:\.\d+)?(?![\w./])")
_ABOUT = re.compile(r"(?<![\w.])(?:[~≈]|ca\.?\s)\s*(?=\d)")
_GLUED = re.compile(r"^(\d+(?:\.\d+)?)(\*|vs|vw|s|m|w|br|sh)(?![\w.])")
_WITH_ERROR = re.compile(r"\s*[\d.]+±[\d.]+\s*")
#: Columns of the widest list of bands.
_WIDEST = 100
#: A curve has points nearer than this [cm⁻¹], or evenly spaced, or more of them.
_SPARSE, _UNEVEN, _COARSE, _MOST_BANDS = 10.0, 0.3, 100.0, 200


@dataclass(frozen=True, eq=False)
class BandList(ComparedByValue):
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
    path = file_path(path)
    known = path.suffix.lower() in (".h5", ".hdf5") or is_written_by_eqcalc(path)
    if known or not path.is_file():  # the reader says what is missing
        return False
    text = read_text(path)
    if text.lstrip().startswith("##"):
        form = r"^##(PEAK|XY) ?(?:TABLE|DATA|POINTS|ASSIGNMENTS) *="
        tables = re.findall(form, text, re.MULTILINE | re.IGNORECASE)
        return bool(tables) and {name.upper() for name in tables} == {"PEAK"}
    try:
        rows, titles = _rows(text)
        places = _places(titles)
        said = any(_unit(titles[i]) for i in places["intensity"] if titles) or places["name"]
        if not 0 < len(rows) <= _MOST_BANDS or said:
            return 0 < len(rows) <= _MOST_BANDS
        return _is_sparse(rows, places) or _from_rows(rows, titles, "").intensity is None
    except InvalidInputError:
        return False


def _is_sparse(rows: list[tuple[int, list[str]]], places: dict[str, list[int]]) -> bool:
    """Return whether the first column has numbers too far apart, or too uneven, for a curve.

    Zeros and imaginary wavenumbers of calculations are among them, which are refused later.
    """
    words = [part[i] if i < len(part) else "" for _, part in rows for i in places["position"][:1]]
    first = [number_in(word.strip()) for word in words]
    gaps = np.diff(np.unique([value for value in first if value is not None]))
    if not first or None in first or not len(gaps):
        return False
    uneven = len(gaps) > 1 and gaps.std() > _UNEVEN * gaps.mean()
    return bool(np.median(gaps) >= (_SPARSE if uneven else _COARSE))


def read_bands(path: str | Path, kind: str | None = None) -> BandList:
    """Read a list of bands: a JCAMP-DX peak table, or columns of text.

    Columns without titles are the position and, optionally, the intensity. With titles the
    position, intensity (km/mol or Raman activity, Å⁴/amu; else relative), uncertainty and
    assignment are found by them; of several intensities, the first or that of a `kind`,
    ``"infrared"`` or ``"Raman"``.

    Raises
    ------
    InvalidFileError
        There is no such file, or a position is not a positive number, or an intensity negative.
    """
    path = file_path(path)
    with located(file=path):
        text = read_text(path)
        if text.lstrip().startswith("##"):
            bands = _from_jcamp(read_jcamp_file(path))
        else:
            bands = _from_rows(*_rows(text), path.stem, kind)
        check_range(bands.position, infrared=True)  # those of Raman lists are shifts
        return bands


def _from_jcamp(spectrum: Spectrum) -> BandList:
    check_kind(spectrum.provenance.get("DATATYPE", ""), "data type")
    ordinate(spectrum.unit, "unit of the values")
    # of a maximum, not of its baseline
    known = not is_transmittance(spectrum.unit) and bool(np.isfinite(spectrum.values).any())
    if known and np.nanmin(spectrum.values) < 0.0:
        least = float(np.nanmin(spectrum.values))
        raise InvalidFileError(key="##PEAK TABLE", value=least, expected="intensities above zero")
    return BandList(
        spectrum.wavenumber,
        intensity=spectrum.values if known else None,
        unit=spectrum.unit if known else "",
        names=tuple(spectrum.provenance.get("assignments", ())),
        label=spectrum.label,
        provenance=spectrum.provenance,
        warnings=spectrum.warnings,
    )


def _rows(text: str) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """Return the numbered rows of a list of bands, in wavenumbers, and the titles of columns."""
    rows, titles = _split(text)
    places = _places(titles)
    above = itertools.takewhile(lambda line: not line.partition("#")[0].strip(), text.splitlines())
    header = [line.strip("# ") for line in above]
    unit = unit_in_header([*header, *(titles[i] for i in places["position"][:1] if titles)])
    for _, part in rows if unit else ():
        place = places["position"][0]
        value = number_in(part[place].strip()) if place < len(part) else None
        if value is None or value <= 0.0:
            continue  # refused later
        wavenumber = to_wavenumber(np.array(value), unit or "", "", "position").item()
        part[place] = f"{wavenumber:.10g}"
        for column in places["uncertainty"]:  # which is as large in relation
            error = number_in(part[column].strip()) if column < len(part) else None
            part[column] = "" if error is None else f"{wavenumber * error / value:.6g}"
    return rows, titles


def _split(text: str) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """Return the numbered rows of a list of bands, split into columns, and their titles."""
    lines = [
        (number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)
    ]
    lines = [(n, "±".join(map(str.strip, re.split(r"±|\+/-", line)))) for n, line in lines if line]
    lines = [(n, _LAST_DIGITS.sub(_uncertain, _RANGE.sub(_middle, line))) for n, line in lines]
    if not lines:
        raise InvalidFileError(expected="a list of bands")
    for number, line in lines:
        if match := _TWO_BANDS.match(line):
            expected = "one position in a line, or a range of them: 1746-1750"
            raise InvalidFileError(key=f"line {number}", value=match[0], expected=expected)
    lines = [(n, _GLUED.sub(r"\1 \2", _ABOUT.sub("", line))) for n, line in lines]
    first = lines[0][1]
    delimiter = next((mark for mark in "\t;," if mark in first), None)
    if delimiter is None:
        rows = [(number, _after_name(line)) for number, line in lines]
    else:
        rows = [(number, _fields(line, delimiter, number)) for number, line in lines]
    if mark := thousands_mark([[word.strip() for word in part] for _, part in rows]):
        rows = [(number, [_unmarked(word, mark) for word in part]) for number, part in rows]
    if delimiter != ",":
        rows = [(number, [_point(word) for word in part]) for number, part in rows]
    headings = [*itertools.takewhile(lambda row: not any(map(_is_number, row[1])), rows)]
    if headings and len(headings) < len(rows):
        width = len(rows[len(headings)][1])
        if any(len(part) != width for _, part in headings):
            headings = headings[:1]  # others are no units below the titles
        titles = itertools.zip_longest(*(part for _, part in headings), fillvalue="")
        columns = [" ".join(filter(None, words)) for words in titles]
        for number, part in headings[1:]:  # a band that is not understood is no unit
            cells = [part[i] for i in _places(columns)["position"] if i < len(part)]
            if any(re.search(r"\d\d", cell) for cell in cells):
                raise InvalidFileError(
                    key=f"line {number}", value=cells[0], expected="position: a positive number"
                )
        return _without_errors(rows[len(headings) :], columns)
    _refuse_running_text(rows)
    return _without_errors(rows, _titles_of_names(rows))


def _refuse_running_text(rows: list[tuple[int, list[str]]]) -> None:
    """Refuse bands that are written one after the other in a line, and lines of the same kind."""
    numbers = re.compile(r"(?<![\w.^−-])\d+(?:\.\d+)?(?![\w.])")
    found = [[float(word) for word in numbers.findall(" ".join(part))] for _, part in rows]
    values = np.array([value for row in found for value in row])
    steps = np.diff(values)
    positions = len(values) >= 3 and len(found[0]) >= 2 and values.min() >= 100.0
    if positions and ((steps > 0.0).all() or (steps < 0.0).all()):
        raise InvalidFileError(
            "several bands in a line",
            key=f"line {rows[0][0]}",
            value=" ".join(rows[0][1])[:60],
            advice="write a line for each band",
        )
    kinds = {kind for _, part in rows for kind, places in _places(part[:1]).items() if places}
    if kinds >= {"position", "intensity"}:
        raise InvalidFileError(
            "a line of positions and one of intensities", advice="write a line for each band"
        )


def _without_errors(
    rows: list[tuple[int, list[str]]], titles: list[str]
) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """Return rows whose positions and their errors, 1746.0±0.5, are columns of their own."""
    width = min(max(len(part) for _, part in rows), _WIDEST)
    places = _places(titles)["position"][:1]
    for i in reversed(range(width)):
        if any(_WITH_ERROR.fullmatch(part[i]) for _, part in rows if i < len(part)):
            rows = [
                (n, [*part[:i], *"".join(part[i : i + 1]).partition("±")[::2], *part[i + 1 :]])
                for n, part in rows
            ]
            titles = titles or ["position", "intensity"]
            titles = [*titles, *[""] * (i + 1 - len(titles))]
            titles.insert(i + 1, "uncertainty" if i in places else "")
    return rows, titles


def _fields(line: str, delimiter: str, number: int) -> list[str]:
    """Return the columns of a line, in which quotation marks may enclose delimiters."""
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error as error:  # far too long
        raise InvalidFileError(str(error), key=f"line {number}") from None


def _uncertain(match: re.Match[str]) -> str:
    """Return 1746.01±0.03 of 1746.01(3), whose last digits are uncertain."""
    value, decimals, digits = match.groups()
    return f"{value}±{int(digits) / 10 ** len(decimals or ''):g}"


def _middle(match: re.Match[str]) -> str:
    """Return 1748±2 of 1746-1750; other numbers are no range of one band."""
    low, high = float(match[1]), float(match[2])
    near = min(low, high) >= 100.0 and abs(high - low) <= _WIDE * max(low, high)
    return f"{(low + high) / 2.0:.10g}±{abs(high - low) / 2.0:.10g}" if near else match[0]


def _after_name(line: str) -> list[str]:
    """Return the words of a line; those before its first number are one, a name."""
    words = line.split()
    known = (number_in(_point(word.partition("±")[0])) is not None for word in words)
    first = next((i for i, is_number in enumerate(known) if is_number), 0)
    return [" ".join(words[:first]), *words[first:]] if first else words


def _is_number(word: str) -> bool:
    return number_in(_point(word.strip()).partition("±")[0]) is not None


def _first_number(words: Sequence[str]) -> bool:
    return bool(words) and number_in(words[0].strip()) is not None


def _titles_of_names(rows: list[tuple[int, list[str]]]) -> list[str]:
    """Return titles of the columns of lists in which names or numbers of bands come first."""
    width = max(len(part) for _, part in rows)
    if width > _WIDEST:
        return []
    columns = [[part[i].strip() if i < len(part) else "" for _, part in rows] for i in range(width)]
    values = [[number_in(_point(word).partition("±")[0]) for word in column] for column in columns]
    numeric = [all(value is not None for value in column) for column in values]
    counted = values[0] == [float(i) for i in range(1, len(rows) + 1)] and any(numeric[1:])
    if True not in numeric or (numeric[0] and not counted):
        return []
    place = next(i for i in range(counted, width) if numeric[i])
    if counted and min(value or 0.0 for value in values[place]) < _LOWEST:
        return []  # a curve from 1 cm⁻¹ on
    more = ["intensity"] if place + 1 < width and numeric[place + 1] else []
    return [*["name"] * place, "position", *more]


def _unmarked(word: str, mark: str) -> str:
    """Return a word without the mark of thousands if it is a number."""
    return word.replace(mark, "") if re.fullmatch(r"\s*[+-]?[\d.,]+\s*", word) else word


def _point(word: str) -> str:
    """Return a word whose decimal comma is a point."""
    return re.sub(r"^\s*([+-]?\d*),(\d+)\s*$", r"\1.\2", word)


def _places(titles: Sequence[str]) -> dict[str, list[int]]:
    """Return the columns of each kind in :data:`_TITLES`."""
    places: dict[str, list[int]] = {name: [] for name in _TITLES}
    for column, title in enumerate(titles):
        for name, pattern in _TITLES.items():
            if re.search(pattern, title, re.IGNORECASE):
                places[name].append(column)
                break
    return places if titles else {**places, "position": [0], "intensity": [1]}


def _unit(title: str) -> str:
    """Return the absolute unit of intensities in the title of a column, or an empty text."""
    if re.search(r"km[^a-z]{0,3}mol(?!.*per)", title, re.IGNORECASE):
        return "km/mol"
    return "Å⁴/amu" if re.search(r"activ|Å|\bA\W*4", title, re.IGNORECASE) else ""


def _from_rows(
    rows: list[tuple[int, list[str]]], titles: list[str], label: str, kind: str | None = None
) -> BandList:
    places = _places(titles)
    if not places["position"]:
        raise InvalidFileError(
            key="titles of the columns", value=", ".join(titles)[:60], expected="a wavenumber"
        )

    def words(place: int) -> list[str]:
        return [row[place].strip() if place < len(row) else "" for _, row in rows]

    def numbers(place: int | None, name: str, least: float) -> np.ndarray | None:
        """Return a column, nan where it is empty; None if it has no number."""
        found = [] if place is None else [number_in(word) for word in words(place)]
        if place is None or not any(value is not None for value in found):
            return None
        for (number, _), word, value in zip(rows, words(place), found, strict=True):
            if (value is None and word) or (value is not None and value < least):
                expected = f"{name}: a number of at least {least:g}"
                raise InvalidFileError(key=f"line {number}", value=word, expected=expected)
        return np.array([np.nan if value is None else value for value in found])

    position = numbers(places["position"][0], "position", 1e-9)
    if position is not None and not titles:
        check_untitled_axis(position)
    if position is None or np.isnan(position).any():
        line = 1 if position is None else rows[int(np.argmax(np.isnan(position)))][0]
        raise InvalidFileError(key=f"line {line}", expected="position: a positive number")
    if position.max() < _LOWEST:
        raise InvalidFileError(
            key="position",
            value=float(position.max()),
            expected=f"bands above {_LOWEST:g} cm⁻¹",
            advice="do commas mark thousands? Write 1746 instead of 1,746",
        )
    strengths = places["intensity"]
    if kind is not None and titles:
        other = r"raman|activ" if kind == "infrared" else r"km|infra|\bir"
        strengths = sorted(strengths, key=lambda i: bool(re.search(other, titles[i], re.I)))
    filled = [i for i in strengths if any(number_in(word) is not None for word in words(i))]
    names = [" ".join(row[i].strip() for i in places["name"] if i < len(row)) for _, row in rows]
    return BandList(
        position,
        numbers(filled[0] if filled else None, "intensity", 0.0),
        _unit(titles[filled[0]]) if filled and titles else "",
        numbers(next(iter(places["uncertainty"]), None), "uncertainty", 0.0),
        tuple(names) if any(names) else (),
        label,
    )
