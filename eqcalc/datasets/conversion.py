# SPDX-License-Identifier: MIT
"""Convert files of other formats to the native store, with validation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sized
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.datasets.agreement import (
    COMPARED,
    Agreement,
    check_forces,
    compare_with_reference,
)
from eqcalc.datasets.checks import (
    ACCEPTABLE,
    ValidationReport,
    check_record,
    length_fault,
    validate,
)
from eqcalc.datasets.dataset import Dataset
from eqcalc.datasets.interpretation import DERIVED, Interpretation
from eqcalc.datasets.readers import FrameError, Reader
from eqcalc.datasets.readers.ase_db import AseDatabaseReader
from eqcalc.datasets.readers.extxyz import ExtxyzReader
from eqcalc.datasets.readers.npz import NpzReader
from eqcalc.datasets.readers.outputs import OutputsReader
from eqcalc.datasets.readers.qm9 import Qm9Reader
from eqcalc.datasets.writer import DatasetWriter
from eqcalc.facts import preformatted, ungrouped
from eqcalc.files import make_folder, naming, temporary_path
from eqcalc.plugins import class_named, instance
from eqcalc.progress import progress_bar
from eqcalc.quantities import known_quantities
from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    absent_file,
    located,
    one_of,
    raise_all,
)

#: Readers by format.
READERS: dict[str, Callable[..., Reader]] = {
    "extxyz": ExtxyzReader,
    "ase": AseDatabaseReader,
    "npz": NpzReader,
    "qm9": Qm9Reader,
    "outputs": OutputsReader,
}
#: Entry-point group for readers of other packages.
ENTRY_POINTS = "eqcalc.readers"
#: Place of the method that labels are compared with, a room below: named, not imported.
REFERENCE = "eqcalc.labelling.gfn2:GFN2"

_SUFFIXES = {
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".db": "ase",
    ".json": "ase",
    ".npz": "npz",
    ".h5": "npz",
    ".hdf5": "npz",
    ".tar": "qm9",
    ".out": "outputs",
    ".log": "outputs",
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
    agreements
        All comparisons of labels with each other and with a reference.
    """

    dataset: Dataset
    validation: ValidationReport
    agreements: tuple[Agreement, ...]

    @property
    def dropped(self) -> tuple[int, ...]:
        """Indices in the source of the structures left out."""
        return tuple(self.validation.bad)

    @property
    def forces(self) -> Agreement | None:
        """Consistency check of forces, with energies or a reference; None without both."""
        return next((one for one in self.agreements if one.quantity == "forces"), None)

    def _repr_html_(self) -> str:
        return preformatted(str(self))

    def __str__(self) -> str:
        lines = [
            f"{len(self.dataset)} of {self.validation.n_structures} structures in "
            f"{self.dataset.path}: {', '.join(self.dataset.quantities) or 'no labels'}"
        ]
        lines += map(str, self.agreements)
        if self.validation.problems:
            lines.append(self.validation.summary())
        return "\n".join(lines)


def open_reader(source: str | Path, *, format: str | None = None, **options: Any) -> Reader:
    """Return the reader for `source`.

    Parameters
    ----------
    source
        The file, or a folder of outputs.
    format
        ``"extxyz"``, ``"ase"``, ``"npz"``, ``"qm9"`` or ``"outputs"`` of quantum-chemistry
        programs, by default inferred from the file name; or a
        :class:`~eqcalc.datasets.readers.Reader` of another package, as ``"package.module:Class"``
        or by its entry point in the group ``eqcalc.readers``.
    options
        Arguments of the reader.

    Raises
    ------
    InvalidInputError
        The format or an option is unknown, or the reader rejects the file.
    """
    name = Path(source).name.removesuffix(".xz").removesuffix(".gz").removesuffix(".bz2")
    kind = format or _SUFFIXES.get(Path(name).suffix, "outputs" if Path(source).is_dir() else None)
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
    accept: Collection[str] = (),
    reference: Any = REFERENCE,
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
        Extended XYZ, ASE database, npz archive (or HDF5) in the layout of MD17, the QM9 archive,
        outputs of CP2K, Gaussian, ORCA, Psi4 and Q-Chem (a file or a folder of many), or any file
        that a reader of another package supports.
    target
        The dataset, written only if validation succeeds; missing folders are created.
    level_of_theory
        Level of theory of the labels, or by quantity, unless given in the file.
    units
        Unit by meaning, for example ``{"energy": "kcal/mol", "forces": "kcal/mol/Å"}``.
        Required where the file or its format does not define one (positions of extended XYZ
        are in Å), and takes precedence.
    keys
        Key in the file by meaning, in addition to those the format defines: a quantity;
        ``"gradients"`` (negative forces); ``"energy_per_atom"``; ``"permittivity"``, ε∞ of a
        cell, which becomes its polarizability V(ε∞ − 1)/4π; ``"charge"``;
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
    accept
        Checks whose failure is reported but accepted, among :data:`ACCEPTABLE`.
    reference
        Method whose labels of a few molecules detect wrong units and signs, or its place
        ``"package.module:Class"``; None for no comparison. By default GFN2-xTB, if tblite
        is installed.
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
        Structures have errors and `skip_bad` is not set, none is left, or labels are
        inconsistent with each other or with the reference.
    InvalidInputError
        The file, a key, a unit or the level of theory is missing or invalid; all that is missing
        is in one :class:`~eqcalc.validation.SeveralInputsError`.
    OSError
        The folder of `target` is not writable.
    """
    source, target = Path(source), Path(target)
    for name in accept:
        one_of("accept", name, ACCEPTABLE)
    if not overwrite:
        absent_file(target, "choose another name or overwrite it (eqcalc convert --overwrite)")
    keys = dict(keys or {})
    layout = {name: keys.pop(name) for name in ("numbers", "positions") if name in keys}
    reader = open_reader(source, format=format, **layout, **(options or {}))
    with located(file=source):
        interpretation = Interpretation(
            keys,
            units or {},
            ignore,
            usual=reader.keys,
            usual_units=reader.units,
            units_by_key=getattr(reader, "units_by_key", {}),
            nan_is_missing="nan" in accept,
        )
    level = level_of_theory or _by_quantity(reader.level_of_theory)
    make_folder(target.parent)
    draft = temporary_path(target)
    try:
        with (
            naming(target),
            DatasetWriter(draft, level_of_theory="unknown", overwrite=True) as writer,
        ):
            indices, report = _read(reader, interpretation, writer, source, accept, progress)
            missing = _missing(reader, interpretation, level)
            unread = report.n_structures == len(report.bad) and not interpretation.found
            if unread and not getattr(reader, "problems", ()):
                first = report.errors[0].message if report.errors else "it is empty"
                raise ConversionError(f"no structure can be read: {first}", report, source)
            raise_all(missing, file=source)
        about = {
            "converted_from": source.name,
            "keys": interpretation.found,
            "units": interpretation.used_units,
            **(provenance or {}),
        }
        dataset = Dataset.open(draft)
        for problem in validate(dataset, accept=accept).problems:
            index = None if problem.index is None else int(indices[problem.index])
            report.problems.append(replace(problem, index=index))
        report.problems.sort(key=lambda p: -1 if p.index is None else p.index)
        kept = _kept(indices, report, skip_bad, source)
        _check_lengths(dataset.subset(kept), report, accept, source)
        found = _agreements(dataset.subset(kept), reference, np.random.default_rng(seed))
        _check_scales(found, report, indices[kept], accept, source)
        kept = _kept(indices, report, skip_bad, source)
        dataset = dataset.subset(kept)
        _count_missing(dataset, report)
        if report.bad:
            about["dropped"] = report.bad
        converted = dataset.save(
            target,
            level_of_theory=level,
            provenance=about,
            single_precision=single_precision,
            compressed=compressed,
            overwrite=overwrite,
        )
    finally:
        draft.unlink(missing_ok=True)
    return ConversionReport(converted, report, tuple(found))


def _by_quantity(level: str) -> str | dict[str, str]:
    """Return levels of theory by quantity, if a text of a file states several."""
    levels = ungrouped(level)
    return levels if levels and set(levels) <= {*known_quantities()} else level


def _kept(
    indices: np.ndarray, report: ValidationReport, skip_bad: bool, source: Path
) -> np.ndarray:
    """Return the rows of the structures to keep; ConversionError if bad ones cannot be skipped."""
    bad = report.bad
    kept = np.flatnonzero(~np.isin(indices, bad))
    trouble = "" if len(kept) else "no structure is left"
    if bad and not skip_bad:
        trouble = (
            f"{len(bad)} structures cannot be used; correct the cause, leave them out "
            "(--skip-bad), or accept what is meant (--accept, such as nan for missing labels)"
        )
    if trouble:
        raise ConversionError(f"{trouble}\n{report.summary()}", report, source)
    return kept


def _check_scales(
    found: Collection[Agreement],
    report: ValidationReport,
    indices: np.ndarray,
    accept: Collection[str],
    source: Path,
) -> None:
    """Refuse labels of a wrong scale or sign, and report structures whose sign alone is wrong."""
    for agreement in found:
        name, accepted = agreement.quantity, agreement.quantity in accept
        fault = f"its {name} point against those of {agreement.against}, unlike the others"
        for row in agreement.contrary:
            report.add(int(indices[row]), fault, accepted=accepted)
        if not agreement.ok and accepted:
            report.add(None, str(agreement))
        elif not agreement.ok:
            advice = f"eqcalc convert --accept {name}, if it is right"
            raise ConversionError(f"wrong {name}: {agreement} ({advice})", report, source)


def _missing(
    reader: Reader, interpretation: Interpretation, level: str | Mapping[str, str]
) -> list[InvalidInputError]:
    """Return all that the caller has to state."""
    missing: list[InvalidInputError] = list(getattr(reader, "problems", ()))
    if missing:
        values = getattr(reader, "values", {})
        interpretation.look(values, {})
    missing += interpretation.problems()
    names = {DERIVED.get(name, name) for name in interpretation.found} & {*known_quantities()}
    lacking = [""] if not level else [] if isinstance(level, str) else sorted(names - {*level})
    missing += [
        InvalidInputError(
            "not stated by the file",
            key=f"level_of_theory.{name}".rstrip("."),
            advice="state it (eqcalc convert --level-of-theory)",
        )
        for name in lacking
    ]
    return missing


def _count_missing(dataset: Dataset, report: ValidationReport) -> None:
    """Report how many structures of the dataset lack a label that others have."""
    for name in dataset.quantities:
        lacking = int(np.count_nonzero(~dataset.present(name)))
        if 0 < lacking < len(dataset):
            report.add(None, f"{lacking} of {len(dataset)} structures have no {name}")


def _check_lengths(
    dataset: Dataset, report: ValidationReport, accept: Collection[str], source: Path
) -> None:
    """Refuse molecules without bonds, or with bonds of half the length."""
    fault = length_fault(dataset)
    if fault and "lengths" not in accept:
        raise ConversionError(f"{fault} (eqcalc convert --accept lengths, if so)", report, source)
    if fault:
        report.add(None, fault)


def _agreements(dataset: Dataset, reference: Any, rng: np.random.Generator) -> list[Agreement]:
    """Compare forces with energies, and labels with those of a reference method."""
    found = []
    if {"energy", "forces"} <= set(dataset.quantities):
        found.append(check_forces(dataset, rng))
    if reference is not None:
        method = reference
        if isinstance(reference, str):
            if reference == REFERENCE and find_spec("tblite") is None:
                return found
            method = class_named("reference", reference, {}, "eqcalc.labelling")()
        # energies and forces that fit each other may both be in a wrong unit
        settled = any(one.conclusive for one in found)
        for name in COMPARED:
            if name in dataset.quantities and not (name == "energy" and settled):
                found.append(compare_with_reference(dataset, method, name, rng))
    return found


def _read(
    reader: Reader,
    interpretation: Interpretation,
    writer: DatasetWriter,
    source: Path,
    accept: Collection[str],
    progress: bool,
) -> tuple[np.ndarray, ValidationReport]:
    """Write the readable structures; return their source indices and the faults of the rest."""
    indices: list[int] = []
    report = ValidationReport(0)
    total = len(reader) if isinstance(reader, Sized) else None
    frames = progress_bar(reader, total=total, shown=progress, desc=source.name, unit="structures")
    for index, frame in enumerate(frames):
        report.n_structures = index + 1
        if isinstance(frame, FrameError):
            report.add(index, str(frame))
            continue
        try:
            record = interpretation.record(frame, index)
        except ValueError as error:  # of the frame, or of its charge
            report.add(index, str(error))
            continue
        faults = check_record(record)
        report.add(index, *faults)
        level, usual = frame.level_of_theory, reader.level_of_theory
        if level.casefold() not in ("", usual.casefold()):
            fault = f"{record.source}: its level of theory is {level}, that of most is {usual}"
            report.add(index, fault, accepted="levels" in accept)
            faults += [fault] if "levels" not in accept else []
        if not faults:
            indices.append(index)
            writer.append(record)
    return np.array(indices, dtype=np.int64), report
