# SPDX-License-Identifier: MIT
"""Convert files of other formats to the native store, with validation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sized
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.datasets.checks import (
    Agreement,
    ValidationReport,
    check_forces,
    check_record,
    validate,
)
from eqcalc.datasets.dataset import Dataset
from eqcalc.datasets.readers import Frame, FrameError, Reader
from eqcalc.datasets.readers.ase_db import AseDatabaseReader
from eqcalc.datasets.readers.extxyz import ExtxyzReader
from eqcalc.datasets.readers.npz import NpzReader
from eqcalc.datasets.readers.qm9 import Qm9Reader
from eqcalc.datasets.record import Record
from eqcalc.datasets.writer import DatasetWriter
from eqcalc.files import make_folder, temporary_path
from eqcalc.plugins import class_named, instance
from eqcalc.progress import progress_bar
from eqcalc.quantities import known_quantities, quantity
from eqcalc.units import UnitError, conversion_factor
from eqcalc.validation import InvalidFileError, InvalidInputError, located, one_of

#: Readers by format.
READERS: dict[str, Callable[..., Reader]] = {
    "extxyz": ExtxyzReader,
    "ase": AseDatabaseReader,
    "npz": NpzReader,
    "qm9": Qm9Reader,
}
#: Entry-point group for readers of other packages.
ENTRY_POINTS = "eqcalc.readers"

_SUFFIXES = {
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".db": "ase",
    ".json": "ase",
    ".npz": "npz",
    ".tar": "qm9",
}


class ConversionError(InvalidFileError):
    """Structures of a file cannot be used.

    Attributes
    ----------
    report
        Which structures, and why.
    """

    def __init__(self, problem: str, report: ValidationReport, file: Path) -> None:
        super().__init__(problem, file=file)
        self.report = report


@dataclass(frozen=True)
class ConversionReport:
    """Result of :func:`convert`.

    Parameters
    ----------
    dataset
        The converted structures.
    validation
        Validation report, by index in the source.
    dropped
        Indices in the source of the structures left out.
    forces
        Consistency check of forces and energies; None without both.
    """

    dataset: Dataset
    validation: ValidationReport
    dropped: tuple[int, ...]
    forces: Agreement | None

    def __str__(self) -> str:
        lines = [
            f"{len(self.dataset)} of {self.validation.n_structures} structures in "
            f"{self.dataset.path}: {', '.join(self.dataset.quantities) or 'no labels'}"
        ]
        if self.forces is not None:
            lines.append(str(self.forces))
        if self.validation.problems:
            lines.append(self.validation.summary())
        return "\n".join(lines)


def open_reader(source: str | Path, *, format: str | None = None, **options: Any) -> Reader:
    """Return the reader for `source`.

    Parameters
    ----------
    source
        The file.
    format
        ``"extxyz"``, ``"ase"``, ``"npz"`` or ``"qm9"``, by default inferred from the file name;
        or a :class:`~eqcalc.datasets.readers.Reader` of another package, as
        ``"package.module:Class"`` or by its entry point in the group ``eqcalc.readers``.
    options
        Arguments of the reader.

    Raises
    ------
    InvalidInputError
        The format or an option is unknown, or the reader rejects the file.
    """
    name = Path(source).name.removesuffix(".xz").removesuffix(".gz").removesuffix(".bz2")
    kind = format or _SUFFIXES.get(Path(name).suffix)
    if kind is None:
        raise InvalidInputError(
            "the name does not tell it",
            key="format",
            expected=f"one of {', '.join(READERS)}, or package.module:Class",
            file=source,
            advice="state it (eqcalc convert --format)",
        )
    reader = partial(class_named("format", kind, READERS, ENTRY_POINTS), source)
    opened: Reader = instance(kind, reader, options)
    return opened


def convert(
    source: str | Path,
    target: str | Path,
    *,
    level_of_theory: str | Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    ignore: Collection[str] = (),
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    single_precision: Collection[str] = (),
    compressed: bool = False,
    progress: bool = True,
    seed: int = 0,
) -> ConversionReport:
    """Convert the labelled structures in `source` to a dataset at `target`.

    Parameters
    ----------
    source
        Extended XYZ, ASE database, npz archive in the layout of MD17, the QM9 archive, or
        any file that a reader of another package supports.
    target
        The dataset, written only if validation succeeds; missing folders are created.
    level_of_theory
        Level of theory of the labels, or by quantity, unless given in the file.
    units
        Unit by meaning, for example ``{"positions": "Å", "energy": "kcal/mol",
        "forces": "kcal/mol/Å"}``. Required where the file or its format does not define
        one, and takes precedence.
    keys
        Key in the file by meaning, in addition to those the format defines: a quantity;
        ``"gradients"`` (negative forces); ``"energy_per_atom"``; ``"charge"``;
        ``"source"``; and for npz archives ``"numbers"`` and ``"positions"``.
    ignore
        Keys of the file to ignore. Any other unmapped number in the file is an error, so
        that no label is lost unnoticed.
    format
        See :func:`open_reader`.
    options
        Arguments of the reader: ``properties``, the columns of a plain XYZ file
        (``"species:S:1:pos:R:3:gradient:R:3"``; a comment line that is a single number has
        the key ``"comment"``); ``exclude``, a file with the indices of QM9 molecules to
        leave out, such as its ``uncharacterized.txt``.
    skip_bad
        Skip structures with errors instead of raising.
    overwrite
        Replace an existing `target`.
    provenance
        Stored in addition to the record of the conversion.
    single_precision, compressed
        See :class:`~eqcalc.datasets.writer.DatasetWriter`.
    progress
        Show the progress.
    seed
        Random seed for the pairs in the check of forces against energies.

    Raises
    ------
    ConversionError
        Structures have errors and `skip_bad` is not set, none is left, or forces and
        energies are inconsistent.
    InvalidInputError
        The file, a key, a unit or the level of theory is missing or invalid.
    OSError
        The folder of `target` is not writable.
    """
    source, target = Path(source), Path(target)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; choose another name or overwrite it")
    keys = dict(keys or {})
    layout = {name: keys.pop(name) for name in ("numbers", "positions") if name in keys}
    reader = open_reader(source, format=format, **layout, **(options or {}))
    interpretation = _interpretation(reader, keys, dict(units or {}), ignore, source)
    level = level_of_theory or reader.level_of_theory
    if not level:
        raise InvalidInputError(
            "not stated by the file",
            key="level_of_theory",
            file=source,
            advice="state it (eqcalc convert --level-of-theory)",
        )

    about = {
        "converted_from": source.name,
        "keys": dict(interpretation.keys),
        "units": dict(interpretation.units),
        **(provenance or {}),
    }
    make_folder(target.parent)
    draft = temporary_path(target)
    try:
        with DatasetWriter(
            draft,
            level_of_theory=level,
            provenance=about,
            single_precision=single_precision,
            overwrite=True,
        ) as writer:
            indices, report = _read(reader, interpretation, writer, source, progress)
        dataset = Dataset.open(draft)
        for problem in validate(dataset).problems:
            index = None if problem.index is None else int(indices[problem.index])
            report.add(index, problem.message)
        report.problems.sort(key=lambda p: -1 if p.index is None else p.index)
        bad = report.bad
        kept = np.flatnonzero(~np.isin(indices, bad))
        trouble = "" if len(kept) else "no structure is left"
        if bad and not skip_bad:
            trouble = f"{len(bad)} structures cannot be used; correct the cause or skip them"
        if trouble:
            raise ConversionError(f"{trouble}\n{report.summary()}", report, source)
        forces = None
        if {"energy", "forces"} <= set(dataset.quantities):
            forces = check_forces(dataset.subset(kept), np.random.default_rng(seed))
            if not forces.ok:
                raise ConversionError(f"energies and forces disagree: {forces}", report, source)
        if bad:
            about["dropped"] = bad
        converted = dataset.subset(kept).save(
            target, provenance=about, compressed=compressed, overwrite=overwrite
        )
    finally:
        draft.unlink(missing_ok=True)
    return ConversionReport(converted, report, tuple(bad), forces)


# --- what the keys of a file mean -----------------------------------------------------

#: Meanings of keys besides quantities, and the quantity each is converted to.
_DERIVED = {"gradients": "forces", "energy_per_atom": "energy"}
#: Keys of a structure that are not labels.
_STRUCTURAL = ("charge", "source")


@dataclass(frozen=True)
class Interpretation:
    """Mapping from the keys of a file to quantities.

    Parameters
    ----------
    keys
        Key in the file by meaning: a quantity; ``"gradients"`` (negative forces);
        ``"energy_per_atom"``; ``"charge"`` [e]; or ``"source"``, a text.
    units
        Unit by meaning; that of ``"positions"`` also applies to the cell.
    ignore
        Keys to ignore.

    Raises
    ------
    InvalidInputError
        A unit is missing or invalid, a meaning is unknown, or two keys map to one quantity.
    """

    keys: Mapping[str, str]
    units: Mapping[str, str]
    ignore: Collection[str] = ()
    _factors: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        meanings = [*known_quantities(), *_DERIVED, *_STRUCTURAL]
        for meaning in self.keys:
            one_of("keys", meaning, meanings)
        for meaning in self.units:
            one_of("units", meaning, [*meanings, "positions"])
        labels = [meaning for meaning in self.keys if meaning not in _STRUCTURAL]
        for name in {_DERIVED.get(meaning, meaning) for meaning in labels}:
            both = [meaning for meaning in labels if _DERIVED.get(meaning, meaning) == name]
            if len(both) > 1:
                expected = f"one key that gives {name}"
                raise InvalidInputError(key="keys", value=both, expected=expected)
        for meaning in ("positions", *labels):
            self._factors[meaning] = self._factor(meaning)
        for meaning in self.units:
            if meaning not in self._factors:
                raise InvalidInputError(
                    "no key of the file has that meaning",
                    key=f"units.{meaning}",
                    advice=f"name it (eqcalc convert --key {meaning}=KEY)",
                )

    def _factor(self, meaning: str) -> float:
        """Return the conversion factor to internal units for this meaning."""
        name = _DERIVED.get(meaning, meaning)
        internal = "Å" if meaning == "positions" else quantity(name).unit
        unstated = InvalidInputError(
            "not stated by the file",
            key=f"units.{meaning}",
            expected=f"a unit such as {internal}",
            advice=f"state it (eqcalc convert --unit {meaning}=UNIT)",
        )
        if meaning not in self.units:
            raise unstated
        try:
            return conversion_factor(self.units[meaning], internal)
        except UnitError as error:
            expected = unstated.expected
            raise InvalidInputError(str(error), key=unstated.key, expected=expected) from None

    def unknown(self, frame: Frame) -> list[str]:
        """Return keys of `frame` that look like labels but are neither mapped nor ignored.

        Every number or numeric array does; text and booleans do not.
        """
        expected = {*self.keys.values(), *self.ignore}
        return [
            key
            for key, value in frame.values.items()
            if key not in expected and np.issubdtype(np.asarray(value).dtype, np.number)
        ]

    def record(self, frame: Frame) -> Record:
        """Return `frame` as a record in internal units.

        Raises
        ------
        FrameError
            A value has the wrong shape or type. Missing keys are allowed: not every structure
            needs every label.
        """
        n_atoms = len(frame.numbers)
        if n_atoms == 0:
            raise FrameError("it has no atoms")
        labels: dict[str, np.ndarray] = {}
        charge, source = 0.0, ""
        for meaning, key in self.keys.items():
            if key not in frame.values:
                continue
            value = frame.values[key]
            if meaning == "source":
                source = str(value)
            elif meaning == "charge":
                charge = float(_shaped(value, (), key))
            else:
                q = quantity(_DERIVED.get(meaning, meaning))
                labels[q.name] = _shaped(value, q.shape_of(n_atoms), key) * self._factors[meaning]
                labels[q.name] *= {"gradients": -1, "energy_per_atom": n_atoms}.get(meaning, 1)
        length = self._factors["positions"]
        periodic = frame.pbc is not None and bool(np.any(frame.pbc))
        try:
            return Record(
                np.asarray(frame.numbers),
                _real(frame.positions, "positions") * length,
                labels,
                charge,
                _real(frame.cell, "cell") * length if periodic else None,
                frame.pbc if periodic else None,
                source,
            )
        except ValueError as error:
            raise FrameError(str(error)) from None


def _real(value: Any, key: str) -> np.ndarray:
    """Return real numbers as float64."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal length
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "fiu":
        text = repr(value)
        shown = text if len(text) < 40 else text[:37] + "..."
        raise FrameError(f"{key}: expected real numbers, got {shown}")
    return array.astype(np.float64)


def _shaped(value: Any, shape: tuple[int, ...], key: str) -> np.ndarray:
    """Return real numbers in `shape`; accepts axes of length one and flattened tensors."""
    array = _real(value, key)
    same = np.squeeze(array).shape == tuple(n for n in shape if n != 1)
    if array.shape == shape or (
        array.size == np.prod(shape, dtype=int)
        and (same or (shape == (3, 3) and array.shape == (9,)))
    ):
        return array.reshape(shape)
    raise FrameError(f"{key}: expected shape {shape}, got {array.shape}")


def _interpretation(
    reader: Reader,
    keys: Mapping[str, str],
    units: dict[str, str],
    ignore: Collection[str],
    source: Path,
) -> Interpretation:
    """Combine the mapping of the reader with that of the caller."""
    taken = {*keys.values(), *ignore}
    by_key: Mapping[str, str] = getattr(reader, "units_by_key", {})
    meanings = {m: key for m, key in reader.keys.items() if key not in taken and m not in keys}
    if "gradients" in keys:
        meanings.pop("forces", None)
    if "energy_per_atom" in keys:
        meanings.pop("energy", None)
    meanings.update(keys)
    stated = {m: u for m, u in reader.units.items() if m == "positions" or m in meanings}
    stated |= {m: by_key[key] for m, key in meanings.items() if key in by_key}
    stated = {m: u for m, u in stated.items() if m not in _STRUCTURAL}
    try:
        with located(file=source):
            return Interpretation(meanings, {**stated, **units}, ignore)
    except InvalidInputError:
        # keys may be missing because nothing was read
        fault = next(iter(reader), FrameError("it is empty"))
        if isinstance(fault, FrameError):
            raise InvalidFileError(f"no structure can be read: {fault}", file=source) from None
        raise


def _read(
    reader: Reader,
    interpretation: Interpretation,
    writer: DatasetWriter,
    source: Path,
    progress: bool,
) -> tuple[np.ndarray, ValidationReport]:
    """Write the readable structures; return their source indices and the faults of the rest."""
    indices: list[int] = []
    report = ValidationReport(0)
    readable = 0
    seen = dict.fromkeys(interpretation.keys.values(), 0)
    total = len(reader) if isinstance(reader, Sized) else None
    frames = progress_bar(reader, total=total, shown=progress, desc=source.name, unit="structures")
    for index, frame in enumerate(frames):
        report.n_structures = index + 1
        if isinstance(frame, FrameError):
            report.add(index, str(frame))
            continue
        readable += 1
        for key in seen:
            seen[key] += key in frame.values
        unknown = interpretation.unknown(frame)
        if unknown:
            raise InvalidInputError(
                f"structure {index} has {', '.join(unknown)}, whose meaning is not stated",
                key="keys",
                file=source,
                advice="give each a meaning or ignore it (eqcalc convert --key, --ignore)",
            )
        try:
            record = interpretation.record(frame)
        except FrameError as error:
            report.add(index, str(error))
            continue
        faults = check_record(record)
        report.add(index, *faults)
        if not faults:
            indices.append(index)
            writer.append(record)
    if not report.n_structures:
        raise ConversionError("there is no structure", report, source)
    absent = [key for key, number in seen.items() if not number]
    if absent and indices:
        raise InvalidInputError(f"no structure has {', '.join(absent)}", key="keys", file=source)
    for meaning, key in interpretation.keys.items():
        if readable > seen[key]:
            report.add(None, f"{readable - seen[key]} structures have no {meaning} ({key})")
    return np.array(indices, dtype=np.int64), report
