# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import Window, infrared, register_window
from eqcalc.spectra.estimator.windows import WINDOWS, lag_window
from eqcalc.validation import InvalidInputError
from tests.spectra.oscillators import oscillator, vector


@pytest.mark.parametrize(
    ("name", "width", "lobe", "energy"),
    [
        ("rectangular", 0.603, -0.217, 2.0),
        ("hann", 1.000, -0.027, 0.750),
        ("hamming", 0.908, -0.007, 0.795),
        ("blackman", 1.149, -0.001, 0.609),
        ("bartlett", 0.886, 0.0, 0.667),
        ("parzen", 1.276, 0.0, 0.539),
        ("gaussian", 1.130, -0.001, 0.591),
    ],
)
def test_windows(name, width, lobe, energy):
    w = lag_window(name, 4000)
    assert w[0] == 1.0
    assert 2.0 * np.mean(w**2) == pytest.approx(energy, abs=2e-3)
    f = np.linspace(0.0, 8.0, 3201)
    kernel = np.cos(2.0 * np.pi * np.outer(f, np.arange(4000) / 4000)) @ w
    kernel = 2.0 * kernel - 1.0  # even in time, lag zero once
    kernel /= kernel[0]
    half = np.interp(-0.5, -kernel[:800], f[:800]) if name != "rectangular" else 0.3017
    assert WINDOWS[name].width == pytest.approx(width, abs=1e-3)
    assert 2.0 * half == pytest.approx(width, abs=2e-3)
    assert kernel.min() == pytest.approx(lobe, abs=1.1e-3)
    # the width computed from the function is that of the literature
    assert Window(name, WINDOWS[name].function).width == pytest.approx(
        WINDOWS[name].width, rel=1e-5
    )


def test_the_width_of_a_line():
    # the width in cm⁻¹ times the lag in fs is that of the window over c
    assert WINDOWS["hann"].full_width(2048.0) == pytest.approx(16.287, rel=1e-4)


def test_a_window_of_ones_own(monkeypatch):
    monkeypatch.setattr("eqcalc.spectra.estimator.windows.WINDOWS", dict(WINDOWS))
    register_window(Window("riesz", lambda s: 1.0 - s**2))
    x = vector(oscillator(1000.0))
    options = {"interval": 0.5, "temperature": 300.0, "unit": "e*Å"}
    spectrum = infrared(x, window="riesz", resolution=20.0, **options)
    assert spectrum.provenance["window"] == "riesz"
    # neither area nor width of a line depend on the window
    assert spectrum.integrate(500.0, 1500.0).value == pytest.approx(974.880110, rel=2e-3)
    assert spectrum.band(950.0, 1050.0).width.value == pytest.approx(20.0, rel=0.01)
    with pytest.raises(InvalidInputError) as caught:
        register_window(Window("riesz", lambda s: 1.0 - s))
    assert caught.value.value == "riesz"


def test_windows_that_are_none():
    with pytest.raises(InvalidInputError) as caught:
        Window("half", lambda s: 0.5 * (1.0 - s))
    assert caught.value.value == 0.5
    with pytest.raises(InvalidInputError) as caught:
        infrared(np.ones((1, 9, 3)), interval=1.0, temperature=1.0, unit="D", window="han")
    assert (caught.value.key, caught.value.suggestion) == ("window", "hann")
