# SPDX-License-Identifier: MIT
"""Read trajectory files, also while they grow."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms

from eqcalc.facts import facts_table, joined_levels
from eqcalc.trajectory.layout import (
    CLOCK,
    FORMAT,
    VERSION,
    Header,
    Layout,
    TimeSeries,
    frame_checksums,
    frame_count,
    internal_unit,
    reading_trajectory,
)
from eqcalc.units import UnitError, conversion_factor, parse_unit
from eqcalc.validation import InvalidFileError, count, located, one_of

#: Units of attributes of the file, stored beside them.
_HEADER_UNITS = {"temperature": "K", "timestep": "fs"}
#: Scalar attributes of the file, as in the header.
_SCALARS: dict[str, Any] = {
    "method": str,
    "temperature": float,
    "timestep": float,
    "steps": int,
    "n_replicas": int,
    "n_beads": int,
}


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
        """Open a trajectory; runs of i-PI are read by :func:`eqcalc.ipi.read_run`.

        Raises
        ------
        InvalidFileError
            The file does not exist, is not a trajectory, or is of a newer version.
        """
        path = Path(path)
        with reading_trajectory(path) as file:
            if file.attrs.get("format") != FORMAT:
                raise InvalidFileError(
                    key="format", value=file.attrs.get("format"), expected=FORMAT
                )
            version = _scalar(file, "version", int)
            if not 1 <= version <= VERSION:
                raise InvalidFileError(
                    key="version",
                    value=version,
                    expected=f"at most {VERSION}",
                    advice="update eqcalc" if version > VERSION else "",
                )
            for name, unit in _HEADER_UNITS.items():
                _check_unit(file, f"{name} unit", unit)
            _check_unit(_item(file, "masses"), "unit", "amu")
            if periodic := "cell" in file:
                _check_unit(file["cell"], "unit", "Å")
            header = Header(
                **{name: _scalar(file, name, kind) for name, kind in _SCALARS.items()},
                numbers=_item(file, "numbers")[()],
                masses=_item(file, "masses")[()],
                cell=file["cell"][()] if periodic else None,
                settings=_record(file, "settings"),
                provenance=_record(file, "provenance"),
            )
            for name in ("frames", "checksums") if version > 1 else ("frames",):
                _item(file, name)
            layouts = {name: _layout(file, name, header) for name in _item(file, "observables")}
        return cls(path, header, layouts)

    @property
    def method(self) -> str:
        """Dynamics method: ``"NVE"``, ``"Langevin"``, ``"RPMD"``, ``"T-RPMD"``, ..."""
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
    def cell(self) -> np.ndarray | None:
        """Cell vectors as rows, ``[3, 3]`` [Å]; None of a molecule."""
        return self.header.cell

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the run: seed, thermostat, initial conditions, ..."""
        return self.header.settings

    @property
    def provenance(self) -> dict[str, Any]:
        """Model, level of theory and software versions."""
        return self.header.provenance

    def observables(self) -> tuple[str, ...]:
        """Return the names of the recorded observables."""
        return tuple(self._layouts)

    def interval(self, name: str) -> float:
        """Return the time between frames of an observable [fs]."""
        return self._layout(name).stride * self.timestep

    def n_frames(self, name: str) -> int:
        """Return the number of frames of an observable written so far."""
        self._layout(name)
        return self._frames()[name]

    def _frames(self) -> dict[str, int]:
        """Return a snapshot of the numbers of frames written so far."""
        with reading_trajectory(self.path) as file:
            return {name: frame_count(file, name) for name in self._layouts}

    @property
    def complete(self) -> bool:
        """Whether all frames of the run are written."""
        return self.steps_written == self.header.steps

    @property
    def wall_time(self) -> float | None:
        """Time that the run has taken so far [s]; None if it is not recorded."""
        with reading_trajectory(self.path) as file:
            recorded = CLOCK in file["frames"] and frame_count(file, CLOCK)
            return recorded / 1000.0 if recorded else None

    @property
    def steps_written(self) -> int:
        """Number of steps for which all recorded observables are written."""
        steps, frames = self.header.steps, self._frames()
        # until the next frame, of a run that has one
        written = [
            max(frames[name] * layout.stride - 1, 0)
            for name, layout in self._layouts.items()
            if frames[name] != self.header.frames(layout)
        ]
        return min(written, default=steps)

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
            Read these consecutive frames only, of those written so far.

        Raises
        ------
        InvalidInputError
            It was not recorded, or its frames have been changed.
        """
        layout = self._layout(name)
        with reading_trajectory(self.path) as file:
            first, stop, _ = (frames or slice(None)).indices(frame_count(file, name))
            chosen = (slice(None) if replicas is None else replicas, slice(first, stop))
            values = file["observables"][name][chosen]
            if "checksums" in file:
                broken = frame_checksums(values) != file["checksums"][name][chosen]
                if broken.any():
                    frame = first + int(broken.any(axis=0).argmax())
                    raise InvalidFileError(
                        "was changed or damaged after it was written",
                        key=f"{name}, frame {frame}",
                        advice="use a copy; an unfinished run is repaired by resuming it",
                    )
        interval = self.interval(name)
        unit = internal_unit(name) or layout.unit
        if unit != layout.unit:
            values = values * conversion_factor(layout.unit, unit)
        return TimeSeries(values, interval, first * interval, unit)

    def _layout(self, name: str) -> Layout:
        with located(file=self.path):
            return self._layouts[one_of("observable", name, self._layouts)]

    def __repr__(self) -> str:
        h = self.header
        beads = f", {h.n_beads} beads" if h.n_beads > 1 else ""
        written = self.steps_written
        steps = f"{h.steps}" if written == h.steps else f"unfinished, {written} of {h.steps}"
        return (
            f"<Trajectory {self.path.name}: {h.method}, {h.temperature:g} K, {h.n_replicas} "
            f"replicas{beads}, {len(h.numbers)} atoms, {steps} steps of {h.timestep:g} fs>"
        )

    def _repr_html_(self) -> str:
        h, frames = self.header, self._frames()
        recorded = (
            f"{name} [{layout.unit}], {frames[name]} × {layout.stride * h.timestep:g} fs"
            for name, layout in self._layouts.items()
        )
        rows = {
            "molecule": Atoms(h.numbers).get_chemical_formula("hill"),
            "method": f"{h.method}, {h.temperature:g} K",
            "replicas × beads": f"{h.n_replicas} × {h.n_beads}",
            "steps": f"{self.steps_written} of {h.steps}, {h.timestep:g} fs each",
            "observables": "; ".join(recorded),
            "level of theory": joined_levels(h.provenance.get("level_of_theory")) or "not stated",
        }
        return facts_table(f"Trajectory {self.path.name}", rows)


def steps_written(path: Path) -> int:
    """Return the number of steps in a trajectory; zero while there is none yet."""
    return Trajectory.open(path).steps_written if path.exists() else 0


def _layout(file: h5py.File, name: str, header: Header) -> Layout:
    """Return the layout of an observable, after checking it against the header."""
    dataset = file["observables"][name]
    _check_unit(dataset, "time unit", "fs")
    layout = Layout(
        dataset.shape[2:],
        str(_attribute(dataset, "unit")),
        count("stride", _scalar(dataset, "stride", int)),
    )
    internal = internal_unit(name)
    try:
        parse_unit(layout.unit) if internal is None else conversion_factor(layout.unit, internal)
    except UnitError as error:
        raise InvalidFileError(str(error), key=f"observables/{name}.unit") from None
    shape = (header.n_replicas, header.frames(layout))
    expected = {"interval": layout.stride * header.timestep, "start": 0.0}
    for key, value in expected.items():
        if not math.isclose(found := _scalar(dataset, key, float), value, rel_tol=1e-9):
            place = f"observables/{name}.{key}"
            raise InvalidFileError(key=place, value=found, expected=f"{value:g} fs")
    if dataset.shape[:2] != shape or dataset.dtype != np.float64:
        raise InvalidFileError(
            key=f"observables/{name}",
            value=(dataset.shape, str(dataset.dtype)),
            expected=f"float64 {list(shape)}",
        )
    if not 0 <= frame_count(file, name) <= shape[1]:
        raise InvalidFileError(
            key=f"frames/{name}", value=frame_count(file, name), expected=f"at most {shape[1]}"
        )
    return layout


def _check_unit(item: h5py.Group | h5py.Dataset, name: str, expected: str) -> None:
    """Require the unit that all files have."""
    unit = str(_attribute(item, name))
    if unit != expected:
        raise InvalidFileError(key=f"{item.name} {name}", value=unit, expected=repr(expected))


def _attribute(item: h5py.Group | h5py.Dataset, name: str) -> Any:
    """Return an attribute of the file or of a dataset in it."""
    if name not in item.attrs:
        where = "" if item.name == "/" else f" of {item.name}"
        raise InvalidFileError(f"the attribute{where} is missing", key=name)
    return item.attrs[name]


def _scalar(item: h5py.Group | h5py.Dataset, name: str, kind: type) -> Any:
    """Return an attribute that is a number or text."""
    value = _attribute(item, name)
    try:
        found = value.decode() if isinstance(value, bytes) else kind(value)
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None or (kind is int and found != value):
        raise InvalidFileError(key=name, value=value, expected=f"of type {kind.__name__}")
    return found


def _item(file: h5py.File, name: str) -> Any:
    """Return a dataset or group of the file."""
    if name not in file:
        raise InvalidFileError("is missing", key=f"/{name}")
    return file[name]


def _record(file: h5py.File, name: str) -> dict[str, Any]:
    """Return an attribute that is a JSON object."""
    text = _attribute(file, name)
    try:
        record = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidFileError(f"is damaged ({error})", key=name) from None
    if not isinstance(record, dict):
        raise InvalidFileError(key=name, value=text, expected="a JSON object")
    return record
