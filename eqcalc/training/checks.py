# SPDX-License-Identifier: MIT
"""What is looked at before a training begins: labels, numbers that are none, and the cutoff."""

from __future__ import annotations

import logging
import warnings

import numpy as np

from eqcalc.datasets import Dataset
from eqcalc.datasets.checks import list_structures, not_finite
from eqcalc.models.checkpoint import CheckpointError, read_header
from eqcalc.neighbors import pairs_within
from eqcalc.training.config import TrainingConfig
from eqcalc.training.data import Split
from eqcalc.training.settings import ConfigError
from eqcalc.validation import InvalidFileError

_log = logging.getLogger(__name__)

#: Structures in which pairs within the cutoff are looked for.
_STRUCTURES = 200


class TrainingWarning(UserWarning):
    """A training may not give what is expected of it."""


def open_dataset(config: TrainingConfig) -> Dataset:
    """Return the dataset of a training; raises ConfigError if there is none."""
    try:
        return Dataset.open(config.data.path)
    except (OSError, InvalidFileError) as error:
        raise ConfigError(f"data.path: {error}") from error


def require_start(config: TrainingConfig) -> None:
    """Raise ConfigError unless the model to start from, if one is stated, can be read."""
    if config.model.start_from is not None:
        try:
            read_header(config.model.start_from)
        except CheckpointError as error:
            raise ConfigError(f"model.start_from: {error}") from error


def check_labels(config: TrainingConfig, dataset: Dataset, split: Split) -> None:
    """Refuse labels that are not there; tell which are missing in part or not used."""
    path = config.data.path
    for name in config.quantities:
        if name not in dataset.quantities:
            known = ", ".join(dataset.quantities) or "none"
            raise ConfigError(f"loss.{name}: {path} has no such label; it has {known}")
        present = dataset.present(name)
        for part in ("training", "validation"):
            rows = getattr(split, part)
            n = int(present[rows].sum())
            if n == 0:
                raise ConfigError(
                    f"loss.{name}: none of the {len(rows)} {part} structures of {path} has it"
                )
            if n < len(rows):
                _log.info("%s: %d of %d %s structures have it", name, n, len(rows), part)
    for name in dataset.quantities:
        if name not in config.quantities:
            _log.info("%s: in %s, but not trained", name, path)


def check_numbers(config: TrainingConfig, dataset: Dataset, split: Split) -> None:
    """Refuse structures and labels that are there but not finite, in all parts of the data."""
    rows = np.sort(np.concatenate([split.training, split.validation, split.test]))
    found = not_finite(dataset.subset(rows), config.quantities)
    if found:
        listed = list_structures({name: rows[indices] for name, indices in found.items()})
        raise ConfigError(
            f"data.path: {config.data.path} has numbers that are not finite: {listed}; correct "
            "them, or leave these structures out. A label that is not known is left out of the "
            "structure instead"
        )


def warn_without_pairs(dataset: Dataset, split: Split, cutoff: float) -> None:
    """Warn if no atom sees another one within the cutoff [Å]."""
    structures = dataset.structures(split.training[:_STRUCTURES])
    if int(structures.counts.max()) > 1 and not len(pairs_within(structures, cutoff).receiver):
        warnings.warn(
            f"model.representation.cutoff: no atoms are within {cutoff:g} Å of each other in the "
            "training structures, so that the network sees no geometry at all",
            TrainingWarning,
            stacklevel=2,
        )
