# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import harmonic_analysis, infrared, vibrational_density_of_states
from eqcalc.spectra.assignment import (
    assign_bands,
    assignment_table,
    decompose_dipole_by_atoms,
    decompose_dipole_by_modes,
    mode_momenta,
    mode_spectra,
)
from tests.spectra import toy_water as water
from tests.spectra.oscillators import BOLTZMANN, angular

KW = {"interval": 1.0, "temperature": 20.0, "lag": 2000.0}


@pytest.fixture(scope="module")
def harmonic():
    return harmonic_analysis(
        water.EQUILIBRIUM, water.MASSES, water.hessian(), water.derivatives(water.dipole)
    )


@pytest.fixture(scope="module")
def run(harmonic):
    """Water at 20 K, slowly turning: positions and velocities of 12 replicas."""
    rng = np.random.default_rng(1)
    omega, spread = angular(harmonic.wavenumber), np.sqrt(BOLTZMANN * 20.0)
    q, p = spread / omega * rng.normal(size=(12, 3)), spread * rng.normal(size=(12, 3))
    r = water.EQUILIBRIUM + np.einsum("rk,kia->ria", q, harmonic.modes)
    v = np.einsum("rk,kia->ria", p, harmonic.modes)
    centre = water.MASSES @ water.EQUILIBRIUM / water.MASSES.sum()
    v += np.cross(2e-3 * rng.normal(size=(12, 1, 3)), water.EQUILIBRIUM - centre)
    return water.propagate(r, v, 0.5, 12000, every=2)


def test_modes_and_remainder_are_the_whole_spectrum(run, harmonic):
    positions, velocities = run
    rate = water.dipole(velocities)
    parts = decompose_dipole_by_modes(rate, positions, velocities, harmonic, **KW)
    whole = infrared(derivative=rate, unit="e*Å/fs", **KW)
    scale = whole.values.max()
    assert np.allclose(parts.total.values, whole.values, rtol=0.0, atol=1e-12 * scale)
    assert np.allclose(parts.total.samples, whole.samples, rtol=0.0, atol=1e-12 * scale)
    assert np.allclose(
        sum(parts.share(name).values for name in parts.names),
        whole.values,
        rtol=0.0,
        atol=1e-12 * scale,
    )
    pairs = [parts.cross(a, b).values for i, a in enumerate(parts.names) for b in parts.names[:i]]
    diagonal = [parts.part(name).values for name in parts.names]
    assert np.allclose(sum(pairs) + sum(diagonal), whole.values, rtol=0.0, atol=1e-12 * scale)


def test_each_band_is_its_mode(run, harmonic):
    positions, velocities = run
    parts = decompose_dipole_by_modes(
        water.dipole(velocities), positions, velocities, harmonic, **KW
    )
    bands = parts.total.bands(threshold=0.05, lower=1000.0)
    assert len(bands) == 3
    assigned = assign_bands(parts, bands)
    for k, item in enumerate(assigned):
        name, share = item.shares[0]
        assert name == parts.names[k]
        assert share.value == pytest.approx(1.0, abs=0.05)
        assert share.error < 0.05
    text = assignment_table(assigned, "km/mol")
    assert len(text.splitlines()) == 4
    assert "mode 1 (1387)" in text.splitlines()[1]
    rotation = parts.share("remainder").integrate(0.0, 500.0).value
    assert rotation == pytest.approx(parts.total.integrate(0.0, 500.0).value, rel=0.02)


def test_mode_spectra_are_one_state_each(run, harmonic):
    positions, velocities = run
    parts = mode_spectra(
        positions, velocities, harmonic, timestep=0.5, frequency_correction=True, **KW
    )
    momenta, _ = mode_momenta(positions, velocities, harmonic)
    for k, name in enumerate(parts.names):
        kinetic = np.mean(momenta[..., k] ** 2) / (BOLTZMANN * 20.0)
        assert parts.part(name).integrate().value == pytest.approx(kinetic, rel=1e-3)
        band = parts.part(name).band(harmonic.wavenumber[k] - 60, harmonic.wavenumber[k] + 60)
        assert band.position.value == pytest.approx(harmonic.wavenumber[k], abs=2.0)
    # vibrations are the density of states less the rotation
    total = vibrational_density_of_states(velocities, water.MASSES, unit="Å/fs", **KW).integrate(
        1000.0, 4500.0
    )
    assert parts.total.integrate(1000.0, 4500.0).value == pytest.approx(total.value, rel=0.01)


def test_atoms_are_the_whole_spectrum(run):
    _, velocities = run
    tensors = np.broadcast_to(
        water.CHARGES[:, None, None] * np.eye(3), (*velocities.shape[:2], 3, 3, 3)
    )
    parts = decompose_dipole_by_atoms(tensors, velocities, {"oxygen": [0]}, **KW)
    assert parts.names == ("oxygen", "others")
    whole = infrared(derivative=water.dipole(velocities), unit="e*Å/fs", **KW)
    assert np.allclose(parts.total.values, whole.values, rtol=0.0, atol=1e-12 * whole.values.max())
    # the parts have opposite charge and move against each other: their interference adds
    assert parts.cross("oxygen", "others").integrate(1000, 4500).value > 0.0
    with pytest.raises(ValueError, match="more than one group"):
        decompose_dipole_by_atoms(tensors, velocities, {"a": [0, 1], "b": [1]}, **KW)
    with pytest.raises(ValueError, match="numbered from 0 to 2"):
        decompose_dipole_by_atoms(tensors, velocities, {"a": [3]}, **KW)
    with pytest.raises(ValueError, match="there are: oxygen, others"):
        parts.part("hydrogen")
