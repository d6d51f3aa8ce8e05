# SPDX-License-Identifier: MIT
"""Where training runs: Lightning's trainer, and what of it can be chosen."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from eqcalc.training.settings import ConfigError, require

if TYPE_CHECKING:
    import lightning


#: Devices; positions are float64, which others lack.
ACCELERATORS = ("auto", "cpu", "gpu", "cuda")
#: Precisions of Lightning.
PRECISIONS = (
    *("32-true", "64-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true"),
    *("32", "64", "16", "bf16"),
)
KERNELS = ("torch", "triton")


@dataclass(frozen=True)
class TrainerConfig:
    """Where training runs: the options of the same names of ``lightning.Trainer``, and kernels.

    ``accelerator: auto`` takes a CUDA GPU if there is one, else the CPU. ``kernels: triton``
    sums the messages of a PaiNN on a GPU by fused kernels
    (:func:`eqcalc.runtime.with_triton_kernels`), in float32 or float64.
    """

    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    kernels: str = "torch"

    def __post_init__(self) -> None:
        for key, known in (
            ("accelerator", ACCELERATORS),
            ("precision", PRECISIONS),
            ("kernels", KERNELS),
        ):
            value = getattr(self, key)
            require(value in known, f"trainer.{key}", f"one of {', '.join(known)}", value)
        expected = "a number > 0, auto or -1 for all, or text with their numbers such as '0,2'"
        require(_are_devices(self.devices), "trainer.devices", expected, self.devices)
        require(self.num_nodes > 0, "trainer.num_nodes", "a number > 0", self.num_nodes)
        if self.kernels == "triton":
            whole = self.precision in ("32", "64", "32-true", "64-true")
            require(whole, "trainer.precision", "32-true with kernels: triton", self.precision)


def _are_devices(value: int | str) -> bool:
    if isinstance(value, int):
        return value > 0 or value == -1
    return value in {"auto", "-1"} or all(part.strip().isdigit() for part in value.split(","))


def make_trainer(config: TrainerConfig, folder: Path, **options: Any) -> lightning.Trainer:
    """Return Lightning's trainer for a run.

    Parameters
    ----------
    config
        Where it runs.
    folder
        Folder of the run.
    options
        Further options of ``lightning.Trainer``.

    Raises
    ------
    ConfigError
        There is no such device or strategy, or they do not go together.
    """
    import lightning
    from lightning.pytorch.strategies import StrategyRegistry

    accelerator = config.accelerator
    if accelerator == "auto":
        # not Lightning's choice: see ACCELERATORS
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    elif accelerator != "cpu" and not torch.cuda.is_available():
        raise ConfigError(
            f"trainer.accelerator: {accelerator} is asked for, but torch {torch.__version__} sees "
            "no GPU; state cpu, or auto"
        )
    strategies = ["auto", *StrategyRegistry.available_strategies()]
    expected = f"one of {', '.join(strategies)}"
    require(config.strategy in strategies, "trainer.strategy", expected, config.strategy)
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
            inference_mode=False,  # forces need a gradient in validation too
            use_distributed_sampler=False,
            default_root_dir=folder,
            **options,
        )
    except Exception as error:  # Lightning has errors of many kinds for this
        stated = ", ".join(f"{key}: {value}" for key, value in vars(config).items())
        reason = " ".join(str(error).split())
        raise ConfigError(f"trainer ({stated}): not possible here: {reason}") from error


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
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
