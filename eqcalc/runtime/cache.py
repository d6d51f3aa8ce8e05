# SPDX-License-Identifier: MIT
"""Where things that can be made again are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return the folder for compiled executions, making it if need be.

    It is ``$EQCALC_CACHE``, else ``$XDG_CACHE_HOME/eqcalc``, else
    ``~/.cache/eqcalc``. Anything in it may be deleted at any time.

    Raises
    ------
    OSError
        The folder cannot be made.
    """
    chosen = os.environ.get("EQCALC_CACHE")
    if chosen:
        folder = Path(chosen)
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eqcalc"
    # code is loaded from here, so nobody else may write to it
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
