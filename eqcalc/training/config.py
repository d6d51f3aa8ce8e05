# SPDX-License-Identifier: MIT
"""Settings of a training run, read from YAML and checked key by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from eqcalc.models.potential import PotentialConfig
from eqcalc.models.readouts import readable_quantities, readouts_of
from eqcalc.quantities import ordered, quantity
from eqcalc.training.settings import ConfigError, build, plain, read_yaml, require, unknown_key
from eqcalc.training.trainer import TrainerConfig


def trainable_quantities() -> tuple[str, ...]:
    """Return the quantities that a loss can be made of."""
    return ordered((*readable_quantities(), "forces"))


@dataclass(frozen=True)
class DataConfig:
    """Which structures are learned, and which judge the result.

    Parameters
    ----------
    path
        A dataset of eqcalc.
    training, validation, test
        Numbers of structures. Without `test` all that remain are held out.
        The validation and test structures do not depend on `training`, and a
        larger training set contains a smaller one.
    seed
        Seed of the random split.
    split
        Name of a split stored in the dataset (parts ``training``,
        ``validation`` and perhaps ``test``), instead of a random one.
    """

    path: Path
    training: int | None = None
    validation: int | None = None
    test: int | None = None
    seed: int = 0
    split: str | None = None

    def __post_init__(self) -> None:
        if self.split is None:
            for key in ("training", "validation"):
                value = getattr(self, key)
                expected = "a positive number of structures (or data.split)"
                require(value is not None and value > 0, f"data.{key}", expected, value)
        else:
            for key in ("training", "validation", "test"):
                value = getattr(self, key)
                require(value is None, f"data.{key}", "nothing beside data.split", value)
        require(self.test is None or self.test >= 0, "data.test", "a number ≥ 0", self.test)
        require(self.seed >= 0, "data.seed", "a number ≥ 0", self.seed)


@dataclass(frozen=True)
class ModelConfig:
    """What is trained: a new network, or one that exists.

    Parameters
    ----------
    representation
        Name and settings of the representation of a new model.
    read_outs
        Options of the read-outs of a new model, by quantity; see
        :func:`eqcalc.models.readouts.build_head`.
    element_values
        Reference values of the elements in internal units, by quantity and atomic
        number, for example energies of free atoms. The mean per atom of what they
        leave is added to them. Where none are given they are fitted to the
        training set by least squares.
    start_from
        Model file whose parameters are the start (fine-tuning). Read-outs it
        lacks are added. Where its level of theory is not that of the data, its
        reference values are fitted anew.
    reset_heads
        Read-outs of `start_from` to begin anew.
    """

    representation: Mapping[str, Any] | None = None
    read_outs: Mapping[str, Any] = field(default_factory=dict)
    element_values: Mapping[str, Any] = field(default_factory=dict)
    start_from: Path | None = None
    reset_heads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.start_from is not None:
            expected = "nothing beside model.start_from, which has its own"
            for key in ("representation", "read_outs", "element_values"):
                value = getattr(self, key)
                require(not value, f"model.{key}", expected, value)
        else:
            heads = list(self.reset_heads)
            require(not heads, "model.reset_heads", "model.start_from with it", heads)
            self.potential_config(tuple(self.read_outs) or ("energy",))
        for name, table in self.element_values.items():
            key = f"model.element_values.{name}"
            known = f"a quantity among {', '.join(readable_quantities())}"
            require(bool(readouts_of(name)), key, known, name)
            numbers = isinstance(table, Mapping) and all(
                isinstance(z, int) and isinstance(value, int | float) for z, value in table.items()
            )
            require(numbers, key, "numbers by atomic number", table)
        for name in self.reset_heads:
            known = f"some of {', '.join(readable_quantities())}"
            require(bool(readouts_of(name)), "model.reset_heads", known, name)

    def potential_config(self, heads: tuple[str, ...]) -> PotentialConfig:
        """Return the configuration of a new model with the read-outs `heads`."""
        representation = dict(self.representation or {"name": "painn"})
        try:
            config = PotentialConfig.from_settings(
                {
                    "representation": representation,
                    "heads": list(heads),
                    "read_outs": self.read_outs,
                }
            )
            with torch.device("meta"):  # finds wrong options without drawing parameters
                config.build_heads()
            return config
        except ValueError as error:
            text = str(error)
            raise ConfigError(text if text.startswith("model.") else f"model.{text}") from None


@dataclass(frozen=True)
class LossTerm:
    """One quantity of the loss, ``weight · mean|Δ|² / scale²``.

    Parameters
    ----------
    weight
        Weight of the quantity.
    scale
        Unit of its errors, in internal units (for the energy: per atom).
        Default: the root mean square of what has to be learned in the training
        set, so that every term begins near its weight.
    """

    weight: float
    scale: float | None = None


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW.

    Parameters
    ----------
    batch_size
        Structures per step, of all devices together.
    learning_rate, weight_decay
        Of AdamW.
    max_gradient_norm
        Longer gradients are shortened to this; None leaves them. With the
        default scales of the loss gradients settle below 0.2, so that the
        default acts on the rare structure that would upset the training.
    """

    batch_size: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    max_gradient_norm: float | None = 1.0

    def __post_init__(self) -> None:
        require(self.batch_size > 0, "optimizer.batch_size", "a number > 0", self.batch_size)
        rate, decay, norm = self.learning_rate, self.weight_decay, self.max_gradient_norm
        require(rate > 0.0, "optimizer.learning_rate", "a number > 0", rate)
        require(decay >= 0.0, "optimizer.weight_decay", "a number ≥ 0", decay)
        require(norm is None or norm > 0.0, "optimizer.max_gradient_norm", "a number > 0", norm)


@dataclass(frozen=True)
class PlateauSchedule:
    """Lower the learning rate when the smoothed validation loss stops falling.

    Parameters
    ----------
    factor
        Multiplies the learning rate.
    patience
        Epochs without a new minimum.
    smoothing
        Weight of the past in the exponentially smoothed validation loss.
    minimum
        Lowest learning rate.
    """

    name: ClassVar[str] = "plateau"

    factor: float = 0.5
    patience: int = 50
    smoothing: float = 0.9
    minimum: float = 1e-6

    def __post_init__(self) -> None:
        require(0.0 < self.factor < 1.0, "schedule.factor", "a number in (0, 1)", self.factor)
        require(self.patience >= 0, "schedule.patience", "a number ≥ 0", self.patience)
        smooth = self.smoothing
        require(0.0 <= smooth < 1.0, "schedule.smoothing", "a number in [0, 1)", smooth)
        require(self.minimum >= 0.0, "schedule.minimum", "a number ≥ 0", self.minimum)


@dataclass(frozen=True)
class CosineSchedule:
    """Half a cosine from the learning rate to `minimum` over all epochs.

    Parameters
    ----------
    minimum
        Last learning rate.
    warm_up
        Epochs (or a fraction of one) of linear rise before.
    """

    name: ClassVar[str] = "cosine"

    minimum: float = 1e-6
    warm_up: float = 0.0

    def __post_init__(self) -> None:
        require(self.minimum >= 0.0, "schedule.minimum", "a number ≥ 0", self.minimum)
        require(self.warm_up >= 0.0, "schedule.warm_up", "a number ≥ 0", self.warm_up)


@dataclass(frozen=True)
class StoppingConfig:
    """When training ends.

    Parameters
    ----------
    epochs
        Most epochs.
    patience
        Epochs without a lower validation loss; None for no early stopping.
    hours
        Most wall time of one call; None for no limit. Calling again goes on.
    """

    epochs: int = 1000
    patience: int | None = 150
    hours: float | None = None

    def __post_init__(self) -> None:
        require(self.epochs > 0, "stopping.epochs", "a number > 0", self.epochs)
        patience, hours = self.patience, self.hours
        require(patience is None or patience > 0, "stopping.patience", "a number > 0", patience)
        require(hours is None or hours > 0.0, "stopping.hours", "a number > 0", hours)


@dataclass(frozen=True)
class EMAConfig:
    """Exponential moving average of the parameters, which is validated and saved.

    Parameters
    ----------
    decay
        Weight of the past after each step; 0 keeps the last parameters.
    """

    decay: float = 0.995

    def __post_init__(self) -> None:
        require(0.0 <= self.decay < 1.0, "ema.decay", "a number in [0, 1)", self.decay)


@dataclass(frozen=True)
class TrainingConfig:
    """All settings of a training run.

    Parameters
    ----------
    output
        Folder of the run. Training again into the same folder resumes.
    data, model, optimizer, schedule, stopping, ema, trainer
        Sections.
    loss
        What is learned, and with which weight.
    seed
        Seed of the initial parameters and of the order of the structures.
    """

    output: Path
    data: DataConfig
    loss: Mapping[str, LossTerm]
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: PlateauSchedule | CosineSchedule = field(default_factory=PlateauSchedule)
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    ema: EMAConfig = field(default_factory=EMAConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "seed", "a number ≥ 0, below 2⁶³", self.seed)
        trainable = trainable_quantities()
        known = ", ".join(trainable)
        require(len(self.loss) > 0, "loss", f"at least one of {known}", dict(self.loss))
        for name, term in self.loss.items():
            require(name in trainable, "loss", f"quantities among {known}", name)
            require(term.weight > 0.0, f"loss.{name}.weight", "a number > 0", term.weight)
            scale = term.scale
            require(scale is None or scale > 0.0, f"loss.{name}.scale", "a number > 0", scale)
        object.__setattr__(self, "loss", {name: self.loss[name] for name in ordered(self.loss)})
        for name in (*self.model.read_outs, *self.model.element_values):
            expected = f"read-outs that are trained, {', '.join(self.heads)}"
            require(name in self.heads, "model.read_outs or element_values", expected, name)

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the quantities of the loss."""
        return tuple(self.loss)

    @property
    def heads(self) -> tuple[str, ...]:
        """Read-outs the loss needs."""
        return ordered(quantity(name).derivative_of or name for name in self.loss)

    @classmethod
    def read(cls, path: str | Path, **overrides: Any) -> TrainingConfig:
        """Read a YAML file; paths in it are relative to its folder.

        Parameters
        ----------
        path
            The file.
        overrides
            Values that replace those of the file, by dotted key, for example
            ``**{"stopping.epochs": 10}``.

        Raises
        ------
        ConfigError
            The file is not YAML, states a key twice, or a setting is wrong; the message
            names the file, the key or line, the value and what was expected.
        """
        path = Path(path)
        settings = read_yaml(path)
        try:
            if settings is None:
                raise ConfigError("no settings; examples are workflows/*/*.yaml")
            if not isinstance(settings, dict):
                raise ConfigError(f"expected a mapping of settings, got {settings!r}")
            for key, value in overrides.items():
                _set(settings, key, value)
            return cls.from_settings(settings, folder=path.parent)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], *, folder: str | Path = "."
    ) -> TrainingConfig:
        """Make a configuration from nested mappings; relative paths begin at `folder`.

        Raises
        ------
        ConfigError
            A setting is unknown, missing or impossible.
        """
        return build(cls, _with_full_loss(settings), "", Path(folder))

    def settings(self) -> dict[str, Any]:
        """Return the nested mappings from which :meth:`from_settings` makes this again."""
        return plain(self)


def _set(settings: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        settings = settings.setdefault(section, {})
        require(isinstance(settings, dict), key, "a section", settings)
    settings[last] = value


def _with_full_loss(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Expand ``[energy, forces]`` and ``{energy: 0.05}`` to the full form of the loss."""
    settings = dict(settings)
    loss = settings.get("loss")
    if isinstance(loss, list | tuple):
        names = [name for name in loss if isinstance(name, str)]
        require(len(names) == len(loss), "loss", "names of quantities", loss)
        loss = dict.fromkeys(names)
    if loss is not None and not isinstance(loss, Mapping):
        expected = "a list such as [energy, forces] or weights such as {energy: 0.05, forces: 0.95}"
        raise ConfigError(f"loss: expected {expected}, got {loss!r}")
    if isinstance(loss, Mapping):
        full, trainable = {}, trainable_quantities()
        for name, term in loss.items():
            if name not in trainable:
                unknown_key(f"loss.{name}", name, trainable)
            values = dict(term) if isinstance(term, Mapping) else {"weight": term}
            if values.get("weight") is None:
                values["weight"] = quantity(name).loss_weight
            full[name] = values
        settings["loss"] = full
    return settings
