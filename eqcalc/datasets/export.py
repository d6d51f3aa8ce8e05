# SPDX-License-Identifier: MIT
"""Write a dataset as extended XYZ or as an ASE database, in the layouts that others read.

Values are those of the dataset to the last bit, in its units (eV, Å, e), which the file states: in
each comment line of extended XYZ, and in the metadata of a database as SchNetPack does.
:func:`~eqcalc.datasets.conversion.convert` reads both back without further statements.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
from ase.data import chemical_symbols

from eqcalc.datasets.dataset import Dataset
from eqcalc.datasets.record import Record
from eqcalc.facts import described, joined_levels
from eqcalc.files import replacing
from eqcalc.progress import progress_bar
from eqcalc.quantities import known_quantities, quantity
from eqcalc.validation import absent_file, file_suffix, one_of

#: What structures have besides labels, by default under these keys.
_OTHERS = ("charge", "multiplicity", "source")


def export_dataset(
    dataset: Dataset,
    target: str | Path,
    *,
    keys: Mapping[str, str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> str:
    """Write the structures of a dataset to a file of another format; return what it has.

    Parameters
    ----------
    dataset
        The structures, or a selection.
    target
        Extended XYZ (``.extxyz``, ``.xyz``) or an ASE database (``.db``). Rows of a database have
        all labels in ``row.data``, and those that ASE knows under their names as results of a
        calculator too.
    keys
        Key in the file by quantity, or of ``"charge"``, ``"multiplicity"`` and ``"source"``, where
        it is another than its name: ``{"energy": "REF_energy"}``. Those of quantities that the
        dataset lacks serve nothing.
    overwrite
        Replace an existing `target`.
    progress
        Show the progress.

    Raises
    ------
    ExistingFileError
        `target` exists.
    InvalidInputError
        The suffix of `target` or a quantity is unknown.
    """
    target = Path(target)
    write = WRITERS[file_suffix(target, WRITERS, key="target")]
    for name in keys or {}:
        one_of("keys", name, [*known_quantities(), *_OTHERS])
    if not overwrite:
        absent_file(target, "choose another name or overwrite it (eqcalc convert --overwrite)")
    named = {name: name for name in (*dataset.quantities, *_OTHERS)} | dict(keys or {})
    units = {named[name]: quantity(name).unit for name in dataset.quantities}
    level = joined_levels(dataset.levels_of_theory)
    records = progress_bar(
        dataset.records(), shown=progress, total=len(dataset), desc=target.name, unit="structures"
    )
    with replacing(target) as draft:
        write(draft, records, named, units, level)
    told = {f"{name} ({named[name]})": units[named[name]] for name in dataset.quantities}
    return f"{len(dataset)} structures in {target}: {described({'positions': 'Å', **told})}"


def _values(record: Record, keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the labels, charge, multiplicity and source of a structure by key."""
    values: dict[str, Any] = {name: np.array(value) for name, value in record.labels.items()}
    whole = float(record.charge).is_integer()
    values["charge"] = int(record.charge) if whole else record.charge
    if record.unpaired_electrons is not None:
        values["multiplicity"] = 1 + record.unpaired_electrons
    if record.source:
        values["source"] = record.source
    return {keys[name]: value for name, value in values.items()}


# --- extended XYZ -------------------------------------------------------------------------


def _write_extxyz(
    path: Path,
    records: Iterable[Record],
    keys: Mapping[str, str],
    units: Mapping[str, str],
    level: str,
) -> None:
    stated = {"units": described({"positions": "Å", **units}), "level_of_theory": level}
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            values = _values(record, keys) | stated
            per_atom = [keys[name] for name in record.labels if quantity(name).per_atom]
            columns = {key: values.pop(key) for key in per_atom}
            file.writelines(f"{line}\n" for line in _frame(record, columns, values))


def _frame(
    record: Record, columns: Mapping[str, np.ndarray], values: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the lines of a structure."""
    n_atoms = len(record.numbers)
    rows = {"pos": record.positions, **columns}
    table = np.concatenate([value.reshape(n_atoms, -1) for value in rows.values()], axis=1)
    properties = [f"{key}:R:{value.size // n_atoms}" for key, value in rows.items()]
    pairs: dict[str, Any] = {"Properties": ":".join(["species:S:1", *properties])}
    if record.cell is not None:
        pairs["Lattice"] = record.cell
    pbc = np.zeros(3, dtype=bool) if record.pbc is None else record.pbc
    pairs["pbc"] = " ".join("FT"[int(periodic)] for periodic in pbc)
    yield str(n_atoms)
    yield " ".join(f"{key}={_text(value)}" for key, value in (pairs | dict(values)).items())
    for number, row in zip(record.numbers, table.tolist(), strict=True):
        yield " ".join([chemical_symbols[number], *map(repr, row)])


def _text(value: Any) -> str:
    """Return a value of the comment line, with all digits."""
    if isinstance(value, str):
        quote = "'" if '"' in value else '"'
        return f"{quote}{' '.join(value.replace(quote, '').split())}{quote}"
    words = [repr(number) for number in np.ravel(value).tolist()]
    return words[0] if len(words) == 1 else f'"{" ".join(words)}"'


# --- ASE databases ------------------------------------------------------------------------


def _write_database(
    path: Path,
    records: Iterable[Record],
    keys: Mapping[str, str],
    units: Mapping[str, str],
    level: str,
) -> None:
    path.unlink()  # an empty file is no database
    with _errors_of_sqlite(path), ase.db.connect(path, type="db", use_lock_file=False) as database:
        database.metadata = {
            "_distance_unit": "Ang",
            "_property_unit_dict": {key: unit.replace("Å", "Ang") for key, unit in units.items()},
            "atomrefs": {},
            "level_of_theory": level,
        }
        for record in records:
            values = _values(record, keys)
            arrays = {k: v if isinstance(v, str) else np.atleast_1d(v) for k, v in values.items()}
            usual = {name: value for name, value in record.labels.items() if keys[name] == name}
            database.write(replace(record, labels=usual).atoms(), data=arrays)


@contextmanager
def _errors_of_sqlite(path: Path) -> Iterator[None]:
    """Raise errors of SQLite about the disk in a block as those of the operating system."""
    try:
        yield
    except sqlite3.OperationalError as error:
        number = errno.ENOSPC if "full" in str(error) else errno.EIO
        raise OSError(number, str(error), str(path)) from error


#: Writers by suffix.
WRITERS: dict[str, Callable[..., None]] = {
    ".extxyz": _write_extxyz,
    ".xyz": _write_extxyz,
    ".db": _write_database,
}
