# SPDX-License-Identifier: MIT
"""Execution on CPUs by compiled kernels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

from torch import Tensor

from eqcalc.neighbors import Pairs, pairs_within
from eqcalc.runtime.cpu_kernels import Composition, FusedPotential, HalfPairs
from eqcalc.runtime.execution import ClosestPair, closest_of
from eqcalc.runtime.verification import VerifiedExecution
from eqcalc.structures import Structures

#: Number of batch compositions that are cached.
_KEPT = 8


class FusedExecution(VerifiedExecution):
    """Execution on a CPU with compiled kernels; read-outs without kernels run eagerly.

    The result of a structure is bitwise independent of the others in the call and of the number of
    threads.

    Parameters
    ----------
    potential
        The model, on a CPU.
    skin, trials
        See :class:`~eqcalc.runtime.verification.VerifiedExecution`.

    Raises
    ------
    ExecutionUnavailableError
        There are no kernels for this model, they cannot be compiled, or they
        disagree with the eager execution.
    """

    name: ClassVar[str] = "fused"
    manner: ClassVar[str] = "compiled kernels"

    def _prepare(self) -> None:
        potential = self.potential
        self._fused = FusedPotential(potential)
        self._of_molecules = frozenset(potential.quantities) - {"stress"}
        self._compositions: list[tuple[tuple[Tensor, Tensor, Tensor], Composition]] = []
        self._half_pairs: tuple[Pairs, HalfPairs] | None = None
        self._closest: tuple[Tensor, ClosestPair] | None = None

    @property
    def parts(self) -> Mapping[str, str]:
        """How each quantity is evaluated."""
        return {
            name: self.manner if name in self._fused.outputs else "eager read-out"
            for name in self.potential.quantities
        }

    def evaluate(self, structures: Structures, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate; see :class:`~eqcalc.runtime.Execution`."""
        if structures.periodic or not self._of_molecules.issuperset(quantities):
            # outputs that the kernels do not compute would stay uninitialised
            self.potential.require_outputs(quantities, structures)
        composition = self._composition(structures)
        pairs = self._pairs(structures) if structures.periodic else None
        values, closest = self._fused.evaluate(composition, structures, quantities, pairs)
        self._closest = (structures.positions, closest)
        return values

    def closest_pair(self, structures: Structures) -> ClosestPair:
        """Return the closest pair, a by-product of the kernels."""
        if self._closest is not None and self._closest[0] is structures.positions:
            return self._closest[1]
        return closest_of(structures, pairs_within(structures, self.potential.cutoff))

    def _composition(self, structures: Structures) -> Composition:
        for (numbers, owner, charge), composition in self._compositions:
            if (
                numbers is structures.numbers
                and owner is structures.owner
                and charge is structures.charge
            ):
                return composition
        composition = self._fused.composition(structures)
        key = (structures.numbers, structures.owner, structures.charge)
        self._compositions = [(key, composition), *self._compositions[: _KEPT - 1]]
        return composition

    def _pairs(self, structures: Structures) -> HalfPairs:
        pairs = self._neighbors.pairs(structures)
        if self._half_pairs is None or self._half_pairs[0] is not pairs:
            self._half_pairs = (pairs, HalfPairs.of(pairs))
        return self._half_pairs[1]
