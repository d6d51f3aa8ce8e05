# SPDX-License-Identifier: MIT
"""The model at the start of a training: new, or made from one that exists.

A total energy is thousands of eV, of which the network learns the last one.
The rest is taken up by one energy per element, fitted by linear least squares
to the training set; likewise the isotropic part of the polarizability.
"""

from __future__ import annotations

import logging
import math

import numpy as np
import torch

from eqcalc.datasets import Dataset, statistics
from eqcalc.datasets.statistics import fit_element_energies, fit_element_polarizabilities
from eqcalc.models.checkpoint import load_model
from eqcalc.models.potential import Potential, PotentialConfig, References
from eqcalc.training.config import TrainingConfig
from eqcalc.training.data import Batches, evaluation_batches

__all__ = ["initial_potential", "label_scales"]

_log = logging.getLogger(__name__)

#: A root mean square in internal units below which there is nothing to learn.
_NO_SPREAD = 1e-9


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


def label_scales(dataset: Dataset) -> dict[str, float]:
    """Return the root mean square of what a network has to learn of each label.

    Energy: per atom, after the best energies of the elements. Forces and dipole:
    of the components. Polarizability: of the nine components, after the best
    isotropic values of the elements. A label without any spread gets 1.
    """
    s = statistics(dataset)
    found = {"energy": s.energy_per_atom_rms, "forces": s.forces_rms}
    if s.dipole_rms is not None:
        found["dipole"] = s.dipole_rms / math.sqrt(3.0)
    if s.polarizability_rms is not None and s.anisotropy_rms is not None:
        # a multiple a of the unit matrix has three components a among nine
        found["polarizability"] = math.hypot(
            s.anisotropy_rms, s.polarizability_rms / math.sqrt(3.0)
        )
    return {
        name: rms if rms > _NO_SPREAD else 1.0 for name, rms in found.items() if rms is not None
    }


def _build(config: PotentialConfig, references: References, seed: int) -> Potential:
    """Draw parameters from `seed` without touching the global random stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Potential(config, references)


def _fit(
    name: str, dataset: Dataset, rows: np.ndarray, predicted: np.ndarray | float = 0.0
) -> dict[int, float]:
    """Fit values of the elements to what `predicted` leaves of a label."""
    known = dataset.present(name)[rows]
    left = (dataset.labels(rows)[0][name].numpy() - predicted)[known]
    structures = dataset.structures(rows[known])
    stops = np.cumsum(structures.counts.numpy())[:-1]
    numbers = np.split(structures.numbers.numpy(), stops)
    fit = fit_element_energies if name == "energy" else fit_element_polarizabilities
    return fit(numbers, left)


def _fresh_references(
    heads: tuple[str, ...], dataset: Dataset, rows: np.ndarray, elements: tuple[int, ...]
) -> References:
    """Fit reference values and scales for new read-outs."""
    tables: dict[str, dict[int, float]] = {"energy": {}, "polarizability": {}}
    for name, table in tables.items():
        # a model trained on forces alone has no reference energy to fit
        if name in heads and dataset.present(name)[rows].any():
            table.update(_fit(name, dataset, rows))
    rms = label_scales(dataset.subset(rows))
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
            for z, value in _fit(name, dataset, rows, predicted).items():
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


def _predict(potential: Potential, name: str, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return the values of one head, ``[n_structures, ...]``."""
    batches = Batches(dataset, (), potential.cutoff)
    parts = []
    for indices in evaluation_batches(dataset, rows):
        batch = batches[indices]
        parts.append(potential.evaluate(batch.structures, batch.pairs, [name])[name].numpy())
    return np.concatenate(parts)
