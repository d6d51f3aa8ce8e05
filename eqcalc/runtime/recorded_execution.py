# SPDX-License-Identifier: MIT
"""Recordings for structures of any kind: small molecules played back, the rest as written."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import ClassVar

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.neighbors import NeighborList
from eqcalc.runtime.captured import CapturedEvaluator
from eqcalc.runtime.compiler import ExecutionUnavailableError, ExecutionWarning
from eqcalc.runtime.execution import EagerExecution, closest
from eqcalc.runtime.fused import Closest
from eqcalc.runtime.recorded import faster_recording
from eqcalc.structures import Structures

__all__ = ["RecordedExecution"]

#: A recording evaluates all pairs. In larger molecules most of them are beyond the cutoff, and
#: there is enough to do that launches do not matter.
_LARGEST = 64
#: Number of molecules whose recordings are kept.
_MOLECULES = 8


class RecordedExecution:
    """Execution on a GPU: recordings of isolated molecules, by molecule.

    Copies of one molecule of up to 64 atoms are played back. Anything else, and everything
    if nothing can be recorded, which a warning tells once, is evaluated operation by
    operation.

    Parameters
    ----------
    potential
        The model, on a GPU.
    skin
        Extra distance of the neighbour list of periodic structures [Å].
    recording
        What makes the evaluator of a molecule.
    """

    name: ClassVar[str] = "captured"

    def __init__(
        self,
        potential: Potential,
        skin: float = 0.5,
        *,
        recording: Callable[..., CapturedEvaluator] = faster_recording,
    ) -> None:
        self._potential = potential
        self._eager = EagerExecution(potential, skin)
        self._neighbors = NeighborList(potential.cutoff, skin)
        self._recording: Callable[..., CapturedEvaluator] | None = recording
        self._evaluators: OrderedDict[tuple[tuple[int, ...], float], CapturedEvaluator]
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

    def _evaluator(self, structures: Structures) -> CapturedEvaluator | None:
        """Return the evaluator of the molecule that all structures are copies of."""
        n_atoms = structures.uniform
        if self._recording is None or structures.periodic or n_atoms is None:
            return None
        if n_atoms > _LARGEST:
            return None
        numbers = structures.numbers.reshape(-1, n_atoms).cpu()
        charges = structures.charge.cpu()
        if not (torch.equal(numbers, numbers[:1].expand_as(numbers))):
            return None
        if not bool((charges == charges[0]).all()):
            return None
        key = (tuple(numbers[0].tolist()), float(charges[0]))
        if key not in self._evaluators:
            try:
                evaluator = self._recording(self._potential, numbers[0], charge=key[1])
            except ExecutionUnavailableError as reason:
                warnings.warn(
                    f"running the model operation by operation, several times slower: {reason}",
                    ExecutionWarning,
                    stacklevel=3,
                )
                self._recording = None
                return None
            self._evaluators[key] = evaluator
            if len(self._evaluators) > _MOLECULES:
                self._evaluators.popitem(last=False)
        self._evaluators.move_to_end(key)
        return self._evaluators[key]
