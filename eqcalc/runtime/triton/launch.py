# SPDX-License-Identifier: MIT
"""Launches of the Triton kernels: derivatives of the message functional as plain functions.

Grids and tiles depend on shapes only. Reading a value would synchronize with the device and make
CUDA graph capture impossible.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eqcalc.neighbors import CompressedPairs

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
