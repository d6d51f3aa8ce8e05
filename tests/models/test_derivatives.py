# SPDX-License-Identifier: MIT
"""Derivatives of properties against finite differences and conservation laws."""

import pytest
import torch

from eqcalc import testing
from eqcalc.models.derivatives import (
    hessian,
    property_derivative,
    property_second_derivative,
    time_derivatives,
)
from eqcalc.neighbors import all_pairs
from eqcalc.structures import Structures
from tests.conftest import make_potential
from tests.errors import refused


def test_first_derivatives_and_hessian(potential, ethanol):
    testing.assert_consistent_derivatives(potential, Structures.from_atoms(ethanol))


def test_hessian_is_symmetric_and_translation_free(potential, ethanol):
    matrix = hessian(potential, Structures.from_atoms(ethanol))
    torch.testing.assert_close(matrix, matrix.permute(2, 3, 0, 1), rtol=1e-10, atol=1e-10)
    assert float(matrix.sum(dim=2).abs().max()) < 1e-10


@pytest.mark.parametrize("charge", [0.0, 1.0])
def test_polar_tensors_obey_their_sum_rule(potential, ethanol, charge):
    """Σ_i ∂μ_c/∂r_ia vanishes about the centre of mass, whatever the charge."""
    ethanol.info["charge"] = charge
    tensors = property_derivative(potential, Structures.from_atoms(ethanol), "dipole")
    assert float(tensors.sum(dim=0).abs().max()) < 1e-12
    polarizability = property_derivative(
        potential, Structures.from_atoms(ethanol), "polarizability"
    )
    assert float(polarizability.sum(dim=0).abs().max()) < 1e-12


@pytest.mark.parametrize("name", ["dipole", "polarizability"])
def test_second_derivatives_of_properties(potential, ethanol, name):
    molecule = Structures.from_atoms(ethanol)
    second = property_second_derivative(potential, molecule, name)
    step, atom, axis = 1e-4, 4, 1
    shift = torch.zeros_like(molecule.positions)
    shift[atom, axis] = step
    plus, minus = (
        property_derivative(potential, molecule.with_positions(molecule.positions + d), name)
        for d in (shift, -shift)
    )
    numerical = (plus - minus) / (2.0 * step)
    torch.testing.assert_close(second[:, :, atom, axis], numerical, rtol=1e-5, atol=1e-5)


def test_time_derivatives_are_the_chain_rule(potential, ethanol, generator):
    molecule = Structures.from_atoms(ethanol)
    velocities = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    rates = time_derivatives(potential, molecule, velocities, ("dipole", "polarizability"))
    for name, rate in rates.items():
        derivative = property_derivative(potential, molecule, name)
        expected = torch.einsum("ia,ia...->...", velocities, derivative)
        torch.testing.assert_close(rate[0], expected, rtol=1e-10, atol=1e-12)


def test_time_derivatives_of_a_stack(potential, ethanol, generator):
    positions = torch.tensor(ethanol.positions) + 0.05 * torch.randn(
        4, 9, 3, generator=generator, dtype=torch.float64
    )
    stack = Structures.stack(torch.tensor(ethanol.numbers), positions)
    velocities = torch.randn(36, 3, generator=generator, dtype=torch.float64)
    together = time_derivatives(potential, stack, velocities, ("dipole",))["dipole"]
    for index in range(4):
        alone = Structures.stack(torch.tensor(ethanol.numbers), positions[index : index + 1])
        mine = velocities[9 * index : 9 * (index + 1)]
        rate = time_derivatives(potential, alone, mine, ("dipole",))["dipole"]
        torch.testing.assert_close(together[index], rate[0], rtol=1e-10, atol=1e-12)


def test_missing_read_out_is_named(ethanol):
    energy_only = make_potential(heads=("energy",))
    with refused(key="quantity", value="dipole"):
        property_derivative(energy_only, Structures.from_atoms(ethanol), "dipole")


def test_batches_are_refused(potential, ethanol):
    batch = Structures.from_atoms([ethanol, ethanol])
    assert all_pairs(batch).degree == 8
    with refused(key="molecule", value=2):
        hessian(potential, batch)
