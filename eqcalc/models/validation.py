# SPDX-License-Identifier: MIT
"""Checks of the values of configurations."""

from __future__ import annotations

import typing
from collections.abc import Collection
from typing import Any

__all__ = ["require_one_of", "require_positive"]


def require_positive(config: Any, *names: str) -> None:
    """Raise ValueError unless each named value is a positive number of its annotated kind."""
    kinds = typing.get_type_hints(type(config))
    for name in names:
        value = getattr(config, name)
        integer = kinds[name] is int
        number = isinstance(value, int if integer else int | float) and not isinstance(value, bool)
        if not (number and value > 0):
            kind = "integer" if integer else "number"
            raise ValueError(f"{name}: expected a positive {kind}, got {value!r}")


def require_one_of(config: Any, name: str, choices: Collection[str]) -> None:
    """Raise ValueError unless the named value is one of `choices`."""
    value = getattr(config, name)
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
