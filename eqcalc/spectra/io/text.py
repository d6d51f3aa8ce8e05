# SPDX-License-Identifier: MIT
"""Columns of text as instruments and spreadsheets export them.

Numbers have a decimal point or a decimal comma, columns are separated by
blanks, tabs, semicolons or (with decimal points) commas. The convention of a file is inferred from
all of its lines; ambiguous files are an error.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eqcalc.validation import InvalidFileError, existing_file

#: Column separators for any decimal mark.
_SEPARATOR = re.compile(r"\s*;\s*|\s+")
#: Column separators if the comma is not the decimal mark.
_ANY_SEPARATOR = re.compile(r"\s*[;,]\s*|\s+")
_COMMA_BESIDE_BLANK = re.compile(r",\s|\s,")


@dataclass(frozen=True)
class Table:
    """The first two columns of a table."""

    first: np.ndarray  #: ``[n_rows]``, as in the file
    second: np.ndarray  #: ``[n_rows]``; numbers may be nan
    n_columns: int  #: of the longest row
    header: tuple[str, ...]  #: lines before the first row, comments included


class _Row(NamedTuple):
    number: int  #: of the line in the file
    text: str

    def error(self, expected: str) -> InvalidFileError:
        shown = self.text if len(self.text) <= 60 else f"{self.text[:60]}…"
        return InvalidFileError(key=f"line {self.number}", value=shown, expected=expected)


def read_text(path: Path) -> str:
    """Return the content of a text file: UTF-8, UTF-16 with byte-order mark, or Latin-1.

    Raises
    ------
    InvalidFileError
        There is no such file; or it is a directory, empty, or not text.
    """
    data = existing_file(path, "a text file").read_bytes()
    if not data.strip():
        raise InvalidFileError("is empty", file=path)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise InvalidFileError(
            file=path,
            expected="a text file",
            advice="export the spectrum as JCAMP-DX or as columns of text",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # µ and ⁻¹ in column titles of older programs


def parse_table(text: str) -> Table:
    """Return the first two columns of a table of text.

    Text after ``#`` is a comment; lines before the first one that starts
    with a number are the header.

    Raises
    ------
    InvalidFileError
        A line has fewer than two numbers, or is ambiguous.
    """
    header: list[str] = []
    rows: list[_Row] = []
    for number, line in enumerate(text.splitlines(), 1):
        content, _, comment = line.partition("#")
        content = _unquoted(content).strip()
        if content and (rows or _starts_with_number(content)):
            rows.append(_Row(number, content))
        elif not rows:
            header += [part.strip() for part in (content, comment) if part.strip()]
    if len(rows) < 2:
        raise InvalidFileError(expected="two or more lines that start with a number")
    decimal_comma = _has_decimal_commas(rows)
    columns = [_columns(row, decimal_comma) for row in rows]
    points = [_point(row, c) for row, c in zip(rows, columns, strict=True)]
    first, second = np.array(points).T
    return Table(first, second, max(map(len, columns)), tuple(header))


def averaged(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points in ascending order of x, averaging y over repeated x."""
    ascending, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return ascending, np.bincount(inverse.ravel(), y) / counts


def _unquoted(line: str) -> str:
    """Return a line without quotation marks; commas between quoted fields separate."""
    return re.sub(r'"\s*,\s*"', ";", line).replace('"', "")


def _starts_with_number(text: str) -> bool:
    """Return whether the first column is a number, with commas of either meaning."""
    parts = _SEPARATOR.split(text)[0].rstrip(",").split(",")
    return all(_number(part) is not None for part in parts)


def _number(text: str) -> float | None:
    try:
        return float(re.sub("[dD]", "e", text))  # 1.5D+03 of Fortran
    except ValueError:
        return None


def _has_decimal_commas(rows: list[_Row]) -> bool:
    """Return whether commas are decimal marks; they separate columns otherwise."""
    commas = [row for row in rows if "," in row.text]
    if not commas:
        return False
    separating: list[_Row] = []
    others: list[_Row] = []
    for row in commas:
        alone = _COMMA_BESIDE_BLANK.search(row.text) or not _SEPARATOR.search(row.text)
        (separating if alone else others).append(row)
    if not separating:
        for row in rows:
            if "." in row.text:
                raise row.error("decimal commas alone or decimal points alone")
        return True
    if others:
        row = min(separating, others, key=len)[0]
        raise row.error("commas with the same meaning as in the other lines")
    # without a point in them, 1,2,3 may be 1.2 and 3 or 1 and 2.3
    columns = [_columns(row, False) for row in rows]
    if not any(re.search("[.eEdD]", number) for c in columns for number in c[:2]):
        for row, c in zip(rows, columns, strict=True):
            if len(c) > 2:
                raise row.error(
                    "columns separated by semicolons or tabs, where commas may be decimal marks"
                )
    return False


def _columns(row: _Row, decimal_comma: bool) -> list[str]:
    """Return the columns of a row, with decimal points."""
    columns = (_SEPARATOR if decimal_comma else _ANY_SEPARATOR).split(row.text)
    while columns and not columns[-1]:
        columns.pop()
    return [c.replace(",", ".") for c in columns] if decimal_comma else columns


def _point(row: _Row, columns: list[str]) -> tuple[float, float]:
    numbers = [_number(column) for column in columns[:2]]
    if len(numbers) < 2 or numbers[0] is None or numbers[1] is None:
        raise row.error("a wavenumber and a value")
    if not math.isfinite(numbers[0]):
        raise row.error("a finite wavenumber")
    return numbers[0], numbers[1]
