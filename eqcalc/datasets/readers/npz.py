# SPDX-License-Identifier: MIT
"""Read NumPy archives, and HDF5 files of the same arrays, in the layout of MD17 and its relatives.

One array per quantity with the structures along the first axis, and atomic numbers for all
structures (``[n_atoms]``) or per structure (``[n, n_atoms]``). Structures are padded where the
atomic number is zero (or negative). Or arrays of atoms hold those of all structures, one after the
other, and ``ptr`` (``[n + 1]``) where each begins.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.data import atomic_numbers

from eqcalc.datasets.readers import Frame, FrameError
from eqcalc.hdf5 import reading
from eqcalc.quantities import known_quantities
from eqcalc.validation import InvalidFileError, InvalidInputError, existing_file, located

_NUMBERS = ("z", "Z", "nuclear_charges", "numbers", "atomic_numbers")
_POSITIONS = ("R", "coords", "positions")
#: Largest compression of a member (that of deflate is 1032).
_MOST_COMPRESSED = 1100
_UNREADABLE = (ValueError, OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error)
_COUNTS = "N"  # of atoms, where structures are padded
_OFFSETS = "ptr"  # of the first atom of each structure, where they are concatenated
#: Spellings of MD17 (E, F), rMD17 (energies, forces) and PhysNet (D, Q).
_LABELS = {
    "energy": ("energy", "E", "energies"),
    "forces": ("forces", "F"),
    "dipole": ("dipole", "D"),
    "charge": ("Q",),
}
#: Keys under which sGDML archives store units and level of theory.
_UNIT_TEXTS = {"energy": "e_unit", "positions": "r_unit"}


class NpzReader:
    """The structures of a NumPy archive.

    Parameters
    ----------
    path
        The file. Pickled objects are rejected, since loading them could execute code.
    numbers, positions
        Keys of the atomic numbers and positions, if not those of MD17 (z, R) or rMD17
        (nuclear_charges, coords).
    """

    def __init__(
        self, path: str | Path, *, numbers: str | None = None, positions: str | None = None
    ) -> None:
        self.path = existing_file(path, "an npz archive")
        self._arrays = _arrays(self.path)
        #: Why no structure can be read.
        self.problems: list[InvalidInputError] = []
        self._n = self._n_atoms = 0
        self._offsets: list[int] = []
        self._numbers = self._key(numbers, _NUMBERS, "numbers")
        self._positions = self._key(positions, _POSITIONS, "positions")
        if not self.problems:
            with located(file=self.path):
                self._check()
        spellings = {**{q: (q,) for q in known_quantities()}, **_LABELS}
        self.keys: Mapping[str, str] = {
            name: key
            for name, usual in spellings.items()
            for key in [key for key in usual if key in self._arrays][:1]
        }
        self.units: Mapping[str, str] = self._stated_units()
        self.level_of_theory = self._text("theory")

    def _check(self) -> None:
        """Check the shapes of atomic numbers and positions."""
        shape = self._arrays[self._positions].shape
        shapes: set[tuple[int, ...]]
        z = self._arrays[self._numbers]
        if z.dtype.kind in "US":
            z = np.array([_atomic_number(str(np.char.strip(s))) for s in z.astype(str).flat])
            z = z.reshape(self._arrays[self._numbers].shape)
        if len(shape) == 2 and shape[1] == 3 and _OFFSETS in self._arrays:
            offsets = self._arrays[_OFFSETS]
            _check_offsets(offsets, len(self._arrays[self._positions]))
            self._n, self._offsets, shapes = len(offsets) - 1, offsets.tolist(), {shape[:1]}
        elif len(shape) == 3 and shape[2] == 3:
            self._n, self._n_atoms = shape[:2]
            shapes = {shape[1:2], shape[:2]}
        else:
            expected = f"shape (n, n_atoms, 3), or (n_atoms, 3) and an array {_OFFSETS}"
            raise InvalidFileError(key=self._positions, value=shape, expected=expected)
        whole = z.dtype.kind in "iu" or (z.dtype.kind == "f" and bool((z == np.rint(z)).all()))
        if not whole or z.shape not in shapes:
            raise InvalidFileError(
                f"{z.dtype} of shape {z.shape}",
                key=self._numbers,
                expected=f"integers {' or '.join(str(list(one)) for one in sorted(shapes))}",
            )
        self._arrays[self._numbers] = z.astype(np.int64)

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The numeric arrays besides atomic numbers, positions and counts."""
        skip = {self._numbers, self._positions, _COUNTS, *([_OFFSETS] if self._offsets else [])}
        return {k: a for k, a in self._arrays.items() if k not in skip and a.dtype.kind in "fciu"}

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[Frame | FrameError]:
        if self.problems:
            return
        rest = self.values
        rows = {key: a for key, a in rest.items() if a.ndim > 0 and len(a) == self._n}
        n_all = self._offsets[-1] if self._offsets else -1
        atomic = {k: a for k, a in rest.items() if k not in rows and a.ndim and len(a) == n_all}
        # an array of another length belongs to no structure, so that it must be mapped (an error,
        # unless it is the one charge of all) or ignored explicitly
        used = {*rows, *atomic}
        other = {key: array for key, array in rest.items() if key not in used and array.size}
        z, positions = self._arrays[self._numbers], self._arrays[self._positions]
        for i in range(self._n):
            values = {**{key: array[i] for key, array in rows.items()}, **other}
            if self._offsets:
                own = slice(*self._offsets[i : i + 2])
                values |= {key: array[own] for key, array in atomic.items()}
                yield self._frame(i, z[own], positions[own], values)
            else:
                yield self._frame(i, z if z.ndim == 1 else z[i], positions[i], values)

    def _frame(
        self, i: int, numbers: np.ndarray, positions: np.ndarray, values: dict[str, Any]
    ) -> Frame | FrameError:
        """Return a structure without its padding."""
        n_atoms = int(np.count_nonzero(numbers > 0))
        if not (numbers[:n_atoms] > 0).all():
            return FrameError(f"{self._numbers}: expected atomic numbers, got {numbers}")
        counts = self._arrays.get(_COUNTS)
        if counts is not None and counts.shape == (self._n,) and counts[i] != n_atoms:
            return FrameError(f"{_COUNTS}: {counts[i]} atoms, {self._numbers} has {n_atoms}")
        padded = self._n_atoms if n_atoms < self._n_atoms else None
        return Frame(numbers[:n_atoms], positions[:n_atoms], values, padded=padded)

    def _key(self, given: str | None, usual: tuple[str, ...], what: str) -> str:
        candidates = (given,) if given else usual
        for key in candidates:
            if key in self._arrays:
                return key
        self.problems.append(
            InvalidFileError(
                f"there is no {' or '.join(candidates)}",
                key=what,
                expected=f"one of {', '.join(self._arrays)}",
                advice=f"state which (eqcalc convert --key {what}=KEY)",
            )
        )
        return ""

    def _text(self, key: str) -> str:
        array = self._arrays.get(key)
        if array is None or array.size != 1 or array.dtype.kind not in "US":
            return ""
        value = array.reshape(-1)[0]
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def _stated_units(self) -> dict[str, str]:
        units = {name: self._text(key) for name, key in _UNIT_TEXTS.items() if self._text(key)}
        if {"energy", "positions"} <= set(units):
            units["forces"] = f"{units['energy']}/{units['positions']}"
        return {k: v for k, v in units.items() if k == "positions" or k in self.keys}


def _atomic_number(symbol: str) -> int:
    """Return the atomic number of an element symbol, 0 of padding."""
    if symbol and not atomic_numbers.get(symbol):
        raise InvalidFileError(key="numbers", value=symbol[:20], expected="symbols of elements")
    return atomic_numbers.get(symbol, 0)


def _check_offsets(offsets: np.ndarray, n_atoms: int) -> None:
    """Check that structures follow each other from the first atom to the last."""
    whole = offsets.dtype.kind in "iu" and offsets.ndim == 1 and len(offsets) > 1
    if not whole or offsets[0] != 0 or offsets[-1] != n_atoms or (np.diff(offsets) < 0).any():
        expected = f"integers that rise from 0 to {n_atoms}"
        raise InvalidFileError(key=_OFFSETS, value=offsets.tolist()[:6], expected=expected)


def _check_sizes(path: Path) -> None:
    """Check that the members of an archive hold the arrays that their headers declare."""
    if not zipfile.is_zipfile(path):
        return  # refused by numpy
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for member in archive.infolist():
            if names.count(member.filename) > 1:
                raise InvalidFileError("is there twice", key=member.filename)
            key = member.filename.removesuffix(".npy")
            stored = min(member.compress_size, size)
            if member.file_size > _MOST_COMPRESSED * (stored + 100):
                raise InvalidFileError(
                    key=key, value=f"{member.file_size} bytes", expected=f"what {stored} can hold"
                )
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                reader = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                try:
                    shape, _, dtype = reader(stream)
                except Exception as error:  # numpy parses it as Python
                    raise InvalidFileError(
                        f"has no header of an array ({error})", key=key
                    ) from None
                declared = math.prod(shape) * dtype.itemsize
                held = member.file_size - stream.tell()
            if not dtype.hasobject and declared != held:
                raise InvalidFileError(
                    key=key, value=shape, expected=f"the shape of {held} bytes of {dtype}"
                )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an archive by key."""
    key = ""
    arrays: dict[str, np.ndarray] = {}
    if path.suffix.lower() in (".h5", ".hdf5"):
        with reading(path, "an HDF5 file of arrays") as file:
            if "format" in file.attrs:
                raise InvalidFileError(
                    value=str(file.attrs["format"]), expected="a file of other programs"
                )
            return {k: item[()] for k, item in file.items() if isinstance(item, h5py.Dataset)}
    try:
        with located(file=path):
            _check_sizes(path)
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with archive:
            for key in archive.files:
                arrays[key] = archive[key]
    except InvalidFileError:
        raise
    except _UNREADABLE as error:
        if key:
            raise InvalidFileError(f"cannot be read ({error})", key=key, file=path) from None
        # numpy treats unknown data as a pickle, and explains how to load it
        about = "" if "pickle" in str(error) else f" ({error})"
        expected = "an npz archive"
        raise InvalidFileError(f"not readable{about}", expected=expected, file=path) from None
    return arrays
