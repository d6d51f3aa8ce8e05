# SPDX-License-Identifier: MIT
"""Files and folders of results: written completely or not at all, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, unless it is there, and see that it can be written.

    Raises
    ------
    OSError
        It cannot; the message names the folder and the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{folder} is a file, and the results need a folder") from None
    except OSError as error:
        raise _failure("the folder cannot be made", folder, error) from None
    require_writable(folder)


def require_writable(folder: Path) -> None:
    """See that a folder is there and can be written, before the work for it is done.

    Raises
    ------
    OSError
        It is not; the message names the folder and the reason.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    try:
        # permissions do not tell of disks that are read-only
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _failure("nothing can be written into this folder", folder, error) from None


def _failure(what: str, folder: Path, error: OSError) -> OSError:
    """Return the error of the same kind in words, without the names of temporary files."""
    return type(error)(f"{folder}: {what}: {os.strerror(error.errno or 0)}")


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file, which is there as long as the lock.

    The operating system releases the lock when the process ends, however it ends.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    OSError
        The file cannot be made.
    """
    while True:
        with lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not lock.exists() or lock.stat().st_ino != os.fstat(handle.fileno()).st_ino:
                continue  # its last owner removed it between our open and our lock
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


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
