# SPDX-License-Identifier: MIT
"""Pairs against brute force, and neighbour lists that must never be stale."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from eqcalc import neighbors as pairs_module
from eqcalc.neighbors import STATIC_ATOMS, NeighborList, all_pairs, nearest_pairs, pairs_within
from eqcalc.structures import Structures
from tests.errors import refused


def brute_force(atoms, cutoff):
    """Return all (i, j, image) within the cutoff, from images −4 … 4, as a set."""
    found = set()
    spans = [range(-4, 5) if periodic else range(1) for periodic in atoms.pbc]
    for a in spans[0]:
        for b in spans[1]:
            for c in spans[2]:
                shift = np.array([a, b, c]) @ atoms.cell.array
                vectors = atoms.positions[None] + shift - atoms.positions[:, None]
                distances = np.linalg.norm(vectors, axis=-1)
                for i, j in zip(*np.nonzero((distances < cutoff) & (distances > 0)), strict=True):
                    found.add((int(i), int(j), a, b, c))
    return found


def as_set(pairs, structures, cutoff):
    near = torch.linalg.vector_norm(pairs.vectors(structures), dim=-1) < cutoff
    rows = torch.cat(
        [pairs.receiver[near, None], pairs.sender[near, None], pairs.image[near].long()], dim=1
    )
    result = [tuple(row) for row in rows.tolist()]
    assert len(result) == len(set(result))
    return set(result)


def test_all_pairs_of_a_ragged_batch():
    frames = [molecule(name) for name in ("H2O", "CH3CH2OH", "CO")] + [molecule("H2O")[[0]]]
    batch = Structures.from_atoms(frames)
    pairs = all_pairs(batch)
    expected = [
        (i, j)
        for i in range(batch.n_atoms)
        for j in range(batch.n_atoms)
        if i != j and batch.owner[i] == batch.owner[j]
    ]
    assert list(zip(pairs.receiver.tolist(), pairs.sender.tolist(), strict=True)) == expected
    assert pairs.degree is None
    assert all_pairs(Structures.from_atoms([frames[0]] * 3)).degree == 2


def test_isolated_pairs_within_a_cutoff():
    batch = Structures.from_atoms([molecule("CH3CH2OH"), molecule("H2O")])
    pairs = pairs_within(batch, 2.0)
    distances = torch.linalg.vector_norm(pairs.vectors(batch), dim=-1)
    every = torch.linalg.vector_norm(all_pairs(batch).vectors(batch), dim=-1)
    assert bool((distances < 2.0).all())
    assert len(distances) == int((every < 2.0).sum())


@pytest.mark.parametrize("pbc", [True, [True, True, False], [False, False, True]])
def test_periodic_pairs_equal_brute_force(pbc):
    atoms = bulk("NaCl", "rocksalt", a=4.0)
    atoms.rattle(0.2, seed=3)
    atoms.positions[0] += 2.5 * atoms.cell[1] - 1.2 * atoms.cell[2]  # far outside the cell
    atoms.pbc = pbc
    structures = Structures.from_atoms(atoms)
    assert as_set(pairs_within(structures, 5.0), structures, 5.0) == brute_force(atoms, 5.0)


def chain(n_atoms, n_structures):
    """Atoms along a helix, farther apart than most cutoffs from end to end."""
    t = torch.arange(n_atoms, dtype=torch.float64)
    helix = torch.stack([1.4 * torch.cos(t), 1.4 * torch.sin(t), 0.5 * t], dim=-1)
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(n_structures, n_atoms, 3, generator=generator, dtype=torch.float64)
    return Structures.stack(torch.full((n_atoms,), 6), helix + noise)


def isolated_set(pairs, structures, cutoff):
    near = torch.linalg.vector_norm(pairs.vectors(structures), dim=-1) < cutoff
    rows = list(zip(pairs.receiver[near].tolist(), pairs.sender[near].tolist(), strict=True))
    assert len(rows) == len(set(rows))
    return set(rows)


@pytest.mark.parametrize("cutoff", [0.1, 2.0, 5.0, 100.0])
def test_nearest_pairs_hold_every_pair_within_the_cutoff(cutoff):
    structures = chain(60, 3)
    pairs, every = nearest_pairs(structures, cutoff), all_pairs(structures)
    assert isolated_set(pairs, structures, cutoff) == isolated_set(every, structures, cutoff)
    assert pairs.degree is not None and len(pairs.receiver) == pairs.degree * 180
    assert bool((pairs.receiver != pairs.sender).all())
    if cutoff <= 5.0:
        assert pairs.degree < 30


def test_a_position_that_is_not_a_number_keeps_all_pairs():
    structures = chain(60, 2)
    structures.positions[7, 1] = torch.nan
    assert nearest_pairs(structures, 4.0).degree == 59


def test_a_large_isolated_molecule_is_searched_in_cells():
    structures = chain(500, 1)
    pairs, every = pairs_within(structures, 5.0), all_pairs(structures)
    assert pairs.image is None
    assert isolated_set(pairs, structures, 5.0) == isolated_set(every, structures, 5.0)
    assert isolated_set(nearest_pairs(structures, 5.0), structures, 5.0) == isolated_set(
        every, structures, 5.0
    )


def test_skin_list_of_a_large_molecule_is_never_stale():
    structures, generator = chain(STATIC_ATOMS + 20, 2), torch.Generator().manual_seed(3)
    neighbors = NeighborList(4.0, skin=0.6)
    for _ in range(40):
        moved = structures.positions + 0.03 * torch.randn(
            structures.positions.shape, generator=generator, dtype=torch.float64
        )
        structures = structures.with_positions(moved)
        found = isolated_set(neighbors.pairs(structures), structures, 4.0)
        assert found == isolated_set(all_pairs(structures), structures, 4.0)
    assert 1 < neighbors.builds < 20


def test_both_sums_over_senders_agree(generator):
    batch = Structures.stack(torch.ones(4, dtype=torch.int64), torch.zeros(3, 4, 3))
    pairs = all_pairs(batch)
    scattered = type(pairs)(pairs.receiver, pairs.sender)
    left = torch.randn(36, 3, generator=generator, dtype=torch.float64)
    right = torch.randn(36, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        pairs.sum_of_outer_products(left, right, 12),
        scattered.sum_of_outer_products(left, right, 12),
    )


def test_skin_list_is_never_stale_along_a_random_walk():
    cutoff, random = 4.0, np.random.default_rng(5)
    frames = [bulk("NaCl", "rocksalt", a=5.0, cubic=True), bulk("C", cubic=True)]
    neighbors = NeighborList(cutoff, skin=0.6)
    for step in range(60):
        for frame in frames:
            frame.positions += random.normal(scale=0.03, size=frame.positions.shape)
        if step == 30:  # one edge of one cell shrinks
            frames[0].set_cell(frames[0].cell.array * [[0.9], [1.0], [1.0]], scale_atoms=True)
        batch = Structures.from_atoms(frames)
        pairs, fresh = neighbors.pairs(batch), pairs_within(batch, cutoff)
        assert as_set(pairs, batch, cutoff) == as_set(fresh, batch, cutoff)
    assert 2 < neighbors.builds < 50


def test_skin_list_follows_a_cell_that_changes():
    """Breathing and shearing by less than the skin needs no search; no pair is ever missed."""
    cutoff, random = 4.0, np.random.default_rng(6)
    frames = [bulk("NaCl", "rocksalt", a=5.0, cubic=True), bulk("C", cubic=True)]
    for atoms in frames:
        atoms.positions += 40.0 * random.normal(size=atoms.positions.shape).round() @ atoms.cell
    neighbors = NeighborList(cutoff, skin=0.8)
    for _ in range(40):
        for atoms in frames:
            strain = np.eye(3) * (1.0 + random.normal(scale=0.01))
            strain += random.normal(scale=0.003, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            atoms.positions += random.normal(scale=0.02, size=atoms.positions.shape)
        batch = Structures.from_atoms(frames)
        pairs, fresh = neighbors.pairs(batch), pairs_within(batch, cutoff)
        assert as_set(pairs, batch, cutoff) == as_set(fresh, batch, cutoff)
    assert 1 < neighbors.builds < 30


def test_list_is_rebuilt_for_other_atoms():
    neighbors = NeighborList(4.0)
    for frames in ([molecule("H2O")], [molecule("CH4")], [bulk("C")], [bulk("C"), bulk("C")]):
        batch = Structures.from_atoms(frames)
        pairs = neighbors.pairs(batch)
        assert int(pairs.receiver.max()) == batch.n_atoms - 1


def test_all_pairs_of_a_cell_are_refused():
    with refused(key="structures", expected="isolated molecules"):
        all_pairs(Structures.from_atoms(bulk("C")))


@pytest.mark.parametrize(
    ("arguments", "key"), [((0.0,), "cutoff"), ((-1.0,), "cutoff"), ((4.0, -0.1), "skin")]
)
def test_impossible_ranges_are_refused(arguments, key):
    with refused(key=key):
        NeighborList(*arguments)


def test_compressed_rows_hold_every_pair_once_by_receiver_and_by_sender():
    sizes = (3, 1, 2, 5)
    pairs = all_pairs(Structures.pack(torch.full((11,), 6), torch.rand(11, 3).double(), sizes))
    rows = pairs.compressed(11)
    assert rows is pairs.compressed(11)
    for atom in range(11):
        mine = range(*rows.receiver_start[atom : atom + 2].tolist())
        assert list(mine) == torch.nonzero(pairs.receiver == atom).flatten().tolist()
        sent = rows.by_sender[slice(*rows.sender_start[atom : atom + 2].tolist())]
        assert sent.tolist() == torch.nonzero(pairs.sender == atom).flatten().tolist()


def test_the_reverse_of_a_pair_exchanges_receiver_and_sender():
    pairs = all_pairs(Structures.stack(torch.tensor([8, 1, 1, 6]), torch.rand(3, 4, 3)))
    assert torch.equal(pairs.receiver[pairs.reverse], pairs.sender)
    assert torch.equal(pairs.sender[pairs.reverse], pairs.receiver)
    order = torch.argsort(pairs.sender, stable=True)
    assert torch.equal(pairs.reverse, order)
    alone = all_pairs(Structures.stack(torch.tensor([8]), torch.rand(2, 1, 3)))
    assert len(alone.receiver) == 0 and alone.degree == 0


@pytest.mark.parametrize("cutoff", [None, 1.6])
def test_derivatives_by_sums_are_those_by_scatters(generator, monkeypatch, cutoff):
    """What GPUs do, on a CPU: values, and derivatives of first and second order in both modes."""
    stack = Structures.stack(
        torch.tensor([8, 1, 1, 6, 1]),
        1.2 * torch.rand(3, 5, 3, generator=generator, dtype=torch.float64),
    )
    pairs = all_pairs(stack) if cutoff is None else nearest_pairs(stack, cutoff)
    weights = torch.rand(len(pairs.receiver), 3, generator=generator, dtype=torch.float64)

    def energy(positions):
        vectors = pairs.vectors(stack.with_positions(positions))
        return (weights * torch.sin(vectors) + vectors.square()).sum()

    def derivatives():
        x = stack.positions
        first = torch.func.grad(energy)
        _, along = torch.func.jvp(first, (x,), (x.cos(),))
        wanted = x.clone().requires_grad_()
        (force,) = torch.autograd.grad(energy(wanted), wanted, create_graph=True)
        (second,) = torch.autograd.grad(force.square().sum(), wanted)
        return [
            energy(x), first(x), along, second,
            torch.func.jacfwd(first)(x), torch.func.jacrev(first)(x),
        ]  # fmt: skip

    scattered = derivatives()
    monkeypatch.setattr(pairs_module, "_scatters_pay", lambda values: False)
    for found, expected in zip(derivatives(), scattered, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
