# SPDX-License-Identifier: MIT
"""Training data: splits, batch order and loaders that gather whole batches at once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from eqcalc.datasets import Dataset
from eqcalc.datasets.checks import list_structures, not_finite
from eqcalc.neighbors import Pairs, all_pairs, pairs_within
from eqcalc.structures import Structures
from eqcalc.training.config import DataConfig, TrainingConfig
from eqcalc.training.settings import require
from eqcalc.validation import InvalidInputError, one_of

#: Atoms per batch for prediction.
EVALUATION_ATOMS = 600
#: The same on a GPU.
EVALUATION_ATOMS_OF_A_GPU = 4096
#: Larger molecules use pairs within the cutoff instead of all pairs.
ALL_PAIRS_ATOMS = 32
#: Number of structures searched for pairs within the cutoff.
_STRUCTURES = 200

_log = logging.getLogger(__name__)


class TrainingWarning(UserWarning):
    """A training may not have the intended result."""


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of the structures of each part of a dataset, ascending within each."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def sizes(self) -> dict[str, int]:
        """Return the number of structures of each part."""
        return {name: len(rows) for name, rows in vars(self).items()}


def split_dataset(dataset: Dataset, config: DataConfig) -> Split:
    """Split a dataset according to `config`, or raise InvalidInputError."""
    if config.split is not None:
        parts = dict(dataset.splits[one_of("data.split", config.split, dataset.splits)])
        expected = f"a split of {config.path} with training structures"
        require(len(parts.get("training", ())) > 0, "data.split", expected, config.split)
        nothing = np.empty(0, dtype=np.int64)
        return Split(*(parts.get(name, nothing) for name in ("training", "validation", "test")))
    assert config.training is not None
    assert config.validation is not None
    left = len(dataset) - config.validation - (config.test or 0)
    expected = f"at most {max(left, 0)}, which the {len(dataset)} structures of {config.path} leave"
    require(config.training <= left, "data.training", expected, config.training)
    order = np.random.default_rng(config.seed).permutation(len(dataset))
    validation, rest = order[: config.validation], order[config.validation :]
    training, rest = rest[: config.training], rest[config.training :]
    test = rest if config.test is None else rest[len(rest) - config.test :]
    return Split(*(np.sort(part) for part in (training, validation, test)))


def check_labels(config: TrainingConfig, dataset: Dataset, split: Split) -> None:
    """Reject missing labels; log which are partly missing or unused."""
    path = config.data.path
    if not config.without_epochs:
        expected = f"a split of {path} with validation structures"
        require(len(split.validation) > 0, "data.split", expected, config.data.split)
    for name in config.quantities:
        expected = f"a label of {path}, which has {', '.join(dataset.quantities) or 'none'}"
        require(name in dataset.quantities, f"loss.{name}", expected, name)
        for part in ("training", "validation"):
            present = dataset.present(name)[getattr(split, part)]
            n, known = len(present), int(present.sum())
            if n and not known:
                problem = f"none of the {n} {part} structures of {path} has this label"
                raise InvalidInputError(problem, key=f"loss.{name}", value=part)
            if known < n:
                _log.info("%s: %d of %d %s structures have it", name, known, n, part)
    for name in dataset.quantities:
        if name not in config.quantities:
            _log.info("%s: in %s, but not trained", name, path)


def check_numbers(config: TrainingConfig, dataset: Dataset, split: Split) -> None:
    """Reject non-finite structures and labels in any part of the data."""
    rows = np.sort(np.concatenate(list(vars(split).values())))
    found = not_finite(dataset.subset(rows), config.quantities)
    if found:
        where = {name: rows[indices] for name, indices in found.items()}
        raise InvalidInputError(
            f"{config.data.path} has non-finite values: {list_structures(where)}",
            key="data.path",
            value={name: indices.tolist() for name, indices in where.items()},
            advice="correct them, or leave these structures out; an unknown label is left out of "
            "the structure instead",
        )


def warn_without_pairs(dataset: Dataset, split: Split, cutoff: float) -> None:
    """Warn if no atom has a neighbour within the cutoff [Å]."""
    structures = dataset.structures(split.training[:_STRUCTURES])
    if int(structures.counts.max()) > 1 and not len(pairs_within(structures, cutoff).receiver):
        warnings.warn(
            f"model.representation.cutoff: no atoms are within {cutoff:g} Å of each other in the "
            "training structures, so that the network sees no geometry at all",
            TrainingWarning,
            stacklevel=2,
        )


class Batch:
    """Structures, their pairs and labels.

    Not a dataclass, since Lightning would convert its tensors, including positions and
    energies, to the precision of the network. For labels and masks see
    :meth:`eqcalc.datasets.Dataset.labels`.
    """

    def __init__(
        self,
        structures: Structures,
        pairs: Pairs,
        labels: dict[str, Tensor],
        present: dict[str, Tensor],
    ) -> None:
        self.structures = structures
        self.pairs = pairs
        self.labels = labels
        self.present = present

    def to(self, device: torch.device | str) -> Batch:
        """Move to `device`."""
        return Batch(
            self.structures.to(device),
            self.pairs.to(device),
            {name: values.to(device) for name, values in self.labels.items()},
            {name: known.to(device) for name, known in self.present.items()},
        )


class Batches(TorchDataset[Batch]):
    """Collates a batch, with the labels `names`, from an array of indices.

    Whole arrays are gathered at once. For identical small molecules all pairs are used, built
    once per batch size; other structures use the pairs within the `cutoff` of the model [Å].
    """

    def __init__(self, dataset: Dataset, names: Sequence[str], cutoff: float) -> None:
        self.dataset = dataset
        self.names = tuple(names)
        self.cutoff = cutoff
        self._static: dict[tuple[int, int], Pairs] = {}

    def __getitem__(self, indices: np.ndarray) -> Batch:
        structures = self.dataset.structures(indices)
        return Batch(structures, self._pairs(structures), *self.dataset.labels(indices, self.names))

    def _pairs(self, structures: Structures) -> Pairs:
        if structures.periodic or (structures.uniform or ALL_PAIRS_ATOMS) >= ALL_PAIRS_ATOMS:
            return pairs_within(structures, self.cutoff)
        assert structures.uniform is not None
        key = (structures.n_structures, structures.uniform)
        if key not in self._static:
            self._static[key] = all_pairs(structures)
        return self._static[key]


class BatchOrder(Sampler[np.ndarray]):
    """Order of the structures: a permutation determined by seed and epoch.

    A resumed training therefore sees the same batches. Each process takes its share of every
    batch; the batch size is the total over processes. An incomplete last batch is dropped.
    """

    def __init__(
        self, indices: np.ndarray, batch_size: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        expected = f"a multiple of the {processes} processes"
        require(batch_size % processes == 0, "optimizer.batch_size", expected, batch_size)
        self.indices = np.asarray(indices)
        self.batch_size = min(batch_size, len(self.indices) // processes * processes)
        expected = f"at least a structure for each of the {processes} processes"
        require(self.batch_size > 0, "data.training", expected, len(self.indices))
        self.seed = seed
        self.rank = rank
        self.processes = processes
        #: Current epoch; Lightning sets it through :meth:`set_epoch`.
        self.epoch = 0
        #: Batches of the first iteration that an interrupted training has seen.
        self.skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Select the permutation of `epoch`."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.indices) // self.batch_size

    def __iter__(self) -> Iterator[np.ndarray]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.indices)
        first, self.skipped = self.skipped, 0
        for step in range(first, len(self)):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield np.sort(batch[self.rank :: self.processes])


def evaluation_batches(
    dataset: Dataset, indices: np.ndarray, atoms: int = EVALUATION_ATOMS
) -> list[np.ndarray]:
    """Divide `indices` into batches of approximately equal numbers of atoms."""
    if len(indices) == 0:
        return []
    before = np.cumsum(dataset.counts[indices]) - dataset.counts[indices]
    number = before // atoms
    return np.split(indices, np.flatnonzero(np.diff(number)) + 1)


def loader(batches: Batches, order: Sampler[np.ndarray] | list[np.ndarray]) -> DataLoader[Batch]:
    """Return a loader that yields one batch for each index array of `order`."""
    # a loader without its own generator draws from the global one
    return DataLoader(batches, sampler=order, batch_size=None, generator=torch.Generator())
