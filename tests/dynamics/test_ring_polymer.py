# SPDX-License-Identifier: MIT
"""Normal modes of the free ring polymer and their propagation."""

import math

import pytest
import torch

from eqcalc.dynamics.ring_polymer import (
    Propagator,
    from_modes,
    ring_frequencies,
    ring_transform,
    to_modes,
)
from eqcalc.units import BOLTZMANN, FEMTOSECOND, HBAR, angular_frequency_to_wavenumber
from eqcalc.validation import InvalidInputError

# Lowest internal modes of the free ring at 300 K [cm^-1].
LOWEST_300K = {16: (1302, 2553, 3707), 32: (1308, 2603, 3874), 64: (1310, 2616, 3916)}
# Highest mode at 300 K, 2 P k_B T / ħ [cm^-1].
HIGHEST_300K = {16: 6672, 32: 13345, 64: 26689}

BEADS = (1, 2, 3, 4, 5, 8, 16, 33, 64)


@pytest.mark.parametrize("n_beads", BEADS)
def test_transform_is_orthogonal_and_starts_with_the_centroid(n_beads):
    c = ring_transform(n_beads)
    torch.testing.assert_close(c @ c.T, torch.eye(n_beads, dtype=c.dtype), rtol=0, atol=1e-13)
    torch.testing.assert_close(c[0], torch.full_like(c[0], 1 / math.sqrt(n_beads)))


@pytest.mark.parametrize("n_beads", BEADS)
def test_transform_diagonalises_the_springs(n_beads):
    omega_p = n_beads * BOLTZMANN * 300.0 / HBAR
    springs = torch.zeros(n_beads, n_beads, dtype=torch.float64)
    for j in range(n_beads):  # ½ ω_P² Σ (x_j − x_{j+1})²
        for a, b, sign in ((j, j, 1), (j + 1, j + 1, 1), (j, j + 1, -1), (j + 1, j, -1)):
            springs[a % n_beads, b % n_beads] += sign * omega_p**2
    c = ring_transform(n_beads)
    frequencies = ring_frequencies(n_beads, 300.0)
    torch.testing.assert_close(
        c @ springs @ c.T, torch.diag(frequencies**2), rtol=0, atol=1e-11 * omega_p**2
    )


@pytest.mark.parametrize("n_beads", sorted(LOWEST_300K))
def test_free_ring_frequencies(n_beads):
    modes = sorted(angular_frequency_to_wavenumber(ring_frequencies(n_beads, 300.0)).tolist())
    assert modes[1::2][:3] == pytest.approx(LOWEST_300K[n_beads], abs=0.6)
    assert modes[-1] == pytest.approx(HIGHEST_300K[n_beads], abs=1.0)


@pytest.mark.parametrize("n_beads", [1, 2, 5, 16])
def test_modes_round_trip(n_beads):
    x = torch.randn(3, n_beads, 4, 3, dtype=torch.float64)
    c = ring_transform(n_beads)
    torch.testing.assert_close(from_modes(c, to_modes(c, x)), x, rtol=0, atol=1e-13)
    centroid = to_modes(c, x)[:, 0] / math.sqrt(n_beads)
    torch.testing.assert_close(centroid, x.mean(dim=1))


def matrix(propagator: Propagator, mass: float) -> torch.Tensor:
    """2 x 2 matrices of (x, p) for every mode, from the propagator's action."""
    n = len(propagator.cosine)
    m = torch.tensor([[mass]], dtype=torch.float64)
    columns = []
    for x, p in ((1.0, 0.0), (0.0, 1.0)):
        moved = propagator(
            torch.full((1, n, 1, 1), x, dtype=torch.float64),
            torch.full((1, n, 1, 1), p, dtype=torch.float64),
            m,
        )
        columns.append(torch.stack([v.flatten() for v in moved], dim=1))
    return torch.stack(columns, dim=2)


@pytest.mark.parametrize("kind", ["cayley", "exact"])
@pytest.mark.parametrize("n_beads", [1, 2, 16, 64])
def test_propagators_against_their_definitions(kind, n_beads):
    timestep, mass = 0.5 * FEMTOSECOND, 1.7
    frequencies = ring_frequencies(n_beads, 300.0)
    generator = torch.zeros(n_beads, 2, 2, dtype=torch.float64)
    generator[:, 0, 1] = 1.0 / mass
    generator[:, 1, 0] = -mass * frequencies**2
    if kind == "exact":
        expected = torch.linalg.matrix_exp(timestep * generator)
    else:
        one = torch.eye(2, dtype=torch.float64)
        expected = torch.linalg.solve(
            one - 0.5 * timestep * generator, one + 0.5 * timestep * generator
        )
    whole = matrix(Propagator.build(frequencies, timestep, kind), mass)
    half = matrix(Propagator.build(frequencies, timestep, kind, 0.5), mass)
    scale = expected.abs().amax(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(whole / scale, expected / scale, rtol=0, atol=1e-12)
    torch.testing.assert_close(half @ half / scale, whole / scale, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["cayley", "exact"])
def test_propagation_is_symplectic_to_the_last_digit(kind):
    """A float32 propagator has det − 1 of 1e-7, an amplitude drift of 5 % in 1e6 steps."""
    frequencies = ring_frequencies(64, 300.0)
    for fraction in (0.5, 1.0):
        m = matrix(Propagator.build(frequencies, 0.25 * FEMTOSECOND, kind, fraction), 1.0)
        assert (torch.linalg.det(m) - 1.0).abs().max() < 1e-14


def test_unknown_propagator():
    with pytest.raises(InvalidInputError) as caught:
        Propagator.build(ring_frequencies(4, 300.0), 1.0, "euler")
    assert (caught.value.key, caught.value.value) == ("propagator", "euler")
