# SPDX-License-Identifier: MIT
"""Centroid dynamics: fast internal modes in an unchanged ensemble, and a centroid that is held."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from eqcalc.dynamics import OBSERVABLES, HarmonicModes, Method, System
from eqcalc.dynamics.initial import Starts
from eqcalc.dynamics.noise import GaussianNoise
from eqcalc.dynamics.ring_polymer import from_modes, ring_transform, to_modes
from eqcalc.dynamics.state import State
from eqcalc.units import BOLTZMANN, FEMTOSECOND, HBAR, wavenumber_to_angular_frequency
from eqcalc.validation import InvalidInputError
from tests.analytic import HarmonicWell, ToyWater

MASSES = torch.tensor(ToyWater.masses, dtype=torch.float64)
FAST = Method("PA-CMD", frequency=4000.0)


def integrator(method=FAST, timestep=0.1, n_beads=4, masses=MASSES, **options):
    return method.integrator(
        timestep=timestep, temperature=300.0, n_beads=n_beads, masses=masses, **options
    )


def water_state(n_replicas=2):
    water = ToyWater()
    x = torch.from_numpy(water.atoms.get_positions())
    generators = [np.random.default_rng([7, r]) for r in range(n_replicas)]
    positions, momenta = HarmonicModes(water.hessian(x)[None]).sample(
        Starts(x[None], MASSES, 4, 300.0, generators)
    )
    return water, replace(State.at_rest(positions).with_evaluation(water), momenta=momenta)


def test_free_internal_modes_have_the_common_frequency():
    run = replace(integrator(timestep=0.05, propagator="exact"), thermostat=None)
    modes = torch.ones(1, 4, 3, 3, dtype=torch.float64)
    start = from_modes(ring_transform(4), modes)
    well = HarmonicWell([0.0, 0.0, 0.0])
    state = State.at_rest(start).with_evaluation(well)
    for _ in range(30):
        state = run.step(state, well)
    found = to_modes(ring_transform(4), state.positions)
    angle = wavenumber_to_angular_frequency(4000.0) * 30 * 0.05 * FEMTOSECOND
    torch.testing.assert_close(found[:, 1:], math.cos(angle) * modes[:, 1:])
    torch.testing.assert_close(found[:, :1], modes[:, :1])


def test_energy_is_conserved_and_the_motion_reverses():
    """Faster time of a mode changes neither the energy nor the symmetry of the step."""
    spread = []
    for timestep in (0.05, 0.1):
        water, first = water_state()
        run = replace(integrator(timestep=timestep), thermostat=None)
        state, energies = first, []
        for _ in range(round(20 / timestep)):
            state = run.step(state, water)
            energies.append(run.conserved_energy(state))
        spread.append(float(torch.stack(energies).std(dim=0).mean()))
    assert spread[1] / spread[0] == pytest.approx(4.0, rel=0.2)
    back = replace(state, momenta=-state.momenta)
    for _ in range(200):
        back = run.step(back, water)
    torch.testing.assert_close(back.positions, first.positions, rtol=0, atol=1e-9)


def test_velocities_are_the_slopes_of_the_bead_positions():
    """Momenta over masses are not, for the internal modes."""
    errors = []
    for timestep in (0.02, 0.04):
        water, first = water_state()
        run = replace(integrator(timestep=timestep), thermostat=None)
        second = run.step(first, water)
        third = run.step(second, water)
        slope = (third.positions - first.positions) / (2.0 * run.timestep)
        errors.append(float((slope - run.velocities(second.momenta)).abs().max()))
    assert errors[1] / errors[0] == pytest.approx(4.0, rel=0.1)
    wrong = float((slope - second.momenta / run.masses).abs().max())
    assert wrong > 100.0 * errors[1]


def test_the_centroid_of_a_harmonic_well_is_classical():
    omega = wavenumber_to_angular_frequency(1000.0)
    well, mass = HarmonicWell([omega**2]), torch.ones(1, dtype=torch.float64)
    run = integrator(masses=mass, translation="thermal")
    state = State.at_rest(0.1 * torch.randn(3, 4, 1, 3, dtype=torch.float64)).with_evaluation(well)
    x0, theta = state.positions.mean(dim=1), 2.0 * math.asin(0.5 * omega * run.timestep)
    noise = GaussianNoise(1, range(3), (1, 4, 1, 3))
    for n in range(1, 201):
        state = run.step(state, well, noise(n))
        expected = x0 * math.cos(n * theta)
        torch.testing.assert_close(state.positions.mean(dim=1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", [FAST, Method("CC-PIMD")])
def test_internal_modes_sample_the_ring_polymer(method):
    """<(x − x_c)²> of 4 beads is the physical one, whatever the pace of its dynamics."""
    omega, replicas = wavenumber_to_angular_frequency(1000.0), 400
    well, mass = HarmonicWell([omega**2]), torch.ones(1, dtype=torch.float64)
    timestep = 0.1 if method is FAST else 0.5
    run = integrator(method, masses=mass, translation="thermal", timestep=timestep)
    state = State.at_rest(torch.zeros(replicas, 4, 1, 3, dtype=torch.float64)).with_evaluation(well)
    noise = GaussianNoise(2, range(replicas), (1, 4, 1, 3))
    squares = []
    for n in range(400):
        state = run.step(state, well, noise(n))
        if n >= 100 and n % 30 == 0:
            away = state.positions - state.positions.mean(dim=1, keepdim=True)
            squares.append(away.square().mean(dim=1))
    thermal = BOLTZMANN * 300.0
    omega_p = 4 * thermal / HBAR
    total = [omega**2 + (2 * omega_p * math.sin(math.pi * k / 4)) ** 2 for k in (1, 2, 3)]
    exact = thermal * sum(1.0 / square for square in total)
    values = torch.stack(squares).mean(dim=(0, 2, 3))
    error = float(values.std()) / math.sqrt(replicas)
    assert float(values.mean()) == pytest.approx(exact, abs=4.0 * error)
    assert error < 0.02 * exact


def test_too_long_a_step_is_refused():
    with pytest.raises(InvalidInputError) as caught:
        integrator(Method("PA-CMD"), timestep=0.25, n_beads=16)
    assert (caught.value.key, caught.value.value) == ("timestep", pytest.approx(0.25))
    assert "0.08" in caught.value.expected
    assert integrator(Method("PA-CMD"), timestep=0.08, n_beads=16).mode_scaling is not None


@pytest.mark.parametrize("propagator", ["cayley", "exact"])
def test_a_centroid_that_is_held_stays_and_the_energy_is_conserved(propagator):
    water, first = water_state()
    run = integrator(Method("CC-PIMD"), timestep=0.1, propagator=propagator)
    noise = GaussianNoise(3, range(2), (1, 4, 3, 3))
    state, energies = first, []
    for n in range(100):
        state = run.step(state, water, noise(n))
        energies.append(run.conserved_energy(state))
    centroid = first.positions.mean(dim=1)
    torch.testing.assert_close(state.positions.mean(dim=1), centroid, rtol=0, atol=1e-12)
    assert float((state.positions - first.positions).abs().max()) > 0.01
    assert float(torch.stack(energies).std(dim=0).max()) < 1e-3
    velocities = OBSERVABLES["velocities"].estimate(state, System(run, 9 * 4))
    assert torch.equal(velocities, torch.zeros_like(velocities))
