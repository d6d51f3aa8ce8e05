# SPDX-License-Identifier: MIT
"""Batches of structures."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from eqcalc.structures import Structures
from tests.errors import refused

MOLECULES = [molecule(name) for name in ("H2O", "CH3CH2OH", "CO", "CH4")]


def test_ragged_batch_keeps_each_molecule():
    batch = Structures.from_atoms(MOLECULES)
    assert batch.n_structures == 4
    assert batch.uniform is None
    assert batch.counts.tolist() == [3, 9, 2, 5]
    for index, atoms in enumerate(MOLECULES):
        mine = batch.owner == index
        np.testing.assert_array_equal(batch.numbers[mine], atoms.numbers)
        np.testing.assert_array_equal(batch.positions[mine], atoms.positions)
        center = atoms.get_center_of_mass()
        np.testing.assert_allclose(batch.center_of_mass()[index], center, atol=1e-12)


def test_stack_equals_packed_batch(generator):
    numbers = torch.tensor(MOLECULES[0].numbers)
    positions = torch.randn(5, 3, 3, generator=generator, dtype=torch.float64)
    stack = Structures.stack(numbers, positions, charge=1.0)
    packed = Structures.pack(numbers.repeat(5), positions.reshape(-1, 3), [3] * 5, torch.ones(5))
    for name in ("numbers", "positions", "owner", "charge"):
        assert torch.equal(getattr(stack, name), getattr(packed, name))
    assert stack.uniform == packed.uniform == 3
    values = torch.randn(15, 2, 2, generator=generator, dtype=torch.float64)
    ragged = Structures(**{**vars(stack), "uniform": None})
    torch.testing.assert_close(stack.sum_over_atoms(values), ragged.sum_over_atoms(values))
    torch.testing.assert_close(stack.mean_over_atoms(values), ragged.mean_over_atoms(values))
    per_structure = torch.randn(5, 3, generator=generator)
    assert torch.equal(stack.spread_to_atoms(per_structure), ragged.spread_to_atoms(per_structure))


def test_cells_are_kept_for_mixed_batches():
    batch = Structures.from_atoms([bulk("C", cubic=True), MOLECULES[0]])
    assert batch.periodic
    assert batch.pbc.tolist() == [[True] * 3, [False] * 3]
    assert not Structures.from_atoms(MOLECULES).periodic


@pytest.mark.parametrize("pbc", [[True] * 3, [True, True, False], [False, False, True]])
def test_nearest_images_lack_whole_lattice_vectors(pbc, generator):
    """Of a mixed batch; what is not periodic is left alone."""
    skew = bulk("C")
    skew.pbc = pbc
    batch = Structures.from_atoms([skew, MOLECULES[0]])
    short = torch.tensor([0.3, -0.2, 0.45]) * torch.tensor(pbc) @ batch.cell[0].float()
    short = torch.stack([short.double(), torch.tensor([9.0, -20.0, 5.0], dtype=torch.float64)])
    whole = torch.randint(-5, 6, (2, 1, 3), generator=generator).double()
    shift = ((whole * batch.pbc.unsqueeze(1)) @ batch.cell).squeeze(1)
    torch.testing.assert_close(batch.nearest_images(short + shift), short, rtol=0, atol=1e-6)


@pytest.mark.parametrize("counts", [[2, 2], [5, -2], [3, 0]])
def test_wrong_counts_are_refused(counts):
    with refused(key="counts", value=counts):
        Structures.pack(torch.ones(3, dtype=torch.int64), torch.zeros(3, 3), counts)


def test_wrong_shapes_are_refused():
    with refused(key="positions", value=[2, 4, 3]):
        Structures.stack(torch.ones(3, dtype=torch.int64), torch.zeros(2, 4, 3))
    with refused(key="frames"):
        Structures.from_atoms([])
