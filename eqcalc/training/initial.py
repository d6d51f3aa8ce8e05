# SPDX-License-Identifier: MIT
"""The model at the start of a training: new, or made from one that exists."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from eqcalc.datasets import Dataset
from eqcalc.models.checkpoint import load_model
from eqcalc.models.potential import Potential, PotentialConfig, References
from eqcalc.training.config import TrainingConfig
from eqcalc.training.data import Batches, evaluation_batches
from eqcalc.training.references import fit_element_values, label_scales

__all__ = ["initial_potential", "training_scales"]

_log = logging.getLogger(__name__)


def initial_potential(config: TrainingConfig, dataset: Dataset, training: np.ndarray) -> Potential:
    """Return the model that `config` starts from.

    Reference values are fitted to the structures `training`; for a model that
    exists to what it leaves over, if it was trained at another level of theory.

    Parameters
    ----------
    config
        Settings of the run.
    dataset
        Labelled structures.
    training
        Indices of the training set.
    """
    if config.model.start_from is None:
        elements = dataset.subset(training).elements
        references = _fresh_references(config.heads, dataset, training, elements)
        return _build(config.model.potential_config(config.heads), references, config.seed)
    return _fine_tuned(config, dataset, training)


def training_scales(
    potential: Potential, dataset: Dataset, training: np.ndarray
) -> dict[str, float]:
    """Return the root mean square of what the network has to learn of each label."""
    labels, present = dataset.labels(training)
    references = potential.references
    return label_scales(
        dataset.structures(training),
        labels,
        present,
        references.energy,
        references.polarizability,
    )


def _build(config: PotentialConfig, references: References, seed: int) -> Potential:
    """Draw parameters from `seed` without touching the global random stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Potential(config, references)


def _fit(
    name: str,
    dataset: Dataset,
    rows: np.ndarray,
    elements: tuple[int, ...],
    predicted: Tensor | None = None,
) -> dict[int, float]:
    """Fit values of the elements to a label, or to what `predicted` leaves of it."""
    labels, present = dataset.labels(rows)
    known = present[name]
    label = labels[name] if predicted is None else labels[name] - predicted
    if name == "polarizability":
        label = torch.einsum("sii->s", label) / 3.0
    return fit_element_values(dataset.structures(rows[known.numpy()]), label[known], elements)


def _fresh_references(
    heads: tuple[str, ...], dataset: Dataset, rows: np.ndarray, elements: tuple[int, ...]
) -> References:
    """Fit reference values and scales for new read-outs."""
    tables: dict[str, dict[int, float]] = {"energy": {}, "polarizability": {}}
    for name, table in tables.items():
        # a model trained on forces alone has no reference energy to fit
        if name in heads and dataset.present(name)[rows].any():
            table.update(_fit(name, dataset, rows, elements))
    labels, present = dataset.labels(rows)
    rms = label_scales(
        dataset.structures(rows), labels, present, tables["energy"], tables["polarizability"]
    )
    # energies vary by about the force over one ångström of motion
    rms["energy"] = rms.get("forces", rms.get("energy", 1.0))
    scales = {name: rms[name] for name in heads}
    return References(elements, tables["energy"], tables["polarizability"], scales)


def _fine_tuned(config: TrainingConfig, dataset: Dataset, rows: np.ndarray) -> Potential:
    assert config.model.start_from is not None
    start = load_model(config.model.start_from)
    found = dataset.subset(rows).elements
    elements = tuple(sorted({*start.references.elements, *found}))
    if strangers := sorted(set(found) - set(start.references.elements)):
        _log.warning("elements %s are new to %s", strangers, config.model.start_from)
    kept = [
        name
        for name in config.heads
        if name in start.config.heads and name not in config.model.reset_heads
    ]
    for name in start.config.heads:
        if name not in config.heads:
            _log.info("%s: its read-out is not trained here and is left out", name)
    for name in config.heads:
        if name not in kept:
            _log.info("%s: new read-out", name)

    fresh = _fresh_references(
        tuple(name for name in config.heads if name not in kept), dataset, rows, elements
    )
    tables = {"energy": dict(fresh.energy), "polarizability": dict(fresh.polarizability)}
    levels = start.metadata.get("level_of_theory", {})
    for name, table in tables.items():
        if name not in kept:
            continue
        table.update(getattr(start.references, name))
        if name not in dataset.quantities:
            continue
        if strangers or levels.get(name) != dataset.levels_of_theory[name]:
            _log.info(
                "%s: reference values fitted anew, from %s to %s",
                name,
                levels.get(name, "an unknown level"),
                dataset.levels_of_theory[name],
            )
            predicted = _predict(start, name, dataset, rows)
            change = _fit(name, dataset, rows, elements, predicted)
            for z, value in change.items():
                table[z] = table.get(z, 0.0) + value
    scales = {**fresh.scales, **{name: start.references.scales.get(name, 1.0) for name in kept}}
    references = References(elements, tables["energy"], tables["polarizability"], scales)

    potential = _build(
        PotentialConfig(start.config.representation, config.heads), references, config.seed
    )
    potential.representation.load_state_dict(start.representation.state_dict())
    for name in kept:
        potential.heads[name].load_state_dict(start.heads[name].state_dict())
    return potential


def _predict(potential: Potential, name: str, dataset: Dataset, rows: np.ndarray) -> Tensor:
    """Return what the network of `potential` and its references give, ``[n_structures, ...]``."""
    batches = Batches(dataset, (), potential.cutoff)
    parts = []
    for indices in evaluation_batches(dataset, rows):
        batch = batches[indices]
        parts.append(potential.evaluate(batch.structures, batch.pairs, [name])[name])
    return torch.cat(parts)
