# SPDX-License-Identifier: MIT
"""The trajectory file: written crash-safe, readable at any time.

Layout
------
A trajectory is an HDF5 file::

    /                   attributes: format, version, method, temperature, ... (see Header)
    /numbers, /masses   [n_atoms]
    /observables/NAME   [n_replicas, n_frames, ...] float64,
                        attributes unit, interval (fs), start (fs), stride (steps)
    /frames/NAME        [1] int64, how many frames of NAME are written so far

How it survives a kill
----------------------
The length of a run is known when it starts, so the complete file is laid out then, with
contiguous datasets, under a temporary name, and renamed. From there on nobody writes
HDF5 metadata again: a frame goes to its known place in the file by a positioned write
and the frame count, one aligned 8-byte word, is updated after it. Whenever the process
dies the file is a valid HDF5 file whose frame counts tell the truth, and other
processes may read it while it grows. Unwritten frames occupy no disk space on
file systems with sparse files. Compressed chunks have no place that is known beforehand,
and would save little: gzip with shuffled bytes leaves 0.8 of dipole and polarizability
(measured on ethanol) and all of the bead positions.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

__all__ = [
    "Header",
    "Layout",
    "TimeSeries",
    "Trajectory",
    "TrajectoryError",
    "TrajectoryWriter",
    "write_atomically",
]

FORMAT = "eqcalc trajectory"
VERSION = 1


class TrajectoryError(RuntimeError):
    """A trajectory file cannot be read or written."""


@dataclass(frozen=True)
class TimeSeries:
    """One observable of all replicas on an even grid of times.

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
    """Where and how one observable is stored.

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
    """What a trajectory is: enough to compute a spectrum and to say how it was made.

    Parameters
    ----------
    method
        ``"NVE"``, ``"T-RPMD"``, ...
    temperature
        Target temperature [K].
    timestep
        [fs].
    steps
        Length of the run; step 0 is recorded too.
    n_replicas, n_beads
        Numbers of copies and of beads of each.
    numbers
        Atomic numbers, ``[n_atoms]``.
    masses
        ``[n_atoms]`` [amu].
    settings
        Everything else the caller chose, JSON-able.
    provenance
        Model, level of theory, versions of the software, JSON-able.
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


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that at any time either the old or the new content is there."""
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _temporary(path: Path) -> Path:
    """Where a file is built before it takes its name; a leftover of a kill is reused."""
    return path.with_name(f".{path.name}.partial")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading -------------------------------------------------------------------------


class Trajectory:
    """Lazy reader of a trajectory file, also of one that is still being written.

    Opening reads the header only; :meth:`observable` reads one series.
    """

    def __init__(self, path: Path, header: Header, layouts: dict[str, Layout]) -> None:
        self.path = path
        self.header = header
        self._layouts = layouts

    @classmethod
    def open(cls, path: str | Path) -> Trajectory:
        """Open a trajectory, or the folder of an i-PI run; see :meth:`from_ipi`.

        Raises
        ------
        FileNotFoundError
            There is no such file or folder.
        TrajectoryError
            It is not a trajectory, or one of a newer version.
        """
        path = Path(path)
        if path.is_dir():
            return cls.from_ipi(path)
        with _open_hdf5(path) as file:
            if file.attrs.get("format") != FORMAT:
                raise TrajectoryError(f"{path} is an HDF5 file, but not an eqcalc trajectory")
            if file.attrs["version"] > VERSION:
                raise TrajectoryError(
                    f"{path} has trajectory version {file.attrs['version']}, this eqcalc reads "
                    f"up to {VERSION}; update eqcalc"
                )
            header = Header(
                method=str(file.attrs["method"]),
                temperature=float(file.attrs["temperature"]),
                timestep=float(file.attrs["timestep"]),
                steps=int(file.attrs["steps"]),
                n_replicas=int(file.attrs["n_replicas"]),
                n_beads=int(file.attrs["n_beads"]),
                numbers=file["numbers"][()],
                masses=file["masses"][()],
                settings=json.loads(file.attrs["settings"]),
                provenance=json.loads(file.attrs["provenance"]),
            )
            layouts = {
                name: Layout(
                    dataset.shape[2:], str(dataset.attrs["unit"]), int(dataset.attrs["stride"])
                )
                for name, dataset in file["observables"].items()
            }
        return cls(path, header, layouts)

    @classmethod
    def from_ipi(
        cls,
        directory: str | Path,
        output: str | Path | None = None,
        *,
        method: str | None = None,
        extras_units: Mapping[str, str] | None = None,
    ) -> Trajectory:
        """Read the outputs of an i-PI simulation, also of one that is running or was killed.

        Of several records of a step, which a restart leaves, the last counts. Several systems
        of one simulation become replicas.

        Parameters
        ----------
        directory
            Where i-PI has written, with a checkpoint or RESTART.
        output
            Trajectory file to write, ``trajectory.h5`` in the directory by default; one that
            was read from i-PI before is replaced.
        method
            Name of the dynamics, if it is to be another than the thermostat says.
        extras_units
            Units of ``dipole`` and ``polarizability`` among the extras of another potential
            than that of eqcalc.

        Raises
        ------
        ValueError
            Records are missing, a unit is unknown, or there is no checkpoint.
        """
        from eqcalc.ipi.read import read_run

        return read_run(directory, output, method=method, extras_units=extras_units)

    @property
    def method(self) -> str:
        """Kind of dynamics: ``"NVE"``, ``"Langevin"``, ``"RPMD"``, ``"T-RPMD"``, ..."""
        return self.header.method

    @property
    def temperature(self) -> float:
        """Target temperature [K]."""
        return self.header.temperature

    @property
    def timestep(self) -> float:
        """Time step of the dynamics [fs]."""
        return self.header.timestep

    @property
    def n_replicas(self) -> int:
        """Number of independent copies."""
        return self.header.n_replicas

    @property
    def n_beads(self) -> int:
        """Number of beads; 1 for classical nuclei."""
        return self.header.n_beads

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.header.numbers)

    @property
    def numbers(self) -> np.ndarray:
        """Atomic numbers, ``[n_atoms]``."""
        return self.header.numbers

    @property
    def masses(self) -> np.ndarray:
        """Masses [amu], ``[n_atoms]``."""
        return self.header.masses

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the run: seed, thermostat, initial conditions, ..."""
        return self.header.settings

    @property
    def provenance(self) -> dict[str, Any]:
        """Model, level of theory and versions of the software."""
        return self.header.provenance

    def observables(self) -> tuple[str, ...]:
        """Return the names of the recorded observables."""
        return tuple(self._layouts)

    def n_frames(self, name: str) -> int:
        """Return how many frames of an observable are written by now."""
        self._layout(name)
        with _open_hdf5(self.path) as file:
            return int(file["frames"][name][0])

    @property
    def complete(self) -> bool:
        """Whether every frame of the run is written."""
        return all(
            self.n_frames(name) == self.header.frames(layout)
            for name, layout in self._layouts.items()
        )

    def observable(
        self, name: str, replicas: slice | None = None, frames: slice | None = None
    ) -> TimeSeries:
        """Read one observable.

        Parameters
        ----------
        name
            Its name.
        replicas
            Read these replicas only.
        frames
            Read these consecutive frames only, of those written by now.

        Raises
        ------
        KeyError
            It was not recorded.
        """
        layout = self._layout(name)
        with _open_hdf5(self.path) as file:
            written = int(file["frames"][name][0])
            first, stop, _ = (frames or slice(None)).indices(written)
            dataset = file["observables"][name]
            values = dataset[slice(None) if replicas is None else replicas, first:stop]
        interval = layout.stride * self.timestep
        return TimeSeries(values, interval, first * interval, layout.unit)

    def _layout(self, name: str) -> Layout:
        if name not in self._layouts:
            raise KeyError(
                f"{self.path} does not contain {name!r}; it contains {', '.join(self._layouts)}"
            )
        return self._layouts[name]

    def __repr__(self) -> str:
        h = self.header
        beads = f", {h.n_beads} beads" if h.n_beads > 1 else ""
        return (
            f"<Trajectory {self.path.name}: {h.method}, {h.temperature:g} K, {h.n_replicas} "
            f"replicas{beads}, {len(h.numbers)} atoms, {h.steps} steps of {h.timestep:g} fs>"
        )


def _open_hdf5(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no trajectory {path}") from None
    except OSError as error:
        raise TrajectoryError(f"cannot read {path} as HDF5: {error}") from error


# --- writing -------------------------------------------------------------------------


class TrajectoryWriter:
    """Writes frames into a trajectory file laid out by :meth:`create`.

    Parameters
    ----------
    path
        An existing trajectory.
    frames
        How many frames of each observable are valid; writing goes on after them.
        The others are forgotten.
    """

    def __init__(self, path: Path, frames: Mapping[str, int] | None = None) -> None:
        self.path = path
        trajectory = Trajectory.open(path)
        self.header = trajectory.header
        self.layouts = dict(trajectory._layouts)
        self._offsets: dict[str, int] = {}
        self._counters: dict[str, int] = {}
        with _open_hdf5(path) as file:
            for name in self.layouts:
                self._offsets[name] = file["observables"][name].id.get_offset()
                self._counters[name] = file["frames"][name].id.get_offset()
        self.frames = dict.fromkeys(self.layouts, 0)
        self.frames.update(frames or {})
        try:
            self._descriptor = os.open(path, os.O_RDWR)
            for name, count in self.frames.items():
                self._write(struct.pack("<q", count), self._counters[name])
        except OSError as error:
            raise TrajectoryError(f"cannot write to the trajectory {path}: {error}") from error

    @classmethod
    def create(cls, path: Path, header: Header, layouts: Mapping[str, Layout]) -> TrajectoryWriter:
        """Lay out a new file and return its writer.

        Raises
        ------
        FileExistsError
            The file exists.
        TrajectoryError
            It cannot be created: no permission, or not enough space on the disk.
        """
        if path.exists():
            raise FileExistsError(f"{path} exists and is never overwritten")
        lay_out(path, header, layouts)
        return cls(path)

    @classmethod
    def extend(
        cls, path: Path, header: Header, layouts: Mapping[str, Layout], frames: Mapping[str, int]
    ) -> TrajectoryWriter:
        """Replace a trajectory by a longer one that starts with its first `frames`."""
        longer = path.with_name(f".{path.name}.longer")
        longer.unlink(missing_ok=True)
        lay_out(longer, header, layouts)
        writer = cls(longer)
        with _open_hdf5(path) as file:
            for name, count in frames.items():
                writer._copy_frames(name, file["observables"][name], count)
        writer.sync()
        writer.close()
        longer.replace(path)
        _sync_directory(path.parent)
        return cls(path, frames)

    def write(self, name: str, frames: np.ndarray) -> None:
        """Put the next frames of an observable into the file.

        Parameters
        ----------
        name
            The observable.
        frames
            ``[n_replicas, n, ...]``: any number of frames.

        Raises
        ------
        ValueError
            The shape is wrong, or there are more frames than the run has.
        TrajectoryError
            They could not be written, for instance because the disk is full. What was
            written before stays readable.
        """
        layout, first = self.layouts[name], self.frames[name]
        expected = (self.header.n_replicas, frames.shape[1], *layout.shape)
        if frames.shape != expected:
            raise ValueError(
                f"frames of {name!r} have the shape {expected}, got {frames.shape}; does the "
                "evaluator return the right shape?"
            )
        count = first + frames.shape[1]
        if count > self.header.frames(layout):
            raise ValueError(f"{count} frames of {name!r}, but {self.path} has room for fewer")
        try:
            for replica, values in enumerate(frames):
                self._write_values(name, replica, first, values)
            self._count(name, count)
        except OSError as error:
            raise self._failure(error) from error

    def sync(self) -> None:
        """Return when everything written is on the disk.

        Raises
        ------
        TrajectoryError
            The disk reports an error.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> TrajectoryError:
        counts = ", ".join(f"{count} {name}" for name, count in self.frames.items())
        return TrajectoryError(
            f"cannot write to the trajectory {self.path}: {error}; the frames up to now ({counts}) "
            "are readable"
        )

    def _copy_frames(self, name: str, source: h5py.Dataset, count: int) -> None:
        for replica in range(self.header.n_replicas):
            self._write_values(name, replica, 0, source[replica, :count])
        self._count(name, count)

    def _write_values(self, name: str, replica: int, first: int, values: np.ndarray) -> None:
        layout = self.layouts[name]
        index = replica * self.header.frames(layout) + first
        item = 8 * math.prod(layout.shape)
        self._write(values.astype("<f8").tobytes(), self._offsets[name] + index * item)

    def _count(self, name: str, frames: int) -> None:
        self._write(struct.pack("<q", frames), self._counters[name])
        self.frames[name] = frames

    def _write(self, data: bytes, place: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, place)
            view, place = view[written:], place + written

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def lay_out(path: Path, header: Header, layouts: Mapping[str, Layout]) -> None:
    """Create the complete file of a run without frames, atomically.

    Raises
    ------
    TrajectoryError
        The directory does not exist or is read-only, or the disk is too small.
    """
    size = sum(
        8 * header.n_replicas * header.frames(layout) * math.prod(layout.shape)
        for layout in layouts.values()
    )
    temporary = _temporary(path)
    try:
        space = os.statvfs(path.parent)
        if size > space.f_bavail * space.f_frsize:
            raise TrajectoryError(
                f"the trajectory {path} will need {size / 1e9:.1f} GB, but "
                f"{space.f_bavail * space.f_frsize / 1e9:.1f} GB are free; record fewer "
                "observables or with longer strides"
            )
        with h5py.File(temporary, "w", libver=("v110", "v110")) as file:
            _write_header(file, header, layouts)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise TrajectoryError(f"cannot create the trajectory {path}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


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
    """Create a contiguous dataset whose place in the file is fixed now."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, creation))
