# SPDX-License-Identifier: MIT
"""Uncertainty of a model: the distribution of the last layers of its read-outs.

A read-out is linear in the parameters θ of its last layer. With a Gaussian likelihood and prior
their distribution is Gaussian in closed form, that of Bayesian linear regression on the features
that training has found (Bigi, Chong, Ceriotti and Grasselli, Mach. Learn.: Sci. Technol. 5, 045018
(2024)):

    θ ~ N(θ̂, C),   C = a² (Σ_n J_nᵀ J_n / σ_n² + ε 1)⁻¹,

with the Jacobians J of all labels n of the training set, their errors σ, and a factor a that
calibrates it on molecules that were not trained on
(:func:`eqcalc.training.calibrated_last_layers`). Its samples are models that share everything but
these layers; they disagree where the features of a molecule are far from those of the training set.

===========  ======================================================
C = L Lᵀ     :class:`LastLayers`, which has L by quantity
θ̂ + L z      :func:`last_layer_members`, with normal z
===========  ======================================================
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from eqcalc.models.potential import Potential
from eqcalc.models.readouts import Head
from eqcalc.validation import InvalidInputError, count


class LastLayers(nn.Module):
    """Covariances of the last layers of read-outs, as factors L with C = L Lᵀ.

    Parameters
    ----------
    factors
        L ``[p, p]`` by quantity.
    """

    def __init__(self, factors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, factor in factors.items():
            self.register_buffer(name, factor.detach().clone())


def parameters_of(layer: nn.Linear) -> Tensor:
    """Return the parameters θ ``[p]`` of a layer: its weights, row by row, and its bias."""
    return torch.cat([layer.weight.detach().flatten(), layer.bias.detach()])


def set_parameters(layer: nn.Linear, values: Tensor) -> None:
    """Set the parameters of a layer to θ ``[p]``."""
    with torch.no_grad():
        weights, bias = values.split([layer.weight.numel(), layer.bias.numel()])
        layer.weight.copy_(weights.view_as(layer.weight))
        layer.bias.copy_(bias)


def parameter_columns(layer: nn.Linear, output: Callable[[], Tensor]) -> Tensor:
    """Return the Jacobian of an output that is linear in the parameters of a layer, ``[…, p]``.

    Column k is the output for the k-th unit vector as parameters, less that for zeros.

    Parameters
    ----------
    layer
        The layer. Its parameters are replaced meanwhile but not changed, so that executions of
        the model remain valid.
    output
        Evaluates the output with the present parameters.
    """
    fitted = layer.weight, layer.bias
    theta = parameters_of(layer)
    layer.weight, layer.bias = (nn.Parameter(torch.zeros_like(p)) for p in fitted)
    try:
        offset = output()
        columns = []
        for unit in torch.eye(len(theta), dtype=theta.dtype, device=theta.device):
            set_parameters(layer, unit)
            columns.append(output() - offset)
    finally:
        layer.weight, layer.bias = fitted
    return torch.stack(columns, dim=-1)


def last_layer(potential: Potential, name: str) -> nn.Linear:
    """Return the last layer of the read-out of a quantity.

    Raises
    ------
    InvalidInputError
        The read-out is not linear in a last layer.
    """
    found = cast("Head", potential.heads[name]).last_layer
    if found is None:
        raise InvalidInputError(
            key=f"read_outs.{name}",
            value=type(potential.heads[name]).__name__,
            expected="a read-out that is linear in its last layer",
        )
    return found


def last_layer_factors(potential: Potential) -> dict[str, Tensor]:
    """Return L with C = L Lᵀ by quantity, ``[p, p]``.

    Raises
    ------
    InvalidInputError
        The model has no distribution of its last layers.
    """
    if not isinstance(potential.last_layers, LastLayers):
        raise InvalidInputError(
            "this model does not know its uncertainty",
            key="model",
            value=str(potential.file or potential.metadata.get("hash", "")),
            expected="one with the distribution of its last layers",
            advice="use a committee of models, or eqcalc.training.calibrated_last_layers",
        )
    return dict(potential.last_layers.named_buffers())


def with_last_layers(potential: Potential, factors: Mapping[str, Tensor]) -> Potential:
    """Return a copy of a model that has the distribution of its last layers.

    Parameters
    ----------
    potential
        The model.
    factors
        L with C = L Lᵀ by quantity, ``[p, p]``.
    """
    found = copy.deepcopy(potential)
    found.last_layers = LastLayers(factors)
    return found.to(device=potential.device, dtype=potential.dtype)


def last_layer_members(potential: Potential, n: int = 8, seed: int = 0) -> list[Potential]:
    """Return models whose last layers are drawn from their distribution.

    Their standard deviation is that of the model. The same seed gives the same members.

    Parameters
    ----------
    potential
        A model with a distribution of its last layers.
    n
        Number of members, at least two.
    seed
        Random seed.

    Raises
    ------
    InvalidInputError
        The model has no such distribution.
    """
    count("n", n, least=2)
    factors = last_layer_factors(potential)
    generator = torch.Generator().manual_seed(seed)
    members = []
    for k in range(n):
        member = copy.deepcopy(potential)
        member.last_layers = None
        for name, factor in factors.items():
            layer = last_layer(member, name)
            normal = torch.randn(len(factor), generator=generator, dtype=torch.float64)
            step = factor.to("cpu", torch.float64) @ normal
            set_parameters(layer, parameters_of(layer) + step.to(layer.weight))
        drawn = f"{member.metadata.get('hash', '')}, last layers {seed}.{k}"
        member.metadata = {**member.metadata, "hash": drawn}
        members.append(member)
    return members
