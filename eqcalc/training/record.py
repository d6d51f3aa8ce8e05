# SPDX-License-Identifier: MIT
"""The training record: how a model was made, as it travels in its file."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import torch

from eqcalc import __version__
from eqcalc.datasets import Dataset
from eqcalc.models.checkpoint import read_header
from eqcalc.models.compositions import Compositions
from eqcalc.models.potential import Potential
from eqcalc.training.config import TrainingConfig
from eqcalc.training.data import Split, file_hash
from eqcalc.training.loss import Loss

__all__ = ["training_record"]


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
