# SPDX-License-Identifier: MIT
"""Properties in the HDF5 file of a SchNetPack 2 simulation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eqcalc.hdf5 import reading
from eqcalc.spectra.io.formats.base import SeriesReader, check_unrepeated
from eqcalc.validation import InvalidFileError, located


class SchNetPackReader(SeriesReader):
    """A property such as ``"dipole_moment"`` or ``"polarizability"``.

    The replicas of SchNetPack are the beads of a ring polymer and are averaged; its molecules,
    which must be identical, are returned as replicas. Units are those of its input.
    """

    name = "schnetpack"
    key = "key"

    def read(self, paths: Sequence[Path], key: str, time_key: None) -> dict[str, np.ndarray]:
        """Return the molecules of every file."""
        replicas = {}
        for path in paths:
            with located(file=path):
                molecules, step = _molecules(path, key)
                if step is not None:
                    self.says_interval(step, None, "molecules: time_step")
                for index, molecule in enumerate(molecules):
                    self.says_unit([key], molecule[0].size, key)
                    replicas[f"{path}, molecule {index}"] = check_unrepeated(molecule)
        return replicas


def _molecules(path: Path, name: str) -> tuple[np.ndarray, float | None]:
    """Return ``[n_molecules, n_frames, ...]`` and the time between frames in its unit, if known."""
    with reading(path, "the HDF5 file of a SchNetPack simulation") as file:
        if "properties" not in file or "positions" not in file["properties"].attrs:
            raise InvalidFileError(expected="a SchNetPack simulation with a property stream")
        data = file["properties"]
        where, shapes = (json.loads(data.attrs[part]) for part in ("positions", "shapes"))
        if name not in where:
            raise InvalidFileError(f"no {name!r}; there are: {', '.join(sorted(where))}")
        # the data set is preallocated beyond the written frames
        record = file["molecules"].attrs if "molecules" in file else data.attrs
        entries = int(record.get("entries", len(data)))
        if not 2 <= entries <= len(data):
            raise InvalidFileError(
                key="entries", value=entries, expected=f"2 to {len(data)} frames, as are there"
            )
        block = np.asarray(data[:entries, :, slice(*where[name])], dtype=float)
        values = np.moveaxis(block.mean(1).reshape(entries, *shapes[name]), 0, 1)
        step = record.get("time_step")
        return values, None if step is None else float(step)
