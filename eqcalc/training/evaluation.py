# SPDX-License-Identifier: MIT
"""Evaluate a model on labelled structures, with notes for interpreting the errors."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from eqcalc.datasets import Dataset
from eqcalc.datasets.checks import list_structures, not_finite
from eqcalc.datasets.dataset import levels_by_quantity
from eqcalc.files import file_hash
from eqcalc.models.checkpoint import load_model
from eqcalc.models.compositions import Compositions, formula, trained_on
from eqcalc.models.potential import Potential
from eqcalc.models.precision import check_precision, in_precision
from eqcalc.progress import progress_bar
from eqcalc.quantities import ordered, quantity
from eqcalc.training.config import DataConfig
from eqcalc.training.data import Batches, Split, evaluation_batches, split_dataset
from eqcalc.training.evaluation_table import (
    EvaluationTable,
    describe_force_error,
    error_rows,
)
from eqcalc.training.run_folder import unfinished
from eqcalc.validation import InvalidInputError, known_elements, located, one_of

#: Largest number of compositions named in a note.
_NAMED = 5


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
    """Evaluate the errors of a model on labelled structures.

    Structures with non-finite values are excluded and listed in a note of the table.

    Parameters
    ----------
    model
        A potential or its file.
    dataset
        Labelled structures or their file.
    indices
        Structures to evaluate; all if neither this nor `split` is given.
    split
        Part of the dataset to evaluate: ``"training"``, ``"validation"`` or ``"test"`` of
        the split the model was trained with, or ``"name/part"`` of a split stored in the
        dataset.
    names
        Quantities to compare; by default all that the model predicts and the dataset
        contains.
    precision
        Precision of the network, one of :data:`~eqcalc.models.precision.PRECISIONS`; by
        default as stored.
    progress
        Show the progress.

    Raises
    ------
    InvalidInputError
        There is nothing to compare, or the part or precision does not exist.
    UnknownElementError
        The model does not support an element.
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
            raise InvalidInputError(key="split", value=split, expected="nothing beside indices")
        indices = _part(model, dataset, split)
    rows = np.arange(len(dataset)) if indices is None else np.atleast_1d(np.asarray(indices))
    wanted = _comparable(model, dataset.subset(rows), names)
    rows, wrong = _finite(dataset, rows, wanted)
    predicted, labels, counts = predictions(model, dataset, rows, wanted, progress)
    errors = error_rows(predicted, labels, counts)
    return EvaluationTable(
        rows=errors,
        model=text,
        dataset=dataset.path.name + (f" ({split})" if split else ""),
        n_structures=len(rows),
        notes=(
            *wrong,
            *_diverged(predicted),
            *_level_notes(model, dataset, predicted),
            *_training_notes(model, dataset, rows, split),
        ),
        meaning=(
            f"the model knows {trained_on(model.metadata)}",
            *_meaning(predicted, labels, dataset, rows),
        ),
        predicted=predicted,
        labels=labels,
    )


def _part(model: Potential, dataset: Dataset, split: str) -> np.ndarray:
    """Return the indices of a part, from the training record or the stored splits."""
    stored = {f"{n}/{p}": rows for n, parts in dataset.splits.items() for p, rows in parts.items()}
    with located(file=dataset.path):
        one_of("split", split, ["training", "validation", "test", *stored])
    if split in stored:
        return stored[split]
    record = model.metadata.get("training", {}).get("dataset", {})
    if record.get("sha256") != file_hash(dataset.path):
        raise InvalidInputError(
            f"the model was trained on {record.get('file', 'an unknown dataset')}, or the file has "
            "changed since",
            key="split",
            value=split,
            file=dataset.path,
        )
    return getattr(_split_of_training(model, dataset), split)


def _comparable(
    model: Potential, dataset: Dataset, names: Collection[str] | None
) -> tuple[str, ...]:
    """Return the quantities to compare, or raise if there are none."""
    if len(dataset) == 0:
        raise _nothing(dataset, "there are 0 structures")
    given = {"the model": model.quantities, "the dataset": dataset.quantities}
    common = [name for name in dataset.quantities if name in model.quantities]
    labelled = [name for name in common if dataset.present(name).any()]
    wanted = ordered(labelled if names is None else names)
    for name in wanted:
        for who, has in given.items():
            if name not in has:
                expected = f"quantities of {who}: {', '.join(has) or 'none'}"
                raise InvalidInputError(
                    key="names", value=name, expected=expected, file=dataset.path
                )
        if name not in labelled:
            raise _nothing(dataset, f"none of the {len(dataset)} structures has the label {name}")
    if not wanted:
        both = (f"{who} has {', '.join(has) or 'nothing'}" for who, has in given.items())
        raise _nothing(dataset, "; ".join(both))
    known_elements(dataset.elements, model.references.elements, file=dataset.path)
    return wanted


def _nothing(dataset: Dataset, reason: str) -> InvalidInputError:
    return InvalidInputError(f"nothing to compare: {reason}", file=dataset.path)


def _finite(
    dataset: Dataset, rows: np.ndarray, names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the structures with finite values, and a note on the others, if any."""
    found = not_finite(dataset.subset(rows), names)
    if not found:
        return rows, ()
    bad = np.unique(np.concatenate(list(found.values())))
    places = dataset.indices[rows]  # in the file
    listed = list_structures({name: places[indices] for name, indices in found.items()})
    if len(bad) == len(rows):
        raise _nothing(dataset, f"not finite are {listed}")
    return np.delete(rows, bad), (f"left out, since they are not finite: {listed}.",)


def _diverged(predicted: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Return notes on non-finite predictions."""
    return tuple(
        f"{name}: {wrong} of {values.size} values of the model are not finite."
        for name, values in predicted.items()
        if (wrong := int((~np.isfinite(values)).sum()))
    )


def predictions(
    model: Potential,
    dataset: Dataset,
    rows: np.ndarray,
    names: tuple[str, ...],
    progress: bool = False,
) -> tuple[dict[str, np.ndarray], ...]:
    """Return predictions, known labels and numbers of atoms by quantity."""
    found: list[dict[str, list[Tensor]]] = [{name: [] for name in names} for _ in range(3)]
    batches = Batches(dataset, names, model.cutoff)
    order = evaluation_batches(dataset, rows)
    for part in progress_bar(order, shown=progress, desc="evaluating", unit="batches"):
        batch = batches[part].to(model.device)
        with torch.enable_grad():
            outputs = model.evaluate(batch.structures, batch.pairs, names)
        for name in names:
            known = batch.present[name]
            counts = batch.structures.counts[known]
            if quantity(name).per_atom:
                known = batch.structures.spread_to_atoms(known)
            value, label = outputs[name].double(), batch.labels[name].double()
            if quantity(name).of_charges:  # the label on the branch of the prediction
                error = value - label
                label = label + (error - batch.structures.nearest_images(error))
            values = value[known], label[known], counts
            for parts, value in zip(found, values, strict=True):
                parts[name].append(value.cpu())
    return tuple(
        {name: torch.cat(values).numpy() for name, values in parts.items()} for parts in found
    )


def _split_of_training(model: Potential, dataset: Dataset) -> Split:
    """Reproduce the split of the dataset that a model was trained on."""
    settings = model.metadata["training"]["config"]["data"]
    return split_dataset(Dataset.open(dataset.path), DataConfig(**settings))


def _level_notes(model: Potential, dataset: Dataset, names: Collection[str]) -> tuple[str, ...]:
    """Return notes on differing levels of theory of labels and model."""
    levels = levels_by_quantity(model.metadata.get("level_of_theory") or {}, names)
    return tuple(
        f"{name}: the model was trained at {levels[name]}, the labels are "
        f"{dataset.levels_of_theory[name]}."
        for name in names
        if name in levels and levels[name] != dataset.levels_of_theory[name]
    )


def _training_notes(
    model: Potential, dataset: Dataset, rows: np.ndarray, split: str | None
) -> tuple[str, ...]:
    """Return notes on structures seen in training, and on compositions that were not."""
    training = model.metadata.get("training", {})
    notes = [f"{progress}."] if (progress := unfinished(training)) else []
    record = training.get("dataset", {})
    # a fit to few labels by the Python function has no settings that name its structures
    known = "sha256" in record and "config" in training and (split is None or "/" in split)
    if known and record["sha256"] == file_hash(dataset.path):
        used = np.isin(dataset.indices[rows], _split_of_training(model, dataset).training)
        if used.any():
            notes.append(
                f"{int(used.sum())} of these {len(rows)} structures were trained on: their errors "
                "say nothing about others; --split test takes the held-out ones."
            )
    trained = Compositions.of_model(model.metadata)
    if trained is not None:
        found = _molecules(dataset, rows)
        strange = sorted({formula(z) for z in found if not trained.contain(np.array(z))})
        if strange:
            named = ", ".join(strange[:_NAMED]) + (", …" if len(strange) > _NAMED else "")
            notes.append(f"{named}: not among the training data of the model ({trained}).")
    return tuple(notes)


def _molecules(dataset: Dataset, rows: np.ndarray) -> set[tuple[int, ...]]:
    """Return the atomic numbers of the structures, once for each composition."""
    return {tuple(np.sort(numbers).tolist()) for numbers in dataset.numbers(rows)}


def _meaning(
    predicted: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    dataset: Dataset,
    rows: np.ndarray,
) -> tuple[str, ...]:
    """Return what the errors of forces mean for wavenumbers of molecules."""
    if "forces" not in predicted or dataset.structures(rows).periodic:
        return ()
    errors = np.abs(predicted["forces"] - labels["forces"]).mean(axis=1)
    known = rows[dataset.present("forces")[rows]]
    molecules: dict[tuple[int, ...], list[np.ndarray]] = {}
    first = 0
    for numbers in dataset.numbers(known):
        key = tuple(np.sort(numbers).tolist())
        molecules.setdefault(key, []).append(errors[first : first + len(numbers)])
        first += len(numbers)
    each = [float(np.concatenate(parts).mean()) for parts in molecules.values()]
    return (describe_force_error(float(errors.mean()), list(molecules), each),)
