# SPDX-License-Identifier: MIT
"""PaiNN's sum of messages with Triton kernels, differentiable to any order.

The sum of messages is linear in each of its arguments, so it and all of its
derivatives are derivatives of one functional L of senders (a, b, c), receivers
(g, h), radial functions ρ, weights ω and directions u, which is written out in
:mod:`eqcalc.runtime.triton.kernels`:

====================  ==================================================
∂L/∂(g, h)            the messages, summed over the senders
∂L/∂(a, b, c)         sums over the receivers of every sender
∂L/∂(ρ, u), ∂L/∂ω     for every pair, and over all pairs
====================  ==================================================

Let x stand for an argument whose derivative is one of these four functions. The product of that
function with a cotangent γ is L with x replaced by γ; its derivatives, needed in the backward pass,
are the other three functions with the same replacement. Four kernels therefore give all orders. u
occurs in only one of the three terms of L, so with u replaced by a cotangent the other two vanish.

Filters are computed from ρ and ω inside the kernels. Stored, the filters of a layer would be the
largest array of the network, 12 F bytes per pair in float32, written and read by each of these
functions; ρ takes 4 K bytes, 19 times less with 128 features and 20 radial functions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eqcalc.neighbors import Pairs
from eqcalc.runtime.triton import launch as triton_launch
from eqcalc.runtime.triton.launch import Functional


def sum_messages(
    context: Tensor,
    vectors: Tensor | None,
    radial: Tensor,
    weights: Tensor,
    directions: Tensor,
    pairs: Pairs,
) -> tuple[Tensor, Tensor]:
    """Sum the messages to every atom; see :func:`eqcalc.models.networks.painn.sum_messages`.

    The result is differentiable to any order in reverse mode; forward mode is not supported.
    """
    n_atoms, width = context.shape
    features = width // 3
    functional = Functional(pairs.compressed(n_atoms), carried=vectors is not None)
    carried = None if vectors is None else context[:, None, 2 * features :] * vectors
    received: tuple[Tensor, Tensor] = _ToReceivers.apply(
        context[:, : 2 * features], carried, radial, weights, directions, functional
    )
    return received


class _Arguments(NamedTuple):
    """All arguments of L; one that is not needed for a derivative may be None."""

    scalars: Any
    carried: Any
    g: Any
    h: Any
    radial: Any
    weights: Any
    directions: Any


def _derivatives(
    at: _Arguments, of: Functional, names: Collection[str]
) -> dict[str, Tensor | None]:
    """Return the derivatives of L with respect to some of its arguments, by name."""
    a, c, g, h, radial, weights, u = at
    found: dict[str, Tensor | None] = {}
    if not of.carried:
        c = None
    if "scalars" in names or "carried" in names:
        found["scalars"], found["carried"] = _ToSenders.apply(g, h, radial, weights, u, of)
    if "g" in names or "h" in names:
        found["g"], found["h"] = _ToReceivers.apply(a, c, radial, weights, u, of)
    which = "radial" in names, "directions" in names
    if any(which):
        found["radial"], found["directions"] = _ToPairs.apply(
            a, c, g, h, radial, weights, u, of, *which
        )
    if "weights" in names:
        found["weights"] = _ToWeights.apply(a, c, g, h, radial, u, of)
    return found


def _needed(ctx: Any, names: Sequence[str]) -> set[str]:
    return {name for name, needed in zip(names, ctx.needs_input_grad, strict=False) if needed}


class _ToReceivers(torch.autograd.Function):
    """∂L/∂(g, h) as a function of (a, b), c, ρ, ω and u."""

    names = ("scalars", "carried", "radial", "weights", "directions")

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        *tensors, ctx.of = inputs
        ctx.save_for_backward(*tensors)
        return triton_launch.to_receivers(*inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        scalars, carried, *pairs = ctx.saved_tensors
        at = _Arguments(scalars, carried, *cotangents, *pairs)
        found = _derivatives(at, ctx.of, _needed(ctx, _ToReceivers.names))
        return *(found.get(name) for name in _ToReceivers.names), None


class _ToSenders(torch.autograd.Function):
    """∂L/∂(a, b) and ∂L/∂c as a function of g, h, ρ, ω and u."""

    names = ("g", "h", "radial", "weights", "directions")

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor | None]:
        *tensors, ctx.of = inputs
        ctx.save_for_backward(*tensors)
        return triton_launch.to_senders(*inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        at = _Arguments(*cotangents, *ctx.saved_tensors)
        found = _derivatives(at, ctx.of, _needed(ctx, _ToSenders.names))
        return *(found.get(name) for name in _ToSenders.names), None


class _ToPairs(torch.autograd.Function):
    """∂L/∂ρ and ∂L/∂u as a function of all; None if not needed."""

    names = _Arguments._fields

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor | None, Tensor | None]:
        *tensors, ctx.of, ctx.of_radial, ctx.of_directions = inputs
        ctx.save_for_backward(*tensors)
        return triton_launch.to_pairs(*inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        at, needed = _Arguments(*ctx.saved_tensors), _needed(ctx, _ToPairs.names)
        # L with ρ replaced by a cotangent, then u, where one term remains
        places = []
        if ctx.of_radial:
            places.append(("radial", at._replace(radial=cotangents[0]), ctx.of))
        if ctx.of_directions:
            directed = ctx.of._replace(scalar=False, carried=False)
            places.append(("directions", at._replace(directions=cotangents[1]), directed))
        total: dict[str, Tensor] = {}
        for taken, there, of in places:
            for name, value in _derivatives(there, of, needed - {taken}).items():
                if value is not None:
                    total[name] = total[name] + value if name in total else value
        return *(total.get(name) for name in _ToPairs.names), None, None, None


class _ToWeights(torch.autograd.Function):
    """∂L/∂ω as a function of (a, b), c, g, h, ρ and u."""

    names = ("scalars", "carried", "g", "h", "radial", "directions")

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, ctx.of = inputs
        ctx.save_for_backward(*tensors)
        return triton_launch.to_weights(*inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        a, c, g, h, radial, directions = ctx.saved_tensors
        at = _Arguments(a, c, g, h, radial, cotangents[0], directions)
        found = _derivatives(at, ctx.of, _needed(ctx, _ToWeights.names))
        return *(found.get(name) for name in _ToWeights.names), None
