# SPDX-License-Identifier: MIT
"""A labelled structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from eqcalc.facts import ComparedByValue
from eqcalc.molecules import spin_entry, stated_unpaired_electrons, total_charge
from eqcalc.quantities import quantity
from eqcalc.validation import InvalidInputError, shape


@dataclass(frozen=True, eq=False)
class Record(ComparedByValue):
    """A structure and its labels, in internal units.

    Parameters
    ----------
    numbers
        Atomic numbers, ``[n_atoms]``.
    positions
        Positions [Å], ``[n_atoms, 3]``.
    labels
        Values by quantity name, in the shape defined by its
        :class:`~eqcalc.quantities.Quantity`. Missing quantities are unknown.
    charge
        Total charge [e].
    cell
        Cell vectors as rows [Å], ``[3, 3]``; None for an isolated structure.
    pbc
        Periodicity along each cell vector, ``[3]``; None for an isolated structure.
    source
        Origin of the geometry, for example ``"Langevin 500 K"``.
    unpaired_electrons
        Number of unpaired electrons, 2S; None if it is not known.
    """

    numbers: np.ndarray
    positions: np.ndarray
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    charge: float = 0.0
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None
    source: str = ""
    unpaired_electrons: int | None = None

    def __post_init__(self) -> None:
        numbers = shape("numbers", self.numbers, ("n_atoms",))
        if not np.issubdtype(numbers.dtype, np.integer):
            raise InvalidInputError(key="numbers", value=numbers.dtype, expected="integers")
        n_atoms = len(numbers)
        positions = np.asarray(self.positions, dtype=np.float64)
        labels = {}
        for name, value in self.labels.items():
            expected = quantity(name).shape_of(n_atoms)
            labels[name] = shape(name, np.asarray(value, dtype=np.float64), expected)
        if (self.cell is None) != (self.pbc is None):
            raise InvalidInputError(key="cell", expected="a cell and pbc, or none of them")
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "positions", shape("positions", positions, (n_atoms, 3)))
        object.__setattr__(self, "labels", labels)
        if self.cell is not None:
            cell = np.asarray(self.cell, dtype=np.float64)
            object.__setattr__(self, "cell", shape("cell", cell, (3, 3)))
            object.__setattr__(self, "pbc", np.broadcast_to(np.asarray(self.pbc, bool), (3,)))

    @classmethod
    def from_atoms(
        cls, atoms: ase.Atoms, labels: Mapping[str, np.ndarray] | None = None, source: str = ""
    ) -> Record:
        """Return the record of `atoms` with the `labels` given, in internal units.

        Charge and spin are those that the atoms state, see :mod:`eqcalc.molecules`. Results of an
        attached calculator are not read, since their level of theory is unknown.
        """
        periodic = bool(atoms.pbc.any())
        return cls(
            numbers=np.array(atoms.numbers, dtype=np.int64),
            positions=np.array(atoms.positions),
            labels=labels or {},
            charge=total_charge(atoms),
            cell=np.array(atoms.cell.array) if periodic else None,
            pbc=np.array(atoms.pbc) if periodic else None,
            source=source,
            unpaired_electrons=stated_unpaired_electrons(atoms),
        )

    def atoms(self) -> ase.Atoms:
        """Return the structure as ASE atoms.

        Energy, forces, stress and dipole are results of a
        :class:`~ase.calculators.singlepoint.SinglePointCalculator`; the charge, the multiplicity
        of an open shell, the source and other labels, such as the polarizability, are in
        ``atoms.info``, per-atom labels in ``atoms.arrays``.
        """
        atoms = ase.Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc)
        if self.charge:
            atoms.info["charge"] = self.charge
        if self.unpaired_electrons is not None:
            atoms.info |= spin_entry(atoms, self.unpaired_electrons)
        if self.source:
            atoms.info["source"] = self.source
        results: dict[str, Any] = {}
        for name, value in self.labels.items():
            if name in all_properties:
                results[name] = np.array(value)
            elif quantity(name).per_atom:
                atoms.arrays[name] = np.array(value)
            else:
                atoms.info[name] = np.array(value)
        if "energy" in results:
            results["energy"] = float(results["energy"])
        if "stress" in results:
            tensor = results["stress"]
            results["stress"] = tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        if results:
            atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms
