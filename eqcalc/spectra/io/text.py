# SPDX-License-Identifier: MIT
"""Text of other programs: its lines, and the numbers in its columns.

Numbers have a decimal point or a decimal comma, columns are separated by
blanks, tabs, semicolons or (with decimal points) commas. Thousands may be marked. The convention of
a file is inferred from all of its lines; ambiguous files are an error.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from eqcalc.validation import InvalidFileError, number_in

#: Column separators for any decimal mark.
_SEPARATOR = re.compile(r"\s*;\s*|\s+")
#: Column separators if the comma is not the decimal mark.
_ANY_SEPARATOR = re.compile(r"\s*[;,]\s*|\s+")
_SOME_ROWS = 10  # of a table that a text follows
_COLUMN_MARK = re.compile(r"[;,\t]")
#: A percent sign after the last number of a line.
_PERCENT = re.compile(r"(?<=\d) ?%\s*$")
_COMMA_BESIDE_BLANK = re.compile(r",\s|\s,")
#: A field between commas that has one itself.
_QUOTED_COMMA = re.compile(r'(?:^|,)\s*"[^",]*,[^"]*"\s*(?:,|$)')
#: Marked thousands: 1'234.5 and 1 234,5 with blanks that do not break; 1,234.5; 1.234,5.
_MARKED = re.compile(r"(?<![\d.,])\d{1,3}(?:['’\u00a0\u202f\u2009]\d{3})+(?!\d)")
_ENGLISH = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")
_GERMAN = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?")
_DIGITS = re.compile(r"[+-]?[\d.,]+(?:[eEdD][+-]?\d+)?")
_FOOTER = re.compile(r"\s*(###|##END\b|>{3}|\[[A-Za-z][\w .-]*\]\s*$)")
#: A line of text after a table, or the end of a file of DOS; a value that is missing is none.
_TEXT = re.compile(r"\s*(?!(?:nan|inf)\w*\b)[A-Za-z]{2}|\x1a", re.IGNORECASE)
#: Headings of the table itself, before which numbers are settings.
_HEADING = re.compile(r"\s*(#\s*DATA|\[?XY ?DATA\]?|>{3,}\s*Begin.*)\s*$", re.IGNORECASE)


class Row(NamedTuple):
    """A line of a table."""

    number: int  #: of the line in the file, from 1
    text: str

    def error(self, expected: str) -> InvalidFileError:
        """Return the error that this line is something else."""
        shown = self.text if len(self.text) <= 60 else f"{self.text[:60]}…"
        return InvalidFileError(key=f"line {self.number}", value=shown, expected=expected)


@dataclass(frozen=True)
class Table:
    """The lines of a table, split into columns."""

    rows: list[Row]
    words: list[list[str]]  #: columns of each line, with decimal points
    header: tuple[str, ...]  #: lines before the first row, comments included

    @property
    def n_columns(self) -> int:
        """Number of columns of the longest line."""
        return max(map(len, self.words))

    def filled(self, column: int) -> Table:
        """Return the table without the rows in which a column is empty."""
        kept = [i for i, words in enumerate(self.words) if column < len(words) and words[column]]
        rows, words = [self.rows[i] for i in kept], [self.words[i] for i in kept]
        return Table(rows, words, self.header)

    def numbers(
        self, columns: Sequence[int], expected: str, *, missing: Sequence[int] = ()
    ) -> np.ndarray:
        """Return columns as ``[n_rows, len(columns)]``.

        Parameters
        ----------
        columns
            Their numbers, from 0.
        expected
            What each line should have, for errors.
        missing
            Those in which nan and inf are allowed, as missing values (nan).

        Raises
        ------
        InvalidFileError
            A line has fewer columns, or text in one of them.
        """
        wanted = [(column, column in missing) for column in columns]
        values = []
        for row, words in zip(self.rows, self.words, strict=True):
            for column, may_be_missing in wanted:
                value = number_in(words[column]) if column < len(words) else None
                if value is None and may_be_missing and column < len(words):
                    value = _MISSING.get(words[column].lstrip("+-").lower())
                if value is None:
                    raise row.error(expected)
                values.append(value)
        return np.array(values).reshape(-1, len(wanted))

    @property
    def first(self) -> np.ndarray:
        """The first column of a measured spectrum."""
        return self.numbers((0,), _POINT)[:, 0]

    @property
    def second(self) -> np.ndarray:
        """The second column of a measured spectrum; missing values are nan."""
        return self.numbers((1,), _POINT, missing=(1,))[:, 0]


_MISSING = dict.fromkeys(("nan", "inf", "infinity"), float("nan"))
_POINT = "a wavenumber and a value"


def parse_table(text: str) -> Table:
    """Return the table of a measured spectrum, whose first two columns are numbers.

    What follows the table under a heading in brackets or after ``###`` is not read.

    Raises
    ------
    InvalidFileError
        A line has fewer than two numbers, or is ambiguous.
    """
    table = split_table(_before_footer(text.splitlines()))
    if len(table.rows) < 2:
        raise InvalidFileError(expected="two or more lines that start with a number")
    table.numbers((0, 1), _POINT, missing=(1,))
    return table


def _before_footer(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Return the numbered lines before the settings that some instruments write after a table."""
    heading = next((i for i, line in enumerate(lines) if _HEADING.match(line)), -1)
    last = max((i for i, line in enumerate(lines) if _starts_with_number(line.strip())), default=0)
    started = False
    for number, line in enumerate(lines, 1):
        if number <= heading + 1:
            yield number, f"#{line}"
            continue
        # text after a whole table
        after = number > last + 1 > heading + _SOME_ROWS
        apart = after and (not lines[last + 1].strip() or _TEXT.match(lines[last + 1]))
        if started and (_FOOTER.match(line) or apart):
            return
        started = started or _starts_with_number(line.strip())
        yield number, line


def split_table(lines: Iterable[tuple[int, str]], comments: str = "#") -> Table:
    """Return the columns of text in lines with their numbers.

    Lines before the first one that starts with a number are the header.

    Parameters
    ----------
    lines
        Numbered lines.
    comments
        Text after ``#`` is a comment, and lines that start with another of these characters are.

    Raises
    ------
    InvalidFileError
        A line is ambiguous.
    """
    header: list[str] = []
    rows: list[Row] = []
    lines = list(lines)
    fields = any(_QUOTED_COMMA.search(line) and _starts_with_number(line) for _, line in lines)
    for number, line in lines:
        content, _, comment = line.partition("#")
        titles = _COLUMN_MARK.search(content) and not _starts_with_number(content.strip())
        if not rows and titles:
            content, comment = line, ""  # a number sign in titles of columns
        content = _PERCENT.sub("", _unquoted(content, fields))
        content = _MARKED.sub(lambda match: re.sub(r"\D", "", match[0]), content).strip()
        if content and content[0] in comments:
            content, comment = "", line.strip()
        content = content.strip(",;") and content  # cells of a spreadsheet that are all empty
        if content and (rows or _starts_with_number(content)):
            rows.append(Row(number, content))
        elif not rows:
            header += [part.strip() for part in (content, comment) if part.strip()]
    rows = _without_thousands(rows)
    decimal_comma = _has_decimal_commas(rows)
    return Table(rows, [_columns(row, decimal_comma) for row in rows], tuple(header))


def averaged(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points in ascending order of x, averaging y over repeated x."""
    ascending, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return ascending, np.bincount(inverse.ravel(), y) / counts


def _unquoted(line: str, fields: bool) -> str:
    """Return a line without quotation marks; commas between quoted fields are semicolons.

    All that separate fields are, where those with commas of another meaning are quoted.
    """
    if fields and ";" not in line and "\t" not in line:
        try:
            return ";".join(next(csv.reader([line], skipinitialspace=True), []))
        except csv.Error:  # far too long
            pass
    return re.sub(r'"\s*,\s*"', ";", line).replace('"', "")


def _without_thousands(rows: list[Row]) -> list[Row]:
    """Return rows without the marks of thousands."""
    if not any("," in row.text for row in rows):
        return rows
    parts = [_SEPARATOR.split(row.text) for row in rows]
    if any(len(part) < 2 for part in parts):
        return rows  # commas separate the columns
    mark = thousands_mark(parts)
    return [row._replace(text=row.text.replace(mark, "")) for row in rows] if mark else rows


def thousands_mark(lines: Sequence[Sequence[str]]) -> str:
    """Return the comma or point that marks thousands in the words of lines, or an empty text.

    It is one where nothing else can be meant: in numbers with both marks, 1,234.5, or of one column
    in which smaller ones have none.
    """
    words = [[word if _DIGITS.fullmatch(word) else "" for word in line] for line in lines]
    for comma, point, form in ((",", ".", _ENGLISH), (".", ",", _GERMAN)):
        marked = [word for line in words for word in line if comma in word]
        if not marked or not all(map(form.fullmatch, marked)):
            continue
        columns = itertools.zip_longest(*words, fillvalue="")
        some = any(len({comma in word for word in column if word}) == 2 for column in columns)
        if any(point in word for word in marked) or (
            some and any(point in word for line in words for word in line)
        ):
            return comma
    return ""


def _starts_with_number(text: str) -> bool:
    """Return whether the first column is a number, with commas of either meaning."""
    parts = _SEPARATOR.split(text.replace('"', "").strip(), maxsplit=1)[0].rstrip(",").split(",")
    return all(number_in(part) is not None for part in parts)


def _has_decimal_commas(rows: list[Row]) -> bool:
    """Return whether commas are decimal marks; they separate columns otherwise."""
    commas = [row for row in rows if "," in row.text]
    if not commas:
        return False
    separating: list[Row] = []
    others: list[Row] = []
    for row in commas:
        alone = _COMMA_BESIDE_BLANK.search(row.text) or not _SEPARATOR.search(row.text)
        (separating if alone else others).append(row)
    if not separating:
        for row in rows:
            if "." in row.text:
                raise row.error("decimal commas alone or decimal points alone, thousands unmarked")
        return True
    if others:
        row = min(separating, others, key=len)[0]
        raise row.error("commas with the same meaning as in the other lines")
    # without a point in them, 1,2,3 may be 1.2 and 3 or 1 and 2.3
    columns = [_columns(row, False) for row in rows]
    if not any(re.search("[.eEdD]", number) for c in columns for number in c):
        for row, c in zip(rows, columns, strict=True):
            if len(c) > 2:
                raise row.error(
                    "columns separated by semicolons or tabs, where commas may be decimal marks"
                )
    return False


def _columns(row: Row, decimal_comma: bool) -> list[str]:
    """Return the columns of a row, with decimal points."""
    if "," not in row.text and ";" not in row.text:
        return row.text.split()
    columns = (_SEPARATOR if decimal_comma else _ANY_SEPARATOR).split(row.text)
    while columns and not columns[-1]:
        columns.pop()
    return [c.replace(",", ".") for c in columns] if decimal_comma else columns
