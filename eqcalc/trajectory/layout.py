# SPDX-License-Identifier: MIT
"""Layout of a trajectory file: the header, the observables, and file creation."""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eqcalc import hdf5
from eqcalc.facts import ComparedByValue
from eqcalc.files import remove_leftovers, replacing, size_text
from eqcalc.quantities import known_quantities
from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    count,
    finite,
    positive,
    shape,
    within,
)

FORMAT = "eqcalc trajectory"
VERSION = 2  # 1: without checksums
#: Counter of the wall time of a run [ms], beside those of the frames.
CLOCK = "wall_time_ms"
_COUNT = 40  # bits of a frame count; the rest is its checksum


_OF_ATOMS = {"numbers": "atomic numbers, 1 to 118", "masses": "positive numbers [amu]"}


#: Bounds beyond which a file is damaged: temperature [K], time step [fs], masses [amu].
_LARGEST, _HEAVIEST = {"temperature": 1e6, "timestep": 1e4}, 1e7

#: Internal units of observables that are not quantities of models.
UNITS = {
    "potential_energy": "eV",
    "kinetic_energy_virial": "eV",
    "temperature": "K",
    "positions": "Å",
    "bead_positions": "Å",
    "velocities": "Å/fs",
    "cell": "Å",
    "pressure": "bar",
}


def internal_unit(name: str) -> str | None:
    """Return the internal unit of an observable, in which it is read; None if it is not known."""
    known = known_quantities()
    return known[name].unit if name in known else UNITS.get(name)


@dataclass(frozen=True, eq=False)
class TimeSeries(ComparedByValue):
    """An observable of all replicas on a regular time grid.

    Parameters
    ----------
    values
        ``[n_replicas, n_frames, ...]`` float64.
    interval
        Time between frames [fs].
    start
        Time of the first frame [fs].
    unit
        Unit of the values.
    """

    values: np.ndarray
    interval: float
    start: float
    unit: str

    @property
    def times(self) -> np.ndarray:
        """Times of the frames [fs], ``[n_frames]``."""
        return self.start + self.interval * np.arange(self.values.shape[1])


@dataclass(frozen=True)
class Layout:
    """Storage layout of an observable.

    Parameters
    ----------
    shape
        Shape of one value of one replica.
    unit
        Unit of the values.
    stride
        Steps between frames.
    """

    shape: tuple[int, ...]
    unit: str
    stride: int


@dataclass(frozen=True, eq=False)
class Header(ComparedByValue):
    """Metadata of a trajectory: what is needed to compute a spectrum, and its provenance.

    Parameters
    ----------
    method
        ``"NVE"``, ``"T-RPMD"``, ...
    temperature
        Target temperature [K].
    timestep
        Time step [fs].
    steps
        Length of the run; step 0 is recorded too.
    n_replicas, n_beads
        Numbers of replicas and of beads.
    numbers
        Atomic numbers, ``[n_atoms]``.
    masses
        ``[n_atoms]`` [amu].
    settings
        All other settings of the run, JSON-able.
    provenance
        Model, level of theory, and software versions, JSON-able.
    cell
        Cell vectors as rows, ``[3, 3]`` [Å]; None for a molecule.
    """

    method: str
    temperature: float
    timestep: float
    steps: int
    n_replicas: int
    n_beads: int
    numbers: np.ndarray
    masses: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    cell: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, most in _LARGEST.items():
            within(name, positive(name, getattr(self, name)), 1e-6, most)
        for name, least in (("steps", 0), ("n_replicas", 1), ("n_beads", 1)):
            count(name, getattr(self, name), least=least)
        numbers = shape("numbers", self.numbers, ("n_atoms",))
        masses = finite("masses", shape("masses", self.masses, (len(numbers),)))
        if self.cell is not None:
            cell = finite("cell", shape("cell", self.cell, (3, 3)))
            if not abs(np.linalg.det(cell)) > 1e-6:
                raise InvalidInputError(
                    key="cell", value=np.asarray(cell).tolist(), expected="a cell with a volume"
                )
        for name, values, valid in (
            ("numbers", numbers, (numbers > 0) & (numbers < 119)),
            ("masses", masses, (masses > 0.0) & (masses < _HEAVIEST)),
        ):
            if not valid.all():
                atom = int(np.argmin(valid))
                raise InvalidInputError(
                    key=f"{name}[{atom}]", value=values[atom].item(), expected=_OF_ATOMS[name]
                )

    def frames(self, layout: Layout) -> int:
        """Return the number of frames of a complete run."""
        return self.steps // layout.stride + 1


def reading_trajectory(path: Path) -> AbstractContextManager[h5py.File]:
    """Return the opened file of a trajectory; see :func:`eqcalc.hdf5.reading`."""
    what = "a trajectory (.h5); runs of i-PI are read by eqcalc.read_run"
    return hdf5.reading(path, what)


def frame_checksums(values: np.ndarray) -> np.ndarray:
    """Return a checksum of each frame of ``[n_replicas, n_frames, ...]`` float64, 32 bits each.

    They are the upper halves of k₀ + Σᵢ kᵢ wᵢ mod 2⁶⁴ with the 32-bit words wᵢ of a frame and
    fixed keys of 64 bits, and change with all but a fraction 2⁻³² of the changes (Lemire and
    Kaser, Comput. J. 57, 1624 (2014), multilinear hashing).
    """
    n_words = 2 * math.prod(values.shape[2:])
    digest = hashlib.shake_256(b"eqcalc trajectory").digest(8 * (n_words + 1))
    keys = np.frombuffer(digest, dtype="<u8")
    sums = np.empty(values.shape[:2], dtype="<u4")
    for replica, frames in enumerate(values):  # less memory than all at once
        words = np.ascontiguousarray(frames, dtype="<f8").reshape(len(frames), n_words // 2)
        sums[replica] = (keys[0] + words.view("<u4") @ keys[1:]) >> np.uint64(32)
    return sums


def count_word(name: str, frames: int) -> int:
    """Return the stored word of a number of frames: the number, and its checksum above it."""
    return frames | zlib.crc32(f"{name} {frames}".encode()) >> 8 << _COUNT


def frame_count(file: h5py.File, name: str) -> int:
    """Return the number of frames of an observable written so far."""
    dataset = file["frames"][name]
    word = int(dataset[0])
    if dataset.dtype != np.uint64:  # version 1
        return word
    frames = word & (1 << _COUNT) - 1
    if count_word(name, frames) != word:
        raise InvalidFileError("was changed or damaged after it was written", key=f"frames/{name}")
    return frames


@contextmanager
def laid_out(path: Path, header: Header, layouts: Mapping[str, Layout]) -> Iterator[Path]:
    """Yield a complete file without frames, which is renamed to `path` at the end.

    Raises
    ------
    InvalidFileError
        The directory does not exist or is read-only, or the disk is too small.
    """
    size = sum(
        header.n_replicas * header.frames(layout) * (8 * math.prod(layout.shape) + 4)
        for layout in layouts.values()
    )
    remove_leftovers(path)  # before the free space is asked for
    try:
        space = os.statvfs(path.parent)
        free = space.f_bavail * space.f_frsize
        if size > free:
            fitting = header.n_replicas * free // size
            fewer = f", or run at most {fitting} replicas" if fitting else ""
            raise InvalidFileError(
                f"will need {size_text(size)}, but {size_text(free)} are free",
                file=path,
                advice=f"record fewer observables or with longer strides{fewer}",
            )
        with replacing(path) as temporary:
            with hdf5.writing(temporary, growing=("observables", "checksums", "frames")) as file:
                _write_header(file, header, layouts)
            yield temporary
    except OSError as error:
        raise InvalidFileError(f"cannot be created ({error})", file=path) from error


def _write_header(file: h5py.File, header: Header, layouts: Mapping[str, Layout]) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["version"] = VERSION
    for name, value in asdict(header).items():
        if name in ("numbers", "masses", "cell"):
            if value is not None:
                file[name] = np.asarray(value)
        elif isinstance(value, dict):
            file.attrs[name] = json.dumps(value, ensure_ascii=False, sort_keys=True)
        else:
            file.attrs[name] = value
    file["masses"].attrs["unit"] = "amu"
    if header.cell is not None:
        file["cell"].attrs["unit"] = "Å"
    file.attrs["temperature unit"] = "K"
    file.attrs["timestep unit"] = "fs"
    for name, layout in layouts.items():
        frames = header.frames(layout)
        dataset = _allocate(
            file.require_group("observables"),
            name,
            (header.n_replicas, frames, *layout.shape),
            h5py.h5t.IEEE_F64LE,
        )
        dataset.attrs["unit"] = layout.unit
        dataset.attrs["stride"] = layout.stride
        dataset.attrs["interval"] = layout.stride * header.timestep
        dataset.attrs["start"] = 0.0
        dataset.attrs["time unit"] = "fs"
        shape = (header.n_replicas, frames)
        _allocate(file.require_group("checksums"), name, shape, h5py.h5t.STD_U32LE)
        counter = _allocate(file.require_group("frames"), name, (1,), h5py.h5t.STD_U64LE)
        counter[...] = count_word(name, 0)
    _allocate(file["frames"], CLOCK, (1,), h5py.h5t.STD_U64LE)[...] = count_word(CLOCK, 0)


def _allocate(
    group: h5py.Group, name: str, shape: tuple[int, ...], kind: h5py.h5t.TypeID
) -> h5py.Dataset:
    """Create a contiguous dataset, allocated immediately."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, creation))
