# SPDX-License-Identifier: MIT
"""PaiNN's sum of messages by Triton kernels, differentiable as often as one likes.

The sum of messages is linear in each of its arguments, so it and all of its
derivatives are derivatives of one functional L of senders (a, b, c), receivers
(g, h), radial functions ρ, weights ω and directions u, which is written out in
:mod:`eqcalc.runtime.triton_kernels`:

====================  ==================================================
∂L/∂(g, h)            the messages, summed over the senders
∂L/∂(a, b, c)         sums over the receivers of every sender
∂L/∂(ρ, u), ∂L/∂ω     for every pair, and over all pairs
====================  ==================================================

Let c stand for an argument whose derivative is one of these four functions. The
product of that function with a cotangent γ is L with γ in the place of c; its
derivatives, which the reverse pass asks for, are the other three functions with γ
in that place. So four kernels give all orders. u stands in one of the three terms
of L only, and with a cotangent in the place of u the other two are left out.

Filters are made from ρ and ω inside the kernels. Stored, the filters of a layer
would be the largest array of the network, 12 F bytes a pair in float32, to be
written and read by every one of these functions; ρ takes 4 K bytes, 18 times less
with 128 features and 20 radial functions.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eqcalc.neighbors import CompressedPairs, Pairs

__all__ = ["sum_messages"]

#: Pairs and features of the tiles of matrix products; these fit in registers.
_TILE = 16, 32
#: Programs that share a sum over all pairs, at most, and the fewest pairs worth a program.
_PARTS, _SHARE = 1024, 64


@cache
def _kernels() -> ModuleType:
    """Import the kernels when they are first used: Triton is slow to import, and optional."""
    return importlib.import_module("eqcalc.runtime.triton_kernels")


def sum_messages(
    context: Tensor,
    vectors: Tensor | None,
    radial: Tensor,
    weights: Tensor,
    directions: Tensor,
    pairs: Pairs,
) -> tuple[Tensor, Tensor]:
    """Sum what every atom receives; see :func:`eqcalc.models.painn.sum_messages`.

    The result is differentiable any number of times in reverse mode; there is no
    forward mode.
    """
    n_atoms, width = context.shape
    features = width // 3
    rows = _Rows(pairs.compressed(n_atoms), carried=vectors is not None)
    carried = None if vectors is None else context[:, None, 2 * features :] * vectors
    received: tuple[Tensor, Tensor] = _ToReceivers.apply(
        context[:, : 2 * features], carried, radial, weights, directions, rows
    )
    return received


class _Rows(NamedTuple):
    """Pairs, and which terms L has besides that of the directions."""

    pairs: CompressedPairs
    scalar: bool = True
    carried: bool = True

    def of_directions(self) -> _Rows:
        return self._replace(scalar=False, carried=False)


def _power_of_two(n: int, least: int = 1) -> int:
    return max(least, 1 << (n - 1).bit_length())


def _shares(whole: int, part: int) -> int:
    return -(-whole // part)


def _block(features: int) -> int:
    """Return the number of features of a program: few programs, little of which is idle."""
    if features <= 32:
        return _power_of_two(features)
    return min((128, 64, 32), key=lambda block: (_shares(features, block) * block, -block))


def _on(tensor: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which may be another than that of the tensors."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def _of_rows(scalars: Tensor) -> Tensor:
    """Kernels take rows with any distance between them, but packed in themselves."""
    return scalars if scalars.stride(-1) == 1 else scalars.contiguous()


def _packed(tensor: Tensor | None, other: Tensor) -> Tensor:
    """Return contiguous memory; what a kernel does not look at may be anything."""
    return other if tensor is None else tensor.contiguous()


class _ToReceivers(torch.autograd.Function):
    """∂L/∂(g, h) as a function of a and b ``[n, 2F]``, c ``[n, 3, F]``, ρ, ω and u."""

    @staticmethod
    def forward(
        ctx: Any,
        scalars: Tensor,
        carried: Tensor | None,
        radial: Tensor,
        weights: Tensor,
        directions: Tensor,
        rows: _Rows,
    ) -> tuple[Tensor, Tensor]:
        ctx.rows = rows
        ctx.save_for_backward(scalars, carried, radial, weights, directions)
        features, pairs = scalars.shape[1] // 2, rows.pairs
        empty = scalars.new_empty if rows.scalar else scalars.new_zeros
        to_scalars = empty(pairs.n_atoms, features)
        to_vectors = scalars.new_empty(pairs.n_atoms, 3, features)
        scalars, block = _of_rows(scalars), _block(features)
        with _on(scalars):
            _kernels().to_receivers[pairs.n_atoms, _shares(features, block)](
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
                FEATURES=features,
                RADIAL=radial.shape[1],
                SCALAR=rows.scalar,
                CARRIED=rows.carried,
                BLOCK=block,
                num_warps=max(1, block // 32),
            )
        return to_scalars, to_vectors

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        scalars, carried, radial, weights, directions = ctx.saved_tensors
        g, h = cotangents
        needed, rows = ctx.needs_input_grad, ctx.rows
        of_a = of_c = of_radial = of_weights = of_directions = None
        if needed[0] or needed[1]:
            of_a, of_c = _ToSenders.apply(g, h, radial, weights, directions, rows)
        if needed[2] or needed[4]:
            of_radial, of_directions = _ToPairs.apply(
                scalars, carried, g, h, radial, weights, directions, rows, needed[2], needed[4]
            )
        if needed[3]:
            of_weights = _ToWeights.apply(scalars, carried, g, h, radial, directions, rows)
        return of_a, of_c, of_radial, of_weights, of_directions, None


class _ToSenders(torch.autograd.Function):
    """∂L/∂(a, b, c) as a function of g ``[n, F]``, h ``[n, 3, F]``, ρ, ω and u."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        h: Tensor,
        radial: Tensor,
        weights: Tensor,
        directions: Tensor,
        rows: _Rows,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.rows = rows
        ctx.save_for_backward(g, h, radial, weights, directions)
        features, pairs = g.shape[1], rows.pairs
        to_scalars = g.new_empty(pairs.n_atoms, 2 * features)
        to_carried = g.new_empty(pairs.n_atoms, 3, features) if rows.carried else None
        block = _block(features)
        with _on(g):
            _kernels().to_senders[pairs.n_atoms, _shares(features, block)](
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
                FEATURES=features,
                RADIAL=radial.shape[1],
                SCALAR=rows.scalar,
                CARRIED=rows.carried,
                BLOCK=block,
                num_warps=max(1, block // 32),
            )
        return to_scalars, to_carried

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        g, h, radial, weights, directions = ctx.saved_tensors
        scalars, carried = cotangents
        needed, rows = ctx.needs_input_grad, ctx.rows
        of_g = of_h = of_radial = of_weights = of_directions = None
        if needed[0] or needed[1]:
            of_g, of_h = _ToReceivers.apply(scalars, carried, radial, weights, directions, rows)
        if needed[2] or needed[4]:
            of_radial, of_directions = _ToPairs.apply(
                scalars, carried, g, h, radial, weights, directions, rows, needed[2], needed[4]
            )
        if needed[3]:
            of_weights = _ToWeights.apply(scalars, carried, g, h, radial, directions, rows)
        return of_g, of_h, of_radial, of_weights, of_directions, None


class _ToPairs(torch.autograd.Function):
    """∂L/∂(ρ, u), or None in the place of what is not asked for."""

    @staticmethod
    def forward(
        ctx: Any,
        scalars: Tensor,
        carried: Tensor | None,
        g: Tensor,
        h: Tensor,
        radial: Tensor,
        weights: Tensor,
        directions: Tensor,
        rows: _Rows,
        of_radial: bool,
        of_directions: bool,
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.rows = rows
        ctx.of_radial, ctx.of_directions = of_radial, of_directions
        ctx.save_for_backward(scalars, carried, g, h, radial, weights, directions)
        features, pairs = g.shape[1], rows.pairs
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
                    FEATURES=features,
                    RADIAL=radial.shape[1],
                    SCALAR=rows.scalar,
                    CARRIED=rows.carried,
                    OF_RADIAL=of_radial,
                    OF_DIRECTIONS=of_directions,
                    PAIRS=_TILE[0],
                    WAVES=_power_of_two(radial.shape[1], 16),
                    BLOCK=_TILE[1],
                    num_stages=1,
                )
        return to_radial if of_radial else None, to_directions if of_directions else None

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        scalars, carried, g, h, radial, weights, directions = ctx.saved_tensors
        # L with the cotangent of ρ, and with that of u: there only its own term is left
        places = []
        if ctx.of_radial:
            places.append((cotangents[0], directions, ctx.rows, False, True))
        if ctx.of_directions:
            places.append((radial, cotangents[1], ctx.rows.of_directions(), True, False))
        needed = ctx.needs_input_grad
        total: list[Tensor | None] = [None] * 10

        def add(index: int, value: Tensor | None) -> None:
            if value is not None:
                before = total[index]
                total[index] = value if before is None else before + value

        for rho, u, rows, in_radial, in_directions in places:
            c = carried if rows.carried else None
            if needed[0] or needed[1]:
                of_a, of_c = _ToSenders.apply(g, h, rho, weights, u, rows)
                add(0, of_a)
                add(1, of_c)
            if needed[2] or needed[3]:
                of_g, of_h = _ToReceivers.apply(scalars, c, rho, weights, u, rows)
                add(2, of_g)
                add(3, of_h)
            if (needed[4] and in_radial) or (needed[6] and in_directions):
                of_radial, of_directions = _ToPairs.apply(
                    scalars, c, g, h, rho, weights, u, rows, in_radial, in_directions
                )
                add(4, of_radial)
                add(6, of_directions)
            if needed[5]:
                add(5, _ToWeights.apply(scalars, c, g, h, rho, u, rows))
        return tuple(total)


class _ToWeights(torch.autograd.Function):
    """∂L/∂ω ``[K, 3F]`` as a function of all else."""

    @staticmethod
    def forward(
        ctx: Any,
        scalars: Tensor,
        carried: Tensor | None,
        g: Tensor,
        h: Tensor,
        radial: Tensor,
        directions: Tensor,
        rows: _Rows,
    ) -> Tensor:
        ctx.rows = rows
        ctx.save_for_backward(scalars, carried, g, h, radial, directions)
        features, pairs = g.shape[1], rows.pairs
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
                    FEATURES=features,
                    RADIAL=radial.shape[1],
                    SCALAR=rows.scalar,
                    CARRIED=rows.carried,
                    PAIRS=_TILE[0],
                    WAVES=_power_of_two(radial.shape[1], 16),
                    BLOCK=_TILE[1],
                    num_stages=1,
                )
        return partial.sum(0)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        scalars, carried, g, h, radial, directions = ctx.saved_tensors
        (weights,) = cotangents
        needed, rows = ctx.needs_input_grad, ctx.rows
        of_a = of_c = of_g = of_h = of_radial = of_directions = None
        if needed[0] or needed[1]:
            of_a, of_c = _ToSenders.apply(g, h, radial, weights, directions, rows)
        if needed[2] or needed[3]:
            of_g, of_h = _ToReceivers.apply(scalars, carried, radial, weights, directions, rows)
        if needed[4] or needed[5]:
            of_radial, of_directions = _ToPairs.apply(
                scalars, carried, g, h, radial, weights, directions, rows, needed[4], needed[5]
            )
        return of_a, of_c, of_g, of_h, of_radial, of_directions, None
