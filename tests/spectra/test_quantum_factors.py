# SPDX-License-Identifier: MIT
from types import SimpleNamespace

import numpy as np
import pytest

from eqcalc.methods import METHODS
from eqcalc.methods import method as known_method
from eqcalc.spectra import (
    Estimate,
    Spectrum,
    decompose,
    dielectric,
    infrared,
    infrared_accumulator,
    power_spectrum,
    raman,
    sum_rule_ratio,
    vibrational_density_of_states,
)
from eqcalc.spectra.quantum_factors import (
    QUANTUM_FACTORS,
    bead_warning,
    beads_needed,
    merged_warnings,
    method_warnings,
    quantum_factor,
    ring_modes,
    temperature_warning,
    thermostat_width,
    with_quantum_factor,
)
from eqcalc.validation import InvalidInputError
from tests.errors import refused
from tests.spectra.oscillators import BOLTZMANN, C, angular, oscillator, vector

KW = {"interval": 0.5, "temperature": 300.0, "unit": "e*Å", "lag": 100.0, "errors": "none"}


def intensity_ratio(wavenumber, temperature, factor):
    """Return what an intensity becomes with another factor than the harmonic one."""
    axis = np.append(wavenumber, wavenumber[-1] + 1.0)
    ones = Spectrum(axis, np.ones(len(axis)), "km/mol per cm⁻¹", "IR intensity")
    return with_quantum_factor(ones, temperature, factor).values[:-1]


@pytest.mark.parametrize(
    ("wavenumber", "harmonic", "standard", "standard_ratio", "schofield_ratio"),
    [
        (100.0, 1.259, 1.235, 0.981, 1.010),
        (500.0, 2.638, 1.833, 0.695, 1.257),
        (1600.0, 7.677, 1.999, 0.260, 6.04),
        (3000.0, 14.388, 2.000, 0.139, 92.5),
        (3700.0, 17.745, 2.000, 0.113, 402.0),
    ],
)
def test_factors_at_300_kelvin(wavenumber, harmonic, standard, standard_ratio, schofield_ratio):
    nu = np.array([wavenumber])
    assert quantum_factor(nu, 300.0, "harmonic")[0] == pytest.approx(harmonic, abs=6e-4)
    assert quantum_factor(nu, 300.0, "standard")[0] == pytest.approx(standard, abs=6e-4)
    for name, expected in (("standard", standard_ratio), ("schofield", schofield_ratio)):
        found = intensity_ratio(nu, 300.0, name)[0]
        assert found == pytest.approx(expected, rel=6e-3)


def test_limits_of_the_factors():
    nu = np.array([0.0, 1e-6])
    for name in ("harmonic", "standard", "schofield", "none"):
        assert np.allclose(quantum_factor(nu, 300.0, name), 1.0, atol=1e-8)
    assert np.array_equal(intensity_ratio(np.arange(9.0), 5.0, "harmonic"), np.ones(9))
    with pytest.raises(InvalidInputError) as caught:
        quantum_factor(nu, 300.0, "wigner")
    assert caught.value.key == "quantum_factor"


def test_quantum_energy_is_not_counted_twice():
    x = vector(oscillator(1000.0, n_frames=2000, n_replicas=1))
    for method in METHODS.values():
        allowed = {
            "classical": QUANTUM_FACTORS,
            "symmetrized": ("standard", "none"),
        }.get(method.correlation, ("harmonic", "none"))
        for name in (method.name, method.name.lower().replace("-", ""), *method.aliases):
            for factor in QUANTUM_FACTORS:
                if factor in allowed:
                    infrared(x, method=name, quantum_factor=factor, **KW)
                    continue
                with refused(key="quantum_factor") as caught:
                    infrared(x, method=name, quantum_factor=factor, **KW)
                assert caught.value.expected == " or ".join(allowed)
    # beads sample quantum statistics, whatever their dynamics is called
    for facts in ({}, {"method": "PIMD"}):
        with refused(key="quantum_factor"):
            infrared(x, quantum_factor="standard", n_beads=32, **facts, **KW)
    with pytest.raises(InvalidInputError) as caught:
        infrared(x, method="NVE", n_beads=32, **KW)
    assert caught.value.key == "beads"


def test_the_standard_factor_is_that_of_a_quantum_thermostat():
    # with the quantum energy ε = (hcν̃/2) coth(x/2) in a mode, its intensity is that of the
    # harmonic factor at the classical energy, k_BT
    nu, temperature = np.array([500.0, 1600.0, 3000.0]), 300.0
    x = 1.43877688 * nu / temperature
    energy = 0.5 * x / np.tanh(0.5 * x)
    found = energy * intensity_ratio(nu, temperature, "standard")
    assert np.allclose(found, 1.0, rtol=1e-12)


def test_a_quantum_thermostat_is_recognised_whatever_it_is_called():
    trajectory = RingPolymerTrajectory()
    trajectory.method, trajectory.n_beads = "GLE", 1
    method = {"name": "GLE", "covariance": [[300.0, 0.0], [0.0, 300.0]]}
    trajectory.settings = {"method": method}
    infrared(trajectory, lag=100.0)
    method["covariance"][0][0] = 900.0
    with refused(key="quantum_factor") as caught:
        infrared(trajectory, lag=100.0)
    assert caught.value.expected == "standard or none"
    infrared(trajectory, lag=100.0, quantum_factor="standard")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *[
            (n, "PIMD")
            for n in ("NVT+RPMD", "NVT-PIMD", "rpmd nvt", "path-integral molecular dynamics")
        ],
        *[(n, "T-RPMD") for n in ("TRPMD", "t_rpmd", "Thermostatted RPMD")],
        *[(n, "PILE-L") for n in ("pile_l", "PIMD+PILE-L")],
        *[(n, "PILE-G") for n in ("PILE_G", "pile g")],
        *[(n, "QT") for n in ("QTB", "quantum thermal bath", "adQTB", "nvt_qtb")],
        *[(n, "Wigner") for n in ("NVE, Wigner start", "QCT")],
        ("ring-polymer molecular dynamics", "RPMD"),
        ("classical dynamics at constant energy", "NVE"),
    ],
)
def test_methods_are_known_by_the_names_of_other_codes(name, meant):
    assert known_method(name).name == meant


def accumulated(x, **kw):
    accumulator = infrared_accumulator(len(x), **KW, **kw)
    accumulator.append(x)
    return accumulator.result()


DOORS = {
    "raman": lambda x, **kw: raman(
        1e-2 * x[..., None, :] * x[..., None], **{**KW, "unit": "Å^3"}, **kw
    ),
    "dielectric": lambda x, **kw: dielectric(x, volume=100.0, **KW, **kw),
    "density of states": lambda x, **kw: vibrational_density_of_states(
        x[:, :, None], np.ones(1), **{**KW, "unit": "Å/fs"}, **kw
    ),
    "decomposition": lambda x, **kw: (
        decompose({"a": x, "b": x}, quantity_unit="e*Å", result_unit="", label="", **KW, **kw).total
    ),
    "accumulator": accumulated,
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_takes_the_quantum_energy_out(door):
    """In the quantum energy of a mode, coth(x/2)·x/2 as large as k_BT, or says that it is there."""
    make = DOORS[door]
    x = vector(oscillator(1500.0, n_frames=8000, n_replicas=2))
    for name in ("QTB", "Wigner"):
        with refused(key="quantum_factor") as caught:
            make(x, method=name)
        assert caught.value.expected == "standard or none"
        assert "3.6 at 1500" in str(caught.value)
    with refused(key="quantum_factor"):
        make(x, method="NVT+RPMD", n_beads=32, quantum_factor="standard")
    classical = make(x, method="NVE")
    quantum = make(x, method="QTB", quantum_factor="standard")
    if door == "raman":
        classical, quantum = classical.activity(), quantum.activity()
    if door == "dielectric":
        classical, quantum = classical.absorption, quantum.absorption
    ratio = classical.integrate(1000.0, 2000.0).value / quantum.integrate(1000.0, 2000.0).value
    half = 0.5 * 1.43877688 * 1500.0 / 300.0
    if door != "raman":  # squares of coordinates are overtones
        assert ratio == pytest.approx(half / np.tanh(half), rel=0.01)
    (note,) = [w for w in quantum.warnings if "quantum energy" in w]
    assert "3.6 at 1500" in note
    assert quantum.provenance["quantum_factor"] == "standard"


def test_a_factor_is_replaced_and_not_multiplied():
    x = vector(oscillator(1500.0, n_frames=4000))
    plain = infrared(x, **KW)
    once = infrared(x, quantum_factor="standard", **KW)
    twice = with_quantum_factor(once, 300.0, "standard")
    assert np.array_equal(twice.values, once.values)
    back = with_quantum_factor(once, 300.0, "harmonic")
    assert np.allclose(back.values, plain.values, rtol=1e-12)
    assert back.provenance["quantum_factor"] == "harmonic"
    ring = infrared(x, method="TRPMD", n_beads=32, **KW)
    with refused(key="quantum_factor"):
        with_quantum_factor(ring, 300.0, "schofield")


class WignerTrajectory:
    """Classical nuclei of a mode at 3000 cm⁻¹ with quantum energy, and its record."""

    method, temperature, timestep, n_beads, provenance = "NVE", 300.0, 0.5, 1, {}
    numbers, masses, kinetic = np.array([1]), np.array([1.008]), None

    def __init__(self, distribution="wigner", equilibration=None, **facts):
        initial = {"name": "harmonic modes", "distribution": distribution}
        method = {"name": facts.get("method", "NVE"), "time_constant": 100.0}
        self.settings = {"initial": initial, "equilibration": equilibration, "method": method}
        vars(self).update(facts)

    def observables(self):
        return ("dipole",) if self.kinetic is None else ("dipole", "temperature")

    def observable(self, name):
        half = 0.5 * 1.43877688 * 3000.0 / 300.0
        x = vector(oscillator(3000.0, n_frames=8000)) * np.sqrt(half / np.tanh(half))
        if name == "temperature":
            x = np.full((4, 10), self.kinetic) + np.arange(4.0)[:, None]
        return SimpleNamespace(values=x, interval=0.5, start=0.0, unit="e*Å")


def test_a_quantum_start_is_recognised_by_the_record_of_the_run():
    options = {"lag": 500.0, "errors": "none"}
    with refused(key="quantum_factor") as caught:
        infrared(WignerTrajectory(), **options)
    assert caught.value.expected == "standard or none"
    found = infrared(WignerTrajectory(), quantum_factor="standard", **options)
    assert found.integrate(2500.0, 3500.0).value == pytest.approx(974.880110, rel=0.01)
    assert any("7.2 at 3000" in w for w in found.warnings)
    exact = Estimate(974.880110, 1.0)
    assert sum_rule_ratio(found, exact).value == pytest.approx(1.0, abs=0.01)
    # thermal again after equilibration, and if the modes start thermally
    equilibrated = {"method": {"name": "Langevin"}, "steps": 1000}
    for usual in (WignerTrajectory(equilibration=equilibrated), WignerTrajectory("thermal")):
        assert infrared(usual, **options).warnings == ()
    # friction removes the energy in time; rescaling leaves nobody knows what
    assert any(
        "Wigner" in w for w in infrared(WignerTrajectory(method="Langevin"), **options).warnings
    )
    with refused(key="quantum_factor") as caught:
        infrared(WignerTrajectory(method="SVR"), quantum_factor="standard", **options)
    assert caught.value.expected == "another run"


def test_quantum_energy_that_is_not_on_record_shows_in_the_temperature():
    options = {"lag": 500.0, "errors": "none"}
    hot = WignerTrajectory("given", kinetic=1200.0)
    (text,) = infrared(hot, **options).warnings
    assert "1201.5 (0.6) K, not 300 K" in text
    assert "7.2 at 3000" in text
    assert infrared(WignerTrajectory("given", kinetic=299.0), **options).warnings == ()
    # where the quantum energy is known it is no fault
    known = infrared(WignerTrajectory(kinetic=1200.0), quantum_factor="standard", **options)
    assert not any("kinetic temperature" in w for w in known.warnings)


def test_a_wrong_kinetic_temperature_is_told():
    scatter = np.array([-1.0, 0.0, 0.0, 1.0])
    assert temperature_warning(303.0 + 4.0 * scatter, 300.0) == []
    (text,) = temperature_warning(330.0 + 4.0 * scatter, 300.0)
    assert "kinetic temperature is 330.0 (1.6) K, not 300 K" in text
    # four replicas do not know their error well: 6 of it is no more than 2 σ
    assert temperature_warning(330.0 + 12.0 * scatter, 300.0) == []
    # the scatter of a single one is that of its degrees of freedom
    assert temperature_warning(np.array([330.0]), 300.0) == []
    assert temperature_warning(np.array([330.0]), 300.0, 20.0) == []
    assert temperature_warning(np.array([330.0]), 300.0, 5.0)
    # quantum energies scatter as much as they are large: the thermal scatter decides
    hot = 900.0 + 600.0 * scatter
    assert temperature_warning(hot, 300.0) == []
    assert "Wigner" in temperature_warning(hot, 300.0, 200.0)[0]


def test_a_generalised_langevin_equation_by_name_may_have_quantum_energies():
    x = vector(oscillator(1000.0, n_frames=2000))
    assert any("QT" in w for w in infrared(x, method="GLE", **KW).warnings)
    stated = infrared(x, method="GLE", correlation="classical", **KW)
    assert not any("QT" in w for w in stated.warnings)


def test_unknown_methods_are_refused():
    # else a second quantum correction would not be noticed
    x = vector(oscillator(1000.0, n_frames=2000))
    with pytest.raises(InvalidInputError) as caught:
        infrared(x, method="TRMPD", quantum_factor="standard", n_beads=32, **KW)
    assert (caught.value.key, caught.value.suggestion) == ("method", "T-RPMD")


def test_ring_modes_at_300_kelvin():
    for beads, first in (
        (16, [1302, 2553, 3707]),
        (32, [1308, 2603, 3874]),
        (64, [1310, 2616, 3916]),
    ):
        assert np.allclose(ring_modes(beads, 300.0)[:3], first, atol=1.0)
    assert ring_modes(32, 300.0)[-1] == pytest.approx(13345.0, abs=1.0)
    # the eigenvalues of the spring matrix are ω_k²
    beads = 16
    spring = 2.0 * np.eye(beads) - np.roll(np.eye(beads), 1, 0) - np.roll(np.eye(beads), -1, 0)
    omega_p = beads * 300.0 / 1.43877688
    exact = np.sqrt(np.linalg.eigvalsh(spring)[1::2]) * omega_p
    assert np.allclose(np.sort(exact), ring_modes(beads, 300.0), rtol=1e-7)


def test_number_of_beads():
    assert [beads_needed(nu, 300.0) for nu in (1600.0, 3000.0, 3700.0)] == [8, 15, 18]
    assert beads_needed(3000.0, 100.0) == 44


def test_thermostat_width():
    assert thermostat_width(1000.0) == pytest.approx(5.309, abs=1e-3)
    assert thermostat_width(100.0) == pytest.approx(53.09, abs=1e-2)


def test_warnings_name_what_is_wrong():
    (text,) = method_warnings(METHODS["Langevin"], 300.0, thermostat_time=100.0)
    assert "53.1 cm⁻¹" in text
    assert method_warnings(METHODS["NVE"], 300.0) == []
    assert method_warnings(None, 300.0) == []
    assert "1308, 2603, 3874" in method_warnings(METHODS["RPMD"], 300.0, 32)[0]
    assert "broadens" in method_warnings(METHODS["T-RPMD"], 300.0, 32)[0]
    assert "curvature" in method_warnings(METHODS["PA-CMD"], 300.0, 32)[0]
    for method in METHODS.values():
        assert bool(method_warnings(method, 300.0)) == method.thermostats_centroid, method.name


def test_the_need_for_beads_is_said_once_for_the_highest_band():
    infrared_one, raman_one = (bead_warning(8, 300.0, nu) for nu in (3660.2, 3662.4))
    found = merged_warnings([*infrared_one, "other", *raman_one, "other"])
    assert found == ["other", *raman_one]
    assert merged_warnings(infrared_one) == infrared_one


def test_ring_modes_are_marked_where_they_move():
    x = vector(oscillator(1000.0, n_frames=8000))
    for method, marked in (("RPMD", True), ("T-RPMD", True), ("PA-CMD", False), ("NVE", False)):
        spectrum = infrared(
            x,
            interval=0.5,
            temperature=300.0,
            unit="e*Å",
            method=method,
            n_beads=1 if method == "NVE" else 16,
            lag=500.0,
        )
        assert ("ring_modes_cm-1" in spectrum.provenance) == marked


class RingPolymerTrajectory:
    """A trajectory of 8 beads whose dipole vibrates at 3700 cm⁻¹."""

    method, temperature, timestep, n_beads, provenance = "T-RPMD", 300.0, 0.25, 8, {"seed": 1}

    def observables(self):
        return ("dipole",)

    def observable(self, name):
        values = vector(oscillator(3700.0, n_frames=8000))
        return SimpleNamespace(values=values, interval=0.5, start=0.0, unit="e*Å")


def test_a_trajectory_carries_everything():
    spectrum = infrared(RingPolymerTrajectory(), resolution=20.0)
    assert any("8 beads are too few" in w and "at least 18" in w for w in spectrum.warnings)
    record = spectrum.provenance
    assert record["method"] == "T-RPMD"
    assert record["temperature_K"] == 300.0
    assert record["timestep_fs"] == 0.25
    assert record["interval_fs"] == 0.5
    assert record["source"] == {"seed": 1}
    assert np.allclose(record["ring_modes_cm-1"], ring_modes(8, 300.0), atol=0.01)
    with refused(key="interval"):
        infrared(RingPolymerTrajectory(), interval=0.5)
    with refused(key="quantum_factor"):
        infrared(RingPolymerTrajectory(), quantum_factor="standard")


def test_arrays_can_say_how_many_beads_they_are_from():
    x = vector(oscillator(3700.0, n_frames=8000))
    kw = {"interval": 0.5, "temperature": 300.0, "unit": "e*Å", "resolution": 20.0}
    spectrum = infrared(x, method="RPMD", n_beads=8, **kw)
    assert any("8 beads are too few" in w and "at least 18" in w for w in spectrum.warnings)
    assert any("internal modes of the ring polymer" in w for w in spectrum.warnings)
    assert spectrum.provenance["n_beads"] == 8
    with pytest.raises(InvalidInputError) as caught:
        infrared(x, n_beads=0, **kw)
    assert caught.value.key == "n_beads"


def test_frames_too_far_apart_are_warned_of():
    # 3700 cm⁻¹ sampled every 6 fs (Nyquist wavenumber 2780 cm⁻¹) is seen at 5559 − 3700 cm⁻¹
    x = vector(oscillator(3700.0, interval=6.0, n_frames=4000))
    spectrum = infrared(x, interval=6.0, temperature=300.0, unit="e*Å", lag=2000.0)
    assert spectrum.band(1500.0, 2200.0).position.value == pytest.approx(1859.4, abs=1.0)
    assert any("frames every 6 fs" in w and "2780 cm⁻¹" in w for w in spectrum.warnings)
    fine = infrared(vector(oscillator(3700.0)), interval=0.5, temperature=300.0, unit="e*Å")
    assert fine.warnings == ()


def ring_polymer(n_replicas, n_beads, wavenumber, times, rng):
    """Return x of the beads of a harmonic ring polymer at 300 K, [replica, time, bead], exactly."""
    omega_k = 2.0 * n_beads * 300.0 / 1.43877688 * np.sin(np.arange(n_beads) * np.pi / n_beads)
    frequency = angular(np.sqrt(wavenumber**2 + omega_k**2))
    # normal modes of variance P kT/(m Ω²) each, real orthonormal transformation
    spread = np.sqrt(n_beads * BOLTZMANN * 300.0) / frequency
    a, b = rng.normal(size=(2, n_replicas, n_beads)) * spread
    modes = a[:, None] * np.cos(times[:, None] * frequency) + b[:, None] * np.sin(
        times[:, None] * frequency
    )
    spring = (
        2.0 * np.eye(n_beads) - np.roll(np.eye(n_beads), 1, 0) - np.roll(np.eye(n_beads), -1, 0)
    )
    _, vectors = np.linalg.eigh(spring)
    order = np.argsort(omega_k, kind="stable")
    return modes[:, :, order] @ vectors.T


def test_ring_polymer_in_a_harmonic_well():
    n_beads, nu = 16, 1000.0
    times = 1.0 * np.arange(3000)
    x = ring_polymer(200, n_beads, nu, times, np.random.default_rng(3))
    # closed form of ⟨x²⟩ with 16 beads, and of the centroid, Å²
    assert np.mean(x**2) == pytest.approx(0.01695428, rel=0.1)
    assert np.mean(x.mean(-1) ** 2) == pytest.approx(0.0070300, rel=0.2)
    # the bead average of a linear dipole gives the classical intensity exactly
    dipole = x.mean(-1)[..., None] * np.array([1.0, 0.0, 0.0])
    spectrum = infrared(
        dipole, interval=1.0, temperature=300.0, unit="e*Å", method="RPMD", lag=1000.0
    )
    area = spectrum.integrate(500.0, 1500.0)
    classical = 8.31446261815324e-7 * 300.0 / angular(nu) ** 2
    expected = 974.880110 * np.mean(x.mean(-1) ** 2) / classical
    assert area.value == pytest.approx(expected, rel=0.05)
    assert area.value == pytest.approx(974.880110, abs=4.0 * area.error)


def test_closed_forms_of_the_ring_polymer():
    y = 1.43877688 * 1000.0 / 300.0
    assert y == pytest.approx(4.795923, rel=1e-6)
    p = 16
    omega_k = 2.0 * p * 300.0 / 1.43877688 * np.sin(np.arange(p) * np.pi / p)
    total = np.sqrt(1000.0**2 + omega_k**2)
    variance = BOLTZMANN * 300.0 / angular(total) ** 2
    assert variance.sum() == pytest.approx(0.01695428, rel=1e-6)
    assert variance[0] == pytest.approx(0.0070300, rel=1e-4)
    kappa = 2.0 * np.arcsinh(y / (2.0 * p))
    closed = variance[0] * y**2 / p / np.tanh(p * kappa / 2.0) / (2.0 * np.sinh(kappa))
    assert closed == pytest.approx(0.01695428, rel=1e-6)
    assert 2.0 * np.tanh(y / 2.0) / y == pytest.approx(0.410185, rel=1e-5)
    assert 2.0 * total[1:3] == pytest.approx([3282.95, 5484.45], abs=0.02)
    assert C == 2.99792458e-5


def test_overtones_of_a_ring_polymer_are_contaminated():
    # x² of a harmonic well: lines at 2Ω_k with areas as multiplicity/Ω_k⁴
    n_beads, nu = 16, 1000.0
    x = ring_polymer(400, n_beads, nu, 0.5 * np.arange(3000), np.random.default_rng(4))
    square = np.mean(x**2, axis=-1)
    spectrum = power_spectrum(square, interval=0.5, unit="Å²", lag=500.0)
    first = np.sqrt(nu**2 + ring_modes(n_beads, 300.0)[0] ** 2)
    assert 2.0 * first == pytest.approx(3282.95, abs=0.02)
    overtone = spectrum.band(1800.0, 2200.0)
    spurious = spectrum.band(3082.0, 3482.0)
    assert overtone.position.value == pytest.approx(2000.0, abs=5.0)
    assert spurious.position.value == pytest.approx(3282.95, abs=5.0)
    ratio = spurious.area.value / overtone.area.value
    assert ratio == pytest.approx(2.0 * (nu / first) ** 4, rel=0.3)
    # (k_BT/mω²)²: each of the two factors of x² has the classical amplitude
    classical = (BOLTZMANN * 300.0 / angular(nu) ** 2) ** 2
    assert overtone.area.value == pytest.approx(classical, rel=0.3)


def beads_note(*parts, n_replicas=1, **options):
    """Return what is said of 16 beads at 300 K, of oscillators with amplitudes."""
    x = sum(
        amplitude * oscillator(nu, n_frames=8000, n_replicas=n_replicas) * nu
        for nu, amplitude in parts
    )
    found = infrared(
        vector(x),
        interval=0.5,
        temperature=300.0,
        unit="e*Å",
        method="T-RPMD",
        n_beads=16,
        **options,
    )
    return [text for text in found.warnings if "too few" in text]


def test_too_few_beads_are_told_by_bands_and_not_by_overtones():
    assert not beads_note((1500.0, 1.0))
    (note,) = beads_note((1500.0, 1.0), (3700.0, 0.5))
    assert "16 beads are too few for the band at 3700 cm⁻¹ at 300 K" in note
    # above every vibration there are overtones and noise, however strong
    assert not beads_note((1500.0, 1.0), (6766.0, 0.5))
    # without an error a maximum of 0.05² · (3700/1500)² = 0.015 is no band
    assert not beads_note((1500.0, 1.0), (3700.0, 0.05))


def test_a_maximum_within_its_error_is_no_band():
    """Replicas that share nothing but the strong band."""
    rng = np.random.default_rng(4)
    strong = 1500.0 * oscillator(1500.0, n_frames=8000, n_replicas=8)
    weak = 3700.0 * oscillator(3700.0, n_frames=8000, n_replicas=8)
    options = {"interval": 0.5, "temperature": 300.0, "unit": "e*Å", "method": "T-RPMD"}

    def note(share):
        x = vector(strong + 0.3 * share[:, None] * weak)
        found = infrared(x, n_beads=16, resolution=40.0, **options)
        assert found.samples is not None
        return any("too few" in text for text in found.warnings)

    assert note(np.ones(8))
    assert not note(np.eye(8)[rng.integers(8)])
