# SPDX-License-Identifier: MIT
"""The folder of a run: its files, and the settings that must agree to resume it."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from eqcalc import __version__, files
from eqcalc.datasets import Dataset
from eqcalc.labelling.sampling import sampled_temperatures
from eqcalc.models.checkpoint import read_header
from eqcalc.models.compositions import Compositions
from eqcalc.models.potential import Potential
from eqcalc.training.config import TrainingConfig
from eqcalc.training.data import Split
from eqcalc.training.loss import Loss
from eqcalc.validation import InvalidFileError, InvalidInputError, by_dotted_key

#: Descriptions of the hashes in the identity of a run.
_NAMES = {
    "dataset": "content of the file of data.path",
    "start_from": "content of the file of model.start_from",
}


class RunFolder:
    """Folder ``config.output`` of a run."""

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        self.path = config.output
        #: The model with the lowest validation loss so far.
        self.model = self.path / "model.eqc"
        #: Metrics of every epoch.
        self.log = self.path / "log.csv"
        #: Everything needed to resume.
        self.checkpoint = self.path / "checkpoints" / "last.ckpt"
        self._state_path = self.path / "run.json"
        start = config.model.start_from
        self._identity = {
            "settings": _identity(config),
            "dataset": files.file_hash(config.data.path),
            "start_from": None if start is None else files.file_hash(start),
        }

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Create the folder, and lock it against other processes."""
        with ExitStack() as held:
            try:
                files.make_folder(self.path)
                held.enter_context(files.exclusive(self.path / ".lock"))
            except BlockingIOError:
                problem = f"another process is training in {self.path}"
                raise _refusal(
                    problem, self.path, "wait until it has ended, or choose another folder"
                ) from None
            except OSError as error:
                raise _refusal(str(error), self.path) from error
            yield

    def resume_from(self) -> Path | None:
        """Return the checkpoint to resume from, or None if the run has none yet.

        Raises for a different run, and for a checkpoint that is missing, damaged, or beyond the
        requested number of epochs.
        """
        state = self._state()
        if state is None:
            if self.model.exists():
                problem = f"{self.model} exists, but was not left by this run"
                raise _refusal(problem, self.model, "choose another folder")
            return None
        if self.checkpoint.exists():
            self._check_epochs()
            return self.checkpoint
        # a run may have been killed before its first checkpoint, in or after its first epoch
        if "finished" in state or self._logged_epochs() > 1:
            problem = f"{self.checkpoint} is missing; the run cannot be resumed without it"
            raise _refusal(problem, self.checkpoint, f"put it back, {self._advice()}")
        return None

    def _check_epochs(self) -> None:
        """Reject a checkpoint that cannot be read or is beyond the requested number of epochs."""
        try:
            content = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            epochs = content["callbacks"]["Keeper"]["epochs"]
        except Exception:  # damaged files raise errors of many types
            problem = f"the checkpoint {self.checkpoint} is damaged and cannot be read"
            advice = f"put a copy of it back, {self._advice()}"
            raise _refusal(problem, self.checkpoint, advice) from None
        if epochs > self.config.stopping.epochs:
            raise InvalidInputError(
                f"{self.path} has been trained for {epochs} epochs already",
                key="stopping.epochs",
                value=self.config.stopping.epochs,
                expected=f"{epochs} or more, or another output",
            )

    def _advice(self) -> str:
        return (
            f"choose another output (with model.start_from: {self.model} it starts from the best "
            "model so far), or remove the folder to start over"
        )

    def _logged_epochs(self) -> int:
        if not self.log.exists():
            return 0
        return len(self.log.read_text(encoding="utf-8").splitlines()) - 1

    def begin(self) -> None:
        """Store the identity of the run."""
        (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.config.settings(), sort_keys=False, allow_unicode=True)
        files.write_atomically(self.path / "config.yaml", text)
        self._write_state({})

    def finished(self) -> bool:
        """Whether the run is finished under the current stopping criteria."""
        state = self._state()
        return state is not None and state.get("finished") == self._stopping()

    def finish(self, finished: bool) -> None:
        """Record the end of training, by a stopping criterion or the time limit."""
        self._write_state({"finished": self._stopping() if finished else None})

    def _stopping(self) -> dict[str, Any]:
        return {key: getattr(self.config.stopping, key) for key in ("epochs", "patience")}

    def _state(self) -> dict[str, Any] | None:
        """Return the stored state of the run, checked to be the same run, or None."""
        if not self._state_path.exists():
            return None
        try:
            state = json.loads(self._state_path.read_text(encoding="utf-8"))
            identity = dict(state["identity"])
        except (OSError, ValueError, KeyError, TypeError):
            problem = f"{self._state_path} is damaged; the run cannot be identified"
            advice = f"put a copy of it back, {self._advice()}"
            raise _refusal(problem, self._state_path, advice) from None
        before, now = by_dotted_key(identity), by_dotted_key(self._identity)
        before.setdefault("settings.optimizer.name", "adamw")  # the only one up to version 0.4
        unnamed = "settings.model.representation"
        if identity.get("start_from") is None and before.get(unnamed, "") is None:
            del before[unnamed]
            before[f"{unnamed}.name"] = "painn"  # the default up to version 0.2
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                what = _NAMES.get(key, key.removeprefix("settings."))
                told = f"{before.get(key)!r} there, {now.get(key)!r} here"
                problem = f"{self.path} holds a run with another {what} ({told})"
                advice = "choose another output, or remove the folder to start over"
                raise _refusal(problem, self.path, advice)
        return state

    def _write_state(self, more: dict[str, Any]) -> None:
        text = json.dumps({"identity": self._identity, **more}, indent=1)
        files.write_atomically(self._state_path, text)


def _refusal(problem: str, path: Path, advice: str = "") -> InvalidInputError:
    return InvalidInputError(problem, key="output", value=path, advice=advice)


def _identity(config: TrainingConfig) -> dict[str, Any]:
    """Return the settings that determine the results; files are identified by content."""
    settings = config.settings()
    settings.pop("stopping", None)
    settings.pop("trainer", None)
    if settings.get("schedule", {}).get("name") == "cosine":  # which depends on its length
        settings["stopping"] = {"epochs": config.stopping.epochs}
    del settings["output"], settings["data"]["path"], settings["model"]["start_from"]
    return settings


def training_record(
    config: TrainingConfig, dataset: Dataset, split: Split, loss: Loss | None, potential: Potential
) -> dict[str, Any]:
    """Return the training record at the start.

    Files are named without folders, since the record is published with the model. The record
    of a fine-tuned model contains that of its parent under ``started_from``. Gauss–Newton steps
    have no `loss`.
    """
    settings, trainer = config.settings(), config.trainer
    device = "cuda" if trainer.accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    del settings["output"]
    settings["data"]["path"] = config.data.path.name
    libraries = ("torch", "numpy") if loss is None else ("torch", "lightning", "numpy")
    record: dict[str, Any] = {
        "config": settings,
        "dataset": {**dataset_record(dataset, split.training), **split.sizes()},
        "loss_scales": {} if loss is None else dict(loss.scales),
        "parameters": sum(p.numel() for p in potential.parameters()),
        "versions": {
            "eqcalc": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in libraries},
        },
        "hardware": f"{trainer.num_nodes} × {trainer.devices} × {hardware(device)}",
    }
    start = config.model.start_from
    if start is not None:
        settings["model"]["start_from"] = start.name
        record["started_from"] = start_record(start)
    return record


def unfinished(training: Mapping[str, Any]) -> str:
    """Return how far the training of a model has come, from its record; empty if to its end."""
    if "best_epoch" not in training or training.get("stopped_by", "hours") != "hours":
        return ""  # without epochs, or ended by one of its criteria
    epochs = training["config"]["stopping"]["epochs"]
    return (
        f"its training is not finished: the model is that of epoch {training['best_epoch']} of "
        f"{epochs}; rerun eqcalc train to resume it"
    )


def dataset_record(dataset: Dataset, training: np.ndarray) -> dict[str, Any]:
    """Return what a model tells of a dataset of which it knows the structures `training`."""
    shown = dataset.structures(training)
    return {
        "file": dataset.path.name,
        "sha256": files.file_hash(dataset.path),
        "structures": len(dataset),
        "elements": list(dataset.elements),
        "compositions": Compositions.of(shown.numbers.numpy(), shown.counts.numpy()).settings(),
        "temperatures": sampled_temperatures(dataset.provenance),
    }


def start_record(start: Path) -> dict[str, Any]:
    """Return what a fine-tuned model tells of the model that it was made from."""
    header = read_header(start)
    return {
        "file": start.name,
        "hash": header["hash"],
        "level_of_theory": header["metadata"].get("level_of_theory"),
        "training": header["metadata"].get("training"),
    }


def hardware(device: torch.device | str) -> str:
    """Return a description of a device, for a CPU with the number of threads."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)"


def require_start(config: TrainingConfig) -> None:
    """Raise InvalidInputError if the model to start from, if given, cannot be read."""
    start = config.model.start_from
    if start is not None:
        try:
            read_header(start)
        except InvalidFileError as error:
            key = "model.start_from"
            raise InvalidInputError(str(error), key=key, value=str(start)) from error
