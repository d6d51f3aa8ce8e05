# SPDX-License-Identifier: MIT
"""Models that come with eqcalc."""

from __future__ import annotations

from pathlib import Path

__all__ = ["shipped_model"]

_PACKAGE = Path(__file__).parent


def shipped_model(name: str = "ethanol") -> Path:
    """Return the path of a model that comes with eqcalc.

    Raises
    ------
    FileNotFoundError
        There is no such model; the message lists those that exist.
    """
    # in a wheel the models lie inside the package, in a checkout beside it
    folders = [_PACKAGE / "data" / "models", _PACKAGE.parent / "data" / "models"]
    for folder in folders:
        path = folder / f"{name}.eqc"
        if path.is_file():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.eqc")})
    raise FileNotFoundError(
        f"no model called {name!r} comes with eqcalc; there are: {', '.join(known) or 'none'}"
    )
