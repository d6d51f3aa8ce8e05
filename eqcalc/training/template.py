# SPDX-License-Identifier: MIT
"""Settings that fit a dataset: what a settings file leaves out, and a file with comments."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.datasets import Dataset
from eqcalc.files import model_file, require_writable, shipped_models, write_atomically
from eqcalc.models.checkpoint import read_header
from eqcalc.models.potential import PotentialConfig
from eqcalc.models.readouts import readable_quantities
from eqcalc.quantities import ordered, quantity
from eqcalc.validation import InvalidFileError, InvalidInputError, existing_file

#: Optimiser steps of a training; more epochs of small datasets hardly improve a model.
_STEPS, _EPOCHS = 40_000, (50, 2000)
#: The same of a model that is trained further, with a smaller learning rate.
_FINE_TUNING_STEPS = 12_000
#: Structures per step, up to a size of the training set.
_BATCHES = {1_000: 5, 10_000: 10, 50_000: 32}
_LARGEST_BATCH = 100
#: Largest number of structures kept for validation, and for the test.
_HELD_OUT = 1_000


#: Name of the optimizer for few labels of one molecule, and up to how many numbers they are: it
#: takes longer than training beyond.
FEW_LABELS, _FEW = "gauss_newton", 5_000
#: Sections of the settings that it does not have.
OF_EPOCHS = ("schedule", "stopping", "ema", "trainer")


def trainable_quantities() -> tuple[str, ...]:
    """Return the quantities that can be part of a loss."""
    return ordered((*readable_quantities(), "forces"))


def fitting_settings(
    dataset: Dataset,
    stated: Mapping[str, Any] | None = None,
    *,
    start_from: str | Path | None = None,
    optimizer: str | None = None,
) -> dict[str, Any]:
    """Return settings of a training that fit a dataset.

    The loss has all labels of the dataset that a model can learn. A tenth of the structures, at
    most 1000, is kept for the test and, if there are epochs, as many for validation. The learning
    rate is annealed in about 40,000 steps, that of a model that is fine-tuned in 12,000 and from
    half as high. Few labels of one molecule are fitted by Gauss–Newton steps.

    Parameters
    ----------
    dataset
        The dataset.
    stated
        Settings of ``data`` that are known already.
    start_from
        File of the model that is fine-tuned.
    optimizer
        Name of the optimizer; if not given, it fits the dataset.
    """
    n = len(dataset)
    data = {key: value for key, value in (stated or {}).items() if value is not None}
    known = [name for name in trainable_quantities() if name in dataset.quantities]
    if "split" in data:
        training = len(dataset.splits.get(str(data["split"]), {}).get("training", ()))
    else:
        training = data.get("training", n)
    if optimizer is None and start_from is not None:
        few = has_few_labels(dataset, known, training, Path(start_from))
    else:
        few = optimizer == FEW_LABELS
    sizes: dict[str, Any] = {}
    if "split" not in data:
        held = min(n // 10, _HELD_OUT)
        test = data.get("test", held)
        sizes = {"validation": 0 if few else max(held, 1), **data}
        if "training" not in sizes and all(isinstance(k, int) for k in (test, sizes["validation"])):
            sizes |= {"training": n - sizes["validation"] - test, "test": test}
        training = sizes.get("training", n)
    if n < 2 or not known:
        raise InvalidInputError(
            f"{n} structures with the labels {', '.join(dataset.quantities) or 'none'}",
            key="data.path",
            file=dataset.path,
            expected=f"two or more, with some of {', '.join(trainable_quantities())}",
        )
    found = {"output": f"{dataset.path.stem}-model", "data": sizes}
    if few:
        return {**found, "loss": known, "optimizer": {"name": FEW_LABELS}}
    training = training if isinstance(training, int) else n  # what is wrong is refused later
    batch = next((b for size, b in _BATCHES.items() if training < size), _LARGEST_BATCH)
    fine_tuned = start_from is not None
    steps = _FINE_TUNING_STEPS if fine_tuned else _STEPS
    epochs = round(steps / max(training // batch, 1))
    return {
        **found,
        "loss": {name: quantity(name).loss_weight for name in known},
        "optimizer": {"batch_size": batch, "learning_rate": 5e-4 if fine_tuned else 1e-3},
        "schedule": {"name": "cosine", "warm_up": 5},
        "ema": {"decay": 0.998},
        "stopping": {"epochs": min(max(epochs, _EPOCHS[0]), _EPOCHS[1]), "patience": None},
    }


def open_dataset(path: Path) -> Dataset:
    """Open the dataset of a training, or raise InvalidInputError."""
    try:
        return Dataset.open(path)
    except (OSError, InvalidFileError) as error:
        raise InvalidInputError(str(error), key="data.path", value=str(path)) from error


def is_for_few_labels(optimizer: Any) -> bool:
    """Return whether settings of an optimizer are those of Gauss–Newton steps."""
    return isinstance(optimizer, Mapping) and optimizer.get("name") == FEW_LABELS


def has_few_labels(dataset: Dataset, names: Sequence[str], training: int, start: Path) -> bool:
    """Return whether labels are few enough to be fitted by Gauss–Newton steps.

    They are of one molecule, with its atoms in one order, and the model `start` predicts them.
    """
    atoms = int(dataset.counts[0]) if len(dataset) else 0
    numbers = sum(math.prod(q.shape) * (atoms if q.per_atom else 1) for q in map(quantity, names))
    try:
        heads = read_header(start)["model"]["heads"]
    except (OSError, InvalidFileError):
        return False  # which is said where it is read
    if not isinstance(training, int) or not 2 <= training * numbers <= _FEW:
        return False
    if any(quantity(name).read_out not in heads for name in names):
        return False
    structures = dataset.structures(np.arange(len(dataset)))
    same = structures.uniform is not None
    return same and bool(
        (structures.numbers.view(len(dataset), -1) == structures.numbers[:atoms]).all()
    )


def completed(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return settings completed from their dataset, if they lack output, loss or data sizes.

    Raises
    ------
    InvalidInputError
        The dataset cannot be read, or has nothing to learn.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    data = given.get("data")
    if not isinstance(data, Mapping) or not (path := data.get("path")):
        return dict(settings)
    sized = {key for key in ("training", "validation") if data.get(key) is not None}
    if {"output", "loss"} <= set(given) and (data.get("split") or len(sized) == 2):
        return dict(settings)
    dataset = open_dataset(folder / Path(str(path)).expanduser())
    model, optimizer = given.get("model"), given.get("optimizer")
    start = model.get("start_from") if isinstance(model, Mapping) else None
    if start is not None:
        start = folder / Path(str(start)).expanduser()
    name = None if {"optimizer", *OF_EPOCHS}.isdisjoint(given) else "adamw"
    if is_for_few_labels(optimizer):
        name = FEW_LABELS
    found = fitting_settings(dataset, data, start_from=start, optimizer=name)
    for key in ("data", "optimizer", "ema", "stopping"):
        if isinstance(given.get(key), Mapping) and key in found:
            given[key] = {**found[key], **given[key]}
    given["data"] |= {key: v for key, v in found["data"].items() if given["data"][key] is None}
    return found | given


def write_template(
    dataset: str | Path, path: str | Path | None = None, *, start_from: str | Path | None = None
) -> str:
    """Return the text of a settings file for a dataset, with comments, and write it.

    Parameters
    ----------
    dataset
        The dataset.
    path
        File to write, which must not exist; none if not given. The path of the dataset is
        relative to its folder.
    start_from
        A model to fine-tune: its file, or the name of a shipped one.

    Raises
    ------
    InvalidInputError
        The dataset has nothing to learn, the file exists, or there is no such model.
    """
    found = Dataset.open(dataset)
    target = None if path is None else Path(path)
    if target is not None and target.exists():
        raise InvalidInputError(
            "exists", file=target, key="--output", expected="the name of a new settings file"
        )
    text = _text(found, Path() if target is None else target.parent, start_from)
    if target is not None:
        require_writable(target.parent)
        write_atomically(target, text)
    return text


def _text(dataset: Dataset, folder: Path, start_from: str | Path | None) -> str:
    s = fitting_settings(dataset, start_from=start_from and model_file(start_from))
    splits = [n for n, parts in dataset.splits.items() if {"training", "validation"} <= set(parts)]
    others = [name for name in dataset.quantities if name not in s["loss"]]
    sizes, few = s["data"], is_for_few_labels(s["optimizer"])
    validation = "not used here" if few else "by which the best epoch is chosen"
    lines = [
        f"# Settings of eqcalc train for {dataset.path.name}: {len(dataset)} structures.",
        "# Only data.path is needed: a file with nothing else gets the values shown here.",
        "",
        f"output: {s['output']}    # folder of the model, the log and what is needed to resume",
        "data:",
        f"  path: {_quoted(os.path.relpath(dataset.path, folder))}    # relative to this file",
        f"  training: {sizes['training']}    # structures to learn from",
        f"  validation: {sizes['validation']}    # {validation}",
        f"  test: {sizes['test']}    # seen by no training; eqcalc evaluate --split test",
        "  seed: 0    # of the random division",
        *(
            f"  # split: {name}    # stored in the dataset, instead of these numbers"
            for name in splits
        ),
        "",
        *_model(s["loss"], folder, start_from),
        "",
        *(_few(s) if few else _epochs(s)),
        *(f"# {name} is in the dataset, but no model can learn it here" for name in others),
    ]
    return "\n".join(lines) + "\n"


def _few(s: Mapping[str, Any]) -> list[str]:
    """Return the lines of a fit to few labels."""
    return [
        f"loss: [{', '.join(s['loss'])}]    # the quantities to learn",
        "",
        "# For few labels of one molecule: the last interaction and the read-outs are fitted to",
        "# all of them, without epochs. With {name: adamw} the whole model is trained instead.",
        f"optimizer: {{name: {FEW_LABELS}}}",
        "seed: 0",
    ]


def _epochs(s: Mapping[str, Any]) -> list[str]:
    """Return the lines of a training."""
    weights = ["# Weights of the quantities to learn."]
    if "forces" in s["loss"] and len(s["loss"]) > 2:
        weights[0] += " Larger weights of dipole and polarizability overfit"
        weights.append(
            "# them: each structure gives three and six numbers, but three forces per atom."
        )
    steps = s["data"]["training"] // s["optimizer"]["batch_size"]
    return [
        *weights,
        "loss:",
        *(f"  {name}: {weight:g}" for name, weight in s["loss"].items()),
        "",
        "optimizer:",
        "  name: adamw",
        f"  batch_size: {s['optimizer']['batch_size']}    # structures per step",
        f"  learning_rate: {s['optimizer']['learning_rate']}",
        "",
        "# The learning rate is warmed up in 5 epochs and then annealed to zero.",
        "schedule: {name: cosine, warm_up: 5}",
        "ema: {decay: 0.998}    # the model is a moving average over some 500 steps",
        "stopping:",
        f"  epochs: {s['stopping']['epochs']}    # of {max(steps, 1)} steps each",
        "  patience: null    # or stop after so many epochs without a lower validation loss",
        "  hours: null    # or stop after so many hours; the same command resumes",
        "seed: 0    # of the initial parameters and the order of the structures",
    ]


def _model(loss: Mapping[str, Any], folder: Path, start_from: str | Path | None) -> list[str]:
    """Return the lines of the model: one to fine-tune, or a new network."""
    if start_from is None:
        heads = ordered(quantity(name).read_out for name in loss)
        network = PotentialConfig.from_settings({"heads": list(heads)}).settings()["representation"]
        shown = ", ".join(
            f"{key}: {network[key]}"
            for key in ("name", "features", "layers", "cutoff")
            if key in network
        )
        return [
            "# Smaller networks are faster and somewhat less accurate: features: 64.",
            "model:",
            f"  representation: {{{shown}}}",
        ]
    name = str(start_from)
    if model_file(name) == Path(name):
        known = f"a model file (.eqc), general, or one of {', '.join(shipped_models())}"
        name = os.path.relpath(existing_file(start_from, known), folder)
    return ["model:", f"  start_from: {_quoted(name)}"]


def _quoted(text: str) -> str:
    """Return a path as YAML, in quotes if it has other than letters, digits and ``._-/``."""
    if not text.isprintable():  # such as bytes that are not text
        return json.dumps(text)
    plain = all(c.isalnum() or c in "._-/" for c in text)
    return text if plain else "'" + text.replace("'", "''") + "'"
