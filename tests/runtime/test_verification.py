# SPDX-License-Identifier: MIT
"""What counts as agreement between two executions."""

import math

import pytest
import torch

from eqcalc.runtime import ExecutionUnavailableError
from eqcalc.runtime.verification import agreement, deviations, trial_positions


def test_deviations_are_relative_to_the_largest_value():
    expected = {"dipole": torch.tensor([[1.0, -4.0]])}
    assert deviations({"dipole": torch.tensor([[1.0, -4.2]])}, expected)["dipole"] == (
        pytest.approx(0.05, rel=1e-6)
    )


def test_not_finite_agrees_with_not_finite_only():
    nan, inf = math.nan, math.inf
    expected = {"energy": torch.tensor([1.0, nan, inf])}
    assert deviations({"energy": torch.tensor([1.0, inf, nan])}, expected)["energy"] == 0.0
    for wrong in ([nan, nan, inf], [1.0, 2.0, inf], [1.0, nan, 3.0]):
        deviation = deviations({"energy": torch.tensor(wrong)}, expected)["energy"]
        assert not deviation <= 1e-4


@pytest.mark.parametrize("n_atoms", [1, 2, 9, 50])
def test_trial_positions_are_reproducible_and_keep_atoms_apart(n_atoms):
    positions = trial_positions(n_atoms)
    assert torch.equal(positions, trial_positions(n_atoms))
    assert positions.shape == (3, n_atoms, 3)
    if n_atoms > 1:
        assert min(float(torch.pdist(one).min()) for one in positions) > 0.9


def test_deviations_are_judged_by_those_from_double_precision():
    """Terms that cancel round in the eager execution as much as in another one."""
    exact = {"energy": torch.tensor([1.0, 2.0])}
    eager = {"energy": torch.tensor([1.01, 2.0])}

    def of(value: float) -> dict[str, float]:
        found = {"energy": torch.tensor([value, 2.0])}
        return agreement("it deviates", found, eager, lambda: exact, 1e-4)

    assert of(0.99)["energy"] == pytest.approx(0.01)
    with pytest.raises(ExecutionUnavailableError) as caught:
        of(0.9)
    assert caught.value.key == "energy"
    assert caught.value.value == pytest.approx(0.05)
    with pytest.raises(ExecutionUnavailableError):
        of(math.nan)
