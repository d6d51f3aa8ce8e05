# SPDX-License-Identifier: MIT
"""The Lightning module: a training step, validation, the running average of parameters."""

from __future__ import annotations

import copy
import math
import typing
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from eqcalc.datasets import Dataset
from eqcalc.models.potential import Potential
from eqcalc.quantities import ordered
from eqcalc.runtime import ExecutionUnavailableError, with_triton_kernels
from eqcalc.training.config import CosineSchedule, PlateauSchedule, TrainingConfig
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


class ParameterAverage(nn.Module):
    """A copy of a model with the average ``a ← d·a + (1 − d)·p`` of its parameters.

    After n updates d is the smaller of `decay` and (1 + n)/(10 + n): the average
    forgets the initial parameters even if the run is short. An update waits for no device.

    Parameters
    ----------
    model
        The model, which is copied.
    decay
        Largest d.
    """

    n_averaged: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        #: The copy, with averaged parameters.
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.register_buffer("n_averaged", torch.tensor(0))
        # the same number on the host, unknown after a state was loaded
        self._updates: int | None = None
        self.register_load_state_dict_post_hook(_forget)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the present parameters of the model into the average."""
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
    """Return the factor of the learning rate: linear rise, then half a cosine to `last`."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = min((step - warm_up) / max(steps - warm_up, 1), 1.0)
    return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * progress))


class TrainingModule(lightning.LightningModule):
    """A potential with everything that changes while it is trained.

    Parameters
    ----------
    potential
        The model; its parameters are trained in place.
    loss
        The loss.
    config
        Optimizer, schedule and parameter average.
    steps_per_epoch
        Optimizer steps of an epoch.
    """

    smoothed: Tensor

    def __init__(
        self, potential: Potential, loss: Loss, config: TrainingConfig, steps_per_epoch: int
    ) -> None:
        super().__init__()
        self.potential = potential
        # in a tuple, as it is no module of its own: it shares all parameters
        self._executed = (potential,)
        self.average = ParameterAverage(potential, config.ema.decay)
        self.loss = loss
        self.config = config
        self.steps_per_epoch = steps_per_epoch
        #: Exponentially smoothed validation loss; NaN before the first.
        self.register_buffer("smoothed", torch.tensor(math.nan, dtype=torch.float64))
        self.names = tuple(loss.weights)
        # the energy is always evaluated with the forces, so that every parameter
        # has a gradient, which DistributedDataParallel wants
        self._evaluated = ordered({*self.names, "energy"} if "forces" in self.names else self.names)
        self._training_errors = ErrorSums(self.names)
        self._training_loss: list[Tensor] = []
        self._validation_errors = ErrorSums(self.names)
        #: Figures of the last epoch, for the log.
        self.figures: dict[str, float] = {}
        #: Plateau schedule, if that is the schedule; made with the optimizer.
        self.plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] = {}

    @property
    def averaged(self) -> Potential:
        """The model with averaged parameters, which is validated and saved."""
        return typing.cast("Potential", self.average.module)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _: int) -> Batch:
        """Move a batch."""
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
        """Step, then update the parameter average."""
        super().optimizer_step(*arguments, **keywords)
        self.average.update(self.potential)

    def on_validation_epoch_start(self) -> None:
        """Begin new sums."""
        self._validation_errors = ErrorSums(self.names, self.device)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Add the errors of the averaged model."""
        # Lightning switches gradients off here, but forces are one
        with torch.enable_grad():
            outputs = self.averaged.evaluate(batch.structures, batch.pairs, self.names)
        self._validation_errors.add(outputs, batch.labels, batch.present, batch.structures)

    def on_validation_epoch_end(self) -> None:
        """Join the errors of all processes and find the validation loss."""
        figures: dict[str, float] = {}
        for part, sums in (
            ("training", self._training_errors),
            ("validation", self._validation_errors),
        ):
            sums.sums = self.trainer.strategy.reduce(sums.sums, reduce_op="sum")
            for name, value in sums.mean_absolutes().items():
                figures[f"{part}_{name}_mae"] = value
        training = torch.stack(self._training_loss).mean()
        training = self.trainer.strategy.reduce(training, reduce_op="mean")
        validation = self.loss.of_mean_squares(self._validation_errors.mean_squares())
        schedule = self.config.schedule
        past = schedule.smoothing if isinstance(schedule, PlateauSchedule) else 0.0
        smoothed = float(self.smoothed)
        smoothed = (
            past * smoothed + (1.0 - past) * validation if math.isfinite(smoothed) else validation
        )
        self.smoothed.fill_(smoothed)
        self.figures = {
            "training_loss": float(training),
            "validation_loss": validation,
            "smoothed_validation_loss": smoothed,
            **figures,
        }
        if self.plateau is not None:
            self.plateau.step(smoothed)

    def on_train_batch_start(self, *_: Any) -> None:
        """Set the learning rate of a cosine schedule."""
        schedule, settings = self.config.schedule, self.config.optimizer
        if isinstance(schedule, CosineSchedule):
            factor = cosine_factor(
                self.global_step,
                self.config.stopping.epochs * self.steps_per_epoch,
                round(schedule.warm_up * self.steps_per_epoch),
                schedule.minimum / settings.learning_rate,
            )
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = factor * settings.learning_rate

    @property
    def learning_rate(self) -> float:
        """Present learning rate."""
        return float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make AdamW, and the plateau schedule if there is one."""
        settings, schedule = self.config.optimizer, self.config.schedule
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

    # the learning rate itself is part of the state of the optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the plateau schedule remembers."""
        if self.plateau is not None:
            checkpoint["plateau"] = {
                "best": float(self.plateau.best),
                "num_bad_epochs": int(self.plateau.num_bad_epochs),
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the plateau schedule remembered until the schedule is there."""
        self._plateau_state = checkpoint.get("plateau", {})

    def on_fit_start(self) -> None:
        """Give the plateau schedule its memory back, and take the kernels requested.

        Raises
        ------
        InvalidInputError
            There are no such kernels for this network or device.
        """
        if self.plateau is not None:
            self.plateau.__dict__.update(self._plateau_state)
        if self.config.trainer.kernels == "triton":  # the model is on its device now
            try:
                self._executed = (with_triton_kernels(self.potential),)
            except ExecutionUnavailableError as reason:
                raise InvalidInputError(
                    str(reason), key="trainer.kernels", value="triton"
                ) from None


class TrainingData(lightning.LightningDataModule):
    """The loaders of one training.

    Parameters
    ----------
    dataset
        Labelled structures.
    split
        Its parts.
    names
        Labels to read.
    cutoff
        Cutoff of the model [Å].
    batch_size
        Structures per step, of all processes together.
    seed
        Seed of the order of the structures.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        names: Sequence[str],
        cutoff: float,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.split = split
        self.batches = Batches(dataset, names, cutoff)
        self.batch_size = batch_size
        self.seed = seed

    def order(self, rank: int, processes: int) -> BatchOrder:
        """Return the order of the training structures for one of several processes."""
        return BatchOrder(self.split.training, self.batch_size, self.seed, rank, processes)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the training part."""
        assert self.trainer is not None
        return loader(self.batches, self.order(self.trainer.global_rank, self.trainer.world_size))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the validation part, divided among processes."""
        assert self.trainer is not None
        rows = self.split.validation[self.trainer.global_rank :: self.trainer.world_size]
        atoms = EVALUATION_ATOMS
        if self.trainer.strategy.root_device.type != "cpu":
            atoms = EVALUATION_ATOMS_OF_A_GPU
        return loader(self.batches, evaluation_batches(self.dataset, rows, atoms))
