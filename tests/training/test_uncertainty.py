# SPDX-License-Identifier: MIT
"""The fitted distribution of last layers is that of linear regression, and calibrated."""

import numpy as np
import pytest
import torch

from eqcalc.datasets import Dataset
from eqcalc.models.last_layers import last_layer, parameters_of, set_parameters
from eqcalc.training.uncertainty import _rows, calibrated_last_layers, calibration
from tests.errors import refused
from tests.training.conftest import records
from tests.training.test_module import tiny_potential


@pytest.fixture
def dataset(tmp_path):
    return Dataset.create(tmp_path / "labels.h5", records(24), level_of_theory="test")


def test_jacobians_are_derivatives(dataset):
    model = tiny_potential(seed=3).double()
    before = parameters_of(last_layer(model, "energy"))
    rows = list(_rows(model, dataset, [0, 1, 2], progress=False))
    assert torch.equal(parameters_of(last_layer(model, "energy")), before)
    step = 1e-3 * torch.randn(len(before), generator=torch.Generator().manual_seed(2)).double()
    set_parameters(last_layer(model, "energy"), before + step)
    moved = list(_rows(model, dataset, [0, 1, 2], progress=False))
    seen = set()
    for (name, jacobian, error), (_, _, other) in zip(rows, moved, strict=True):
        if name in ("energy", "forces"):
            torch.testing.assert_close(other - error, jacobian @ step)
            seen.add(name)
    assert seen == {"energy", "forces"}


def test_the_factor_is_calibrated_on_the_validation_set(dataset):
    model = calibrated_last_layers(
        tiny_potential(seed=3), dataset, np.arange(16), np.arange(16, 24)
    )
    tables = {table.quantity: table for table in calibration(model, dataset, np.arange(16, 24))}
    for name in ("forces", "dipole", "polarizability"):
        table = tables[name]
        predicted, actual = (np.mean(values**2) for values in (table.predicted, table.actual))
        assert predicted == pytest.approx(actual, rel=0.35)  # groups of molecules of many sizes
        assert 0.0 <= table.within[0] <= table.within[1] <= 1.0
        assert table.record()["unit"] == table.unit


def test_regression_in_closed_form(dataset):
    """The precision is the sum of JᵀJ over labels, in units of their errors."""
    model = tiny_potential(seed=3).double()
    rows = np.arange(6)
    found = calibrated_last_layers(model, dataset, rows, rows)
    total = 0.0
    for name, jacobian, error in _rows(model, dataset, rows, progress=False):
        if name == "dipole":
            weighted = jacobian / error.square().mean().sqrt()
            total = total + weighted.T @ weighted
    factor = found.last_layers.dipole.double()
    # C = a² (P + ε)⁻¹: P C is a multiple of the unit matrix in the space that the data determine
    values, vectors = torch.linalg.eigh(total)
    strong = vectors[:, values > 1e-4 * values.max()]
    product = strong.T @ total @ factor @ factor.T @ strong
    scale = product.diagonal().mean()
    torch.testing.assert_close(
        product / scale, torch.eye(len(product)).double(), atol=0.05, rtol=0.0
    )


def test_a_model_without_it_is_refused(dataset):
    with refused(key="model"):
        calibration(tiny_potential(seed=3), dataset, [0])
