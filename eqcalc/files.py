# SPDX-License-Identifier: MIT
"""Files that are there completely or not at all, locks, and folders of results.

A file is built under a temporary name beside its place, brought to the disk and renamed, so
that at any time either the old or the new content is there, also when the power fails. It
takes the permissions of any new file. Temporary files are created exclusively and never
through a symbolic link. Several processes may write the same file: the last one to finish
counts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_counter = itertools.count()


# --- atomic writing -------------------------------------------------------------------


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file so that at any time either the old or the new content is there.

    Parameters
    ----------
    path
        The file; its folder exists.
    data
        Its content; text is written as UTF-8.

    Raises
    ------
    OSError
        It cannot be written; what was there still is.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of an empty file to write, which takes the place of `path` in the end.

    The temporary name ends like that of `path`, for writers that go by it. If the block is
    left by an exception, the temporary file is removed and `path` stays as it was.

    Raises
    ------
    OSError
        It cannot be written; the error names `path`.
    """
    remove_leftovers(path)
    temporary = temporary_path(path)
    try:
        create(temporary)
        try:
            yield temporary
            sync_file(temporary)
            temporary.replace(path)
        finally:
            # of a disk that fails, the first error is the one to tell
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename == str(temporary):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def temporary_path(path: Path) -> Path:
    """Return a new name beside `path`, hidden, with the same ending, that no other call gives.

    Such a file of a process that was killed is removed by :func:`remove_leftovers`.
    """
    return path.with_name(f"{_prefix(path)}{os.getpid()}-{next(_counter)}{path.suffix}")


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` whose process, on this machine, is no more."""
    prefix = _prefix(path)
    try:
        found = [entry.name for entry in os.scandir(path.parent) if entry.name.startswith(prefix)]
    except OSError:
        return  # whoever writes tells why it cannot
    for name in found:
        owner = name[len(prefix) :].partition("-")[0]
        if owner.isdecimal() and not _is_alive(int(owner)):
            with contextlib.suppress(OSError):
                path.with_name(name).unlink(missing_ok=True)


def create(path: Path) -> None:
    """Create an empty file.

    Raises
    ------
    FileExistsError
        Something, be it a broken symbolic link, has this name.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(path, flags, 0o666))


def sync_file(file: Path | int) -> None:
    """Return when the content of a file, or of an open descriptor, is on the disk."""
    if isinstance(file, int):
        os.fsync(file)
    else:
        _sync(file, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Return when new names in a directory are on the disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prefix(path: Path) -> str:
    """Return how temporary names of this machine begin; folders are shared between machines."""
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
    return f".{path.name}.partial-{machine}-"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # it is another user's
    return True


# --- locks ----------------------------------------------------------------------------


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file, which is there as long as the lock.

    The operating system releases the lock when the process ends, however it ends.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    OSError
        The file cannot be made, or is a symbolic link.
    """
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _failure(lock, errno.EAGAIN, "locked by another process") from None
            if not _is_file_of(descriptor, lock):
                continue  # its last owner removed it between our open and our lock
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


def _is_file_of(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


# --- folders --------------------------------------------------------------------------


def make_folder(folder: Path, *, private: bool = False) -> None:
    """Make a folder, with those above it, unless it is there, and see that it can be written.

    Parameters
    ----------
    folder
        The folder.
    private
        Nobody else may look into it, if it is made.

    Raises
    ------
    OSError
        It cannot be made or written; the message names the folder and the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o777)
    except FileExistsError:
        text = "is a file, and the results need a folder"
        raise _failure(folder, errno.ENOTDIR, text) from None
    except OSError as error:
        raise _failure(folder, error.errno, "the folder cannot be made") from None
    require_writable(folder)


def require_writable(folder: Path) -> None:
    """See that a folder is there and can be written, before the work for it is done.

    Raises
    ------
    OSError
        It is not; the message names the folder and the reason.
    """
    if not folder.is_dir():
        raise _failure(folder, errno.ENOENT, "there is no such folder")
    try:
        # permissions do not tell of disks that are read-only
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _failure(folder, error.errno, "the folder cannot be written") from None


def _failure(path: Path, number: int | None, what: str) -> OSError:
    """Return an error of the class of its number, in words and without temporary names."""
    number = number or errno.EIO
    error = type(OSError(number, ""))(f"{path}: {what} ({os.strerror(number)})")
    error.errno = number
    return error
