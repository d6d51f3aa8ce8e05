# SPDX-License-Identifier: MIT
"""Train a potential: one call that begins a run, resumes it, or returns a finished one."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from eqcalc.datasets import Dataset
from eqcalc.models.checkpoint import load_model, save_model
from eqcalc.models.potential import Potential
from eqcalc.training.config import TrainingConfig
from eqcalc.training.data import BatchOrder, Split, split_dataset
from eqcalc.training.evaluate import evaluate
from eqcalc.training.folder import RunFolder
from eqcalc.training.initial import initial_potential, label_scales
from eqcalc.training.loss import Loss
from eqcalc.training.record import training_record
from eqcalc.training.settings import ConfigError

if TYPE_CHECKING:
    from eqcalc.training.callbacks import Keeper

__all__ = ["TrainingResult", "train"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Parameters
    ----------
    model
        The model with the lowest validation loss.
    path
        Its file.
    folder
        Folder of the run.
    record
        Training record, as in ``model.metadata["training"]``.
    finished
        False if the time limit came first; calling again goes on.
    """

    model: Potential
    path: Path
    folder: Path
    record: dict[str, Any]
    finished: bool


def train(
    config: TrainingConfig | Mapping[str, Any] | str | Path, *, progress: bool = True
) -> TrainingResult:
    """Train a potential.

    The folder ``config.output`` receives ``config.yaml``, ``log.csv`` (one row
    per epoch), ``model.eqc`` (the model with the lowest validation loss so far),
    ``checkpoints/last.ckpt`` (everything needed to resume) and, at the end,
    ``test.csv``, ``test.json`` and parity plots of the held-out structures. A
    run that was killed goes on when called again with the same settings.

    Parameters
    ----------
    config
        Settings, or a YAML file or mapping of them.
    progress
        Show a progress bar on a terminal.

    Raises
    ------
    ConfigError
        A setting is wrong, the dataset has no such labels, or the folder holds
        a run with other settings.
    """
    if isinstance(config, str | Path):
        config = TrainingConfig.read(config)
    elif not isinstance(config, TrainingConfig):
        config = TrainingConfig.from_settings(config)
    dataset = Dataset.open(config.data.path)
    split = split_dataset(dataset, config.data)
    _check_labels(config, dataset, split)

    folder = RunFolder(config)
    # new networks draw from the global random stream: leave it as it was
    with torch.random.fork_rng(devices=[]):
        if folder.finished():
            _log.info("%s: this run is finished", config.output)
        else:
            _fit(config, dataset, split, folder, progress)
        model = load_model(folder.model)
    return TrainingResult(
        model, folder.model, folder.path, model.metadata["training"], folder.finished()
    )


def _check_labels(config: TrainingConfig, dataset: Dataset, split: Split) -> None:
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


def _fit(
    config: TrainingConfig, dataset: Dataset, split: Split, folder: RunFolder, progress: bool
) -> None:
    """Train until a rule of stopping applies."""
    import lightning

    from eqcalc.training.callbacks import Keeper
    from eqcalc.training.module import TrainingData, TrainingModule

    potential = initial_potential(config, dataset, split.training)
    scales = label_scales(dataset.subset(split.training))
    loss = Loss(
        {name: term.weight for name, term in config.loss.items()},
        {name: term.scale or scales[name] for name, term in config.loss.items()},
    )
    batch_size = config.optimizer.batch_size
    steps = len(BatchOrder(split.training, batch_size, config.seed))
    module = TrainingModule(potential, loss, config, steps)
    data = TrainingData(
        dataset, split, config.quantities, potential.cutoff, batch_size, config.seed
    )
    levels = {name: dataset.levels_of_theory[name] for name in config.quantities}
    record = training_record(config, dataset, split, loss, potential)
    charges = dataset.structures(split.training).charge.unique().tolist()

    def save_best(averaged: Potential, figures: dict[str, Any]) -> None:
        averaged.metadata = {
            "level_of_theory": levels,
            "charges": charges,
            "training": {**record, **figures},
        }
        save_model(averaged, folder.model)

    keeper = Keeper(folder, config.stopping, save_best, progress)
    accelerator = config.trainer.accelerator
    if accelerator == "auto":
        # not Lightning's choice: positions are float64, which Apple's GPU lacks
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    with _quiet_lightning():
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=config.trainer.devices,
            num_nodes=config.trainer.num_nodes,
            strategy=config.trainer.strategy,
            precision=config.trainer.precision,  # type: ignore[arg-type]
            max_epochs=config.stopping.epochs,
            gradient_clip_val=config.optimizer.max_gradient_norm,
            callbacks=[keeper],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            inference_mode=False,  # forces need a gradient in validation too
            use_distributed_sampler=False,
            default_root_dir=folder.path,
        )
        if trainer.is_global_zero:
            folder.begin()
        resume = folder.checkpoint if folder.checkpoint.exists() else None
        if resume is not None:
            _log.info("resuming %s", folder.path)
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    if trainer.is_global_zero:
        _conclude(config, dataset, split, folder, keeper)


def _conclude(
    config: TrainingConfig, dataset: Dataset, split: Split, folder: RunFolder, keeper: Keeper
) -> None:
    """Complete the record of the best model and judge it by the held-out structures."""
    model = load_model(folder.model)
    finished = keeper.stopped_by != "hours"
    record = model.metadata["training"]
    record |= {"epochs": keeper.epochs, "hours": keeper.hours, "stopped_by": keeper.stopped_by}
    if finished and len(split.test):
        table = evaluate(folder.model, dataset, split="test", names=config.quantities)
        table.write(folder.path, "test")
        record["test"] = table.settings()["rows"]
        _log.info("%d held-out structures:\n%s", len(split.test), table)
    save_model(model, folder.model)
    folder.finish(finished)


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hide Lightning's announcements and its advice on loaders we do not use."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*overridden `transfer_batch_to_device`.*")
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
