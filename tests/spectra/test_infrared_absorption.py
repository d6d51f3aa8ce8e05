# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import (
    convert_infrared,
    infrared,
    sum_rule,
    sum_rule_ratio,
    without_rotation,
)
from eqcalc.spectra.estimation import LagWindowError
from eqcalc.spectra.estimator.statistics import Estimate
from eqcalc.spectra.series_checks import BrokenSeriesError
from eqcalc.units import UnitError
from eqcalc.validation import InvalidInputError
from tests.errors import refused
from tests.spectra.oscillators import BOLTZMANN, C, angular, oscillator, vector

#: Integrated absorption of a charge 1 e with mass 1 amu, km/mol.
UNIT_INTENSITY = 974.880110
KW = {"interval": 0.5, "temperature": 300.0, "unit": "e*Å"}


@pytest.mark.parametrize("temperature", [10.0, 300.0])
@pytest.mark.parametrize(
    ("wavenumber", "charge", "mass", "transfer"),
    [(1000.0, 1.0, 1.0, 0.99705), (3000.0, 0.5, 16.0, 0.97367)],
)
def test_classical_oscillator(temperature, wavenumber, charge, mass, transfer):
    x = vector(oscillator(wavenumber, charge, mass, temperature))
    options = {**KW, "temperature": temperature, "lag": 4000.0}
    area = UNIT_INTENSITY * charge**2 / mass
    limits = (wavenumber - 500.0, wavenumber + 500.0)
    spectrum = infrared(x, **options)
    assert spectrum.integrate(*limits).value == pytest.approx(area, rel=2e-4)
    raw = infrared(x, finite_difference="none", **options)
    assert raw.integrate(*limits).value == pytest.approx(area * transfer, rel=1e-4)
    grid = spectrum.wavenumber[1] - spectrum.wavenumber[0]
    band = spectrum.band(wavenumber - 100.0, wavenumber + 100.0)
    assert band.position.value == pytest.approx(wavenumber, abs=0.5 * grid)
    assert band.width.value == pytest.approx(spectrum.provenance["resolution_cm-1"], rel=0.01)


def test_analytic_derivative_needs_no_correction():
    omega = angular(1600.0)
    x = oscillator(1600.0)
    t = 0.5 * np.arange(x.shape[1])
    phase = 2.0 * np.pi * (np.arange(4) + 0.3) / 4
    amplitude = np.abs(x).max()
    rate = -omega * amplitude * np.sin(omega * t + phase[:, None])
    spectrum = infrared(
        derivative=vector(rate), interval=0.5, temperature=300.0, unit="e*Å/fs", lag=4000.0
    )
    assert spectrum.integrate(1100.0, 2100.0).value == pytest.approx(UNIT_INTENSITY, rel=2e-4)
    assert spectrum.wavenumber[-1] == pytest.approx(16678.2 / 0.5, rel=1e-5)


def test_verlet_shift_is_undone_and_the_area_kept():
    step, nu = 0.5, 3700.0
    measured = np.arcsin(np.pi * C * nu * step) / (np.pi * C * step)
    assert measured - nu == pytest.approx(19.0, abs=0.1)
    x = vector(oscillator(measured))
    before = infrared(x, lag=4000.0, timestep=step, **KW)
    after = infrared(x, lag=4000.0, timestep=step, frequency_correction=True, **KW)
    assert before.band(3600.0, 3800.0).position.value == pytest.approx(measured, abs=0.05)
    assert after.band(3600.0, 3800.0).position.value == pytest.approx(nu, abs=0.05)
    assert after.integrate(3200.0, 4200.0).value == pytest.approx(
        before.integrate(3200.0, 4300.0).value, rel=3e-4
    )
    with refused(key="timestep"):
        infrared(x, frequency_correction=True, **KW)


def langevin(wavenumber, friction, interval, n_frames, n_replicas, rng):
    """Return exact samples of x, v of a Langevin oscillator of mass 1 amu at 300 K."""
    from scipy.linalg import expm, solve_continuous_lyapunov

    kt = 8.31446261815324e-7 * 300.0
    w0 = angular(wavenumber)
    drift = np.array([[0.0, 1.0], [-(w0**2), -friction]])
    covariance = np.diag([kt / w0**2, kt])
    step = expm(drift * interval)
    noise = np.linalg.cholesky(covariance - step @ covariance @ step.T)
    assert np.allclose(
        solve_continuous_lyapunov(drift, -np.diag([0.0, 2.0 * friction * kt])), covariance
    )
    state = rng.normal(size=(n_replicas, 3, 2)) * np.sqrt(np.diag(covariance))
    out = np.empty((n_frames, n_replicas, 3, 2))
    kicks = rng.normal(size=out.shape) @ noise.T
    for t in range(n_frames):
        out[t] = state
        state = state @ step.T + kicks[t]
    return out.transpose(3, 1, 0, 2)


def test_langevin_line_shape():
    tau, w0 = 100.0, angular(1000.0)
    gamma = 1.0 / tau
    _, v = langevin(1000.0, gamma, 1.0, 4000, 128, np.random.default_rng(1))
    spectrum = infrared(
        derivative=v / np.sqrt(3.0), interval=1.0, temperature=300.0, unit="e*Å/fs", lag=1300.0
    )
    w = angular(spectrum.wavenumber)
    exact = (2.0 / np.pi) * gamma * w**2 / ((w**2 - w0**2) ** 2 + gamma**2 * w**2)
    exact *= UNIT_INTENSITY * 2.0 * np.pi * C
    shown = (spectrum.wavenumber > 700.0) & (spectrum.wavenumber < 1300.0)
    deviation = (spectrum.values - exact)[shown] / exact.max()
    assert np.abs(deviation).max() < 0.12  # the window adds 3 %, sampling 4 %
    # width γ/2πc = 53.09 cm⁻¹, and the window of 25.7 cm⁻¹ on top of it
    width = spectrum.band(700.0, 1300.0).width
    assert 53.09 - 5.0 < width.value < 53.09 + 15.0


def test_identity_sum_rule():
    # ∫κ_m dν̃ = 42.2560615 · K⟨|μ̇|²⟩/(2cT), whatever the data
    rate = np.random.default_rng(2).normal(size=(5, 4000, 3))
    for window in ("hann", "parzen", "rectangular"):
        s = infrared(derivative=rate, interval=0.5, temperature=77.0, unit="D/fs", window=window)
        expected = 42.2560615 * 72.1134900 * np.mean(np.sum(rate**2, -1)) / (2.0 * C * 77.0)
        assert s.integrate().value == pytest.approx(expected, rel=1e-7)
        # the window's length does not enter at all
        again = infrared(derivative=rate, interval=0.5, temperature=77.0, unit="D/fs", lag=20.0)
        assert s.integrate().value == pytest.approx(again.integrate().value, rel=1e-12)


def test_quantities_are_multiples():
    x = vector(oscillator(1000.0))
    km = infrared(x, **KW)
    molar = infrared(x, quantity="molar absorption coefficient", **KW)
    sigma = infrared(x, quantity="cross-section", **KW)
    assert np.allclose(molar.values, 43.4294482 * km.values, rtol=1e-8)
    assert np.allclose(sigma.values, 3.82353250e-21 * molar.values, rtol=1e-8)
    back = convert_infrared(sigma, "intensity")
    assert np.allclose(back.values, km.values, rtol=1e-12)
    assert back.integrate(500, 1500).error == pytest.approx(km.integrate(500, 1500).error)
    with pytest.raises(InvalidInputError) as caught:
        infrared(x, quantity="absorbance", **KW)
    assert caught.value.key == "quantity"


def test_absorption_prefactor():
    # κ_m = 3047.23207/T F[μ̇] in D/fs; white noise of unit variance has F = 3Δ
    rate = np.random.default_rng(3).normal(size=(20, 20000, 3))
    s = infrared(derivative=rate, interval=0.5, temperature=100.0, unit="D/fs", lag=50.0)
    assert np.mean(s.values) == pytest.approx(3047.23207 / 100.0 * 1.5, rel=0.01)


def test_units_of_the_dipole():
    x = vector(oscillator(1000.0))
    a = infrared(x, **KW)
    b = infrared(x * 4.80320471, **{**KW, "unit": "D"})
    assert np.allclose(a.values, b.values, rtol=1e-7, atol=1e-9)
    with pytest.raises(UnitError, match="series"):
        infrared(x, **{**KW, "unit": "eV"})
    with pytest.raises(UnitError, match=r"expected one like 'e\*Å/fs', got 'D'"):
        infrared(derivative=x, **{**KW, "unit": "D"})


def test_components_are_not_normalised_one_by_one():
    x = oscillator(1000.0)
    a = infrared(x[..., None] * np.array([1.0, 0.0, 0.0]), **KW)
    b = infrared(x[..., None] * np.array([1.0, 1e-3, 1e-6]), **KW)
    assert b.integrate(900, 1100).value == pytest.approx(a.integrate(900, 1100).value, rel=2e-6)


def test_rotation_and_offset_change_nothing():
    from scipy.spatial.transform import Rotation

    x = vector(oscillator(1000.0)) + 0.1 * vector(oscillator(2500.0))[..., ::-1]
    q = Rotation.random(random_state=4).as_matrix()
    a = infrared(x, **KW)
    scale = a.values.max()
    assert np.allclose(infrared(x @ q.T, **KW).values, a.values, rtol=0.0, atol=1e-12 * scale)
    offset = 1e3 * np.abs(x).max()
    assert np.allclose(infrared(x + offset, **KW).values, a.values, rtol=0.0, atol=1e-8 * scale)


def test_lists_of_replicas_and_single_replicas():
    x = vector(oscillator(1000.0, n_frames=8000))
    whole = infrared(x, lag=1000.0, **KW)
    parts = infrared(list(x), lag=1000.0, **KW)
    assert np.array_equal(whole.values, parts.values)
    ragged = infrared([x[0], x[1, :5000], x[2], x[3, :6000]], lag=1000.0, **KW)
    assert ragged.provenance["frames_per_replica"] == [5000, 6000, 8000]
    assert ragged.integrate(500, 1500).value == pytest.approx(UNIT_INTENSITY, rel=0.02)
    single = infrared(x[0], lag=1000.0, **KW)
    assert single.samples is None
    assert any("no error band" in w for w in single.warnings)


@pytest.mark.parametrize("factor", ["standard", "schofield", "none"])
def test_quantum_factors_relative_to_harmonic(factor):
    x = vector(oscillator(1000.0))
    harmonic = infrared(x, quantum_factor="harmonic", **KW)
    assert np.array_equal(harmonic.values, infrared(x, **KW).values)
    other = infrared(x, quantum_factor=factor, **KW)
    i = np.argmin(np.abs(harmonic.wavenumber - 1000.0))
    y = 1.43877688 * harmonic.wavenumber[i] / 300.0
    q = {"standard": 2 / (1 + np.exp(-y)), "schofield": np.exp(y / 2), "none": 1.0}[factor]
    expected = q * (1 - np.exp(-y)) / y
    assert other.values[i] / harmonic.values[i] == pytest.approx(expected, rel=1e-8)
    for method in ("RPMD", "T-RPMD", "TRPMD", "CMD"):
        if factor == "none":
            continue
        with refused(key="quantum_factor") as caught:
            infrared(x, quantum_factor=factor, method=method, **KW)
        assert caught.value.value == factor


def test_sum_rule_of_fixed_charges():
    charges, masses = np.array([-0.84, 0.42, 0.42]), np.array([15.999, 1.008, 1.008])
    derivative = np.tile(charges[None, :, None, None] * np.eye(3), (4, 1, 1, 1))
    expected = sum_rule(derivative, masses)
    assert expected.value == pytest.approx(1152.6088, abs=2e-3)
    assert expected.error == 0.0
    with pytest.raises(InvalidInputError) as caught:
        sum_rule(derivative[0], masses)
    assert caught.value.key == "dipole_derivative"


def test_an_ion_that_moves_as_a_whole_is_in_the_sum_rule():
    # ⟨v²⟩ = kT/M exactly along each axis; the dipole of a charge moves with it
    charge, mass = 2.0, 40.0
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    velocity = signs * np.sqrt(BOLTZMANN * 300.0 / mass)
    rate = np.repeat(charge * velocity[:, None], 300, axis=1)
    spectrum = infrared(derivative=rate, interval=1.0, temperature=300.0, unit="e*Å/fs", lag=100.0)
    exact = sum_rule(np.full((1, 1, 3, 3), charge) * np.eye(3), np.array([mass]))
    assert exact.value == pytest.approx(3.0 * UNIT_INTENSITY * charge**2 / mass, rel=1e-6)
    assert sum_rule_ratio(spectrum, exact).value == pytest.approx(1.0, abs=1e-6)
    # all of it at zero wavenumber
    assert spectrum.integrate(1000.0, 5000.0).value < 2e-3 * exact.value


def test_sum_rule_ratio_finds_a_wrong_temperature():
    x = vector(oscillator(1000.0))
    spectrum = infrared(x, **KW)
    expected = sum_rule(np.full((1, 1, 3, 3), 1.0 / 3.0), np.array([1.0]))
    assert expected.value == pytest.approx(UNIT_INTENSITY, rel=1e-6)
    assert sum_rule_ratio(spectrum, expected).value == pytest.approx(1.0, abs=2e-3)
    wrong = infrared(x, **{**KW, "temperature": 150.0})
    assert sum_rule_ratio(wrong, expected).value == pytest.approx(2.0, abs=4e-3)


@pytest.mark.parametrize("factor", ["standard", "schofield", "none"])
def test_the_sum_rule_is_that_of_the_harmonic_factor(factor):
    x = vector(oscillator(1000.0))
    expected = Estimate(UNIT_INTENSITY, 0.0)
    spectrum = infrared(x, **KW, quantum_factor=factor)
    assert spectrum.integrate().value != pytest.approx(UNIT_INTENSITY, rel=0.1)
    found = sum_rule_ratio(spectrum, expected)
    harmonic = sum_rule_ratio(infrared(x, **KW), expected)
    assert found.value == pytest.approx(harmonic.value, rel=1e-9)
    assert found.error == pytest.approx(harmonic.error, rel=1e-9)


def test_the_error_of_the_sum_rule_is_unknown_if_that_of_the_spectrum_is():
    spectrum = infrared(vector(oscillator(1000.0, n_replicas=1)), **KW, errors="none")
    assert np.isnan(sum_rule_ratio(spectrum, Estimate(UNIT_INTENSITY, 0.01)).error)


def test_rotation_is_taken_out_of_the_sum_rule():
    rng = np.random.default_rng(4)
    masses, charges = np.array([15.999, 1.008, 2.014]), np.array([-0.84, 0.42, 0.42])
    positions = rng.normal(size=(6, 3, 3))
    derivative = np.tile(charges[None, :, None, None] * np.eye(3), (6, 1, 1, 1))
    total = sum_rule(derivative, masses).value
    left = sum_rule(without_rotation(derivative, positions, masses), masses).value
    # a dipole moment on a rigid top: Σ |axis × μ|² / moment
    centred = positions - (masses @ positions / masses.sum())[:, None]
    square = np.einsum("i,sia,sia->s", masses, centred, centred)
    inertia = square[:, None, None] * np.eye(3)
    inertia -= np.einsum("i,sia,sib->sab", masses, centred, centred)
    moments, axes = np.linalg.eigh(inertia)
    dipole = np.einsum("i,sia->sa", charges, positions)
    turned = np.cross(np.swapaxes(axes, 1, 2), dipole[:, None])
    rotation = (np.square(turned).sum(-1) / moments).sum(-1).mean()
    unit = sum_rule(np.ones((1, 1, 3, 3)), np.array([9.0])).value
    assert total - left == pytest.approx(unit * rotation, rel=1e-9)


def test_bending_of_a_linear_molecule_is_no_rotation():
    masses, charges = np.array([12.011, 15.999, 15.999]), np.array([0.8, -0.4, -0.4])
    bent = np.array([[0.05, 0.0, 0.0], [0.0, 0.0, 1.16], [0.0, 0.0, -1.16]])
    derivative = charges[None, :, None, None] * np.eye(3)
    left = without_rotation(derivative, bent[None], masses)[0] / np.sqrt(masses)[:, None, None]
    # bent in one plane, it vibrates across it too
    along_x, along_y = np.square(left[..., :2]).sum(axis=(0, 1))
    assert along_y == pytest.approx(along_x, rel=0.01)


def test_bad_input_is_refused():
    x = vector(oscillator(1000.0, n_frames=2000))
    with refused(key="temperature"):
        infrared(x, interval=0.5, unit="e*Å")
    with pytest.raises(InvalidInputError) as caught:
        infrared(x, interval=-0.5, temperature=300.0, unit="e*Å")
    assert (caught.value.key, caught.value.value) == ("interval", -0.5)
    with pytest.raises(InvalidInputError) as caught:
        infrared(x[..., :2], **KW)
    assert (caught.value.key, caught.value.value) == ("dipole", (4, 2000, 2))
    with refused(key="derivative"):
        infrared(x, derivative=x, **KW)
    with pytest.raises(LagWindowError) as caught:
        infrared(x, lag=1e5, **KW)
    assert caught.value.value == 1e5
    with refused(key="lag"):
        infrared(x, lag=100.0, resolution=10.0, **KW)
    with pytest.raises(TypeError, match="'resolutoin'; did you mean 'resolution'"):
        infrared(x, resolutoin=10.0, **KW)
    x[2, 77, 1] = np.nan
    with pytest.raises(InvalidInputError) as caught:
        infrared(x, **KW)
    assert caught.value.key == "dipole, replica 2, frame 77"


@pytest.mark.parametrize("estimator", ["welch", "multitaper"])
def test_tapered_segments_give_the_same_areas(estimator):
    x = vector(oscillator(1000.0, n_frames=20000))
    s = infrared(x, estimator=estimator, resolution=40.0, **KW)
    assert s.integrate(400, 1600).value == pytest.approx(UNIT_INTENSITY, rel=5e-3)
    assert s.values.min() >= 0.0
    band = s.band(900, 1100)
    assert band.position.value == pytest.approx(1000.0, abs=6.0)
    if estimator == "welch":
        assert band.width.value == pytest.approx(40.0, rel=0.02)
    assert s.provenance["resolution_cm-1"] == pytest.approx(40.0, rel=0.01)
    assert s.provenance["window"] is None


def test_multitaper_leaks_less_than_a_lag_window():
    # a strong line beside a stretch of spectrum that should be empty
    x = vector(oscillator(1000.3, n_frames=20000))
    options = {**KW, "resolution": 40.0}
    far = [
        np.abs(infrared(x, estimator=e, **options).between(1500, 3000).values).max()
        for e in ("multitaper", "correlation")
    ]
    assert far[0] < far[1]


@pytest.mark.parametrize("estimator", ["welch", "multitaper"])
def test_tapered_noise_is_flat_and_has_the_right_level(estimator):
    rate = np.random.default_rng(6).normal(size=(16, 20000, 3))
    s = infrared(
        derivative=rate,
        interval=0.5,
        temperature=100.0,
        unit="D/fs",
        estimator=estimator,
        lag=200.0,
    )
    assert np.mean(s.values) == pytest.approx(3047.23207 / 100.0 * 1.5, rel=0.01)
    inside = np.abs(s.values - 45.708) < 2.0 * s.standard_error
    assert 0.85 < inside[5:-5].mean() < 0.99


@pytest.mark.parametrize("errors", ["replicas", "blocks", "none"])
def test_options_do_not_change_the_area(errors):
    x = vector(oscillator(1000.0, n_frames=20000))
    for window in ("hann", "blackman", "parzen", "gaussian"):
        for padding in (1, 2, 8):
            s = infrared(x, window=window, padding=padding, errors=errors, lag=1000.0, **KW)
            assert s.integrate(400, 1600).value == pytest.approx(UNIT_INTENSITY, rel=2e-3)


def test_periodic_jumps_do_not_matter_for_the_current():
    # an ion crossing the boundary: the wrapped dipole jumps and is refused, the derivative given
    # does not
    rng = np.random.default_rng(5)
    velocity = np.cumsum(rng.normal(size=(4000, 3)) * 1e-4, axis=0)
    unwrapped = np.cumsum(velocity, axis=0) * 0.5
    current = infrared(
        derivative=velocity, interval=0.5, temperature=300.0, unit="e*Å/fs", lag=500.0
    )
    moved = infrared(unwrapped + 7.0, lag=500.0, **KW)
    with pytest.raises(BrokenSeriesError) as caught:
        infrared(unwrapped % 5.0, lag=500.0, **KW)
    assert (caught.value.replica, caught.value.frame) == ("replica 0", 1)
    assert moved.integrate(0, 2000).value == pytest.approx(
        current.integrate(0, 2000).value, rel=0.02
    )


def test_memory_does_not_grow_with_the_series():
    import tracemalloc

    rng = np.random.default_rng(7)
    repeated = rng.normal(size=(4096, 3))

    class OnDisk:
        """Ten million frames that are made when they are read."""

        shape, longest = (10_000_000, 3), 0

        def __len__(self):
            return self.shape[0]

        def __getitem__(self, key):
            start, stop, _ = key.indices(len(self))
            OnDisk.longest = max(OnDisk.longest, stop - start)
            return np.resize(repeated, (stop - start, 3))

    tracemalloc.start()
    spectrum = infrared(OnDisk(), lag=500.0, n_samples=20, **KW)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(spectrum) > 1000
    assert spectrum.n_independent == 40
    assert OnDisk.longest < 720_000
    # the series would be 240 MB
    assert peak < 90e6


def test_a_trajectory_is_read_in_pieces(tmp_path, monkeypatch):
    from eqcalc.spectra.estimator import correlation
    from eqcalc.trajectory import Header, Layout, Trajectory, TrajectoryWriter

    x = vector(oscillator(1000.0, n_frames=6000))
    header = Header("NVE", 300.0, 0.5, 5999, 4, 1, np.array([1]), np.array([1.0]))
    writer = TrajectoryWriter.create(tmp_path / "t.h5", header, {"dipole": Layout((3,), "e*Å", 1)})
    writer.write("dipole", x)
    writer.close()
    sizes = []
    plain = Trajectory.observable

    def observed(self, *arguments, **options):
        series = plain(self, *arguments, **options)
        sizes.append(series.values.size)
        return series

    monkeypatch.setattr(Trajectory, "observable", observed)
    monkeypatch.setattr(correlation, "_PIECE_SIZE", 3000)
    spectrum = infrared(Trajectory.open(tmp_path / "t.h5"), lag=200.0)
    assert max(sizes) < 0.1 * x.size
    direct = infrared(x, lag=200.0, method="NVE", timestep=0.5, **KW)
    assert np.allclose(spectrum.values, direct.values, rtol=0.0, atol=1e-12 * direct.values.max())


@pytest.mark.parametrize("number", [0.0, -3.0, float("nan"), float("inf")])
@pytest.mark.parametrize("option", ["lag", "resolution"])
def test_impossible_windows_are_refused(option, number):
    x = vector(oscillator(1000.0, n_frames=2000))
    with pytest.raises(InvalidInputError) as caught:
        infrared(x, **{option: number}, **KW)
    assert caught.value.key == option
