# SPDX-License-Identifier: MIT
"""Mean absolute and root-mean-square errors, summed batch by batch and over processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eqcalc.structures import Structures
from eqcalc.training.loss import errors

__all__ = ["ErrorSums"]


class ErrorSums:
    """Running sums of the errors of several quantities.

    Parameters
    ----------
    names
        Quantities.
    device
        Where the sums are kept.
    """

    def __init__(self, names: Sequence[str], device: torch.device | str = "cpu") -> None:
        self.names = tuple(names)
        #: Sums of absolute errors, of squared errors, and numbers of components,
        #: ``[n_quantities, 3]``; sums of several processes may be added.
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
            error, known = errors(
                name, predicted[name].detach(), labels[name], present[name], structures
            )
            self.sums[row] += torch.stack([error.abs().sum(), error.square().sum(), known.sum()])

    def mean_squares(self) -> dict[str, float]:
        """Return mean squared errors in internal units; energy per atom; 0 if nothing is known."""
        means = self.sums[:, 1] / self.sums[:, 2].clamp(min=1.0)
        return dict(zip(self.names, means.tolist(), strict=True))

    def mean_absolutes(self) -> dict[str, float]:
        """Return mean absolute errors in internal units; energy per atom; 0 if nothing is known."""
        means = self.sums[:, 0] / self.sums[:, 2].clamp(min=1.0)
        return dict(zip(self.names, means.tolist(), strict=True))
