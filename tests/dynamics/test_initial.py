# SPDX-License-Identifier: MIT
"""Initial momenta and normal-mode distributions."""

import math

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.data import atomic_masses
from scipy import stats

from eqcalc.dynamics.initial import (
    BalancedModes,
    FromArrays,
    HarmonicModes,
    Starts,
    degrees_of_freedom,
    maxwell_boltzmann,
    remove_rotation,
    remove_translation,
)
from eqcalc.dynamics.ring_polymer import ring_frequencies
from eqcalc.normal_modes import NormalModes, NotAMinimumError
from eqcalc.units import BOLTZMANN, HBAR
from eqcalc.validation import InvalidInputError
from tests.analytic import MorseDiatomic, ToyWater

# Harmonic wavenumbers of the toy water [cm^-1].
TOY_WATER = (1386.642, 3589.662, 3669.291)
WATER_MASSES = torch.tensor(ToyWater.masses, dtype=torch.float64)


@pytest.fixture
def rng():
    return np.random.default_rng(20261121)


@pytest.fixture(scope="module")
def water():
    toy = ToyWater()
    positions = torch.from_numpy(toy.atoms.get_positions())
    return toy, positions, toy.hessian(positions)


def kinetic(p, m):
    return 0.5 * (p.square() / m.view(-1, 1)).sum(dim=(-2, -1))


@pytest.mark.parametrize("n_beads", [1, 16])
def test_maxwell_boltzmann_distribution(rng, n_beads):
    """Every component is normal with variance m P k T: beads at P·T, the centroid at T."""
    p = torch.stack([maxwell_boltzmann(WATER_MASSES, n_beads, 300.0, rng) for _ in range(1500)])
    scale = torch.sqrt(WATER_MASSES * BOLTZMANN * 300.0).view(-1, 1)
    beads = (p / (scale * math.sqrt(n_beads))).flatten().numpy()
    centroid = (p.mean(dim=1) / scale).flatten().numpy()
    assert stats.kstest(beads, "norm").pvalue > 1e-3
    assert stats.kstest(centroid, "norm").pvalue > 1e-3
    for atom in range(3):  # no mass is hotter than another
        one = (p[:, :, atom] / (scale[atom] * math.sqrt(n_beads))).flatten().numpy()
        assert stats.kstest(one, "norm").pvalue > 1e-3


def test_rigid_drift_is_removed_mass_weighted():
    """Subtracting the mean momentum of the atoms instead heats the light ones."""
    masses = torch.tensor([15.999, 1.008], dtype=torch.float64)
    drift = masses.view(-1, 1) * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    still = remove_translation(drift[None], masses)
    torch.testing.assert_close(still, torch.zeros_like(still), rtol=0, atol=1e-14)


def test_removal_leaves_the_canonical_kinetic_energy(rng, water):
    """½ f k T with f = 3N, 3N − 3, 3N − 6 and the full chi-square distribution."""
    _, positions, _ = water
    n, temperature = 4000, 300.0
    p = torch.stack([maxwell_boltzmann(WATER_MASSES, 1, temperature, rng) for _ in range(n)])
    x = positions.expand(n, 1, 3, 3)
    still = remove_translation(p, WATER_MASSES)
    straight = remove_rotation(x, still, WATER_MASSES)
    for momenta, f in ((p, 9), (still, 6), (straight, 3)):
        energy = kinetic(momenta[:, 0], WATER_MASSES).numpy()
        assert stats.kstest(2 * energy / (BOLTZMANN * temperature), stats.chi2(f).cdf).pvalue > 1e-3
    assert still.sum(dim=2).abs().max() < 1e-12
    angular = torch.linalg.cross(x, straight).sum(dim=2)
    assert angular.abs().max() < 1e-12
    assert straight.sum(dim=2).abs().max() < 1e-12


def test_removal_acts_on_the_centroid_only(rng, water):
    """The ring modes of the centre of mass are quantum fluctuations and stay."""
    _, positions, _ = water
    p = maxwell_boltzmann(WATER_MASSES, 8, 300.0, rng)
    x = positions + 0.05 * torch.from_numpy(rng.standard_normal((8, 3, 3)))
    moved = remove_rotation(x, remove_translation(p, WATER_MASSES), WATER_MASSES)
    torch.testing.assert_close(moved - moved.mean(dim=0), p - p.mean(dim=0))
    assert moved.mean(dim=0).sum(dim=0).abs().max() < 1e-12
    centre = x.mean(dim=0) - (WATER_MASSES @ x.mean(dim=0)) / WATER_MASSES.sum()
    assert torch.linalg.cross(centre, moved.mean(dim=0)).sum(dim=0).abs().max() < 1e-12


def test_degrees_of_freedom(water):
    _, positions, _ = water
    expected = {("none", "none"): 3, ("none", "thermal"): 6, ("thermal", "thermal"): 9}
    for (translation, rotation), f in expected.items():
        assert degrees_of_freedom(positions, WATER_MASSES, 1, translation, rotation) == f
        assert degrees_of_freedom(positions, WATER_MASSES, 16, translation, rotation) == f + 9 * 15
    hcl = torch.from_numpy(MorseDiatomic().atoms.get_positions())
    masses = torch.tensor([1.008, 35.45], dtype=torch.float64)
    assert degrees_of_freedom(hcl, masses, 1, "none", "none") == 1
    assert degrees_of_freedom(hcl[:1], masses[:1], 1, "thermal", "none") == 3


def test_linear_molecule_keeps_its_bending_momentum(rng):
    masses = torch.tensor([16.0, 12.0, 16.0], dtype=torch.float64)
    bent = torch.tensor([[0, 0.02, -1.16], [0, -0.053, 0], [0, 0.02, 1.16]], dtype=torch.float64)
    bend = torch.tensor([[0.375, 0, 0], [-1.0, 0, 0], [0.375, 0, 0]], dtype=torch.float64)
    momenta = masses.view(-1, 1) * bend
    momenta = remove_translation(momenta[None], masses)
    kept = remove_rotation(bent[None], momenta, masses, linear=True)
    torch.testing.assert_close(kept, momenta, rtol=0, atol=1e-12)
    spin = remove_rotation(bent[None], momenta, masses)
    assert spin.abs().max() < 1e-6  # as a bent molecule this is rotation about the long axis


def all_modes(hessian, positions, masses):
    """ω [9] and orthonormal mass-weighted vectors [9, 9] in columns, rigid motions first."""
    modes = NormalModes.from_hessian(positions.numpy(), masses.numpy(), hessian.numpy())
    vectors = np.concatenate([modes.rigid, modes.vectors]) * np.sqrt(masses.numpy())[:, None]
    frequencies = np.concatenate([np.zeros(6), modes.angular_frequency])
    return torch.from_numpy(frequencies), torch.from_numpy(vectors.reshape(9, 9).T)


def test_a_saddle_point_is_refused(water):
    _, positions, hessian = water
    with pytest.raises(NotAMinimumError) as caught:
        HarmonicModes(-hessian).sample(Starts(positions[None], WATER_MASSES, 1, 300.0, []))
    assert (caught.value.wavenumber < 0.0).all()


def mode_amplitudes(sampler, water, n, n_beads, temperature, rng):
    """Mass-weighted Q and P of every mode and bead, [n, n_beads, 9]."""
    _, positions, hessian = water
    frequencies, vectors = all_modes(hessian, positions, WATER_MASSES)
    root = WATER_MASSES.sqrt().view(-1, 1)
    x, k = sampler.sample(Starts(positions[None], WATER_MASSES, n_beads, temperature, [rng] * n))
    return (
        frequencies,
        ((x - positions) * root).flatten(2) @ vectors,
        (k / root).flatten(2) @ vectors,
    )


def finite_p_variance(omega, n_beads, temperature):
    """<Q²>_P of the ring polymer in a harmonic well, mass-weighted (closed form)."""
    beta_hbar = HBAR / (BOLTZMANN * temperature)
    kappa = 2.0 * math.asinh(beta_hbar * omega / (2.0 * n_beads))
    return HBAR * beta_hbar / n_beads / math.tanh(0.5 * n_beads * kappa) / (2.0 * math.sinh(kappa))


@pytest.mark.parametrize("n_beads", [1, 4, 32])
def test_thermal_modes_have_the_exact_finite_p_variance(rng, water, n_beads):
    n, temperature = 1500, 300.0
    frequencies, q, p = mode_amplitudes(
        HarmonicModes(water[2]), water, n, n_beads, temperature, rng
    )
    for mode in (6, 7, 8):
        exact = finite_p_variance(float(frequencies[mode]), n_beads, temperature)
        values = q[..., mode].square().mean(dim=1)
        error = float(values.std()) / math.sqrt(n)
        assert float(values.mean()) == pytest.approx(exact, abs=4.0 * error)
    thermal = n_beads * BOLTZMANN * temperature
    assert float(p.square().mean()) == pytest.approx(thermal, rel=4 * math.sqrt(2 / p.numel()))
    assert q.mean(dim=1)[:, :6].abs().max() < 1e-12  # centroid not shifted or turned


def test_fixed_action_gives_every_mode_exactly_kt(rng, water):
    sampler = HarmonicModes(water[2], "fixed-action")
    for n_beads in (1, 8):
        frequencies, q, p = mode_amplitudes(sampler, water, 20, n_beads, 5.0, rng)
        q, p = q.mean(dim=1), p.mean(dim=1)  # of the centroid
        energy = 0.5 * p.square() + 0.5 * (frequencies * q).square()
        expected = torch.full((20, 3), BOLTZMANN * 5.0, dtype=torch.float64)
        torch.testing.assert_close(energy[:, 6:], expected, rtol=1e-10, atol=0)
        assert (p[:, 6:].sign() != p[:1, 6:].sign()).any()  # phases differ


def test_wigner_variances(rng, water):
    n, temperature = 3000, 300.0
    frequencies, q, p = mode_amplitudes(
        HarmonicModes(water[2], "wigner"), water, n, 1, temperature, rng
    )
    for mode in (6, 7, 8):
        w = float(frequencies[mode])
        coth = 1.0 / math.tanh(HBAR * w / (2 * BOLTZMANN * temperature))
        tolerance = 4 * math.sqrt(2 / n)
        assert float(q[..., mode].var()) == pytest.approx(0.5 * HBAR / w * coth, rel=tolerance)
        assert float(p[..., mode].var()) == pytest.approx(0.5 * HBAR * w * coth, rel=tolerance)


def test_what_does_not_fit_is_refused(water):
    with pytest.raises(InvalidInputError) as caught:
        HarmonicModes(water[2], "quantum")
    assert caught.value.key == "distribution"
    cases = [
        (HarmonicModes(water[2], "wigner"), (1, 1, 4, 3), "beads"),
        (HarmonicModes(water[2]), (2, 1, 1, 3), "hessians"),
        (FromArrays(torch.zeros(2, 1, 3, 3)), (1, 4, 1, 3), "positions"),
    ]
    for initial, sizes, key in cases:
        with pytest.raises(InvalidInputError) as caught:
            initial.check(*sizes)
        assert caught.value.key == key


def test_ring_modes_of_free_directions_are_those_of_a_free_particle(rng, water):
    """Internal ring modes of translation have variance P k T / ω_k²."""
    _, q, _ = mode_amplitudes(HarmonicModes(water[2]), water, 1500, 8, 300.0, rng)
    omega = ring_frequencies(8, 300.0)[1:]
    exact = float((8 * BOLTZMANN * 300.0 / omega.square()).sum()) / 8
    values = q[..., 0].square().mean(dim=1)
    error = float(values.std()) / math.sqrt(len(values))
    assert float(values.mean()) == pytest.approx(exact, abs=4 * error)


# --- balanced modes -----------------------------------------------------------------

TEMPERATURE = 10.0


@pytest.fixture
def springs():
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


def sampled(springs):
    positions, masses, hessian = springs
    start = BalancedModes(hessian)
    generators = [np.random.default_rng(0)] * start.replicas(3)
    starts, momenta = start.sample(Starts(positions[None], masses, 1, TEMPERATURE, generators))
    return list(zip(starts[:, 0] - positions, momenta[:, 0], strict=True))


def test_every_mode_has_exactly_its_thermal_energy(springs):
    positions, masses, hessian = springs
    omega, vectors = all_modes(hessian, positions, masses)
    root = masses.sqrt()[:, None]
    for displacement, momentum in sampled(springs):
        q, p = vectors.T @ (displacement * root).ravel(), vectors.T @ (momentum / root).ravel()
        energy = 0.5 * (p**2 + (omega * q) ** 2)[omega > 0]
        expected = torch.full_like(energy, BOLTZMANN * TEMPERATURE)
        torch.testing.assert_close(energy, expected, rtol=1e-10, atol=0.0)


def test_products_of_different_modes_cancel(springs):
    positions, masses, hessian = springs
    omega, vectors = all_modes(hessian, positions, masses)
    root = masses.sqrt()[:, None]
    q = torch.stack([vectors.T @ (d * root).ravel() for d, _ in sampled(springs)])[:, omega > 0]
    products = q.T @ q
    off_diagonal = products - torch.diag(torch.diagonal(products))
    assert float(off_diagonal.abs().max()) < 1e-12 * float(products.abs().max())


def test_the_ensemble_is_stationary(springs):
    """⟨q²⟩ω² = ⟨p²⟩ and ⟨qp⟩ = 0 mode by mode, so that averages do not depend on time."""
    positions, masses, hessian = springs
    omega, vectors = all_modes(hessian, positions, masses)
    root, vibration = masses.sqrt()[:, None], omega > 0
    pairs = [
        (vectors.T @ (d * root).ravel(), vectors.T @ (m / root).ravel())
        for d, m in sampled(springs)
    ]
    q, p = (torch.stack(parts)[:, vibration] for parts in zip(*pairs, strict=True))
    q = q * omega[vibration]
    thermal = torch.full((3,), BOLTZMANN * TEMPERATURE, dtype=torch.float64)
    torch.testing.assert_close(q.square().mean(0), thermal, rtol=1e-10, atol=0.0)
    torch.testing.assert_close(p.square().mean(0), thermal, rtol=1e-10, atol=0.0)
    products = q.T @ p
    assert float(products.abs().max()) < 1e-12 * float(q.square().sum())


def test_there_is_no_rotation_or_translation(springs):
    positions, masses, _ = springs
    center = (masses[:, None] * positions).sum(0) / masses.sum()
    for _, momentum in sampled(springs):
        assert float(momentum.sum(0).abs().max()) < 1e-12
        assert float(torch.linalg.cross(positions - center, momentum).sum(0).abs().max()) < 1e-10


@pytest.mark.parametrize(
    ("sizes", "key"),
    [
        ((1, 16, 1, 3), "replicas"),
        ((2, 32, 1, 3), "structures"),
        ((1, 32, 4, 3), "beads"),
        ((1, 32, 1, 4), "hessians"),
    ],
)
def test_runs_that_balanced_modes_do_not_fit_are_refused(springs, sizes, key):
    with pytest.raises(InvalidInputError) as caught:
        BalancedModes(springs[2]).check(*sizes)
    assert caught.value.key == key
