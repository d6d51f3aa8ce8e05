# SPDX-License-Identifier: MIT
"""A trained model fitted to few labels of one molecule, with members that tell its error.

A network has far more parameters θ than a few structures have labels y. Of the models that agree
with all of them this is one near the start, found by Gauss–Newton steps of least norm,

    θ ← θ + Jᵀ K⁻¹ (y − f(θ)),   K = J Jᵀ + λ 1,

with the Jacobian J = ∂f/∂θ of the outputs f. Outputs and labels are divided by tolerated errors. It
is Gaussian-process regression whose kernel is the tangent kernel of the trained network (Jacot,
Gabriel and Hongler, Advances in Neural Information Processing Systems 31 (2018)). Where a step does
not make the errors smaller λ is raised (Levenberg, Quart. Appl. Math. 2, 164 (1944)). Some thousand
steps of gradient descent come less near to the labels, which matters: force constants are small
differences of forces.

Parameters are those of the last interaction and of the read-outs. With those before it the outputs
are less linear, which needs more steps, and larger Jacobians.

**Members** are a delete-d jackknife (Shao and Wu, Ann. Stat. 17, 1176 (1989)). A model that is not
fitted to some structures s, d of n, is off there by

    y_s − f_s = (K⁻¹)_ss⁻¹ (K⁻¹ y)_s,

and differs from the model of all labels by the step Δ that these errors cause. Its members have the
parameters θ + √((n − d)/d) Δ, so that their standard deviation is that of the model; each structure
is left out as often as others.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from torch import Tensor, nn

from eqcalc.datasets import Dataset
from eqcalc.models.potential import Potential
from eqcalc.neighbors import Pairs, pairs_within
from eqcalc.quantities import ordered, quantity
from eqcalc.structures import Structures
from eqcalc.training.config import TOLERATED, GaussNewtonConfig
from eqcalc.training.data import Batches
from eqcalc.training.initial import potential_from
from eqcalc.training.run_folder import dataset_record, start_record
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidInputError, count, one_of

#: Tolerated besides: a part of the energy above the lowest, and of the forces of a structure.
_RELATIVE = 0.01
#: λ in parts of the mean diagonal of the kernel: at least, and where no step makes errors smaller.
_NOISE, _MOST_NOISE = 1e-5, 100.0
#: Columns of a Jacobian whose products are added in its own precision.
_COLUMNS = 4096
#: Jacobians, and steps with each.
_JACOBIANS, _STEPS = 3, 4
#: Members among which the structures are divided once: each is fitted without so large a part.
_PARTS = 4
#: Copies of a Jacobian whose product is timed.
_TIMED = 8
#: Root mean square of errors, in tolerated ones, that is small enough.
_CONVERGED = 0.05


@dataclass(frozen=True)
class TangentFit:
    """A model that was fitted to few labels.

    Parameters
    ----------
    model
        The model.
    members
        Models of parts of the labels, so far from it that their standard deviation is its own.
    residual
        Root mean square of errors of the labels, in tolerated ones.
    left_out
        Root mean square errors by quantity, in internal units, of structures that are left out.
    """

    model: Potential
    members: tuple[Potential, ...]
    residual: float
    left_out: dict[str, float]


def tangent_fit(
    start: str | Path,
    dataset: Dataset,
    *,
    quantities: Sequence[str] = tuple(TOLERATED),
    members: int = 8,
    tolerated: Mapping[str, float] | None = None,
    memory: float = GaussNewtonConfig.memory,
    seed: int = 0,
) -> TangentFit:
    """Fit a trained model to a dataset of one molecule.

    Parameters
    ----------
    start
        The model file from which is started.
    dataset
        Few labelled structures of one molecule, at least two; not each needs all labels. Reference
        values are those of its level of theory; see :func:`eqcalc.training.initial.potential_from`.
    quantities
        Labels to fit, as far as the dataset has them.
    members
        Number of members.
    tolerated, memory
        See :class:`~eqcalc.training.config.GaussNewtonConfig`.
    seed
        Random seed.

    Raises
    ------
    InvalidInputError
        The dataset has structures of several molecules, or none of the labels.
    """
    count("members", members, least=2)
    settings = GaussNewtonConfig(tolerated or {}, memory)
    names = _learnt(dataset, quantities)
    heads = ordered(quantity(name).read_out for name in names)
    model = potential_from(Path(start), heads, dataset, np.arange(len(dataset)), seed=seed)
    model.metadata = {
        "level_of_theory": {name: dataset.levels_of_theory[name] for name in names},
        "charges": dataset.structures(np.arange(len(dataset))).charge.unique().tolist(),
        "training": {
            "dataset": {
                **dataset_record(dataset, np.arange(len(dataset))),
                "training": len(dataset),
            },
            "started_from": start_record(Path(start)),
        },
    }
    return _Fit(model, dataset, names, settings, seed).result(members)


def _learnt(dataset: Dataset, quantities: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that are fitted."""
    for name in quantities:
        one_of("quantities", name, TOLERATED)
    names = ordered(name for name in quantities if dataset.present(name).any())
    compositions = {tuple(record.numbers.tolist()) for record in dataset}
    if len(dataset) < 2 or len(compositions) != 1 or not names:
        raise InvalidInputError(
            key="dataset",
            value=str(dataset.path),
            expected="two or more structures of one molecule, its atoms in one order, with labels "
            f"of {', '.join(quantities)}",
        )
    return names


def described_errors(errors: Mapping[str, float]) -> str:
    """Return errors by quantity, in internal units, as text in units of the field."""
    parts = []
    for name, value in errors.items():
        unit, label = quantity(name).report[0]
        parts.append(f"{name} {value * conversion_factor(quantity(name).unit, unit):.3g} {label}")
    return ", ".join(parts)


def fitted_parameters(potential: Potential) -> list[nn.Parameter]:
    """Return the parameters of the last interaction and of the read-outs.

    The last interaction is what has the largest number in the name of a module; a representation
    without numbers is fitted as a whole.
    """
    named = dict(potential.representation.named_parameters())
    layers = {name: _layer(name) for name in named}
    last = max(layers.values(), default=-1)
    chosen = [named[name] for name, layer in layers.items() if layer == last]
    return [p for p in (*chosen, *potential.heads.parameters()) if p.requires_grad]


def _layer(name: str) -> int:
    """Return the first number among the parts of the name of a parameter, −1 without."""
    return next((int(part) for part in name.split(".") if part.isdigit()), -1)


def seconds_of_fits(
    potential: Potential, atoms: Atoms, names: Sequence[str], sizes: Sequence[int]
) -> tuple[float, ...]:
    """Return how long fits to so many structures of a molecule take at most, s.

    Parameters
    ----------
    potential
        The model.
    atoms
        The molecule, of which one Jacobian and one product are computed.
    names
        Labels.
    sizes
        Numbers of structures.
    """
    structures = Structures.from_atoms([atoms])
    pairs = pairs_within(structures, potential.cutoff)
    known = [name for name in names if name in potential.quantities]
    jacobian = _jacobian(potential, structures, pairs, known)  # the first one is slower
    times = [time.perf_counter()]
    jacobian = _jacobian(potential, structures, pairs, known).repeat(_TIMED, 1)
    times.append(time.perf_counter())
    _ = jacobian @ jacobian.T
    times.append(time.perf_counter())
    each, product = times[1] - times[0], (times[2] - times[1]) / _TIMED**2
    size = jacobian.numel() / _TIMED * jacobian.element_size() * 1e-9
    whole = GaussNewtonConfig.memory / size
    return tuple(_JACOBIANS * n * (each + product * min(n, whole)) for n in sizes)


def _jacobian(
    potential: Potential,
    structures: Structures,
    pairs: Pairs,
    names: Sequence[str],
    weights: Tensor | float = 1.0,
) -> Tensor:
    """Return that of the outputs of one structure, ``[n_outputs, n_parameters]``.

    The outputs have the factors `weights`, ``[n_outputs]``.
    """
    parameters = fitted_parameters(potential)
    values = potential.evaluate(structures, pairs, names, create_graph=True)
    row = (_rows(values, names, 1)[0] * weights).to(potential.dtype)
    columns = torch.autograd.grad(
        row,
        parameters,
        torch.eye(len(row), dtype=row.dtype),
        is_grads_batched=True,
        allow_unused=True,
    )
    blocks = [
        row.new_zeros(len(row), parameter.numel()) if column is None else column.flatten(1)
        for column, parameter in zip(columns, parameters, strict=True)
    ]
    return torch.cat(blocks, dim=1)


def _rows(values: Mapping[str, Tensor], names: Sequence[str], n: int) -> Tensor:
    """Return values of `n` structures of one molecule as rows, ``[n, n_outputs]`` float64."""
    parts = []
    for name in names:
        value = values[name].double().reshape(n, *_shape(values[name], name, n))
        if quantity(name).symmetric:
            i, j = torch.triu_indices(*value.shape[-2:])
            value = value[..., i, j]
        parts.append(value.reshape(n, -1))
    return torch.cat(parts, dim=1)


def _shape(value: Tensor, name: str, n: int) -> tuple[int, ...]:
    atoms = (len(value) // n,) if quantity(name).per_atom else ()
    return (*atoms, *quantity(name).shape)


class _Fit:
    """The labels, and the model as it is fitted to them."""

    def __init__(
        self,
        potential: Potential,
        dataset: Dataset,
        names: Sequence[str],
        settings: GaussNewtonConfig,
        seed: int,
    ) -> None:
        self._potential, self._names, self._n = potential, names, len(dataset)
        batches = Batches(dataset, names, potential.cutoff)
        self._whole = batches[np.arange(self._n)]
        self._single = [batches[np.array([k])] for k in range(self._n)]
        #: Of each output; zero, as its weight is, where it has no label.
        self._labels = _rows(self._whole.labels, names, self._n)
        self._known = self._labels.isfinite()
        self._weights = torch.where(
            self._known, 1.0 / self._widths({**TOLERATED, **settings.tolerated}), 0.0
        )
        self._labels = torch.where(self._known, self._labels, 0.0)
        self._parameters = fitted_parameters(potential)
        self._start = self._flat()
        size = len(self._start)
        self._generator = torch.Generator().manual_seed(seed)
        numbers = round(settings.memory * 1e9) // self._start.element_size()
        kept = max(1, min(size, numbers // self._labels.numel()))
        #: Which of all parameters are fitted.
        self._places = torch.randperm(size, generator=self._generator)[:kept].sort().values
        # written anew in place, as there is hardly memory for two of them
        self._jacobian = self._start.new_empty(self._labels.numel(), kept)

    def _widths(self, tolerated: Mapping[str, float]) -> Tensor:
        """Return the tolerated error of each label, ``[n, n_outputs]``."""
        labels, parts = self._whole.labels, []
        for name in self._names:
            size = _rows(labels, (name,), self._n)
            width = torch.full_like(size, tolerated[name])
            if name == "energy":
                width += _RELATIVE * (size - size[size.isfinite()].min())
            elif name == "forces":
                width += _RELATIVE * size.square().mean(1, keepdim=True).sqrt()
            parts.append(width)
        return torch.cat(parts, dim=1)

    def _flat(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self._parameters])

    def _set(self, values: Tensor, parameters: Sequence[Tensor] | None = None) -> None:
        parameters = self._parameters if parameters is None else parameters
        parts = values.split([p.numel() for p in parameters])
        with torch.no_grad():
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.copy_(part.view_as(parameter))

    def _residual(self) -> Tensor:
        """Return the errors of all labels in tolerated ones, ``[n n_outputs]``."""
        found = self._potential.evaluate(self._whole.structures, self._whole.pairs, self._names)
        return (self._weights * (self._labels - _rows(found, self._names, self._n))).flatten()

    def _linearise(self) -> None:
        """Set J, the mean diagonal of J Jᵀ, and the factor of J Jᵀ + λ 1 in parts of it."""
        rows = self._weights.shape[1]
        parts = self._jacobian.split(rows)
        for part, one, weights in zip(parts, self._single, self._weights, strict=True):
            found = _jacobian(self._potential, one.structures, one.pairs, self._names, weights)
            torch.index_select(found, 1, self._places, out=part)
        kernel = torch.zeros(len(self._jacobian), len(self._jacobian), dtype=torch.float64)
        for part in self._jacobian.split(_COLUMNS, dim=1):
            kernel += (part @ part.T).double()
        self._scale = float(kernel.diagonal().sum() / self._known.sum())
        self._kernel = kernel / self._scale
        self._noise, failed = 0.1 * _NOISE, True
        while failed:  # until λ is larger than what the products were rounded by
            failed = self._damp()

    def _damp(self) -> bool:
        """Raise λ tenfold, and return whether the kernel is still not positive definite."""
        self._noise *= 10.0
        damping = self._noise * torch.eye(len(self._kernel), dtype=torch.float64)
        self._factor, failed = torch.linalg.cholesky_ex(self._kernel + damping)
        return bool(failed)

    def _step(self, errors: Tensor) -> Tensor:
        """Return the change of all parameters that takes away errors."""
        solved = torch.cholesky_solve(errors[:, None], self._factor)[:, 0] / self._scale
        change = torch.zeros_like(self._start)
        change[self._places] = self._jacobian.T @ solved.to(change.dtype)
        return change

    def result(self, members: int) -> TangentFit:
        """Fit the model, and draw members."""
        errors = self._residual()
        for _ in range(_JACOBIANS):
            self._linearise()
            steps = 0
            while steps < _STEPS:
                before = self._flat()
                self._set(before + self._step(errors))
                now = self._residual()
                if now.norm() < errors.norm():
                    errors, steps = now, steps + 1
                    continue
                self._set(before)
                if steps or self._noise >= _MOST_NOISE:
                    break
                self._damp()  # a shorter step
            if self._size(errors) < _CONVERGED:
                break
        centre = self._flat()
        moved = self._jacobian @ (centre - self._start)[self._places]
        targets = errors + moved.double()
        self._solved = torch.cholesky_solve(targets[:, None], self._factor).view(self._n, -1)
        self._inverse = torch.cholesky_inverse(self._factor)
        missed = torch.zeros_like(self._weights)
        drawn: list[Potential] = []
        while len(drawn) < members:
            for part in torch.randperm(self._n, generator=self._generator).chunk(_PARTS):
                missed[part] = self._missed(part)
                drawn.append(self._member(centre, part, missed[part], len(drawn)))
        sizes = [_rows(self._whole.labels, (name,), self._n).shape[1] for name in self._names]
        left_out = {
            name: float(part[known].square().mean().sqrt())
            for name, part, known in zip(
                self._names,
                (missed / self._weights).split(sizes, dim=1),
                self._known.split(sizes, dim=1),
                strict=True,
            )
        }
        return TangentFit(self._potential, tuple(drawn[:members]), self._size(errors), left_out)

    def _size(self, errors: Tensor) -> float:
        """Return the root mean square over labels that are known."""
        return float((errors.square().sum() / self._known.sum()).sqrt())

    def _missed(self, part: Tensor) -> Tensor:
        """Return the errors of a model that is not fitted to some structures, for these."""
        size = self._weights.shape[1]
        places = (part[:, None] * size + torch.arange(size)).flatten()
        errors = torch.linalg.solve(self._inverse[places][:, places], self._solved[part].flatten())
        return errors.view(-1, size)

    def _member(self, centre: Tensor, part: Tensor, missed: Tensor, number: int) -> Potential:
        """Return a member without some structures, from the errors of a model without them."""
        errors = torch.zeros_like(self._weights)
        errors[part] = -missed
        width = math.sqrt((self._n - len(part)) / len(part))
        member = copy.deepcopy(self._potential)
        self._set(centre + width * self._step(errors.flatten()), fitted_parameters(member))
        member.metadata = {**member.metadata, "member": number}
        return member
