# SPDX-License-Identifier: MIT
"""Neighbour lists: pairs of atoms within the cutoff, and sums over them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from eqcalc.structures import Structures
from eqcalc.validation import InvalidInputError, non_negative, positive


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
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
        """Return the pairs as compressed rows (cached)."""
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
        """Gather the values of the sender of each pair, ``[n_pairs, ...]``."""
        if self.degree is not None and self.reverse is not None and not _scatters_pay(values):
            return _gather(values, self.sender, self.degree, self.reverse)
        return _rows(values, self.sender)

    def of_receivers(self, values: Tensor) -> Tensor:
        """Gather the values of the receiver of each pair, ``[n_pairs, ...]``."""
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
    """Whether the scatter in the gradient of indexing is as fast as a sum.

    True on a CPU; a GPU sorts the indices every time.
    """
    return values.device.type == "cpu"


def _rows(values: Tensor, indices: Tensor) -> Tensor:
    """Return ``values[indices]`` with the faster gradient, summed in a fixed order."""
    if values.device.type == "cpu":
        return values.index_select(0, indices)
    return values[indices]


class _OverPairs(torch.autograd.Function):
    """A linear function of atomic or pair values with constant indices."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, index, ctx.degree, order = inputs
        ctx.save_for_backward(index, order)
        ctx.save_for_forward(index, order)


class _Gather(_OverPairs):
    """Gather of atomic rows for pairs in which every atom occurs equally often.

    Its derivative is a plain sum instead of a scatter, whose derivative is this gather.
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


#: Molecules of up to this many atoms get all of their pairs. In compact molecules of this size
#: nearly all pairs are within 5 Å, so that a search would exclude few.
STATIC_ATOMS = 24

#: Number of batch sizes whose pairs are cached.
_KEPT = 64

#: Molecules with more atoms are searched with cell lists instead of over all pairs.
_SEARCHED_ATOMS = 400


def all_pairs(structures: Structures) -> Pairs:
    """Return all pairs of different atoms of the same structure.

    They depend on the numbers of atoms only, so a stack of replicas computes them once.

    Raises
    ------
    ValueError
        A structure is periodic.
    """
    if structures.periodic:
        raise InvalidInputError(
            key="structures", expected="isolated molecules", advice="use NeighborList"
        )
    device = structures.owner.device
    counts = structures.counts
    first = torch.cumsum(counts, 0) - counts
    atoms = torch.arange(structures.n_atoms, device=device)
    degree = counts[structures.owner] - 1
    receiver = torch.repeat_interleave(atoms, degree)
    start = torch.cumsum(degree, 0) - degree
    rank = torch.arange(len(receiver), device=device) - start[receiver]
    origin = first[structures.owner[receiver]]
    sender = origin + rank + (origin + rank >= receiver)
    uniform = structures.uniform
    if uniform is None or uniform == 1:
        return Pairs(receiver, sender, degree=None if uniform is None else 0)
    place = receiver - origin
    reverse = sender * (uniform - 1) + place - (receiver > sender).long()
    return Pairs(receiver, sender, degree=uniform - 1, reverse=reverse)


def pairs_within(structures: Structures, cutoff: float) -> Pairs:
    """Return the pairs closer than `cutoff` [Å] at the current positions."""
    if structures.periodic or int(structures.counts.max()) > _SEARCHED_ATOMS:
        return _searched_pairs(structures, cutoff)
    pairs = all_pairs(structures)
    near = torch.linalg.vector_norm(pairs.vectors(structures), dim=-1) < cutoff
    if bool(near.all()):
        return pairs
    return Pairs(pairs.receiver[near], pairs.sender[near])


def isolated_pairs(structures: Structures, cutoff: float) -> Pairs:
    """Return the pairs of isolated molecules that are fastest to evaluate.

    All pairs of molecules of up to :data:`STATIC_ATOMS` atoms, else :func:`nearest_pairs`.
    """
    return all_pairs(structures) if _static(structures) else nearest_pairs(structures, cutoff)


def nearest_pairs(structures: Structures, cutoff: float) -> Pairs:
    """Return the k nearest neighbours of every atom, k such that all within `cutoff` are included.

    k is the largest number of neighbours of any atom. With equal degrees, sums over neighbours are
    reshapes instead of scatters, which outweighs the cost of the pairs beyond the cutoff.
    Structures of different sizes get the pairs of :func:`pairs_within`.

    Parameters
    ----------
    structures
        Isolated molecules.
    cutoff
        Cutoff of the interactions [Å].

    Raises
    ------
    ValueError
        A structure is periodic.
    """
    n = structures.uniform
    if n is None or n > _SEARCHED_ATOMS or structures.periodic:
        if structures.periodic:
            raise InvalidInputError(
                key="structures", expected="isolated molecules", advice="use NeighborList"
            )
        return pairs_within(structures, cutoff)
    positions = structures.positions.detach().reshape(-1, n, 3)
    distances = torch.cdist(positions, positions, compute_mode="donot_use_mm_for_euclid_dist")
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    # written so that non-finite positions are kept and propagate to the results
    degree = int((~(distances >= cutoff)).sum(-1).max())
    if degree == n - 1:
        return all_pairs(structures)
    nearest = distances.topk(degree, dim=-1, largest=False, sorted=False).indices.sort(-1).values
    first = torch.arange(0, structures.n_atoms, n, device=positions.device)
    sender = (nearest + first[:, None, None]).reshape(-1)
    atoms = torch.arange(structures.n_atoms, device=positions.device)
    return Pairs(atoms.repeat_interleave(degree), sender, degree=degree)


def _searched_pairs(structures: Structures, cutoff: float) -> Pairs:
    """Search each structure with vesin (on the CPU) and concatenate the results.

    Pairs are ordered by receiver, sender and image, so that sums over them have one order however
    old a list is: a resumed run is bitwise that of one go.
    """
    import vesin

    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    positions = structures.positions.detach().cpu().double()
    if structures.cell is None or structures.pbc is None:
        cells = positions.new_zeros(structures.n_structures, 3, 3)
        pbc = torch.zeros(structures.n_structures, 3, dtype=torch.bool)
    else:
        cells, pbc = structures.cell.detach().cpu().double(), structures.pbc.cpu()
    receivers, senders, images, offset = [], [], [], 0
    for index, count in enumerate(structures.counts.tolist()):
        i, j, image = search.compute(
            points=positions[offset : offset + count].numpy(),
            box=cells[index].numpy(),
            periodic=pbc[index].numpy(),
            quantities="ijS",
        )
        order = np.lexsort((*image.T[::-1], j, i))
        receivers.append(torch.as_tensor(i[order].astype("int64")) + offset)
        senders.append(torch.as_tensor(j[order].astype("int64")) + offset)
        images.append(torch.as_tensor(image[order].astype("int64")))
        offset += count
    device = structures.positions.device
    image = torch.cat(images).to(device=device, dtype=structures.positions.dtype)
    return Pairs(
        torch.cat(receivers).to(device),
        torch.cat(senders).to(device),
        image if structures.periodic else None,
    )


class NeighborList:
    """Pairs for a sequence of configurations of the same atoms.

    Isolated molecules of up to `static_atoms` atoms get all of their pairs once. Others are
    searched within R + S, cutoff plus skin, and again once a pair outside of that could have come
    within R, or any periodicity or atom has changed. Atoms follow the deformation F of their cell
    but for displacements u, so that this takes (R + 2 max|u|) ‖F⁻¹‖ > R + S: in a cell that stays,
    a displacement of more than half the skin.

    Parameters
    ----------
    cutoff
        Distance beyond which the model is exactly zero [Å].
    skin
        Extra distance [Å].
    static_atoms
        Largest molecule whose pairs are all evaluated, whatever their distance.
    """

    def __init__(
        self, cutoff: float, skin: float = 0.5, static_atoms: float = STATIC_ATOMS
    ) -> None:
        self.cutoff = positive("cutoff", cutoff, unit="Å")
        self.skin = non_negative("skin", skin, unit="Å")
        self.static_atoms = static_atoms
        #: Number of searches made so far.
        self.builds = 0
        self._reference: Structures | None = None
        self._pairs: Pairs | None = None
        self._all_pairs: dict[tuple[int, int, torch.device], Pairs] = {}

    def pairs(self, structures: Structures) -> Pairs:
        """Return pairs, at least all those closer than the cutoff."""
        n_atoms = structures.uniform
        if n_atoms is not None and n_atoms <= self.static_atoms and not structures.periodic:
            # decided without reading a value, which would synchronize with a GPU
            key = (structures.n_structures, n_atoms, structures.owner.device)
            if key not in self._all_pairs:
                if len(self._all_pairs) >= _KEPT:
                    self._all_pairs.clear()
                self._all_pairs[key] = all_pairs(structures)
                self.builds += 1
            return self._all_pairs[key]
        if self._pairs is None or not self._valid(structures):
            if structures.periodic:
                self._pairs = _searched_pairs(structures, self.cutoff + self.skin)
            else:
                self._pairs = isolated_pairs(structures, self.cutoff + self.skin)
            self._reference = structures.with_positions(structures.positions.detach().clone())
            self.builds += 1
        return self._pairs

    def _valid(self, structures: Structures) -> bool:
        reference = self._reference
        assert reference is not None
        if (
            structures.periodic != reference.periodic
            or structures.n_structures != reference.n_structures
            or structures.n_atoms != reference.n_atoms
            or not torch.equal(structures.owner, reference.owner)
            or structures.positions.device != reference.positions.device
        ):
            return False
        if not structures.periodic:
            if _static(structures):
                return True
        else:
            assert structures.cell is not None and reference.cell is not None
            assert structures.pbc is not None and reference.pbc is not None
            if not torch.equal(structures.pbc, reference.pbc):
                return False
            if not torch.equal(structures.cell, reference.cell):
                return bool(structures.pbc.all()) and self._covers(structures, reference)
        moved = (structures.positions.detach() - reference.positions).square().sum(-1)
        return bool(moved.max() <= (0.5 * self.skin) ** 2)

    def _covers(self, structures: Structures, reference: Structures) -> bool:
        """Whether the pairs of `reference` are enough for other, fully periodic cells."""
        assert structures.cell is not None and reference.cell is not None
        cell = structures.cell.detach()
        deformation = torch.linalg.solve(reference.cell, cell)  # rows: r' = r F
        affine = torch.einsum(
            "ia,iab->ib", reference.positions, structures.spread_to_atoms(deformation)
        )
        moved = torch.linalg.vector_norm(structures.positions.detach() - affine, dim=-1)
        # the largest of each structure; atoms of a structure may be few in a ragged batch
        largest = moved.new_zeros(structures.n_structures)
        largest = largest.scatter_reduce(0, structures.owner, moved, "amax")
        shrunk = torch.linalg.matrix_norm(torch.linalg.solve(cell, reference.cell), ord=2)
        return bool(((self.cutoff + 2.0 * largest) * shrunk <= self.cutoff + self.skin).all())


def _static(structures: Structures) -> bool:
    """Whether all isolated structures are small enough to use all pairs."""
    if structures.uniform is not None:  # decided without synchronizing with a GPU
        return structures.uniform <= STATIC_ATOMS
    return int(structures.counts.max()) <= STATIC_ATOMS
