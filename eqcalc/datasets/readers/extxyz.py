# SPDX-License-Identifier: MIT
"""Read extended XYZ, optionally compressed, one structure at a time.

The format: a line with the number of atoms; a line of ``key=value`` with
``Properties=species:S:1:pos:R:3:...`` naming the columns; a line per atom. A
damaged structure is reported and the next one is read.
"""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import lzma
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase.data import atomic_numbers

from eqcalc.datasets.readers import Frame, FrameError
from eqcalc.quantities import known_quantities
from eqcalc.validation import InvalidInputError, existing_file

_OPENERS: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
_PAIR = re.compile(
    r"""(?P<key>[^\s="']+)\s*=\s*
        (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|[{](?P<brace>[^}]*)[}]|(?P<bare>[^\s"']+))""",
    re.VERBOSE,
)
_DIGITS = 9  # a count with more digits is a damaged line


class ExtxyzReader:
    """The structures of an extended XYZ file.

    Parameters
    ----------
    path
        The file; ``.xz``, ``.gz`` and ``.bz2`` are decompressed.
    properties
        Columns of a plain XYZ file, for example ``"species:S:1:pos:R:3:gradient:R:3"``. A
        comment line that is a single number has the key ``comment``.
    """

    level_of_theory = ""

    def __init__(self, path: str | Path, *, properties: str = "species:S:1:pos:R:3") -> None:
        self.path = existing_file(path, "an extended XYZ file")
        try:
            _columns(properties)
        except FrameError as error:
            raise InvalidInputError(str(error), key="properties", value=properties) from None
        self._properties = properties
        first = next((frame for frame in self if isinstance(frame, Frame)), None)
        named = () if first is None else first.values
        #: Only keys named like a quantity are mapped by default.
        self.keys: Mapping[str, str] = {name: name for name in known_quantities() if name in named}
        #: None: the format does not define units.
        self.units: Mapping[str, str] = {}

    def __iter__(self) -> Iterator[Frame | FrameError]:
        opener = _OPENERS.get(self.path.suffix, open)
        with opener(self.path, "rt", encoding="utf-8", errors="replace") as file:
            try:
                yield from _frames(file, self._properties)
            except (EOFError, OSError, lzma.LZMAError) as error:
                yield FrameError(f"the file ends or is damaged here: {error}")


def _frames(file: IO[str], properties: str) -> Iterator[Frame | FrameError]:
    number = 0
    for line in file:
        number += 1
        text = line.strip()
        if not text:
            continue
        n_atoms = int(text) if text.isdecimal() and len(text) < _DIGITS else 0
        if not n_atoms:
            # without a count, the start of the next structure is unknown
            yield FrameError(
                f"line {number}: expected the number of atoms, got {text[:40]!r}; "
                "the rest of the file is not read"
            )
            return
        comment, *lines = list(itertools.islice(file, 1 + n_atoms)) or [""]
        if len(lines) < n_atoms:
            yield FrameError(f"line {number}: {n_atoms} atoms announced, the file ends before")
            return
        try:
            yield _frame(comment, lines, properties)
        except (ValueError, KeyError) as error:
            yield FrameError(f"line {number}: {error}")
        number += 1 + n_atoms


def _frame(comment: str, lines: list[str], properties: str) -> Frame:
    texts: dict[str, str] = {}
    for match in _PAIR.finditer(comment):
        text = next(match[g] for g in ("double", "single", "brace", "bare") if match[g] is not None)
        if match["key"] in texts:
            raise FrameError(f"{match['key']} is given twice")
        texts[match["key"]] = text
    properties = texts.pop("Properties", properties)
    if not texts and isinstance(_parse(comment), float):
        texts["comment"] = comment
    cell, pbc = _periodicity(texts.pop("Lattice", None), texts.pop("pbc", None))
    columns = _read_columns(_columns(properties), [line.split() for line in lines])
    species = next((columns.pop(n) for n in ("species", "Z", "numbers") if n in columns), None)
    positions = columns.pop("pos", None)
    if species is None or positions is None:
        raise FrameError("Properties names no species or no pos")
    if positions.shape != (len(lines), 3) or positions.dtype != np.float64:
        raise FrameError("Properties: expected three real numbers as pos")
    for name in columns:
        if name in texts:
            raise FrameError(f"{name} is both a column and a key of the comment line")
    numbers = np.array([_atomic_number(str(symbol)) for symbol in species])
    values = {key: _parse(text) for key, text in texts.items()}
    return Frame(numbers, positions, {**values, **columns}, cell, pbc)


def _periodicity(
    lattice: str | None, periodic: str | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if lattice is None:
        if periodic is not None and _truths(periodic).any():
            raise FrameError("pbc is set but there is no Lattice")
        return None, None
    flat = np.array(lattice.split(), dtype=np.float64)
    if flat.shape != (9,):
        raise FrameError(f"Lattice: expected 9 numbers, got {flat.size}")
    pbc = np.ones(3, dtype=bool) if periodic is None else _truths(periodic)
    return flat.reshape(3, 3), pbc


def _read_columns(
    columns: list[tuple[str, str, int]], cells: list[list[str]]
) -> dict[str, np.ndarray]:
    """Return the columns of the atoms by name, ``[n_atoms]`` or ``[n_atoms, count]``."""
    width = sum(count for _, _, count in columns)
    for i, row in enumerate(cells):
        if len(row) != width:
            raise FrameError(f"atom {i}: expected {width} columns, got {len(row)}")
    types = {"R": np.float64, "I": np.int64, "S": np.str_, "L": np.str_}
    values = {}
    start = 0
    for name, kind, count in columns:
        block = np.array([row[start : start + count] for row in cells]).astype(types[kind])
        values[name] = block[:, 0] if count == 1 else block
        start += count
    return values


def _columns(text: str) -> list[tuple[str, str, int]]:
    parts = text.split(":")
    if len(parts) % 3:
        raise FrameError(f"Properties: expected name:type:count triples, got {text!r}")
    columns = []
    for name, kind, count in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if kind not in {"S", "R", "I", "L"} or not count.isdecimal() or int(count) < 1:
            raise FrameError(f"Properties: cannot read {name}:{kind}:{count}")
        columns.append((name, kind, int(count)))
    names = [name for name, _, _ in columns]
    if len(set(names)) < len(names):
        raise FrameError(f"Properties: a column is named twice in {text!r}")
    return columns


def _parse(text: str) -> Any:
    """Return `text` converted to numbers or booleans if possible, else unchanged."""
    if text.startswith(("_JSON ", "[[")):  # the matrix notation of ASE and libAtoms
        try:
            return np.array(json.loads(text.removeprefix("_JSON ")), dtype=np.float64)
        except (ValueError, TypeError):
            return text
    parts = text.replace(",", " ").strip("[]() ").split()
    if parts and all(part in {"T", "F", "True", "False"} for part in parts):
        return np.array([part[0] == "T" for part in parts])
    try:
        array = np.array([float(part) for part in parts])
    except ValueError:
        return text
    if not len(array):
        return text
    return float(array[0]) if len(array) == 1 else array


def _truths(text: str) -> np.ndarray:
    value = np.atleast_1d(_parse(text))
    if value.shape != (3,) or not (value.dtype == bool or np.isin(value, (0, 1)).all()):
        raise FrameError(f"pbc: expected three truth values, got {text!r}")
    return value.astype(bool)


def _atomic_number(symbol: str) -> int:
    """Return the atomic number of an element symbol or number."""
    if symbol in atomic_numbers:
        return atomic_numbers[symbol]
    if not symbol.isdecimal():
        raise FrameError(f"unknown element {symbol!r}")
    if not 0 < int(symbol) < 119:
        raise FrameError(f"atomic number {symbol} does not exist")
    return int(symbol)
