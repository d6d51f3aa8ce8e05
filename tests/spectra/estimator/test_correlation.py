# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra.estimation import grouped
from eqcalc.spectra.estimator import correlation
from eqcalc.spectra.estimator.correlation import (
    LagSums,
    Signal,
    differentiate,
    lag_sums,
    spectral_density,
    transfer_function,
)
from eqcalc.spectra.estimator.windows import WINDOWS
from eqcalc.validation import InvalidInputError
from tests.spectra.oscillators import C, angular


def autocorrelation(values, n_lags):
    """Return the mean over replicas ``[n_replicas, n_frames, ...]``."""
    parts = [lag_sums(Signal.from_array(replica), n_lags) for replica in values]
    return LagSums.joined(parts).correlation()[0]


def direct(x, n_lags):
    return np.array([(x[: len(x) - k] * x[k:]).sum(-1).mean() for k in range(n_lags)])


def test_autocorrelation_is_the_direct_sum():
    x = np.random.default_rng(1).normal(size=(257, 3))
    assert np.allclose(autocorrelation(x[None], 257), direct(x, 257), rtol=0.0, atol=1e-12)


def test_replicas_of_different_length_weigh_by_the_number_of_their_pairs():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(50, 2)), rng.normal(size=(90, 2))
    sums = LagSums.joined([lag_sums(Signal.from_array(part), 20) for part in (a, b)])
    expected = [
        ((a[: 50 - k] * a[k:]).sum() + (b[: 90 - k] * b[k:]).sum()) / (140 - 2 * k)
        for k in range(20)
    ]
    assert np.allclose(sums.correlation()[0], expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("n_blocks", [1, 3, 7])
def test_pieces_and_blocks_add_up(monkeypatch, n_blocks):
    # pieces much shorter than the series, and one lag window longer than a block
    monkeypatch.setattr(correlation, "_PIECE_SIZE", 64)
    x = np.random.default_rng(3).normal(size=(1000, 3))
    sums = lag_sums(Signal.from_array(x), 180, grouped(slice(0, 1), slice(1, 3)), n_blocks)
    assert sums.n_parts == n_blocks
    expected = [direct(x[:, :1], 180), direct(x[:, 1:], 180)]
    assert np.allclose(sums.correlation(), expected, rtol=0.0, atol=1e-12)


def test_cross_correlation_is_the_direct_sum_of_both_orders(monkeypatch):
    monkeypatch.setattr(correlation, "_PIECE_SIZE", 64)
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 400, 3))
    both = Signal.from_array(np.concatenate([x, y], axis=1))
    sums = lag_sums(both, 30, [(slice(0, 3), slice(3, 6))], 2)
    expected = [
        0.5 * ((x[: 400 - k] * y[k:]).sum() + (y[: 400 - k] * x[k:]).sum()) / (400 - k)
        for k in range(30)
    ]
    assert np.allclose(sums.correlation()[0], expected, rtol=0.0, atol=1e-12)


def test_no_circular_bias():
    # C(k) = a^k; a circular correlation would mix in C(N − k)
    rng, a, n = np.random.default_rng(5), 0.9975, 400
    noise = rng.normal(size=(20000, n)) * np.sqrt(1.0 - a * a)
    x = np.empty_like(noise)
    x[:, 0] = rng.normal(size=20000)
    for t in range(1, n):
        x[:, t] = a * x[:, t - 1] + noise[:, t]
    found = autocorrelation(x[:, :, None], 101)
    assert found[100] == pytest.approx(a**100, abs=0.01)  # circular: 0.70, exact: 0.779


def test_time_reversal_and_order_of_replicas_do_not_matter():
    x = np.random.default_rng(6).normal(size=(3, 200, 3))
    c = autocorrelation(x, 50)
    assert np.allclose(autocorrelation(x[:, ::-1], 50), c, rtol=0.0, atol=1e-12)
    assert np.allclose(autocorrelation(x[::-1], 50), c, rtol=0.0, atol=1e-12)


def test_trapezoid_integral_is_the_value_at_lag_zero():
    prefactor = 72.1134900  # 2c/k_B in amu, Å, fs, K
    rng = np.random.default_rng(7)
    for name in WINDOWS:
        c = autocorrelation(rng.normal(size=(1, 3000, 3)), 333)
        nu, s = spectral_density(c, 0.7, 250.0, name, padding=3)
        assert np.trapezoid(s, nu) == pytest.approx(prefactor * c[0] / (2 * C * 250.0), rel=1e-8)
        assert nu[-1] == pytest.approx(16678.2 / 0.7, rel=1e-5)


def test_negative_lobes_are_kept():
    # a modulus would turn noise and the lobes of the window into a pedestal
    c = np.cos(0.5 * np.arange(400))
    _, s = spectral_density(c, 1.0, 300.0, "rectangular", padding=8)
    assert s.min() / s.max() == pytest.approx(-0.217, abs=0.01)
    noise = autocorrelation(np.random.default_rng(9).normal(size=(1, 5000, 1)), 1000)
    _, flat = spectral_density(noise - np.eye(1, 1000)[0] * noise[0], 1.0, 300.0)
    assert abs(flat.mean()) < 0.02 * flat.std()


def test_white_noise_is_flat():
    x = np.random.default_rng(8).normal(size=(64, 4096, 1))
    _, s = spectral_density(autocorrelation(x, 64), 1.0, 1.0)
    scatter = s[1:-1].std() / s.mean()
    # rel. variance = ∫w²/(n_c T): 0.75·64/(64·4096)
    assert scatter == pytest.approx(np.sqrt(0.75 * 64 / (64 * 4096)), rel=0.5)
    assert s.mean() == pytest.approx(72.1134900, rel=0.02)


@pytest.mark.parametrize(
    ("interval", "wavenumber", "expected"),
    [
        (0.25, 3700.0, 0.9899),
        (0.5, 1600.0, 0.9925),
        (0.5, 3000.0, 0.9737),
        (0.5, 3700.0, 0.9602),
        (1.0, 3700.0, 0.8482),
        (2.0, 3700.0, 0.4987),
    ],
)
def test_transfer_of_the_central_difference(interval, wavenumber, expected):
    assert transfer_function(wavenumber, interval) == pytest.approx(expected, abs=6e-5)
    omega, t = angular(wavenumber), interval * np.arange(20000)
    signal = differentiate(Signal.from_array(np.cos(omega * t)), interval)
    velocity = signal.read(0, signal.n_frames)
    assert np.mean(velocity**2) / (0.5 * omega**2) == pytest.approx(expected, abs=3e-4)


def test_thinned_verlet_velocities_are_recovered():
    # a Verlet velocity is a central difference over one step
    step, every, omega = 0.5, 4, angular(3000.0)
    t = step * np.arange(80000)
    verlet = (np.cos(omega * (t + step)) - np.cos(omega * (t - step))) / (2.0 * step)
    thinned = differentiate(Signal.from_array(np.cos(omega * t[::every])), step * every)
    ratio = np.mean(thinned.read(0, thinned.n_frames) ** 2) / np.mean(verlet**2)
    assert transfer_function(3000.0, step * every, step) == pytest.approx(ratio, rel=1e-4)


def test_too_many_lags_are_refused():
    with pytest.raises(InvalidInputError) as caught:
        autocorrelation(np.ones((1, 10, 3)), 11)
    assert (caught.value.key, caught.value.value) == ("n_lags", 11)
