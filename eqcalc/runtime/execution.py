# SPDX-License-Identifier: MIT
"""Executions for structures of any kind, one call after the other.

An :class:`~eqcalc.runtime.Evaluator` serves one molecule; these serve whatever
comes, isolated or periodic, and keep what does not change between calls.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Protocol

from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.neighbors import NeighborList, Pairs
from eqcalc.runtime.fused import Closest, Composition, FusedPotential, HalfPairs
from eqcalc.runtime.verification import verify_execution
from eqcalc.structures import Structures

__all__ = ["EagerExecution", "Execution", "FusedExecution", "closest"]


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


class FusedExecution:
    """Execution on a CPU by compiled kernels.

    Parameters
    ----------
    potential
        The model, on a CPU.
    skin
        Extra distance of the neighbour list of periodic structures [Å].

    Raises
    ------
    ExecutionUnavailableError
        There are no kernels for this model, they cannot be compiled, or they
        disagree with the eager execution.
    """

    name: ClassVar[str] = "fused"

    def __init__(self, potential: Potential, skin: float = 0.5) -> None:
        self._fused = FusedPotential(potential)
        self._neighbors = NeighborList(potential.cutoff, skin)
        self._last: tuple[Structures, Composition] | None = None
        self._last_pairs: tuple[Pairs, HalfPairs] | None = None
        verify_execution(self, EagerExecution(potential, skin), potential)

    def evaluate(
        self, structures: Structures, quantities: Collection[str]
    ) -> tuple[dict[str, Tensor], Closest]:
        """Evaluate; see :class:`Execution`."""
        composition = self._composition(structures)
        if not structures.periodic:
            return self._fused.evaluate(composition, structures.positions, quantities)
        return self._fused.evaluate(
            composition,
            structures.positions,
            quantities,
            cell=structures.cell,
            pairs=self._half_pairs(structures),
        )

    def _composition(self, structures: Structures) -> Composition:
        if self._last is not None:
            last, composition = self._last
            if (
                last.numbers is structures.numbers
                and last.owner is structures.owner
                and last.charge is structures.charge
            ):
                return composition
        composition = self._fused.composition(structures)
        self._last = (structures, composition)
        return composition

    def _half_pairs(self, structures: Structures) -> HalfPairs:
        pairs = self._neighbors.pairs(structures)
        if self._last_pairs is None or self._last_pairs[0] is not pairs:
            self._last_pairs = (pairs, HalfPairs.of(pairs))
        return self._last_pairs[1]


def closest(structures: Structures, pairs: Pairs) -> Closest:
    """Return the closest of some pairs of atoms."""
    if not len(pairs.receiver):
        return Closest(float("inf"), 0, 0)
    squared = pairs.vectors(structures).square().sum(-1)
    index = int(squared.argmin())
    return Closest(
        float(squared[index]) ** 0.5, int(pairs.receiver[index]), int(pairs.sender[index])
    )
