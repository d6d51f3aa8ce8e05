# SPDX-License-Identifier: MIT
"""Columns of text with a measured spectrum: which of them are wavenumber and value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eqcalc.files import read_text
from eqcalc.spectra.experiment.ordinates import is_quantity, states_quantity
from eqcalc.spectra.io.jcamp import to_wavenumber
from eqcalc.spectra.io.text import Table, averaged, parse_table
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import InvalidFileError, file_path, located

#: Units of wavelengths, frequencies and energies, which are converted.
_UNIT_OF_AXIS = re.compile(
    r"(?<![a-z])(nm|[µμu]m|microns?|nanomet(?:er|re)s?|micromet(?:er|re)s?|[TG]Hz"
    r"|m?eV|kK|1/m|m\^?-1|m⁻¹)(?![^\W_])",
    re.IGNORECASE,
)
#: Titles of a first column that is not a wavenumber; a unit is first, last, or after a bracket.
_OTHER_AXIS = re.compile(
    r"wave ?length|wellenl|^\W*energ(?:y|ie)\W*$|^\W*(m/z|ppm|time|(2 ?)?(theta|θ)|pixel|channel"
    r"|angle|voltage|potential|retention|temperature|pressure|concentration)\b"
    rf"|(?:^\W*|[(\[/] *){_UNIT_OF_AXIS.pattern}|[\W_]{_UNIT_OF_AXIS.pattern}\W*$",
    re.IGNORECASE,
)
#: Units of wavenumbers other than cm⁻¹.
_OTHER_WAVENUMBERS = ("1/m", "m-1", "m^-1", "m⁻¹", "kk")
#: How LabSpec states the unit of the first column.
_LABSPEC_AXIS = re.compile(r"^AxisUnit\[(?:1|\d(?=\]\W+(?:nm|[µμu]m|m?eV)\s*$))\]\W+([^\s\d]+)\s*$")
#: Titles of wavenumbers without a unit, which a quantity may have too.
_NAMED_WAVENUMBER = re.compile(r"wave ?number|wellenzahl|raman ?shift", re.IGNORECASE)
_WAVENUMBER = re.compile(r"cm\^?[-−⁻]|1/cm|wave ?number|wellenzahl|raman ?shift", re.IGNORECASE)
#: Titles of a first column.
_AXIS = re.compile(rf"{_WAVENUMBER.pattern}|frequency|shift|^ *x\b", re.IGNORECASE)
#: Numbers that may be wavelengths in µm, and the highest wavenumber of near-infrared spectra.
_MICROMETRES, _HIGHEST_WAVENUMBER = (0.7, 60.0), 13_500.0
#: Lines of the shortest curve, of several in one file.
_SHORTEST_BLOCK = 10
#: Columns of a spectrum with errors; wide tables are checked for several spectra.
_FEW = 4
#: Titles of columns that are not the spectrum, and of the one that is, beside others.
_BESIDE = re.compile(r"^\W*(dark|reference|background|blank|pixel|index|err|std|sd|σ|±)", re.I)
_FINAL = re.compile(r"dark ?subtracted|corrected|processed", re.IGNORECASE)


def read_table(path: str | Path, *, unit: str, label: str) -> Spectrum:
    """Read a measured spectrum from two columns of text: wavenumber [cm⁻¹] and value.

    The header may say that the first column is in µm, nm, GHz or THz instead.

    Decimal points or decimal commas; blanks, tabs, semicolons or commas between
    columns; a header, and comments after ``#``. The points may come in any
    order; values at the same wavenumber are averaged.

    Raises
    ------
    InvalidFileError
        There is no such file; it has another form or is ambiguous; or its header says that the
        first column is not a wavenumber, wavelength or frequency.
    """
    path = file_path(path)
    with located(file=path):
        table = parse_table(read_text(path))
        _check_one_spectrum(table)
        titled = any(map(_AXIS.search, table.header))
        unit_of_axis = unit_in_header(table.header)
        place, values, titles = _columns_of_spectrum(table)
        if not titled and not titles:
            place, values = _untitled_columns(table)
        provenance = {"file": path.name, **_header_statements(table.header)}
        if table.header:
            provenance["header"] = " | ".join(table.header)
        if titles and (place, values) != (0, 1):
            provenance["column"] = titles[values]
            if states_quantity(titles[values]):
                provenance["YUNITS"] = titles[values].strip()
        names = {0: "first", 1: "second", 2: "third", 3: "fourth"}
        more = (
            f"the file has {table.n_columns} columns, of which the "
            f"{names.get(values, f'{values + 1}th')} is used"
        )
        warnings = [more] if table.n_columns > 2 or values < place else []
        if place:  # pixels of no wavenumber
            table = table.filled(place)
        x, y = table.numbers((place, values), "a wavenumber and a value", missing=(values,)).T
        back = int(np.sum(np.diff(x) * (x[-1] - x[0]) < 0.0))
        if back:
            warnings.append(
                f"the abscissae go back (times: {back}): what is there twice is averaged"
            )
        if unit_of_axis and place == 0:
            x = to_wavenumber(x, unit_of_axis, " ".join(table.header), "first column")
        elif not titled:
            check_untitled_axis(x)
        return Spectrum(
            *averaged(x, y),
            unit=unit,
            label=label,
            provenance=provenance,
            history=(f"wavenumbers from {unit_of_axis}",) if unit_of_axis else (),
            warnings=tuple(warnings),
        )


def _untitled_columns(table: Table) -> tuple[int, int]:
    """Return the columns of the wavenumber and the value where nothing names them.

    They are the first two, unless the first one counts the lines, or the second one alone rises or
    falls from line to line.
    """
    first, second = np.diff(table.first), np.diff(table.second)
    if len(second) < _FEW or not ((second > 0.0).all() or (second < 0.0).all()):
        return 0, 1
    if table.n_columns > 2 and (first == 1.0).all() and table.first[0] in (0.0, 1.0):
        return 1, 2
    return (0, 1) if (first > 0.0).all() or (first < 0.0).all() else (1, 0)


def check_untitled_axis(x: np.ndarray) -> None:
    """Raise an error for abscissae without a title that are hardly wavenumbers."""
    low, high = float(x.min()), float(x.max())
    unit = "eV" if high < _MICROMETRES[0] else ""
    unit = "µm" if _MICROMETRES[0] <= low and high <= _MICROMETRES[1] else unit
    if high > _HIGHEST_WAVENUMBER:
        unit = "nm"
    if unit:
        kind = "energies" if unit == "eV" else "wavelengths"
        raise InvalidFileError(
            f"{low:g} to {high:g} without a title, as of {kind} in {unit}",
            key="first column",
            expected="wavenumbers in cm⁻¹, or a title of the column",
            advice=f"write its unit above the columns: {unit},A or cm-1,A",
        )


def _check_one_spectrum(table: Table) -> None:
    """Raise an error for a table of several spectra: a time series or a map."""
    widths, first = [len(words) for words in table.words], table.first
    several = "a time series or a map, not one spectrum"
    advice = "write one spectrum, in two columns, to a file"
    headed = 2 <= widths[0] < min(widths[1:]) == max(widths)
    if headed or (table.n_columns > _FEW and len(set(widths)) > 1):
        # the line of wavenumbers has no number of its own
        raise InvalidFileError(
            f"lines of {min(widths)} and of {max(widths)} numbers: {several}",
            key=f"line {table.rows[int(np.argmin(widths))].number}",
            advice=advice,
        )
    repeated = len(first) >= 4 * len(np.unique(first))
    back = np.diff(first) < 0.0
    mixed = table.n_columns > _FEW and 0.25 < back.mean() < 0.75
    blocks = _blocks(first, table)
    if blocks > 1:
        raise InvalidFileError(
            f"its wavenumbers begin anew {blocks - 1} times: several spectra, one below the other",
            key="first column",
            advice=advice,
        )
    if table.n_columns > 2 and (repeated or mixed):
        problem = f"repeats {first[0]:g}: {several}" if repeated else "is not in order"
        raise InvalidFileError(
            problem, key="first column", expected="wavenumbers in cm⁻¹", advice=advice
        )
    titled = len(re.split("[\t;,]", table.header[-1])) > 2 if table.header else False
    if table.n_columns > max(_FEW, len(first)) or (table.n_columns > _FEW and not titled):
        problem = f"{table.n_columns} columns without titles: {several}"
        raise InvalidFileError(problem, key=f"line {table.rows[0].number}", advice=advice)


def _blocks(x: np.ndarray, table: Table) -> int:
    """Return the number of different curves that are written one below the other."""
    steps = np.diff(x)
    forward = np.sign(np.median(steps)) if len(steps) else 0.0
    back = np.flatnonzero(forward * steps < -0.5 * np.ptp(x)) + 1
    if not len(back) or np.diff([0, *back, len(x)]).min() < _SHORTEST_BLOCK:
        return 1
    mean, inverse = averaged(x, table.second)[1], np.unique(x, return_inverse=True)[1].ravel()
    repeats = len(mean) < 0.75 * len(x)
    same = np.allclose(table.second, mean[inverse], equal_nan=True)
    return len(back) + 1 if repeats and not same else 1


def _header_statements(header: tuple[str, ...]) -> dict[str, str]:
    """Return what a header says of the kind of spectrum and the quantity of the second column."""
    found: dict[str, str] = {}
    graph = next((i for i, line in enumerate(header) if line.strip() in ("GR", "#GR")), None)
    if graph is not None and graph + 2 < len(header):  # Perkin-Elmer: the two units
        return {"YUNITS": header[graph + 2].strip()}
    for line in header:
        tab = "\t" in line
        name, *others = re.split(r"\t" if tab else r"[=:,;]| {2,}", line)
        key = re.sub(r"[\s_-]", "", name).upper()
        value = " ".join(others).strip()
        if key in ("DATATYPE", "YUNITS") and value:
            found[key] = value
        elif name.strip()[-1:] in ("=", ":"):
            continue  # a setting, not a title
        elif others and (_AXIS.search(name) or line == header[-1]) and states_quantity(others[0]):
            title = others[0].strip()
            if len(title) > 1 or len(others) == 1:  # not sample A and sample B
                found.setdefault("YUNITS", title)
    return found


def _columns_of_spectrum(table: Table) -> tuple[int, int, list[str]]:
    """Return the columns of the wavenumber and the value, and the titles, if there are any.

    They are the first two unless titles say others.

    Of several wavenumbers it is the Raman shift, and of several values the corrected one, or the
    first that is no reference or error.
    """
    titles = re.split(r"\t+|;|,", table.header[-1].rstrip(";,\t ")) if table.header else []
    found = [i for i, title in enumerate(titles) if _WAVENUMBER.search(title)]
    place = 0
    # of two, the first must be a quantity, as in "counts; wavenumber"
    several = len(titles) > 2 or (len(titles) > 0 and is_quantity(titles[0]))
    known = len(titles) == table.n_columns and titles[0].strip()[-1:] not in ("=", ":")
    if known and found and several:
        shifts = [i for i in found if re.search(r"shift", titles[i], re.IGNORECASE)]
        place = (shifts or found)[0]
    if not known or len(titles) <= _FEW:
        values = place + 1 if place + 1 < table.n_columns else place - 1
        return place, values, titles if known else []
    others = [i for i in range(len(titles)) if i > place] or [place - 1]
    final = [i for i in others if _FINAL.search(titles[i])]
    value = [i for i in others if not _BESIDE.search(titles[i])]
    return place, (final or value or others)[0], titles


def unit_in_header(header: Sequence[str]) -> str | None:
    """Return the unit of the first column if it is a wavelength or frequency by the header.

    InvalidFileError: it is something else, or has no unit.
    """
    for line in header:
        labspec = None if _WAVENUMBER.search(line) else _LABSPEC_AXIS.match(line)
        title, *others = re.split(
            "\t" if "\t" in line else "[,;]", re.sub(r"^XUNITS\W*", "[", line)
        )
        # a title has no number, unlike the wavelength of a laser or the place on a stage
        numbers = re.search(r"\d(?! ?(theta|θ)|/m\b)(?<!m-1)(?<!m\^-1)", title) or any(
            re.fullmatch(r"[ \d.+-]+", x) for x in others
        )
        if labspec is None and (numbers or not _OTHER_AXIS.search(title)):
            continue
        unit = _UNIT_OF_AXIS.search(title)
        other = unit is not None and unit.group(1).lower() in _OTHER_WAVENUMBERS
        named = _WAVENUMBER.search(title) or any(map(_NAMED_WAVENUMBER.search, others))
        if named and not other:
            continue
        if unit is not None and labspec is None:
            return unit.group(1)
        raise InvalidFileError(
            key="header of the first column",
            value=line[:60],
            expected="wavenumbers in cm⁻¹, or wavelengths, frequencies or energies with their unit",
        )
    return None
