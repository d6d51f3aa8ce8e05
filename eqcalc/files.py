# SPDX-License-Identifier: MIT
"""Atomic file writing, lock files, result folders, and text in any encoding.

A file is written under a temporary name in the same folder, synced to disk and renamed, so
that either the old or the new content exists at any time, even after a power failure.
Permissions are those of any new file. Temporary files are created exclusively and never
through symbolic links. If several processes write the same file, the last one wins.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import io
import itertools
import json
import os
import platform
import re
import shutil
import stat
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from eqcalc.validation import InvalidFileError, existing_file, located

_counter = itertools.count()
_TEMPORARY = re.compile(r"\.(.+)\.partial-[0-9a-f]{6}-\d+-\d+.*")
_LONG = 200  # bytes of a name; temporary ones are longer, and at most 255
#: The shipped model of molecules of H, C, N and O.
GENERAL_MODEL = "hcno"
#: Errors of file systems without locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class LockWarning(UserWarning):
    """A file system has no locks."""


# --- atomic writing -------------------------------------------------------------------


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file atomically: either the old or the new content exists at any time.

    Parameters
    ----------
    path
        The file; its folder must exist.
    data
        Content; text is encoded as UTF-8.

    Raises
    ------
    OSError
        It cannot be written; the old content is kept.
    """
    with replacing(path) as temporary:
        # names of files may have bytes that are not text
        text = data.encode(errors="backslashreplace") if isinstance(data, str) else data
        temporary.write_bytes(text)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON-able record, indented, atomically."""
    write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def appending(path: Path) -> TextIO:
    """Open a text file to append to, in UTF-8 and without translating line ends.

    Raises
    ------
    OSError
        It cannot be written, or is a link, a pipe or a device.
    """
    descriptor = _opened(path, os.O_WRONLY | os.O_APPEND)
    return os.fdopen(descriptor, "a", encoding="utf-8", newline="")


def append_text(path: Path, text: str) -> None:
    """Append text to a file; see :func:`appending`. Errors give the name of the file."""
    try:
        with appending(path) as stream:
            stream.write(text)
    except OSError as error:
        if error.filename is None and error.strerror is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _opened(path: Path, flags: int) -> int:
    """Open or create a regular file without following links, and return its descriptor."""
    descriptor = os.open(
        path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666
    )
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _failure(path, errno.EEXIST, "is a pipe or a device")
    return descriptor


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of an empty temporary file, which replaces `path` at the end of the block.

    The temporary name keeps the suffix of `path`. If the block raises, the temporary file is
    removed and `path` is unchanged.

    Raises
    ------
    OSError
        It cannot be written, or is a folder, pipe or device; the error names `path`.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        kind = stat.S_IFMT(path.lstat().st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFLNK):
            number = errno.EISDIR if kind == stat.S_IFDIR else errno.EEXIST
            raise _failure(path, number, "is not a file that can be replaced")
    remove_leftovers(path)
    temporary = temporary_path(path)
    try:
        # fails if the name exists, even as a broken link
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(temporary, flags, 0o666))
        try:
            yield temporary
            sync_file(temporary)
            temporary.replace(path)
        finally:
            # of a failing disk, report the first error
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        sync_file(path.parent)
    except OSError as error:
        # libraries that write into a stream raise errors without a name
        if error.strerror is not None and error.filename in (None, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise errors about temporary files of `path` in a block as errors about `path`."""
    try:
        yield
    except OSError as error:
        if _TEMPORARY.fullmatch(Path(str(error.filename)).name) is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def temporary_path(path: Path) -> Path:
    """Return a unique hidden name in the folder of `path`, with the same suffix.

    Files left behind by killed processes are removed by :func:`remove_leftovers`, also those
    of a `path` that is itself temporary.
    """
    if match := _TEMPORARY.fullmatch(path.name):
        path = path.with_name(match[1])
    return path.with_name(f"{_prefix(path)}{os.getpid()}-{next(_counter)}{path.suffix}")


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` left by dead processes of this machine."""
    prefix = _prefix(path)
    try:
        found = [entry.name for entry in os.scandir(path.parent) if entry.name.startswith(prefix)]
    except OSError:
        return  # the write itself will raise
    for name in found:
        owner = name[len(prefix) :].partition("-")[0]
        if owner.isdecimal() and not _is_alive(int(owner)):
            with contextlib.suppress(OSError):
                path.with_name(name).unlink(missing_ok=True)


def sync_file(file: Path | int) -> None:
    """Sync the content of a file or of an open descriptor, or the entries of a folder, to disk."""
    if isinstance(file, int):
        os.fsync(file)
        return
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prefix(path: Path) -> str:
    """Return the prefix of temporary names of this machine; folders may be shared."""
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
    name = os.fsencode(path.name)
    short = path.name if len(name) < _LONG else hashlib.sha256(name).hexdigest()[:32]
    return f".{short}.partial-{machine}-"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # owned by another user
    return True


# --- locks ----------------------------------------------------------------------------

_HELD = "held by another process, which writes the same; wait for it, or choose another output"


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file, which exists as long as the lock.

    The operating system releases the lock when the process ends for whatever reason. Without
    locks, as on some network file systems, the block runs after a LockWarning.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    OSError
        The file cannot be created, or is a link, a pipe or a device.
    """
    while True:
        descriptor = _opened(lock, os.O_RDWR)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _failure(lock, errno.EAGAIN, _HELD) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise _failure(lock, error.errno, "cannot be locked") from None
                warnings.warn(
                    f"{lock.parent}: this file system has no locks ({error.strerror}); make sure "
                    "that no other process writes the same files",
                    LockWarning,
                    stacklevel=3,
                )
            if not _is_file_of(descriptor, lock):
                continue  # its previous owner removed it meanwhile
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
    """Create a folder and its parents if necessary, and check that it is writable.

    Parameters
    ----------
    folder
        The folder.
    private
        Create it accessible to the current user only.

    Raises
    ------
    OSError
        It cannot be created or written; the message gives the folder and the reason.
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
    """Check that a folder exists and is writable, before the work is done.

    Raises
    ------
    OSError
        It is not; the message gives the folder and the reason.
    """
    if not folder.is_dir():
        raise _failure(folder, errno.ENOENT, "there is no such folder; make it first")
    try:
        # permissions do not reveal read-only file systems
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _failure(folder, error.errno, "the folder cannot be written") from None


def require_space(folder: Path, size: int) -> None:
    """Check that a disk has room for so many bytes, before the work is done.

    Raises
    ------
    OSError
        It has not; the message gives the folder and what is free.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        text = f"{size_text(free)} are free, and {size_text(size)} are needed"
        raise _failure(folder, errno.ENOSPC, text)


def size_text(size: float) -> str:
    """Return a number of bytes as text, such as "1.4 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000.0:
            return f"{size:.3g} {unit}"
        size /= 1000.0
    return f"{size:.3g} TB"


def shipped_data(folder: str, pattern: str) -> list[Path]:
    """Return the sorted files of a folder of the data that come with eqcalc, or none."""
    # in a wheel the data are inside the package, in a checkout next to it
    package = Path(__file__).parent
    for place in (package / "data" / folder, package.parent / "data" / folder):
        if found := sorted(place.glob(pattern)):
            return found
    return []


def shipped_models() -> dict[str, Path]:
    """Return the models that come with eqcalc, by name."""
    return {path.stem: path for path in shipped_data("models", "*.eqc")}


def model_file(name: str | Path, folder: Path = Path()) -> Path:
    """Return the path of a model: a file of a folder, else that of the shipped one of this name.

    ``general`` is the general model.
    """
    path = folder / name
    shipped = GENERAL_MODEL if str(name) == "general" else str(name)
    return path if path.exists() else shipped_models().get(shipped, path)


def _failure(path: Path, number: int | None, what: str) -> OSError:
    """Return an OSError of the matching subclass, without temporary names in its message."""
    number = number or errno.EIO
    error = type(OSError(number, ""))(f"{path}: {what} ({os.strerror(number)})")
    error.errno = number
    return error


# --- text of other programs -----------------------------------------------------------

#: Longest line of text, in characters.
_LONGEST = 2**24
#: Text of spectra packs ten times; what packs far more is no text.
_PACKED, _SMALL = 40, 2**19


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Return the lines of a text file with their numbers, from 1, without their ends.

    UTF-8, UTF-16 or Latin-1; any ends of lines; also packed by gzip, whatever its name is.

    Raises
    ------
    InvalidFileError
        There is no such file; or it is a directory, or not text.
    """
    size = existing_file(path, "a text file").stat().st_size
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        binary = io.BufferedReader(gzip.GzipFile(fileobj=file)) if packed else file
        try:
            start = binary.read(4096)
            binary.seek(0)
            encoding = _encoding(start)
            text = io.TextIOWrapper(binary, encoding, errors="surrogateescape")
            length = 0
            for number, line in enumerate(iter(lambda: text.readline(_LONGEST), ""), 1):
                length += len(line)
                if packed and length > _SMALL + _PACKED * size:
                    raise InvalidFileError("packs more than text does", expected="a text file")
                if "\0" in line:
                    raise _is_binary(f"line {number}")
                if len(line) == _LONGEST:
                    raise InvalidFileError(key=f"line {number}", expected="a line of text")
                yield number, (line if line.isascii() else _decoded(line)).rstrip("\n")
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            raise InvalidFileError(f"cannot be read ({error})", expected="a text file") from None


def _encoding(start: bytes) -> str:
    """Return the encoding of a file that starts with these bytes."""
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if start[:64].count(0) >= 16:  # ASCII in UTF-16 without byte-order mark
        return "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
    if b"\0" in start:
        raise _is_binary()
    return "utf-8-sig"


def _is_binary(key: str = "") -> InvalidFileError:
    return InvalidFileError(
        "has bytes that text has not",
        key=key,
        expected="a text file",
        advice="export measured spectra as columns of text or JCAMP-DX",
    )


def _decoded(line: str) -> str:
    """Return a line in which bytes that are not UTF-8 are Latin-1: µ and Å of older programs."""
    try:
        line.encode()
        return line
    except UnicodeEncodeError:
        return line.encode("utf-8", "surrogateescape").decode("latin-1")


def read_text(path: Path) -> str:
    """Return the content of a text file, its lines ended by line feeds; see :func:`text_lines`.

    Raises
    ------
    InvalidFileError
        There is no such file; or it is a directory, empty, or not text.
    """
    with located(file=path):
        text = "".join(f"{line}\n" for _, line in text_lines(path))
    if not text.strip():
        raise InvalidFileError("is empty", file=path)
    return text
