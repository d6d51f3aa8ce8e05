# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import raman, read_raman, read_spectrum, reduced, write_spectrum
from eqcalc.spectra.raman_scattering import stokes_factor
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused
from tests.spectra.oscillators import oscillator

KW = {"interval": 0.5, "temperature": 300.0, "unit": "Å^3"}
LIMITS = (2000.0, 2700.0)


def tensor(derivative, wavenumber=2331.0, mass=7.0015):
    return oscillator(wavenumber, 1.0, mass)[..., None, None] * np.asarray(derivative, dtype=float)


@pytest.fixture(scope="module")
def diatomic():
    # parallel 3, perpendicular 1 Å², reduced mass of N2
    return raman(tensor(np.diag([1.0, 1.0, 3.0])), lag=4000.0, **KW)


def test_diatomic(diatomic):
    assert diatomic.isotropic.integrate(*LIMITS).value == pytest.approx(
        (5 / 3) ** 2 / 7.0015, rel=2e-4
    )
    assert diatomic.anisotropic.integrate(*LIMITS).value == pytest.approx(4 / 7.0015, rel=2e-4)
    assert diatomic.activity().integrate(*LIMITS).value == pytest.approx(21.8525, rel=2e-4)
    ratio = diatomic.depolarization_ratio()
    i = np.argmin(np.abs(ratio.wavenumber - 2331.0))
    assert ratio.values[i] == pytest.approx(0.0851064, abs=1e-7)
    section = diatomic.cross_section(514.5)
    assert section.integrate(*LIMITS).value == pytest.approx(4.686e-31, rel=1e-3)
    assert section.unit == "cm²/sr per cm⁻¹"


@pytest.mark.parametrize(
    ("wavelength", "wavenumber", "expected"),
    [
        (514.5, 1000.0, 6.8015e-32),
        (514.5, 2331.0, 2.1443e-32),
        (514.5, 3000.0, 1.4204e-32),
        (532.0, 1000.0, 5.9060e-32),
    ],
)
def test_cross_section_of_unit_activity(wavelength, wavenumber, expected):
    assert stokes_factor(wavenumber, 300.0, wavelength) == pytest.approx(expected, rel=1e-4)


def test_prefactor_of_the_correlation_function():
    # h/(4ε₀²k_B): 1.89466522e-46/T m²/sr per cm⁻¹ of A + 7G/45, times F = S·T/K
    k = 72.1134900
    nu, nu0 = 1500.0, 1e7 / 514.5
    x = 1.43877688 * nu / 300.0
    shape = (nu0 - nu) ** 4 / (nu * (1.0 - np.exp(-x)))
    expected = 1.89466522e-46 * 1e4 / k * shape
    assert 45.0 * stokes_factor(nu, 300.0, 514.5) == pytest.approx(expected, rel=1e-7)


def test_bose_factor_between_low_and_high_wavenumber():
    ratio = stokes_factor(200.0, 300.0, 1e7 / 19436.0) / stokes_factor(3000.0, 300.0, 1e7 / 19436.0)
    # [(ν₀−200)/(ν₀−3000)]⁴ · 15 · (1−e^−14.388)/(1−e^−0.9592)
    assert ratio == pytest.approx(45.6273, rel=1e-5)


def test_anti_stokes_and_photon_counting():
    nu, nu0 = 500.0, 1e7 / 532.0
    stokes = stokes_factor(nu, 300.0, 532.0)
    anti = stokes_factor(nu, 300.0, 532.0, anti_stokes=True)
    boltzmann = np.exp(-1.43877688 * nu / 300.0)
    assert anti / stokes == pytest.approx(((nu0 + nu) / (nu0 - nu)) ** 4 * boltzmann, rel=1e-8)
    counted = stokes_factor(nu, 300.0, 532.0, photon_counting=True)
    assert counted / stokes == pytest.approx(nu0 / (nu0 - nu), rel=1e-12)


@pytest.mark.parametrize(
    ("derivative", "ratio", "natural"),
    [
        (0.7 * np.eye(3), 0.0, 0.0),
        (np.diag([1.0, -1.0, 0.0]), 0.75, 6.0 / 7.0),
        ([[0, 1, 0], [1, 0, 0], [0, 0, 0]], 0.75, 6.0 / 7.0),
        ([[0, 0, 1], [0, 0, 0], [1, 0, 0]], 0.75, 6.0 / 7.0),
        ([[0, 0, 0], [0, 0, 1], [0, 1, 0]], 0.75, 6.0 / 7.0),
        (np.diag([1.0, 1.0, -2.0]), 0.75, 6.0 / 7.0),
    ],
)
def test_depolarization_limits(derivative, ratio, natural):
    spectrum = raman(tensor(derivative), lag=4000.0, **KW)
    rho, rho_n = spectrum.depolarization_ratio(), spectrum.depolarization_ratio(natural_light=True)
    i = np.argmin(np.abs(rho.wavenumber - 2331.0))
    assert rho.values[i] == pytest.approx(ratio, abs=1e-12)
    assert rho_n.values[i] == pytest.approx(natural, abs=1e-12)


def test_breathing_activity():
    spectrum = raman(tensor(0.7 * np.eye(3), mass=1.0), lag=4000.0, **KW)
    assert spectrum.activity().integrate(*LIMITS).value == pytest.approx(45 * 0.49, rel=2e-4)


def test_geometries(diatomic):
    a, g = diatomic.isotropic.values, diatomic.anisotropic.values
    vv, vh = diatomic.polarized("VV").values, diatomic.polarized("VH").values
    assert np.allclose(vv, a + 4 * g / 45, rtol=1e-13)
    assert np.allclose(vh, g / 15, rtol=1e-13)
    assert np.allclose(diatomic.polarized("unpolarized").values, vv + vh, rtol=1e-12, atol=1e-15)
    # unpolarized laser at 90°: half VV + VH, half 2 VH
    natural = diatomic.polarized("natural").values
    assert np.allclose(natural, 0.5 * (vv + vh) + vh, rtol=1e-12, atol=1e-15)
    with pytest.raises(InvalidInputError) as caught:
        diatomic.polarized("HH")
    assert caught.value.key == "geometry"


def test_invariants_do_not_depend_on_the_frame():
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 2000, 3, 3))
    x = x + x.swapaxes(-1, -2)
    q = Rotation.random(random_state=2).as_matrix()
    first = raman(x, lag=100.0, **KW)
    second = raman(np.einsum("ai,bj,rtij->rtab", q, q, x), lag=100.0, **KW)
    for name in ("isotropic", "anisotropic"):
        a, b = getattr(first, name).values, getattr(second, name).values
        assert np.allclose(a, b, rtol=0.0, atol=1e-12 * a.max())


def test_identity_sum_rule():
    rng = np.random.default_rng(3)
    rate = rng.normal(size=(2, 3000, 3, 3))
    rate = rate + rate.swapaxes(-1, -2)
    spectrum = raman(derivative=rate, interval=1.0, temperature=90.0, unit="Å^3/fs", lag=50.0)
    mean = np.trace(rate, axis1=-2, axis2=-1) / 3.0
    beta = rate - mean[..., None, None] * np.eye(3)
    c = 2.99792458e-5
    total = 45 * np.mean(mean**2) + 7 * 1.5 * np.mean(np.sum(beta**2, (-1, -2)))
    expected = 72.1134900 / (2 * c * 90.0) * total
    assert spectrum.activity().integrate().value == pytest.approx(expected, rel=1e-8)


def test_six_components_are_the_same_spectrum():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 500, 3, 3))
    x = x + x.swapaxes(-1, -2)
    six = x[..., [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    a, b = raman(x, lag=50.0, **KW).activity(), raman(six, lag=50.0, **KW).activity()
    assert np.allclose(a.values, b.values, rtol=1e-12)


def test_units_of_the_polarizability(diatomic):
    x = tensor(np.diag([1.0, 1.0, 3.0]))
    bohr = raman(x / 0.148184711, **{**KW, "unit": "bohr^3"}, lag=4000.0)
    assert bohr.activity().integrate(*LIMITS).value == pytest.approx(
        diatomic.activity().integrate(*LIMITS).value, rel=1e-7
    )


def test_rates_in_the_unit_of_a_trajectory():
    rate = np.random.default_rng(6).normal(size=(2, 500, 3, 3))
    rate = rate + rate.swapaxes(-1, -2)
    kw = {"interval": 0.5, "temperature": 300.0, "lag": 50.0}
    volume = raman(derivative=rate, unit="Å^3/fs", **kw).activity()
    # 4πε₀ Å³ in e²Å²/eV
    si = raman(derivative=rate * 0.0694461551, unit="e^2*Å^2/eV/fs", **kw).activity()
    assert np.allclose(si.values, volume.values, rtol=1e-7)


def test_reduced_form_is_the_intensity_again(diatomic):
    for anti in (False, True):
        section = diatomic.cross_section(785.0, geometry="VV", anti_stokes=anti)
        vv = diatomic.polarized("VV").between(section.wavenumber[0], section.wavenumber[-1])
        assert np.allclose(reduced(section).values, vv.values, rtol=1e-10)


def test_noise_is_masked_in_the_depolarization_ratio():
    rng = np.random.default_rng(5)
    x = tensor(np.diag([1.0, 1.0, 3.0]))
    x = x + 1e-5 * rng.normal(size=x.shape)
    rho = raman(x, lag=1000.0, **KW).depolarization_ratio()
    shown = np.isfinite(rho.values)
    assert shown[np.argmin(np.abs(rho.wavenumber - 2331.0))]
    assert not shown[(rho.wavenumber < 1500.0) & (rho.wavenumber > 100.0)].any()
    assert np.all(np.isfinite(rho.standard_error[shown]))


def test_depolarization_of_a_band_does_not_depend_on_the_resolution():
    # two bands that overlap at low resolution: ρ of 3/4 and of 12/141
    x = tensor(np.diag([1.0, -1.0, 0.0]), 2300.0) + tensor(np.diag([1.0, 1.0, 3.0]), 2350.0)[::-1]
    a, g = (5 / 3) ** 2, 3.0 + 4.0
    expected = 3.0 * g / (45.0 * a + 4.0 * g)
    for lag in (800.0, 4000.0):
        rho = raman(x, lag=lag, **KW).band_depolarization(1900.0, 2800.0)
        assert rho.value == pytest.approx(expected, rel=2e-3)
        assert rho.error < 0.01
    natural = raman(x, lag=800.0, **KW).band_depolarization(1900.0, 2800.0, natural_light=True)
    assert natural.value == pytest.approx(6.0 * g / (45.0 * a + 7.0 * g), rel=2e-3)
    single = raman(x[0], errors="none", lag=800.0, **KW).band_depolarization(1900.0, 2800.0)
    assert np.isnan(single.error)


def test_file_keeps_both_parts(diatomic, tmp_path):

    path = write_spectrum(diatomic, tmp_path / "raman.h5")
    back = read_raman(path)
    assert back.temperature == 300.0
    assert np.array_equal(back.anisotropic.samples, diatomic.anisotropic.samples)
    assert np.array_equal(back.activity().values, diatomic.activity().values)
    with refused(key="path", value="raman.csv"):
        write_spectrum(diatomic, tmp_path / "raman.csv")
    other = write_spectrum(diatomic.activity(), tmp_path / "activity.h5")
    with refused(InvalidFileError, file=other):
        read_raman(other)
    assert "Raman activity" in repr(read_spectrum(other))


def test_oriented_geometries():
    from eqcalc.spectra import porto, raman_oriented

    incoming, outgoing = porto("z(xy)-z")
    assert incoming.tolist() == [1.0, 0.0, 0.0]
    assert outgoing.tolist() == [0.0, 1.0, 0.0]
    for wrong in ("z(zx)z", "z(xz)z", "zxyz", "a(xy)z"):
        with pytest.raises(InvalidInputError) as caught:
            porto(wrong)
        assert caught.value.value == wrong
    derivative = np.array([[1.0, 0.3, 0.0], [0.3, 2.0, 0.0], [0.0, 0.0, 0.5]])
    x = tensor(derivative)
    axes = np.eye(3)
    for i, j in ((0, 0), (0, 1), (2, 1), (1, 1)):
        s = raman_oriented(x, incoming=2.0 * axes[i], outgoing=axes[j], lag=4000.0, **KW)
        expected = derivative[i, j] ** 2 / 7.0015
        assert s.integrate(*LIMITS).value == pytest.approx(expected, rel=2e-4, abs=1e-12)
    # averaged over all orientations, parallel polarizations give VV and crossed ones VH
    from scipy.spatial.transform import Rotation

    spectrum = raman(x, lag=4000.0, **KW)
    q = Rotation.random(400, random_state=1).as_matrix()
    parallel = np.mean(np.einsum("ni,ij,nj->n", q[:, 0], derivative, q[:, 0]) ** 2)
    crossed = np.mean(np.einsum("ni,ij,nj->n", q[:, 0], derivative, q[:, 1]) ** 2)
    for geometry, average in (("VV", parallel), ("VH", crossed)):
        area = spectrum.polarized(geometry).integrate(*LIMITS).value
        assert area == pytest.approx(average / 7.0015, rel=0.12)
    with pytest.raises(InvalidInputError) as caught:
        raman_oriented(x, incoming=np.zeros(3), outgoing=axes[0], **KW)
    assert caught.value.key == "incoming"


@pytest.mark.parametrize("laser", [0.0, -532.0, float("nan"), 5e6])
def test_impossible_lasers_are_refused(laser):
    x = oscillator(1000.0, n_frames=3000)[..., None, None] * np.eye(3)
    spectrum = raman(x, interval=0.5, temperature=300.0, unit="Å^3", lag=300.0)
    with pytest.raises(InvalidInputError) as caught:
        spectrum.cross_section(laser)
    assert caught.value.key == "laser_wavelength"
