# SPDX-License-Identifier: MIT
"""The folder of a run: its files, and what must agree for going on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from eqcalc.training.config import TrainingConfig
from eqcalc.training.data import file_hash
from eqcalc.training.settings import ConfigError

__all__ = ["RunFolder"]


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

    def begin(self) -> None:
        """Make the folder, or check that it holds the same run."""
        if self._state_path.exists():
            self._compare(self._state()["identity"])
        elif self.model.exists():
            raise ConfigError(
                f"output: {self.model} exists, but was not left by this run; choose another folder"
            )
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
        """Note that training has ended."""
        self._write_state({"finished": self._stopping()} if finished else {})

    def _stopping(self) -> dict[str, Any]:
        settings = self.config.settings()["stopping"]
        return {key: settings[key] for key in ("epochs", "patience")}

    def _state(self) -> dict[str, Any]:
        return json.loads(self._state_path.read_text(encoding="utf-8"))

    def _write_state(self, more: dict[str, Any]) -> None:
        temporary = self._state_path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"identity": self._identity, **more}, indent=1))
        temporary.replace(self._state_path)

    def _compare(self, old: dict[str, Any]) -> None:
        """Refuse to resume a run made with other settings or data."""
        advice = "choose another output, or remove the folder to begin anew"
        before, now = _flat(old["settings"]), _flat(_identity(self.config))
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                raise ConfigError(
                    f"output: {self.path} holds a run with other settings "
                    f"({key}: {before.get(key)!r} there, {now.get(key)!r} here); {advice}"
                )
        for key in ("dataset", "start_from"):
            if old[key] != self._identity[key]:
                raise ConfigError(
                    f"output: {self.path} holds a run with another content of the file of "
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
