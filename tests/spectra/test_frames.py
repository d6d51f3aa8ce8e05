# SPDX-License-Identifier: MIT
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import dawsn

from eqcalc.spectra import Series, infrared, raman
from eqcalc.spectra.estimator.correlation import Signal, lag_sums
from eqcalc.spectra.frames import (
    FrameError,
    corotating_rotations,
    eckart_rotations,
    interpolate_rotations,
    rotate,
)
from eqcalc.validation import InvalidInputError
from tests.spectra import toy_water as water
from tests.spectra.oscillators import BOLTZMANN, angular

CENTRED = water.EQUILIBRIUM - water.MASSES @ water.EQUILIBRIUM / water.MASSES.sum()


def turned_geometries(n=50, seed=1, distortion=0.05):
    rng = np.random.default_rng(seed)
    body = CENTRED + distortion * rng.normal(size=(1, n, 3, 3))
    q = Rotation.random(n, random_state=seed).as_matrix()[None]
    return body, np.einsum("rtab,rtib->rtia", q, body) + rng.normal(size=(1, n, 1, 3))


def test_eckart_condition():
    _, r = turned_geometries()
    u = eckart_rotations(r, water.EQUILIBRIUM, water.MASSES)
    centre = np.einsum("rtia,i->rta", r, water.MASSES) / water.MASSES.sum()
    seen = np.einsum("rtab,rtib->rtia", u, r - centre[:, :, None])
    condition = np.einsum("i,rtia->rta", water.MASSES, np.cross(CENTRED, seen))
    assert np.abs(condition).max() < 1e-12
    assert np.allclose(np.linalg.det(u), 1.0)
    assert np.einsum("i,rtia,ia->rt", water.MASSES, seen, CENTRED).min() > 0.0


def test_eckart_frame_undoes_a_rotation():
    body, r = turned_geometries()
    u = eckart_rotations(r, water.EQUILIBRIUM, water.MASSES)
    v = eckart_rotations(body, water.EQUILIBRIUM, water.MASSES)
    assert np.allclose(rotate(water.dipole(r), u), rotate(water.dipole(body), v), atol=1e-12)
    assert np.allclose(
        rotate(water.polarizability(r), u), rotate(water.polarizability(body), v), atol=1e-12
    )


def test_frames_that_do_not_exist_are_refused():
    with pytest.raises(FrameError):
        eckart_rotations(np.zeros((1, 1, 2, 3)), np.diag([1.0, 2.0, 3.0])[:2] * 0, np.ones(2))
    line = np.outer([-1.2, 0.0, 1.2], [0.0, 0.0, 1.0])
    with pytest.raises(FrameError) as caught:
        eckart_rotations(line[None, None], line, np.ones(3))
    assert caught.value.key == "reference"
    # straightened water fits its reference equally well from both sides
    straight = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    with pytest.raises(FrameError) as caught:
        eckart_rotations(straight[None, None], water.EQUILIBRIUM, water.MASSES)
    assert caught.value.key == "geometry (0, 0)"
    with pytest.raises(FrameError) as caught:
        corotating_rotations(spinning(CENTRED, 1.0, np.array([0.0, 0.0, 0.6]), 5), water.MASSES)
    assert caught.value.value == pytest.approx(0.6, abs=0.1)


def spinning(r, interval, rate, n_frames):
    """Return a rigid geometry turning about a fixed axis, [1, n_frames, n_atoms, 3]."""
    angles = np.outer(interval * np.arange(n_frames), rate)
    return np.einsum("tab,ib->tia", Rotation.from_rotvec(angles).as_matrix(), r)[None]


@pytest.mark.parametrize(
    "geometry",
    [CENTRED, np.outer([-1.2, 0.0, 1.2], [0.6, 0.0, 0.8]), np.outer([-0.5, 0.5], [0.0, 1.0, 0.0])],
)
def test_corotating_frame_holds_a_rigid_rotor_still(geometry):
    masses = np.array([15.999, 1.008, 1.008])[: len(geometry)]
    if len(geometry) == 3 and np.linalg.matrix_rank(geometry) == 1:
        masses = np.array([16.0, 12.0, 16.0])
    else:
        geometry = geometry - masses @ geometry / masses.sum()
    r = spinning(geometry, 1.0, np.array([0.01, -0.02, 0.015]), 400)
    u = corotating_rotations(r, masses)
    seen = np.einsum("rtab,rtib->rtia", u, r)
    assert np.allclose(seen, seen[:, :1], atol=1e-3)


@pytest.mark.parametrize("name", ["CH4", "NH3", "C2H6", "CO2", "H2O"])
def test_every_type_of_top_is_held_still(name):
    # spherical, symmetric (oblate and prolate), linear, asymmetric
    from ase.build import molecule

    atoms = molecule(name)
    masses = atoms.get_masses()
    geometry = atoms.positions - masses @ atoms.positions / masses.sum()
    r = spinning(geometry, 1.0, np.array([0.012, -0.02, 0.015]), 300)
    seen = np.einsum("rtab,rtib->rtia", corotating_rotations(r, masses), r)
    assert np.allclose(seen, seen[:, :1], atol=2e-3)
    if name != "CO2":
        u = eckart_rotations(r, geometry, masses)
        assert np.allclose(np.einsum("rtab,rtib->rtia", u, r), geometry, atol=1e-10)


def test_angular_momentum_vanishes_in_the_corotating_frame(warm):
    u = corotating_rotations(warm.positions, water.MASSES)
    r = (
        warm.positions
        - np.einsum("rtia,i->rta", warm.positions, water.MASSES)[:, :, None] / water.MASSES.sum()
    )
    seen = np.einsum("rtab,rtib->rtia", u, r)
    velocity = 0.5 * (seen[:, 2:] - seen[:, :-2])
    momentum = np.einsum("i,rtia->rta", water.MASSES, np.cross(seen[:, 1:-1], velocity))
    fixed = 0.5 * (r[:, 2:] - r[:, :-2])
    before = np.einsum("i,rtia->rta", water.MASSES, np.cross(r[:, 1:-1], fixed))
    assert np.abs(momentum).max() < 0.02 * np.abs(before).max()


@pytest.fixture(scope="module")
def warm():
    """Rotating, vibrating water at 300 K, 32 replicas of 4 ps."""
    rng = np.random.default_rng(4)
    spread = np.sqrt(BOLTZMANN * 300.0 / water.MASSES)[:, None]
    v = spread * rng.normal(size=(32, 3, 3))
    v -= np.einsum("ria,i->ra", v, water.MASSES)[:, None] / water.MASSES.sum()
    # equipartition: all energy was kinetic; propagate long enough to share it
    r = np.tile(CENTRED, (32, 1, 1))
    positions, velocities = water.propagate(r, v, 0.5, 8000, every=2)
    return SimpleNamespace(positions=positions, velocities=velocities)


class Trajectory:
    method, temperature, timestep, n_beads = "NVE", 300.0, 0.5, 1
    masses, provenance = water.MASSES, {}

    def __init__(self, positions, stride=1):
        self.data = {
            "dipole": (water.dipole(positions), 1.0, "e*Å"),
            "polarizability": (water.polarizability(positions), 1.0, "Å^3"),
            "positions": (positions[:, ::stride], 1.0 * stride, "Å"),
        }

    def observables(self):
        return tuple(self.data)

    def observable(self, name):
        values, interval, unit = self.data[name]
        return SimpleNamespace(values=values, interval=interval, start=0.0, unit=unit)


@pytest.mark.parametrize("frame", ["eckart", "corotating"])
def test_rotation_is_gone_and_the_vibrations_remain(warm, frame):
    trajectory = Trajectory(warm.positions)
    free = infrared(trajectory, resolution=25.0)
    still = infrared(trajectory, resolution=25.0, frame=frame)
    assert still.provenance["frame"] == frame
    assert still.integrate(0, 1000).value < 0.02 * free.integrate(0, 1000).value
    for limits in ((1000, 2200), (2800, 4300)):
        # total area of a vibration does not depend on rotation but for centrifugal effects
        assert still.integrate(*limits).value == pytest.approx(
            free.integrate(*limits).value, rel=0.06
        )
    # without the rotational envelope the bend is as narrow as resolution and anharmonicity allow
    assert still.band(1250, 1550).width.value < 50.0
    assert (
        still.values[still.wavenumber < 2000].max()
        > 2.0 * free.values[(free.wavenumber > 1200) & (free.wavenumber < 2000)].max()
    )
    activity = raman(trajectory, resolution=25.0, frame=frame).activity()
    assert activity.integrate(20, 1000).value < 0.05 * activity.integrate().value


def test_sparse_positions_are_interpolated(warm):
    dense = infrared(Trajectory(warm.positions), resolution=25.0, frame="eckart")
    sparse = infrared(Trajectory(warm.positions, stride=4), resolution=25.0, frame="eckart")
    a, b = dense.integrate(1000, 2200).value, sparse.integrate(1000, 2200).value
    assert b == pytest.approx(a, rel=0.02)


def test_frames_need_positions(warm):
    dipole = water.dipole(warm.positions)
    with pytest.raises(FrameError) as caught:
        infrared(dipole, interval=1.0, temperature=300.0, unit="e*Å", frame="eckart")
    assert (caught.value.key, caught.value.value) == ("frame", "eckart")
    with pytest.raises(InvalidInputError) as caught:
        infrared(Trajectory(warm.positions), frame="body")
    assert caught.value.key == "frame"
    bare = Trajectory(warm.positions)
    del bare.data["positions"]
    with pytest.raises(InvalidInputError) as caught:
        infrared(bare, frame="eckart")
    assert caught.value.value == "positions"


@pytest.mark.parametrize("frame", ["eckart", "corotating"])
def test_arrays_with_positions_are_seen_from_the_molecule(warm, frame):
    positions = warm.positions[:4]
    facts = {"interval": 1.0, "temperature": 300.0, "method": "NVE", "timestep": 0.5}
    series = Series.from_arrays(
        water.dipole(positions),
        "dipole",
        [(3,)],
        unit="e*Å",
        # another length of unit does not matter
        positions=Series(0.1 * positions, 1.0, 300.0, "nm", "positions"),
        masses=water.MASSES,
        **facts,
    )
    found = infrared(series, resolution=25.0, frame=frame)
    expected = infrared(Trajectory(positions), resolution=25.0, frame=frame)
    assert np.allclose(found.values, expected.values, atol=1e-9 * expected.values.max())


def test_interpolated_rotations_of_a_steady_spin():
    rate = np.array([0.01, 0.02, -0.01])
    known = Rotation.from_rotvec(np.outer(5.0 * np.arange(40), rate)).as_matrix()[None]
    times = np.arange(0.0, 190.0)
    exact = Rotation.from_rotvec(np.outer(times, rate)).as_matrix()
    assert np.allclose(interpolate_rotations(known, 5.0, times)[0], exact, atol=1e-8)


def test_free_linear_rotor():
    # ⟨u(0)·u(t)⟩ and ⟨P₂⟩ at τ = t√(kT/I)
    tau = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 5.0])
    first = [0.769828, 0.275222, -0.128204, -0.279976, -0.179501, -0.046229]
    second = [0.456416, 0.040018, 0.115375, 0.188811, 0.227125, 0.242263]
    exact = 1.0 - np.sqrt(2.0) * tau * dawsn(tau / np.sqrt(2.0))
    assert np.allclose(exact, first, atol=1e-6)
    twice = 1.0 - np.sqrt(2.0) * 2 * tau * dawsn(2 * tau / np.sqrt(2.0))
    assert np.allclose(0.25 + 0.75 * twice, second, atol=1e-6)
    # an ensemble of rotors: the angular velocity has two Gaussian components
    rng = np.random.default_rng(5)
    omega = np.linalg.norm(rng.normal(size=(20000, 2)), axis=1)
    t = 0.05 * np.arange(121)
    u = np.stack([np.cos(omega[:, None] * t), np.sin(omega[:, None] * t)], -1)
    found = np.einsum("ra,rta->t", u[:, 0], u) / len(u)
    assert np.allclose(found[(tau / 0.05).round().astype(int)], first, atol=0.02)
    assert lag_sums(Signal.from_array(u[0]), 2).correlation()[0, 0] == pytest.approx(1.0, abs=1e-12)


def rotors(rotational_constant, n=400):
    """Return moments of inertia and rates of n linear rotors at 300 K, evenly over the ensemble."""
    inertia = 16.857629 / rotational_constant
    # the speed of two Gaussian components
    quantile = -2.0 * np.log((np.arange(n) + 0.5) / n)
    return inertia, np.sqrt(BOLTZMANN * 300.0 / inertia * quantile)


@pytest.mark.parametrize(
    ("rotational_constant", "vibration", "separation"),
    [
        (10.440, 2886.0, 131.97),
        pytest.param(1.9225, 2143.0, 56.63, marks=pytest.mark.slow),
        pytest.param(20.56, 3961.0, 185.19, marks=pytest.mark.slow),
    ],
)
def test_separation_of_p_and_r_branches(rotational_constant, vibration, separation):
    # HCl, CO, HF: a dipole moment along the axis that vibrates and turns
    _, rate = rotors(rotational_constant, 1500)
    rng = np.random.default_rng(7)
    t = 1.0 * np.arange(3000)
    angle = rate[:, None] * t + 2.0 * np.pi * rng.random((1500, 1))
    q = np.cos(angular(vibration) * t + 2.0 * np.pi * rng.random((1500, 1)))
    mu = 0.1 * q[..., None] * np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], -1)
    kw = {"interval": 1.0, "temperature": 300.0, "unit": "D", "lag": 1500.0, "errors": "none"}
    spectrum = infrared(mu, **kw)
    envelope = spectrum.between(vibration - 2.0 * separation, vibration + 2.0 * separation)
    x, y = envelope.wavenumber - vibration, envelope.values
    # each branch is y ∝ |x| exp(−x²/2s²), with its maximum at s
    s = separation / 2.0
    shape = np.abs(x) * np.exp(-0.5 * (x / s) ** 2)
    wide = np.abs(x) > 0.3 * s
    amplitude = (y @ shape) / (shape @ shape)
    assert np.abs(y - amplitude * shape)[wide].max() < 0.12 * y.max()
    fits = []
    for branch in (x < 0.0, x > 0.0):
        near = branch & (np.abs(np.abs(x) - s) < 0.5 * s)
        fits.append(np.polyfit(x[near], y[near], 3))
    peaks = []
    for fit, side in zip(fits, (-1.0, 1.0), strict=True):
        grid = side * np.linspace(0.6, 1.4, 400) * s
        peaks.append(grid[np.argmax(np.polyval(fit, grid))])
    assert peaks[1] - peaks[0] == pytest.approx(separation, rel=0.08)


def test_pure_rotation_of_an_asymmetric_top():
    # water: rates with exactly ⟨ω_i²⟩ = kT/I_i about each axis, dipole along the second
    inertia = 16.857629 / np.array([27.8806, 14.5218, 9.2778])
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    rate = np.cross(signs * np.sqrt(BOLTZMANN * 300.0 / inertia), [0.0, 1.8546, 0.0])
    series = np.repeat(rate[:, None], 200, axis=1)
    spectrum = infrared(derivative=series, interval=1.0, temperature=300.0, unit="D/fs", lag=50.0)
    assert spectrum.integrate().value == pytest.approx(320.4, abs=0.1)


@pytest.mark.parametrize(
    ("rotational_constant", "dipole", "maximum", "area"),
    [(10.440, 1.1085, 114.29, 64.31), (1.9225, 0.1098, 49.04, 0.1162)],
)
def test_pure_rotation_spectrum_of_linear_molecules(rotational_constant, dipole, maximum, area):
    # I = ħ/(4πcB); HCl and CO
    _, omega = rotors(rotational_constant)
    rng = np.random.default_rng(6)
    t = 4.0 * np.arange(3000)
    phase = omega[:, None] * t + rng.random((400, 1)) * 2.0 * np.pi
    mu = dipole * np.stack([np.cos(phase), np.sin(phase), 0.0 * phase], -1)
    spectrum = infrared(mu, interval=4.0, temperature=300.0, unit="D", resolution=8.0)
    assert spectrum.integrate().value == pytest.approx(area, rel=0.01)
    shown = spectrum.between(0.0, 400.0)
    smooth = np.polyfit(shown.wavenumber, shown.values, 9)
    peak = shown.wavenumber[np.argmax(np.polyval(smooth, shown.wavenumber)[5:-5]) + 5]
    assert peak == pytest.approx(maximum, rel=0.12)
