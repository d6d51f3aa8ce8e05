# SPDX-License-Identifier: MIT
"""The model from which a training starts: a new one, or an existing one for other labels.

Most of a total energy of thousands of eV is described by one energy per element, given or fitted
to the training set by linear least squares; likewise the isotropic part of the polarizability
and other extensive scalars.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from eqcalc.datasets import Dataset, statistics
from eqcalc.datasets.dataset import levels_by_quantity
from eqcalc.datasets.label_statistics import (
    element_totals,
    fit_element_values,
    isotropic_part,
    numbers_and_labels,
)
from eqcalc.models.checkpoint import load_model
from eqcalc.models.potential import Potential, PotentialConfig, References
from eqcalc.quantities import quantity
from eqcalc.training.config import TrainingConfig
from eqcalc.training.evaluation import predictions

_log = logging.getLogger(__name__)

#: Labels with a smaller root mean square (internal units) count as constant.
_NO_SPREAD = 1e-9


def initial_potential(config: TrainingConfig, dataset: Dataset, training: np.ndarray) -> Potential:
    """Return the initial model for `config`.

    Reference values are fitted to the structures `training` (indices); for an existing model
    trained at another level of theory, to its residuals.
    """
    if config.model.start_from is not None:
        return potential_from(
            config.model.start_from,
            config.heads,
            dataset,
            training,
            reset_heads=config.model.reset_heads,
            seed=config.seed,
        )
    elements = dataset.subset(training).elements
    potential = config.model.potential_config(config.heads)
    given = config.model.element_values
    references = _fresh_references(potential, dataset, training, elements, given)
    return _build(potential, references, config.seed)


def label_scales(dataset: Dataset) -> dict[str, float]:
    """Return the root mean square of each label after subtraction of reference values.

    Least-squares element values are subtracted from scalars and the isotropic part of
    tensors; energies are per atom. Constant labels have a scale of 1.
    """
    return {
        name: label.rms if label.rms > _NO_SPREAD else 1.0
        for name, label in statistics(dataset).items()
    }


def _build(config: PotentialConfig, references: References, seed: int) -> Potential:
    """Initialise parameters from `seed` without affecting the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Potential(config, references)


def _fit_elements(
    name: str,
    dataset: Dataset,
    rows: np.ndarray,
    start: Potential | None = None,
    given: Mapping[int, float] | None = None,
) -> dict[int, float]:
    """Fit element values to a label, or to its residual with respect to the model `start`.

    To `given` values only the mean residual per atom is added, the same for all elements
    (Miller et al., arXiv:2008.08461, equations 14–16).
    """
    q = quantity(name)
    numbers, left = numbers_and_labels(dataset, name, rows[dataset.present(name)[rows]])
    if start is not None:
        left = left - predictions(start, dataset, rows, (name,))[0][name]
    if given is None:
        return fit_element_values(q, numbers, left)
    left = isotropic_part(q, left) - element_totals(q, numbers, given)
    per_atom = left.sum() / sum(len(z) for z in numbers) if q.extensive else left.mean()
    elements = np.unique(np.concatenate(numbers))
    return {int(z): given.get(int(z), 0.0) + float(per_atom) for z in elements}


def _fresh_references(
    config: PotentialConfig,
    dataset: Dataset,
    rows: np.ndarray,
    elements: tuple[int, ...],
    given: Mapping[str, Mapping[int, float]],
) -> References:
    """Fit missing reference values, and the scales of new read-outs."""
    tables: dict[str, dict[int, float]] = {}
    for name, head in config.build_heads().items():
        if not (head.additive and quantity(name).isotropic):
            continue
        # a model trained on forces alone has no reference energy to fit
        if dataset.present(name)[rows].any():
            tables[name] = _fit_elements(name, dataset, rows, given=given.get(name))
    rms = label_scales(dataset.subset(rows))
    # energies vary by roughly the force times one ångström
    rms["energy"] = rms.get("forces", rms.get("energy", 1.0))
    atoms = float(dataset.counts[rows].mean())
    for name in config.heads:
        q = quantity(name)
        if q.rank == 0 and q.extensive and not q.error_per_atom:
            rms[name] /= math.sqrt(atoms)  # typical contribution of an atom
    return References(elements, tables, {name: rms[name] for name in config.heads})


def potential_from(
    start_from: Path,
    heads: Sequence[str],
    dataset: Dataset,
    rows: np.ndarray,
    *,
    reset_heads: Collection[str] = (),
    seed: int = 0,
) -> Potential:
    """Return the initial model for labels of another level or other molecules.

    Parameters
    ----------
    start_from
        The model file.
    heads
        Read-outs of the model that is returned; others are left out.
    dataset, rows
        The structures (indices) to which reference values are fitted where the level changes.
    reset_heads
        Read-outs that are initialised, as those that are new.
    seed
        Random seed of their parameters.
    """
    start = load_model(start_from)
    found = dataset.subset(rows).elements
    elements = tuple(sorted({*start.references.elements, *found}))
    if unknown := sorted(set(found) - set(start.references.elements)):
        _log.warning("elements %s are new to %s", unknown, start_from)
    new = tuple(name for name in heads if name not in start.config.heads or name in reset_heads)
    kept = [name for name in heads if name not in new]
    for name in start.config.heads:
        if name not in heads:
            _log.info("%s: its read-out is not trained here and is left out", name)
    for name in new:
        _log.info("%s: new read-out", name)

    options = {name: o for name, o in start.config.read_outs.items() if name in heads}
    potential_config = PotentialConfig(start.config.representation, tuple(heads), options)
    fresh = References(elements)
    if new:
        new_heads = replace(potential_config, heads=new, read_outs={})
        fresh = _fresh_references(new_heads, dataset, rows, elements, {})
    tables = {name: dict(table) for name, table in fresh.values.items()}
    levels = levels_by_quantity(start.metadata.get("level_of_theory") or {}, start.config.heads)
    for name in kept:
        if name not in start.references.values:
            continue
        table = tables[name] = dict(start.references.values[name])
        if name not in dataset.quantities:
            continue
        before, now = levels.get(name, "an unknown level"), dataset.levels_of_theory[name]
        if unknown or before != now:
            _log.info("%s: reference values fitted anew, from %s to %s", name, before, now)
            for z, value in _fit_elements(name, dataset, rows, start).items():
                table[z] = table.get(z, 0.0) + value
    scales = {**fresh.scales, **{name: start.references.scales.get(name, 1.0) for name in kept}}
    potential = _build(potential_config, References(elements, tables, scales), seed)
    potential.representation.load_state_dict(start.representation.state_dict())
    for name in kept:
        potential.heads[name].load_state_dict(start.heads[name].state_dict())
    return potential
