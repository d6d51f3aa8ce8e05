# SPDX-License-Identifier: MIT
"""What a reader of an evaluation must know: other levels of theory, and what was trained on."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from eqcalc.datasets import Dataset
from eqcalc.datasets.dataset import levels_by_quantity
from eqcalc.models.compositions import Compositions, formula
from eqcalc.models.potential import Potential
from eqcalc.training.config import DataConfig
from eqcalc.training.data import Split, file_hash, split_dataset

#: So many compositions are named in a note.
_NAMED = 5


def split_of_training(model: Potential, dataset: Dataset) -> Split:
    """Divide the file that a model was trained on as its training did."""
    settings = model.metadata["training"]["config"]["data"]
    return split_dataset(Dataset.open(dataset.path), DataConfig(**settings))


def level_notes(model: Potential, dataset: Dataset, names: Collection[str]) -> tuple[str, ...]:
    """Tell where labels and model are not of the same level of theory."""
    levels = levels_by_quantity(model.metadata.get("level_of_theory") or {}, names)
    return tuple(
        f"{name}: the model was trained at {levels[name]}, the labels are "
        f"{dataset.levels_of_theory[name]}."
        for name in names
        if name in levels and levels[name] != dataset.levels_of_theory[name]
    )


def training_notes(
    model: Potential, dataset: Dataset, rows: np.ndarray, split: str | None
) -> tuple[str, ...]:
    """Tell where structures were used in training, or have compositions that were not.

    Parameters
    ----------
    model, dataset
        What is compared.
    rows
        Structures of the dataset that are evaluated, ``[n_structures]``.
    split
        Name of the part they are, if they are one.
    """
    notes = []
    record = model.metadata.get("training", {}).get("dataset", {})
    known = "sha256" in record and (split is None or "/" in split)
    if known and record["sha256"] == file_hash(dataset.path):
        used = np.isin(dataset.indices[rows], split_of_training(model, dataset).training)
        if used.any():
            notes.append(
                f"{int(used.sum())} of these {len(rows)} structures were trained on: their errors "
                "say nothing about others; --split test takes the held-out ones."
            )
    trained = Compositions.of_model(model.metadata)
    if trained is not None:
        structures = dataset.structures(rows)
        parts = np.split(structures.numbers.numpy(), np.cumsum(structures.counts.numpy())[:-1])
        found = {tuple(np.sort(numbers)) for numbers in parts}
        strange = sorted({formula(z) for z in found if not trained.contain(np.array(z))})
        if strange:
            named = ", ".join(strange[:_NAMED]) + (", …" if len(strange) > _NAMED else "")
            notes.append(f"{named}: not among the training data of the model ({trained}).")
    return tuple(notes)
