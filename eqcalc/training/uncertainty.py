# SPDX-License-Identifier: MIT
"""Fit and calibrate the distribution of the last layers of a model; see `models.last_layers`.

The Jacobian of a quantity with respect to the parameters of a last layer is found column by column:
a read-out is linear in them, so that column k is the output of the network whose last layer is the
k-th unit vector.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import spearmanr
from torch import Tensor

from eqcalc.datasets import Dataset
from eqcalc.facts import ComparedByValue
from eqcalc.models.last_layers import (
    last_layer,
    last_layer_factors,
    parameter_columns,
    with_last_layers,
)
from eqcalc.models.potential import Potential
from eqcalc.progress import progress_bar
from eqcalc.quantities import ordered, quantity
from eqcalc.training.data import Batch, Batches

#: Structures evaluated at once.
_BATCH = 8
#: ε relative to the mean of the diagonal.
_DAMPING = 1e-6
#: Groups of structures by their predicted error.
_GROUPS = 5


@dataclass(frozen=True, eq=False)
class Calibration(ComparedByValue):
    """Predicted against actual errors of a quantity on structures that were not trained on.

    Parameters
    ----------
    quantity, unit
        Name and unit.
    predicted, actual
        Root mean square errors, predicted and found, of groups of structures from small to large
        predicted errors, ``[n_groups]``.
    within
        Shares of the components within one and two predicted standard deviations.
    correlation
        Rank correlation of both over structures.
    """

    quantity: str
    unit: str
    predicted: np.ndarray
    actual: np.ndarray
    within: tuple[float, float]
    correlation: float

    def record(self) -> dict[str, Any]:
        """Return the calibration as JSON-able mapping."""
        return {
            "unit": self.unit,
            "predicted": self.predicted.round(5).tolist(),
            "actual": self.actual.round(5).tolist(),
            "within": list(self.within),
            "rank_correlation": self.correlation,
        }


def calibrated_last_layers(
    model: Potential,
    dataset: Dataset,
    training: ArrayLike,
    validation: ArrayLike,
    *,
    progress: bool = False,
) -> Potential:
    """Return a model that knows its uncertainty.

    Parameters
    ----------
    model
        A trained model.
    dataset
        Labelled structures.
    training
        Structures it was trained on, or a fair sample of some hundred.
    validation
        Structures of molecules it was not trained on; they decide the factor a.
    progress
        Show the progress.
    """
    fitted = copy.deepcopy(model).double()
    precisions: dict[str, Tensor] = {}
    for name, jacobian, error in _rows(fitted, dataset, training, progress):
        weighted = jacobian / error.square().mean().sqrt().clamp(min=1e-12)
        head = quantity(name).read_out
        precisions[head] = precisions.get(head, 0.0) + weighted.T @ weighted
    factors = {}
    for head, precision in precisions.items():
        damping = _DAMPING * precision.diagonal().mean()
        eye = torch.eye(len(precision), dtype=precision.dtype)
        # C = P⁻¹ = L Lᵀ with P = R Rᵀ and L = R⁻ᵀ
        lower = torch.linalg.cholesky(precision + damping * eye)
        factors[head] = torch.linalg.solve_triangular(lower, eye, upper=False).T
    sums: dict[str, np.ndarray] = {}
    for name, jacobian, error in _rows(fitted, dataset, validation, progress):
        head = quantity(name).read_out
        # forces, where they are known, decide the factor of the energy
        if name != "energy" or "forces" not in dataset.quantities:
            variance = (jacobian @ factors[head]).square().sum(-1)
            found = np.array([float(error.square().sum()), float(variance.sum())])
            sums[head] = sums.get(head, 0.0) + found
    scaled = {
        name: float(np.sqrt(sums[name][0] / sums[name][1])) * factor
        for name, factor in factors.items()
    }
    return with_last_layers(model, scaled)


def calibration(
    model: Potential, dataset: Dataset, rows: ArrayLike, *, progress: bool = False
) -> list[Calibration]:
    """Return predicted against actual errors on held-out structures, by quantity.

    Parameters
    ----------
    model
        A model with the distribution of its last layers.
    dataset, rows
        Labelled structures.
    progress
        Show the progress.

    Raises
    ------
    InvalidInputError
        The model has no such distribution.
    """
    factors = {name: factor.double() for name, factor in last_layer_factors(model).items()}
    found: dict[str, list[tuple[float, float, np.ndarray]]] = {}
    for name, jacobian, error in _rows(copy.deepcopy(model).double(), dataset, rows, progress):
        variance = (jacobian @ factors[quantity(name).read_out]).square().sum(-1)
        ratio = (error.abs() / variance.sqrt()).flatten().numpy()
        found.setdefault(name, []).append(
            (float(variance.mean().sqrt()), float(error.square().mean().sqrt()), ratio)
        )
    tables = []
    for name in ordered(found):
        predicted, actual = (np.array([row[k] for row in found[name]]) for k in (0, 1))
        ratios = np.concatenate([row[2] for row in found[name]])
        groups = np.array_split(np.argsort(predicted), _GROUPS)
        tables.append(
            Calibration(
                name,
                quantity(name).unit,
                np.array([np.sqrt(np.mean(predicted[g] ** 2)) for g in groups]),
                np.array([np.sqrt(np.mean(actual[g] ** 2)) for g in groups]),
                (float(np.mean(ratios < 1.0)), float(np.mean(ratios < 2.0))),
                float(spearmanr(predicted, actual).statistic),
            )
        )
    return tables


def _rows(
    model: Potential, dataset: Dataset, indices: ArrayLike, progress: bool
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield quantity, Jacobian ``[n, p]`` and errors ``[n]`` of each structure and known label."""
    heads = [name for name in model.config.heads if name in dataset.quantities]
    forces = "energy" in heads and "forces" in dataset.quantities
    names = [*heads, *(["forces"] if forces else [])]
    batches = Batches(dataset, names, model.cutoff)
    chosen = np.atleast_1d(np.asarray(indices))
    parts = np.array_split(chosen, max(-(-len(chosen) // _BATCH), 1))
    for part in progress_bar(parts, shown=progress, desc="uncertainty"):
        batch = batches[np.sort(part)]
        for name in heads:
            yield from _of_quantity(model, batch, name, with_forces=forces and name == "energy")


def _of_quantity(
    model: Potential, batch: Batch, name: str, *, with_forces: bool
) -> Iterator[tuple[str, Tensor, Tensor]]:
    structures = batch.structures
    positions = structures.positions.detach().requires_grad_(with_forces)
    moved = structures.with_positions(positions)
    counts: Sequence[int] = structures.counts.tolist()

    def outputs() -> Tensor:
        """Return the quantity, then the forces."""
        value = model.read_out(name, features, moved)
        if not with_forces:
            return value.detach().flatten()
        (gradient,) = torch.autograd.grad(value.sum(), positions, retain_graph=True)
        return torch.cat([value.detach().flatten(), -gradient.flatten()])

    with torch.set_grad_enabled(with_forces):
        features = model.representation(moved, batch.pairs)
        value = outputs()
        jacobian = parameter_columns(last_layer(model, name), outputs)
    size = batch.labels[name].numel()
    parts = {name: slice(size), **({"forces": slice(size, None)} if with_forces else {})}
    for kind, part in parts.items():
        label = batch.labels[kind]
        error = value[part].view_as(label) - label.to(value.dtype)
        columns = jacobian[part].view(*label.shape, -1)
        per_atom = quantity(kind).per_atom
        sizes = counts if per_atom else [1] * len(counts)
        present = batch.present[kind]
        for k, (one, row) in enumerate(zip(error.split(sizes), columns.split(sizes), strict=True)):
            if present[k]:
                scale = counts[k] if quantity(kind).error_per_atom else 1
                yield kind, row.reshape(-1, row.shape[-1]) / scale, one.flatten() / scale
