# SPDX-License-Identifier: MIT
"""Convert files of other formats to the native store, checking all they say."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sized
from dataclasses import dataclass
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
from eqcalc.files import make_folder


class ConversionError(ValueError):
    """Structures of a file cannot be used; the report says which and why.

    Attributes
    ----------
    report
        What was found.
    """

    def __init__(self, message: str, report: ValidationReport) -> None:
        super().__init__(message)
        self.report = report


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


_OPTIONS: dict[str, tuple[str, ...]] = {
    "extxyz": ("properties",),
    "ase": (),
    "npz": ("numbers", "positions"),
    "qm9": ("exclude",),
}


def open_reader(
    source: str | Path,
    *,
    format: str | None = None,
    **options: Any,
) -> Reader:
    """Return the reader for `source`.

    Parameters
    ----------
    format
        ``"extxyz"``, ``"ase"``, ``"npz"`` or ``"qm9"``; guessed from the name if not given.
    options
        ``numbers`` and ``positions``, keys of an npz archive; ``properties``, the
        columns of an XYZ file that does not name them; ``exclude``, a list of
        molecules of QM9.
    """
    name = Path(source).name.removesuffix(".xz").removesuffix(".gz").removesuffix(".bz2")
    suffix = name.rsplit(".", 1)[-1]
    guesses = {"xyz": "extxyz", "extxyz": "extxyz", "db": "ase", "json": "ase", "npz": "npz"}
    kind = format or {**guesses, "tar": "qm9"}.get(suffix)
    readers: dict[str, Any] = {
        "extxyz": ExtxyzReader,
        "ase": AseDatabaseReader,
        "npz": NpzReader,
        "qm9": Qm9Reader,
    }
    if kind not in readers:
        asked = f"unknown format {format!r}" if format else f"cannot tell the format of {source}"
        raise ValueError(f"{asked}; state one of {', '.join(readers)} (eqcalc convert --format)")
    if Path(source).is_dir() and kind != "qm9":
        raise ValueError(f"{source}: a folder; state a file of structures in it")
    for option in options:
        if option not in _OPTIONS[kind]:
            owners = [owner for owner, known in _OPTIONS.items() if option in known]
            raise ValueError(f"{option} can be stated for {', '.join(owners)} only, not for {kind}")
    reader: Reader = readers[kind](source, **options)
    return reader


def convert(
    source: str | Path,
    target: str | Path,
    *,
    level_of_theory: str | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    ignore: Collection[str] = (),
    format: str | None = None,
    properties: str | None = None,
    exclude: str | Path | None = None,
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
        Extended XYZ, ASE database, npz archive in the layout of MD17, or the
        archive of QM9.
    target
        The dataset; written only if all is well. Its folder is made if it is missing.
    level_of_theory
        How the labels were computed, unless the file says so.
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
    properties
        Columns of an XYZ file that does not name them, for example
        ``"species:S:1:pos:R:3:gradient:R:3"``; the key of a second line that is
        a single number is then ``"comment"``.
    exclude
        A file with the indices of molecules of QM9 to leave out, such as its
        ``uncharacterized.txt``.
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
    ValueError
        The file, a key, a unit or the level of theory is missing or wrong.
    OSError
        Nothing can be written into the folder of `target`.
    """
    source, target = Path(source), Path(target)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; choose another name or overwrite it")
    keys = dict(keys or {})
    layout: dict[str, str] = {
        name: keys.pop(name) for name in ("numbers", "positions") if name in keys
    }
    if properties is not None:
        layout["properties"] = properties
    if exclude is not None:
        layout["exclude"] = str(exclude)
    reader = open_reader(source, format=format, **layout)
    interpretation = _interpretation(reader, keys, dict(units or {}), ignore, source)
    level = level_of_theory or reader.level_of_theory
    if not level:
        raise ValueError(
            f"{source} does not state its level of theory: state it (eqcalc convert "
            "--level-of-theory)"
        )

    about = {
        "converted_from": source.name,
        "keys": dict(interpretation.keys),
        "units": dict(interpretation.units),
        **(provenance or {}),
    }
    make_folder(target.parent)
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
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
                f"{source}: {len(bad)} structures cannot be used; correct the cause or skip them\n"
                + report.summary(),
                report,
            )
        kept = np.flatnonzero(~np.isin(indices, bad))
        if not len(kept):
            raise ConversionError(f"{source}: no structure is left\n{report.summary()}", report)
        forces = None
        if {"energy", "forces"} <= set(dataset.quantities):
            forces = check_forces(dataset.subset(kept), np.random.default_rng(seed))
            if not forces.ok:
                raise ConversionError(f"{source}: energies and forces disagree: {forces}", report)
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
    except ValueError as error:
        # what is missing may be missing because nothing was read
        fault = next(iter(reader), FrameError("it is empty"))
        if isinstance(fault, FrameError):
            raise ValueError(f"{source}: no structure can be read from it: {fault}") from None
        raise type(error)(f"{source}: {error}") from None


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
            raise ValueError(
                f"{source}: structure {index} has {', '.join(unknown)}, whose meaning is not "
                "stated: give each a meaning (keys) or ignore it"
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
        raise ValueError(f"{source}: no structure has {', '.join(absent)}")
    if index < 0:
        raise ConversionError(f"{source}: the file holds no structure", report)
    for meaning, key in interpretation.keys.items():
        missing = index + 1 - len(problems) - seen[key]
        if missing > 0:
            problems.append(
                Problem(None, "warning", f"{missing} structures have no {meaning} ({key})")
            )
    return np.array(indices, dtype=np.int64), report
