# SPDX-License-Identifier: MIT
"""Constants of the radial functions in the precision of the network."""

import copy

import pytest
import torch

from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.models.radial import RADIAL_BASES, radial_basis
from eqcalc.neighbors import all_pairs
from eqcalc.runtime import EagerExecution, FusedExecution
from eqcalc.structures import Structures


@pytest.mark.parametrize("name", RADIAL_BASES)
def test_a_stay_in_single_precision_costs_no_digits(name):
    fresh, travelled = radial_basis(name, 20, 5.0), radial_basis(name, 20, 5.0).float()
    rounded = copy.deepcopy(travelled)
    travelled = copy.deepcopy(travelled).double()
    for there, back, low in zip(
        fresh.buffers(), travelled.buffers(), rounded.buffers(), strict=True
    ):
        assert torch.equal(there, back)
        # in float32 they are the exact constants, rounded once
        assert low.dtype == torch.float32
        assert torch.equal(there.float(), low)
    assert not fresh.state_dict()


def test_a_model_read_in_double_precision_is_one_of_double_precision(ethanol):
    """As if it had never been stored in float32, and so do the compiled kernels see it."""
    read = load_model(shipped_model("ethanol"), dtype=torch.float64)
    basis = read.representation.config.radial_basis
    exact = radial_basis(basis, read.representation.config.radial_functions, read.cutoff)
    assert torch.equal(read.representation.basis.wavenumbers, exact.wavenumbers)
    structures = Structures.from_atoms(ethanol)
    names = ("energy", "forces", "dipole", "polarizability")
    reference = EagerExecution(read).evaluate(structures, names)
    found = FusedExecution(read).evaluate(structures, names)
    for name in names:
        torch.testing.assert_close(found[name], reference[name], rtol=1e-11, atol=1e-11)
    expected = read.evaluate(structures, all_pairs(structures), names)
    assert torch.equal(expected["dipole"], reference["dipole"])
