# SPDX-License-Identifier: MIT
"""A batch of molecules or cells as tensors.

One type holds both a ragged batch of different molecules and a stack of replicas or beads of one
molecule. The atoms of all structures are concatenated; ``owner`` is the structure of each atom. A
stack also has a uniform number of atoms, so that sums over atoms are reshapes instead of scatters.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_masses
from torch import Tensor

from eqcalc.facts import ComparedByValue
from eqcalc.molecules import total_charge
from eqcalc.validation import InvalidInputError


@dataclass(frozen=True, eq=False)
class Structures(ComparedByValue):
    """A batch of isolated molecules or periodic cells.

    Parameters
    ----------
    numbers
        Atomic numbers, ``[n_atoms]`` int64.
    positions
        Positions, ``[n_atoms, 3]`` Å.
    owner
        Index of the structure of each atom, ``[n_atoms]`` int64, ascending.
    n_structures
        Number of structures, none of them empty.
    charge
        Total charges, ``[n_structures]`` e.
    cell
        Cell vectors as rows, ``[n_structures, 3, 3]`` Å; None if nothing is periodic.
    pbc
        Periodic directions, ``[n_structures, 3]`` bool; None if nothing is periodic.
    uniform
        Number of atoms of every structure if all are equal, else None.
    """

    numbers: Tensor
    positions: Tensor
    owner: Tensor
    n_structures: int
    charge: Tensor
    cell: Tensor | None = None
    pbc: Tensor | None = None
    uniform: int | None = None

    @classmethod
    def pack(
        cls,
        numbers: Tensor,
        positions: Tensor,
        counts: Tensor | Sequence[int],
        charge: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
    ) -> Structures:
        """Build a batch from the concatenated atoms of its structures.

        Parameters
        ----------
        numbers, positions
            ``[n_atoms]`` and ``[n_atoms, 3]`` Å.
        counts
            Number of atoms of each structure, ``[n_structures]``.
        charge
            Total charges, ``[n_structures]`` e; zero if not given.
        cell, pbc
            ``[n_structures, 3, 3]`` Å and ``[n_structures, 3]``; both or neither.

        Raises
        ------
        ValueError
            The counts do not add up to the number of atoms, a structure is
            empty, or only one of `cell` and `pbc` is given.
        """
        counts = torch.as_tensor(counts, dtype=torch.int64)
        n_atoms, n_structures = len(numbers), len(counts)
        if positions.shape != (n_atoms, 3):
            raise InvalidInputError(
                key="positions", value=list(positions.shape), expected=f"the shape [{n_atoms}, 3]"
            )
        if int(counts.sum()) != n_atoms:
            raise InvalidInputError(
                key="counts", value=counts.tolist(), expected=f"the sum {n_atoms}, of all atoms"
            )
        if n_structures == 0 or int(counts.min()) < 1:
            raise InvalidInputError(
                key="counts", value=counts.tolist(), expected="at least one atom in every structure"
            )
        if (cell is None) != (pbc is None):
            raise InvalidInputError(key="cell", expected="both cell and pbc, or neither")
        if pbc is not None and not bool(pbc.any()):
            cell = pbc = None
        device, dtype = positions.device, positions.dtype
        owner = torch.repeat_interleave(torch.arange(n_structures), counts).to(device)
        if charge is None:
            charge = torch.zeros(n_structures, dtype=dtype, device=device)
        first = int(counts[0])
        return cls(
            numbers=numbers.to(device=device, dtype=torch.int64),
            positions=positions,
            owner=owner,
            n_structures=n_structures,
            charge=charge.to(device=device, dtype=dtype),
            cell=None if cell is None else cell.to(device=device, dtype=dtype),
            pbc=None if pbc is None else pbc.to(device=device, dtype=torch.bool),
            uniform=first if bool((counts == first).all()) else None,
        )

    @classmethod
    def stack(
        cls,
        numbers: Tensor,
        positions: Tensor,
        charge: float | Tensor = 0.0,
        cell: Tensor | None = None,
    ) -> Structures:
        """Stack replicas or beads of one molecule or cell.

        Parameters
        ----------
        numbers
            Atomic numbers of the molecule, ``[n]``.
        positions
            ``[n_structures, n, 3]`` Å.
        charge
            Total charge of each [e].
        cell
            Cell vectors of all as rows, ``[3, 3]`` Å; None for an isolated molecule.
        """
        if positions.ndim != 3 or positions.shape[1:] != (len(numbers), 3):
            raise InvalidInputError(
                key="positions",
                value=list(positions.shape),
                expected=f"the shape [n_structures, {len(numbers)}, 3]",
            )
        n_structures, n = positions.shape[:2]
        device, dtype = positions.device, positions.dtype
        if not isinstance(charge, Tensor):  # no copy from the host: no synchronization
            charge = positions.new_full((), charge)
        if cell is not None:
            cell = cell.to(positions).expand(n_structures, 3, 3).contiguous()
        return cls(
            numbers=numbers.to(device=device, dtype=torch.int64).repeat(n_structures),
            positions=positions.reshape(-1, 3),
            owner=torch.arange(n_structures, device=device).repeat_interleave(n),
            n_structures=n_structures,
            charge=charge.to(device=device, dtype=dtype).expand(n_structures),
            cell=cell,
            pbc=None if cell is None else cell.new_ones((n_structures, 3), dtype=torch.bool),
            uniform=n,
        )

    @classmethod
    def from_atoms(
        cls,
        atoms: Atoms | Sequence[Atoms],
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Structures:
        """Build a batch from ASE atoms, with their :func:`~eqcalc.molecules.total_charge`."""
        frames = [atoms] if isinstance(atoms, Atoms) else list(atoms)
        if not frames:
            raise InvalidInputError(key="frames", value=[], expected="at least one structure")
        periodic = any(frame.pbc.any() for frame in frames)

        def tensor(values: object, kind: torch.dtype = dtype) -> Tensor:
            return torch.as_tensor(np.asarray(values), dtype=kind, device=device)

        return cls.pack(
            numbers=tensor(np.concatenate([f.numbers for f in frames]), torch.int64),
            positions=tensor(np.concatenate([f.positions for f in frames])),
            counts=[len(f) for f in frames],
            charge=tensor([total_charge(f) for f in frames]),
            cell=tensor([f.cell.array for f in frames]) if periodic else None,
            pbc=tensor([f.pbc for f in frames], torch.bool) if periodic else None,
        )

    @property
    def n_atoms(self) -> int:
        """Number of atoms of all structures together."""
        return self.numbers.shape[0]

    @property
    def periodic(self) -> bool:
        """Whether any structure is periodic."""
        return self.pbc is not None

    @property
    def counts(self) -> Tensor:
        """Number of atoms of each structure, ``[n_structures]``."""
        if self.uniform is not None:
            return torch.full((self.n_structures,), self.uniform, device=self.owner.device)
        # unlike torch.bincount this does not synchronize with a GPU
        none = torch.zeros(self.n_structures, dtype=torch.int64, device=self.owner.device)
        return none.index_add(0, self.owner, torch.ones_like(self.owner))

    @property
    def masses(self) -> Tensor:
        """Standard atomic masses, ``[n_atoms]`` amu."""
        return _mass_table(self.positions.dtype, self.positions.device)[self.numbers]

    def sum_over_atoms(self, values: Tensor) -> Tensor:
        """Sum ``[n_atoms, ...]`` over the atoms of each structure, ``[n_structures, ...]``."""
        if self.uniform is not None:
            return values.reshape(self.n_structures, self.uniform, *values.shape[1:]).sum(1)
        total = values.new_zeros((self.n_structures, *values.shape[1:]))
        return total.index_add(0, self.owner, values)

    def mean_over_atoms(self, values: Tensor) -> Tensor:
        """Average ``[n_atoms, ...]`` over the atoms of each structure."""
        counts = self.counts.to(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
        return self.sum_over_atoms(values) / counts

    def spread_to_atoms(self, values: Tensor) -> Tensor:
        """Broadcast values of structures to their atoms, ``[n_atoms, ...]``."""
        if self.uniform is not None:
            return values.repeat_interleave(self.uniform, dim=0, output_size=self.n_atoms)
        return values[self.owner]

    def center_of_mass(self) -> Tensor:
        """Centres of mass with standard atomic masses, ``[n_structures, 3]`` Å."""
        masses = self.masses.unsqueeze(-1)
        return self.sum_over_atoms(masses * self.positions) / self.sum_over_atoms(masses)

    def nearest_images(self, vectors: Tensor) -> Tensor:
        """Return vectors ``[n_structures, 3]`` Å less the whole lattice vectors they contain.

        The fractional coordinates of the result are at most ½. Those of isolated structures, and
        along directions that are not periodic, are unchanged.
        """
        if self.cell is None or self.pbc is None:
            return vectors
        lattice = torch.where(self.pbc.unsqueeze(-1), self.cell, 0.0).to(vectors.dtype)
        whole = torch.round(vectors.unsqueeze(1) @ torch.linalg.pinv(lattice))
        return vectors - (whole @ lattice).squeeze(1)

    def with_positions(self, positions: Tensor, cell: Tensor | None = None) -> Structures:
        """Return the same structures at other positions (and, if given, in other cells)."""
        twin = object.__new__(Structures)  # several times faster than replace
        vars(twin).update(vars(self), positions=positions)
        if cell is not None:
            vars(twin)["cell"] = cell
        return twin

    def apart(self) -> Structures:
        """Return every atom as an isolated, neutral structure of its own."""
        return replace(
            self,
            owner=torch.arange(self.n_atoms, device=self.owner.device),
            n_structures=self.n_atoms,
            charge=self.charge.new_zeros(self.n_atoms),
            cell=None,
            pbc=None,
            uniform=1,
        )

    def split(self, size: int) -> Iterator[Structures]:
        """Split isolated structures of equal size into batches of at most `size`."""
        if self.uniform is None or self.periodic:
            raise InvalidInputError(key="structures", expected="isolated structures of equal size")
        for begin in range(0, self.n_structures, size):
            end = min(begin + size, self.n_structures)
            atoms = slice(begin * self.uniform, end * self.uniform)
            yield replace(
                self,
                numbers=self.numbers[atoms],
                positions=self.positions[atoms],
                owner=self.owner[atoms] - begin,
                n_structures=end - begin,
                charge=self.charge[begin:end],
            )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Structures:
        """Move to `device` and convert the real-valued tensors to `dtype`."""

        def real(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device=device, dtype=dtype)

        return replace(
            self,
            numbers=self.numbers.to(device=device),
            positions=self.positions.to(device=device, dtype=dtype),
            owner=self.owner.to(device=device),
            charge=self.charge.to(device=device, dtype=dtype),
            cell=real(self.cell),
            pbc=None if self.pbc is None else self.pbc.to(device=device),
        )


def volumes(cell: Tensor) -> Tensor:
    """Return the volumes of cells ``[n_structures, 3, 3]`` Å, infinite for molecules among them."""
    found = torch.linalg.det(cell.detach()).abs()
    return torch.where(found > 0.0, found, torch.inf)


@functools.cache
def _mass_table(dtype: torch.dtype, device: torch.device) -> Tensor:
    # cached: copying it to a GPU would synchronize
    return torch.as_tensor(atomic_masses, dtype=dtype, device=device)
