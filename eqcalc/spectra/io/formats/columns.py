# SPDX-License-Identifier: MIT
"""Text in columns: LAMMPS, GROMACS ``.xvg``, i-PI properties, any table; the files of GPUMD."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eqcalc.files import text_lines
from eqcalc.spectra.io.formats.base import (
    UNITS,
    SeriesReader,
    check_even,
    check_unrepeated,
    looks_like_time,
    matrices,
    unit_in,
)
from eqcalc.spectra.io.text import Table, split_table
from eqcalc.spectra.series_checks import rises_evenly
from eqcalc.units import unit_in_name
from eqcalc.validation import InvalidFileError, InvalidInputError, number_in

#: First characters of lines that are skipped.
_COMMENTS = "#@!%&"
#: Titles of times, and of steps or frames, which are counted.
_TIME = re.compile(r"\W*(?:(?:simulation|elapsed|sim)?[ _]?time|t)(?![a-z])", re.IGNORECASE)
_STEP = re.compile(r"\W*(?:time|md|ionic)?[ _]?(?:step|frame|iteration|index)", re.IGNORECASE)
#: Units after titles: Time (ps), time[fs], time{picosecond}, t/fs, time_fs.
_TIME_UNIT = re.compile(
    r"[\[({/_ ]\s*((?:femto|pico|nano)?seconds?|[fpn]s|s|a\.?u\.?|atomic_unit)(?![a-z])",
    re.IGNORECASE,
)
#: How i-PI describes its columns, and GROMACS its axes.
_IPI_COLUMN = re.compile(r"(?:column|cols\.)\s+(\d+)(?:\s*-\s*(\d+))?\s+-->\s+([^:]*)")
_AXIS = re.compile(r"@\s*([xy])axis\s+label\s+\"(.*)\"")
_LEGEND = re.compile(r"@\s*s(\d+)\s+legend\s+\"(.*)\"")
#: A title with its unit, of titles between blanks.
_TITLE = re.compile(r"[^\s\[({]+(?:\s*[\[({][^\])}]*[\])}])?")
#: Component at the end of a title without its unit: mu_x, alpha_xy, axx, alpha_12.
_COMPONENT = re.compile(
    r"(?:.*[^a-z])?(?:mu|m|d|p|dip|dipole|a|alpha|pol)?_?([xyz]{1,2})"
    r"|(?:mu|m|d|p|dip|dipole|a|alpha|pol)_?([123]{1,2})",
    re.IGNORECASE,
)
#: Titles of what is no component: lengths, traces, other quantities.
_NO_COMPONENT = re.compile(
    r"\W*(?:(?:mu|m|d|p|dip|dipole|a|alpha|pol|polarizability)?[ _]?(?:total|tot|norm|abs|modul\w*"
    r"|magnitude|mean|average|avg|trace|iso|isotropic|aniso\w*|perp\w*|par|parallel)"
    r"|e(?:nergy|_?pot\w*|_?kin\w*|_?tot\w*)|(?:pot|kin|tot)\w*_?(?:energy|e)|temp\w*|press\w*"
    r"|vol\w*|density|charge|(?:force|veloc|posit|coord|momentum)\w*)\W*",
    re.IGNORECASE,
)
#: Titles of the components of other vectors: velocities, forces, positions.
_OTHER_VECTOR = re.compile(
    r"(?:v(?!_)|f|pos|vel|force|(?:veloc|posit|coord|moment)\w*?)_?[xyz]", re.IGNORECASE
)
#: Titles of derivatives along the time: dmu_x/dt, dipole_dot_x, current_x, J_x.
_RATE = re.compile(r"/ ?dt\b|[_ ]dot(?![a-z])|deriv|current|flux|^\W*J_?[xyz]\b", re.IGNORECASE)
#: Components of a frame of three, six and nine numbers.
_COMPONENTS = {
    3: ("x", "y", "z"),
    6: ("xx", "yy", "zz", "yz", "xz", "xy"),
    9: ("xx", "xy", "xz", "yx", "yy", "yz", "zx", "zy", "zz"),
}


class ColumnsReader(SeriesReader):
    """Three columns of a dipole moment, six or nine of a polarizability, numbered from 0.

    By default they are all three of a file, beside the time.
    Columns that a header calls time or step must have equal increments; without a header, so must
    the first one, if it rises. Times and units in the header are compared with the stated ones.
    """

    name = "columns"
    key = "columns"
    has_time_key = True

    def read_file(self, path: Path, key: Sequence[int] | None, time_key: int | None) -> np.ndarray:
        """Return the columns `key`, after checking for equal steps."""
        columns = list(key) if isinstance(key, Sequence) else []
        if key is not None and (
            len(columns) not in (3, 6, 9) or min(columns) < 0 or len(set(columns)) < len(columns)
        ):
            expected = "3, 6 or 9 different columns, numbered from 0"
            raise InvalidInputError(key="columns", value=columns, expected=expected)
        if time_key is not None and time_key < 0:
            expected = "a column, numbered from 0"
            raise InvalidInputError(key="time_key", value=time_key, expected=expected)
        table = _table(self._of_lammps(text_lines(path)))
        columns = columns or _three_columns(table, time_key)
        titles = _titles(table, columns)
        times = {i: title for i, title in titles.items() if _is_time(title) or _STEP.match(title)}
        if time_key is not None:
            times[time_key] = titles.get(time_key, "")
        needed = sorted({*columns, *times})
        read = table.numbers(needed, f"numbers in columns {', '.join(map(str, needed))}")
        values = dict(zip(needed, read.T, strict=True))
        for other in range(0 if titles or times else table.n_columns):
            if other not in columns and _is_number(table, other):
                values[other] = table.numbers([other], "numbers")[:, 0]
                if looks_like_time(values[other]):
                    times = {other: ""}
                    break
        for column in columns:
            if column in times or rises_evenly(values[column]):
                raise InvalidInputError(
                    f"column {column} is a time or step",
                    key="columns",
                    value=columns,
                    expected="the columns of the quantity, numbered from 0",
                )
        _check_components(titles, columns)
        lines = [row.number for row in table.rows]
        for column, title in times.items():
            step, slack = check_even(values[column], f"column {column}:", lines)
            self._says_times(step, slack, title, bool(np.all(values[column] % 1.0 == 0.0)), column)
        named = [titles[i] for i in columns if i in titles]
        said = any(unit_in(title, len(columns)) for title in named)
        others = [title for title in times.values() if title.strip()]  # have units of their own
        header = [functools.reduce(lambda x, y: x.replace(y, ""), others, h) for h in table.header]
        self.says_unit(named if said else header, len(columns), "header")
        return matrices(check_unrepeated(np.stack([values[i] for i in columns], axis=1)))

    def _says_times(self, step: float, slack: float, title: str, whole: bool, column: int) -> None:
        """Compare the increment of a column of times or steps, whole or not, with what is known."""
        place = f"column {column}" + (f" ({title.strip()})" if title else "")
        if title and not _is_time(title):
            self.says_steps(step, place)
        elif title or not whole:
            unit = _TIME_UNIT.search(title)
            self.says_interval(step, unit and unit.group(1).lower(), place, slack)

    def _of_lammps(self, lines: Iterable[tuple[int, str]]) -> Iterable[tuple[int, str]]:
        """Return the lines of the tables, if these are the lines of a log of LAMMPS."""
        lines = list(lines)
        if not any(line.startswith(("LAMMPS (", "Loop time of ")) for _, line in lines[: 10**5]):
            return lines
        kept, inside = [], False
        for number, line in lines:
            words = line.split()
            if words[:1] == ["Step"] and len(words) > 1:
                inside = True
                kept.append((number, f"# {line}"))
            elif line.startswith("Loop time"):
                inside = False
            elif inside and not line.startswith("WARNING"):
                kept.append((number, line))
        return kept


class GPUMDReader(SeriesReader):
    """``dipole.out`` and ``polarizability.out`` of GPUMD.

    The columns are the step and μx μy μz, or the step and αxx αyy αzz αxy αyz αzx.
    """

    name = "gpumd"

    def read_file(self, path: Path, key: None, time_key: None) -> np.ndarray:
        """Return the dipole moments or polarizabilities."""
        found = _table(text_lines(path))
        width = found.n_columns
        if width not in (4, 7):
            raise InvalidFileError(
                key="columns", value=width, expected="4 (dipole.out) or 7 (polarizability.out)"
            )
        table = found.numbers(range(width), f"{width} numbers")
        step, _ = check_even(table[:, 0], "step", [row.number for row in found.rows])
        self.says_steps(step, "column 0")
        if width == 4:
            return table[:, 1:]
        xx, yy, zz, xy, yz, zx = table[:, 1:].T
        tensor = np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
        return np.moveaxis(tensor, -1, 0)


def _table(lines: Iterable[tuple[int, str]]) -> Table:
    table = split_table(lines, _COMMENTS)
    if len(table.rows) < 2:
        raise InvalidFileError(
            expected="a frame on each line", value=f"{len(table.rows)} lines with numbers"
        )
    return table


def _three_columns(table: Table, time_key: int | None) -> list[int]:
    """Return the three columns of a table that are the components of a vector.

    They are those that titles call so, or all that are neither the time nor the length of the
    others; an error if there are more.
    """
    every = [i for i in range(table.n_columns) if i != time_key]
    titles = _titles(table, every[1:] if time_key is None else every)
    titled = [i for i in every if _component(titles.get(i, ""), 3) in _COMPONENTS[3]]
    dipoles = [i for i in every if re.match(r"\W*dip", titles.get(i, ""), re.IGNORECASE)]
    for found in (titled, dipoles):
        if len(found) == 3:
            return found
    others = {i: title for i, title in titles.items() if _is_time(title) or _STEP.match(title)}
    first = table.numbers([0], "numbers")[:, 0] if len(every) > 3 and time_key is None else None
    if first is not None and not others and looks_like_time(first):
        others = {0: ""}
    rest = [i for i in every if i not in others]
    for length in (rest[-1:], rest[:1]) if len(rest) == 4 else ():
        vector = [i for i in rest if i not in length]
        values = table.numbers([*vector, *length], "numbers")
        lengths = np.linalg.norm(values[:, :3], axis=1)
        if np.allclose(lengths, values[:, 3], rtol=1e-3, atol=1e-3 * lengths.max()):
            return vector
    if len(rest) != 3:
        raise InvalidInputError(
            key="columns",
            value=f"{table.n_columns} columns"
            + (f": {', '.join(titles.values())}" if titles else ""),
            expected="those of the quantity, numbered from 0, such as 1,2,3",
            advice="state them (--dipole-key, --polarizability-key)",
        )
    return rest


def _component(title: str, n: int) -> str:
    """Return the component, such as ``x`` or ``xy``, that a title names, or nothing.

    Titles of other vectors name none of a quantity with `n` numbers.
    """
    name, _ = unit_in_name(re.sub(r"[\[({/].*", "", title).strip(" _"), UNITS[n])
    match = _COMPONENT.fullmatch(name)
    if match is None or _OTHER_VECTOR.fullmatch(name):
        return ""
    return (match.group(1) or match.group(2)).lower().translate(str.maketrans("123", "xyz"))


def _is_number(table: Table, column: int) -> bool:
    """Return whether a column has numbers alone."""
    return all(len(w) > column and number_in(w[column]) is not None for w in table.words)


def _is_time(title: str) -> bool:
    return _TIME.match(title) is not None and _STEP.match(title) is None


def _check_components(titles: Mapping[int, str], columns: Sequence[int]) -> None:
    """Check that titles which name components name those that are read from their columns."""
    named = {}
    wanted = _COMPONENTS[len(columns)]
    for column, title in titles.items():
        name, _ = unit_in_name(re.sub(r"[\[({/].*", "", title).strip(" _"), UNITS[len(columns)])
        match = _COMPONENT.fullmatch(name)
        component = (match.group(1) or match.group(2)).lower() if match else ""
        component = component.translate(str.maketrans("123", "xyz"))
        if column in columns and _RATE.search(title):
            raise InvalidInputError(
                f"column {column} is titled {title.strip()!r}, a derivative along the time",
                key="columns",
                value=list(columns),
                expected=f"{', '.join(wanted)} of the quantity itself",
                advice="in Python, infrared and raman take derivatives (derivative=…)",
            )
        other = column in columns and _OTHER_VECTOR.fullmatch(name) is not None
        if len(component) == len(wanted[0]) and not other:
            named[column] = component
        elif other or (
            column in columns and (len(component) == 2 or _NO_COMPONENT.fullmatch(name))
        ):
            raise InvalidInputError(
                f"column {column} is titled {title.strip()!r}, which is no component",
                key="columns",
                value=list(columns),
                expected=f"{', '.join(wanted)}, in this order",
            )
    found = [named.get(column, "") for column in columns]
    same = [
        {"".join(sorted(a)), ""} >= {"".join(sorted(b))} for a, b in zip(wanted, found, strict=True)
    ]
    if not any(found) or all(same):
        return
    places = {"".join(sorted(component)): column for column, component in named.items()}
    right = [places.get("".join(sorted(component))) for component in wanted]
    whole = None not in right and len(named) == len(places)
    raise InvalidInputError(
        f"the titles of the columns are {', '.join(name or '?' for name in found)}",
        key="columns",
        value=list(columns),
        expected=f"{', '.join(wanted)}, in this order",
        advice=f"take the columns {','.join(map(str, right))}" if whole else "",
    )


def _titles(table: Table, columns: Sequence[int]) -> Mapping[int, str]:
    """Return the titles of columns that the header of a table has."""
    titles: dict[int, str] = {}
    legends: dict[int, str] = {}
    n = table.n_columns
    for line in table.header:
        if (match := _IPI_COLUMN.search(line)) is not None:
            first, last, title = match.groups()
            titles |= dict.fromkeys(range(int(first) - 1, min(int(last or first), n)), title)
        elif (match := _AXIS.match(line)) is not None:
            places = [0] if match.group(1) == "x" else range(1, n)
            titles |= dict.fromkeys(places, match.group(2))
        elif (match := _LEGEND.match(line)) is not None:  # with marks of subscripts
            legends[int(match.group(1)) + 1] = re.sub(r"\\[sSN]", "", match.group(2)).strip("| ")
    if titles:
        units = {i: re.findall(r"[\[(].*[\])]", title) for i, title in titles.items()}
        of_sets = {i: " ".join([x, *units.get(i, [])]) for i, x in legends.items() if i < n}
        return {**titles, **of_sets}
    for line in reversed(table.header):
        text = re.sub(r"^[!@%&\s]*(FIELDS\s)?", "", line)
        separator = next((mark for mark in ";\t," if mark in text), None)
        words = _TITLE.findall(text) if separator is None else text.split(separator)
        if len(words) != n or number_in(words[0].strip()) is not None:
            continue
        # not a sentence of as many words
        named = separator is not None or all(
            re.search("[xyz0-9]", words[i], re.IGNORECASE) for i in columns if i < n
        )
        first = re.sub(r"[\[({/].*", "", words[0]).strip()
        timed = 0 not in columns and bool(_TIME.fullmatch(first) or _STEP.match(first))
        if named or timed:
            return dict(enumerate(words))
    return {}
