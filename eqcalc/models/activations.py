# SPDX-License-Identifier: MIT
"""Activation functions by name."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from eqcalc.validation import one_of


class ShiftedSoftplus(nn.Module):
    """``ln((1 + exp βx)/2)/β``, which is zero at zero (Schütt et al., SchNet, 2017)."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """Apply to every element."""
        return nn.functional.softplus(x, self.beta) - math.log(2.0) / self.beta


class Normalized(nn.Module):
    """An activation scaled so that normally distributed inputs give a mean square of one.

    Signals then keep unit variance from layer to layer for any activation (e3nn). The mean square
    is computed by Gauss–Hermite quadrature.
    """

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function
        nodes, weights = np.polynomial.hermite_e.hermegauss(64)
        values = function(torch.as_tensor(nodes)).square().numpy()
        self.factor = float((weights @ values / weights.sum()) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to every element."""
        return self.factor * self.function(x)


#: Activations by the name used in configurations.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "shifted_softplus": ShiftedSoftplus,
}


def activation(name: str) -> nn.Module:
    """Return the activation called `name`.

    Raises
    ------
    InvalidInputError
        There is no activation of that name.
    """
    return ACTIVATIONS[one_of("activation", name, ACTIVATIONS)]()
