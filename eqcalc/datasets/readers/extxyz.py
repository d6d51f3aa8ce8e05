# SPDX-License-Identifier: MIT
"""Read extended XYZ, optionally compressed, one structure at a time.

The format: a line with the number of atoms; a line of ``key=value`` with
``Properties=species:S:1:pos:R:3:...`` naming the columns; a line per atom. A
damaged structure is reported and the next one is read. Positions are in ångström; ``units`` and
``level_of_theory`` of a comment line are those that :mod:`eqcalc.datasets.export` writes.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from eqcalc.datasets.readers import Frame, FrameError
from eqcalc.elements import element
from eqcalc.molecules import ATOMIC_CHARGE_KEYS, CHARGE_KEYS, IgnoredInputWarning
from eqcalc.quantities import known_quantities
from eqcalc.structure_formats import stated_beside
from eqcalc.validation import InvalidInputError, existing_file, number_in
from eqcalc.xyz_files import (
    IonWarning,
    add_stated,
    length_in_comment,
    stated_in_comment,
    stated_units,
    unclear_charge,
)

#: By the first bytes of a compressed file, whatever its name is.
_OPENERS: dict[bytes, Any] = {b"\xfd7zXZ\0": lzma.open, b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
_PAIR = re.compile(
    # a key begins after a blank or quotation mark: the time grows with the length, not its square
    r"""(?:(?<=[\s"'}])|^)(?P<key>[^\s="']+)\s*=\s*
        (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|[{](?P<brace>[^{}]*)[}]|(?P<bare>[^\s"']+))""",
    re.VERBOSE,
)
_DIGITS = 7  # a count with more digits is a damaged line
_COLUMNS = 4  # of a line of an atom, at least; a damaged count is one word
_REPEATED = 10**7  # lines read again after wrong counts, until the file is given up
_LONGEST_LINE = 10**7  # characters, for files that are small only while compressed

#: Names of charges, in small letters.
_CHARGES = {*CHARGE_KEYS, *ATOMIC_CHARGE_KEYS}
#: What programs write for a label that they do not have.
_NOT_FINITE = {"nan", "inf", "+inf", "-inf", "infinity", "-infinity"}


class ExtxyzReader:
    """The structures of an extended XYZ file.

    Parameters
    ----------
    path
        The file; compressed ones are decompressed.
    properties
        Columns of a plain XYZ file, for example ``"species:S:1:pos:R:3:gradient:R:3"``. A
        comment line that is a single number has the key ``comment``.
    """

    def __init__(self, path: str | Path, *, properties: str = "species:S:1:pos:R:3") -> None:
        self.path = existing_file(path, "an extended XYZ file")
        try:
            _columns(properties)
        except FrameError as error:
            raise InvalidInputError(str(error), key="properties", value=properties) from None
        self._properties = properties
        self._beside = stated_beside(self.path)
        #: Keys named like a quantity.
        self.keys: Mapping[str, str] = {name: name for name in (*known_quantities(), "source")}
        #: The format defines no others; structures may state theirs.
        self.units: Mapping[str, str] = {"positions": "Å"}
        first = next(iter(self), None)
        #: That of the first structure, if it states one.
        self.level_of_theory = first.level_of_theory if isinstance(first, Frame) else ""

    def __iter__(self) -> Iterator[Frame | FrameError]:
        with self.path.open("rb") as file:
            start = file.read(8)
        opener = next((o for magic, o in _OPENERS.items() if start.startswith(magic)), open)
        is_utf_16 = opener is open and start[:2] in (b"\xff\xfe", b"\xfe\xff")
        encoding = "utf-16" if is_utf_16 else "utf-8-sig"
        with opener(self.path, "rt", encoding=encoding, errors="replace") as file:
            try:
                yield from _frames(_Lines(file), self._properties, self._beside)
            except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
                yield FrameError(f"the file ends or is damaged here: {error}")


class _Lines:
    """Numbered lines of a file, which can be put back."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._back = file, list[str]()
        self.number = 0

    def next(self) -> str | None:
        line = self._back.pop() if self._back else self._file.readline(_LONGEST_LINE) or None
        if line is not None and len(line) == _LONGEST_LINE:
            raise OSError(f"a line has {_LONGEST_LINE} characters or more")
        self.number += line is not None
        return line

    def put_back(self, lines: list[str]) -> None:
        self._back += reversed(lines)
        self.number -= len(lines)


def _frames(
    lines: _Lines, properties: str, beside: Mapping[str, int]
) -> Iterator[Frame | FrameError]:
    repeated = 0
    while (line := lines.next()) is not None:
        text, number = line.strip(), lines.number
        if not text:
            continue
        n_atoms = _count(text)
        if n_atoms is None:
            yield FrameError(f"line {number}: expected the number of atoms, got {text[:40]!r}")
            _skip(lines)
            continue
        frame = [one for _ in range(1 + n_atoms) if (one := lines.next()) is not None]
        try:
            if n_atoms == 0:
                raise FrameError("it has no atoms")
            if len(frame) < 1 + n_atoms:
                raise FrameError(f"{n_atoms} atoms announced, the file ends before")
            structure = _frame(frame[0], frame[1:], properties, beside)
            following = lines.next()
            lines.put_back([following] if following is not None else [])
            if following is not None and len(following.split()) >= _COLUMNS:
                raise FrameError(f"{n_atoms} atoms announced, there are more")
            yield structure
        except (ValueError, KeyError) as error:
            yield FrameError(f"line {number}: {error}")
            # too few lines of atoms: the next structure begins among them
            short = next((i for i in range(1, len(frame)) if _count(frame[i].strip())), None)
            lines.put_back(frame[short:] if short is not None else [])
            repeated += 0 if short is None else len(frame) - short
            if repeated > _REPEATED:
                yield FrameError("the rest of the file is not read: too many counts are wrong")
                return
            _skip(lines)


def _count(text: str) -> int | None:
    """Return the number of atoms that a line announces."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _DIGITS else None


def _skip(lines: _Lines) -> None:
    """Go to the next line that may begin a structure."""
    while (line := lines.next()) is not None:
        if not line.strip():
            continue
        if _count(line.strip()) is not None:
            lines.put_back([line])
            return


def _frame(comment: str, lines: list[str], properties: str, beside: Mapping[str, int]) -> Frame:
    texts: dict[str, str] = {}
    for match in _PAIR.finditer(comment):
        text = next(match[g] for g in ("double", "single", "brace", "bare") if match[g] is not None)
        if match["key"] in texts:
            raise FrameError(f"{match['key']} is given twice")
        texts[match["key"]] = text
    properties = texts.pop("Properties", properties)
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
    numbers = np.array([element(str(symbol))[0] for symbol in species])
    level = texts.pop("level_of_theory", "")
    units = stated_units(texts)
    if texts.get("units") and not units and not length_in_comment(comment):
        said = texts["units"][:60]
        text = f'units="{said}" is not understood: write units="dipole: D; energy: eV"'
        warnings.warn(text, IgnoredInputWarning, stacklevel=1)
    positions = positions * (1.0 if "positions" in units else length_in_comment(comment) or 1.0)
    stated = stated_in_comment(comment, numbers)
    if not stated and not texts and isinstance(_parse(comment), float | np.ndarray):
        texts["comment"] = comment
    values = {key: _parse(text) for key, text in texts.items()}
    add_stated(values, stated)
    values |= {**columns, **beside}
    if not {key.lower() for key in values} & _CHARGES:
        unclear = unclear_charge(comment, numbers, stated)
        if unclear:
            warnings.warn(unclear, IonWarning, stacklevel=1)
    return Frame(numbers, positions, values, cell, pbc, units, level_of_theory=level)


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
            raise FrameError(
                f"atom {i}: expected {width} columns, got {len(row)}; those of plain XYZ are named "
                "by --properties (eqcalc convert)"
            )
    types = {"R": np.float64, "I": np.int64, "S": np.str_, "L": np.str_}
    values = {}
    start = 0
    for name, kind, count in columns:
        texts = np.array([row[start : start + count] for row in cells])
        try:
            block = texts.astype(types[kind])
        except ValueError:  # 1.5D-03
            block = None
        if kind == "R" and (block is None or any("_" in text for text in texts.flat)):
            numbers = _numbers(list(texts.flat))
            if numbers is None:
                wrong = next(text for text in texts.flat if _numbers([text]) is None)
                raise FrameError(f"{name}: expected numbers, got {wrong[:40]!r}")
            block = numbers.reshape(texts.shape)
        if block is None:
            raise FrameError(f"{name}: expected integers")
        values[name] = block[:, 0] if count == 1 else block
        start += count
    return values


def _columns(text: str) -> list[tuple[str, str, int]]:
    parts = text.split(":")
    if len(parts) % 3:
        raise FrameError(f"Properties: expected name:type:count triples, got {text!r}")
    columns = []
    for name, kind, count in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if kind not in {"S", "R", "I", "L"} or not _count(count):
            raise FrameError(f"Properties: cannot read {name}:{kind}:{count[:40]}")
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
    array = _numbers(parts)
    if array is None:
        return text
    return float(array[0]) if len(array) == 1 else array


def _numbers(words: list[str]) -> np.ndarray | None:
    """Return words as numbers, among them nan and inf; None if one is not a number or none is."""
    found = [float(w) if w.lower() in _NOT_FINITE else number_in(w) for w in words]
    return None if not words or None in found else np.array(found)


def _truths(text: str) -> np.ndarray:
    value = np.atleast_1d(_parse(text))
    if value.shape != (3,) or not (value.dtype == bool or np.isin(value, (0, 1)).all()):
        raise FrameError(f"pbc: expected three truth values, got {text!r}")
    return value.astype(bool)
