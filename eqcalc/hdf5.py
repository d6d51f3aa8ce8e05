# SPDX-License-Identifier: MIT
"""HDF5 files in which every changed byte is noticed, and bounded reading of those of others.

A file that eqcalc writes begins with a seal, in the user block that HDF5 leaves to
applications: the SHA-256 of all bytes of the file except those of large arrays, and where
these are, with their CRC-32. The seal is checked before the HDF5 library sees the file, and
an array when it is read. CRC-32 replaces the Fletcher-32 filter of HDF5, which needs chunks
(these arrays are mapped into memory, or grow at fixed offsets) and does not tell a word
0000 from FFFF. Arrays that grow after the file has been sealed carry checksums of their own
(:mod:`eqcalc.trajectory`).

Files without a valid seal, of earlier versions or other programs, are first opened in a process
of their own, since the library may hang or crash on them.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import subprocess
import sys
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eqcalc.validation import InvalidFileError, InvalidInputError, existing_file

_MAGIC = b"eqcalc HDF5 seal 1 "
_BLOCK = 8192  # size of the user block
#: Contiguous arrays of this size [bytes] are checked when they are read, smaller ones at once.
_LARGE = 2**16
_PIECE = 2**24  # bytes read at a time
_MOST_RANGES = 60  # of large arrays, for which there is room in the user block
#: Time for the library to open a file without a seal in a process of its own [s].
_PATIENCE = 10.0
#: Largest number of objects, depth, and compression of a file (that of gzip is 1032).
_MOST_OBJECTS, _DEEPEST, _MOST_COMPRESSED = 10_000, 16, 1100
_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)

#: What the library and the code in a block raise for items that are missing or of another kind.
_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, MemoryError)

#: Range of a large array: its name, first byte and length; its CRC-32, or None if it grows.
_Range = tuple[str, int, int, int | None]


# --- writing ----------------------------------------------------------------------------


@contextmanager
def writing(path: Path, *, growing: Collection[str] = ()) -> Iterator[h5py.File]:
    """Yield a new HDF5 file, which is sealed at the end of the block.

    Parameters
    ----------
    path
        The file, usually a temporary one that :func:`eqcalc.files.replacing` renames.
    growing
        Groups of contiguous arrays that are written after the file has been sealed.
    """
    with OutputStream(path) as stream:
        options = {"libver": ("v110", "v110"), "userblock_size": _BLOCK}
        with h5py.File(stream, "w", **options) as file:
            file.attrs["sealed"] = f"except {' '.join(growing)}"
            yield file
        stream.check()
    seal(path)


class OutputStream(io.FileIO):
    """A new file through which the library writes.

    The library may crash at the end of a process in which writing has failed, so that it is
    told of no error; :meth:`check` raises it.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        super().__init__(os.open(path, flags, 0o666), "r+")
        self._path = path
        self._error: OSError | None = None

    def check(self, path: Path | None = None) -> None:
        """Raise the first OSError of writing, with the name of the file or another one."""
        if self._error is not None:
            error = self._error
            raise OSError(error.errno, error.strerror, str(path or self._path)) from error

    def write(self, data: Any) -> int:
        """Write all bytes, or note why not."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self._error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self._error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Change the length, or note why not."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0


def seal(path: Path) -> None:
    """Seal a file that :func:`writing` made, also after a deliberate change."""
    with h5py.File(path, "r") as file:
        growing = str(file.attrs["sealed"]).split()[1:]
        found = _contiguous(file)
    changing = {name for name, _, _ in found if name.partition("/")[0] in growing}
    large = [r for r in found if r[0] not in changing and r[2] >= _LARGE]
    large = sorted(large, key=lambda r: -r[2])[:_MOST_RANGES]
    ranges: list[_Range] = [(*r, None) for r in found if r[0] in changing]
    ranges += [(*r, _crc(path, r[1], r[2])) for r in large]
    with path.open("r+b") as stream:
        text = json.dumps(sorted(ranges, key=lambda r: r[1]), separators=(",", ":")).encode()
        room = _BLOCK - len(_MAGIC) - 65
        assert len(text) < room
        digest = _digest(path, text.ljust(room), ranges)
        stream.write(_MAGIC + digest.encode() + b"\n" + text.ljust(room))


def _contiguous(file: h5py.File) -> list[tuple[str, int, int]]:
    """Return name, first byte and length of the contiguous arrays of a file."""
    found = []

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.nbytes:
            start = item.id.get_offset()
            found.extend([] if start is None else [(name, start, item.nbytes)])

    file.visititems(add)
    return found


# --- reading ----------------------------------------------------------------------------


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[h5py.File]:
    """Yield a file opened for reading, after its seal and structure have been checked.

    Parameters
    ----------
    path
        The file.
    what
        Kind of file expected, such as "a dataset (.h5)".

    Raises
    ------
    InvalidFileError
        It does not exist, is not HDF5 or cannot be read, or refers to other files or to more
        data than it holds; its seal is broken, or an item is missing in the block.
    """
    path = existing_file(path, what)
    damage = _damage(path)
    if damage:
        raise _changed(path, "seal")
    if damage is not None:
        _try_elsewhere(path, what)
    try:
        with h5py.File(path, "r") as file:
            _check_structure(file, path.stat().st_size)
            if damage is not None and "sealed" in file.attrs:
                raise _changed(path, "seal")
            yield file
    except InvalidInputError as found:
        found.within_file(path)
        if isinstance(found, InvalidFileError):
            raise
        raise found.of_kind(InvalidFileError) from None
    except _DAMAGE as found:
        raise _unreadable(path, str(found), what) from found


def check_array(path: Path, name: str) -> None:
    """Check the bytes of a large array of a sealed file, or raise InvalidFileError."""
    for found, start, size, crc in _ranges(path) or ():
        if found == name and crc is not None and _crc(path, start, size) != crc:
            raise _changed(path, name)


def _changed(path: Path, key: str) -> InvalidFileError:
    return InvalidFileError(
        "was changed or damaged after it was written",
        file=path,
        key=key,
        advice="use a copy; after a deliberate change call eqcalc.hdf5.seal",
    )


def _damage(path: Path) -> bool | None:
    """Return True if the seal is broken, False if there is none, and None if it is intact."""
    with path.open("rb") as stream:
        head = stream.read(_BLOCK)
    if not head.startswith(_MAGIC):
        return False
    ranges = _ranges(path)
    start = len(_MAGIC)
    stated = head[start : start + 64]
    if ranges is None or _digest(path, head[start + 65 :], ranges).encode() != stated:
        return True
    return None


def _ranges(path: Path) -> list[_Range] | None:
    """Return the large arrays in the seal of a file, None if there is no readable seal."""
    with path.open("rb") as stream:
        head = stream.read(_BLOCK)
    if not head.startswith(_MAGIC):
        return None
    end = path.stat().st_size
    try:
        found = [tuple(entry) for entry in json.loads(head[len(_MAGIC) + 65 :])]
        valid = all(
            isinstance(name, str) and 0 <= int(start) <= int(start) + int(size) <= end
            for name, start, size, _ in found
        )
    except (ValueError, TypeError, RecursionError):
        return None
    return found if valid else None


def _digest(path: Path, block: bytes, ranges: Collection[_Range]) -> str:
    """Return the SHA-256 of a file outside of ranges; `block` is the end of its user block."""
    digest = hashlib.sha256(block)
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as stream:
        position = _BLOCK
        for _, start, length, _ in [*sorted(ranges, key=lambda r: r[1]), ("", size, 0, None)]:
            stream.seek(position)
            left = min(start, size) - position
            while left > 0 and (data := stream.read(min(left, _PIECE))):
                digest.update(data)
                left -= len(data)
            position = max(position, start + length)
    return digest.hexdigest()


def _crc(path: Path, start: int, size: int) -> int:
    crc = 0
    with path.open("rb") as stream:
        stream.seek(start)
        while size > 0 and (data := stream.read(min(size, _PIECE))):
            crc, size = zlib.crc32(data, crc), size - len(data)
    return crc


def _unreadable(path: Path, reason: str, what: str) -> InvalidFileError:
    return InvalidFileError(f"not a readable HDF5 file ({reason})", file=path, expected=what)


# --- files without a seal ---------------------------------------------------------------

#: Files that the library has opened elsewhere, by device, inode and size.
_opened: set[tuple[int, int, int]] = set()
_ELSEWHERE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from eqcalc.hdf5 import visit; visit(sys.argv[2])"
)


def _try_elsewhere(path: Path, what: str) -> None:
    """Open a file in a process of its own, in which the library may crash or hang."""
    status = path.stat()
    known = (status.st_dev, status.st_ino, status.st_size)
    if known in _opened or not h5py.is_hdf5(path):
        return
    command = [sys.executable, "-c", _ELSEWHERE, str(Path(__file__).parents[1]), str(path)]
    try:
        done = subprocess.run(command, timeout=_PATIENCE, capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        raise _unreadable(path, f"the library hangs for {_PATIENCE:g} s", what) from None
    except OSError:
        return  # no further process can be started here
    if done.returncode < 0:
        raise _unreadable(path, "the library crashes", what)
    _opened.add(known)


def _check_structure(file: h5py.File, size: int) -> None:
    """Check that a file refers only to data that it holds; `size` is its length [bytes].

    Raises
    ------
    InvalidFileError
        There are links, external or virtual data, filters of plug-ins, or arrays larger than
        what is stored.
    """
    left = _MOST_OBJECTS
    groups: list[tuple[h5py.Group, int]] = [(file, 0)]
    while groups:
        group, depth = groups.pop()
        for name in group:
            left -= 1
            place = f"{group.name.rstrip('/')}/{name}"
            if left < 0 or depth > _DEEPEST:
                raise InvalidFileError("has too many objects", key=place)
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InvalidFileError("is a link", key=place, expected="data in the file itself")
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                _check_storage(item, size, place)


def _check_storage(dataset: h5py.Dataset, size: int, place: str) -> None:
    creation = dataset.id.get_create_plist()
    layout = creation.get_layout()
    if creation.get_external_count() or layout == h5py.h5d.VIRTUAL:
        raise InvalidFileError("is in another file", key=place, expected="data in the file itself")
    filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
    if not {*filters} <= {*_FILTERS}:
        raise InvalidFileError(key=place, value=filters, expected="only gzip, shuffle, Fletcher-32")
    if dataset.shape is None:
        return
    stored, needed = dataset.id.get_storage_size(), dataset.nbytes
    if layout == h5py.h5d.CHUNKED and needed:
        chunks = math.prod(
            -(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True)
        )
        whole = dataset.id.get_num_chunks() == chunks
        factor = _MOST_COMPRESSED if h5py.h5z.FILTER_DEFLATE in filters else 1
    else:
        start = dataset.id.get_offset() or 0
        whole, factor = start + needed <= size, 1
    if not whole or needed > factor * min(stored, size):
        raise InvalidFileError(
            key=place, value=f"{needed} bytes", expected="no more than the file holds"
        )


def visit(path: str) -> None:
    """Open a file as its readers do, with all attributes and small arrays."""

    def item_read(_: str, item: Any) -> None:
        dict(item.attrs)
        if isinstance(item, h5py.Dataset) and item.nbytes <= _LARGE:
            np.asarray(item[()])

    with h5py.File(path, "r") as file:
        _check_structure(file, Path(path).stat().st_size)
        dict(file.attrs)
        file.visititems(item_read)
