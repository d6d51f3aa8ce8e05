# SPDX-License-Identifier: MIT
"""The folder of a run: its files, and what must agree for going on with it."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from eqcalc import __version__, files
from eqcalc.datasets import Dataset
from eqcalc.models.checkpoint import read_header
from eqcalc.models.compositions import Compositions
from eqcalc.models.potential import Potential
from eqcalc.training.config import TrainingConfig
from eqcalc.training.data import Split, file_hash
from eqcalc.training.loss import Loss
from eqcalc.validation import InvalidFileError, InvalidInputError


class RunFolder:
    """Folder of a run.

    Parameters
    ----------
    config
        Settings of the run; the folder is ``config.output``.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        self.path = config.output
        #: The model with the lowest validation loss so far.
        self.model = self.path / "model.eqc"
        #: Figures of every epoch.
        self.log = self.path / "log.csv"
        #: All that is needed to go on.
        self.checkpoint = self.path / "checkpoints" / "last.ckpt"
        self._state_path = self.path / "run.json"
        start = config.model.start_from
        self._identity = {
            "settings": _identity(config),
            "dataset": file_hash(config.data.path),
            "start_from": None if start is None else file_hash(start),
        }

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Make the folder, and keep a second process from training in it.

        Raises
        ------
        InvalidInputError
            Another process trains in it, or it cannot be written.
        """
        with ExitStack() as held:
            try:
                files.make_folder(self.path)
                held.enter_context(files.exclusive(self.path / ".lock"))
            except BlockingIOError:
                raise InvalidInputError(
                    f"another process is training in {self.path}; wait until it has "
                    "ended, or choose another folder",
                    key="output",
                ) from None
            except OSError as error:
                raise InvalidInputError(str(error), key="output") from error
            yield

    def resume_from(self) -> Path | None:
        """Return the checkpoint to go on from, or None if the run has none yet.

        Raises
        ------
        InvalidInputError
            The folder holds another run, or one that cannot go on: its checkpoint is
            missing, damaged, or beyond the last epoch wanted.
        """
        if not self._state_path.exists():
            if self.model.exists():
                raise InvalidInputError(
                    f"{self.model} exists, but was not left by this run; choose another folder",
                    key="output",
                )
            return None
        state = self._state()
        self._compare(state["identity"])
        if self.checkpoint.exists():
            self._check(self.checkpoint)
            return self.checkpoint
        # a run may have been killed before its first checkpoint, in or after its first epoch
        if "finished" in state or self._logged_epochs() > 1:
            raise InvalidInputError(
                f"{self.checkpoint} is missing, without which the run cannot go on; put "
                f"it back, {self._advice()}",
                key="output",
            )
        return None

    def _check(self, checkpoint: Path) -> None:
        """Refuse a checkpoint that cannot be read, or that is beyond the last epoch wanted."""
        try:
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
            epochs = content["callbacks"]["Keeper"]["epochs"]
        except Exception:  # damaged files fail in many ways
            raise InvalidInputError(
                f"the checkpoint {checkpoint} is damaged and cannot be read; put a copy "
                f"of it back, {self._advice()}",
                key="output",
            ) from None
        if epochs > self.config.stopping.epochs:
            raise InvalidInputError(
                f"{self.path} has been trained for {epochs} epochs already, more "
                f"than {self.config.stopping.epochs}; state {epochs} or more, or choose another "
                "output",
                key="stopping.epochs",
            )

    def _advice(self) -> str:
        return (
            f"choose another output (with model.start_from: {self.model} it starts from the best "
            "model so far), or remove the folder to begin anew"
        )

    def _logged_epochs(self) -> int:
        if not self.log.exists():
            return 0
        return len(self.log.read_text(encoding="utf-8").splitlines()) - 1

    def begin(self) -> None:
        """Write down which run this is."""
        (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.config.settings(), sort_keys=False, allow_unicode=True)
        (self.path / "config.yaml").write_text(text, encoding="utf-8")
        self._write_state({})

    def finished(self) -> bool:
        """Whether the run has ended under the present rules of stopping."""
        if not self._state_path.exists():
            return False
        state = self._state()
        self._compare(state["identity"])
        return state.get("finished") == self._stopping()

    def finish(self, finished: bool) -> None:
        """Note that training has ended, by a rule of stopping or by the time limit."""
        self._write_state({"finished": self._stopping() if finished else None})

    def _stopping(self) -> dict[str, Any]:
        settings = self.config.settings()["stopping"]
        return {key: settings[key] for key in ("epochs", "patience")}

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads(self._state_path.read_text(encoding="utf-8"))
            return {**state, "identity": dict(state["identity"])}
        except (OSError, ValueError, KeyError, TypeError):
            raise InvalidInputError(
                f"{self._state_path} is damaged, so that nobody can tell which run this "
                f"is; put a copy of it back, {self._advice()}",
                key="output",
            ) from None

    def _write_state(self, more: dict[str, Any]) -> None:
        text = json.dumps({"identity": self._identity, **more}, indent=1)
        files.write_atomically(self._state_path, text)

    def _compare(self, old: dict[str, Any]) -> None:
        """Refuse to resume a run made with other settings or data."""
        advice = "choose another output, or remove the folder to begin anew"
        before, now = _flat(old["settings"]), _flat(_identity(self.config))
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                raise InvalidInputError(
                    f"{self.path} holds a run with other settings "
                    f"({key}: {before.get(key)!r} there, {now.get(key)!r} here); {advice}",
                    key="output",
                )
        for key in ("dataset", "start_from"):
            if old[key] != self._identity[key]:
                raise InvalidInputError(
                    f"{self.path} holds a run with another content of the file of "
                    f"{'data.path' if key == 'dataset' else 'model.start_from'}; {advice}",
                    key="output",
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


def training_record(
    config: TrainingConfig, dataset: Dataset, split: Split, loss: Loss, potential: Potential
) -> dict[str, Any]:
    """Return what is known of a training when it begins.

    Files are named without their folders: the record is public with the model.
    A model made from another carries the record of that one, with its level of
    theory, under ``started_from``.
    """
    settings = config.settings()
    del settings["output"]
    settings["data"]["path"] = config.data.path.name
    shown = dataset.structures(split.training)
    compositions = Compositions.of(shown.numbers.numpy(), shown.counts.numpy())
    record: dict[str, Any] = {
        "config": settings,
        "dataset": {
            "file": config.data.path.name,
            "sha256": file_hash(config.data.path),
            "structures": len(dataset),
            "elements": list(dataset.elements),
            "compositions": compositions.settings(),
            **split.sizes(),
        },
        "loss_scales": dict(loss.scales),
        "parameters": sum(p.numel() for p in potential.parameters()),
        "versions": {
            "eqcalc": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "lightning", "numpy")},
        },
        "hardware": _hardware(config),
    }
    start = config.model.start_from
    if start is not None:
        header = read_header(start)
        settings["model"]["start_from"] = start.name
        record["started_from"] = {
            "file": start.name,
            "hash": header["hash"],
            "level_of_theory": header["metadata"].get("level_of_theory"),
            "training": header["metadata"].get("training"),
        }
    return record


def _hardware(config: TrainingConfig) -> str:
    settings = config.trainer
    if settings.accelerator in {"auto", "gpu", "cuda"} and torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return f"{settings.num_nodes} × {settings.devices} × {device}"


def require_start(config: TrainingConfig) -> None:
    """Raise InvalidInputError unless the model to start from, if one is stated, can be read."""
    if config.model.start_from is not None:
        try:
            read_header(config.model.start_from)
        except InvalidFileError as error:
            raise InvalidInputError(str(error), key="model.start_from") from error
