# SPDX-License-Identifier: MIT
"""Files of the cache that carry a hash of their content in their name.

A file that was cut short, damaged or changed no longer fits its name and is made
again. Files are complete before they get their name, so several processes may look
for one and make it at the same time.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from eqcalc.runtime.cache import cache_folder

__all__ = ["find", "store"]

_SUFFIX = ".pt2"


def find(key: str) -> Path | None:
    """Return the intact file of a key, if there is one; what is not intact is removed.

    Raises
    ------
    OSError
        The cache cannot be read.
    """
    for path in sorted(cache_folder().glob(f"{key}.*{_SUFFIX}")):
        try:
            if path.name == _name(key, path):
                return path
            path.unlink()
        except FileNotFoundError:  # another process was faster
            continue
    return None


def store(key: str, make: Callable[[Path], None]) -> Path:
    """Have a file made and keep it under a key.

    Parameters
    ----------
    key
        What decides the content, as a name.
    make
        Called with the path of the file to write.

    Raises
    ------
    OSError
        The cache cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        made = Path(folder) / f"made{_SUFFIX}"
        make(made)
        return made.replace(cache_folder() / _name(key, made))


def _name(key: str, path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{key}.{digest[:32]}{_SUFFIX}"
