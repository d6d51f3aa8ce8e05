# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import Estimate, infrared, raman, replicas_needed
from eqcalc.spectra.estimator.correlation import spectral_density
from eqcalc.spectra.estimator.statistics import confidence_factor
from eqcalc.validation import InvalidInputError
from tests.spectra.oscillators import BOLTZMANN, angular

UNIT_INTENSITY = 974.880110


def thermal(n_replicas, n_frames, rng, wavenumbers=(1000.0,)):
    """Return dipoles of isotropic oscillators drawn from the canonical ensemble at 300 K."""
    t = 1.0 * np.arange(n_frames)
    x = np.zeros((n_replicas, n_frames, 3))
    for nu in wavenumbers:
        omega = angular(nu)
        a, b = rng.normal(size=(2, n_replicas, 1, 3)) * np.sqrt(BOLTZMANN * 300.0 / 3.0) / omega
        x += a * np.cos(omega * t)[:, None] + b * np.sin(omega * t)[:, None]
    return x


KW = {"interval": 1.0, "temperature": 300.0, "unit": "e*Å", "lag": 400.0}


def test_coverage_over_replicas():
    rng = np.random.default_rng(1)
    inside = peak_inside = 0
    for _ in range(200):
        spectrum = infrared(thermal(24, 1202, rng), generator=rng, **KW)
        area = spectrum.integrate(600.0, 1400.0)
        inside += abs(area.value - UNIT_INTENSITY) < confidence_factor(0.68, 24) * area.error
        low, high = spectrum.confidence_band(0.68)
        i = np.argmin(np.abs(spectrum.wavenumber - 1000.0))
        # Hann kernel at its centre: half the lag, both signs
        exact = UNIT_INTENSITY * 2.99792458e-5 * 400.0
        peak_inside += low[i] < exact < high[i]
    assert 0.60 <= inside / 200 <= 0.76
    assert 0.60 <= peak_inside / 200 <= 0.76


def test_coverage_over_blocks_of_one_run():
    # one long run of an overdamped dipole, whose correlation is short
    rng = np.random.default_rng(2)
    n, a = 20000, np.exp(-1.0 / 20.0)
    noise = rng.normal(size=(150, n, 3))
    from scipy.signal import lfilter

    rates = lfilter([np.sqrt(1.0 - a * a)], [1.0, -a], noise, axis=1)[:, 500:]
    inside = 0
    options = {**KW, "unit": "e*Å/fs", "lag": 200.0}
    for rate in rates:
        spectrum = infrared(derivative=rate, generator=rng, **options)
        assert spectrum.n_independent == 40
        area = spectrum.integrate(0.0, 300.0)
        exact = exact_area(a, 300.0)
        inside += abs(area.value - exact) < confidence_factor(0.68, 40) * area.error
    assert 0.60 <= inside / 150 <= 0.76


def exact_area(a, upper):
    """Return the integral of the windowed spectrum of an autoregressive rate."""
    nu, s = spectral_density(3.0 * a ** np.arange(200), 1.0, 300.0)
    fine = np.linspace(0.0, upper, 4001)
    return np.trapezoid(np.interp(fine, nu, s), fine) * UNIT_INTENSITY


def test_error_falls_with_the_square_root_of_the_replicas():
    rng = np.random.default_rng(3)
    errors = []
    for n in (16, 64, 256):
        area = infrared(thermal(n, 1002, rng), generator=rng, **KW).integrate(600.0, 1400.0)
        errors.append(area.error / UNIT_INTENSITY * np.sqrt(n))
    # energies of three modes per replica: relative scatter 1/√3
    assert np.allclose(errors, 1.0 / np.sqrt(3.0), rtol=0.35)


def test_the_generator_decides():
    x = thermal(8, 1002, np.random.default_rng(4))
    a, b = infrared(x, **KW), infrared(x, **KW)
    assert np.array_equal(a.samples, b.samples)
    c = infrared(x, generator=np.random.default_rng(5), **KW)
    assert np.array_equal(a.values, c.values)
    assert not np.array_equal(a.samples, c.samples)
    none = infrared(x, errors="none", **KW)
    assert none.standard_error is None
    assert np.allclose(none.values, a.values, rtol=1e-12)


def test_depolarization_error_uses_common_samples():
    # all replicas have the same ratio, whatever their energy
    rng = np.random.default_rng(6)
    energy = rng.exponential(size=(16, 1))
    x = np.sqrt(energy) * np.cos(angular(1000.0) * np.arange(2000) + rng.random((16, 1)) * 6.0)
    tensor = x[..., None, None] * np.diag([1.0, 1.0, 3.0]) * 1e-2
    spectrum = raman(tensor, interval=1.0, temperature=300.0, unit="Å^3", lag=400.0)
    rho = spectrum.depolarization_ratio()
    i = np.argmin(np.abs(rho.wavenumber - 1000.0))
    assert spectrum.isotropic.standard_error[i] > 0.1 * spectrum.isotropic.values[i]
    assert rho.standard_error[i] < 1e-10
    assert rho.values[i] == pytest.approx(12.0 / 141.0, abs=1e-10)


def test_confidence_factor_of_few_replicas():
    assert confidence_factor(0.95, 4) == pytest.approx(3.182, abs=1e-3)
    assert confidence_factor(0.6827, 10**6) == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(InvalidInputError) as caught:
        confidence_factor(95.0, 4)
    assert caught.value.value == 95.0


def test_replicas_needed():
    assert replicas_needed(Estimate(100.0, 10.0), 0.05, 25) == 100
    with pytest.raises(InvalidInputError) as caught:
        replicas_needed(Estimate(100.0, float("nan")), 0.05, 25)
    assert caught.value.key == "estimate"
