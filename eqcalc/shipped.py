# SPDX-License-Identifier: MIT
"""Models that come with eqcalc."""

from __future__ import annotations

from pathlib import Path

__all__ = ["shipped_model", "shipped_models"]

_PACKAGE = Path(__file__).parent


def shipped_model(name: str = "ethanol") -> Path:
    """Return the path of a model that comes with eqcalc.

    Raises
    ------
    FileNotFoundError
        There is no such model; the message lists those that exist.
    """
    known = {path.stem: path for path in shipped_models()}
    if name not in known:
        raise FileNotFoundError(
            f"no model called {name!r} comes with eqcalc; there are: {', '.join(known) or 'none'}"
        )
    return known[name]


def shipped_models() -> list[Path]:
    """Return the paths of all models that come with eqcalc."""
    # in a wheel the models lie inside the package, in a checkout beside it
    for folder in (_PACKAGE / "data" / "models", _PACKAGE.parent / "data" / "models"):
        if found := sorted(folder.glob("*.eqc")):
            return found
    return []
