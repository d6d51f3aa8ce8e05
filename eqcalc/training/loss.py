# SPDX-License-Identifier: MIT
"""The loss: weighted mean squared errors over whichever labels are there."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eqcalc.quantities import quantity
from eqcalc.structures import Structures

__all__ = ["Loss", "errors"]


def errors(
    name: str, predicted: Tensor, label: Tensor, present: Tensor, structures: Structures
) -> tuple[Tensor, Tensor]:
    """Return the errors of one quantity, zero where the label is unknown, and their weights.

    The energy error is per atom, so that large and small molecules count the
    same. A polarizability contributes its nine components: each off-diagonal
    one counts twice, which makes the sum of squares the squared Frobenius norm
    and the loss independent of the orientation.

    Parameters
    ----------
    name
        Quantity.
    predicted, label
        ``[n_structures, ...]``, for forces ``[n_atoms, 3]``. Unknown labels may
        hold anything, also NaN.
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
    if name == "energy":
        error = error / structures.counts
    return error, known.to(predicted.dtype)


@dataclass(frozen=True)
class Loss:
    """``Σ_q weight_q · mean|Δ_q|² / scale_q²`` over the labels that are known.

    Parameters
    ----------
    weights
        By quantity.
    scales
        By quantity, in internal units; of the energy per atom.
    """

    weights: Mapping[str, float]
    scales: Mapping[str, float]

    def __call__(
        self,
        predicted: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        structures: Structures,
        share: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the loss of one batch; a quantity nobody knows adds nothing.

        Parameters
        ----------
        predicted, labels, present, structures
            See :func:`errors`; by quantity.
        share
            Where a batch is divided among processes: the mean over processes of
            the numbers of known components ``[n_quantities]``. The mean of the
            losses of the processes is then that of the whole batch.
        """
        found = [
            errors(name, predicted[name], labels[name], present[name], structures)
            for name in self.weights
        ]
        sums = torch.stack([error.square().sum() for error, _ in found])
        counts = torch.stack([known.sum() for _, known in found])
        if share is not None:
            counts = share(counts)
        factors = tuple(self.weights[name] / self.scales[name] ** 2 for name in self.weights)
        means = sums / torch.where(counts > 0.0, counts, 1.0)
        return (_on_device(factors, sums.dtype, sums.device) * means).sum()

    def of_mean_squares(self, mean_squares: Mapping[str, float]) -> float:
        """Return the loss from mean squared errors (energy: per atom) of many batches."""
        return sum(
            self.weights[name] / self.scales[name] ** 2 * mean_squares[name]
            for name in self.weights
        )


@functools.cache
def _on_device(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # made once: copying it to a GPU would wait for the GPU
    return torch.tensor(values, dtype=dtype, device=device)
