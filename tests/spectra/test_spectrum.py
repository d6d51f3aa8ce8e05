# SPDX-License-Identifier: MIT

import numpy as np
import pytest

from eqcalc.spectra import Spectrum, infrared, read_spectrum, unresolved_notes, write_spectrum
from eqcalc.spectra.estimator.statistics import Estimate
from tests.errors import refused
from tests.spectra.oscillators import oscillator, vector


def lorentzians(n_samples=0):
    nu = np.arange(0.0, 3000.0, 0.5)
    lines = np.array(
        [
            a * (w / 2 / np.pi) / ((nu - c) ** 2 + w**2 / 4)
            for c, w, a in ((700.0, 10.0, 50.0), (1500.0, 20.0, 200.0), (1600.0, 20.0, 100.0))
        ]
    )
    samples = None
    if n_samples:
        weights = 1.0 + 0.1 * np.random.default_rng(1).normal(size=(n_samples, 3))
        samples = weights @ lines
    return Spectrum(
        nu, lines.sum(0), "km/mol per cm⁻¹", "IR intensity", samples=samples, n_independent=20
    )


def test_integral_with_limits_between_grid_points():
    s = Spectrum(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 6.0]), "1", "2ν")
    assert s.integrate().value == pytest.approx(9.0)
    assert s.integrate(0.5, 2.25).value == pytest.approx(2.25**2 - 0.25)
    assert s.integrate(1.2, 1.3).value == pytest.approx(1.3**2 - 1.2**2)
    parts = [s.integrate(a, a + 0.3).value for a in np.arange(0.0, 2.9, 0.3)]
    assert sum(parts) == pytest.approx(9.0)
    with refused(value=(1.0, 4.0)):
        s.integrate(1.0, 4.0)


def test_bands_of_lorentzians():
    bands = lorentzians(400).bands()
    assert [round(b.position.value) for b in bands] == [700, 1500, 1600]
    assert bands[0].width.value == pytest.approx(10.0, abs=0.2)
    assert bands[0].area.value == pytest.approx(50.0, rel=0.05)
    assert bands[0].area.error == pytest.approx(0.1 * bands[0].area.value, rel=0.15)
    assert bands[1].area.value + bands[2].area.value == pytest.approx(300.0, rel=0.05)
    assert bands[0].position.error < 0.05


def test_maxima_within_their_errors_are_told():
    nu = np.arange(0.0, 4000.0, 2.0)
    # height, and relative error; the last one is too low for a band in any case
    heights = {1000.0: (1.0, 0.1), 2000.0: (0.3, 0.6), 3000.0: (0.2, 1.5), 3500.0: (0.005, 1.0)}
    lines = {c: h * np.exp(-0.5 * ((nu - c) / 20.0) ** 2) for c, (h, _) in heights.items()}
    error = sum(heights[c][1] * line for c, line in lines.items())
    spectrum = Spectrum(nu, sum(lines.values()), "1", "x", standard_error=error)
    assert [round(b.position.value) for b in spectrum.bands()] == [1000]
    ((second, rise), (third, less)) = spectrum.unresolved()
    assert (second, third) == (2000.0, 3000.0)
    assert rise == pytest.approx(1.0 / 0.6, rel=1e-3)
    assert less == pytest.approx(1.0 / 1.5, rel=1e-3)
    assert spectrum.unresolved(upper=2500.0) == [(second, rise)]
    (note,) = unresolved_notes(spectrum)
    assert "maxima at 2000 (1.6 σ), 3000 (0.6 σ) cm⁻¹" in note
    assert not unresolved_notes(Spectrum(nu, spectrum.values, "1", "x"))


def test_the_top_of_a_band_is_resolved():
    # two maxima without a clear valley; the lower one alone rises above its error
    nu = np.arange(0.0, 2000.0, 2.0)
    high, low = (np.exp(-0.5 * ((nu - c) / 20.0) ** 2) for c in (1000.0, 1100.0))
    error = 0.6 * high + 0.1 * low
    spectrum = Spectrum(nu, high + 0.8 * low, "1", "x", standard_error=error)
    (band,) = spectrum.bands()
    assert band.position.value == pytest.approx(1000.0, abs=1.0)
    assert spectrum.unresolved() == []


def test_bands_end_before_the_noise():
    # a band on a pedestal of two hundredths of its height
    nu = np.arange(0.0, 6000.0, 2.0)
    y = np.exp(-0.5 * ((nu - 2000.0) / 20.0) ** 2) + 0.02
    (band,) = Spectrum(nu, y, "1", "x").bands()
    half_width = 20.0 * np.sqrt(2.0 * np.log(2.0))
    assert band.upper - 2000.0 == pytest.approx(20.0 * half_width, abs=45.0)
    assert 2000.0 - band.lower == pytest.approx(band.upper - 2000.0, abs=4.0)


def test_arithmetic_keeps_errors():
    s = lorentzians(300)
    double = 2.0 * s
    assert np.allclose(double.standard_error, 2.0 * s.standard_error)
    assert np.allclose((s + s).standard_error, double.standard_error)
    assert np.allclose((s - s).standard_error, 0.0, atol=1e-12)
    assert (s / 4.0).integrate(600, 800).error == pytest.approx(s.integrate(600, 800).error / 4)
    assert "multiplied by 2" in double.history
    with refused(key="unit", value="cm²", expected="'km/mol per cm⁻¹'"):
        s + s.scaled(1.0, unit="cm²")
    with refused(key="wavenumber"):
        s + s.between(100.0, 900.0)


def test_errors_without_samples_are_the_largest_possible(tmp_path):
    s = lorentzians(300)
    bare = read_spectrum(write_spectrum(s, tmp_path / "s.csv"))
    assert bare.samples is None
    known, limit = s.integrate(600, 800), bare.integrate(600, 800)
    # one band scales as a whole: its points are fully correlated and the limit is reached
    assert limit.value == known.value
    assert limit.error == pytest.approx(known.error, rel=0.02)
    whole = s.integrate()
    assert whole.error < bare.integrate().error < 3.0 * whole.error
    assert np.allclose((bare + bare).standard_error, (s + s).standard_error)
    assert np.all((bare - bare).standard_error >= (s - s).standard_error)
    errorless = bare.between()
    assert (errorless + lorentzians()).standard_error is None


def test_confidence_band_needs_errors():
    with refused(key="IR intensity"):
        lorentzians().confidence_band()
    low, high = lorentzians(100).confidence_band(0.9)
    assert np.all(low <= high)


def test_shapes_are_checked():
    nu = np.arange(5.0)
    with refused(key="wavenumber"):
        Spectrum(nu[::-1], nu, "1", "x")
    with refused(key="values", value=[4]):
        Spectrum(nu, nu[:4], "1", "x")
    with refused(key="samples", value=[3, 4]):
        Spectrum(nu, nu, "1", "x", samples=np.ones((3, 4)))


def test_interpolation_and_range():
    s = lorentzians(20)
    part = s.between(600.0, 800.0)
    assert part.integrate().value == pytest.approx(s.integrate(600.0, 800.0).value, rel=1e-9)
    finer = part.interpolated(np.arange(600.0, 800.0, 0.1))
    assert finer.integrate(650, 750).value == pytest.approx(
        part.integrate(650, 750).value, rel=1e-9
    )
    assert len(finer.samples) == 20
    with refused(key="wavenumber", value=(0.0, 9.0)):
        part.interpolated(np.arange(0.0, 10.0))
    with refused(key="limits", value=(1e5, None)):
        s.between(1e5)


@pytest.mark.parametrize("wavenumber", [1490.0, 1500.0, 1503.7])
def test_the_flat_top_of_multitaper_lines(wavenumber):
    # the maximum is anywhere on the top, the middle at half height is not
    x = vector(oscillator(wavenumber, interval=1.0, n_frames=20_000))
    spectrum = infrared(
        x, interval=1.0, temperature=300.0, unit="e*Å", estimator="multitaper", resolution=20.0
    )
    band = spectrum.band(wavenumber - 100.0, wavenumber + 100.0)
    assert band.position.value == pytest.approx(wavenumber, abs=0.1)
    assert band.width.value == pytest.approx(20.0, rel=0.02)
    assert spectrum.provenance["resolution_cm-1"] == pytest.approx(20.0, rel=0.01)


def test_what_is_shown(spectrum):
    text = repr(spectrum)
    for part in ("IR intensity [km/mol per cm⁻¹]", "Langevin", "300 K", "6 replicas"):
        assert part in text
        assert part in spectrum._repr_html_()
    assert spectrum._repr_html_().startswith("<table>")


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1234.567, 2.345, "1234.6 ± 2.3"),
        (1234.567, 234.5, "1235 ± 234"),
        (-0.012, 0.00345, "-0.0120 ± 0.0034"),
        (1.2345e-30, 2.5e-32, "(1.234 ± 0.025)e-30"),
        (12.5, float("nan"), "12.5"),
    ],
)
def test_estimates_are_shown_with_two_digits_of_their_error(value, error, text):
    estimate = Estimate(value, error)
    assert str(estimate) == text
    assert repr(estimate) == f"Estimate({text})"
