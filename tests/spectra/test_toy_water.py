# SPDX-License-Identifier: MIT
"""Molecular dynamics of an analytic water molecule against its double-harmonic spectrum."""

import numpy as np
import pytest

from eqcalc.spectra import (
    infrared,
    raman,
    sum_rule,
    sum_rule_ratio,
    vibrational_density_of_states,
    without_rotation,
)
from eqcalc.validation import InvalidInputError
from tests.spectra import toy_water as water
from tests.spectra.oscillators import BOLTZMANN, angular

# bend, symmetric and antisymmetric stretch
WAVENUMBER = [1386.642, 3589.662, 3669.291]
SQUARED_DEBYE = [5.928826, 3.163430, 6.475742]
INTENSITY = [250.5288, 133.6741, 273.6394]
ISOTROPIC = [0.000233, 2.495157, 0.0]
ANISOTROPIC = [0.688801, 1.369105, 2.665666]
ACTIVITY = [4.832084, 121.865820, 18.659663]
DEPOLARIZATION = [0.74716, 0.03488, 0.75000]
# with velocity Verlet at 0.25 fs, each mode at exactly kT
VERLET_INTENSITY = [250.31, 133.27, 272.58]
VERLET_ACTIVITY = [4.828, 121.51, 18.59]
LIMITS = [(1290.0, 1490.0), (3500.0, 3628.0), (3633.0, 3780.0)]


@pytest.fixture(scope="module")
def harmonic():
    return water.harmonic_modes()


def test_harmonic_spectrum(harmonic):
    assert np.allclose(harmonic.wavenumber, WAVENUMBER, atol=2e-3)
    assert np.allclose(harmonic.infrared_activity, SQUARED_DEBYE, rtol=1e-6)
    assert np.allclose(harmonic.infrared_intensity, INTENSITY, rtol=1e-6)
    assert np.allclose(harmonic.isotropic, ISOTROPIC, atol=1e-6)
    assert np.allclose(harmonic.anisotropic, ANISOTROPIC, rtol=1e-5)
    assert np.allclose(harmonic.raman_activity, ACTIVITY, rtol=1e-5)
    assert np.allclose(harmonic.depolarization_ratio, DEPOLARIZATION, atol=6e-6)


@pytest.fixture(scope="module")
def cold(harmonic):
    """24 trajectories of 8 ps at 1 K, every mode at exactly kT, without rotation."""
    phase = 2.0 * np.pi * np.random.default_rng(1).random((24, 3))
    omega = angular(harmonic.wavenumber)
    amplitude = np.sqrt(2.0 * BOLTZMANN * 1.0) / omega
    q, p = amplitude * np.cos(phase), -amplitude * omega * np.sin(phase)
    r = water.EQUILIBRIUM + np.einsum("rk,kia->ria", q, harmonic.vectors)
    v = np.einsum("rk,kia->ria", p, harmonic.vectors)
    return water.propagate(r, v, 0.25, 32000, every=4)


OPTIONS = {"interval": 1.0, "temperature": 1.0, "timestep": 0.25, "lag": 4000.0}


def test_cold_infrared(cold):
    positions, velocities = cold
    from_rate = infrared(derivative=water.dipole(velocities), unit="e*Å/fs", **OPTIONS)
    from_dipole = infrared(
        water.dipole(positions), unit="e*Å", finite_difference="velocity-verlet", **OPTIONS
    )
    for spectrum in (from_rate, from_dipole):
        found = [spectrum.integrate(*limits).value for limits in LIMITS]
        assert np.allclose(found, VERLET_INTENSITY, rtol=2e-3)
    exact = infrared(water.dipole(positions), unit="e*Å", frequency_correction=True, **OPTIONS)
    # ω²⟨x²⟩ is larger than ⟨v²⟩ by (u/sin u)², u = ω·timestep
    u = angular(np.array(WAVENUMBER)) * 0.25
    found = [exact.integrate(*limits).value for limits in LIMITS]
    assert np.allclose(found, VERLET_INTENSITY * (u / np.sin(u)) ** 2, rtol=2e-3)
    assert np.allclose(found, INTENSITY, rtol=1e-2)
    bands = exact.bands(threshold=0.05)
    assert np.allclose([band.position.value for band in bands], WAVENUMBER, atol=0.1)
    assert [round(b.area.value / a, 1) for b, a in zip(bands, found, strict=True)] == [1.0] * 3
    shifted = from_dipole.bands(threshold=0.05)[-1].position.value
    assert shifted == pytest.approx(3673.9, abs=0.6)


def test_cold_raman(cold):
    spectrum = raman(
        water.polarizability(cold[0]),
        unit="Å^3",
        finite_difference="velocity-verlet",
        **OPTIONS,
    )
    found = [spectrum.activity().integrate(*limits).value for limits in LIMITS]
    assert np.allclose(found, VERLET_ACTIVITY, rtol=2e-3)
    rho = spectrum.depolarization_ratio()
    for nu, expected in zip([1386.9, 3594.0, 3673.9], [0.7472, 0.0349, 0.7495], strict=True):
        assert np.interp(nu, rho.wavenumber, rho.values) == pytest.approx(expected, abs=5e-4)


def test_cold_density_of_states(cold):
    spectrum = vibrational_density_of_states(
        cold[1], water.MASSES, interval=1.0, temperature=1.0, unit="Å/fs", lag=4000.0
    )
    # ⟨v²⟩ of a Verlet trajectory at energy kT falls short by (ωΔt)²/8
    u = angular(np.array(WAVENUMBER)) * 0.25
    found = [spectrum.integrate(*limits).value for limits in LIMITS]
    assert np.allclose(found, 1.0, atol=1.2 * (u**2).max() / 8 + 1e-2)
    assert spectrum.integrate().value == pytest.approx(3.0, rel=5e-3)
    hydrogen = vibrational_density_of_states(
        cold[1],
        water.MASSES,
        interval=1.0,
        temperature=1.0,
        unit="Å/fs",
        lag=4000.0,
        atoms=[1, 2],
    )
    oxygen = vibrational_density_of_states(
        cold[1], water.MASSES, interval=1.0, temperature=1.0, unit="Å/fs", lag=4000.0, atoms=[0]
    )
    total = (hydrogen + oxygen).values
    assert np.allclose(total, spectrum.values, rtol=0.0, atol=1e-12 * total.max())


def test_warm_rotating_water_obeys_the_sum_rule(harmonic):
    rng = np.random.default_rng(2)
    omega = angular(harmonic.wavenumber)
    spread = np.sqrt(BOLTZMANN * 300.0)
    q = spread / omega * rng.normal(size=(96, 3))
    p = spread * rng.normal(size=(96, 3))
    centred = water.EQUILIBRIUM - water.MASSES @ water.EQUILIBRIUM / water.MASSES.sum()
    inertia = np.einsum(
        "i,iab->ab",
        water.MASSES,
        (centred**2).sum(-1)[:, None, None] * np.eye(3) - centred[:, :, None] * centred[:, None, :],
    )
    assert np.allclose(np.sort(np.diag(inertia)), [0.559851, 1.385603, 1.945454], atol=2e-6)
    spin = spread * rng.normal(size=(96, 3)) / np.sqrt(np.diag(inertia))
    r = centred + np.einsum("rk,kia->ria", q, harmonic.vectors)
    v = np.einsum("rk,kia->ria", p, harmonic.vectors) + np.cross(spin[:, None], centred)
    positions, _ = water.propagate(r, v, 0.5, 8000, every=2)
    spectrum = infrared(
        water.dipole(positions), interval=1.0, temperature=300.0, unit="e*Å", resolution=20.0
    )
    expected = sum_rule(
        np.tile(water.CHARGES[None, :, None, None] * np.eye(3), (2, 1, 1, 1)), water.MASSES
    )
    ratio = sum_rule_ratio(spectrum, expected)
    assert ratio.value == pytest.approx(1.0, abs=4.0 * ratio.error)
    assert 0.02 < ratio.error < 0.12
    # pure rotation, bend, both stretches
    for limits, exact in (((0, 900), 494.77), ((900, 2200), 250.5), ((2800, 4300), 407.3)):
        area = spectrum.integrate(*limits)
        assert area.value == pytest.approx(exact, abs=4.0 * area.error)


def test_warm_water_without_rotation_obeys_the_sum_rule_without_rotation(harmonic):
    rng = np.random.default_rng(3)
    spread = np.sqrt(BOLTZMANN * 300.0)
    q = spread / angular(harmonic.wavenumber) * rng.normal(size=(96, 3))
    r = water.EQUILIBRIUM + np.einsum("rk,kia->ria", q, harmonic.vectors)
    v = np.einsum("rk,kia->ria", spread * rng.normal(size=(96, 3)), harmonic.vectors)
    positions, _ = water.propagate(r, v, 0.5, 6000, every=2)
    spectrum = infrared(
        water.dipole(positions), interval=1.0, temperature=300.0, unit="e*Å", resolution=20.0
    )
    geometries = positions[:, ::500].reshape(-1, 3, 3)
    tensors = np.tile(water.CHARGES[None, :, None, None] * np.eye(3), (len(geometries), 1, 1, 1))
    exact = sum_rule(without_rotation(tensors, geometries, water.MASSES), water.MASSES)
    assert exact.value == pytest.approx(1152.6 - 494.8, rel=0.01)
    ratio = sum_rule_ratio(spectrum, exact)
    assert ratio.value == pytest.approx(1.0, abs=4.0 * ratio.error)
    assert ratio.error < 0.1


def test_a_trajectory_is_read_with_its_rates(cold):
    from types import SimpleNamespace

    positions, velocities = cold

    class Trajectory:
        method, temperature, timestep, n_beads = "NVE", 1.0, 0.25, 1
        masses = water.MASSES

        def __init__(self):
            self.provenance = {"model": "toy water"}
            self.data = {
                "dipole": (water.dipole(positions), "e*Å"),
                "dipole_rate": (water.dipole(velocities), "e*Å/fs"),
                "velocities": (velocities, "Å/fs"),
            }

        def observables(self):
            return tuple(self.data)

        def observable(self, name):
            values, unit = self.data[name]
            return SimpleNamespace(values=values, interval=1.0, start=0.0, unit=unit)

    trajectory = Trajectory()
    exact = infrared(trajectory, lag=4000.0)
    assert exact.provenance["derivative"] == "given"
    same = infrared(derivative=water.dipole(velocities), unit="e*Å/fs", **OPTIONS)
    assert np.array_equal(exact.values, same.values)
    differences = infrared(trajectory, derivative=False, lag=4000.0)
    assert differences.provenance["derivative"] == "central difference"
    density = vibrational_density_of_states(trajectory, lag=4000.0)
    assert density.integrate().value == pytest.approx(3.0, rel=5e-3)
    assert density.provenance["source"] == {"model": "toy water"}
    del trajectory.data["velocities"]
    for function, name in (
        (raman, "polarizability"),
        (vibrational_density_of_states, "velocities"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            function(trajectory)
        assert (caught.value.key, caught.value.value) == ("observable", name)
