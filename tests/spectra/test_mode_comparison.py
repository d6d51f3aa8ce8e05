# SPDX-License-Identifier: MIT
"""Bands beside modes, on spectra whose bands are known."""

import numpy as np
import pytest

from eqcalc.spectra.assignment.mode_comparison import (
    compare_with_modes,
    comparison_table,
    group_modes,
)
from eqcalc.spectra.harmonic import HarmonicSpectrum


@pytest.fixture
def harmonic():
    wavenumber = np.array([400.0, 1000.0, 1020.0, 3000.0])
    derivative = np.zeros((4, 3))
    derivative[:, 0] = [0.1, 0.3, 0.2, 0.4]
    return HarmonicSpectrum(
        wavenumber, np.ones((4, 2, 3)), np.ones(2), np.zeros((2, 3)), derivative, None, np.zeros(6)
    )


def test_close_modes_are_grouped(harmonic):
    assert group_modes(harmonic.wavenumber, 30.0) == [(0,), (1, 2), (3,)]
    assert group_modes(harmonic.wavenumber, 10.0) == [(0,), (1,), (2,), (3,)]
    assert group_modes(harmonic.wavenumber, 5000.0) == [(0, 1, 2, 3)]


def test_a_broadened_harmonic_spectrum_agrees_with_its_modes(harmonic):
    spectrum = harmonic.infrared(fwhm=5.0, shape="gaussian")
    rows = compare_with_modes(spectrum, harmonic, harmonic.infrared_intensity, separation=30.0)
    for row in rows:
        assert row.ratio == pytest.approx(1.0, abs=2e-3)
        assert abs(row.shift) < 0.1
    assert rows[1].harmonic_position == pytest.approx((1000 * 9 + 1020 * 4) / 13)


def test_a_shifted_and_scaled_band_is_seen(harmonic):
    spectrum = harmonic.infrared(fwhm=5.0, shape="gaussian")
    moved = type(spectrum)(
        spectrum.wavenumber + 7.0, 1.1 * spectrum.values, spectrum.unit, spectrum.label
    )
    rows = compare_with_modes(moved, harmonic, harmonic.infrared_intensity, separation=30.0)
    for row in rows:
        assert row.shift == pytest.approx(7.0, abs=0.1)
        assert row.ratio == pytest.approx(1.1, abs=3e-3)
    assert "2–3" in comparison_table(rows, "km/mol")


def test_a_saddle_point_is_refused(harmonic):
    spectrum = harmonic.infrared(fwhm=5.0, shape="gaussian")
    harmonic.wavenumber[0] = -100.0
    with pytest.raises(ValueError, match="imaginary"):
        compare_with_modes(spectrum, harmonic, harmonic.infrared_intensity, separation=30.0)
