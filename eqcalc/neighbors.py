# SPDX-License-Identifier: MIT
"""Pairs of atoms that see each other.

For small isolated molecules the fastest neighbour list is none: all pairs of a
molecule are static, and the smooth cutoff makes distant ones vanish. In larger
ones every atom gets equally many of its nearest, so that sums over neighbours
stay reshapes. Periodic systems and large molecules are searched within the
cutoff plus a skin, and searched again when an atom has moved by half the skin
or a cell has changed.
"""

from __future__ import annotations

import torch

from eqcalc.pairs import Pairs
from eqcalc.structures import Structures

__all__ = [
    "STATIC_ATOMS",
    "NeighborList",
    "all_pairs",
    "isolated_pairs",
    "nearest_pairs",
    "pairs_within",
]

#: Up to this many atoms a molecule gets all of its pairs. Compact molecules of this size lie
#: within 5 Å of each of their atoms, so that a search would find little to leave out.
STATIC_ATOMS = 24

#: Beyond this many atoms a molecule is searched in cells instead of through all its pairs.
_SEARCHED_ATOMS = 400


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
    if uniform is None or uniform == 1:
        return Pairs(receiver, sender, degree=None if uniform is None else 0)
    place = receiver - origin
    reverse = sender * (uniform - 1) + place - (receiver > sender).long()
    return Pairs(receiver, sender, degree=uniform - 1, reverse=reverse)


def pairs_within(structures: Structures, cutoff: float) -> Pairs:
    """Return the pairs closer than `cutoff` [Å] at the present positions."""
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
    """Return equally many of the nearest atoms of every atom, all within `cutoff` among them.

    With the largest number of neighbours that any atom has, degrees are equal and sums over
    neighbours are reshapes instead of scatters, which more than makes up for the pairs beyond
    the cutoff. Structures of different sizes get the pairs of :func:`pairs_within`.

    Parameters
    ----------
    structures
        Isolated molecules.
    cutoff
        Largest distance that matters [Å].

    Raises
    ------
    ValueError
        A structure is periodic.
    """
    n = structures.uniform
    if n is None or n > _SEARCHED_ATOMS or structures.periodic:
        if structures.periodic:
            raise ValueError("nearest pairs exist for isolated molecules only; use NeighborList")
        return pairs_within(structures, cutoff)
    positions = structures.positions.detach().reshape(-1, n, 3)
    distances = torch.cdist(positions, positions, compute_mode="donot_use_mm_for_euclid_dist")
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    # written so that a position that is not a number stays in and is seen in the results
    degree = int((~(distances >= cutoff)).sum(-1).max())
    if degree == n - 1:
        return all_pairs(structures)
    nearest = distances.topk(degree, dim=-1, largest=False, sorted=False).indices.sort(-1).values
    first = torch.arange(0, structures.n_atoms, n, device=positions.device)
    sender = (nearest + first[:, None, None]).reshape(-1)
    atoms = torch.arange(structures.n_atoms, device=positions.device)
    return Pairs(atoms.repeat_interleave(degree), sender, degree=degree)


def _searched_pairs(structures: Structures, cutoff: float) -> Pairs:
    """Search each structure with vesin (on the CPU) and join the results."""
    import vesin

    search = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True)
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
        receivers.append(torch.as_tensor(i.astype("int64")) + offset)
        senders.append(torch.as_tensor(j.astype("int64")) + offset)
        images.append(torch.as_tensor(image.astype("int64")))
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

    Isolated molecules of up to :data:`STATIC_ATOMS` atoms get all of their pairs
    once. Others are searched within ``cutoff + skin`` and searched again as soon
    as any atom has moved by more than half the skin since, or any cell,
    periodicity or atom has changed.

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
        if not (isinstance(skin, int | float) and 0.0 <= skin < float("inf")):
            raise ValueError(f"skin: expected a distance in Å that is not negative, got {skin!r}")
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
            if not torch.equal(structures.cell, reference.cell) or not torch.equal(
                structures.pbc, reference.pbc
            ):
                return False
        moved = (structures.positions.detach() - reference.positions).square().sum(-1)
        return bool(moved.max() <= (0.5 * self.skin) ** 2)


def _static(structures: Structures) -> bool:
    """Whether all isolated structures are small enough for all of their pairs."""
    if structures.uniform is not None:  # known without waiting for a GPU
        return structures.uniform <= STATIC_ATOMS
    return int(structures.counts.max()) <= STATIC_ATOMS
