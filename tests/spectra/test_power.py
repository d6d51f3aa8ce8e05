# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import cross_spectrum, power_spectrum
from eqcalc.validation import InvalidInputError
from tests.spectra.oscillators import oscillator


def test_the_integral_is_the_variance():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 3000, 2)) + 1e3
    s = power_spectrum(x, interval=0.5, unit="Å", lag=50.0)
    centred = x - x.mean((0, 1))
    assert s.integrate().value == pytest.approx(np.mean(np.sum(centred**2, -1)), rel=1e-9)
    assert s.unit == "(Å)² per cm⁻¹"
    raw = power_spectrum(x, interval=0.5, unit="Å", lag=50.0, remove_mean=False)
    assert raw.integrate().value == pytest.approx(np.mean(np.sum(x**2, -1)), rel=1e-9)


def test_a_bond_vibrates_at_its_wavenumber():
    x = 1.09 + oscillator(3000.0, n_frames=8000)
    s = power_spectrum(list(x), interval=0.5, unit="Å", lag=1000.0)
    band = s.band(2800.0, 3200.0)
    assert band.position.value == pytest.approx(3000.0, abs=0.5)
    assert band.area.value == pytest.approx(np.mean((x - 1.09) ** 2), rel=1e-2)
    with pytest.raises(InvalidInputError) as caught:
        power_spectrum(x, interval=0.0, unit="Å")
    assert caught.value.key == "interval"


def test_cross_spectra_complete_the_power_spectrum_of_a_sum():
    rng = np.random.default_rng(2)
    x = [rng.normal(size=(n, 3)).cumsum(0) for n in (900, 1200)]
    y = [rng.normal(size=a.shape) for a in x]
    kw = {"interval": 0.5, "unit": "Å", "lag": 60.0}
    both = power_spectrum([a + b for a, b in zip(x, y, strict=True)], **kw).values
    cross = cross_spectrum(x, y, **kw)
    parts = power_spectrum(x, **kw).values + power_spectrum(y, **kw).values + 2.0 * cross.values
    assert np.allclose(parts, both, rtol=0.0, atol=1e-12 * both.max())
    assert np.array_equal(cross.values, cross_spectrum(y, x, **kw).values)
    same = cross_spectrum(x, x, **kw).values
    assert np.allclose(same, power_spectrum(x, **kw).values, rtol=0.0, atol=1e-12 * both.max())
    with pytest.raises(InvalidInputError) as caught:
        cross_spectrum(x, y[::-1], **kw)
    assert caught.value.key == "second"


def test_motions_against_each_other_have_a_negative_cross_spectrum():
    slow, fast = oscillator(800.0, n_frames=8000), oscillator(2400.0, n_frames=8000)
    s = cross_spectrum(slow + fast, slow - fast, interval=0.5, unit="Å²", lag=1000.0)
    assert s.integrate(600, 1000).value == pytest.approx(np.mean(slow**2), rel=2e-2)
    assert s.integrate(2200, 2600).value == pytest.approx(-np.mean(fast**2), rel=2e-2)
