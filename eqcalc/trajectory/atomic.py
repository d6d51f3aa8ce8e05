# SPDX-License-Identifier: MIT
"""Files that are there completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["sync_directory", "temporary_path", "write_atomically"]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that at any time either the old or the new content is there."""
    temporary = temporary_path(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def temporary_path(path: Path) -> Path:
    """Where a file is built before it takes its name; a leftover of a kill is reused."""
    return path.with_name(f".{path.name}.partial")


def sync_directory(path: Path) -> None:
    """Return when new names in a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
