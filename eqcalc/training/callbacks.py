# SPDX-License-Identifier: MIT
"""End-of-epoch tasks: log, best model, checkpoint, early stopping, progress."""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from eqcalc.files import append_text, write_atomically
from eqcalc.interruption import StopRequest
from eqcalc.models.checkpoint import save_model
from eqcalc.progress import progress_bar
from eqcalc.quantities import quantity
from eqcalc.training.config import StoppingConfig
from eqcalc.training.module import TrainingModule
from eqcalc.training.run_folder import RunFolder
from eqcalc.units import conversion_factor


def log_columns(figures: dict[str, float]) -> dict[str, float]:
    """Return the metrics of an epoch under readable names, in report units.

    Energy errors are per atom.
    """
    columns = {}
    for name, value in figures.items():
        part, _, rest = name.partition("_")
        label = rest.removesuffix("_mae")
        if label == rest:
            columns[name.replace("_", " ")] = value
            continue
        q = quantity(label)
        unit, text = q.report[0]
        text = f"{text}/atom" if q.error_per_atom else text
        columns[f"{part} {label} MAE [{text}]"] = value * conversion_factor(q.unit, unit)
    return columns


class Checkpoints(TorchCheckpointIO):
    """Writes checkpoints in their own folder; Lightning would by way of the temporary one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Replace a checkpoint."""
        stream = io.BytesIO()
        torch.save(checkpoint, stream)
        write_atomically(Path(path), stream.getvalue())


class Keeper(lightning.Callback):
    """Updates the run folder, shows progress, and stops the training."""

    def __init__(
        self, folder: RunFolder, stopping: StoppingConfig, progress: bool, request: StopRequest
    ) -> None:
        self.folder = folder
        self.stopping = stopping
        self.progress = progress
        self.request = request
        #: Finished epochs.
        self.epochs = 0
        #: Which rule ended the training: "epochs", "patience" or "hours".
        self.stopped_by = "epochs"
        self.best_loss = math.inf
        self.best_epoch = 0
        self._earlier_seconds = 0.0
        self._began = time.perf_counter()
        self._bar: Any = None

    @property
    def hours(self) -> float:
        """Wall time of the training so far, including earlier calls."""
        return (self._earlier_seconds + time.perf_counter() - self._began) / 3600.0

    def state_dict(self) -> dict[str, Any]:
        """Return the state needed to resume."""
        return {
            "epochs": self.epochs,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "seconds": self.hours * 3600.0,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of an earlier call."""
        self.epochs = state_dict["epochs"]
        self.best_loss = state_dict["best_loss"]
        self.best_epoch = state_dict["best_epoch"]
        self._earlier_seconds = state_dict["seconds"]

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Drop log rows after the checkpoint and show the progress bar."""
        self._began = time.perf_counter()
        self.request.listen()  # after Lightning
        if self._patience_is_over():
            self.stopped_by = "patience"
            trainer.should_stop = True
        if not trainer.is_global_zero:
            return
        self._trim_log()
        steps = int(trainer.num_training_batches)
        self._bar = progress_bar(
            total=steps * self.stopping.epochs,
            initial=int(trainer.global_step),
            unit="steps",
            desc="training",
            shown=self.progress,
        )

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Advance the progress bar; stop on request, within an epoch if there is one process."""
        if self._bar is not None:
            self._bar.update()
        if (
            self.request
            and trainer.world_size == 1
            and batch_idx + 1 < trainer.num_training_batches
        ):
            self._save(trainer)
            self.request.obey()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Log, save and check the stopping criteria."""
        assert isinstance(pl_module, TrainingModule)
        self.epochs = trainer.current_epoch + 1
        figures = log_columns(pl_module.figures)
        loss = figures["validation loss"]
        if not math.isfinite(figures["training loss"] + loss):
            raise FloatingPointError(
                f"epoch {self.epochs}: the loss is not finite; lower optimizer.learning_rate or "
                "set optimizer.max_gradient_norm, and look for labels that are far off"
            )
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epochs
            if trainer.is_global_zero:
                pl_module.averaged.metadata["training"] |= {
                    "best_epoch": self.epochs,
                    "epochs": self.epochs,
                    "hours": self.hours,
                    "validation": figures,
                }
                save_model(pl_module.averaged, self.folder.model)
        if trainer.is_global_zero:
            row = {
                "epoch": self.epochs,
                "step": trainer.global_step,
                "hours": round(self.hours, 5),
                "learning rate": pl_module.learning_rate,
            }
            self._append_log(row | figures)
            self._show(figures)
        self._save(trainer)
        if trainer.world_size == 1:
            self.request.obey()
        self._decide(trainer)

    def _show(self, figures: dict[str, float]) -> None:
        errors = [
            f"{name.split()[1]} {value:.3g} {name.split('[')[1][:-1]}"
            for name, value in figures.items()
            if name.startswith("validation") and "MAE" in name
        ]
        self._bar.set_postfix_str(f"epoch {self.epochs}: {', '.join(errors)}")

    def on_train_end(self, *_: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def on_exception(self, *_: Any) -> None:
        """Close the bar."""
        self.on_train_end()

    def _save(self, trainer: lightning.Trainer) -> None:
        # all processes take part; the first one writes
        trainer.save_checkpoint(self.folder.checkpoint)

    def _patience_is_over(self) -> bool:
        patience = self.stopping.patience
        return patience is not None and self.epochs - self.best_epoch >= patience

    def _decide(self, trainer: lightning.Trainer) -> None:
        if self._patience_is_over():
            self.stopped_by = "patience"
            trainer.should_stop = True
        elif self.epochs < self.stopping.epochs:
            limit = math.inf if self.stopping.hours is None else self.stopping.hours
            over = bool(self.request) or (time.perf_counter() - self._began) / 3600.0 >= limit
            # clocks of processes differ: the first one decides
            if trainer.strategy.broadcast(over):
                self.stopped_by = "hours"
                trainer.should_stop = True

    def _append_log(self, row: dict[str, Any]) -> None:
        new = not self.folder.log.exists()
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
        append_text(self.folder.log, stream.getvalue())

    def _trim_log(self) -> None:
        """Remove rows after the epoch of the checkpoint, which are trained again."""
        if not self.folder.log.exists():
            return
        lines = self.folder.log.read_text(encoding="utf-8").splitlines(keepends=True)
        epochs = [line.split(",")[0] for line in lines[1:]]
        kept = [
            line
            for line, epoch in zip(lines[1:], epochs, strict=True)
            if line.endswith("\n") and epoch.isdecimal() and int(epoch) <= self.epochs
        ]
        if kept:
            write_atomically(self.folder.log, "".join([lines[0], *kept]))
        else:
            self.folder.log.unlink()
