# SPDX-License-Identifier: MIT
"""The Lightning module: training step, validation, and parameter averaging."""

from __future__ import annotations

import copy
import logging
import math
import typing
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from eqcalc.datasets import Dataset
from eqcalc.models.potential import Potential
from eqcalc.quantities import ordered
from eqcalc.runtime import ExecutionUnavailableError, FusedTraining, with_triton_kernels
from eqcalc.training.config import AdamWConfig, CosineSchedule, PlateauSchedule, TrainingConfig
from eqcalc.training.data import (
    EVALUATION_ATOMS,
    EVALUATION_ATOMS_OF_A_GPU,
    Batch,
    Batches,
    BatchOrder,
    Split,
    evaluation_batches,
    loader,
)
from eqcalc.training.loss import ErrorSums, Loss
from eqcalc.validation import InvalidInputError

_log = logging.getLogger(__name__)


class ParameterAverage(nn.Module):
    """A copy of a model with the average ``a ← d·a + (1 − d)·p`` of its parameters.

    After n updates d is the smaller of `decay` and (1 + n)/(10 + n), so that the initial
    parameters are forgotten even in short runs. Updates do not synchronise with the device.
    """

    n_averaged: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        #: The copy, with averaged parameters.
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.register_buffer("n_averaged", torch.tensor(0))
        # the same number on the host; unknown after loading a state
        self._updates: int | None = None
        self.register_load_state_dict_post_hook(_forget)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the current parameters of the model."""
        n = int(self.n_averaged) if self._updates is None else self._updates
        ours: list[Tensor] = [*self.module.parameters()]
        theirs: list[Tensor] = [*model.parameters()]
        if n:
            d = min(self.decay, (1.0 + n) / (10.0 + n))
            torch._foreach_lerp_(ours, theirs, 1.0 - d)
        else:
            torch._foreach_copy_(ours, theirs)
        for mine, its in zip(self.module.buffers(), model.buffers(), strict=True):
            mine.copy_(its)
        self.n_averaged += 1
        self._updates = n + 1


def _forget(average: ParameterAverage, _: Any) -> None:
    average._updates = None


def cosine_factor(step: int, steps: int, warm_up: int, last: float) -> float:
    """Return the learning-rate factor: linear warm-up, then cosine decay to `last`."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = min((step - warm_up) / max(steps - warm_up, 1), 1.0)
    return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * progress))


class TrainingModule(lightning.LightningModule):
    """A potential, whose parameters are trained in place, with the state of the training."""

    smoothed: Tensor

    def __init__(
        self,
        potential: Potential,
        loss: Loss,
        config: TrainingConfig,
        dataset: Dataset,
        split: Split,
    ) -> None:
        super().__init__()
        self.potential = potential
        self.average = ParameterAverage(potential, config.ema.decay)
        #: What is evaluated in training and in validation: the models or the same with kernels. In
        #: a tuple, so that they are not registered as submodules: they share all parameters.
        self._executed: tuple[Potential | FusedTraining, ...] = (potential, self.averaged)
        #: What computed the steps so far: "fused", "triton" or "torch", or several in their order.
        self.kernels: list[str] = []
        self.loss = loss
        self.config = config
        assert isinstance(config.optimizer, AdamWConfig)
        self._optimizer = config.optimizer
        self._split = split
        self._batches = Batches(dataset, config.quantities, potential.cutoff)
        #: Exponentially smoothed validation loss; NaN before the first epoch.
        self.register_buffer("smoothed", torch.tensor(math.nan, dtype=torch.float64))
        self.names = tuple(loss.weights)
        # the energy is always evaluated with the forces, so that every parameter
        # has a gradient, as DistributedDataParallel requires
        self._evaluated = ordered({*self.names, "energy"} if "forces" in self.names else self.names)
        self._training_errors = ErrorSums(self.names)
        self._training_loss: list[Tensor] = []
        self._validation_errors = ErrorSums(self.names)
        #: Metrics of the last epoch, for the log.
        self.figures: dict[str, float] = {}
        #: Plateau scheduler, if used; created with the optimizer.
        self.plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] = {}

    @property
    def averaged(self) -> Potential:
        """The model with averaged parameters, used for validation and saved."""
        return typing.cast("Potential", self.average.module)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _: int) -> Batch:
        """Move a batch to the device."""
        return batch if device.type == "cpu" else batch.to(device)

    def on_train_epoch_start(self) -> None:
        """Begin new sums."""
        self._training_errors = ErrorSums(self.names, self.device)
        self._training_loss = []

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of a batch."""
        outputs = self._executed[0].evaluate(
            batch.structures, batch.pairs, self._evaluated, create_graph=True
        )
        share = self._mean_over_processes if self.trainer.world_size > 1 else None
        loss = self.loss(outputs, batch.labels, batch.present, batch.structures, share)
        if "energy" in outputs:
            loss = loss + 0.0 * outputs["energy"].sum()
        self._training_errors.add(outputs, batch.labels, batch.present, batch.structures)
        self._training_loss.append(loss.detach())
        return loss

    def _mean_over_processes(self, values: Tensor) -> Tensor:
        total = self.trainer.strategy.reduce(values.clone(), reduce_op="sum")
        return total / self.trainer.world_size

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        """Take an optimizer step, then update the parameter average."""
        super().optimizer_step(*arguments, **keywords)
        self.average.update(self.potential)

    def on_validation_epoch_start(self) -> None:
        """Begin new sums."""
        self._validation_errors = ErrorSums(self.names, self.device, self.loss.linear_beyond)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Accumulate the errors of the averaged model."""
        # Lightning disables gradients here, but forces need them
        with torch.enable_grad():
            outputs = self._executed[1].evaluate(batch.structures, batch.pairs, self.names)
        self._validation_errors.add(outputs, batch.labels, batch.present, batch.structures)

    def on_validation_epoch_end(self) -> None:
        """Reduce the errors over all processes and compute the validation loss."""
        reduce = self.trainer.strategy.reduce
        parts = {"training": self._training_errors, "validation": self._validation_errors}
        for sums in parts.values():
            sums.sums = reduce(sums.sums, reduce_op="sum")
        training = reduce(torch.stack(self._training_loss).mean(), reduce_op="mean")
        validation = self.loss.of_mean_squares(self._validation_errors.mean_squares())
        schedule, smoothed = self.config.schedule, validation
        if isinstance(schedule, PlateauSchedule) and math.isfinite(self.smoothed):
            past = schedule.smoothing
            smoothed = past * float(self.smoothed) + (1.0 - past) * validation
        self.smoothed.fill_(smoothed)
        self.figures = {
            "training_loss": float(training),
            "validation_loss": validation,
            "smoothed_validation_loss": smoothed,
        }
        for part, sums in parts.items():
            for name, value in sums.mean_absolutes().items():
                self.figures[f"{part}_{name}_mae"] = value
        if self.plateau is not None:
            self.plateau.step(smoothed)

    def on_train_batch_start(self, *_: Any) -> None:
        """Set the learning rate of a cosine schedule."""
        schedule, settings = self.config.schedule, self._optimizer
        if isinstance(schedule, CosineSchedule):
            steps = int(self.trainer.num_training_batches)  # of an epoch
            factor = cosine_factor(
                self.global_step,
                self.config.stopping.epochs * steps,
                round(schedule.warm_up * steps),
                schedule.minimum / settings.learning_rate,
            )
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = factor * settings.learning_rate

    @property
    def learning_rate(self) -> float:
        """Current learning rate."""
        return float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Create the AdamW optimizer, and the plateau scheduler if used."""
        settings, schedule = self._optimizer, self.config.schedule
        # Lightning does not clip gradients for a fused optimizer in mixed precision
        mixed = self.config.trainer.precision.endswith("mixed")
        optimizer = torch.optim.AdamW(
            self.potential.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            foreach=mixed,
            fused=not mixed,
        )
        if isinstance(schedule, PlateauSchedule):
            self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer,
                factor=schedule.factor,
                patience=schedule.patience,
                threshold=0.0,
                min_lr=schedule.minimum,
            )
        return optimizer

    # the learning rate itself is part of the optimizer state

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the kernels, the state of the plateau scheduler, and sums of an unfinished epoch."""
        checkpoint["kernels"] = self.kernels
        checkpoint["epoch"] = {"errors": self._training_errors.sums, "loss": self._training_loss}
        if self.plateau is not None:
            best, bad = self.plateau.best, self.plateau.num_bad_epochs
            checkpoint["plateau"] = {"best": float(best), "num_bad_epochs": int(bad)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the plateau scheduler until the scheduler exists, and those sums."""
        sums = checkpoint.get("epoch", {"errors": self._training_errors.sums, "loss": []})
        self._training_errors.sums, self._training_loss = sums["errors"], sums["loss"]
        self._plateau_state = checkpoint.get("plateau", {})
        self.kernels = checkpoint.get("kernels", [])  # older ones do not say

    def on_fit_start(self) -> None:
        """Restore the state of the plateau scheduler, and enable the requested kernels."""
        if self.plateau is not None:
            self.plateau.__dict__.update(self._plateau_state)
        used = self._enable_kernels()
        if not self.kernels or self.kernels[-1] != used:
            if self.kernels:
                _log.warning(
                    "trained with kernels: %s so far and with %s from here on, so that the results "
                    "differ by rounding from those of a run that was not interrupted",
                    self.kernels[-1],
                    used,
                )
            self.kernels = [*self.kernels, used]

    def _enable_kernels(self) -> str:
        """Enable the requested kernels and return which; ``auto`` keeps to PyTorch on resuming."""
        kernels = self.config.trainer.kernels
        if kernels == "auto" and self.kernels[-1:] == ["torch"]:
            _log.info("training without compiled kernels, as before; kernels: fused demands them")
            return "torch"
        try:  # the model is on its device now
            if kernels == "triton":
                self._executed = (with_triton_kernels(self.potential), self.averaged)
                return kernels
            if kernels == "fused" or (kernels == "auto" and self.config.trainer.whole):
                trained = FusedTraining(self.potential)
                self._executed = (trained, FusedTraining(self.averaged, verified=True))
                return "fused"
        except ExecutionUnavailableError as reason:
            if kernels != "auto":
                key = "trainer.kernels"
                raise InvalidInputError(str(reason), key=key, value=kernels) from None
            # of other networks there are none; what should be reported must be seen
            level = logging.WARNING if reason.advice else logging.INFO
            _log.log(level, "training without compiled kernels, which is slower: %s", reason)
        return "torch"

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the training part, divided among processes."""
        place = self.trainer.global_rank, self.trainer.world_size
        size, seed = self._optimizer.batch_size, self.config.seed
        order = BatchOrder(self._split.training, size, seed, *place)
        # of an epoch that was interrupted; the counter of a finished one is the whole epoch
        order.skipped = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready % len(order)
        return loader(self._batches, order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the validation part, divided among processes."""
        rows = self._split.validation[self.trainer.global_rank :: self.trainer.world_size]
        on_cpu = self.trainer.strategy.root_device.type == "cpu"
        atoms = EVALUATION_ATOMS if on_cpu else EVALUATION_ATOMS_OF_A_GPU
        return loader(self._batches, evaluation_batches(self._batches.dataset, rows, atoms))
