# SPDX-License-Identifier: MIT
"""Errors of a model on labelled structures, as a table in the units of the field."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from tqdm import tqdm

from eqcalc.datasets import Dataset
from eqcalc.datasets.checks import list_structures, not_finite
from eqcalc.models.checkpoint import load_model
from eqcalc.models.potential import Potential
from eqcalc.models.precision import check_precision, in_precision
from eqcalc.quantities import Quantity, ordered, quantity
from eqcalc.training.data import Batches, evaluation_batches, file_hash
from eqcalc.training.notes import level_notes, split_of_training, training_notes
from eqcalc.units import conversion_factor


@dataclass(frozen=True)
class ErrorRow:
    """Errors of one quantity in one unit.

    Parameters
    ----------
    quantity
        What is compared: a quantity by its components (all nine of a tensor), its value
        per atom (``"energy per atom"``), or its invariant (``"dipole magnitude"``,
        ``"isotropic polarizability"``).
    unit
        Unit of the errors.
    mae, rmse, largest
        Mean absolute, root-mean-square and largest absolute error.
    spread
        Standard deviation of the labels, each component about its own mean: the
        RMSE of a model that predicts the mean.
    n
        Number of values compared.
    """

    quantity: str
    unit: str
    mae: float
    rmse: float
    largest: float
    spread: float
    n: int


@dataclass(frozen=True)
class EvaluationTable:
    """Errors of a model, with the values they come from.

    Parameters
    ----------
    rows
        One row per quantity and unit.
    model, dataset
        Where they came from, as text.
    n_structures
        Number of structures evaluated.
    notes
        What a reader must know, for example that the levels of theory differ.
    predicted, labels
        By quantity, in internal units, only where the label is known:
        ``[n_known, ...]``, for forces ``[n_atoms, 3]``.
    """

    rows: tuple[ErrorRow, ...]
    model: str
    dataset: str
    n_structures: int
    notes: tuple[str, ...] = ()
    predicted: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    labels: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def row(self, name: str, unit: str) -> ErrorRow:
        """Return the row of the quantity `name` in `unit`."""
        for row in self.rows:
            if (row.quantity, row.unit) == (name, unit):
                return row
        known = ", ".join(f"{row.quantity} [{row.unit}]" for row in self.rows)
        raise KeyError(f"no row {name} [{unit}]; rows: {known}")

    def __str__(self) -> str:
        lines = [
            f"{self.model} on {self.n_structures} structures of {self.dataset}",
            f"{'quantity':<26}{'unit':<13}{'MAE':>11}{'RMSE':>11}{'largest':>11}{'spread':>11}"
            f"{'values':>10}",
        ]
        for r in self.rows:
            numbers = "".join(f"{x:>11.4g}" for x in (r.mae, r.rmse, r.largest, r.spread))
            lines.append(f"{r.quantity:<26}{r.unit:<13}{numbers}{r.n:>10}")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])

    def settings(self) -> dict[str, Any]:
        """Return the table as JSON-able mappings."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "n_structures": self.n_structures,
            "notes": list(self.notes),
            "rows": [vars(row) for row in self.rows],
        }

    def csv(self) -> str:
        """Return the rows as CSV."""
        stream = io.StringIO()
        names = [f.name for f in fields(ErrorRow)]
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow(
                {k: f"{v:.8g}" if isinstance(v, float) else v for k, v in vars(row).items()}
            )
        return stream.getvalue()

    def write(self, folder: str | Path, name: str = "evaluation") -> list[Path]:
        """Write ``<name>.csv``, ``<name>.json`` and a parity plot per quantity.

        Returns
        -------
        list of Path
            The files.
        """
        from eqcalc.training.figures import parity_plot

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{name}.csv", folder / f"{name}.json"]
        paths[0].write_text(self.csv(), encoding="utf-8")
        text = json.dumps(self.settings(), indent=1, ensure_ascii=False)
        paths[1].write_text(text + "\n", encoding="utf-8")
        for quantity_name in self.predicted:
            paths.append(folder / f"{name}-{quantity_name}.png")
            parity_plot(
                quantity_name, self.labels[quantity_name], self.predicted[quantity_name]
            ).savefig(paths[-1], dpi=150)
        return paths


def evaluate(
    model: Potential | str | Path,
    dataset: Dataset | str | Path,
    indices: ArrayLike | None = None,
    *,
    split: str | None = None,
    names: Collection[str] | None = None,
    precision: str | None = None,
    progress: bool = False,
) -> EvaluationTable:
    """Compare a model with labels.

    Structures with a number that is not finite are left out, and a note of the table
    names them.

    Parameters
    ----------
    model
        A potential or its file.
    dataset
        Labelled structures or their file.
    indices
        Structures to evaluate; all if neither this nor `split` is given.
    split
        Part of the dataset to evaluate: ``"training"``, ``"validation"`` or
        ``"test"`` as the training of the model divided its dataset, or
        ``"name/part"`` of a split stored in the dataset.
    names
        Quantities to compare; all that the model gives and the dataset has if
        not given.
    precision
        Of the network, one of :data:`~eqcalc.models.precision.PRECISIONS`; as stored if
        not given.
    progress
        Show a progress bar on a terminal.

    Raises
    ------
    ValueError
        There is nothing to compare, the model does not know an element, or
        there is no such part or precision.
    """
    text = Path(model).name if isinstance(model, str | Path) else "the model"
    check_precision(precision)
    model = model if isinstance(model, Potential) else load_model(model)
    model = in_precision(model, precision)
    if precision is not None:
        text += f" in {precision}"
    dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    if split is not None:
        if indices is not None:
            raise ValueError("give indices or split, not both")
        indices = _part(model, dataset, split)
    rows = np.arange(len(dataset)) if indices is None else np.atleast_1d(np.asarray(indices))
    wanted = _comparable(model, dataset.subset(rows), names)
    rows, wrong = _finite(dataset, rows, wanted)
    predicted, labels, counts = _predictions(model, dataset, rows, wanted, progress)
    return EvaluationTable(
        rows=_rows(predicted, labels, counts),
        model=text,
        dataset=dataset.path.name + (f" ({split})" if split else ""),
        n_structures=len(rows),
        notes=(
            *wrong,
            *_diverged(predicted),
            *level_notes(model, dataset, predicted),
            *training_notes(model, dataset, rows, split),
        ),
        predicted=predicted,
        labels=labels,
    )


def _part(model: Potential, dataset: Dataset, split: str) -> np.ndarray:
    """Return the structures of a part, by the record of the model or the stored splits."""
    name, _, part = split.rpartition("/")
    if name:
        parts = dataset.splits.get(name, {})
        if part not in parts:
            known = [f"{n}/{p}" for n, parts in dataset.splits.items() for p in parts]
            raise ValueError(f"split {split!r}: {dataset.path} stores {', '.join(known) or 'none'}")
        return parts[part]
    if part not in {"training", "validation", "test"}:
        raise ValueError(f"split: expected training, validation, test or name/part, got {split!r}")
    record = model.metadata.get("training", {})
    if record.get("dataset", {}).get("sha256") != file_hash(dataset.path):
        trained = record.get("dataset", {}).get("file", "an unknown dataset")
        raise ValueError(
            f"split {split!r}: the model was not trained on {dataset.path}, but on {trained}, or "
            "the file has changed since"
        )
    return getattr(split_of_training(model, dataset), part)


def _comparable(
    model: Potential, dataset: Dataset, names: Collection[str] | None
) -> tuple[str, ...]:
    """Return the quantities to compare, or tell why there are none."""
    common = [
        name
        for name in dataset.quantities
        if name in model.quantities and (names is not None or dataset.present(name).any())
    ]
    wanted = ordered(common if names is None else names)
    for name in wanted:
        if name not in common:
            who = "the model" if name in dataset.quantities else str(dataset.path)
            raise ValueError(f"{name}: {who} does not have it; both have {', '.join(common)}")
        if not dataset.present(name).any():
            raise ValueError(f"{name}: none of the {len(dataset)} structures has this label")
    if len(dataset) == 0:
        raise ValueError(f"nothing to compare: 0 structures of {dataset.path}")
    if not wanted:
        raise ValueError(
            f"nothing to compare: the model gives {', '.join(model.quantities)}; {dataset.path} "
            f"has {', '.join(dataset.quantities) or 'no labels'}"
        )
    unknown = sorted(set(dataset.elements) - set(model.references.elements))
    if unknown:
        raise ValueError(
            f"{dataset.path}: the model does not know the elements {unknown}; "
            f"it knows {list(model.references.elements)}"
        )
    return wanted


def _finite(
    dataset: Dataset, rows: np.ndarray, names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the structures whose numbers are all finite, and a note on the others, if any."""
    found = not_finite(dataset.subset(rows), names)
    if not found:
        return rows, ()
    bad = np.unique(np.concatenate(list(found.values())))
    places = dataset.indices[rows]  # in the file
    listed = list_structures({name: places[indices] for name, indices in found.items()})
    if len(bad) == len(rows):
        raise ValueError(f"nothing to compare: {dataset.path} has no finite {listed}")
    return np.delete(rows, bad), (f"left out, since they are not finite: {listed}.",)


def _diverged(predicted: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Tell where a model does not give numbers."""
    return tuple(
        f"{name}: {wrong} of {values.size} values of the model are not finite."
        for name, values in predicted.items()
        if (wrong := int((~np.isfinite(values)).sum()))
    )


def _predictions(
    model: Potential, dataset: Dataset, rows: np.ndarray, names: tuple[str, ...], progress: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return predictions and labels by quantity, and the numbers of atoms of those with each."""
    predicted: dict[str, list[np.ndarray]] = {name: [] for name in names}
    labels: dict[str, list[np.ndarray]] = {name: [] for name in names}
    counts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    batches = Batches(dataset, names, model.cutoff)
    parts = evaluation_batches(dataset, rows)
    for part in tqdm(parts, desc="evaluating", unit=" batches", disable=None if progress else True):
        batch = batches[part].to(model.device)
        with torch.enable_grad():
            outputs = model.evaluate(batch.structures, batch.pairs, names)
        for name in names:
            known = batch.present[name]
            counts[name].append(batch.structures.counts[known].cpu().numpy())
            if quantity(name).per_atom:
                known = batch.structures.spread_to_atoms(known)
            predicted[name].append(outputs[name][known].cpu().double().numpy())
            labels[name].append(batch.labels[name][known].cpu().double().numpy())
    ours, theirs, atoms = (
        {name: np.concatenate(values) for name, values in found.items()}
        for found in (predicted, labels, counts)
    )
    return ours, theirs, atoms


def _rows(
    predicted: dict[str, np.ndarray], labels: dict[str, np.ndarray], counts: dict[str, np.ndarray]
) -> tuple[ErrorRow, ...]:
    rows: list[ErrorRow] = []

    def add(text: str, q: Quantity, ours: np.ndarray, theirs: np.ndarray, per: str = "") -> None:
        for unit, label in q.report:
            factor = conversion_factor(q.unit, unit)
            error = np.abs(ours - theirs) * factor
            rows.append(
                ErrorRow(
                    quantity=text,
                    unit=label + per,
                    mae=float(error.mean()),
                    rmse=float(np.sqrt(np.square(error).mean())),
                    largest=float(error.max()),
                    spread=float(np.sqrt(np.square(theirs - theirs.mean(axis=0)).mean()) * factor),
                    n=error.size,
                )
            )

    for name, ours in predicted.items():
        q, theirs = quantity(name), labels[name]
        add(name, q, ours, theirs)
        if q.error_per_atom:
            atoms = counts[name]
            add(f"{name} per atom", q, ours / atoms, theirs / atoms, per="/atom")
        if q.invariant == "magnitude":
            size = (len(ours), math.prod(q.shape))
            a, b = (np.linalg.norm(x.reshape(size), axis=-1) for x in (ours, theirs))
            add(f"{name} magnitude", q, a, b)
        elif q.invariant == "isotropic":
            a, b = (np.trace(x, axis1=-2, axis2=-1) / 3.0 for x in (ours, theirs))
            add(f"isotropic {name}", q, a, b)
    return tuple(rows)
