# SPDX-License-Identifier: MIT
"""The loss: weighted mean squared errors over whichever labels are there."""

from __future__ import annotations

from collections.abc import Mapping
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
    ) -> Tensor:
        """Return the loss of one batch; a quantity nobody knows adds nothing."""
        total = structures.positions.new_zeros(())
        for name in self.weights:
            error, known = errors(name, predicted[name], labels[name], present[name], structures)
            mean = error.square().sum() / known.sum().clamp(min=1.0)
            total = total + self.weights[name] / self.scales[name] ** 2 * mean
        return total

    def of_mean_squares(self, mean_squares: Mapping[str, float]) -> float:
        """Return the loss from mean squared errors (energy: per atom) of many batches."""
        return sum(
            self.weights[name] / self.scales[name] ** 2 * mean_squares[name]
            for name in self.weights
        )
