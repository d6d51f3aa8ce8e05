# SPDX-License-Identifier: MIT
"""Read i-PI outputs as arrays with one record per step, also after restarts.

i-PI appends when it resumes. After a kill the records since the checkpoint are duplicated and
the last one may be truncated. The last record of each step is used; truncated ones are ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eqcalc.ipi.units import printed_factor, printed_units, split_unit
from eqcalc.validation import InvalidFileError, MissingFileError, existing_file, located, numbers_in


class OutputError(InvalidFileError):
    """An i-PI output is invalid."""


@dataclass(frozen=True, eq=False)
class Records:
    """One quantity in internal units, values ``[n, ...]``, at increasing steps ``[n]``."""

    steps: np.ndarray
    values: np.ndarray


_COLUMN = re.compile(r"^#\s*(?:column\s+(\d+)|cols\.\s*(\d+)\s*-\s*(\d+))\s+-->\s+(\S[^:]*)")


def _lines(path: Path) -> Iterator[str]:
    """Return the complete lines of a file."""
    try:
        text = existing_file(path, "an output of i-PI").read_text("utf-8", errors="replace")
    except MissingFileError:
        raise MissingFileError("i-PI has not written this output", file=path) from None
    yield from text[: text.rfind("\n") + 1].splitlines()


def _ordered(
    found: dict[int, np.ndarray], path: Path, shape: tuple[int, ...], largest: float = 1e9
) -> Records:
    """Return records ordered by step; OutputError if some are missing or not possible."""
    steps = np.array(sorted(found), dtype=int)
    gaps = np.diff(steps)
    if len(gaps) and (gaps != gaps[0]).any():
        different, counts = np.unique(gaps, return_counts=True)
        usual = int(different[counts.argmax()])
        i = int(np.flatnonzero(gaps != usual)[0])
        raise OutputError(
            f"records are missing after step {steps[i]}",
            file=path,
            key="step",
            value=int(steps[i + 1]),
            expected=str(steps[i] + usual),
        )
    values = np.array([found[step] for step in steps.tolist()], dtype=float)
    if np.abs(values).max(initial=0.0) >= largest:
        value, expected = float(np.abs(values).max()), f"numbers below {largest:g}"
        raise OutputError("is damaged", file=path, key="values", value=value, expected=expected)
    return Records(steps, values.reshape(len(steps), *shape))


def read_properties(path: Path) -> dict[str, Records]:
    """Read a ``<properties>`` output that contains the step.

    Returns those of its properties that eqcalc knows, in internal units, by the name of i-PI.
    Raises OutputError if there is no step or records are missing, InvalidInputError if a unit is
    not known.
    """
    columns: dict[str, slice] = {}
    width = 0
    for line in _lines(path):
        match = _COLUMN.match(line)
        if match is None:
            if not line.startswith("#"):
                break
            continue
        first = int(match.group(1) or match.group(2)) - 1
        last = int(match.group(1) or match.group(3))
        columns[match.group(4).strip()] = slice(first, last)
        width = max(width, last)
    names = {split_unit(what)[0]: what for what in columns}
    if "step" not in names:
        if not columns:
            return {}
        raise OutputError(
            file=path, key="step", expected="such a column", advice="add step to its <properties>"
        )
    step_column = columns[names["step"]].start
    rows: dict[int, np.ndarray] = {}
    for line in _lines(path):
        if line.startswith("#"):
            continue
        # a record that a kill has cut off may be in front of the first one after it
        words = line.split()[-width:]
        if len(words) < width:
            continue
        try:
            row = np.array(numbers_in(" ".join(words)))
        except ValueError:
            continue
        if abs(row[step_column]) < 2**53:
            rows[round(row[step_column])] = row
    result = {}
    known = printed_units()
    for name, what in names.items():
        if name in known:
            with located(file=path):
                scale = printed_factor(what)
            column = columns[what]
            shape = {1: (), 9: (3, 3)}.get(
                column.stop - column.start, (column.stop - column.start,)
            )
            values = {step: row[column] * scale for step, row in rows.items()}
            result[name] = _ordered(values, path, shape)
    return result


_FRAME = re.compile(r'ipi_comment="Step:\s*(\d{1,15})\s+Bead:\s*(\d+)\s+(\w+\{\w*\})')


def read_frames(path: Path, n_atoms: int) -> Records:
    """Read a ``<trajectory format='ase'>`` output, ``[n_frames, n_atoms, 3]``, with such errors."""
    found: dict[int, np.ndarray] = {}
    rows: list[list[float]] | None = None
    step, scale = 0, 1.0
    for line in _lines(path):
        match = _FRAME.search(line)
        if match is not None:
            with located(file=path):
                step, scale, rows = int(match.group(1)), printed_factor(match.group(3)), []
            continue
        if rows is None:
            continue
        row = _vector(line)
        if row is None:
            rows = None  # the next frame begins, or this one was cut off
            continue
        rows.append(row)
        if len(rows) == n_atoms:
            found[step] = np.array(rows) * scale
            rows = None
    return _ordered(found, path, (n_atoms, 3))


def _vector(line: str) -> list[float] | None:
    """Return the last three numbers of an atom, None if this is not a line of an atom."""
    words = line.split()
    if len(words) not in (4, 7) or not words[0].isalpha():
        return None
    try:
        return numbers_in(" ".join(words[-3:]))
    except ValueError:
        return None


_EXTRAS = re.compile(r"#EXTRAS\w*\(([^()]*)\)#\s*Step:\s*(\d{1,15})(?!\d)")


def read_extras(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Records]:
    """Read the extras of these shapes, as i-PI has received them, averaged over beads in a file.

    The file has one bead of ``extras``, or all beads of ``extras_component_raw``. It has none of
    them if it has others. Raises OutputError if records are missing.
    """
    records: list[tuple[int, list[str], list[list[float]]]] = []
    for line in _lines(path):
        match = _EXTRAS.search(line)
        if match is not None:
            names = [name.strip() for name in match.group(1).split(",")]
            records.append((int(match.group(2)), names, []))
        elif records and line.strip():
            try:
                records[-1][2].append(numbers_in(line))
            except ValueError:
                continue  # text, or a number that was cut off
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    found: dict[str, dict[int, np.ndarray]] = {}
    n_rows = max((len(rows) for _, _, rows in records), default=0)
    for step, names, rows in records:
        if any(name not in sizes for name in names):
            return {}
        width = sum(sizes[name] for name in names)
        if len(rows) != n_rows or {len(row) for row in rows} != {width}:
            continue  # cut off
        mean, first = np.mean(rows, axis=0), 0
        for name in names:
            found.setdefault(name, {})[step] = mean[first : first + sizes[name]]
            first += sizes[name]
    return {name: _ordered(values, path, shapes[name], 1e6) for name, values in found.items()}
