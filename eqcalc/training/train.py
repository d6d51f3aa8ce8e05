# SPDX-License-Identifier: MIT
"""Train a potential: one call that begins a run, resumes it, or returns a finished one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import platform
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from eqcalc.datasets import Dataset
from eqcalc.models.checkpoint import load_model, save_model
from eqcalc.models.potential import Potential
from eqcalc.training.config import ConfigError, TrainingConfig
from eqcalc.training.data import BatchOrder, Split, split_dataset
from eqcalc.training.initial import initial_potential, training_scales
from eqcalc.training.loss import Loss

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

    run = _Run(config, dataset, split)
    # new networks draw from the global random stream: leave it as it was
    with torch.random.fork_rng(devices=[]):
        if run.finished():
            _log.info("%s: this run is finished", config.output)
        else:
            _fit(run, progress)
        return run.result()


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


# --- the folder of a run ------------------------------------------------------------


class _Run:
    """Files of a run and what must agree for resuming it."""

    def __init__(self, config: TrainingConfig, dataset: Dataset, split: Split) -> None:
        self.config = config
        self.dataset = dataset
        self.split = split
        self.folder = config.output
        self.model_path = self.folder / "model.eqc"
        self.log_path = self.folder / "log.csv"
        self.checkpoint_path = self.folder / "checkpoints" / "last.ckpt"
        self._state_path = self.folder / "run.json"
        start = config.model.start_from
        self.identity = {
            "settings": _identity(config),
            "dataset": _file_hash(config.data.path),
            "start_from": None if start is None else _file_hash(start),
        }

    def begin(self) -> None:
        """Make the folder, or check that it holds the same run."""
        if self._state_path.exists():
            self._compare(self._state()["identity"])
        elif self.model_path.exists():
            raise ConfigError(
                f"output: {self.model_path} exists, but was not left by this run; choose another "
                "folder"
            )
        (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.config.settings(), sort_keys=False, allow_unicode=True)
        (self.folder / "config.yaml").write_text(text, encoding="utf-8")
        self._write_state({})

    def finished(self) -> bool:
        """Whether the run has ended under the present rules of stopping."""
        if not self._state_path.exists():
            return False
        state = self._state()
        self._compare(state["identity"])
        return state.get("finished") == self._stopping()

    def finish(self, finished: bool) -> None:
        """Note that training has ended."""
        self._write_state({"finished": self._stopping()} if finished else {})

    def result(self) -> TrainingResult:
        """Return what is in the folder."""
        model = load_model(self.model_path)
        record = model.metadata["training"]
        return TrainingResult(model, self.model_path, self.folder, record, self.finished())

    def _stopping(self) -> dict[str, Any]:
        settings = self.config.settings()["stopping"]
        return {key: settings[key] for key in ("epochs", "patience")}

    def _state(self) -> dict[str, Any]:
        return json.loads(self._state_path.read_text(encoding="utf-8"))

    def _write_state(self, more: dict[str, Any]) -> None:
        temporary = self._state_path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"identity": self.identity, **more}, indent=1))
        temporary.replace(self._state_path)

    def _compare(self, old: dict[str, Any]) -> None:
        """Refuse to resume a run made with other settings or data."""
        advice = "choose another output, or remove the folder to begin anew"
        before, now = _flat(old["settings"]), _flat(_identity(self.config))
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                raise ConfigError(
                    f"output: {self.folder} holds a run with other settings "
                    f"({key}: {before.get(key)!r} there, {now.get(key)!r} here); {advice}"
                )
        for key in ("dataset", "start_from"):
            if old[key] != self.identity[key]:
                raise ConfigError(
                    f"output: {self.folder} holds a run with another content of the file of "
                    f"{'data.path' if key == 'dataset' else 'model.start_from'}; {advice}"
                )


def _identity(config: TrainingConfig) -> dict[str, Any]:
    """Return the settings that decide the numbers; files count by content, not by place."""
    settings = config.settings()
    for section in ("stopping", "trainer", "output"):
        if section != "stopping" or settings["schedule"]["name"] != "cosine":
            del settings[section]
    if "stopping" in settings:  # a cosine schedule depends on its length
        settings["stopping"] = {"epochs": settings["stopping"]["epochs"]}
    del settings["data"]["path"], settings["model"]["start_from"]
    return settings


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _file_hash(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- fitting ------------------------------------------------------------------------


def _fit(run: _Run, progress: bool) -> None:
    """Train until a rule of stopping applies."""
    import lightning

    from eqcalc.training.callbacks import Keeper
    from eqcalc.training.module import TrainingData, TrainingModule

    config, dataset, split = run.config, run.dataset, run.split
    began = time.perf_counter()
    potential = initial_potential(config, dataset, split.training)
    scales = training_scales(potential, dataset, split.training)
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
    keeper = Keeper(run.log_path, run.checkpoint_path, config.stopping, progress)
    settings = config.trainer
    accelerator = settings.accelerator
    if accelerator == "auto":
        # not Lightning's choice: positions are float64, which Apple's GPU lacks
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    with _quiet_lightning():
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=settings.strategy,
            precision=settings.precision,  # type: ignore[arg-type]
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
            default_root_dir=run.folder,
        )
        if trainer.is_global_zero:
            run.begin()
        record = _record(run, loss, potential)

        def save(average: Potential, figures: dict[str, Any]) -> None:
            average.metadata = {
                "level_of_theory": {
                    name: dataset.levels_of_theory[name] for name in config.quantities
                },
                "training": {**record, **figures},
            }
            save_model(average, run.model_path)

        keeper.save_best = save
        resume = run.checkpoint_path if run.checkpoint_path.exists() else None
        if resume is not None:
            _log.info("resuming %s", run.folder)
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    if trainer.is_global_zero and not trainer.interrupted:
        _conclude(run, keeper, time.perf_counter() - began)


def _conclude(run: _Run, keeper: Any, seconds: float) -> None:
    """Complete the record of the best model and judge it by the held-out structures."""
    from eqcalc.training.evaluate import evaluate

    model = load_model(run.model_path)
    record = model.metadata["training"]
    record |= {"epochs": keeper.epochs, "hours": keeper.hours}
    finished = keeper.stopped_by != "hours"
    record["stopped_by"] = keeper.stopped_by
    if finished and len(run.split.test):
        names = run.config.quantities
        table = evaluate(model, run.dataset, run.split.test, names=names)
        record["test"] = table.settings()["rows"]
        table.write(run.folder, "test")
        _log.info("%d held-out structures:\n%s", len(run.split.test), table)
    save_model(model, run.model_path)
    run.finish(finished)


def _record(run: _Run, loss: Loss, potential: Potential) -> dict[str, Any]:
    """Return how the model is made, for its file; without paths of this machine."""
    config, dataset = run.config, run.dataset
    settings = config.settings()
    del settings["output"]
    settings["data"]["path"] = config.data.path.name
    record: dict[str, Any] = {
        "config": settings,
        "dataset": {
            "file": config.data.path.name,
            "sha256": run.identity["dataset"],
            "structures": len(dataset),
            "elements": list(dataset.elements),
            **run.split.sizes(),
        },
        "loss_scales": dict(loss.scales),
        "parameters": sum(p.numel() for p in potential.parameters()),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "lightning", "numpy")},
            "eqcalc": _own_version(),
        },
        "hardware": _hardware(config),
    }
    if config.model.start_from is not None:
        start = load_model(config.model.start_from)
        settings["model"]["start_from"] = config.model.start_from.name
        record["started_from"] = {
            "file": config.model.start_from.name,
            "hash": start.metadata.get("hash"),
            "level_of_theory": start.metadata.get("level_of_theory"),
            "training": start.metadata.get("training"),
        }
    return record


def _own_version() -> str:
    from eqcalc import __version__

    return __version__


def _hardware(config: TrainingConfig) -> str:
    if config.trainer.accelerator in {"auto", "gpu", "cuda"} and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


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
