# SPDX-License-Identifier: MIT
"""Label geometries with a reference method, in parallel and resumably."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from eqcalc.datasets.dataset import Dataset
from eqcalc.datasets.record import Record
from eqcalc.files import require_writable
from eqcalc.labelling.method import ConvergenceError, Method
from eqcalc.labelling.workers import map_unordered
from eqcalc.quantities import quantity


@dataclass(frozen=True)
class LabelReport:
    """What :func:`label` did.

    Parameters
    ----------
    dataset
        The labelled geometries.
    failed
        Index among the given geometries, and reason, of those left out.
    resumed
        Number of geometries whose labels an earlier, interrupted run had left.
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
    geometries: Sequence[Record],
    method: Method,
    target: str | Path,
    *,
    processes: int = 1,
    progress: bool = True,
    provenance: Mapping[str, Any] | None = None,
    **options: Any,
) -> LabelReport:
    """Label `geometries` and write them to a dataset.

    Every finished geometry is noted at once in ``<target>.journal``, beside the
    target. A run that is killed is continued by calling it again with the same
    geometries and method; the journal goes when the dataset has been written.

    Parameters
    ----------
    geometries
        Structures to label; labels they already have are dropped.
    method
        The method; with several processes each has its own copy.
    target
        The dataset to write; must not exist.
    processes
        Number of processes, each of one thread. With more than one, a script
        must call this under ``if __name__ == "__main__":``.
    progress
        Show a progress bar.
    provenance
        Added to what is stored about the method, such as how the geometries
        were sampled.
    options
        Precision and compression, as of
        :class:`~eqcalc.datasets.writer.DatasetWriter`.

    Raises
    ------
    ValueError
        The journal beside the target belongs to other geometries or another
        method, or not a single geometry converged.
    OSError
        Nothing can be written into the folder of the target.
    """
    target = Path(target)
    if target.exists():
        raise FileExistsError(f"{target} exists; choose another name")
    require_writable(target.parent)
    header = {
        "journal_version": 1,
        "method": method.name,
        "version": method.version,
        "settings": method.settings(),
        "geometries": _fingerprint(geometries),
        "n_geometries": len(geometries),
    }
    journal = target.with_name(target.name + ".journal")
    done = _read_journal(journal, header)
    resumed = len(done)
    todo = [index for index in range(len(geometries)) if index not in done]
    with (
        journal.open("a", encoding="utf-8") as handle,
        tqdm(total=len(geometries), initial=resumed, disable=not progress, desc=method.name) as bar,
    ):
        if handle.tell() == 0:
            _note(handle, header)
        failures = sum("error" in entry for entry in done.values())
        tasks = [(index, geometries[index]) for index in todo]
        for entry in map_unordered(_label_one, method, tasks, processes):
            _note(handle, entry)
            done[entry["index"]] = entry
            failures += "error" in entry
            bar.update()
            if failures:
                bar.set_postfix_str(f"{failures} not converged")

    failed = {i: done[i]["error"] for i in sorted(done) if "error" in done[i]}
    if len(failed) == len(geometries):
        reason = next(iter(failed.values()), "there are none")
        raise ValueError(f"no geometry could be labelled; the first reason: {reason}")
    dataset = Dataset.create(
        target,
        _labelled(geometries, done),
        level_of_theory=method.level_of_theory,
        provenance={
            "method": method.name,
            "method_version": method.version,
            "method_settings": method.settings(),
            "not_converged": {str(i): reason for i, reason in failed.items()},
            **(provenance or {}),
        },
        **options,
    )
    journal.unlink()
    return LabelReport(dataset, failed, resumed)


def _labelled(geometries: Sequence[Record], done: Mapping[int, Any]) -> Iterator[Record]:
    for index, record in enumerate(geometries):
        labels = done[index].get("labels")
        if labels is not None:
            values = {
                name: np.array(value).reshape(
                    (len(record.numbers),) * quantity(name).per_atom + quantity(name).shape
                )
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


def _note(handle: Any, entry: Mapping[str, Any]) -> None:
    handle.write(json.dumps(entry) + "\n")
    handle.flush()


def _read_journal(path: Path, header: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the entries of the journal by geometry; drop a line cut off by a kill."""
    if not path.exists():
        return {}
    lines = path.read_bytes().split(b"\n")
    whole = b"".join(line + b"\n" for line in lines[:-1])
    if lines[-1]:
        path.write_bytes(whole)
    if not whole:
        return {}
    found, *entries = (json.loads(line) for line in whole.splitlines())
    if found != json.loads(json.dumps(header)):
        different = [key for key in header if found.get(key) != header[key]]
        raise ValueError(
            f"{path} was left by a run with other {', '.join(different)}; "
            "finish that run, or delete the file to start anew"
        )
    return {entry["index"]: entry for entry in entries}


# --- one geometry ---------------------------------------------------------------------


def _label_one(method: Method, task: tuple[int, Record]) -> dict[str, Any]:
    index, record = task
    try:
        labels = method.label(replace(record, labels={}).atoms())
    except ConvergenceError as error:
        return {"index": index, "error": str(error)}
    return {"index": index, "labels": {name: value.tolist() for name, value in labels.items()}}
