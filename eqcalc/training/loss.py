# SPDX-License-Identifier: MIT
"""The loss: weighted mean squares of the errors of the labels, with outliers counted linearly."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from eqcalc.quantities import quantity
from eqcalc.structures import Structures


def errors(
    name: str, predicted: Tensor, label: Tensor, present: Tensor, structures: Structures
) -> tuple[Tensor, Tensor]:
    """Return the errors of one quantity, zero for unknown labels, and their mask.

    Energy errors are per atom, so that large and small molecules have the same weight. All nine
    components of a tensor are used, which makes the sum of squares the squared Frobenius norm
    and the loss rotationally invariant. The dipole moment of a periodic cell is compared with the
    nearest of the values that differ by e times lattice vectors.

    Parameters
    ----------
    name
        Quantity.
    predicted, label
        ``[n_structures, ...]``, for forces ``[n_atoms, 3]``. Unknown labels may have any
        value, including NaN.
    present
        Which structures have the label, ``[n_structures]`` bool.
    structures
        The structures.

    Returns
    -------
    error
        As `predicted`, in internal units (energy: per atom).
    known
        1 for every component that is known, else 0; as `predicted`.
    """
    known = structures.spread_to_atoms(present) if quantity(name).per_atom else present
    known = known.reshape(-1, *[1] * (predicted.ndim - 1)).expand_as(predicted)
    error = torch.where(known, predicted - label.to(predicted.dtype), 0.0)
    if quantity(name).of_charges:
        error = structures.nearest_images(error)
    if quantity(name).error_per_atom:
        error = error / structures.counts
    return error, known.to(predicted.dtype)


def sum_of_squares(error: Tensor, linear_beyond: float | None = None) -> Tensor:
    """Return Σ|Δ|², or its pseudo-Huber form Σ 2δ²(√(1 + |Δ|²/δ²) − 1), 2δ|Δ| for |Δ| ≫ δ.

    Parameters
    ----------
    error
        See :func:`errors`. |Δ| is the length of a vector, or the Frobenius norm of a tensor.
    linear_beyond
        δ, in the unit of the errors; None for plain squares.
    """
    if linear_beyond is None:
        return error.square().sum()
    reduced = error.reshape(len(error), -1).square().sum(1) / linear_beyond**2
    # √(1 + x) − 1 without cancellation
    return 2.0 * linear_beyond**2 * (reduced / (torch.sqrt(1.0 + reduced) + 1.0)).sum()


@dataclass(frozen=True)
class Loss:
    """``Σ_q weight_q · mean|Δ_q|² / scale_q²`` over known labels.

    Scales are in internal units, for energies per atom. Errors beyond those of `linear_beyond`
    count linearly (:func:`sum_of_squares`).
    """

    weights: Mapping[str, float]
    scales: Mapping[str, float]
    linear_beyond: Mapping[str, float] = field(default_factory=dict)

    def __call__(
        self,
        predicted: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        structures: Structures,
        share: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the loss of one batch; quantities without known labels contribute nothing.

        Parameters
        ----------
        predicted, labels, present, structures
            See :func:`errors`; by quantity.
        share
            If a batch is divided among processes, the mean number of known components per
            process, ``[n_quantities]``. The mean of the losses of all processes is then that of
            the whole batch.
        """
        found = [
            errors(name, predicted[name], labels[name], present[name], structures)
            for name in self.weights
        ]
        sums = torch.stack(
            [
                sum_of_squares(error, self.linear_beyond.get(name))
                for name, (error, _) in zip(self.weights, found, strict=True)
            ]
        )
        counts = torch.stack([known.sum() for _, known in found])
        if share is not None:
            counts = share(counts)
        means = sums / torch.where(counts > 0.0, counts, 1.0)
        factors = tuple(self._factors().values())
        return (_on_device(factors, sums.dtype, sums.device) * means).sum()

    def of_mean_squares(self, mean_squares: Mapping[str, float]) -> float:
        """Return the loss from mean squared errors (energy: per atom) of many batches."""
        return sum(factor * mean_squares[name] for name, factor in self._factors().items())

    def _factors(self) -> dict[str, float]:
        return {name: weight / self.scales[name] ** 2 for name, weight in self.weights.items()}


@functools.cache
def _on_device(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # built once: copying it to a GPU would synchronise
    return torch.tensor(values, dtype=dtype, device=device)


class ErrorSums:
    """Running sums of the errors of the quantities `names`, kept on `device`.

    Squares are those of a loss with the same `linear_beyond`.
    """

    def __init__(
        self,
        names: Sequence[str],
        device: torch.device | str = "cpu",
        linear_beyond: Mapping[str, float] | None = None,
    ) -> None:
        self.names = tuple(names)
        self._linear_beyond = linear_beyond or {}
        #: Sums of absolute and squared errors, and numbers of components,
        #: ``[n_quantities, 3]``; additive over processes.
        self.sums = torch.zeros(len(self.names), 3, dtype=torch.float64, device=device)

    def add(
        self,
        predicted: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        structures: Structures,
    ) -> None:
        """Add the errors of one batch."""
        for row, name in enumerate(self.names):
            values = predicted[name].detach()
            error, known = errors(name, values, labels[name], present[name], structures)
            squares = sum_of_squares(error, self._linear_beyond.get(name))
            self.sums[row] += torch.stack([error.abs().sum(), squares, known.sum()])

    def mean_absolutes(self) -> dict[str, float]:
        """Return mean absolute errors in internal units (energy per atom); 0 without labels."""
        return self._means(0)

    def mean_squares(self) -> dict[str, float]:
        """Return mean squared errors; see :meth:`mean_absolutes`."""
        return self._means(1)

    def _means(self, column: int) -> dict[str, float]:
        means = self.sums[:, column] / self.sums[:, 2].clamp(min=1.0)
        return dict(zip(self.names, means.tolist(), strict=True))
