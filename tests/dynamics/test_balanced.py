# SPDX-License-Identifier: MIT
"""Balanced modes: exact energies, and cross terms that cancel."""

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.data import atomic_masses

from eqcalc.dynamics.balanced import BalancedModes
from eqcalc.dynamics.modes import normal_modes
from eqcalc.units import BOLTZMANN

TEMPERATURE = 10.0


@pytest.fixture
def water():
    atoms = molecule("H2O")
    positions = torch.from_numpy(atoms.positions)
    masses = torch.from_numpy(atomic_masses[atoms.numbers])
    # springs between all atoms make a stable, not too symmetric molecule
    hessian = torch.zeros(3, 3, 3, 3, dtype=torch.float64)
    for i, j, k in ((0, 1, 40.0), (0, 2, 45.0), (1, 2, 8.0)):
        u = positions[j] - positions[i]
        u = u / u.norm()
        block = k * torch.outer(u, u)
        for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            hessian[a, :, b, :] += sign * block
    return positions, masses, hessian.reshape(9, 9)


def sampled(water):
    positions, masses, hessian = water
    start = BalancedModes(hessian)
    generators = [np.random.default_rng(0)] * start.replicas(3)
    starts, momenta = start.sample(positions[None], masses, 1, TEMPERATURE, generators)
    return list(zip(starts[:, 0] - positions, momenta[:, 0], strict=True))


def test_every_mode_has_exactly_its_thermal_energy(water):
    positions, masses, hessian = water
    omega, vectors = normal_modes(hessian, positions, masses)
    root = masses.sqrt()[:, None]
    for displacement, momentum in sampled(water):
        q, p = vectors.T @ (displacement * root).ravel(), vectors.T @ (momentum / root).ravel()
        energy = 0.5 * (p**2 + (omega * q) ** 2)[omega > 0]
        expected = torch.full_like(energy, BOLTZMANN * TEMPERATURE)
        torch.testing.assert_close(energy, expected, rtol=1e-10, atol=0.0)


def test_products_of_different_modes_cancel(water):
    positions, masses, hessian = water
    omega, vectors = normal_modes(hessian, positions, masses)
    root = masses.sqrt()[:, None]
    q = torch.stack([vectors.T @ (d * root).ravel() for d, _ in sampled(water)])[:, omega > 0]
    products = q.T @ q
    off_diagonal = products - torch.diag(torch.diagonal(products))
    assert float(off_diagonal.abs().max()) < 1e-12 * float(products.abs().max())


def test_the_ensemble_is_stationary(water):
    """⟨q²⟩ω² = ⟨p²⟩ and ⟨qp⟩ = 0 mode by mode, so that averages do not depend on time."""
    positions, masses, hessian = water
    omega, vectors = normal_modes(hessian, positions, masses)
    root, vibration = masses.sqrt()[:, None], omega > 0
    pairs = [
        (vectors.T @ (d * root).ravel(), vectors.T @ (m / root).ravel()) for d, m in sampled(water)
    ]
    q, p = (torch.stack(parts)[:, vibration] for parts in zip(*pairs, strict=True))
    q = q * omega[vibration]
    thermal = torch.full((3,), BOLTZMANN * TEMPERATURE, dtype=torch.float64)
    torch.testing.assert_close(q.square().mean(0), thermal, rtol=1e-10, atol=0.0)
    torch.testing.assert_close(p.square().mean(0), thermal, rtol=1e-10, atol=0.0)
    products = q.T @ p
    assert float(products.abs().max()) < 1e-12 * float(q.square().sum())


def test_there_is_no_rotation_or_translation(water):
    positions, masses, _ = water
    center = (masses[:, None] * positions).sum(0) / masses.sum()
    for _, momentum in sampled(water):
        assert float(momentum.sum(0).abs().max()) < 1e-12
        assert float(torch.linalg.cross(positions - center, momentum).sum(0).abs().max()) < 1e-10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 16, 1, 3), "multiples of 32"),
        ((2, 32, 1, 3), "one structure"),
        ((1, 32, 4, 3), "beads"),
    ],
)
def test_runs_that_do_not_fit_are_refused(water, arguments, message):
    with pytest.raises(ValueError, match=message):
        BalancedModes(water[2]).check(*arguments)
    with pytest.raises(ValueError, match="Hessian of shape"):
        BalancedModes(water[2]).check(1, 32, 1, 4)
