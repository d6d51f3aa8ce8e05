# SPDX-License-Identifier: MIT
"""Pairs of atoms that see each other.

For isolated molecules the fastest neighbour list is none: all pairs of a
molecule are static, and the smooth cutoff makes distant ones vanish. Periodic
systems take their pairs from vesin within the cutoff plus a skin, and keep
them until an atom has moved by half the skin or a cell has changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqcalc.structures import Structures

__all__ = ["NeighborList", "Pairs", "all_pairs", "pairs_within"]


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
    """

    receiver: Tensor
    sender: Tensor
    image: Tensor | None = None
    degree: int | None = None

    def vectors(self, structures: Structures) -> Tensor:
        """Vectors from receiver to sender, ``[n_pairs, 3]`` Å, differentiable."""
        positions = structures.positions
        vectors = positions[self.sender] - positions[self.receiver]
        if self.image is not None and structures.cell is not None:
            cell = structures.cell[structures.owner[self.receiver]]
            vectors = vectors + torch.einsum("pa,pac->pc", self.image.to(cell.dtype), cell)
        return vectors

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


def all_pairs(structures: Structures) -> Pairs:
    """Return all pairs of different atoms of the same structure.

    They depend on the numbers of atoms only, so a stack of replicas needs them
    once.

    Raises
    ------
    ValueError
        A structure is periodic.
    """
    if structures.periodic:
        raise ValueError("all pairs exist for isolated molecules only; use NeighborList")
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
    return Pairs(receiver, sender, degree=None if uniform is None else uniform - 1)


def pairs_within(structures: Structures, cutoff: float) -> Pairs:
    """Return the pairs closer than `cutoff` [Å] at the present positions."""
    if structures.periodic:
        return _periodic_pairs(structures, cutoff)
    pairs = all_pairs(structures)
    near = torch.linalg.vector_norm(pairs.vectors(structures), dim=-1) < cutoff
    if bool(near.all()):
        return pairs
    return Pairs(pairs.receiver[near], pairs.sender[near])


def _periodic_pairs(structures: Structures, cutoff: float) -> Pairs:
    """Search each cell with vesin (on the CPU) and join the results."""
    import vesin

    search = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    positions = structures.positions.detach().cpu().double()
    assert structures.cell is not None
    assert structures.pbc is not None
    cells, pbc = structures.cell.detach().cpu().double(), structures.pbc.cpu()
    receivers, senders, images, offset = [], [], [], 0
    for index, count in enumerate(structures.counts.tolist()):
        i, j, image = search.compute(
            points=positions[offset : offset + count].numpy(),
            box=cells[index].numpy(),
            periodic=pbc[index].numpy(),
            quantities="ijS",
        )
        receivers.append(torch.as_tensor(i.astype("int64")) + offset)
        senders.append(torch.as_tensor(j.astype("int64")) + offset)
        images.append(torch.as_tensor(image.astype("int64")))
        offset += count
    device = structures.positions.device
    return Pairs(
        torch.cat(receivers).to(device),
        torch.cat(senders).to(device),
        torch.cat(images).to(device=device, dtype=structures.positions.dtype),
    )


class NeighborList:
    """Pairs for a sequence of configurations of the same atoms.

    Isolated molecules get their static all-pairs once. Periodic structures are
    searched within ``cutoff + skin`` and searched again as soon as any atom
    has moved by more than half the skin since, or any cell, periodicity or
    atom has changed.

    Parameters
    ----------
    cutoff
        Distance beyond which the model is exactly zero [Å].
    skin
        Extra distance [Å].
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        if not cutoff > 0.0:
            raise ValueError(f"cutoff must be positive, got {cutoff}")
        if skin < 0.0:
            raise ValueError(f"skin must not be negative, got {skin}")
        self.cutoff = cutoff
        self.skin = skin
        #: Number of searches made so far.
        self.builds = 0
        self._reference: Structures | None = None
        self._pairs: Pairs | None = None

    def pairs(self, structures: Structures) -> Pairs:
        """Return pairs that contain all those closer than the cutoff."""
        if self._pairs is None or not self._valid(structures):
            if structures.periodic:
                self._pairs = _periodic_pairs(structures, self.cutoff + self.skin)
            else:
                self._pairs = all_pairs(structures)
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
            return True
        assert structures.cell is not None and reference.cell is not None
        assert structures.pbc is not None and reference.pbc is not None
        if not torch.equal(structures.cell, reference.cell) or not torch.equal(
            structures.pbc, reference.pbc
        ):
            return False
        moved = (structures.positions.detach() - reference.positions).square().sum(-1)
        return bool(moved.max() <= (0.5 * self.skin) ** 2)
