# SPDX-License-Identifier: MIT
"""The interface of dynamics to a model: replicas × beads of one molecule or cell per call."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any, Protocol

import torch
from numpy.typing import ArrayLike
from torch import Tensor

import eqcalc
from eqcalc.facts import described, facts_table, grouped
from eqcalc.models.checkpoint import model_hash
from eqcalc.models.compositions import check_charge, formula, warn_of_cell, warn_of_composition
from eqcalc.models.derivatives import differentiable_pairs, time_derivatives
from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.quantities import quantity
from eqcalc.runtime.execution import EagerExecution, Execution, joined
from eqcalc.structures import Structures
from eqcalc.validation import known_elements

#: Number of batch sizes for which everything but the positions is cached.
_KEPT = 64
#: Structures differentiated at once on a CPU.
_CHUNK = 32


class Evaluator(Protocol):
    """Energies, forces and properties of configurations of one molecule, as dynamics needs them.

    One with a ``cell`` ``[3, 3]`` Å is of the contents of that cell.
    """

    #: Atomic numbers, ``[n_atoms]``.
    numbers: Tensor
    #: Total charge [e]; an evaluator without it is one of a neutral molecule.
    charge: float
    #: Names of the available quantities.
    quantities: tuple[str, ...]
    #: Provenance of the results (JSON-able): model hash, level of theory, versions.
    provenance: dict[str, Any]

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate configurations.

        Parameters
        ----------
        positions
            ``[n_structures, n_atoms, 3]`` Å, float64.
        quantities
            Names among energy, forces, dipole, polarizability, ….

        Returns
        -------
        dict
            float64 tensors: energy ``[n_structures]`` eV, forces
            ``[n_structures, n_atoms, 3]`` eV/Å, dipole ``[n_structures, 3]`` e·Å,
            polarizability ``[n_structures, 3, 3]`` e²Å²/eV.
        """
        ...


class CellEvaluator(Evaluator, Protocol):
    """What dynamics at constant pressure needs: the contents of a cell in other cells."""

    def __call__(
        self, positions: Tensor, quantities: Collection[str], cells: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Evaluate configurations in cells ``[n_structures, 3, 3]`` Å."""
        ...


class MoleculeEvaluator:
    """A model evaluated for configurations of one molecule, or of the contents of one cell.

    :func:`eqcalc.runtime.evaluator_for` creates one with the fastest execution. Energy, forces
    and properties are those of the execution; derivatives of properties are taken eagerly.

    Parameters
    ----------
    execution
        How the model is executed.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    charge
        Its total charge [e].
    cell
        Cell vectors as rows, ``[3, 3]`` Å, of a periodic structure. Positions need not be in it.

    Raises
    ------
    UnknownElementError
        The molecule contains an element that the model does not know.
    InvalidInputError
        The model was not trained on this charge.
    """

    def __init__(
        self,
        execution: Execution,
        numbers: Tensor,
        *,
        charge: float = 0.0,
        cell: ArrayLike | None = None,
    ) -> None:
        potential = execution.potential
        numbers = known_numbers(potential, numbers)
        check_charge(potential.metadata, charge)
        if cell is None:  # supercells have many compositions
            warn_of_composition(potential.metadata, numbers.cpu().numpy())
        else:
            warn_of_cell(potential.of_isolated)
        #: How the model is executed.
        self.execution = execution
        self.device = potential.device
        #: Cell vectors as rows [Å]; None for a molecule.
        self.cell: Tensor | None = None
        self.quantities = potential.quantities
        if cell is not None:
            self.cell = torch.as_tensor(cell, dtype=torch.float64, device=self.device)
            nowhere = self.cell.new_zeros(1, len(numbers), 3)
            one = Structures.stack(numbers, nowhere, charge, self.cell)
            available = potential.available_for(one)
            parts = [part for part, of in potential.atomic_parts.items() if of in available]
            self.quantities = (*available, *parts)
        self.numbers = numbers.to(self.device)
        self.charge = charge
        self._shape = [len(numbers), 3]
        self._stacks: dict[int, Structures] = {}
        self.provenance: dict[str, Any] = {
            "model": model_hash(potential),
            **({} if potential.file is None else {"model_file": str(potential.file)}),
            "level_of_theory": potential.metadata.get("level_of_theory"),
            **({"charge": charge} if charge else {}),
            **({} if self.cell is None else {"cell_angstrom": self.cell.tolist()}),
            "network_precision": precision_of(potential),
            "execution": execution.name,
            "device": str(self.device),
            "eqcalc": eqcalc.__version__,
            "torch": torch.__version__,
        }

    @property
    def potential(self) -> Potential:
        """The model."""
        return self.execution.potential

    @property
    def parts(self) -> dict[str, str]:
        """How each quantity is evaluated: by compiled kernels, as an eager read-out, …."""
        return dict(self.execution.parts)

    def stack(self, positions: Tensor) -> Structures:
        """Return positions ``[n_structures, n_atoms, 3]`` Å as structures of the molecule."""
        n, *shape = positions.shape
        kept = self._stacks.get(n)
        if kept is None or shape != self._shape:
            # checks the shape
            kept = Structures.stack(self.numbers, positions, self.charge, self.cell)
            if len(self._stacks) >= _KEPT:
                self._stacks.clear()
            self._stacks[n] = kept.with_positions(positions.new_empty(0, 3))
        return kept.with_positions(positions.reshape(-1, 3))

    def __call__(
        self, positions: Tensor, quantities: Collection[str], cells: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Evaluate positions ``[n_structures, n_atoms, 3]`` Å; see :class:`CellEvaluator`."""
        positions = positions.detach().to(device=self.device, dtype=torch.float64)
        structures = self.stack(positions)
        if cells is not None:
            structures = structures.with_positions(structures.positions, cells.to(positions))
        values = self.execution.evaluate(structures, quantities)
        for name in values:
            if quantity(name).per_atom:
                values[name] = values[name].unflatten(0, positions.shape[:2])
        return values

    def using(self, execution: Execution) -> MoleculeEvaluator:
        """Return the same evaluator with another execution of its model."""
        twin = copy.copy(self)
        twin.execution = execution
        return twin

    def polar_tensors(self, positions: Tensor) -> Tensor:
        """Return exact ∂μ_c/∂r_ia of the dipole, ``[n_structures, n_atoms, 3 (a), 3 (c)]`` e."""
        parts = []
        for (block,) in self._blocks(positions):
            stack = self.stack(block)
            pairs = differentiable_pairs(self.potential, stack)
            coordinates = stack.positions.detach().requires_grad_(True)
            dipole = self.potential(stack.with_positions(coordinates), pairs, ("dipole",))["dipole"]
            columns = [
                torch.autograd.grad(dipole[:, c].sum(), coordinates, retain_graph=c < 2)[0]
                for c in range(3)
            ]
            parts.append(torch.stack(columns, dim=-1).reshape(*block.shape, 3))
        return torch.cat(parts)

    def rates(
        self, positions: Tensor, velocities: Tensor, quantities: Collection[str]
    ) -> dict[str, Tensor]:
        """Exact time derivatives of properties along velocities.

        Parameters
        ----------
        positions, velocities
            ``[n_structures, n_atoms, 3]`` in Å and Å per unit of time.
        quantities
            ``"dipole"`` and/or ``"polarizability"``.

        Returns
        -------
        dict
            Rates by the name of the quantity, per the same unit of time.
        """
        return joined(
            [
                time_derivatives(
                    self.potential, self.stack(block), speed.reshape(-1, 3), tuple(quantities)
                )
                for block, speed in self._blocks(positions, velocities)
            ]
        )

    def _blocks(self, *arrays: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Split batches into parts that are differentiated at once."""
        size = _CHUNK if self.device.type == "cpu" else max(len(arrays[0]), 1)
        moved = (array.to(device=self.device, dtype=torch.float64) for array in arrays)
        return zip(*(array.split(size) for array in moved), strict=True)

    def facts(self) -> dict[str, str]:
        """Return a description of the molecule, model and execution."""
        facts = self.potential.facts()
        return {
            "molecule" if self.cell is None else "cell": f"{formula(self.numbers.tolist())}, "
            f"charge {self.charge:g} e",
            "execution": grouped(self.parts),
            "level of theory": facts["level of theory"],
            "precision": f"{self.provenance['network_precision']} on {self.device}",
        }

    def __repr__(self) -> str:
        return f"MoleculeEvaluator({described(self.facts())})"

    def _repr_html_(self) -> str:
        return facts_table("Evaluator of a molecule", self.facts())


def eager_evaluator(
    potential: Potential,
    numbers: Tensor,
    *,
    charge: float = 0.0,
    cell: ArrayLike | None = None,
    chunk: int | None = None,
) -> MoleculeEvaluator:
    """Return the reference evaluator of a molecule or cell, which runs the model eagerly.

    Parameters
    ----------
    potential, numbers, charge, cell
        See :func:`eqcalc.runtime.evaluator_for`.
    chunk
        See :class:`EagerExecution`.
    """
    numbers = known_numbers(potential, numbers)
    if cell is None:
        execution = EagerExecution.for_molecule(potential, numbers, charge=charge, chunk=chunk)
    else:
        execution = EagerExecution(potential)
    return MoleculeEvaluator(execution, numbers, charge=charge, cell=cell)


def known_numbers(potential: Potential, numbers: Tensor) -> Tensor:
    """Return atomic numbers ``[n_atoms]`` int64; UnknownElementError if the model lacks one."""
    numbers = torch.as_tensor(numbers, dtype=torch.int64)
    known_elements(numbers.tolist(), potential.references.elements)
    return numbers
