# SPDX-License-Identifier: MIT
"""Structures of any kind, of which small molecules have evaluators of their own."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.neighbors import Pairs, all_pairs
from eqcalc.runtime.cpu_kernels import Closest
from eqcalc.runtime.cuda_graphs import CapturedEvaluator
from eqcalc.runtime.evaluator import EagerEvaluator
from eqcalc.runtime.execution import EagerExecution, Execution, closest
from eqcalc.structures import Structures

#: Recordings and programs evaluate all pairs. In larger molecules most of them are beyond the
#: cutoff, and there is enough to do that launches do not matter.
_LARGEST = 64
#: Number of molecules whose evaluators are kept.
_MOLECULES = 8
#: Number of molecules whose calls are counted, at most.
_REMEMBERED = 1000
#: Numbers of structures of recordings are multiples of this, or powers of two.
_STEP = 64

#: Atomic numbers and charge [e].
_Molecule = tuple[tuple[int, ...], float]


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
    the molecule has been met often enough. Anything else is evaluated by another execution.
    Where evaluators record, copies are added up to a round number, so that recordings are few.

    Parameters
    ----------
    potential
        The model.
    make
        What makes the evaluator of a molecule.
    skin
        Extra distance of the neighbour list of periodic structures [Å].
    patience
        Number of calls for a molecule that are evaluated operation by operation before its
        evaluator is made, which takes much longer than a call.
    otherwise
        Makes the execution of anything else, when that is first met.
    """

    name: ClassVar[str] = "molecules"

    def __init__(
        self,
        potential: Potential,
        make: EvaluatorMaker,
        skin: float = 0.5,
        *,
        patience: int = 0,
        otherwise: Callable[[Potential, float], Execution] = EagerExecution,
    ) -> None:
        self._potential = potential
        self._make = make
        self._patience = patience
        self._eager = EagerExecution(potential, skin)
        self._skin, self._otherwise = skin, otherwise
        self._other: Execution | None = None
        self._last: tuple[Structures, _Molecule, Pairs] | None = None
        self._calls: Counter[_Molecule] = Counter()
        self._evaluators: OrderedDict[tuple[tuple[int, ...], float], EagerEvaluator | None]
        self._evaluators = OrderedDict()

    def evaluate(
        self, structures: Structures, quantities: Collection[str]
    ) -> tuple[dict[str, Tensor], Closest]:
        """Evaluate; see :class:`Execution`."""
        known = None if "stress" in quantities else self._molecule(structures)
        if known is None:
            if self._other is None:
                self._other = self._otherwise(self._potential, self._skin)
            return self._other.evaluate(structures, quantities)
        evaluator = self._evaluator(known[0])
        if evaluator is None:
            return self._eager.evaluate(structures, quantities)
        self._potential.check_gives(quantities)
        n = structures.n_structures
        positions = structures.positions.detach().reshape(n, -1, 3)
        if isinstance(evaluator, CapturedEvaluator):
            positions = torch.cat([positions, positions[-1:].expand(_round(n) - n, -1, -1)])
        values = {name: v[:n] for name, v in evaluator(positions, quantities).items()}
        if "forces" in values:
            values["forces"] = values["forces"].flatten(0, 1)
        return values, closest(structures, known[1])

    def _molecule(self, structures: Structures) -> tuple[_Molecule, Pairs] | None:
        """Return the molecule that all structures are copies of, and their pairs."""
        if self._last is not None:
            last, molecule, pairs = self._last
            if last.numbers is structures.numbers and last.charge is structures.charge:
                return molecule, pairs
        n_atoms = structures.uniform
        if structures.periodic or n_atoms is None or n_atoms > _LARGEST:
            return None
        numbers = structures.numbers.reshape(-1, n_atoms).cpu()
        charges = structures.charge.cpu()
        if not torch.equal(numbers, numbers[:1].expand_as(numbers)):
            return None
        if not bool((charges == charges[0]).all()):
            return None
        molecule, pairs = (tuple(numbers[0].tolist()), float(charges[0])), all_pairs(structures)
        self._last = (structures, molecule, pairs)
        return molecule, pairs

    def _evaluator(self, molecule: _Molecule) -> EagerEvaluator | None:
        """Return the evaluator of a molecule, or None if it has none, or none yet."""
        if molecule not in self._evaluators:
            if len(self._calls) > _REMEMBERED:
                self._calls.clear()
            self._calls[molecule] += 1
            if self._calls[molecule] <= self._patience:
                return None
            numbers, charge = molecule
            made = self._make(self._potential, torch.tensor(numbers), charge=charge)
            self._evaluators[molecule] = made
            if len(self._evaluators) > _MOLECULES:
                forgotten, _ = self._evaluators.popitem(last=False)
                self._calls.pop(forgotten, None)
        self._evaluators.move_to_end(molecule)
        return self._evaluators[molecule]


def _round(n: int) -> int:
    """Return the next power of two up to 64, then the next multiple of 64."""
    return 1 << (n - 1).bit_length() if n <= _STEP else -(-n // _STEP) * _STEP
