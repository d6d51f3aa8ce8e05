# SPDX-License-Identifier: MIT
"""Write frames to a trajectory file at fixed offsets."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eqcalc.files import sync_file
from eqcalc.trajectory.layout import (
    CLOCK,
    Header,
    Layout,
    count_word,
    frame_checksums,
    laid_out,
    reading_trajectory,
)
from eqcalc.trajectory.reader import Trajectory
from eqcalc.validation import InvalidFileError, InvalidInputError, absent_file


class TrajectoryWriter:
    """Writes frames to a trajectory file created by :meth:`create`.

    Parameters
    ----------
    path
        An existing trajectory.
    frames
        Number of valid frames of each observable, after which writing continues; later ones
        are discarded.
    """

    def __init__(self, path: Path, frames: Mapping[str, int] | None = None) -> None:
        self.path = path
        trajectory = Trajectory.open(path)
        self.header = trajectory.header
        self.layouts = dict(trajectory._layouts)
        self._offsets: dict[str, int] = {}
        self._checksums: dict[str, int] = {}  # none in files of version 1
        self._counters: dict[str, int] = {}
        with reading_trajectory(path) as file:
            for name in self.layouts:
                self._offsets[name] = file["observables"][name].id.get_offset()
                self._counters[name] = file["frames"][name].id.get_offset()
                if "checksums" in file:
                    self._checksums[name] = file["checksums"][name].id.get_offset()
            clock = file["frames"].get(CLOCK)
            self._clock = None if clock is None else clock.id.get_offset()
        self.frames = dict.fromkeys(self.layouts, 0)
        self.frames.update(frames or {})
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            for name, count in self.frames.items():
                self._count(name, count)
        except OSError as error:
            raise InvalidFileError(f"cannot be written ({error})", file=path) from error

    @classmethod
    def create(cls, path: Path, header: Header, layouts: Mapping[str, Layout]) -> TrajectoryWriter:
        """Create a new file and return its writer.

        Raises
        ------
        ExistingFileError
            The file exists.
        InvalidFileError
            It cannot be created, for lack of permission or disk space.
        """
        absent_file(path)
        with laid_out(path, header, layouts):
            pass
        return cls(path)

    @classmethod
    def extend(
        cls, path: Path, header: Header, layouts: Mapping[str, Layout], frames: Mapping[str, int]
    ) -> TrajectoryWriter:
        """Replace a trajectory by a longer one that keeps its first `frames`."""
        shorter = Trajectory.open(path)
        with laid_out(path, header, layouts) as longer:
            writer = cls(longer)
            for name, count in frames.items():
                writer._copy(shorter, name, count)
                writer._count(name, count)
            writer.write_wall_time(shorter.wall_time or 0.0)
            writer.close()
        return cls(path, frames)

    @classmethod
    def join(cls, path: Path, header: Header, parts: Sequence[Trajectory]) -> None:
        """Write complete trajectories of the same observables as the replicas of one."""
        absent_file(path)
        with laid_out(path, header, dict(parts[0]._layouts)) as temporary:
            writer = cls(temporary)
            for name, layout in writer.layouts.items():
                count, first = header.frames(layout), 0
                for part in parts:
                    writer._copy(part, name, count, first)
                    first += part.n_replicas
                writer._count(name, count)
            writer.write_wall_time(sum(part.wall_time or 0.0 for part in parts))
            writer.close()

    def _copy(self, source: Trajectory, name: str, count: int, first: int = 0) -> None:
        """Write the first frames of all replicas of another file, to those from `first` on."""
        for replica in range(source.n_replicas):
            values = source.observable(name, slice(replica, replica + 1), slice(count)).values
            self._write_values(name, first + replica, 0, values[0])

    def write(self, name: str, frames: np.ndarray) -> None:
        """Append frames of an observable.

        Parameters
        ----------
        name
            The observable.
        frames
            ``[n_replicas, n, ...]``: any number of frames.

        Raises
        ------
        InvalidInputError
            The shape is wrong, or there are more frames than the run has.
        InvalidFileError
            They could not be written, for example because the disk is full. Earlier frames
            remain readable.
        """
        layout, first = self.layouts[name], self.frames[name]
        expected = (self.header.n_replicas, frames.shape[1], *layout.shape)
        if frames.shape != expected:
            raise InvalidInputError(
                key=name,
                value=list(frames.shape),
                expected=f"the shape {list(expected)}",
                advice="does the evaluator return the right shape?",
            )
        count, room = first + frames.shape[1], self.header.frames(layout)
        if count > room:
            raise InvalidInputError(key=name, value=count, expected=f"at most {room} frames")
        try:
            for replica, values in enumerate(frames):
                self._write_values(name, replica, first, values)
            self._count(name, count)
        except OSError as error:
            raise self._failure(error) from error

    def write_wall_time(self, seconds: float) -> None:
        """Record the wall time of the run so far, in files that have a place for it."""
        if self._clock is not None:
            word = count_word(CLOCK, round(1000.0 * seconds))
            try:
                self._write(struct.pack("<Q", word), self._clock)
            except OSError as error:
                raise self._failure(error) from error

    def sync(self) -> None:
        """Sync the file to disk.

        Raises
        ------
        InvalidFileError
            The disk reports an error.
        """
        try:
            sync_file(self._descriptor)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> InvalidFileError:
        counts = ", ".join(f"{count} {name}" for name, count in self.frames.items())
        return InvalidFileError(
            f"cannot be written ({error})",
            file=self.path,
            advice=f"the frames up to now ({counts}) are readable",
        )

    def _write_values(self, name: str, replica: int, first: int, values: np.ndarray) -> None:
        layout = self.layouts[name]
        index = replica * self.header.frames(layout) + first
        item = 8 * math.prod(layout.shape)
        self._write(values.astype("<f8").tobytes(), self._offsets[name] + index * item)
        if name in self._checksums:
            sums = frame_checksums(values[None])
            self._write(sums.tobytes(), self._checksums[name] + index * sums.itemsize)

    def _count(self, name: str, frames: int) -> None:
        word = count_word(name, frames) if name in self._checksums else frames
        self._write(struct.pack("<Q", word), self._counters[name])
        self.frames[name] = frames

    def _write(self, data: bytes, place: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, place)
            view, place = view[written:], place + written

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
