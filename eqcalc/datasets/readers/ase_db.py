# SPDX-License-Identifier: MIT
"""Read ASE databases, among them those of SchNetPack, one row at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.datasets.readers import Frame, FrameError
from eqcalc.quantities import known_quantities
from eqcalc.structure_formats import stated_in_row
from eqcalc.validation import InvalidFileError, existing_file

#: Results of ASE calculators and the units ASE defines for them.
_ASE_UNITS = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3", "dipole": "e*Å"}
_OTHER_RESULTS = ("charges", "magmom", "magmoms", "free_energy", "energies", "stresses")


class AseDatabaseReader:
    """The rows of an ASE database (``.db`` or ``.json``).

    Energy, forces, stress and dipole of a row are calculator results in ASE's units.
    Key-value pairs and ``row.data`` keep their own names; their units are read from
    SchNetPack's metadata, if present.

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
            next(iter(database.select(limit=1)), None)
        except Exception as error:  # errors of SQLite and JSON
            raise InvalidFileError(
                f"not readable ({error})", expected="an ASE database", file=self.path
            ) from None
        self.keys: Mapping[str, str] = {name: name for name in (*known_quantities(), "source")}
        self.units: Mapping[str, str] = {"positions": metadata.get("_distance_unit", "Å")}
        #: Units from the metadata, by key of the file.
        self.units_by_key: Mapping[str, str] = {
            key: unit for key, unit in metadata.get("_property_unit_dict", {}).items() if unit
        }
        self.level_of_theory = str(metadata.get("level_of_theory", ""))

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[Frame | FrameError]:
        try:
            for row in self._connect().select(sort="id"):
                numbers = np.asarray(row.numbers, dtype=np.int64)
                cell, pbc = np.asarray(row.cell), np.asarray(row.pbc)
                values, units = _values(row)
                yield Frame(numbers, np.asarray(row.positions), values, cell, pbc, units)
        except Exception as error:  # a damaged row, or page, of the database
            yield FrameError(f"a row cannot be read: {error}")

    def _connect(self) -> Any:
        import ase.db

        return ase.db.connect(self.path, use_lock_file=False)


def _values(row: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the labels of `row` and the units that ASE defines for them.

    Entries of SchNetPack's ``data`` take precedence over results.
    """
    results = {name: row[name] for name in (*_ASE_UNITS, *_OTHER_RESULTS) if name in row}
    if "stress" in results and np.shape(results["stress"]) == (6,):
        results["stress"] = np.asarray(results["stress"])[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    if results.get("free_energy") == results.get("energy"):
        results.pop("free_energy", None)
    stored = stated_in_row(row)
    if "initial_charges" in row:
        results["initial_charges"] = row.initial_charges
    units = {
        name: unit
        for name, unit in _ASE_UNITS.items()
        if name in results and (name not in stored or np.array_equal(stored[name], results[name]))
    }
    return {**results, **stored}, units
