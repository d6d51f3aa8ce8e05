# SPDX-License-Identifier: MIT
from pathlib import Path

import numpy as np
import pytest

from eqcalc.spectra import dielectric, infrared, unwrap_dipole
from eqcalc.spectra.dielectric_response import kramers_kronig
from eqcalc.spectra.series_checks import BrokenSeriesError
from eqcalc.validation import InvalidInputError
from tests.errors import refused
from tests.spectra.oscillators import BOLTZMANN, angular, oscillator, vector
from tests.spectra.test_infrared_absorption import langevin

WATER = Path(__file__).parents[2] / "data/experiment/water-refractive-index.txt"
#: 1/(3ε₀k_B) of ⟨M²⟩/(VT) = 1 e² Å⁻¹ K⁻¹
FLUCTUATION = (1.602176634e-19**2 * 1e10) / (3 * 8.8541878128e-12 * 1.380649e-23)


def test_kramers_kronig_of_a_damped_oscillator():
    nu = np.concatenate([np.arange(0.0, 4000.0, 4.0), np.geomspace(4000.0, 4e6, 400)])
    response = 1.0 / (1500.0**2 - nu**2 - 1j * 60.0 * nu)
    found = kramers_kronig(nu, response.imag)
    shown = nu < 3000.0
    assert np.allclose(found[shown], response.real[shown], atol=5e-3 * np.abs(response).max())


def test_kramers_kronig_of_a_plateau_and_of_a_ramp():
    """ε'' = c between a and b gives (c/π) ln|(b² − ν²)/(a² − ν²)|, a triangle its logarithms."""
    a, m, b, edge = 700.0, 900.0, 1600.0, 1e-5
    nu = np.sort(np.r_[0.0, 250.0, 1111.0, 2900.0, a - edge, a, m, b, b + edge])
    shown = ~np.isin(nu, (a - edge, a, b, b + edge))
    inside = (nu >= a) & (nu <= b)
    exact = 0.3 / np.pi * np.log(np.abs((b**2 - nu[shown] ** 2) / (a**2 - nu[shown] ** 2)))
    assert np.allclose(kramers_kronig(nu, 0.3 * inside)[shown], exact, rtol=0.0, atol=1e-7)

    def integral(s):  # of the triangle over x − s
        left, right = ((x - s) * np.log(np.abs((x - s) / (m - s))) for x in (a, b))
        return left / (m - a) + right / (b - m)

    nodes = np.r_[0.0, 250.0, a, m, b, 2900.0]
    triangle = np.where(nodes == m, 1.0, 0.0)
    away = ~np.isin(nodes, (a, m, b))
    exact = (integral(nodes[away]) + integral(-nodes[away])) / np.pi
    assert np.allclose(kramers_kronig(nodes, triangle)[away], exact, rtol=0.0, atol=1e-12)


def test_kramers_kronig_of_a_relaxation():
    """Debye: ε'' = Δ ντ/(1 + ν²τ²) and ε' − ε∞ = Δ/(1 + ν²τ²)."""
    x = np.concatenate([[0.0], np.geomspace(1e-3, 1e5, 1500)])  # ντ
    found = kramers_kronig(50.0 * x, 70.0 * x / (1.0 + x**2))
    shown = x < 100.0
    assert np.allclose(found[shown], 70.0 / (1.0 + x[shown] ** 2), rtol=0.0, atol=0.002)


@pytest.mark.parametrize("first", [0.0, 35.0])
def test_kramers_kronig_is_the_same_on_even_and_uneven_grids(monkeypatch, first):
    nu = first + 7.0 * np.arange(60)
    y = np.random.default_rng(4).normal(size=(3, 60))
    even = kramers_kronig(nu, y)
    monkeypatch.setattr("eqcalc.spectra.dielectric_response._MATRIX_SIZE", 500)
    # in several blocks, and one point moved by nothing that matters
    nu[20] += 1e-7
    assert np.allclose(kramers_kronig(nu, y), even, atol=1e-6)


def test_kramers_kronig_of_measured_water():
    # n + ik is causal like ε: n(ν̃) of liquid water follows from its measured k(ν̃)
    nu, n, k = np.loadtxt(WATER).T
    nu, first = np.unique(nu, return_index=True)
    n, k = n[first], k[first]
    found = kramers_kronig(nu, k)
    shown = (nu > 400.0) & (nu < 1e4)
    anchor = np.argmin(np.abs(nu - 1e4))
    deviation = (found - found[anchor]) - (n - n[anchor])
    assert np.ptp(n[shown]) > 0.35
    assert np.abs(deviation[shown]).max() < 0.035


def test_absorption_prefactor():
    # αn = 5.06004790e8/(TV) F[Ṁ] in D/fs; the white noise has F = 3Δ
    rate = np.random.default_rng(1).normal(size=(10, 20000, 3))
    d = dielectric(
        derivative=rate, interval=0.5, temperature=100.0, unit="D/fs", volume=1000.0, lag=50.0
    )
    assert np.mean(d.absorption.values) == pytest.approx(5.06004790e8 / 1e5 * 1.5, rel=0.01)


def test_a_dilute_gas_is_the_sum_of_its_molecules():
    x = vector(oscillator(1000.0))
    kw = {"interval": 0.5, "temperature": 300.0, "unit": "e*Å", "lag": 2000.0}
    sigma = infrared(x, quantity="cross-section", **kw)
    d = dielectric(x, volume=1e6, **kw)
    assert np.allclose(d.absorption.values, sigma.values / 1e6 * 1e24, rtol=1e-10)


def test_static_permittivity_is_the_fluctuation_of_the_dipole():
    # overdamped motion, well resolved: ε(0) − ε(∞) = ⟨M²⟩/(3ε₀V k_BT)
    x, v = langevin(400.0, 0.05, 2.0, 8000, 32, np.random.default_rng(2))
    volume = 400.0
    d = dielectric(
        derivative=v,
        interval=2.0,
        temperature=300.0,
        unit="e*Å/fs",
        volume=volume,
        high_frequency=1.8,
        lag=800.0,
        padding=2,
    )
    variance = 3.0 * BOLTZMANN * 300.0 / angular(400.0) ** 2
    assert np.mean(np.sum(x**2, -1)) == pytest.approx(variance, rel=0.05)
    expected = FLUCTUATION * variance / (volume * 300.0)
    real = d.real()
    found = real.values[real.wavenumber < 20.0].mean() - 1.8
    assert found == pytest.approx(expected, rel=0.1)
    # high above the band the response has died out
    assert real.values[real.wavenumber > 6000.0].mean() == pytest.approx(1.8, abs=0.02 * expected)
    index = d.refractive_index()
    e = real.values + 1j * d.imaginary().values
    assert np.allclose(index.values, np.sqrt(e).real, rtol=1e-6)
    alpha = d.absorption_coefficient()
    k = np.sqrt(e).imag
    shown = (alpha.wavenumber > 50.0) & (alpha.wavenumber < 1500.0)
    exact = 4.0 * np.pi * alpha.wavenumber * k
    assert np.allclose(alpha.values[shown], exact[shown], rtol=1e-6)
    assert np.all(index.standard_error > 0.0)


def test_unwrapping_a_dipole_in_a_skewed_cell():
    rng = np.random.default_rng(3)
    cell = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [1.0, -1.0, 10.0]])
    smooth = np.cumsum(0.05 * rng.normal(size=(3, 500, 3)), axis=1)
    jumps = rng.integers(-2, 3, size=(3, 500, 3)) * (rng.random((3, 500, 1)) < 0.05)
    wrapped = smooth + np.cumsum(jumps, axis=1) @ cell
    found = unwrap_dipole(wrapped, cell)
    with pytest.raises(InvalidInputError) as caught:
        unwrap_dipole(wrapped, 0.05 * cell)
    assert caught.value.key.startswith("dipole, replica")
    assert 0.4 < caught.value.value <= 0.5
    with pytest.raises(InvalidInputError) as caught:
        unwrap_dipole(wrapped, np.diag([9.0, 9.0, 0.0]))
    assert caught.value.key == "cell"
    expected = smooth - smooth[:, :1] + wrapped[:, :1]
    assert np.allclose(found, expected, atol=1e-9)


def test_wrapped_ions_have_the_spectrum_of_unwrapped_ones():
    # three charges that add up to zero vibrate and drift through a box; each is wrapped by itself
    from tests.spectra.toy_water import CHARGES

    rng = np.random.default_rng(8)
    cell = np.diag([9.0, 10.0, 11.0])
    x = np.stack([vector(oscillator(nu, n_frames=6000)) for nu in (1000.0, 1700.0, 3000.0)], -2)
    drift = rng.normal(size=(4, 1, 1, 3)) * 2e-3 * np.arange(6000)[:, None, None]
    positions = 4.0 * rng.random((4, 1, 3, 3)) + x + drift
    wrapped = positions % np.diag(cell)
    assert (wrapped != positions).any()
    kw = {"interval": 0.5, "temperature": 300.0, "unit": "e*Å", "lag": 400.0}

    def spectrum(r):
        return infrared(np.einsum("rtia,i->rta", r, CHARGES), **kw)

    whole = spectrum(positions)
    tolerance = {"rtol": 0.0, "atol": 1e-9 * whole.values.max()}
    moved = infrared(
        unwrap_dipole(np.einsum("rtia,i->rta", wrapped, CHARGES), cell, charge=0.42), **kw
    )
    assert np.allclose(moved.values, whole.values, **tolerance)
    # as it is, the jumps would be a pedestal under everything
    with pytest.raises(BrokenSeriesError) as caught:
        spectrum(wrapped)
    assert (caught.value.replica, caught.value.frame) == ("replica 0", 212)
    assert "unwrap_dipole" in caught.value.advice
    # a neutral molecule moved as a whole has the same dipole
    assert np.allclose(spectrum(positions + np.diag(cell)).values, whole.values, **tolerance)


def test_bad_input_is_refused():
    x = vector(oscillator(1000.0, n_frames=2000))
    kw = {"interval": 0.5, "temperature": 300.0, "unit": "e*Å"}
    with pytest.raises(InvalidInputError) as caught:
        dielectric(x, volume=-1.0, **kw)
    assert caught.value.key == "volume"
    with refused(key="quantum_factor"):
        dielectric(x, volume=1.0, method="CMD", quantum_factor="standard", **kw)
