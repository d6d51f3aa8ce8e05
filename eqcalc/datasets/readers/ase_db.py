# SPDX-License-Identifier: MIT
"""Read ASE databases, among them those of SchNetPack, one row at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.datasets.readers.frames import Frame, FrameError
from eqcalc.quantities import known_quantities
from eqcalc.validation import InvalidFileError, existing_file

#: Results of ASE calculators and the units ASE defines for them.
_ASE_UNITS = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3", "dipole": "e*Å"}
_OTHER_RESULTS = ("charges", "magmom", "magmoms", "free_energy", "energies", "stresses")


class AseDatabaseReader:
    """The rows of an ASE database (``.db`` or ``.json``).

    Energy, forces, stress and dipole of a row are results of an ASE calculator,
    in ASE's units. Key-value pairs and ``row.data`` are shown under their own
    names; SchNetPack's metadata states their units.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = existing_file(path, "an ASE database")
        try:
            database = self._connect()
            metadata = dict(database.metadata)
            self._n = database.count()
            first = next(iter(database.select(limit=1)), None)
        except Exception as error:  # ASE passes on what SQLite and JSON raise
            raise InvalidFileError(
                f"not readable ({error})", expected="an ASE database", file=self.path
            ) from None
        present = set() if first is None else set(_values(first))
        self.keys: Mapping[str, str] = {
            name: name for name in known_quantities() if name in present
        }
        in_data = set() if first is None else set(first.data) | set(first.key_value_pairs)
        stated = dict(metadata.get("_property_unit_dict", {}))
        self.units: Mapping[str, str] = {
            "positions": metadata.get("_distance_unit", "Å"),
            **{n: u for n, u in _ASE_UNITS.items() if n in self.keys and n not in in_data},
            **{n: u for n, u in stated.items() if n in self.keys and n in in_data and u},
        }
        #: Units the metadata states, by key of the file.
        self.units_by_key: Mapping[str, str] = {key: unit for key, unit in stated.items() if unit}
        self.level_of_theory = str(metadata.get("level_of_theory", ""))

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[Frame | FrameError]:
        rows = self._connect().select(sort="id")
        while True:
            try:
                row = next(rows)
                values = _values(row)
                frame = Frame(
                    np.asarray(row.numbers, dtype=np.int64),
                    np.asarray(row.positions),
                    values,
                    np.asarray(row.cell) if np.any(row.pbc) else None,
                    np.asarray(row.pbc) if np.any(row.pbc) else None,
                )
            except StopIteration:
                return
            except Exception as error:  # a damaged row, or page, of the database
                yield FrameError(f"a row cannot be read: {error}")
                return
            yield frame

    def _connect(self) -> Any:
        import ase.db

        return ase.db.connect(self.path, use_lock_file=False)


def _values(row: Any) -> dict[str, Any]:
    """Return the labels of `row`; what SchNetPack puts into ``data`` goes first."""
    results = {name: row[name] for name in (*_ASE_UNITS, *_OTHER_RESULTS) if name in row}
    if "stress" in results and np.shape(results["stress"]) == (6,):
        results["stress"] = np.asarray(results["stress"])[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    return {**results, **row.key_value_pairs, **row.data}
