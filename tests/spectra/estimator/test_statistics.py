# SPDX-License-Identifier: MIT
import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest

from eqcalc.spectra import Estimate, infrared, raman, replicas_needed
from eqcalc.spectra.estimator.correlation import spectral_density
from eqcalc.spectra.estimator.statistics import confidence_interval, sample_limits
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


@pytest.mark.slow
def test_coverage_over_replicas():
    rng = np.random.default_rng(1)
    inside = peak_inside = 0
    for _ in range(200):
        spectrum = infrared(thermal(24, 1202, rng), generator=rng, **KW)
        area = spectrum.integrate(600.0, 1400.0)
        low, high = area.interval(0.68)
        inside += low < UNIT_INTENSITY < high
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
        low, high = area.interval(0.68)
        inside += low < exact_area(a, 300.0) < high
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


def limits(value, error, level, n):
    return [float(x) for x in confidence_interval(np.array(value), np.array(error), level, n)]


def test_limits_of_values_that_scatter_little_are_those_of_student():
    assert limits(1000.0, 1.0, 0.95, 4) == pytest.approx([996.818, 1003.182], abs=0.03)
    assert limits(5.0, 1e-3, 0.6827, 10**6) == pytest.approx([4.999, 5.001], abs=2e-6)
    # around zero too: a difference of two spectra may have either sign
    assert limits(0.0, 1.0, 0.95, 4) == pytest.approx([-3.182, 3.182], abs=1e-3)
    assert limits(-0.1, 1.0, 0.95, 4) == pytest.approx([-3.282, 3.082], abs=1e-3)
    assert np.isnan(limits(3.0, float("nan"), 0.95, 8)).all()
    with pytest.raises(InvalidInputError) as caught:
        limits(1.0, 0.1, 95.0, 4)
    assert caught.value.value == 95.0


def test_limits_of_an_intensity_are_skewed_and_positive():
    low, high = limits(100.0, 30.0, 0.95, 8)
    assert 0.0 < low < 100.0 - 1.5 * 30.0
    assert high > 100.0 + 2.5 * 30.0
    # the side lobes of a lag window are negative
    assert limits(-100.0, 30.0, 0.95, 8) == pytest.approx([-high, -low])
    # for fewer degrees of freedom than n − 1 the limits are wider than those of Student's t
    assert np.log(high / low) > 2.0 * 2.365 * 0.30
    estimate = Estimate(100.0, 30.0, 8)
    assert estimate.interval() == pytest.approx((low, high))
    value, error = estimate
    assert (value, error) == (100.0, 30.0)
    assert pickle.loads(pickle.dumps(estimate)).interval() == estimate.interval()


#: What the values of the replicas may be: mode energies (one mode, three degenerate ones, the
#: two components of a squared thermal coordinate), nearly equal values, differences.
SCATTER = {
    "one mode": (1.0, lambda rng, n: rng.exponential(size=n)),
    "three modes": (1.0, lambda rng, n: rng.gamma(3.0, 1.0 / 3.0, size=n)),
    "a squared normal variable": (1.0, lambda rng, n: rng.chisquare(1.0, size=n)),
    "a liquid": (1.0, lambda rng, n: 1.0 + 0.2 * rng.normal(size=n)),
    "negative": (-1.0, lambda rng, n: -rng.exponential(size=n)),
    "differences": (0.0, lambda rng, n: rng.exponential(size=n) - rng.exponential(size=n)),
}


@pytest.mark.parametrize("n", [4, 8, 32, 128])
@pytest.mark.parametrize("kind", SCATTER)
def test_95_of_100_limits_contain_the_truth(kind, n):
    truth, draw = SCATTER[kind]
    values = draw(np.random.default_rng(5), (20_000, n))
    error = values.std(axis=1, ddof=1) / np.sqrt(n)
    low, high = confidence_interval(values.mean(axis=1), error, 0.95, n)
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.972


@pytest.mark.slow
@pytest.mark.parametrize("n_replicas", [8, 32])
def test_95_of_100_limits_of_every_kind_of_spectrum_contain_the_truth(n_replicas):
    """The short form of workflows/spectra/coverage.py; 60 × 3 bands are known to 1.6 %."""
    script = Path(__file__).parents[3] / "workflows" / "spectra" / "coverage.py"
    found = runpy.run_path(str(script))["coverage"](n_replicas, 60, seed=3)
    assert 0.93 <= np.mean(list(found.values())) <= 0.97
    assert all(fraction >= 0.88 for fraction in found.values()), found


def test_replicas_needed():
    assert replicas_needed(Estimate(100.0, 10.0), 0.05, 25) == 100
    with pytest.raises(InvalidInputError) as caught:
        replicas_needed(Estimate(100.0, float("nan")), 0.05, 25)
    assert caught.value.key == "estimate"


def test_limits_of_few_samples_contain_the_next_one():
    """Of any distribution; the standard error of the share is 0.15 %."""
    rng = np.random.default_rng(3)
    for n, level in ((100, 0.95), (39, 0.95), (19, 0.9)):
        drawn = rng.exponential(size=(20000, n + 1))
        limits = np.array([sample_limits(row[1:], level) for row in drawn])
        inside = (limits[:, 0] <= drawn[:, 0]) & (drawn[:, 0] <= limits[:, 1])
        assert inside.mean() == pytest.approx(level, abs=0.006)
