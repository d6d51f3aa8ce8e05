# SPDX-License-Identifier: MIT
"""Train a potential: start or resume a run, or return a finished one."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from eqcalc.datasets import Dataset
from eqcalc.interruption import stopping
from eqcalc.models.checkpoint import load_model, save_model
from eqcalc.models.potential import Potential
from eqcalc.training.config import (
    AdamWConfig,
    GaussNewtonConfig,
    TrainerConfig,
    TrainingConfig,
)
from eqcalc.training.data import (
    Split,
    check_labels,
    check_numbers,
    split_dataset,
    warn_without_pairs,
)
from eqcalc.training.evaluation import evaluate
from eqcalc.training.few_labels import tangent_fit
from eqcalc.training.initial import initial_potential, label_scales
from eqcalc.training.loss import Loss
from eqcalc.training.run_folder import RunFolder, require_start, training_record
from eqcalc.training.template import open_dataset
from eqcalc.validation import InvalidInputError, MissingExtraError, located, one_of

if TYPE_CHECKING:
    import lightning

    from eqcalc.training.module import TrainingModule

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training.

    Parameters
    ----------
    model, path
        The model with the lowest validation loss, and its file.
    folder
        Folder of the run.
    record
        Training record, as in ``model.metadata["training"]``.
    finished
        False if the time limit was reached; calling again resumes.
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
    ``checkpoints/last.ckpt`` (for resuming) and, at the end, ``test.csv``, ``test.json`` and
    parity plots for the held-out structures. The same call resumes an interrupted run.

    Parameters
    ----------
    config
        Settings, or a YAML file or mapping with settings.
    progress
        Show the progress.

    Raises
    ------
    InvalidInputError
        A setting is invalid, labels are missing or not finite, the folder contains a run
        with other settings or one that cannot be resumed, or another process uses it.
    MissingExtraError
        Lightning is not installed.
    """
    if isinstance(config, str | Path):
        with located(file=config):
            return train(TrainingConfig.read(config), progress=progress)
    if not isinstance(config, TrainingConfig):
        config = TrainingConfig.from_settings(config)
    if not config.without_epochs and importlib.util.find_spec("lightning") is None:
        raise MissingExtraError.of("train", "training", "Lightning")
    dataset = open_dataset(config.data.path)
    split = split_dataset(dataset, config.data)
    check_labels(config, dataset, split)
    require_start(config)
    folder = RunFolder(config)
    # initialisation uses the global random generator: restore it
    with torch.random.fork_rng(devices=[]):
        if folder.finished():
            _log.info("%s: this run is finished", config.output)
        elif config.without_epochs:
            _fit_few(config, dataset, split, folder)
        else:
            _fit(config, dataset, split, folder, progress)
        model = load_model(folder.model)
    return TrainingResult(
        model, folder.model, folder.path, model.metadata["training"], folder.finished()
    )


def _fit(
    config: TrainingConfig, dataset: Dataset, split: Split, folder: RunFolder, progress: bool
) -> None:
    """Train until a stopping criterion is met."""
    from eqcalc.training.callbacks import Checkpoints, Keeper

    assert isinstance(config.optimizer, AdamWConfig)
    with _quiet_lightning(), contextlib.ExitStack() as held, stopping() as request:
        keeper = Keeper(folder, config.stopping, progress, request)
        trainer = _trainer(
            config.trainer,
            folder.path,
            max_epochs=config.stopping.epochs,
            gradient_clip_val=config.optimizer.max_gradient_norm,
            callbacks=[keeper],
            plugins=[Checkpoints()],
        )
        if trainer.is_global_zero:  # of several processes, which train together
            held.enter_context(folder.exclusive())
        resume = folder.resume_from()
        check_numbers(config, dataset, split)
        module = _module(config, dataset, split)
        warn_without_pairs(dataset, split, module.potential.cutoff)
        if trainer.is_global_zero:
            folder.begin()
        if resume is not None:
            _log.info("resuming %s", folder.path)
        trainer.fit(module, ckpt_path=resume, weights_only=True)
        if trainer.is_global_zero:
            end = keeper.stopped_by
            facts = {
                "epochs": keeper.epochs,
                "hours": keeper.hours,
                "stopped_by": end,
                "kernels": module.kernels,
            }
            _conclude(config, dataset, split, folder, facts, finished=end != "hours")


def _fit_few(config: TrainingConfig, dataset: Dataset, split: Split, folder: RunFolder) -> None:
    """Fit the model of the start to few labels."""
    assert config.model.start_from is not None
    assert isinstance(config.optimizer, GaussNewtonConfig)
    with folder.exclusive():
        folder.resume_from()  # refuses the folder of another run
        check_numbers(config, dataset, split)
        folder.begin()
        began = time.monotonic()
        fit = tangent_fit(
            config.model.start_from,
            dataset.subset(split.training),
            quantities=config.quantities,
            tolerated=config.optimizer.tolerated,
            memory=config.optimizer.memory,
            seed=config.seed,
        )
        model = fit.model
        model.metadata["training"] = training_record(config, dataset, split, None, model)
        save_model(model, folder.model)
        hours = (time.monotonic() - began) / 3600.0
        facts = {"hours": hours, "residual": fit.residual, "left_out": fit.left_out}
        _conclude(config, dataset, split, folder, facts, finished=True)


def _module(config: TrainingConfig, dataset: Dataset, split: Split) -> TrainingModule:
    """Return the initial model, its loss, and its metadata."""
    from eqcalc.training.module import TrainingModule

    potential = initial_potential(config, dataset, split.training)
    scales = label_scales(dataset.subset(split.training))
    loss = Loss(
        {name: term.weight for name, term in config.loss.items()},
        {name: term.scale or scales[name] for name, term in config.loss.items()},
        {n: t.linear_beyond for n, t in config.loss.items() if t.linear_beyond is not None},
    )
    module = TrainingModule(potential, loss, config, dataset, split)
    module.averaged.metadata = {
        "level_of_theory": {name: dataset.levels_of_theory[name] for name in config.quantities},
        "charges": dataset.structures(split.training).charge.unique().tolist(),
        "training": training_record(config, dataset, split, loss, potential),
    }
    return module


def _conclude(
    config: TrainingConfig,
    dataset: Dataset,
    split: Split,
    folder: RunFolder,
    facts: Mapping[str, Any],
    *,
    finished: bool,
) -> None:
    """Complete the record of the best model and evaluate it on the held-out structures."""
    model = load_model(folder.model)
    record = model.metadata["training"]
    record |= facts
    save_model(model, folder.model)
    if finished and len(split.test):
        table = evaluate(folder.model, dataset, split="test", names=config.quantities)
        table.write(folder.path, "test")
        record["test"] = table.settings()["rows"]
        save_model(model, folder.model)
        _log.info("%d held-out structures:\n%s", len(split.test), table)
    folder.finish(finished)


def _trainer(config: TrainerConfig, folder: Path, **options: Any) -> lightning.Trainer:
    """Return Lightning's trainer of a run, or raise if it cannot be built here."""
    import lightning
    from lightning.pytorch.strategies import StrategyRegistry

    accelerator = config.accelerator
    if accelerator == "auto":
        # instead of Lightning's choice; see ACCELERATORS
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    elif accelerator != "cpu" and not torch.cuda.is_available():
        problem = f"a GPU is requested, but torch {torch.__version__} sees none"
        key, expected = "trainer.accelerator", "cpu or auto"
        raise InvalidInputError(problem, key=key, value=accelerator, expected=expected)
    strategies = ["auto", *StrategyRegistry.available_strategies()]
    one_of("trainer.strategy", config.strategy, strategies)
    try:
        return lightning.Trainer(
            accelerator=accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            strategy=config.strategy,
            precision=config.precision,  # type: ignore[arg-type]
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            inference_mode=False,  # forces need gradients in validation, too
            use_distributed_sampler=False,
            default_root_dir=folder,
            **options,
        )
    except Exception as error:  # Lightning raises errors of many types
        stated = ", ".join(f"{key}: {value}" for key, value in vars(config).items())
        reason = " ".join(str(error).split())
        raise InvalidInputError(f"not possible here ({stated}): {reason}", key="trainer") from error


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's start-up messages and advice on data loaders."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = {logger: logger.level for logger in loggers}
    advice = "does not have many workers|dataloader is not resumable|"
    advice += "overridden `transfer_batch_to_device`|treespec, LeafSpec"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=f".*({advice})")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in levels.items():
                logger.setLevel(level)
