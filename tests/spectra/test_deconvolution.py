# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import Spectrum, harmonic_analysis, infrared
from eqcalc.spectra.deconvolution import deconvolve, gle_kernel, langevin_kernel
from tests.errors import refused
from tests.spectra import toy_water as water
from tests.spectra.oscillators import BOLTZMANN, angular

NU = np.arange(0.0, 4800.0, 6.0)


def test_kernel_has_unit_area_and_the_width_of_the_friction():
    nu = np.arange(0.0, 9000.0, 3.0)
    k = langevin_kernel(nu, 100.0)
    assert np.allclose(k.sum(0)[100:1000] * 3.0, 1.0, atol=0.01)
    near = np.arange(1400.0, 1600.0, 0.5)
    peak = langevin_kernel(near, 100.0)[:, 200]
    above = near[peak > 0.5 * peak.max()]
    assert above[-1] - above[0] == pytest.approx(53.09, abs=0.8)


@pytest.mark.slow
def test_white_noise_is_a_special_gle():
    nu = np.arange(2.0, 4000.0, 20.0)
    assert np.allclose(gle_kernel(nu, np.array([[0.01]])), langevin_kernel(nu, 100.0), rtol=1e-4)
    # coloured noise: still of unit area, narrower where the memory is slow
    drift = np.array([[2e-3, 0.1], [-0.1, 0.1]])
    wide = np.arange(2.0, 12000.0, 8.0)
    kernel = gle_kernel(wide, drift)
    assert kernel[:, 200].sum() * 8.0 == pytest.approx(1.0, abs=0.02)
    assert kernel[:, 440].max() > kernel[:, 60].max()
    # neither a temperature nor one of the auxiliary momentum changes it, but their correlation does
    for covariance in (3.0 * np.eye(2), np.diag([1.0, 4.0])):
        assert np.allclose(gle_kernel(wide, drift, covariance), kernel, atol=0.0)
    correlated = gle_kernel(wide, drift, np.array([[1.0, 0.5], [0.5, 2.0]]))
    assert correlated[:, 200].sum() * 8.0 == pytest.approx(1.0, abs=0.02)
    assert not np.allclose(correlated, kernel, rtol=0.1, atol=0.0)


def test_exact_line_shapes_are_undone():
    lines, areas = np.array([1386.6, 3589.7, 3669.3]), np.array([250.5, 133.7, 273.6])
    square = NU[:, None] ** 2
    gamma = 53.09
    y = (2 / np.pi) * gamma * square / ((square - lines**2) ** 2 + gamma**2 * square) @ areas
    spectrum = Spectrum(NU, y, "km/mol per cm⁻¹", "IR intensity")
    d = deconvolve(spectrum, langevin_kernel(NU, 100.0), iterations=1500, stop=1500)
    bands = d.spectrum.bands(threshold=0.05)
    assert len(bands) == 3
    assert np.allclose([b.position.value for b in bands], lines, atol=3.0)
    assert np.allclose([b.area.value for b in bands], areas, rtol=0.02)
    assert bands[0].width.value < 20.0
    assert np.all(np.diff(d.residual) <= 1e-9)
    assert "ISRA, 1500 iterations" in d.spectrum.history[-1]


def test_l_curve_stops_before_noise_grows():
    rng = np.random.default_rng(1)
    k = langevin_kernel(NU, 100.0)
    truth = 100.0 * np.exp(-0.5 * ((NU - 1500.0) / 30.0) ** 2)
    y = k @ truth * 6.0
    noisy = Spectrum(NU, y + 0.03 * y.max() * rng.normal(size=len(NU)), "1", "x")
    d = deconvolve(noisy, k, iterations=1000)
    assert 3 < d.iteration < 600

    def error(iteration):
        found = deconvolve(noisy, k, iterations=1000, stop=iteration).spectrum.values
        return np.linalg.norm(found - truth)

    assert error(d.iteration) < 0.8 * error(1000)
    assert error(d.iteration) < np.linalg.norm(y - truth)


@pytest.mark.slow
def test_langevin_water():
    rng = np.random.default_rng(2)
    harmonic = harmonic_analysis(
        water.EQUILIBRIUM, water.MASSES, water.hessian(), water.derivatives(water.dipole)
    )
    omega, spread = angular(harmonic.wavenumber), np.sqrt(BOLTZMANN * 20.0)
    r = water.EQUILIBRIUM + np.einsum(
        "rk,kia->ria", spread / omega * rng.normal(size=(128, 3)), harmonic.vectors
    )
    v = np.einsum("rk,kia->ria", spread * rng.normal(size=(128, 3)), harmonic.vectors)
    # BAOAB, 1/γ = 100 fs on all atoms
    step, decay = 0.5, np.exp(-0.5 / 100.0)
    kick = np.sqrt((1.0 - decay**2) * BOLTZMANN * 20.0 / water.MASSES)[:, None]
    acceleration = 1.0 / water.EV / water.MASSES[:, None]
    f, rates = water.forces(r), []
    for t in range(8000):
        v = v + 0.5 * step * acceleration * f
        r = r + 0.5 * step * v
        v = decay * v + kick * rng.normal(size=v.shape)
        r = r + 0.5 * step * v
        f = water.forces(r)
        v = v + 0.5 * step * acceleration * f
        if t % 2 == 0:
            rates.append(water.dipole(v))
    spectrum = infrared(
        derivative=np.stack(rates, 1),
        interval=1.0,
        temperature=20.0,
        timestep=0.5,
        unit="e*Å/fs",
        resolution=15.0,
        frequency_correction=True,
        n_samples=20,
        method="Langevin",
    ).interpolated(NU)
    assert any("thermostatted" in w for w in spectrum.warnings)
    assert spectrum.band(1100.0, 1700.0).width.value > 50.0
    sharp = deconvolve(spectrum, langevin_kernel(NU, 100.0), iterations=300, stop=150).spectrum
    bend = sharp.band(1100.0, 1700.0)
    assert bend.position.value == pytest.approx(1386.6, abs=5.0)
    assert bend.width.value < 40.0
    assert bend.area.value == pytest.approx(250.5, abs=4.0 * bend.area.error)
    stretches = sharp.integrate(3200.0, 4200.0)
    assert stretches.value == pytest.approx(407.3, abs=4.0 * stretches.error)
    assert 0.0 < bend.area.error < 10.0


def test_bad_input_is_refused():
    s = Spectrum(NU, np.ones(len(NU)), "1", "x")
    with refused(key="kernel", value=[3, 3]):
        deconvolve(s, np.ones((3, 3)))
    with refused(key="wavenumber"):
        deconvolve(Spectrum(NU**1.1, s.values, "1", "x"), langevin_kernel(NU, 100.0))
    with refused(key="time_constant", value=-1.0):
        langevin_kernel(NU, -1.0)
