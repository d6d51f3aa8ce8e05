# SPDX-License-Identifier: MIT
"""Bands beside modes, on spectra whose bands are known."""

import numpy as np
import pytest

from eqcalc.normal_modes import NotAMinimumError
from eqcalc.spectra.assignment.bands import group_modes
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.units import angular_frequency_to_wavenumber
from tests.workflows import module

script = module("ethanol/low_temperature.py")


@pytest.fixture
def harmonic():
    wavenumber = np.array([400.0, 1000.0, 1020.0, 3000.0])
    derivative = np.zeros((4, 3))
    derivative[:, 0] = [0.1, 0.3, 0.2, 0.4]
    return HarmonicSpectrum(
        positions=np.zeros((2, 3)),
        masses=np.ones(2),
        eigenvalues=(wavenumber / angular_frequency_to_wavenumber(1.0)) ** 2,
        vectors=np.ones((4, 2, 3)),
        rigid=np.zeros((6, 2, 3)),
        residual=np.zeros(6),
        dipole_derivative=derivative,
    )


def test_close_modes_are_grouped(harmonic):
    assert group_modes(harmonic.wavenumber, 30.0) == [[0], [1, 2], [3]]
    assert group_modes(harmonic.wavenumber, 10.0) == [[0], [1], [2], [3]]
    assert group_modes(harmonic.wavenumber, 5000.0) == [[0, 1, 2, 3]]


def test_a_broadened_harmonic_spectrum_agrees_with_its_modes(harmonic):
    spectrum = harmonic.infrared(fwhm=5.0, shape="gaussian")
    rows = script.compare_with_modes(
        spectrum, harmonic, harmonic.infrared_intensity, separation=30.0
    )
    for row in rows:
        assert row.ratio == pytest.approx(1.0, abs=2e-3)
        assert abs(row.shift) < 0.1
    assert rows[1].harmonic_position == pytest.approx((1000 * 9 + 1020 * 4) / 13)


def test_a_shifted_and_scaled_band_is_seen(harmonic):
    spectrum = harmonic.infrared(fwhm=5.0, shape="gaussian")
    moved = type(spectrum)(
        spectrum.wavenumber + 7.0, 1.1 * spectrum.values, spectrum.unit, spectrum.label
    )
    rows = script.compare_with_modes(moved, harmonic, harmonic.infrared_intensity, separation=30.0)
    for row in rows:
        assert row.shift == pytest.approx(7.0, abs=0.1)
        assert row.ratio == pytest.approx(1.1, abs=3e-3)
    assert "2–3" in script.comparison_table(rows, "km/mol")


def test_a_saddle_point_is_refused(harmonic):
    spectrum = harmonic.infrared(fwhm=5.0, shape="gaussian")
    harmonic.eigenvalues[0] *= -1.0
    with pytest.raises(NotAMinimumError) as caught:
        script.compare_with_modes(spectrum, harmonic, harmonic.infrared_intensity, separation=30.0)
    assert len(caught.value.wavenumber) == 1
