# SPDX-License-Identifier: MIT
"""Dipole moment and polarizability of cells: what is exact about sums of local terms."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell, molecule

from eqcalc import testing
from eqcalc.calculator import EqCalculator
from eqcalc.models import Potential, PotentialConfig, References, SmoothPaiNNConfig
from eqcalc.models.derivatives import property_derivative, time_derivatives
from eqcalc.neighbors import NeighborList, pairs_within
from eqcalc.runtime import execution_for
from eqcalc.runtime.cpp_compiler import compiler
from eqcalc.runtime.cpu_training import FusedTraining
from eqcalc.structures import Structures
from tests.conftest import make_potential
from tests.errors import refused

LOCAL = {"dipole": {"form": "local"}, "polarizability": {"form": "local"}}
RESPONSE = ("dipole", "polarizability")
TIGHT = {"rtol": 0.0, "atol": 1e-10}


def local_potential(**options):
    """A potential with larger vectors than a fresh one, whose tensors are nearly isotropic."""
    model = make_potential(read_outs=LOCAL, form=SmoothPaiNNConfig, cutoff=3.5, **options)
    with torch.no_grad():
        for name in RESPONSE:
            for block in model.heads[name].blocks:
                block.mix.weight *= 12.0
    return model


@pytest.fixture
def potential():
    return local_potential()


def water_box(edge=5.2, seed=3):
    """Four water molecules in a cell that is not orthogonal, whole molecules."""
    rng = np.random.default_rng(seed)
    cell = edge * np.array([[1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [0.0, -0.1, 1.1]])
    box = Atoms(cell=cell, pbc=True)
    for corner in ([0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]):
        one = molecule("H2O")
        one.rotate(360.0 * rng.random(), rng.normal(size=3))
        one.positions += corner @ cell + 0.2 * rng.normal(size=(1, 3))
        box += one
    return box


def response(potential, atoms):
    structures = Structures.from_atoms(atoms)
    return potential.evaluate(structures, pairs_within(structures, potential.cutoff), RESPONSE)


def assert_same(found, expected, factor=1.0):
    for name, value in expected.items():
        assert float(value.abs().max()) > 1e-3
        torch.testing.assert_close(found[name], factor * value, **TIGHT)


# --- translations of a cell ---------------------------------------------------------------


def test_molecules_moved_by_lattice_vectors_wrapping_and_origin(potential):
    box, rng = water_box(), np.random.default_rng(0)
    expected = response(potential, box)
    by_molecule, wrapped, shifted = box.copy(), box.copy(), box.copy()
    images = rng.integers(-3, 4, size=(4, 3)).repeat(3, axis=0)
    by_molecule.positions += images @ box.cell.array
    wrapped.positions += rng.integers(-3, 4, size=(12, 3)) @ box.cell.array  # broken molecules
    wrapped.wrap()
    shifted.positions += [1.3, -7.0, 0.4]
    for atoms in (by_molecule, wrapped, shifted):
        assert_same(response(potential, atoms), expected)


def test_supercells_are_extensive(potential):
    box = water_box()
    matrix = np.array([[1, 0, 0], [1, 2, 0], [0, 0, 1]])
    larger = make_supercell(box, matrix)
    assert_same(response(potential, larger), response(potential, box), factor=2.0)


def test_a_molecule_in_a_large_box_is_the_molecule(potential):
    alone = molecule("H2O")
    boxed = alone.copy()
    boxed.set_cell([30.0, 31.0, 32.0])
    boxed.pbc = True
    assert_same(response(potential, boxed), response(potential, alone))


def test_far_molecules_add(potential):
    first, second = molecule("H2O"), molecule("NH3")
    together = first.copy()
    far = second.copy()
    far.positions += [0.0, 0.0, 40.0]
    together += far
    parts = [response(potential, atoms) for atoms in (first, second)]
    assert_same(response(potential, together), {n: parts[0][n] + parts[1][n] for n in RESPONSE})


def test_a_batch_of_cells_and_molecules_is_each_alone(potential):
    """Ions included; the stress of molecules is zero, and finite gradients can be trained."""
    ion = molecule("NH3")
    ion.info["charge"] = 1.0
    batch = [water_box(), ion, water_box(seed=4), molecule("H2O")]
    structures = Structures.from_atoms(batch)
    pairs = pairs_within(structures, potential.cutoff)
    names = (*RESPONSE, "stress")
    found = potential.evaluate(structures, pairs, names, create_graph=True)
    for index, atoms in enumerate(batch):
        assert_same({n: found[n][index : index + 1] for n in RESPONSE}, response(potential, atoms))
    assert not found["stress"][1::2].any()
    found["stress"].square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in potential.parameters())


@pytest.mark.parametrize(
    "check", [testing.assert_equivariant, testing.assert_permutation_invariant]
)
def test_symmetries(potential, generator, check):
    check(potential, Structures.from_atoms(water_box()), generator)
    check(potential, Structures.from_atoms(molecule("CH3CH2OH")), generator)


def test_an_ion_obeys_the_shift_law_and_a_charged_cell_is_refused(potential, generator):
    ion = molecule("H2O")
    ion.info["charge"] = 1.0
    structures = Structures.from_atoms(ion)
    testing.assert_shift_law(potential, structures, generator)
    ion.set_cell(9.0 * np.eye(3))
    ion.pbc = True
    with refused(key="quantities", value="dipole"):
        response(potential, ion)
    assert "polarizability" in potential.available_for(Structures.from_atoms(ion))


def test_a_cubic_crystal_has_an_isotropic_polarizability_and_no_dipole(potential):
    found = response(potential, bulk("C", cubic=True))
    assert float(found["dipole"].abs().max()) < 1e-12
    alpha = found["polarizability"][0]
    torch.testing.assert_close(alpha, alpha[0, 0] * torch.eye(3, dtype=alpha.dtype), **TIGHT)


def test_networks_without_vectors_have_none():
    settings = {
        "representation": {"name": "schnet", "features": 8, "layers": 1},
        "heads": ["dipole"],
        "read_outs": {"dipole": {"form": "local"}},
    }
    with refused(key="read_outs.dipole.form", value="local"):
        Potential(PotentialConfig.from_settings(settings), References(elements=(1,)))


# --- derivatives --------------------------------------------------------------------------


def test_born_charges_obey_the_acoustic_sum_rule_and_are_derivatives(potential):
    box = Structures.from_atoms(water_box())
    charges = property_derivative(potential, box, "dipole")
    assert charges.shape == (12, 3, 3)
    assert float(charges.abs().max()) > 1e-3
    torch.testing.assert_close(charges.sum(0), torch.zeros(3, 3, dtype=torch.float64), **TIGHT)
    step, (atom, axis) = 3e-5, (7, 1)
    shift = torch.zeros_like(box.positions)
    shift[atom, axis] = step
    plus, minus = (
        potential(moved, pairs_within(moved, potential.cutoff), ("dipole",))["dipole"][0]
        for moved in (box.with_positions(box.positions + d) for d in (shift, -shift))
    )
    numerical = (plus - minus) / (2.0 * step)
    torch.testing.assert_close(charges[atom, axis], numerical, rtol=1e-6, atol=1e-8)


def test_rates_of_a_cell_are_the_chain_rule(potential, generator):
    box = Structures.from_atoms(water_box())
    velocities = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    for name, rate in time_derivatives(potential, box, velocities, RESPONSE).items():
        derivative = property_derivative(potential, box, name)
        expected = torch.einsum("ia,ia...->...", velocities, derivative)
        torch.testing.assert_close(rate[0], expected, rtol=1e-10, atol=1e-12)


# --- execution ----------------------------------------------------------------------------


def test_a_list_with_skin_gives_the_same(potential):
    box = water_box()
    moving, listed = Structures.from_atoms(box), NeighborList(potential.cutoff, skin=1.0)
    rng = np.random.default_rng(1)
    for _ in range(4):
        box.positions += 0.05 * rng.normal(size=box.positions.shape)
        moving = moving.with_positions(torch.tensor(box.positions))
        found = potential.evaluate(moving, listed.pairs(moving), RESPONSE)
        assert_same(found, response(potential, box))
    assert listed.builds == 1


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
def test_compiled_kernels_give_the_same_and_say_what_runs_beside_them(potential):
    execution = execution_for(potential)
    assert execution.name == "fused"
    assert execution.parts["energy"] == "compiled kernels"
    assert execution.parts["dipole"] == "eager read-out"
    box = water_box()
    found = execution.evaluate(Structures.from_atoms(box), (*RESPONSE, "energy"))
    assert_same(found, response(potential, box))


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
def test_compiled_kernels_train_it():
    """The gradients of all parameters are those by autograd, of a molecule and of a crystal."""
    FusedTraining(local_potential())  # raises if one deviates


def test_the_calculator_has_the_response_of_cells(potential):
    box = water_box()
    box.calc = EqCalculator(potential)
    expected = response(potential, box)
    np.testing.assert_allclose(box.get_dipole_moment(), expected["dipole"][0], atol=1e-10)
    found = box.calc.get_polarizability(box)
    np.testing.assert_allclose(found, expected["polarizability"][0], atol=1e-10)
