# SPDX-License-Identifier: MIT
"""Execution of any structures, with separate executions for frequent small molecules."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.quantities import quantity
from eqcalc.runtime.cuda_graphs import CapturedExecution
from eqcalc.runtime.execution import ClosestPair, EagerExecution, Execution
from eqcalc.structures import Structures

#: CUDA graphs and compiled programs evaluate all pairs. In larger molecules most pairs are beyond
#: the cutoff, and launch overhead no longer matters.
_LARGEST = 64
#: Number of molecules whose executions are cached.
_MOLECULES = 8
#: Largest number of molecules whose calls are counted.
_REMEMBERED = 1000
#: Batch sizes of CUDA graphs are powers of two or multiples of this.
_STEP = 64

#: Atomic numbers and charge [e].
_Molecule = tuple[tuple[int, ...], float]


class ExecutionMaker(Protocol):
    """Creates the execution of a molecule."""

    def __call__(self, potential: Potential, numbers: Tensor, *, charge: float) -> Execution | None:
        """Return the execution, or None to evaluate the molecule eagerly."""
        ...


class MoleculeExecution:
    """Execution that delegates to executions of single molecules: CUDA graphs or compiled programs.

    Copies of one molecule of up to 64 atoms are evaluated by its own execution, which is created
    once the molecule has occurred often enough. Everything else goes to a common execution. For
    CUDA graphs, batches are padded to round sizes so that few graphs are needed.

    Parameters
    ----------
    potential
        The model.
    make
        Creates the execution of a molecule.
    skin
        Extra distance of the neighbour list of periodic structures [Å].
    patience
        Number of calls for a molecule that are evaluated eagerly before its execution is created,
        which takes much longer than a call.
    otherwise
        Creates the execution of everything else, on first use.
    """

    name: ClassVar[str] = "molecules"

    def __init__(
        self,
        potential: Potential,
        make: ExecutionMaker,
        *,
        skin: float = 0.5,
        patience: int = 0,
        otherwise: Callable[..., Execution] = EagerExecution,
    ) -> None:
        self.potential = potential
        self._make = make
        self._patience = patience
        self._eager = EagerExecution(potential, skin=skin)
        self._skin, self._otherwise = skin, otherwise
        self._other: Execution | None = None
        self._last: tuple[Structures, _Molecule] | None = None
        self._calls: Counter[_Molecule] = Counter()
        self._executions: OrderedDict[_Molecule, Execution | None] = OrderedDict()

    @property
    def parts(self) -> Mapping[str, str]:
        """How each quantity is evaluated, by the execution last used."""
        latest = next(reversed(self._executions.values()), None) if self._executions else None
        return (latest or self._other or self._eager).parts

    def evaluate(self, structures: Structures, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate; see :class:`~eqcalc.runtime.Execution`."""
        molecule = None if "stress" in quantities else self._molecule(structures)
        if molecule is None:
            if self._other is None:
                self._other = self._otherwise(self.potential, skin=self._skin)
            return self._other.evaluate(structures, quantities)
        execution = self._execution(molecule)
        if execution is None:
            return self._eager.evaluate(structures, quantities)
        self.potential.require_outputs(quantities)
        if not isinstance(execution, CapturedExecution):
            return execution.evaluate(structures, quantities)
        return {
            name: value[
                : structures.n_atoms if quantity(name).per_atom else structures.n_structures
            ]
            for name, value in execution.evaluate(_padded(structures), quantities).items()
        }

    def closest_pair(self, structures: Structures) -> ClosestPair:
        """Return the closest pair; see :class:`~eqcalc.runtime.Execution`."""
        other = self._other if self._molecule(structures) is None else None
        return (other or self._eager).closest_pair(structures)

    def _molecule(self, structures: Structures) -> _Molecule | None:
        """Return the molecule if all structures are copies of one."""
        if self._last is not None:
            last, molecule = self._last
            if last.numbers is structures.numbers and last.charge is structures.charge:
                return molecule
        n_atoms = structures.uniform
        if structures.periodic or n_atoms is None or n_atoms > _LARGEST:
            return None
        numbers = structures.numbers.reshape(-1, n_atoms).cpu()
        charges = structures.charge.cpu()
        if not torch.equal(numbers, numbers[:1].expand_as(numbers)):
            return None
        if not bool((charges == charges[0]).all()):
            return None
        molecule = (tuple(numbers[0].tolist()), float(charges[0]))
        self._last = (structures, molecule)
        return molecule

    def _execution(self, molecule: _Molecule) -> Execution | None:
        """Return the execution of a molecule, or None if it has none (yet)."""
        if molecule not in self._executions:
            if len(self._calls) > _REMEMBERED:
                self._calls.clear()
            self._calls[molecule] += 1
            if self._calls[molecule] <= self._patience:
                return None
            numbers, charge = molecule
            made = self._make(self.potential, torch.tensor(numbers), charge=charge)
            self._executions[molecule] = made
            if len(self._executions) > _MOLECULES:
                forgotten, _ = self._executions.popitem(last=False)
                self._calls.pop(forgotten, None)
        self._executions.move_to_end(molecule)
        return self._executions[molecule]


def _padded(structures: Structures) -> Structures:
    """Pad with copies of the last structure to a round number."""
    n, n_atoms = structures.n_structures, structures.uniform or 0
    more = _round(n) - n
    if not more:
        return structures
    positions = structures.positions.detach().reshape(n, n_atoms, 3)
    return Structures.stack(
        structures.numbers[:n_atoms],
        torch.cat([positions, positions[-1:].expand(more, -1, -1)]),
        structures.charge[0],
    )


def _round(n: int) -> int:
    """Return the next power of two up to 64, then the next multiple of 64."""
    return 1 << (n - 1).bit_length() if n <= _STEP else -(-n // _STEP) * _STEP
