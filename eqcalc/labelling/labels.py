# SPDX-License-Identifier: MIT
"""Sample geometries and label them with a reference method, in parallel and resumably."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase
import numpy as np

from eqcalc.datasets.dataset import Dataset, levels_by_quantity
from eqcalc.datasets.record import Record
from eqcalc.files import append_text, exclusive, require_writable, write_atomically
from eqcalc.labelling.ase_calculators import CalculatorMethod
from eqcalc.labelling.gfn2 import GFN2
from eqcalc.labelling.method import ConvergenceError, Method, selected_quantities
from eqcalc.labelling.registry import as_method
from eqcalc.labelling.sampling import SamplingPlan, sample
from eqcalc.models.compositions import general_model_knows
from eqcalc.molecules import unpaired_electrons
from eqcalc.progress import duration, progress_bar
from eqcalc.quantities import quantity
from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    absent_file,
    existing_file,
    located,
    one_of,
)
from eqcalc.workers import Processes, map_unordered, parallelism

#: Time of a first label that is more than that of loading the method [s].
_SLOW = 5.0


class OtherRunError(InvalidFileError):
    """A file left by an interrupted run belongs to another run.

    Attributes
    ----------
    different
        What differs: settings, method, geometries, …
    """

    def __init__(self, file: Path, different: Sequence[str]) -> None:
        super().__init__(
            f"left by an interrupted run with other {', '.join(different)}",
            file=file,
            advice="finish that run, or delete the file to start over",
        )
        self.different = tuple(different)


@dataclass(frozen=True)
class LabelReport:
    """Result of :func:`label`.

    Parameters
    ----------
    dataset
        The labelled geometries.
    failed
        Index and reason of each geometry that could not be labelled.
    resumed
        Number of geometries labelled by an earlier, interrupted run.
    """

    dataset: Dataset
    failed: dict[int, str]
    resumed: int

    def __str__(self) -> str:
        lines = [f"{len(self.dataset)} geometries labelled in {self.dataset.path}"]
        if self.resumed:
            lines.append(f"{self.resumed} of them by an earlier run")
        if self.failed:
            lines.append(f"{len(self.failed)} left out:")
            lines += [f"  geometry {index}: {reason}" for index, reason in self.failed.items()]
        return "\n".join(lines)


def label(
    geometries: Sequence[Record | ase.Atoms],
    method: Any,
    target: str | Path,
    *,
    quantities: Collection[str] | None = None,
    level_of_theory: str | Mapping[str, str] | None = None,
    processes: Processes = 1,
    progress: bool = True,
    provenance: Mapping[str, Any] | None = None,
    **options: Any,
) -> LabelReport:
    """Label `geometries` and write them to a dataset.

    Each finished geometry is appended to ``<target>.journal``. If the run is interrupted, the
    same call resumes; the journal is removed once the dataset has been written.

    Parameters
    ----------
    geometries
        Structures to label, of one or several molecules; existing labels are dropped.
    method
        A :class:`~eqcalc.labelling.method.Method` (copied to each process), its name
        (:mod:`eqcalc.labelling.registry`), an ASE calculator, or a mapping from quantities to
        methods: ``{"energy,forces": "dft", "dipole,polarizability": PySCF("B3LYP",
        "aug-cc-pVDZ")}``.
    target
        The dataset to write; must not exist.
    quantities
        Labels to compute; by default those of the method.
    level_of_theory
        Level of theory of the labels, or by quantity; by default that of the method.
    processes
        Number of single-threaded processes. With more than one, a script must call this
        under ``if __name__ == "__main__":``. Or the address of a Dask scheduler whose workers
        compute the labels, ``"tcp://host:8786"``.
    progress
        Show the progress.
    provenance
        Stored in addition to the method, for example how the geometries were sampled.
    options
        Precision and compression; see :class:`~eqcalc.datasets.writer.DatasetWriter`.

    Raises
    ------
    InvalidInputError
        The method is unknown or does not compute a quantity, the journal beside the
        target belongs to another run, or no geometry converged.
    BlockingIOError
        Another process labels the same target.
    OSError
        The folder of the target is not writable.
    """
    method = as_method(method)
    wanted = selected_quantities(method, quantities)
    levels = _levels(method, wanted, level_of_theory)
    target = Path(target)
    require_writable(target.parent)
    journal = target.with_name(target.name + ".journal")
    spins = _spins(geometries, method)
    records = [
        replace(_record(geometry), unpaired_electrons=spin)
        for geometry, spin in zip(geometries, spins, strict=True)
    ]
    settings = {**method.settings(), "quantities": list(wanted)}
    header = {
        "journal_version": 1,
        "method": method.name,
        "version": method.version,
        "settings": settings,
        "geometries": _fingerprint(records),
        "unpaired_electrons": {str(n): spins.count(n) for n in sorted({*spins})},
        "n_geometries": len(records),
    }
    with exclusive(target.with_name(f".{target.name}.lock")):
        if not journal.exists():
            absent_file(target)
        done = _read_journal(journal, header)
        resumed = len(done)
        # a run may have been killed between writing the dataset and removing the journal
        written = target.exists() and resumed == len(records)
        if not written:
            absent_file(target)
        tasks = [(index, record) for index, record in enumerate(records) if index not in done]
        if not (journal.exists() and journal.stat().st_size):
            append_text(journal, _line(header))
        with progress_bar(
            total=len(records),
            initial=resumed,
            desc=f"labelling by {method.name}",
            unit="geometries",
            shown=progress,
        ) as bar:
            failures = sum("error" in entry for entry in done.values())
            for entry in map_unordered(_label_one, (method, wanted), tasks, processes):
                append_text(journal, _line(entry))
                done[entry["index"]] = entry
                failures += "error" in entry
                bar.update()
                if failures:
                    bar.set_postfix_str(f"{failures} not converged")

        failed = {i: done[i]["error"] for i in sorted(done) if "error" in done[i]}
        if len(failed) == len(records):
            raise InvalidInputError(
                "no geometry could be labelled; the first reason: "
                + next(iter(failed.values()), "there are none"),
                key="geometries",
            )
        if written:
            journal.unlink()
            return LabelReport(Dataset.open(target), failed, resumed)
        dataset = Dataset.create(
            target,
            _labelled(records, done),
            level_of_theory=levels,
            provenance={
                "method": method.name,
                "method_version": method.version,
                "method_settings": settings,
                "unpaired_electrons": header["unpaired_electrons"],
                "not_converged": {str(i): reason for i, reason in failed.items()},
                **(provenance or {}),
            },
            **options,
        )
        journal.unlink()
        return LabelReport(dataset, failed, resumed)


def generate(
    molecule: ase.Atoms | Sequence[ase.Atoms],
    method: Any,
    target: str | Path,
    n: int,
    *,
    sampler: Any = None,
    plan: SamplingPlan | None = None,
    seed: int = 0,
    processes: Processes = 1,
    progress: bool = True,
    **options: Any,
) -> LabelReport:
    """Sample `n` geometries of a molecule and label them.

    The geometries are kept in ``<target>.geometries`` until all are labelled; if interrupted,
    the same call resumes.

    Parameters
    ----------
    molecule
        One geometry, to start a conformer search from, or several conformers.
    method, target
        See :func:`label`.
    n
        Number of geometries.
    sampler
        Method used for the sampling; by default the general model of molecules of H, C, N and O
        if it knows this one, else GFN2-xTB with loose thresholds.
    plan
        Composition of the sample; by default :meth:`SamplingPlan.default`.
    seed
        Random seed.
    processes, progress, options
        See :func:`label`.
    """
    target = Path(target)
    kept = target.with_name(target.name + ".geometries")
    if not kept.exists():
        absent_file(target)  # fail before minutes of sampling
    require_writable(target.parent)
    method = as_method(method)
    wanted = selected_quantities(method, options.get("quantities"))
    plan = plan or SamplingPlan.default()
    frames = [molecule] if isinstance(molecule, ase.Atoms) else list(molecule)
    unpaired = getattr(method, "unpaired_electrons", None)
    if sampler is None and not unpaired and all(map(general_model_knows, frames)):
        sampler = CalculatorMethod("eqcalc.calculator.EqCalculator")
    elif sampler is None:
        sampler = GFN2(1.0, unpaired_electrons=unpaired)
    sampler = as_method(sampler)
    about = {
        "sampling": plan.settings(),
        "sampled_with": sampler.name,
        "sampler_version": sampler.version,
        "sampler_settings": sampler.settings(),
        "molecule": [
            {"symbols": atoms.get_chemical_formula("reduce"), "positions": atoms.positions.tolist()}
            for atoms in frames
        ],
        "n_geometries": n,
        "seed": seed,
    }
    if kept.exists():
        geometries = Dataset.open(kept)
        different = [key for key, value in about.items() if geometries.provenance.get(key) != value]
        if different:
            raise OtherRunError(kept, different)
        if target.exists() and not target.with_name(target.name + ".journal").exists():
            dataset = Dataset.open(target)  # the run was killed at its very end
            same = {**about, "method": method.name}
            if any(dataset.provenance.get(key) != value for key, value in same.items()):
                absent_file(target)
            failed = dataset.provenance["not_converged"]
            kept.unlink()
            reasons = {int(index): reason for index, reason in failed.items()}
            return LabelReport(dataset, reasons, len(geometries))
    else:
        began = time.monotonic()
        with suppress(ConvergenceError):  # errors of the method are raised now
            method.label(frames[0], wanted)
        took = time.monotonic() - began
        if progress and took > _SLOW:
            print(
                f"{method.name} takes about {duration(took)} for a geometry, "
                f"{duration(took * n / parallelism(processes))} for all {n}, after the sampling",
                file=sys.stderr,
            )
        records = sample(
            frames[0] if len(frames) == 1 else frames,
            sampler,
            n,
            np.random.default_rng(seed),
            plan,
            processes=processes,
            progress=progress,
        )
        geometries = Dataset.create(kept, records, level_of_theory="none", provenance=about)
    spin = unpaired_electrons(frames[0], unpaired)
    report = label(
        [replace(record, unpaired_electrons=spin) for record in geometries],
        method,
        target,
        processes=processes,
        progress=progress,
        provenance=about,
        **options,
    )
    kept.unlink()
    return report


def _record(geometry: Record | ase.Atoms) -> Record:
    """Return a geometry without labels."""
    if isinstance(geometry, Record):
        return replace(geometry, labels={})
    return Record.from_atoms(geometry, source=str(geometry.info.get("source", "")))


def _spins(geometries: Sequence[Record | ase.Atoms], method: Method) -> list[int]:
    """Return the number of unpaired electrons of each geometry, which the method must suit."""
    methods = [one for _, one in getattr(method, "parts", (((), method),))]
    spins = []
    for index, geometry in enumerate(geometries):
        atoms = (
            geometry if isinstance(geometry, ase.Atoms) else replace(geometry, labels={}).atoms()
        )
        with located(section=f"geometries[{index}]"):
            found = [
                unpaired_electrons(atoms, getattr(m, "unpaired_electrons", None)) for m in methods
            ]
        spins.append(found[0])
    return spins


def _levels(
    method: Method, quantities: Sequence[str], stated: str | Mapping[str, str] | None
) -> dict[str, str]:
    """Return the level of theory by quantity; the user's takes precedence."""
    given = levels_by_quantity(stated or {}, quantities)
    for name in given:
        one_of("level_of_theory", name, quantities)
    levels = levels_by_quantity(method.level_of_theory, quantities) | given
    return {name: levels[name] for name in quantities}


def _labelled(geometries: Sequence[Record], done: Mapping[int, Any]) -> Iterator[Record]:
    """Yield the geometries that converged, with their labels."""
    for index, record in enumerate(geometries):
        labels = done[index].get("labels")
        if labels is not None:
            values = {
                name: np.array(value).reshape(quantity(name).shape_of(len(record.numbers)))
                for name, value in labels.items()
            }
            yield replace(record, labels=values)


# --- the journal ----------------------------------------------------------------------


def _fingerprint(geometries: Iterable[Record]) -> str:
    digest = hashlib.sha256()
    for record in geometries:
        digest.update(np.asarray(record.numbers, np.int64).tobytes())
        digest.update(np.ascontiguousarray(record.positions, np.float64).tobytes())
        digest.update(np.float64(record.charge).tobytes())
    return digest.hexdigest()


def _line(entry: Mapping[str, Any]) -> str:
    """Return an entry in JSON, a tabulator, and their CRC-32."""
    text = json.dumps(entry) + "\t"
    return f"{text}{zlib.crc32(text.encode()):08x}\n"


def _entry(line: bytes) -> Any:
    text, tab, crc = line.rpartition(b"\t")
    if not tab:  # of version 0.2
        return json.loads(line)
    if int(crc, 16) != zlib.crc32(text + tab):
        raise ValueError(f"a line was changed: {line[:80]!r}")
    return json.loads(text)


def _read_journal(path: Path, header: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the entries of the journal by geometry, ignoring a truncated last line."""
    if not path.exists():
        return {}
    lines = existing_file(path, "the journal of a run").read_bytes().split(b"\n")
    whole = b"".join(line + b"\n" for line in lines[:-1])
    if lines[-1]:
        write_atomically(path, whole)
    if not whole:
        return {}
    try:
        found, *entries = map(_entry, whole.splitlines())
        if not isinstance(found, dict):
            raise ValueError("the first line is no record")
        done = {int(entry["index"]): entry for entry in entries}
        for entry in entries:
            for name, values in (entry.get("labels") or {}).items():
                sizes = np.abs(np.asarray(values, dtype=float))
                if not sizes.max(initial=0.0) < quantity(name).largest:
                    raise ValueError(f"{name} of geometry {entry['index']} is {values}")
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise InvalidFileError(
            f"is damaged ({error!r})", file=path, advice="put a copy of it back, or delete it"
        ) from None
    if found != json.loads(json.dumps(header)):
        different = [key for key in header if found.get(key) != header[key]]
        raise OtherRunError(path, different)
    return done


# --- one geometry ---------------------------------------------------------------------


def _label_one(state: tuple[Method, tuple[str, ...]], task: tuple[int, Record]) -> dict[str, Any]:
    method, quantities = state
    index, record = task
    try:
        labels = method.label(record.atoms(), quantities)
    except ConvergenceError as error:
        return {"index": index, "error": str(error)}
    return {"index": index, "labels": {name: value.tolist() for name, value in labels.items()}}
