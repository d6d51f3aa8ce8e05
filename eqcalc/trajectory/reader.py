# SPDX-License-Identifier: MIT
"""Read trajectory files, also while they grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms

from eqcalc.facts import facts_table, joined_levels
from eqcalc.trajectory.layout import (
    FORMAT,
    VERSION,
    Header,
    Layout,
    TimeSeries,
    TrajectoryError,
    open_hdf5,
)

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
        with open_hdf5(path) as file:
            if file.attrs.get("format") != FORMAT:
                raise TrajectoryError(
                    file=path, key="format", value=file.attrs.get("format"), expected=FORMAT
                )
            version = int(_attribute(file, "version", path))
            if version > VERSION:
                raise TrajectoryError(
                    file=path,
                    key="version",
                    value=version,
                    expected=f"at most {VERSION}",
                    advice="update eqcalc",
                )
            header = Header(
                **{name: kind(_attribute(file, name, path)) for name, kind in _SCALARS.items()},
                numbers=_item(file, "numbers", path)[()],
                masses=_item(file, "masses", path)[()],
                settings=_record(file, "settings", path),
                provenance=_record(file, "provenance", path),
            )
            _item(file, "frames", path)
            layouts = {
                name: Layout(
                    dataset.shape[2:],
                    str(_attribute(dataset, "unit", path)),
                    int(_attribute(dataset, "stride", path)),
                )
                for name, dataset in _item(file, "observables", path).items()
            }
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

    def n_frames(self, name: str) -> int:
        """Return the number of frames of an observable written so far."""
        self._layout(name)
        return self._frames()[name]

    def _frames(self) -> dict[str, int]:
        """Return a snapshot of the numbers of frames written so far."""
        with open_hdf5(self.path) as file:
            return {name: int(file["frames"][name][0]) for name in self._layouts}

    @property
    def complete(self) -> bool:
        """Whether all frames of the run are written."""
        return self.steps_written == self.header.steps

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
        KeyError
            It was not recorded.
        """
        layout = self._layout(name)
        with open_hdf5(self.path) as file:
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


def _attribute(item: h5py.Group | h5py.Dataset, name: str, path: Path) -> Any:
    """Return an attribute of the file or of a dataset in it."""
    if name not in item.attrs:
        where = "" if item.name == "/" else f" of {item.name}"
        raise TrajectoryError(f"the attribute{where} is missing", file=path, key=name)
    return item.attrs[name]


def _item(file: h5py.File, name: str, path: Path) -> Any:
    """Return a dataset or group of the file."""
    if name not in file:
        raise TrajectoryError("is missing", file=path, key=f"/{name}")
    return file[name]


def _record(file: h5py.File, name: str, path: Path) -> dict[str, Any]:
    """Return an attribute that is a JSON object."""
    text = _attribute(file, name, path)
    try:
        record = json.loads(text)
    except ValueError as error:
        raise TrajectoryError(f"is damaged ({error})", file=path, key=name) from None
    if not isinstance(record, dict):
        raise TrajectoryError(file=path, key=name, value=text, expected="a JSON object")
    return record
