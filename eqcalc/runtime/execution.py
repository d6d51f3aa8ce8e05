# SPDX-License-Identifier: MIT
"""Executions for structures of any kind, one call after the other, and the reference for them.

An :class:`~eqcalc.runtime.Evaluator` serves one molecule; these serve whatever
comes, isolated or periodic, and keep what does not change between calls.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.neighbors import NeighborList, Pairs
from eqcalc.runtime.cpu_kernels import Closest
from eqcalc.structures import Structures


class Execution(Protocol):
    """A model ready to be called on batches of any structures."""

    #: Name of the execution.
    name: ClassVar[str]

    def evaluate(
        self, structures: Structures, quantities: Collection[str]
    ) -> tuple[dict[str, Tensor], Closest]:
        """Return quantities as :meth:`Potential.evaluate` does, and the closest pair."""
        ...


class EagerExecution:
    """The reference execution, operation by operation.

    Parameters
    ----------
    potential
        The model.
    skin
        Extra distance of the neighbour list of periodic structures [Å].
    """

    name: ClassVar[str] = "eager"

    def __init__(self, potential: Potential, skin: float = 0.5) -> None:
        self._potential = potential
        self._neighbors = NeighborList(potential.cutoff, skin)

    def evaluate(
        self, structures: Structures, quantities: Collection[str]
    ) -> tuple[dict[str, Tensor], Closest]:
        """Evaluate; see :class:`Execution`."""
        pairs = self._neighbors.pairs(structures)
        values = self._potential.evaluate(structures, pairs, quantities)
        return values, closest(structures, pairs)


def closest(structures: Structures, pairs: Pairs) -> Closest:
    """Return the closest of some pairs of atoms."""
    if not len(pairs.receiver):
        return Closest(float("inf"), 0, 0)
    squared, index = pairs.vectors(structures).square().sum(-1).min(0, keepdim=True)
    ends = [pairs.receiver.gather(0, index), pairs.sender.gather(0, index)]
    # one transfer, if that is from a GPU
    found, receiver, sender = torch.cat([squared, *(end.to(squared) for end in ends)]).tolist()
    return Closest(found**0.5, int(receiver), int(sender))
