# SPDX-License-Identifier: MIT
"""Structures of any kind by compiled kernels, on a CPU."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.neighbors import NeighborList
from eqcalc.pairs import Pairs
from eqcalc.runtime.execution import EagerExecution
from eqcalc.runtime.fused import Closest, Composition, FusedPotential, HalfPairs
from eqcalc.runtime.verification import verify_execution
from eqcalc.structures import Structures

__all__ = ["FusedExecution"]


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
