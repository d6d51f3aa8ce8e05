# SPDX-License-Identifier: MIT
"""Facts about a model, a run or a spectrum, as text and as tables."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from html import escape
from typing import Any, TypeAlias


def described(facts: Mapping[str, str]) -> str:
    """Return facts as a single line."""
    return "; ".join(f"{name}: {fact}" for name, fact in facts.items())


def grouped(facts: Mapping[str, str]) -> str:
    """Return ``"energy, forces: compiled kernels; quadrupole: eager read-out"``."""
    alike = {fact: [k for k, other in facts.items() if other == fact] for fact in facts.values()}
    return described({", ".join(names): fact for fact, names in alike.items()})


def ungrouped(text: str) -> dict[str, str]:
    """Return facts by name from the line of :func:`grouped`; empty for another text."""
    facts: dict[str, str] = {}
    for part in text.split("; "):
        names, separator, fact = part.partition(": ")
        if not separator:
            return {}
        facts |= dict.fromkeys(names.split(", "), fact)
    return facts


def joined_levels(levels: Mapping[str, str] | str | None) -> str:
    """Return levels of theory by quantity as text, merging equal ones."""
    if not isinstance(levels, Mapping):
        return levels or ""
    return grouped(levels) if len(set(levels.values())) > 1 else "".join(set(levels.values()))


def facts_table(caption: str, facts: Mapping[str, str]) -> str:
    """Return facts as an HTML table, for notebooks."""
    rows = "".join(
        f"<tr><th style='text-align: left'>{escape(name)}</th>"
        f"<td style='text-align: left'>{escape(fact)}</td></tr>"
        for name, fact in facts.items()
    )
    return f"<table><caption>{escape(caption)}</caption>{rows}</table>"


def preformatted(text: str, *, copied: bool = False) -> str:
    """Return text as it is, such as of :func:`aligned`, as HTML for notebooks and pages.

    In pages with a button that copies it, if it is to be copied.
    """
    return f"<pre{' data-copy' if copied else ''}>{escape(text)}</pre>"


def number(value: float, form: str = ".1f") -> str:
    """Return ``f"{value:{form}}"``, a dash for nan: unknown."""
    return "–" if math.isnan(value) else f"{value:{form}}"


def with_error(value: float, error: float, form: str = ".1f") -> str:
    """Return ``12.3 ± 0.4``, without an error that is nan: unknown."""
    return number(value, form) + ("" if math.isnan(error) else f" ± {error:{form}}")


def with_bracketed_error(value: float, error: float, form: str = ".1f") -> str:
    """Return ``12.3 (0.4)``, without an error that is nan: unknown."""
    stated = "" if math.isnan(error) else f" ({error:{form.removeprefix('+')}})"
    return number(value, form) + stated


def jsonable(values: Iterable[float]) -> list[float | None]:
    """Return numbers for JSON, which has no nan: None, unknown."""
    return [None if math.isnan(value) else float(value) for value in values]


def aligned(rows: Sequence[Sequence[str]], words: Collection[int] = ()) -> str:
    """Return a table as text: numbers right-aligned, columns of `words` left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if i in words else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


#: Head, unit and texts of a column of a table.
Column: TypeAlias = "tuple[str, str, Sequence[str]]"


def column(head: str, unit: str, values: Iterable[float], form: str) -> Column:
    """Return a column of numbers, as :func:`number`."""
    return head, unit, [number(value, form) for value in values]


def rows_of(columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """Return the rows of a table for :func:`aligned`; heads and units come first."""
    heads, units, texts = zip(*columns, strict=True)
    return [heads, units, *zip(*texts, strict=True)]


class ComparedByValue:
    """Dataclass, with ``eq=False``, whose ``==`` compares all fields by value, arrays included.

    Arrays are equal if their shapes and all elements are; NaN is equal to NaN.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            _equal(getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)  # type: ignore[arg-type]
            if field.compare
        )

    __hash__ = None  # type: ignore[assignment]


def _equal(one: Any, other: Any) -> bool:
    """Return whether values are equal, which may be arrays or contain some."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if hasattr(one, "shape") or hasattr(other, "shape"):
        import numpy as np

        one, other = (np.asarray(getattr(x, "detach", lambda x=x: x)()) for x in (one, other))
        return bool(
            np.array_equal(one, other, equal_nan={one.dtype.kind, other.dtype.kind} <= {*"fc"})
        )
    return one is other or bool(one == other)
