# SPDX-License-Identifier: MIT
"""Microcanonical dynamics: conservation, reversibility and exact harmonic motion."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import find_peaks

from eqcalc.dynamics import Method
from eqcalc.dynamics.initial import (
    HarmonicModes,
    Starts,
    maxwell_boltzmann,
    remove_rotation,
    remove_translation,
)
from eqcalc.dynamics.noise import GaussianNoise
from eqcalc.dynamics.ring_polymer import from_modes, ring_frequencies, ring_transform
from eqcalc.dynamics.state import State
from eqcalc.methods import method_names
from eqcalc.units import (
    BOLTZMANN,
    FEMTOSECOND,
    angular_frequency_to_wavenumber,
    wavenumber_to_angular_frequency,
)
from eqcalc.validation import InvalidInputError
from tests.analytic import HarmonicWell, MorseDiatomic, ToyWater

# x²-spectrum of RPMD in a harmonic well of 1000 cm^-1, 16 beads, 300 K: 2 Ω_k [cm^-1].
SPURIOUS = (3282.95, 5484.45)
MASSES = torch.tensor(ToyWater.masses, dtype=torch.float64)


def start(evaluator, positions, momenta):
    state = State.at_rest(positions)
    return State(**{**vars(state), "momenta": momenta}).with_evaluation(evaluator)


def water_state(n_beads, n_replicas=2, temperature=300.0):
    water = ToyWater()
    x = torch.from_numpy(water.atoms.get_positions())
    generators = [np.random.default_rng([3, r]) for r in range(n_replicas)]
    sampler = HarmonicModes(water.hessian(x))
    positions, momenta = sampler.sample(Starts(x[None], MASSES, n_beads, temperature, generators))
    return water, start(water, positions, remove_translation(momenta, MASSES))


def integrator(method, n_beads, timestep=0.25, masses=MASSES, temperature=300.0, **options):
    return method.integrator(
        timestep=timestep, temperature=temperature, n_beads=n_beads, masses=masses, **options
    )


@pytest.mark.parametrize(("method", "n_beads"), [(Method("NVE"), 1), (Method("RPMD"), 8)])
@pytest.mark.parametrize("propagator", ["cayley", "exact"])
def test_time_reversibility(method, n_beads, propagator):
    water, first = water_state(n_beads)
    step = integrator(method, n_beads, propagator=propagator).step
    state = first
    for _ in range(200):
        state = step(state, water)
    state = State(**{**vars(state), "momenta": -state.momenta})
    for _ in range(200):
        state = step(state, water)
    torch.testing.assert_close(state.positions, first.positions, rtol=0, atol=1e-9)
    torch.testing.assert_close(state.momenta, -first.momenta, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("method", "n_beads"), [(Method("NVE"), 1), (Method("RPMD"), 8)])
def test_momentum_and_angular_momentum_are_conserved(method, n_beads):
    water, state = water_state(n_beads)
    step = integrator(method, n_beads)

    def totals(s):
        angular = torch.linalg.cross(s.positions, s.momenta).sum(dim=(1, 2))
        return s.momenta.sum(dim=(1, 2)), angular

    before = totals(state)
    for _ in range(400):
        state = step.step(state, water)
    for a, b in zip(before, totals(state), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    assert before[1].abs().max() > 1e-2  # it does rotate


@pytest.mark.parametrize(
    ("method", "n_beads"),
    [(Method("NVE"), 1), pytest.param(Method("RPMD"), 16, marks=pytest.mark.slow)],
)
def test_energy_error_is_second_order_and_does_not_drift(method, n_beads):
    spread = {}
    for timestep in (0.25, 0.5):
        water, state = water_state(n_beads, n_replicas=16)
        run = integrator(method, n_beads, timestep)
        energies = []
        for _ in range(round(500 / timestep)):
            state = run.step(state, water)
            energies.append(run.conserved_energy(state))
        e = torch.stack(energies)
        spread[timestep] = float(e.std(dim=0).mean())
        half = len(e) // 2
        change = e[half:].mean(dim=0) - e[:half].mean(dim=0)
        drift = change.mean().abs() - 2.0 * change.std() / math.sqrt(len(change))
        assert float(drift) < 0.1 * spread[timestep]
    assert spread[0.5] / spread[0.25] == pytest.approx(4.0, rel=0.15)


def test_velocity_verlet_frequency():
    """A harmonic oscillator oscillates with (2/Δt) asin(ωΔt/2), to the last digit."""
    well, mass, timestep = HarmonicWell([30.0]), torch.ones(1, dtype=torch.float64), 0.5
    omega = math.sqrt(30.0)
    x0 = torch.full((1, 1, 1, 3), 0.1, dtype=torch.float64)
    state = start(well, x0, torch.zeros_like(x0))
    run = integrator(Method("NVE"), 1, timestep, mass, translation="thermal")
    for _ in range(1000):
        state = run.step(state, well)
    dt = timestep * FEMTOSECOND
    phase = 1000 * 2.0 * math.asin(0.5 * omega * dt)
    expected = torch.full_like(x0, 0.1 * math.cos(phase))
    torch.testing.assert_close(state.positions, expected, rtol=0, atol=1e-11)


def harmonic_ring(n_beads, n_replicas, wavenumber=1000.0, temperature=300.0, seed=5):
    """A well of this wavenumber for 1 amu, and an exact sample of its ring polymer."""
    omega = wavenumber_to_angular_frequency(wavenumber)
    well = HarmonicWell([omega**2])
    mass = torch.ones(1, dtype=torch.float64)
    rng = np.random.default_rng(seed)
    total = (ring_frequencies(n_beads, temperature).square() + omega**2).sqrt()
    spread = math.sqrt(n_beads * BOLTZMANN * temperature) / total
    normal = torch.from_numpy(rng.standard_normal((n_replicas, n_beads, 1, 3)))
    positions = from_modes(ring_transform(n_beads), spread.view(-1, 1, 1) * normal)
    momenta = torch.stack(
        [maxwell_boltzmann(mass, n_beads, temperature, rng) for _ in range(n_replicas)]
    )
    return omega, well, mass, start(well, positions, momenta)


@pytest.mark.parametrize("method", [Method("RPMD"), Method("T-RPMD")], ids=["RPMD", "T-RPMD"])
def test_harmonic_centroid_is_classical(method):
    """In a harmonic well the centroid is decoupled: no noise and no spring reaches it."""
    omega, well, mass, state = harmonic_ring(16, 4)
    run = integrator(method, 16, 0.25, mass, translation="thermal")
    noise = GaussianNoise(1, range(4), (1, 16, 1, 3))
    theta = 2.0 * math.asin(0.5 * omega * run.timestep)
    x0, v0 = state.positions.mean(dim=1), state.momenta.mean(dim=1)
    # Velocity Verlet: x_n = x0 cos nθ + v0 sin nθ / (ω √(1 − (ωΔt/2)²))
    effective = omega * math.sqrt(1.0 - (0.5 * omega * run.timestep) ** 2)
    for n in range(1, 401):
        state = run.step(state, well, noise(n))
        expected = x0 * math.cos(n * theta) + v0 * math.sin(n * theta) / effective
        torch.testing.assert_close(state.positions.mean(dim=1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", [Method("RPMD"), Method("T-RPMD")], ids=["RPMD", "T-RPMD"])
def test_harmonic_centroid_autocorrelation(method):
    """<x_c(0) x_c(t)> = cos(ωt) k_B T/(m ω²), for any number of beads."""
    n = 3000
    omega, well, mass, state = harmonic_ring(8, n)
    run = integrator(method, 8, 0.25, mass, translation="thermal")
    noise = GaussianNoise(2, range(n), (1, 8, 1, 3))
    x0 = state.positions.mean(dim=1)
    amplitude = BOLTZMANN * 300.0 / omega**2
    assert amplitude == pytest.approx(0.0070300, rel=1e-4)  # Å², 1000 cm^-1, 1 amu
    for step in range(1, 101):
        state = run.step(state, well, noise(step))
        if step % 20 == 0:
            found = float((x0 * state.positions.mean(dim=1)).mean())
            expected = amplitude * math.cos(omega * step * run.timestep)
            assert found == pytest.approx(expected, abs=4 * amplitude * math.sqrt(2 / (3 * n)))


def test_rpmd_of_x_squared_has_the_documented_spurious_lines():
    """C(t) = 2 (k_BT/m)² Σ_k cos²(Ω_k t)/Ω_k⁴ per component: lines at 2 Ω_k."""
    n_beads, n = 16, 64
    _, well, mass, state = harmonic_ring(n_beads, n)
    run = integrator(
        Method("RPMD"), n_beads, 0.125, mass, translation="thermal", propagator="exact"
    )
    signal = []
    for _ in range(8000):
        state = run.step(state, well)
        signal.append(state.positions.square().mean(dim=1).flatten())
    x = torch.stack(signal).numpy()  # [time, series]
    x = (x - x.mean(axis=0)) * np.hanning(len(x))[:, None]
    power = (np.abs(np.fft.rfft(x, axis=0)) ** 2).mean(axis=1)
    wavenumber = np.fft.rfftfreq(len(x), run.timestep)
    wavenumber = np.array([angular_frequency_to_wavenumber(2 * math.pi * f) for f in wavenumber])
    peaks = wavenumber[find_peaks(power, height=power.max() * 1e-5)[0]]
    for line in (2000.0, *SPURIOUS):
        assert np.abs(peaks - line).min() < 40.0, (line, peaks)
    # and nothing else below the second spurious line
    below = peaks[(peaks > 300.0) & (peaks < 5800.0)]
    assert all(np.abs(np.array((2000.0, *SPURIOUS)) - p).min() < 60.0 for p in below)


def test_rpmd_autocorrelation_of_x_squared():
    n_beads, n = 16, 4000
    omega, well, mass, state = harmonic_ring(n_beads, n)
    run = integrator(Method("RPMD"), n_beads, 0.125, mass, translation="thermal")
    total = (ring_frequencies(n_beads, 300.0).square() + omega**2).sqrt()

    def squared(s):
        return s.positions.square().mean(dim=1).flatten()

    mean = float((BOLTZMANN * 300.0 / total.square()).sum())
    assert mean == pytest.approx(0.01695428, rel=1e-6)  # <x²>_P of 16 beads
    a = squared(state) - mean
    assert float(squared(state).mean()) == pytest.approx(mean, rel=0.03)
    for _ in range(4):
        for _ in range(20):
            state = run.step(state, well)
        t = state.step * run.timestep
        terms = torch.cos(total * t).square() / total**4
        exact = 2.0 * (BOLTZMANN * 300.0) ** 2 * float(terms.sum())
        products = a * (squared(state) - mean)
        error = float(products.std()) / math.sqrt(len(products))
        assert float(products.mean()) == pytest.approx(exact, abs=4 * error)


def test_rotation_free_start_stays_rotation_free():
    water, state = water_state(1)
    straight = remove_rotation(state.positions, state.momenta, MASSES)
    state = State(**{**vars(state), "momenta": straight})
    run = integrator(Method("NVE"), 1)
    for _ in range(400):
        state = run.step(state, water)
    assert torch.linalg.cross(state.positions, state.momenta).sum(dim=(1, 2)).abs().max() < 1e-11


@pytest.mark.slow
def test_heavier_isotopes_vibrate_slower():
    """The period of an oscillator scales with the square root of its reduced mass."""
    periods = []
    for hydrogen in (1.008, 2.014):
        morse = MorseDiatomic()
        masses = torch.tensor([hydrogen, 34.969], dtype=torch.float64)
        x = torch.from_numpy(morse.atoms.get_positions())[None, None].clone()
        x[..., 0, 2] -= 0.002
        state = start(morse, x, torch.zeros_like(x))
        run = integrator(Method("NVE"), 1, 0.05, masses)
        lengths = []
        for _ in range(2000):
            state = run.step(state, morse)
            lengths.append(float((state.positions[0, 0, 0] - state.positions[0, 0, 1]).norm()))
        crossings = np.flatnonzero(np.diff(np.sign(np.array(lengths) - morse.length)))
        periods.append((crossings[-1] - crossings[0]) / (len(crossings) - 1))
    reduced = [1 / (1 / m + 1 / 34.969) for m in (1.008, 2.014)]
    assert periods[1] / periods[0] == pytest.approx(math.sqrt(reduced[1] / reduced[0]), rel=0.01)


@pytest.mark.parametrize("name", method_names(engine="eqcalc"))
def test_methods_and_numbers_of_beads(name):
    method = Method(name, **({"drift": [[1.0]]} if "GLE" in name else {}))
    with pytest.raises(InvalidInputError) as caught:
        integrator(method, 1 if method.row.ring_polymer else 4)
    assert caught.value.key == "beads"
