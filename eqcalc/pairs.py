# SPDX-License-Identifier: MIT
"""Pairs of atoms, what belongs to them, and sums over them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor

from eqcalc.structures import Structures

__all__ = ["CompressedPairs", "Pairs"]


@dataclass(frozen=True)
class CompressedPairs:
    """Pairs as compressed rows, by receiver and by sender.

    Parameters
    ----------
    receiver, sender
        Atom indices, ``[n_pairs]`` int64, sorted by receiver.
    receiver_start
        The pairs of receiver i are ``receiver_start[i]`` to ``receiver_start[i + 1]``,
        ``[n_atoms + 1]`` int64.
    by_sender
        Indices of the pairs in the order of their senders, ``[n_pairs]`` int64.
    sender_start
        Where each sender begins in that order, ``[n_atoms + 1]`` int64.
    """

    receiver: Tensor
    sender: Tensor
    receiver_start: Tensor
    by_sender: Tensor
    sender_start: Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.receiver_start.shape[0] - 1

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return self.receiver.shape[0]


@dataclass(frozen=True)
class Pairs:
    """Directed pairs sender → receiver, sorted by receiver.

    Parameters
    ----------
    receiver, sender
        Atom indices, ``[n_pairs]`` int64.
    image
        Lattice translations of the sender in units of the cell vectors,
        ``[n_pairs, 3]``; None if nothing is periodic.
    degree
        Number of pairs of every receiver if all are equal, else None.
    reverse
        Index of the same pair in the other direction, ``[n_pairs]`` int64, if degrees are
        equal and every pair has one, else None.
    """

    receiver: Tensor
    sender: Tensor
    image: Tensor | None = None
    degree: int | None = None
    reverse: Tensor | None = None
    _compressed: dict[int, CompressedPairs] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def to(self, device: torch.device | str) -> Pairs:
        """Move to `device`."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return replace(
            self,
            receiver=self.receiver.to(device),
            sender=self.sender.to(device),
            image=moved(self.image),
            reverse=moved(self.reverse),
        )

    def compressed(self, n_atoms: int) -> CompressedPairs:
        """Return the pairs as compressed rows; they are made once and kept."""
        if n_atoms not in self._compressed:
            atoms = torch.arange(n_atoms + 1, device=self.receiver.device)
            by_sender = self.reverse
            if by_sender is None:
                by_sender = torch.argsort(self.sender, stable=True)
            self._compressed[n_atoms] = CompressedPairs(
                receiver=self.receiver.contiguous(),
                sender=self.sender.contiguous(),
                receiver_start=torch.searchsorted(self.receiver, atoms),
                by_sender=by_sender,
                sender_start=torch.searchsorted(self.sender[by_sender], atoms),
            )
        return self._compressed[n_atoms]

    def vectors(self, structures: Structures) -> Tensor:
        """Vectors from receiver to sender, ``[n_pairs, 3]`` Å, differentiable."""
        positions = structures.positions
        vectors = self.of_senders(positions) - self.of_receivers(positions)
        if self.image is not None and structures.cell is not None:
            cell = structures.cell[structures.owner[self.receiver]]
            vectors = vectors + torch.einsum("pa,pac->pc", self.image.to(cell.dtype), cell)
        return vectors

    def of_senders(self, values: Tensor) -> Tensor:
        """Return what belongs to the sender of each pair, ``[n_pairs, ...]``."""
        if self.degree is not None and self.reverse is not None and not _scatters_pay(values):
            return _gather(values, self.sender, self.degree, self.reverse)
        return _rows(values, self.sender)

    def of_receivers(self, values: Tensor) -> Tensor:
        """Return what belongs to the receiver of each pair, ``[n_pairs, ...]``."""
        if self.degree is not None and not _scatters_pay(values):
            return _gather(values, self.receiver, self.degree, None)
        return _rows(values, self.receiver)

    def sum_over_senders(self, values: Tensor, n_atoms: int) -> Tensor:
        """Sum ``[n_pairs, ...]`` over the pairs of each receiver, ``[n_atoms, ...]``."""
        if self.degree is not None:
            return values.reshape(n_atoms, self.degree, *values.shape[1:]).sum(1)
        total = values.new_zeros((n_atoms, *values.shape[1:]))
        return total.index_add(0, self.receiver, values)

    def sum_of_outer_products(self, left: Tensor, right: Tensor, n_atoms: int) -> Tensor:
        """Sum ``left ⊗ right`` over the pairs of each receiver.

        With equal degrees this is one batched matrix product, which never
        stores the outer products.

        Parameters
        ----------
        left, right
            ``[n_pairs, m]`` and ``[n_pairs, n]``.
        n_atoms
            Number of receivers.

        Returns
        -------
        Tensor
            ``[n_atoms, m, n]``.
        """
        if self.degree is not None:
            left = left.reshape(n_atoms, self.degree, left.shape[1])
            right = right.reshape(n_atoms, self.degree, right.shape[1])
            return torch.bmm(left.transpose(1, 2), right)
        return self.sum_over_senders(left.unsqueeze(2) * right.unsqueeze(1), n_atoms)


def _scatters_pay(values: Tensor) -> bool:
    """Whether the scatter that is the gradient of picking rows is as fast as a sum.

    So on a CPU. A GPU sorts the indices first, every time.
    """
    return values.device.type == "cpu"


def _rows(values: Tensor, indices: Tensor) -> Tensor:
    """Return ``values[indices]`` with the faster gradient, summed in a fixed order."""
    if values.device.type == "cpu":
        return values.index_select(0, indices)
    return values[indices]


class _OverPairs(torch.autograd.Function):
    """What is linear in values of atoms or pairs, with places that are no variables."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, index, ctx.degree, order = inputs
        ctx.save_for_backward(index, order)
        ctx.save_for_forward(index, order)


class _Gather(_OverPairs):
    """Rows of atoms for their pairs, if every atom is met equally often.

    Its derivative is a plain sum instead of a scatter, and that of the sum is this again.
    """

    @staticmethod
    def forward(values: Tensor, index: Tensor, degree: int, order: Tensor | None) -> Tensor:
        return values.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        index, order = ctx.saved_tensors
        return _total(gradients[0], index, ctx.degree, order), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        index, order = ctx.saved_tensors
        return _gather(tangents[0], index, ctx.degree, order)


class _Total(_OverPairs):
    """Sums over pairs in the order `order`, `degree` of them for every atom."""

    @staticmethod
    def forward(values: Tensor, index: Tensor, degree: int, order: Tensor | None) -> Tensor:
        if order is not None:
            values = values.index_select(0, order)
        return values.reshape(-1, degree, *values.shape[1:]).sum(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        index, order = ctx.saved_tensors
        return _gather(gradients[0], index, ctx.degree, order), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        index, order = ctx.saved_tensors
        return _total(tangents[0], index, ctx.degree, order)


def _gather(values: Tensor, index: Tensor, degree: int, order: Tensor | None) -> Tensor:
    return cast("Tensor", _Gather.apply(values, index, degree, order))


def _total(values: Tensor, index: Tensor, degree: int, order: Tensor | None) -> Tensor:
    return cast("Tensor", _Total.apply(values, index, degree, order))
