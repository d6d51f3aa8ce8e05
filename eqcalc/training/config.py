# SPDX-License-Identifier: MIT
"""Settings of a training run, read from YAML and checked key by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import torch

from eqcalc.files import model_file
from eqcalc.models.potential import PotentialConfig
from eqcalc.models.readouts import readable_quantities
from eqcalc.models.registry import DEFAULT
from eqcalc.quantities import named, ordered, quantity
from eqcalc.training.settings import (
    TEMPLATE_ADVICE,
    build,
    plain,
    read_yaml,
    require,
    section_of,
)
from eqcalc.training.template import (
    FEW_LABELS,
    OF_EPOCHS,
    completed,
    is_for_few_labels,
    trainable_quantities,
)
from eqcalc.validation import (
    InvalidFileError,
    count,
    known_keys,
    located,
    non_negative,
    number,
    one_of,
    positive,
    positive_fields,
)

_STRUCTURES = "a positive number of structures, or data.split"


@dataclass(frozen=True)
class DataConfig:
    """The dataset and its split.

    Parameters
    ----------
    path
        An eqcalc dataset.
    training, validation, test
        Numbers of structures. Without `test` all remaining structures are held out. The
        validation and test sets do not depend on `training`, and a larger training set
        contains a smaller one.
    seed
        Seed of the random split.
    split
        Name of a split stored in the dataset (parts ``training``, ``validation`` and
        optionally ``test``), instead of a random one.
    """

    path: Path
    training: int | None = None
    validation: int | None = None
    test: int | None = None
    seed: int = 0
    split: str | None = None

    def __post_init__(self) -> None:
        for key in ("training", "validation", "test"):
            value = getattr(self, key)
            if self.split is not None:
                require(value is None, key, "nothing beside data.split", value)
            elif key == "training":
                require(value is not None and value > 0, key, _STRUCTURES, value)
            elif key == "validation":
                require(value is not None and value >= 0, key, _STRUCTURES, value)
            elif value is not None:
                count(key, value, least=0)
        count("seed", self.seed, least=0)


@dataclass(frozen=True)
class ModelConfig:
    """The model to train: a new network or an existing one.

    Parameters
    ----------
    representation, read_outs
        Options of a new model, see :class:`eqcalc.models.PotentialConfig`; by default the network
        is ``smooth_painn``.
    element_values
        Reference values of the elements in internal units, by quantity and atomic
        number, for example energies of free atoms. The mean residual per atom is added to
        them. By default they are fitted to the training set by least squares.
    start_from
        Model to fine-tune, a file or the name of a shipped one. Missing read-outs are added. If
        the level of theory of the data differs, its reference values are refitted.
    reset_heads
        Read-outs of `start_from` to reinitialise.
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
                require(not value, key, expected, value)
        else:
            heads = list(self.reset_heads)
            require(not heads, "reset_heads", "model.start_from with it", heads)
            if self.representation is None:
                object.__setattr__(self, "representation", {"name": DEFAULT})
            self.potential_config(tuple(self.read_outs) or ("energy",))
        for name, table in self.element_values.items():
            key = f"element_values.{name}"
            named(key, name, readable_quantities())
            require(isinstance(table, Mapping), key, "numbers by atomic number", table)
            for z, value in table.items():
                number(f"{key}.{count(key, z)}", value)
        for name in self.reset_heads:
            named("reset_heads", name, readable_quantities())

    def potential_config(self, heads: tuple[str, ...]) -> PotentialConfig:
        """Return the configuration of a new model with the read-outs `heads`."""
        network = {"representation": self.representation} if self.representation else {}
        config = PotentialConfig.from_settings(
            {**network, "heads": list(heads), "read_outs": self.read_outs}
        )
        with torch.device("meta"):  # detects invalid options without initialising parameters
            config.build_heads()
        return config


@dataclass(frozen=True)
class LossTerm:
    """One quantity of the loss, ``weight · mean|Δ|² / scale²``.

    The scale is in internal units, for energies per atom. By default it is the root mean
    square of the training labels after subtraction of reference values, so that every term
    starts near its weight. Errors beyond `linear_beyond`, in the same units, count linearly,
    which keeps a varied dataset from being ruled by its strangest structures.
    """

    weight: float
    scale: float | None = None
    linear_beyond: float | None = None

    def __post_init__(self) -> None:
        positive("weight", self.weight)
        for key in ("scale", "linear_beyond"):
            if getattr(self, key) is not None:
                positive(key, getattr(self, key))


@dataclass(frozen=True)
class AdamWConfig:
    """AdamW optimizer.

    Parameters
    ----------
    batch_size
        Structures per step, summed over all devices.
    max_gradient_norm
        Gradient-clipping threshold for the norm; None disables clipping. With the default
        scales of the loss, gradient norms settle below 0.2, so that the default affects
        only outliers.
    """

    name: ClassVar[str] = "adamw"

    batch_size: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    max_gradient_norm: float | None = 1.0

    def __post_init__(self) -> None:
        positive_fields(self, "batch_size", "learning_rate")
        non_negative("weight_decay", self.weight_decay)
        if self.max_gradient_norm is not None:
            positive("max_gradient_norm", self.max_gradient_norm)


#: Errors of labels that are tolerated, in internal units (energy: of the molecule).
TOLERATED = {"energy": 2e-3, "forces": 3e-3, "dipole": 1e-3, "polarizability": 5e-3}


@dataclass(frozen=True)
class GaussNewtonConfig:
    """Gauss–Newton steps of least norm, for few labels of one molecule.

    They fit the last interaction and the read-outs of ``model.start_from``
    (:func:`eqcalc.training.tangent_fit`) to the quantities of the loss, whose weights they do not
    use. There are no epochs, and no validation.

    Parameters
    ----------
    tolerated
        Errors of labels by quantity, where they are not those of :data:`TOLERATED`; smaller ones
        fit small forces near minima more closely. 1 % of the energy above the lowest, or of the
        forces of the structure, is added.
    memory
        Size [GB] of the Jacobian, for which a random part of the parameters is fitted if
        necessary. The time is proportional to it.
    """

    name: ClassVar[str] = FEW_LABELS

    tolerated: Mapping[str, float] = field(default_factory=dict)
    memory: float = 1.0

    def __post_init__(self) -> None:
        for key, value in self.tolerated.items():
            one_of("tolerated", key, TOLERATED)
            positive(f"tolerated.{key}", value)
        positive("memory", self.memory)


def _weight_of_the_past(key: str, value: float) -> None:
    require(0.0 <= value < 1.0, key, "a number in [0, 1)", value)


@dataclass(frozen=True)
class PlateauSchedule:
    """Reduce the learning rate when the smoothed validation loss reaches a plateau.

    After more than `patience` epochs without a new minimum of the exponentially smoothed loss
    (decay `smoothing`), the rate is multiplied by `factor`, down to `minimum`.
    """

    name: ClassVar[str] = "plateau"

    factor: float = 0.5
    patience: int = 50
    smoothing: float = 0.9
    minimum: float = 1e-6

    def __post_init__(self) -> None:
        require(0.0 < self.factor < 1.0, "factor", "a number in (0, 1)", self.factor)
        count("patience", self.patience, least=0)
        _weight_of_the_past("smoothing", self.smoothing)
        non_negative("minimum", self.minimum)


@dataclass(frozen=True)
class CosineSchedule:
    """Cosine annealing from the learning rate to `minimum` over all epochs.

    Preceded by a linear warm-up over `warm_up` epochs, which may be a fraction.
    """

    name: ClassVar[str] = "cosine"

    minimum: float = 1e-6
    warm_up: float = 0.0

    def __post_init__(self) -> None:
        non_negative("minimum", self.minimum)
        non_negative("warm_up", self.warm_up)


@dataclass(frozen=True)
class StoppingConfig:
    """Stopping criteria.

    Training ends after `epochs`, or after `patience` epochs without a lower validation loss. A
    call is interrupted after `hours` of wall time [h]; calling again resumes. None disables a
    criterion.
    """

    epochs: int = 1000
    patience: int | None = 150
    hours: float | None = None

    def __post_init__(self) -> None:
        count("epochs", self.epochs)
        if self.patience is not None:
            count("patience", self.patience)
        if self.hours is not None:
            positive("hours", self.hours)


@dataclass(frozen=True)
class EMAConfig:
    """Exponential moving average of the parameters, used for validation and saved.

    `decay` is the weight of the previous average per step; 0 disables averaging.
    """

    decay: float = 0.995

    def __post_init__(self) -> None:
        _weight_of_the_past("decay", self.decay)


#: Supported accelerators; positions are float64, which others lack.
ACCELERATORS = ("auto", "cpu", "gpu", "cuda")
#: Precisions of Lightning.
PRECISIONS = (
    *("32-true", "64-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true"),
    *("32", "64", "16", "bf16"),
)
KERNELS = ("auto", "fused", "torch", "triton")


@dataclass(frozen=True)
class TrainerConfig:
    """Options of ``lightning.Trainer`` of the same names, and kernels.

    ``accelerator: auto`` selects a CUDA GPU if available, else the CPU. ``kernels: auto`` trains
    PaiNN on a CPU with compiled kernels (:class:`eqcalc.runtime.FusedTraining`) where they can be
    used and agree with PyTorch, which ``fused`` demands and ``torch`` avoids; ``triton`` uses fused
    message-passing kernels for PaiNN on a GPU (:func:`eqcalc.runtime.with_triton_kernels`). All
    but ``torch`` are for float32 or float64.
    """

    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    kernels: str = "auto"

    def __post_init__(self) -> None:
        one_of("accelerator", self.accelerator, ACCELERATORS)
        one_of("precision", self.precision, PRECISIONS)
        one_of("kernels", self.kernels, KERNELS)
        expected = "a number of devices, auto or -1 for all, or their indices such as '0,2'"
        require(_are_devices(self.devices), "devices", expected, self.devices)
        count("num_nodes", self.num_nodes)
        if self.kernels in ("fused", "triton"):
            require(
                self.whole, "precision", f"32-true with kernels: {self.kernels}", self.precision
            )

    @property
    def whole(self) -> bool:
        """Whether all of the network is in float32 or in float64."""
        return self.precision in ("32", "64", "32-true", "64-true")


def _are_devices(value: int | str) -> bool:
    if isinstance(value, int):
        return value > 0 or value == -1
    return value in {"auto", "-1"} or all(part.strip().isdigit() for part in value.split(","))


@dataclass(frozen=True)
class TrainingConfig:
    """All settings of a training run.

    Parameters
    ----------
    output
        Folder of the run. Training into an existing run folder resumes.
    loss
        Terms of the loss, by quantity.
    seed
        Random seed for the initial parameters and the order of the structures.
    """

    output: Path
    data: DataConfig
    loss: Mapping[str, LossTerm]
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: AdamWConfig | GaussNewtonConfig = field(default_factory=AdamWConfig)
    schedule: PlateauSchedule | CosineSchedule = field(default_factory=PlateauSchedule)
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    ema: EMAConfig = field(default_factory=EMAConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "seed", "an integer from 0, below 2⁶³", self.seed)
        trainable = trainable_quantities()
        known = ", ".join(trainable)
        require(len(self.loss) > 0, "loss", f"at least one of {known}", dict(self.loss))
        for name in self.loss:
            named("loss", name, trainable)
        object.__setattr__(self, "loss", {name: self.loss[name] for name in ordered(self.loss)})
        for section in ("read_outs", "element_values"):
            for name in getattr(self.model, section):
                one_of(f"model.{section}", name, self.heads)
        if self.without_epochs:
            start, reset = self.model.start_from, list(self.model.reset_heads)
            require(start is not None, "model.start_from", f"a model {_TO_FIT}", start)
            require(not reset, "model.reset_heads", f"nothing {_TO_FIT}", reset)
        elif self.data.split is None:
            n = self.data.validation
            require(n != 0, "data.validation", _STRUCTURES, n)

    @property
    def without_epochs(self) -> bool:
        """Whether few labels are fitted by Gauss–Newton steps."""
        return isinstance(self.optimizer, GaussNewtonConfig)

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the quantities of the loss."""
        return tuple(self.loss)

    @property
    def heads(self) -> tuple[str, ...]:
        """Read-outs the loss needs."""
        return ordered(quantity(name).read_out for name in self.loss)

    @classmethod
    def read(cls, path: str | Path, **overrides: Any) -> TrainingConfig:
        """Read a YAML file; paths in it are relative to its folder.

        Parameters
        ----------
        path
            The file.
        overrides
            Settings that override those of the file, by dotted key, for example
            ``**{"stopping.epochs": 10}``.

        Raises
        ------
        InvalidInputError
            The file is not valid YAML, contains a duplicate key, or a setting is invalid.
        """
        path = Path(path)
        settings = read_yaml(path)
        with located(file=path):
            if settings is None:
                raise InvalidFileError("no settings", advice=TEMPLATE_ADVICE)
            if not isinstance(settings, dict):
                raise InvalidFileError(expected="a mapping of settings", value=settings)
            for key, value in overrides.items():
                section, last = section_of(settings, key)
                section[last] = value
            return cls.from_settings(settings, folder=path.parent)

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], *, folder: str | Path = "."
    ) -> TrainingConfig:
        """Create a configuration from nested mappings; paths are relative to `folder`.

        If output, loss or data sizes are missing, they and everything else that is left out are
        chosen to fit the dataset (:func:`~eqcalc.training.template.fitting_settings`).

        Raises
        ------
        InvalidInputError
            A setting is unknown, missing or invalid.
        """
        folder = Path(folder)
        known_keys(settings, [f.name for f in fields(cls)])  # before the dataset is read
        settings = completed(_with_model_file(settings, folder), folder)
        if is_for_few_labels(settings.get("optimizer")):
            for key in OF_EPOCHS:
                value = settings.get(key)
                require(value is None, key, f"nothing {_TO_FIT}, which has no epochs", value)
        return build(cls, _with_full_loss(settings), "", folder)

    def settings(self) -> dict[str, Any]:
        """Return nested mappings, the inverse of :meth:`from_settings`."""
        settings = plain(self)
        if self.without_epochs:
            settings = {key: value for key, value in settings.items() if key not in OF_EPOCHS}
        return settings


_TO_FIT = f"with optimizer.name: {GaussNewtonConfig.name}"


def _with_model_file(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Replace the name of a model by the path of its file, if there is one."""
    model = settings.get("model")
    if isinstance(model, Mapping) and isinstance(name := model.get("start_from"), str):
        found = model_file(name, folder)
        if found.is_file():
            return {**settings, "model": {**model, "start_from": str(found.resolve())}}
    return dict(settings)


def _with_full_loss(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Expand ``[energy, forces]`` and ``{energy: 0.05}`` to the full form of the loss."""
    loss = settings.get("loss")
    if loss is None:
        return dict(settings)
    if isinstance(loss, list | tuple) and all(isinstance(name, str) for name in loss):
        loss = dict.fromkeys(loss)
    expected = "a list such as [energy, forces] or weights such as {energy: 0.05, forces: 0.95}"
    require(isinstance(loss, Mapping), "loss", expected, loss)
    full, trainable = {}, trainable_quantities()
    for name, term in loss.items():
        named("loss", name, trainable)
        values = dict(term) if isinstance(term, Mapping) else {"weight": term}
        if values.get("weight") is None:
            values["weight"] = quantity(name).loss_weight
        full[name] = values
    return {**settings, "loss": full}
