# SPDX-License-Identifier: MIT
"""Checks of the values of configurations."""

from __future__ import annotations

import typing
from collections.abc import Collection
from typing import Any

import torch


def checked_device(device: torch.device | str) -> torch.device:
    """Return a device that exists here.

    Raises
    ------
    ValueError
        There is no device of that name, or it is a GPU that torch does not see.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device: expected cpu, cuda or cuda:1, got {device!r}") from None
    if found.type != "cuda":
        return found
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else ", which is built for CPUs only"
        raise ValueError(
            f"device: {device} is asked for, but torch {torch.__version__}{built} sees no GPU; "
            "use cpu"
        )
    if (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device: {device} is asked for, but there are {torch.cuda.device_count()}"
        )
    return found


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
