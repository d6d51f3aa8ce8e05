# SPDX-License-Identifier: MIT
"""Convert files of other formats to the native store, checking all they say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from eqcalc.datasets.checks import Problem, ValidationReport, check_record, validate
from eqcalc.datasets.consistency import Agreement, check_forces
from eqcalc.datasets.dataset import Dataset
from eqcalc.datasets.readers.ase_db import AseDatabaseReader
from eqcalc.datasets.readers.extxyz import ExtxyzReader
from eqcalc.datasets.readers.frames import STRUCTURAL, FrameError, Interpretation, Reader
from eqcalc.datasets.readers.npz import NpzReader
from eqcalc.datasets.readers.qm9 import Qm9Reader
from eqcalc.datasets.writer import DatasetWriter
from eqcalc.files import make_folder, temporary_path
from eqcalc.plugins import class_named, instance
from eqcalc.validation import InvalidFileError, InvalidInputError

#: Readers by format.
READERS: dict[str, Callable[..., Reader]] = {
    "extxyz": ExtxyzReader,
    "ase": AseDatabaseReader,
    "npz": NpzReader,
    "qm9": Qm9Reader,
}
#: Entry points of this group are readers of other packages.
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
    """Structures of a file cannot be used; the report says which and why.

    Attributes
    ----------
    report
        What was found.
    """

    def __init__(
        self, problem: str, report: ValidationReport | None = None, file: Path | None = None
    ) -> None:
        super().__init__(problem, file=file)
        self.report = report or ValidationReport(0)


@dataclass(frozen=True)
class ConversionReport:
    """What :func:`convert` did.

    Parameters
    ----------
    dataset
        The converted structures.
    validation
        What was found, by index in the source.
    dropped
        Indices in the source of the structures left out.
    forces
        Whether the forces belong to the energies; None without both.
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
        ``"extxyz"``, ``"ase"``, ``"npz"`` or ``"qm9"``, by default as the name tells; or a
        :class:`~eqcalc.datasets.readers.frames.Reader` of another package, as
        ``"package.module:Class"`` or by its entry point of the group ``eqcalc.readers``.
    options
        Arguments of the reader.

    Raises
    ------
    InvalidInputError
        The format or an option is unknown, or the reader refuses the file.
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
        Extended XYZ, ASE database, npz archive in the layout of MD17, the archive of
        QM9, or what a reader of another package reads.
    target
        The dataset; written only if all is well. Its folder is made if it is missing.
    level_of_theory
        Of the labels, or by quantity, unless the file says so.
    units
        Unit by meaning, for example ``{"positions": "Å", "energy": "kcal/mol",
        "forces": "kcal/mol/Å"}``. Needed wherever the file or its format does
        not state one; what is given here takes precedence.
    keys
        Key in the file by meaning, in addition to those the format fixes: a
        quantity; ``"gradients"`` (negative forces); ``"energy_per_atom"``;
        ``"charge"``; ``"source"``; and for npz archives ``"numbers"`` and
        ``"positions"``.
    ignore
        Keys of the file that are not wanted. Any other number in the file that
        has no meaning is an error, so that no label is lost unnoticed.
    format
        See :func:`open_reader`.
    options
        Arguments of the reader: ``properties``, the columns of an XYZ file that does not
        name them (``"species:S:1:pos:R:3:gradient:R:3"``; a second line that is a single
        number has the key ``"comment"``); ``exclude``, a file with the indices of molecules
        of QM9 to leave out, such as its ``uncharacterized.txt``.
    skip_bad
        Leave structures with errors out instead of giving up.
    overwrite
        Replace an existing `target`.
    provenance
        Added to what is stored about the conversion.
    single_precision, compressed
        See :class:`~eqcalc.datasets.writer.DatasetWriter`.
    progress
        Show a progress bar.
    seed
        Of the choice of pairs in the check of forces against energies.

    Raises
    ------
    ConversionError
        Structures have errors and `skip_bad` is not set, or none is left, or
        the forces do not belong to the energies.
    InvalidInputError
        The file, a key, a unit or the level of theory is missing or wrong.
    OSError
        Nothing can be written into the folder of `target`.
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
            report.problems.append(Problem(index, problem.severity, problem.message))
        report.problems.sort(key=lambda p: -1 if p.index is None else p.index)
        bad = report.bad
        if bad and not skip_bad:
            raise ConversionError(
                f"{len(bad)} structures cannot be used; correct the cause or skip them\n"
                + report.summary(),
                report,
                source,
            )
        kept = np.flatnonzero(~np.isin(indices, bad))
        if not len(kept):
            raise ConversionError(f"no structure is left\n{report.summary()}", report, source)
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


def _interpretation(
    reader: Reader,
    keys: Mapping[str, str],
    units: dict[str, str],
    ignore: Collection[str],
    source: Path,
) -> Interpretation:
    """Combine what the reader knows with what the caller states."""
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
    for meaning in STRUCTURAL:
        stated.pop(meaning, None)
    try:
        return Interpretation(meanings, {**stated, **units}, ignore)
    except InvalidInputError as error:
        # what is missing may be missing because nothing was read
        fault = next(iter(reader), FrameError("it is empty"))
        if isinstance(fault, FrameError):
            raise InvalidFileError(f"no structure can be read: {fault}", file=source) from None
        raise error.within_file(source) from None


def _read(
    reader: Reader,
    interpretation: Interpretation,
    writer: DatasetWriter,
    source: Path,
    progress: bool,
) -> tuple[np.ndarray, ValidationReport]:
    """Write the readable structures; return their indices in the source and the others' faults."""
    indices: list[int] = []
    problems: list[Problem] = []
    seen = dict.fromkeys(interpretation.keys.values(), 0)
    index = -1
    total = len(reader) if isinstance(reader, Sized) else None
    for index, frame in enumerate(
        tqdm(reader, total=total, disable=not progress, desc=source.name, unit=" structures")
    ):
        if isinstance(frame, FrameError):
            problems.append(Problem(index, "error", str(frame)))
            continue
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
            problems.append(Problem(index, "error", str(error)))
            continue
        faults = check_record(record)
        if faults:
            problems += [Problem(index, "error", fault) for fault in faults]
            continue
        indices.append(index)
        writer.append(record)
    report = ValidationReport(index + 1, problems)
    absent = [key for key, number in seen.items() if not number]
    if absent and index >= 0 and len(problems) < index + 1:
        raise InvalidInputError(f"no structure has {', '.join(absent)}", key="keys", file=source)
    if index < 0:
        raise ConversionError("there is no structure", report, source)
    for meaning, key in interpretation.keys.items():
        missing = index + 1 - len(problems) - seen[key]
        if missing > 0:
            problems.append(
                Problem(None, "warning", f"{missing} structures have no {meaning} ({key})")
            )
    return np.array(indices, dtype=np.int64), report
