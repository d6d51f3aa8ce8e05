# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import power_spectrum
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
    with pytest.raises(ValueError, match="interval"):
        power_spectrum(x, interval=0.0, unit="Å")
