# SPDX-License-Identifier: MIT
"""Columns of text with a measured spectrum: which of them are wavenumber and value."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eqcalc.files import read_text
from eqcalc.spectra.experiment.ordinates import is_quantity, states_quantity
from eqcalc.spectra.io.jcamp import to_wavenumber
from eqcalc.spectra.io.text import Table, averaged, parse_table
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import InvalidFileError, file_path, located, number_in

#: Units of wavenumbers other than cm⁻¹, and of wavelengths, frequencies, energies: converted.
_OTHER_WAVENUMBERS = r"1/[mnµμu]?m|[mnµμu]?m ?(?:\^?[-−]1|⁻¹)|kK"
_UNIT_OF_AXIS = re.compile(
    rf"(?<![a-z])({_OTHER_WAVENUMBERS}|nm|[µμu]m|microns?|nanomet(?:er|re)s?|micromet(?:er|re)s?|[TG]Hz"
    r"|m?eV)(?![^\W_])",
    re.IGNORECASE,
)
#: Titles of a first column that is not a wavenumber; a unit is first, last, or after a bracket.
_OTHER_AXIS = re.compile(
    r"wave ?length|wellenl|^\W*energ(?:y|ie)\W*$|^\W*(m/z|ppm|time|(2 ?)?(theta|θ)|pixel|channel"
    r"|angle|voltage|potential|retention|temperature|pressure|concentration|data ?points?"
    r"|retardation|mirror|optical ?path)\b"
    rf"|(?:^\W*|[(\[/] *){_UNIT_OF_AXIS.pattern}|[\W_]{_UNIT_OF_AXIS.pattern}\W*$",
    re.IGNORECASE,
)
#: How LabSpec states the unit of the first column.
_LABSPEC_AXIS = re.compile(r"^AxisUnit\[(?:1|\d(?=\]\W+(?:nm|[µμu]m|m?eV)\s*$))\]\W+([^\s\d]+)\s*$")
#: Digits that are not of a unit or of 2θ.
_NUMBER = re.compile(r"\d(?! ?(theta|θ)|/[mnµμu]?m\b)(?<!m[-−]1)(?<!m\^[-−]1)")
#: Titles of wavenumbers without a unit, which a quantity may have too.
_NAMED_WAVENUMBER = re.compile(r"wave ?number|wellenzahl|raman ?shift", re.IGNORECASE)
_WAVENUMBER = re.compile(r"cm\^?[-−⁻]|1/cm|wave ?number|wellenzahl|raman ?shift", re.IGNORECASE)
#: Titles of a first column.
_AXIS = re.compile(rf"{_WAVENUMBER.pattern}|frequency|shift|^ *x\b", re.IGNORECASE)
#: Numbers that may be wavelengths in µm, and the highest wavenumber of near-infrared spectra.
_MICROMETRES, _HIGHEST_WAVENUMBER = (0.7, 60.0), 13_500.0
#: Points of the shortest curve, of several in one file; up to how many are written in turn; how far
#: they are apart, in relation to their range and to their noise, beyond a share of the points.
_SHORTEST_CURVE, _MOST_IN_TURN, _APART, _ABOVE_NOISE, _MOSTLY = 10, 4, 0.05, 4.0, 0.95
#: Beyond all Raman shifts; the former is one of infrared light.
_HIGHEST_SHIFT = 5000.0
#: Beyond the wavenumber of any vibration and its overtones [cm⁻¹].
_HIGHEST = 1e6
#: Columns of a spectrum with errors; wide tables are checked for several spectra.
_FEW = 4
#: Statements on the abscissae, and on the number of points, in headers of instruments.
_OF_ABSCISSAE = re.compile(r"\W*x[-_ ]*(axis|units?|label|title)\b", re.IGNORECASE)
_STATED_POINTS = re.compile(
    r"\W*(?:n(?:umber|o\.?) of (?:data )?(?:points|pixels)[^\d:=\t,;]*|npoints|sizegraph)"
    r"\s*[:=\t,;]+\s*(\d{1,9})\W*",
    re.IGNORECASE,
)
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
        _check_points(table)
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
        elif (twice := len(x) - len(np.unique(x))) and _repeats_differ(x, y):
            warnings.append(f"abscissae repeat (times: {twice}): their values are averaged")
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


def check_range(wavenumber: np.ndarray, *, infrared: bool) -> None:
    """Raise an error for wavenumbers that no vibrational spectrum has.

    Those of a Raman spectrum are negative on the anti-Stokes side.
    """
    low, high = float(wavenumber.min()), float(wavenumber.max())
    if low < 0.0 and infrared:
        raise InvalidFileError(
            key="wavenumber",
            value=low,
            expected="none below zero, as of infrared spectra",
            advice="leave the lines below zero out",
        )
    if low > (_HIGHEST_WAVENUMBER if infrared else _HIGHEST_SHIFT):
        raise InvalidFileError(
            "all of them are those of light, not of vibrations",
            key="wavenumber",
            value=low,
            expected="Raman shifts in cm⁻¹, or infrared wavenumbers",
            advice="subtract Raman ones from that of the laser, 1e7/(its wavelength in nm)",
        )
    if max(high, -low) > _HIGHEST:
        value = high if high > -low else low
        raise InvalidFileError(key="wavenumber", value=value, expected=f"below {_HIGHEST:g} cm⁻¹")


def _check_one_spectrum(table: Table) -> None:
    """Raise an error for a table of several spectra: a time series or a map."""
    widths, first = [len(words) for words in table.words], table.first
    several = "a time series or a map, not one spectrum"
    advice = "write one spectrum, in two columns, to a file"
    _check_thousands(table)
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
    if how := _several_curves(first, table.second):
        raise InvalidFileError(f"several spectra, {how}", key="first column", advice=advice)
    names = _names_of_curves(table)
    if names:
        raise InvalidFileError(
            f"the lines are of {len(names)} spectra: {', '.join(names)[:60]}",
            key=f"line {table.rows[0].number}",
            advice=advice,
        )
    if not table.header and table.n_columns == _FEW and _is_axis(table, 2):
        raise InvalidFileError("two spectra side by side", key="columns 3 and 4", advice=advice)
    if table.n_columns > 2 and (repeated or mixed):
        problem = f"repeats {first[0]:g}: {several}" if repeated else "is not in order"
        raise InvalidFileError(
            problem, key="first column", expected="wavenumbers in cm⁻¹", advice=advice
        )
    titled = len(re.split("[\t;,]", table.header[-1])) > 2 if table.header else False
    if table.n_columns > max(_FEW, len(first)) or (table.n_columns > _FEW and not titled):
        problem = f"{table.n_columns} columns without titles: {several}"
        raise InvalidFileError(problem, key=f"line {table.rows[0].number}", advice=advice)


def _check_points(table: Table) -> None:
    """Raise an error for a table with fewer points than its header states."""
    for line in table.header:
        match = _STATED_POINTS.fullmatch(line)
        if match and int(match[1]) > len(table.rows):
            raise InvalidFileError(
                "the file is cut off, or was changed",
                key=line[:60],
                value=f"{len(table.rows)} points",
                expected=match[1],
            )


def _check_thousands(table: Table) -> None:
    """Raise an error for thousands marked by the commas that separate the columns, too."""
    long = [i for i, words in enumerate(table.words) if len(words) > 2]
    pairs = [table.words[i][:2] for i in long]
    form = r"[1-9]\d{0,2} \d{3}(\.\d*)?"
    if not long or not all(re.fullmatch(form, " ".join(pair)) for pair in pairs):
        return
    joined = np.array(table.first)
    joined[long] = [float("".join(pair)) for pair in pairs]
    steps, back = np.diff(joined), np.diff(table.first)
    if (np.all(steps > 0.0) or np.all(steps < 0.0)) and np.any(back * steps <= 0.0):
        raise InvalidFileError(
            "commas mark thousands and separate the columns",
            key=f"line {table.rows[long[0]].number}",
            value=table.rows[long[0]].text[:60],
            expected="numbers without marks of thousands",
            advice="write 1234.5 instead of 1,234.5, or enclose it in quotation marks",
        )


def _several_curves(x: np.ndarray, y: np.ndarray) -> str:
    """Return how the points of different curves are written in one table, or an empty text.

    Parts of a spectrum that overlap, scans that repeat it, and points in any order are one curve.
    """
    known = np.isfinite(y)
    x, y = x[known], y[known]
    steps = np.diff(x)
    forward = np.sign(np.median(steps)) if len(steps) else 0.0
    back = np.flatnonzero(forward * steps < 0.0) + 1
    parts = [*zip(np.split(x, back), np.split(y, back), strict=True)]
    if min(len(part) for part, _ in parts) >= _SHORTEST_CURVE:
        for i, (first, second) in enumerate(itertools.pairwise(parts)):
            if _differ(first, second) or _differ(parts[0], parts[i + 1]):
                return "one below the other"
    order = np.argsort(x, kind="stable")
    for n in range(2, _MOST_IN_TURN + 1):
        in_turn = [(x[order[i::n]], y[order[i::n]]) for i in range(n)]
        if len(x) < n * _SHORTEST_CURVE:
            break
        # lines that are not resolved are as rough with every second point
        rough = _roughness(y[order]) > 2.0 * max(_roughness(values) for _, values in in_turn)
        if rough and all(_differ(in_turn[0], other) for other in in_turn[1:]):
            return f"the points of {n} in turn"
    return ""


def _differ(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> bool:
    """Return whether two curves differ where both have values, by more than their noise."""
    (xa, ya), (xb, yb) = (averaged(*curve) for curve in (first, second))
    inside = (xb >= xa[0]) & (xb <= xa[-1])
    if inside.sum() < max(_SHORTEST_CURVE, 0.5 * min(len(xa), len(xb))):
        return False
    squares = np.sort((yb - np.interp(xb, xa, ya))[inside] ** 2)
    apart = np.sqrt(np.mean(squares[int(_MOSTLY * len(squares)) :]))  # bands are narrow
    noise = max(_roughness(ya), _roughness(yb))
    return bool(apart > max(_APART * max(np.ptp(ya), np.ptp(yb), apart), _ABOVE_NOISE * noise))


def _repeats_differ(x: np.ndarray, y: np.ndarray) -> bool:
    """Return whether values at the same abscissa differ by what one would see in a figure."""
    known = np.isfinite(y)
    ascending, means = averaged(x[known], y[known])
    off = np.abs(y[known] - means[np.searchsorted(ascending, x[known])])
    return bool(off.max(initial=0.0) > _APART / 2.0 * np.ptp(means))


def _roughness(y: np.ndarray) -> float:
    """Return the standard deviation of white noise with the same second differences."""
    return float(np.sqrt(np.mean(np.diff(y, 2) ** 2) / 6.0))


def _names_of_curves(table: Table) -> list[str]:
    """Return the names in a column of text that tell the lines of several curves apart."""
    least = min(map(len, table.words))
    for column in range(2, least):
        names = [*dict.fromkeys(words[column] for words in table.words)]
        many = _SHORTEST_CURVE * len(names) <= len(table.words)
        if len(names) > 1 and many and all(number_in(name) is None for name in names):
            return names
    return []


def _is_axis(table: Table, column: int) -> bool:
    """Return whether a column rises or falls from line to line."""
    values = table.numbers((column,), "a number", missing=(column,))[:, 0]
    steps = np.diff(values)
    return bool((steps > 0.0).all() or (steps < 0.0).all())


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
        while others and not others[-1].strip():  # cells of a spreadsheet
            others.pop()
        value = " ".join(others).strip()
        if key in ("DATATYPE", "YUNITS") and value:
            found[key] = value
        elif name.strip()[-1:] in ("=", ":") or _OF_ABSCISSAE.match(name):
            continue  # a setting, not a title
        elif others and (_AXIS.search(name) or line == header[-1]) and states_quantity(others[0]):
            title = others[0].strip()
            optical = [cell.strip() for cell in others] == ["n", "k"]
            if len(title) > 1 or len(others) == 1 or optical:  # not sample A and sample B
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
    if not known or len(titles) == 2:
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
        numbers = _NUMBER.search(title) or any(re.fullmatch(r"[ \d.+:/-]+", x) for x in others)
        if labspec is None and (numbers or not _OTHER_AXIS.search(title)):
            continue
        unit = _UNIT_OF_AXIS.search(title)
        other = unit is not None and re.fullmatch(_OTHER_WAVENUMBERS, unit.group(1), re.I)
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
