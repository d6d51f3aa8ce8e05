# SPDX-License-Identifier: MIT
"""Read the native HDF5 store: labelled structures, gathered into batches."""

from __future__ import annotations

import json
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ase
import h5py
import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import ArrayLike
from torch import Tensor

from eqcalc import hdf5, units
from eqcalc.datasets.record import Record
from eqcalc.datasets.writer import FORMAT, FORMAT_VERSION, DatasetWriter
from eqcalc.facts import described, facts_table
from eqcalc.quantities import known_quantities, ordered, quantity
from eqcalc.structures import Structures
from eqcalc.validation import InvalidFileError, InvalidInputError

_BLOCK = 4096  # records decoded at a time when iterating
_KINDS = {"f": "real numbers", "iu": "integers", "b": "truth values"}
_SPIN = "unpaired_electrons"
_NAMED = 5  # formulas named in a representation


class Dataset:
    """Labelled structures of one file, or a selection of them.

    Created by :meth:`open`, :meth:`create` or :meth:`append`. Arrays of uncompressed files
    are memory-mapped, those of compressed ones read on first use. A dataset can be pickled;
    each process reopens the file.

    Attributes
    ----------
    path
        The file.
    quantities
        Names of the labels that at least one structure of the file has.
    provenance
        Provenance of the data, JSON-able.
    sources
        The distinct texts of :attr:`~eqcalc.datasets.record.Record.source`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._indices: np.ndarray | None = None
        self._cache: dict[str, np.ndarray] = {}
        with hdf5.reading(path, "a dataset (.h5)") as file:
            self._read_header(file)
            self._check_rows(file)

    # --- opening and writing -----------------------------------------------------

    @classmethod
    def open(cls, path: str | Path) -> Dataset:
        """Open the dataset at `path`.

        Raises
        ------
        MissingFileError
            The file does not exist.
        InvalidFileError
            It is not a dataset, is of a newer version, or is damaged.
        """
        return cls(path)

    @classmethod
    def create(
        cls,
        path: str | Path,
        records: Iterable[Record],
        *,
        level_of_theory: str | Mapping[str, str],
        provenance: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Dataset:
        """Write `records` to a new file and open it.

        `options` are those of :class:`~eqcalc.datasets.writer.DatasetWriter`, which can also
        write records incrementally.
        """
        with DatasetWriter(
            path, level_of_theory=level_of_theory, provenance=provenance, **options
        ) as writer:
            writer.append(records)
        return cls(path)

    @classmethod
    def append(
        cls,
        path: str | Path,
        records: Iterable[Record],
        *,
        level_of_theory: str | Mapping[str, str] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Add `records` to the dataset at `path` and open it.

        The file is replaced atomically. Precision, compression and stored splits are kept;
        splits do not contain the new structures.

        Parameters
        ----------
        level_of_theory
            Level of theory of quantities new to the file. For existing quantities it must agree
            with the stored one; if omitted, it is assumed to.
        provenance
            Added to the provenance of the file under ``"appended"``.
        """
        old = cls(path)
        levels = dict(old.levels_of_theory)
        for name, level in levels_by_quantity(level_of_theory or {}, known_quantities()).items():
            if levels.setdefault(name, level) != level:
                raise InvalidInputError(
                    key=f"level_of_theory.{name}", value=level, expected=levels[name], file=path
                )
        merged = dict(old.provenance)
        if provenance:
            merged["appended"] = [*merged.get("appended", []), dict(provenance)]
        return old.rewrite(records, level_of_theory=levels, provenance=merged)

    def rewrite(
        self,
        more: Iterable[Record] = (),
        splits: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        **options: Any,
    ) -> Dataset:
        """Rewrite the file with additional records or splits, and open it.

        The file is replaced atomically. For `options` see :meth:`writer`.
        """
        with self.writer(self.path, overwrite=True, **options) as writer:
            writer.append(self.records())
            writer.append(more)
            for name, parts in {**self.splits, **(splits or {})}.items():
                writer.add_split(name, parts)
        return Dataset(self.path)

    def writer(self, path: str | Path, **options: Any) -> DatasetWriter:
        """Return a writer for a new dataset with the settings of this one.

        Levels of theory, provenance, precision and compression are those of
        this dataset; `options` of
        :class:`~eqcalc.datasets.writer.DatasetWriter` replace them.
        """
        same: dict[str, Any] = {
            "level_of_theory": self.levels_of_theory or "none",
            "provenance": self.provenance,
            "single_precision": self._single_precision,
            "compressed": self._compressed,
        }
        return DatasetWriter(path, **{**same, **options})

    def save(self, path: str | Path, **options: Any) -> Dataset:
        """Write this selection to a new file and open it; for `options` see :meth:`writer`."""
        with self.writer(path, **options) as writer:
            writer.append(self.records())
        return Dataset(path)

    # --- what is there -----------------------------------------------------------

    def __len__(self) -> int:
        return self._n_stored if self._indices is None else len(self._indices)

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}, {len(self)} structures; {described(self._facts())})"

    def _repr_html_(self) -> str:
        return facts_table(f"Dataset of {len(self)} structures, {self.path}", self._facts())

    def _facts(self) -> dict[str, str]:
        """Return the molecules, and the labels with unit and level of theory."""
        molecules = self.formulas()
        named = [f"{n} × {formula}" for formula, n in list(molecules.items())[:_NAMED]]
        more = [f"{len(molecules) - _NAMED} more"] if len(molecules) > _NAMED else []
        facts = {"molecules": ", ".join([*named, *more]) or "none"}
        for name in self.quantities:
            n = int(self.present(name).sum())
            known = "" if n == len(self) else f", {n} known"
            facts[name] = f"{self.levels_of_theory[name]} [{quantity(name).unit}]{known}"
        return facts

    def formulas(self) -> dict[str, int]:
        """Return the number of structures by formula, most frequent first."""
        numbers = self.numbers(np.arange(len(self)))
        found = Counter(np.sort(z).tobytes() for z in numbers if len(z))
        return {
            ase.Atoms(np.frombuffer(z, np.int64)).get_chemical_formula("hill"): n
            for z, n in found.most_common()
        }

    @property
    def level_of_theory(self) -> str:
        """The level of theory shared by all labels.

        Raises
        ------
        InvalidInputError
            The labels have different ones; see :attr:`levels_of_theory`.
        """
        levels = set(self.levels_of_theory.values())
        if len(levels) != 1:
            raise InvalidInputError(
                "there is no single level of theory", value=self.levels_of_theory, file=self.path
            )
        return levels.pop()

    @property
    def indices(self) -> np.ndarray:
        """Positions in the file of the structures of this selection, ``[n_structures]``."""
        return np.arange(self._n_stored) if self._indices is None else self._indices

    @property
    def counts(self) -> np.ndarray:
        """Number of atoms of each structure, ``[n_structures]``."""
        counts = np.asarray(self._array("atom_counts"), dtype=np.int64)
        return counts if self._indices is None else counts[self._indices]

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers in the dataset, ascending."""
        atoms, _ = self._atom_rows(self.indices)
        return tuple(int(z) for z in np.unique(self._array("numbers")[atoms]))

    def present(self, name: str) -> np.ndarray:
        """Return which structures have the label `name`, ``[n_structures]`` bool."""
        if quantity(name).name not in self.quantities:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(self._array(f"labels/{name}/present"))[self.indices]

    def source(self) -> np.ndarray:
        """Return the source of each structure, ``[n_structures]`` of text."""
        return np.array(self.sources or ("",))[self._array("source")[self.indices]]

    # --- access ------------------------------------------------------------------

    def subset(self, indices: ArrayLike) -> Dataset:
        """Return the selection `indices` (or a bool mask) of this dataset, without copying."""
        selection = object.__new__(Dataset)  # which shares the arrays
        selection.__dict__.update(self.__dict__, _indices=self._resolve(indices))
        return selection

    def numbers(self, indices: ArrayLike) -> list[np.ndarray]:
        """Return the atomic numbers of each of the structures `indices`, ``[n_atoms]`` int64."""
        atoms, counts = self._atom_rows(self._resolve(indices))
        numbers = self._array("numbers")[atoms].astype(np.int64)
        return np.split(numbers, np.cumsum(counts)[:-1]) if len(counts) else []

    def structures(self, indices: ArrayLike, *, dtype: torch.dtype = torch.float64) -> Structures:
        """Return the structures `indices` as one batch, positions in `dtype`."""
        rows = self._resolve(indices)
        atoms, counts = self._atom_rows(rows)
        cell = pbc = None
        if "cell" in self._units:
            pbc_rows = self._array("pbc")[rows]
            if pbc_rows.any():
                cell = torch.as_tensor(self._gather("cell", rows)).to(dtype)
                pbc = torch.as_tensor(pbc_rows)
        return Structures.pack(
            torch.as_tensor(self._array("numbers")[atoms].astype(np.int64)),
            torch.as_tensor(self._gather("positions", atoms)).to(dtype),
            torch.as_tensor(counts),
            charge=torch.as_tensor(self._gather("charge", rows)).to(dtype),
            cell=cell,
            pbc=pbc,
        )

    def labels(
        self,
        indices: ArrayLike,
        quantities: Sequence[str] | None = None,
        *,
        dtype: torch.dtype = torch.float64,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the labels of the structures `indices` and which of them are known.

        Parameters
        ----------
        indices
            Structures.
        quantities
            Default: all.
        dtype
            Of the values.

        Returns
        -------
        values
            By quantity, in internal units: ``[n_structures, ...]``, for forces
            ``[n_atoms, 3]`` in the order of :meth:`structures`. Unknown labels are NaN.
        present
            By quantity, ``[n_structures]`` bool.
        """
        rows = self._resolve(indices)
        atoms, _ = self._atom_rows(rows)
        values, present = {}, {}
        for name in self.quantities if quantities is None else quantities:
            selected = atoms if quantity(name).per_atom else rows
            values[name] = torch.as_tensor(self._gather(f"labels/{name}/values", selected)).to(
                dtype
            )
            present[name] = torch.as_tensor(self._array(f"labels/{name}/present")[rows])
        return values, present

    def __getitem__(self, index: int) -> Record:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"structure {index} of a dataset of {len(self)}")
        return next(self.records([index % len(self)]))

    def __iter__(self) -> Iterator[Record]:
        return self.records()

    def records(self, indices: ArrayLike | None = None) -> Iterator[Record]:
        """Yield the structures `indices`, or all, as records."""
        chosen = self if indices is None else self.subset(indices)
        for start in range(0, len(chosen), _BLOCK):
            yield from chosen._records(np.arange(start, min(start + _BLOCK, len(chosen))))

    def atoms(self, index: int) -> ase.Atoms:
        """Return structure `index` as ASE atoms with its labels."""
        return self[index].atoms()

    # --- internals ---------------------------------------------------------------

    def _records(self, indices: np.ndarray) -> Iterator[Record]:
        """Yield the structures `indices`, read in one go."""
        batch = self.structures(indices)
        values, present = self.labels(indices)
        rows = self._resolve(indices)
        sources = self._array("source")[rows]
        spins = self._array(_SPIN)[rows] if self._has_spins else np.full(len(rows), -1)
        last = np.cumsum(batch.counts.numpy())
        for i, (stop, count) in enumerate(zip(last, batch.counts.numpy(), strict=True)):
            own = slice(stop - count, stop)
            periodic = batch.pbc is not None and bool(batch.pbc[i].any())
            yield Record(
                batch.numbers[own].numpy(),
                batch.positions[own].numpy(),
                {
                    name: (value[own] if quantity(name).per_atom else value[i]).numpy()
                    for name, value in values.items()
                    if present[name][i]
                },
                float(batch.charge[i]),
                batch.cell[i].numpy() if periodic and batch.cell is not None else None,
                batch.pbc[i].numpy() if periodic and batch.pbc is not None else None,
                self.sources[sources[i]] if self.sources else "",
                int(spins[i]) if spins[i] >= 0 else None,
            )

    def _resolve(self, indices: ArrayLike) -> np.ndarray:
        """Return the rows in the file of `indices` of this selection."""
        chosen = np.atleast_1d(np.asarray(indices))
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise IndexError(f"a mask of shape {chosen.shape} for {len(self)} structures")
            chosen = np.flatnonzero(chosen)
        if chosen.size == 0:
            return np.empty(0, dtype=np.int64)
        if not np.issubdtype(chosen.dtype, np.integer) or chosen.ndim != 1:
            raise IndexError("indices are integers [n] or a bool mask [n_structures]")
        if chosen.min() < -len(self) or chosen.max() >= len(self):
            wrong = chosen[(chosen < -len(self)) | (chosen >= len(self))][0]
            raise IndexError(f"structure {wrong} of a dataset of {len(self)}")
        chosen = np.where(chosen < 0, chosen + len(self), chosen).astype(np.int64)
        return chosen if self._indices is None else self._indices[chosen]

    def _atom_rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the atom rows of structures `rows`, concatenated, and their counts."""
        first = self._offsets[rows]
        counts = self._offsets[rows + 1] - first
        before = np.cumsum(counts) - counts
        return np.repeat(first - before, counts) + np.arange(int(counts.sum())), counts

    def _gather(self, name: str, rows: np.ndarray) -> np.ndarray:
        values = self._array(name)[rows].astype(np.float64, copy=False)
        factor = self._units[name]
        return values if factor == 1.0 else values * factor

    def _array(self, name: str) -> np.ndarray:
        if name not in self._cache:
            hdf5.check_array(self.path, name)
            try:
                with h5py.File(self.path, "r") as file:
                    array = file[name]
                    offset = array.id.get_offset()
                    if array.size == 0 or offset is None:
                        self._cache[name] = array[...]
                    else:
                        self._cache[name] = np.memmap(
                            self.path, array.dtype, "r", offset=offset, shape=array.shape
                        ).view(np.ndarray)
            except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
                raise InvalidFileError(
                    f"cannot be read ({error})", key=name, file=self.path
                ) from error
        return self._cache[name]

    def _check_rows(self, file: h5py.File) -> None:
        """Check that arrays have the rows of all structures or atoms, and what they refer to."""
        atoms, n = len(file["numbers"]), self._n_stored
        shapes = {
            **dict.fromkeys(("atom_counts", "charge", "source"), (n,)),
            **{"numbers": (atoms,), "positions": (atoms, 3)},
            **({"cell": (n, 3, 3), "pbc": (n, 3)} if "cell" in file else {}),
            **({_SPIN: (n,)} if self._has_spins else {}),
            **{f"labels/{name}/present": (n,) for name in self.quantities},
        }
        kinds = {"charge": "f", "positions": "f", "cell": "f", "pbc": "b"}
        for name, expected in shapes.items():
            kind = kinds.get(name, "b" if name.endswith("present") else "iu")
            if file[name].dtype.kind not in kind:
                raise InvalidFileError(key=name, value=str(file[name].dtype), expected=_KINDS[kind])
            if file[name].shape != expected:
                raise InvalidFileError(
                    key=name, value=file[name].shape, expected=f"the shape {expected}"
                )
        counts = np.asarray(self._array("atom_counts"), dtype=np.int64)
        self._offsets = np.concatenate([[0], np.cumsum(counts)])
        if (counts < 0).any() or self._offsets[-1] != atoms:
            value = int(self._offsets[-1])
            raise InvalidFileError(key="atom_counts", value=value, expected=f"a sum of {atoms}")
        indices = {"source": (self._array("source"), max(1, len(self.sources)))}
        for split, parts in self.splits.items():
            indices |= {f"splits/{split}/{part}": (rows, n) for part, rows in parts.items()}
        for name, (rows, stop) in indices.items():
            if rows.dtype.kind not in "iu":
                raise InvalidFileError(key=name, value=str(rows.dtype), expected=_KINDS["iu"])
            wrong = rows[(rows < 0) | (rows >= stop)]
            if wrong.size:
                raise InvalidFileError(key=name, value=wrong[0].item(), expected=f"0 to {stop - 1}")
        if not np.isfinite(self._array("charge")).all():
            raise InvalidFileError(key="charge", expected="finite numbers")
        numbers = self._array("numbers")
        if numbers.size and not 0 < numbers.min() <= numbers.max() < len(chemical_symbols):
            extremes = int(numbers.min()), int(numbers.max())
            raise InvalidFileError(key="numbers", value=extremes, expected="atomic numbers")

    def _read_header(self, file: h5py.File) -> None:
        if file.attrs.get("format") != FORMAT:
            raise InvalidFileError("an HDF5 file, but not a dataset of eqcalc")
        version = int(file.attrs["format_version"])
        if not 1 <= version <= FORMAT_VERSION:
            raise InvalidFileError(
                "written by a newer eqcalc" if version > FORMAT_VERSION else "",
                key="format_version",
                value=version,
                expected=f"at most {FORMAT_VERSION}",
                advice="update eqcalc",
            )
        for name in ("atom_counts", "numbers", "positions", "charge", "source", "provenance"):
            if name not in file:
                raise InvalidFileError("missing; the file is damaged", key=name)
        self.provenance: dict[str, Any] = json.loads(file["provenance"][()])
        names = json.loads(file["source"].attrs["names"])
        records = {"provenance": (self.provenance, dict), "source.names": (names, list)}
        for key, (value, kind) in records.items():
            if not isinstance(value, kind):
                raise InvalidFileError(key=key, value=value, expected=f"JSON, a {kind.__name__}")
        self.sources: tuple[str, ...] = tuple(map(str, names))
        self._n_stored = len(file["atom_counts"])
        self._has_spins = _SPIN in file
        self._units: dict[str, float] = {}
        fixed = {"positions": "Å", "charge": "e"} | ({"cell": "Å"} if "cell" in file else {})
        for name, unit in fixed.items():
            self._units[name] = _factor(file, name, partial(units.conversion_factor, target=unit))
        self.levels_of_theory: dict[str, str] = {}
        self.quantities: tuple[str, ...] = ordered(file.get("labels", ()))
        single = {"positions"} if file["positions"].dtype == np.float32 else set()
        n_atoms = len(file["numbers"])
        for name in self.quantities:
            q, key = quantity(name), f"labels/{name}/values"
            shape = (n_atoms if q.per_atom else self._n_stored, *q.shape)
            if file[key].dtype.kind != "f":
                raise InvalidFileError(key=key, value=str(file[key].dtype), expected=_KINDS["f"])
            if file[key].shape != shape:
                raise InvalidFileError(
                    key=key, value=file[key].shape, expected=f"the shape {shape}"
                )
            self._units[key] = _factor(file, key, q.factor_from)
            self.levels_of_theory[name] = _attribute(file, key, "level_of_theory")
            if file[key].dtype == np.float32:
                single.add(name)
        self._single_precision = frozenset(single)
        self._compressed = file["positions"].compression is not None
        self.splits: dict[str, dict[str, np.ndarray]] = {
            split: {part: rows[...] for part, rows in group.items()}
            for split, group in file.get("splits", {}).items()
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": {}}


def levels_by_quantity(level: str | Mapping[str, str], quantities: Iterable[str]) -> dict[str, str]:
    """Return levels of theory by quantity; a single text applies to all `quantities`."""
    return dict.fromkeys(quantities, level) if isinstance(level, str) else dict(level)


def _attribute(file: h5py.File, name: str, attribute: str) -> str:
    try:
        return str(file[name].attrs[attribute])
    except KeyError:
        raise InvalidFileError("missing; the file is damaged", key=f"{name}.{attribute}") from None


def _factor(file: h5py.File, name: str, factor: Callable[[str], float]) -> float:
    unit = _attribute(file, name, "unit")
    try:
        return factor(unit)
    except units.UnitError as error:
        raise InvalidFileError(str(error), key=f"{name}.unit", value=unit) from None
