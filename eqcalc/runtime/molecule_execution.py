# SPDX-License-Identifier: MIT
"""Structures of any kind, of which small molecules have evaluators of their own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.neighbors import NeighborList
from eqcalc.runtime.evaluator import EagerEvaluator
from eqcalc.runtime.execution import EagerExecution, closest
from eqcalc.runtime.fused import Closest
from eqcalc.structures import Structures

__all__ = ["EvaluatorMaker", "MoleculeExecution"]

#: Recordings and programs evaluate all pairs. In larger molecules most of them are beyond the
#: cutoff, and there is enough to do that launches do not matter.
_LARGEST = 64
#: Number of molecules whose evaluators are kept.
_MOLECULES = 8


class EvaluatorMaker(Protocol):
    """Makes the evaluator of a molecule."""

    def __call__(
        self, potential: Potential, numbers: Tensor, *, charge: float
    ) -> EagerEvaluator | None:
        """Return the evaluator, or None to have the molecule evaluated eagerly."""
        ...


class MoleculeExecution:
    """Execution by evaluators of isolated molecules, such as recordings or compiled programs.

    Copies of one molecule of up to 64 atoms are evaluated by its evaluator, which is made when
    the molecule is first met. Anything else is evaluated operation by operation.

    Parameters
    ----------
    potential
        The model.
    make
        What makes the evaluator of a molecule.
    skin
        Extra distance of the neighbour list of periodic structures [Å].
    """

    name: ClassVar[str] = "molecules"

    def __init__(self, potential: Potential, make: EvaluatorMaker, skin: float = 0.5) -> None:
        self._potential = potential
        self._make = make
        self._eager = EagerExecution(potential, skin)
        self._neighbors = NeighborList(potential.cutoff, skin)
        self._evaluators: OrderedDict[tuple[tuple[int, ...], float], EagerEvaluator | None]
        self._evaluators = OrderedDict()

    def evaluate(
        self, structures: Structures, quantities: Collection[str]
    ) -> tuple[dict[str, Tensor], Closest]:
        """Evaluate; see :class:`Execution`."""
        evaluator = None if "stress" in quantities else self._evaluator(structures)
        if evaluator is None:
            return self._eager.evaluate(structures, quantities)
        self._potential.check_gives(quantities)
        n = structures.n_structures
        values = evaluator(structures.positions.detach().reshape(n, -1, 3), quantities)
        if "forces" in values:
            values["forces"] = values["forces"].flatten(0, 1)
        return values, closest(structures, self._neighbors.pairs(structures))

    def _evaluator(self, structures: Structures) -> EagerEvaluator | None:
        """Return the evaluator of the molecule that all structures are copies of."""
        n_atoms = structures.uniform
        if structures.periodic or n_atoms is None or n_atoms > _LARGEST:
            return None
        numbers = structures.numbers.reshape(-1, n_atoms).cpu()
        charges = structures.charge.cpu()
        if not torch.equal(numbers, numbers[:1].expand_as(numbers)):
            return None
        if not bool((charges == charges[0]).all()):
            return None
        key = (tuple(numbers[0].tolist()), float(charges[0]))
        if key not in self._evaluators:
            self._evaluators[key] = self._make(self._potential, numbers[0], charge=key[1])
            if len(self._evaluators) > _MOLECULES:
                self._evaluators.popitem(last=False)
        self._evaluators.move_to_end(key)
        return self._evaluators[key]
