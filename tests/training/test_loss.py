# SPDX-License-Identifier: MIT
"""The loss: its closed form, its masks and its symmetry."""

import math

import numpy as np
import pytest
import torch

from eqcalc.neighbors import all_pairs
from eqcalc.structures import Structures
from eqcalc.training.loss import ErrorSums, Loss, sum_of_squares
from tests.training.conftest import records
from tests.training.test_module import tiny_potential

NAMES = ("energy", "forces", "dipole", "polarizability")
WEIGHTS = {"energy": 0.3, "forces": 2.0, "dipole": 0.7, "polarizability": 1.1}
SCALES = {"energy": 0.1, "forces": 2.0, "dipole": 0.5, "polarizability": 0.02}


def batch(found):
    structures = Structures.pack(
        torch.as_tensor(np.concatenate([r.numbers for r in found])),
        torch.as_tensor(np.concatenate([r.positions for r in found])),
        [len(r.numbers) for r in found],
    )
    labels, present = {}, {}
    for name in NAMES:
        known = [name in r.labels for r in found]
        values = []
        for r in found:
            like = {"energy": (), "forces": (len(r.numbers), 3), "dipole": (3,)}.get(name, (3, 3))
            values.append(r.labels.get(name, np.full(like, np.nan)))
        join = np.concatenate if name == "forces" else np.stack
        labels[name] = torch.as_tensor(join(values))
        present[name] = torch.tensor(known)
    return structures, labels, present


def test_closed_form():
    structures, labels, present = batch(records(3))
    generator = torch.Generator().manual_seed(1)
    predicted = {
        n: v + torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in labels.items()
    }
    counts = np.array([3, 5, 3])
    expected = 0.0
    for name in NAMES:
        error = (predicted[name] - labels[name]).numpy()
        if name == "energy":
            error = error / counts
        expected += WEIGHTS[name] * np.mean(error**2) / SCALES[name] ** 2
    found = Loss(WEIGHTS, SCALES)(predicted, labels, present, structures)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_polarizability_loss_is_the_frobenius_norm():
    """One off-diagonal pair counts as the two components it is, in every orientation."""
    structures, labels, present = batch(records(1))
    loss = Loss({"polarizability": 1.0}, {"polarizability": 1.0})
    error = torch.zeros(1, 3, 3, dtype=torch.float64)
    error[0, 0, 1] = error[0, 1, 0] = 0.3
    shifted = {"polarizability": labels["polarizability"] + error}
    assert float(loss(shifted, labels, present, structures)) == pytest.approx(2 * 0.09 / 9)
    angle = math.radians(35.0)
    rotation = torch.eye(3, dtype=torch.float64)
    rotation[:2, :2] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    turned = {"polarizability": labels["polarizability"] + rotation @ error @ rotation.T}
    assert float(loss(turned, labels, present, structures)) == pytest.approx(2 * 0.09 / 9)


def test_outliers_count_linearly():
    """Pseudo-Huber: |Δ|² of small errors, 2δ|Δ| − 2δ² of large ones, by the length of a vector."""
    error = torch.tensor([[3e-4, 0.0, 4e-4], [300.0, 400.0, 0.0]], dtype=torch.float64)
    small, large = error.split(1)
    assert float(sum_of_squares(small, 0.1)) == pytest.approx(25e-8, rel=1e-5)
    assert float(sum_of_squares(large, 0.1)) == pytest.approx(0.2 * 500.0 - 0.02, rel=1e-5)
    assert sum_of_squares(error, 0.1) == sum_of_squares(small, 0.1) + sum_of_squares(large, 0.1)
    found = records(3)
    structures, labels, present = batch(found)
    predicted = {name: value + 0.3 for name, value in labels.items()}
    loss = Loss(WEIGHTS, SCALES, {"forces": 0.2, "energy": 0.05})
    sums = ErrorSums(NAMES, linear_beyond=loss.linear_beyond)
    sums.add(predicted, labels, present, structures)
    whole = float(loss(predicted, labels, present, structures))
    assert loss.of_mean_squares(sums.mean_squares()) == pytest.approx(whole, rel=1e-12)
    assert whole < float(Loss(WEIGHTS, SCALES)(predicted, labels, present, structures))


def gradients(potential, found, weights=None):
    structures, labels, present = batch(found)
    weights = weights or WEIGHTS
    outputs = potential.evaluate(structures, all_pairs(structures), NAMES, create_graph=True)
    potential.zero_grad()
    Loss(weights, SCALES)(outputs, labels, present, structures).backward()
    return {
        n: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for n, p in potential.named_parameters()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_label_does_not_change_gradients(name):
    """Two structures with a label and one without give the term of the two."""
    potential = tiny_potential(seed=3)
    full = records(3)
    part = records(3, missing={name: [False, False, True]})
    others = {n: w for n, w in WEIGHTS.items() if n != name}
    expected_others = gradients(potential, full, others)
    expected_name = gradients(potential, full[:2], {name: WEIGHTS[name]})
    found = gradients(potential, part)
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, expected_others[key] + expected_name[key])
        assert bool(torch.isfinite(gradient).all())


def test_a_label_nobody_has_adds_exactly_nothing():
    potential = tiny_potential(seed=3)
    none = records(2, missing={"polarizability": [True, True]})
    others = {n: w for n, w in WEIGHTS.items() if n != "polarizability"}
    found, expected = gradients(potential, none), gradients(potential, records(2), others)
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, expected[key], rtol=0.0, atol=0.0)


def test_error_sums_do_not_depend_on_batches():
    found = records(7, missing={"dipole": np.arange(7) % 3 == 0})
    generator = torch.Generator().manual_seed(1)
    whole, parts = ErrorSums(NAMES), ErrorSums(NAMES)
    for rows, sums in (([slice(0, 7)], whole), ([slice(0, 2), slice(2, 7)], parts)):
        generator.manual_seed(1)
        for chosen in rows:
            structures, labels, present = batch(found[chosen])
            offset = {n: torch.full_like(v, 0.25) for n, v in labels.items()}
            predicted = {n: torch.nan_to_num(v) + offset[n] for n, v in labels.items()}
            sums.add(predicted, labels, present, structures)
    torch.testing.assert_close(whole.sums, parts.sums)
    assert whole.mean_absolutes()["forces"] == pytest.approx(0.25)
    assert whole.mean_squares()["dipole"] == pytest.approx(0.0625)
    assert whole.sums[2, 2] == 4 * 3  # components of the four known dipoles


def test_dipoles_of_cells_are_compared_modulo_the_polarization_quantum():
    """Labels on other branches give the same errors and gradients; those of molecules do not."""
    cell = torch.tensor([[6.0, 0.0, 0.0], [1.0, 7.0, 0.0], [0.0, 0.5, 8.0]], dtype=torch.float64)
    pbc = torch.tensor([[True] * 3, [False] * 3])
    structures = Structures.pack(
        torch.tensor([1, 1]), torch.zeros(2, 3), [1, 1], cell=cell.expand(2, 3, 3), pbc=pbc
    )
    predicted = torch.tensor([[0.3, -0.2, 0.1], [0.3, -0.2, 0.1]], dtype=torch.float64)
    branch = torch.tensor([[1.0, -2.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64) @ cell
    present = torch.tensor([True, True])
    loss = Loss({"dipole": 1.0}, {"dipole": 1.0})
    values = []
    for label in (torch.zeros(2, 3), branch, torch.flip(branch, [0])):
        x = predicted.clone().requires_grad_(True)
        value = loss({"dipole": x}, {"dipole": label}, {"dipole": present}, structures)
        values.append((float(value), torch.autograd.grad(value, x)[0]))
    assert values[1][0] == pytest.approx(values[0][0], rel=1e-12)
    torch.testing.assert_close(values[1][1], values[0][1])
    assert values[2][0] > 10.0 * values[0][0]
