# SPDX-License-Identifier: MIT
"""Train a potential: start or resume a run, or return a finished one."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from eqcalc.interruption import stopping
from eqcalc.models.checkpoint import load_model, save_model
from eqcalc.models.potential import Potential, PotentialConfig, References
from eqcalc.quantities import quantity
from eqcalc.training.config import TrainerConfig, TrainingConfig
from eqcalc.training.data import (
    Split,
    check_labels,
    check_numbers,
    split_dataset,
    warn_without_pairs,
)
from eqcalc.training.evaluation import evaluate, predictions
from eqcalc.training.loss import Loss
from eqcalc.training.run_folder import RunFolder, require_start, training_record
from eqcalc.training.template import open_dataset
from eqcalc.validation import InvalidInputError, MissingExtraError, located, one_of

if TYPE_CHECKING:
    import lightning

    from eqcalc.training.callbacks import Keeper
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
    if importlib.util.find_spec("lightning") is None:
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
    from eqcalc.training.callbacks import Keeper

    with _quiet_lightning(), contextlib.ExitStack() as held, stopping() as request:
        keeper = Keeper(folder, config.stopping, progress, request)
        trainer = _trainer(
            config.trainer,
            folder.path,
            max_epochs=config.stopping.epochs,
            gradient_clip_val=config.optimizer.max_gradient_norm,
            callbacks=[keeper],
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
            _conclude(config, dataset, split, folder, keeper)


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
    config: TrainingConfig, dataset: Dataset, split: Split, folder: RunFolder, keeper: Keeper
) -> None:
    """Complete the record of the best model and evaluate it on the held-out structures."""
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


# --- the initial model: new, or from an existing one --------------------------------

# Most of a total energy of thousands of eV is described by one energy per element, given or fitted
# to the training set by linear least squares; likewise the isotropic part of the polarizability
# and other extensive scalars.

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
