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

Grids and tiles depend on shapes only. Reading a value would synchronize with the device and make
CUDA graph capture impossible.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eqcalc.neighbors import CompressedPairs, Pairs


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
        return to_receivers(*inputs)

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
        return to_senders(*inputs)

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
        return to_pairs(*inputs)

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
        return to_weights(*inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        a, c, g, h, radial, directions = ctx.saved_tensors
        at = _Arguments(a, c, g, h, radial, cotangents[0], directions)
        found = _derivatives(at, ctx.of, _needed(ctx, _ToWeights.names))
        return *(found.get(name) for name in _ToWeights.names), None


# --- launches -----------------------------------------------------------------------

#: Pairs and features of the tiles of matrix products; these fit in registers.
_TILE = 16, 32
#: Largest number of programs for a sum over all pairs, and smallest number of pairs per program.
_PARTS, _SHARE = 1024, 64


class Functional(NamedTuple):
    """The pairs of the sum L, and its terms besides that of the directions."""

    pairs: CompressedPairs
    scalar: bool = True
    carried: bool = True


@cache
def _kernels() -> ModuleType:
    """Import the kernels on first use: Triton is optional and slow to import."""
    return importlib.import_module("eqcalc.runtime.triton.kernels")


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _shares(whole: int, part: int) -> int:
    return -(-whole // part)


def _on(tensor: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which may differ from that of the tensors."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def _of_rows(scalars: Tensor) -> Tensor:
    """Kernels accept any row stride, but rows must be contiguous."""
    return scalars if scalars.stride(-1) == 1 else scalars.contiguous()


def _packed(tensor: Tensor | None, other: Tensor) -> Tensor:
    """Return a contiguous tensor; arguments that a kernel does not read are arbitrary."""
    return other if tensor is None else tensor.contiguous()


def _constants(of: Functional, features: int, radial: Tensor) -> dict[str, Any]:
    return {
        "FEATURES": features,
        "RADIAL": radial.shape[1],
        "SCALAR": of.scalar,
        "CARRIED": of.carried,
    }


def _for_atoms(features: int) -> dict[str, int]:
    """Return the launch grid of per-atom programs: few, with few idle threads."""
    if features <= 32:
        block = _power_of_two(features)
    else:
        block = min((128, 64, 32), key=lambda size: (_shares(features, size) * size, -size))
    return {"BLOCK": block, "num_warps": max(1, block // 32)}


def _for_pairs(radial: Tensor) -> dict[str, int]:
    """Return the launch grid of programs for tiles of pairs."""
    pairs, features = _TILE
    waves = max(16, _power_of_two(radial.shape[1]))  # minimum tile size of matrix units
    return {"PAIRS": pairs, "BLOCK": features, "WAVES": waves, "num_stages": 1}


def to_receivers(
    scalars: Tensor,
    carried: Tensor | None,
    radial: Tensor,
    weights: Tensor,
    directions: Tensor,
    of: Functional,
) -> tuple[Tensor, Tensor]:
    """Return ∂L/∂g ``[n, F]`` and ∂L/∂h ``[n, 3, F]``."""
    features, pairs = scalars.shape[1] // 2, of.pairs
    empty = scalars.new_empty if of.scalar else scalars.new_zeros
    to_scalars = empty(pairs.n_atoms, features)
    to_vectors = scalars.new_empty(pairs.n_atoms, 3, features)
    scalars, cut = _of_rows(scalars), _for_atoms(features)
    with _on(scalars):
        _kernels().to_receivers[pairs.n_atoms, _shares(features, cut["BLOCK"])](
            scalars,
            scalars.stride(0),
            _packed(carried, scalars),
            radial.contiguous(),
            weights.contiguous(),
            directions.contiguous(),
            pairs.sender,
            pairs.receiver_start,
            to_scalars,
            to_vectors,
            **_constants(of, features, radial),
            **cut,
        )
    return to_scalars, to_vectors


def to_senders(
    g: Tensor, h: Tensor, radial: Tensor, weights: Tensor, directions: Tensor, of: Functional
) -> tuple[Tensor, Tensor | None]:
    """Return ∂L/∂(a, b) ``[n, 2 F]`` and, if L has that term, ∂L/∂c ``[n, 3, F]``."""
    features, pairs = g.shape[1], of.pairs
    to_scalars = g.new_empty(pairs.n_atoms, 2 * features)
    to_carried = g.new_empty(pairs.n_atoms, 3, features) if of.carried else None
    cut = _for_atoms(features)
    with _on(g):
        _kernels().to_senders[pairs.n_atoms, _shares(features, cut["BLOCK"])](
            g.contiguous(),
            h.contiguous(),
            radial.contiguous(),
            weights.contiguous(),
            directions.contiguous(),
            pairs.receiver,
            pairs.by_sender,
            pairs.sender_start,
            to_scalars,
            _packed(to_carried, to_scalars),
            **_constants(of, features, radial),
            **cut,
        )
    return to_scalars, to_carried


def to_pairs(
    scalars: Tensor,
    carried: Tensor | None,
    g: Tensor,
    h: Tensor,
    radial: Tensor,
    weights: Tensor,
    directions: Tensor,
    of: Functional,
    of_radial: bool,
    of_directions: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Return ∂L/∂ρ ``[n_pairs, K]`` and ∂L/∂u ``[n_pairs, 3]``, or None if not needed."""
    features, pairs = g.shape[1], of.pairs
    to_radial = torch.empty_like(radial, memory_format=torch.contiguous_format)
    to_directions = torch.empty_like(directions, memory_format=torch.contiguous_format)
    scalars = _of_rows(scalars)
    if pairs.n_pairs:
        with _on(g):
            _kernels().to_pairs[(_shares(pairs.n_pairs, _TILE[0]),)](
                scalars,
                scalars.stride(0),
                _packed(carried, scalars),
                g.contiguous(),
                h.contiguous(),
                radial.contiguous(),
                weights.contiguous(),
                directions.contiguous(),
                pairs.sender,
                pairs.receiver,
                pairs.n_pairs,
                to_radial,
                to_directions,
                OF_RADIAL=of_radial,
                OF_DIRECTIONS=of_directions,
                **_constants(of, features, radial),
                **_for_pairs(radial),
            )
    return to_radial if of_radial else None, to_directions if of_directions else None


def to_weights(
    scalars: Tensor,
    carried: Tensor | None,
    g: Tensor,
    h: Tensor,
    radial: Tensor,
    directions: Tensor,
    of: Functional,
) -> Tensor:
    """Return ∂L/∂ω ``[K, 3 F]``."""
    features, pairs = g.shape[1], of.pairs
    share = max(_SHARE, _shares(pairs.n_pairs, _PARTS))
    parts = _shares(pairs.n_pairs, share)
    partial = g.new_empty(parts, radial.shape[1], 3 * features)
    scalars = _of_rows(scalars)
    if parts:
        with _on(g):
            _kernels().to_weights[parts, _shares(features, _TILE[1])](
                scalars,
                scalars.stride(0),
                _packed(carried, scalars),
                g.contiguous(),
                h.contiguous(),
                radial.contiguous(),
                directions.contiguous(),
                pairs.sender,
                pairs.receiver,
                pairs.n_pairs,
                share,
                partial,
                **_constants(of, features, radial),
                **_for_pairs(radial),
            )
    return partial.sum(0)
