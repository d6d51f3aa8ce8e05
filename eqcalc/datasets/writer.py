# SPDX-License-Identifier: MIT
"""Write the native HDF5 store from a stream of records, atomically."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eqcalc import hdf5
from eqcalc.datasets.record import Record
from eqcalc.files import remove_leftovers, replacing, require_writable, temporary_path
from eqcalc.quantities import ordered, quantity
from eqcalc.validation import InvalidInputError, absent_file

#: Value of the root attribute ``format``.
FORMAT = "eqcalc dataset"
#: Version of the layout; readers reject newer versions.
FORMAT_VERSION = 1

_DTYPES = {
    **dict.fromkeys(("atom_counts", "source", "unpaired_electrons"), "i4"),
    **{"numbers": "u1", "pbc": "?", "present": "?"},
}
#: What stands for an unknown label, and an unknown number of unpaired electrons.
_UNKNOWN = {"values": np.nan, "unpaired_electrons": -1}
_BLOCK = 4096  # records held before they are written, and rows copied at a time


class DatasetWriter:
    """Stream records into a new dataset file; use as a context manager.

    Records go to a temporary file next to the target, which is packed and renamed to the
    target at the end of the ``with`` block. After an exception it is deleted and the target is
    unchanged.

    Parameters
    ----------
    path
        Target file; must not exist, unless `overwrite`.
    level_of_theory
        Level of theory of each quantity, or one for all.
    provenance
        Provenance of the data, JSON-able.
    overwrite
        Replace an existing file.
    single_precision
        Arrays stored in float32: ``"positions"`` and quantity names; others are float64.
        Total energies need float64: float32 resolves 4,000 eV to only 0.2 meV.
    compressed
        Compress with shuffle and gzip. Compressed files are read into memory, uncompressed
        ones memory-mapped.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        level_of_theory: str | Mapping[str, str],
        provenance: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        single_precision: Collection[str] = (),
        compressed: bool = False,
    ) -> None:
        self.path = Path(path)
        if "energy" in single_precision:
            raise InvalidInputError(
                "a total energy does not fit into it", key="single_precision", value="energy"
            )
        single = ordered(name for name in single_precision if name != "positions")
        if not level_of_theory:
            raise InvalidInputError(
                key="level_of_theory", value=level_of_theory, expected="that of the labels"
            )
        if not overwrite:
            absent_file(self.path, "append to it or choose another name")
        self._levels = level_of_theory
        self._provenance = dict(provenance or {})
        self._single = {"positions"} & {*single_precision}
        self._single |= {f"labels/{name}/values" for name in single}
        self._compressed = compressed
        self._buffer: list[Record] = []
        self._sources: dict[str, int] = {}
        self._splits: dict[str, dict[str, np.ndarray]] = {}
        self._n_structures = 0
        self._n_atoms = 0
        require_writable(self.path.parent)  # HDF5 would name the scratch file
        remove_leftovers(self.path)
        self._scratch = temporary_path(self.path)
        self._stream = hdf5.OutputStream(self._scratch)
        self._file = h5py.File(self._stream, "w")
        try:
            for name in ("atom_counts", "numbers", "charge", "source"):
                self._extend(name, np.empty(0))
            self._extend("positions", np.empty((0, 3)))
        except BaseException:
            self.discard()
            raise

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __len__(self) -> int:
        return self._n_structures + len(self._buffer)

    def append(self, records: Record | Iterable[Record]) -> None:
        """Add one record or several."""
        for record in [records] if isinstance(records, Record) else records:
            for name in record.labels:
                self.level_of_theory(name)
            if record.numbers.size and not 0 < record.numbers.min() <= record.numbers.max() < 256:
                raise InvalidInputError(
                    key=f"numbers of structure {len(self)}",
                    value=[int(z) for z in np.unique(record.numbers)],
                    expected="atomic numbers, 1 to 255",
                )
            self._buffer.append(record)
            if len(self._buffer) == _BLOCK:
                self._flush()

    def level_of_theory(self, name: str) -> str:
        """Return the level of theory of the quantity `name`."""
        if isinstance(self._levels, str):
            return self._levels
        if name not in self._levels:
            raise InvalidInputError(
                "no level of theory is given", key=f"level_of_theory.{name}", file=self.path
            )
        return self._levels[name]

    def add_split(self, name: str, parts: Mapping[str, np.ndarray]) -> None:
        """Store the named index lists `parts` (training, validation ...) as split `name`."""
        self._splits[name] = {part: np.asarray(rows, np.int64) for part, rows in parts.items()}

    def close(self) -> None:
        """Write buffered records, pack the file and move it to the target."""
        try:
            self._flush()
            self._file.flush()
            self._stream.check(self.path)
            with replacing(self.path) as packed, hdf5.writing(packed) as target:
                self._pack(target)
        finally:
            self.discard()

    def discard(self) -> None:
        """Discard everything appended; the target is unchanged."""
        self._buffer.clear()
        self._file.close()
        self._stream.close()
        self._scratch.unlink(missing_ok=True)

    # --- internals ---------------------------------------------------------------

    def _extend(self, name: str, values: np.ndarray, before: int = 0) -> None:
        """Append rows to an array; a new one is padded with `before` empty rows."""
        if name not in self._file:
            tail, kind = values.shape[1:], name.rpartition("/")[2]
            dtype = _DTYPES.get(kind, "f4" if name in self._single else "f8")
            self._file.create_dataset(
                name,
                shape=(before, *tail),
                maxshape=(None, *tail),
                dtype=dtype,
                chunks=(max(1, 2**18 // (math.prod(tail) * np.dtype(dtype).itemsize)), *tail),
                fillvalue=_UNKNOWN.get(kind),
            )
        array = self._file[name]
        array.resize(len(array) + len(values), axis=0)
        array[len(array) - len(values) :] = values

    def _flush(self) -> None:
        """Write the buffered records."""
        records, self._buffer = self._buffer, []
        if records:
            self._write(records)
            self._stream.check(self.path)

    def _write(self, records: list[Record]) -> None:
        n_structures, n_atoms = self._n_structures, self._n_atoms
        codes = [self._sources.setdefault(r.source, len(self._sources)) for r in records]
        self._extend("atom_counts", np.array([len(r.numbers) for r in records]))
        self._extend("numbers", np.concatenate([r.numbers for r in records]))
        self._extend("positions", np.concatenate([r.positions for r in records]))
        self._extend("charge", np.array([r.charge for r in records]))
        self._extend("source", np.array(codes))
        if "cell" in self._file or any(r.cell is not None for r in records):
            cells = [np.zeros((3, 3)) if r.cell is None else r.cell for r in records]
            periodic = [np.zeros(3, dtype=bool) if r.pbc is None else r.pbc for r in records]
            self._extend("cell", np.stack(cells), n_structures)
            self._extend("pbc", np.stack(periodic), n_structures)
        spins = [-1 if r.unpaired_electrons is None else r.unpaired_electrons for r in records]
        if "unpaired_electrons" in self._file or max(spins) >= 0:
            self._extend("unpaired_electrons", np.array(spins), n_structures)
        known = set(self._file.get("labels", ()))
        for name in ordered(known.union(*(r.labels for r in records))):
            q = quantity(name)
            values = [
                r.labels[name] if name in r.labels else np.full(q.shape_of(len(r.numbers)), np.nan)
                for r in records
            ]
            stack = np.concatenate(values) if q.per_atom else np.stack(values)
            present = np.array([name in r.labels for r in records])
            self._extend(f"labels/{name}/values", stack, n_atoms if q.per_atom else n_structures)
            self._extend(f"labels/{name}/present", present, n_structures)
        self._n_structures += len(records)
        self._n_atoms += sum(len(r.numbers) for r in records)

    def _pack(self, target: h5py.File) -> None:
        """Copy the growing arrays into contiguous or compressed ones, with attributes."""
        target.attrs["format"] = FORMAT
        target.attrs["format_version"] = FORMAT_VERSION
        target["provenance"] = json.dumps(self._provenance)
        packing = {"compression": "gzip", "compression_opts": 6, "shuffle": True}
        packing["fletcher32"] = True
        names: list[str] = []
        self._file.visititems(
            lambda name, item: names.append(name) if hasattr(item, "dtype") else None
        )
        for name in names:
            source = self._file[name]
            options = packing if self._compressed and source.size else {}
            array = target.create_dataset(name, shape=source.shape, dtype=source.dtype, **options)
            step = max(1, 2**24 // (source.dtype.itemsize * math.prod(source.shape[1:])))
            for start in range(0, len(source), step):
                array[start : start + step] = source[start : start + step]
            if name.endswith("/values"):
                q = quantity(name.split("/")[1])
                array.attrs["unit"] = q.unit
                array.attrs["level_of_theory"] = self.level_of_theory(q.name)
        target["positions"].attrs["unit"] = "Å"
        target["charge"].attrs["unit"] = "e"
        if "cell" in target:
            target["cell"].attrs["unit"] = "Å"
        for split, parts in self._splits.items():
            for part, rows in parts.items():
                target[f"splits/{split}/{part}"] = rows
        target["source"].attrs["names"] = json.dumps(list(self._sources))
