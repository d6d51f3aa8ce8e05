# SPDX-License-Identifier: MIT
"""Layout of a trajectory file: the header, the observables, and file creation."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eqcalc.files import replacing
from eqcalc.validation import InvalidFileError, existing_file

FORMAT = "eqcalc trajectory"
VERSION = 1


class TrajectoryError(InvalidFileError):
    """A trajectory file cannot be read or written."""


@dataclass(frozen=True)
class TimeSeries:
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


@dataclass(frozen=True)
class Header:
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

    def frames(self, layout: Layout) -> int:
        """Return the number of frames of a complete run."""
        return self.steps // layout.stride + 1


def open_hdf5(path: Path) -> h5py.File:
    """Open the file of a trajectory for reading.

    Raises
    ------
    InvalidFileError
        The file does not exist, is a directory, or is not HDF5.
    """
    existing_file(path, "a trajectory (.h5); runs of i-PI are read by eqcalc.read_run")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise TrajectoryError(
            f"cannot be read ({error})", file=path, expected="a trajectory (HDF5)"
        ) from error


@contextmanager
def laid_out(path: Path, header: Header, layouts: Mapping[str, Layout]) -> Iterator[Path]:
    """Yield a complete file without frames, which is renamed to `path` at the end.

    Raises
    ------
    TrajectoryError
        The directory does not exist or is read-only, or the disk is too small.
    """
    size = sum(
        8 * header.n_replicas * header.frames(layout) * math.prod(layout.shape)
        for layout in layouts.values()
    )
    try:
        space = os.statvfs(path.parent)
        if size > space.f_bavail * space.f_frsize:
            raise TrajectoryError(
                f"will need {size / 1e9:.1f} GB, but "
                f"{space.f_bavail * space.f_frsize / 1e9:.1f} GB are free",
                file=path,
                advice="record fewer observables or with longer strides",
            )
        with replacing(path) as temporary:
            with h5py.File(temporary, "w", libver=("v110", "v110")) as file:
                _write_header(file, header, layouts)
            yield temporary
    except OSError as error:
        raise TrajectoryError(f"cannot be created ({error})", file=path) from error


def _write_header(file: h5py.File, header: Header, layouts: Mapping[str, Layout]) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["version"] = VERSION
    for name, value in asdict(header).items():
        if name in ("numbers", "masses"):
            file[name] = np.asarray(value)
        elif isinstance(value, dict):
            file.attrs[name] = json.dumps(value, ensure_ascii=False, sort_keys=True)
        else:
            file.attrs[name] = value
    file["masses"].attrs["unit"] = "amu"
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
        counter = _allocate(file.require_group("frames"), name, (1,), h5py.h5t.STD_I64LE)
        counter[...] = 0


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
