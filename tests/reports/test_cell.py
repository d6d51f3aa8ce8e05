# SPDX-License-Identifier: MIT
"""The optics of cells with known answers, from dynamics to files."""

import numpy as np
import pytest
import torch

from eqcalc.cli import main
from eqcalc.dynamics import Equilibration, Method, StabilityLimits
from eqcalc.reports.cell import count_molecules
from eqcalc.reports.molecular import molecular_spectra, motion_spectra
from eqcalc.spectra import infrared, read_spectrum
from eqcalc.units import (
    BOLTZMANN,
    FEMTOSECOND,
    INTENSITY_PER_SQUARED_CHARGE_PER_MASS,
    POLARIZABILITY_VOLUME,
    SPEED_OF_LIGHT_CM_PER_FS,
    cell_permittivity,
    convert,
)
from tests.analytic import HarmonicWell, IonicCrystal, WaterBox
from tests.dynamics.test_cells import box_run
from tests.dynamics.test_simulation import run
from tests.errors import refused

CHARGE, STIFFNESS, N, EDGE, ALPHA = 0.6, 3.0, 24, 8.0, 2.5  # e, eV/Å², atoms, Å, Å³


class PolarizableBox(HarmonicWell):
    """Charges in harmonic wells with constant polarizabilities, in a cubic cell.

    ε∞ = 1 + 4πNα/V, and ε(0) = ε∞ + Nq²/ε₀Vk whatever the temperature.
    """

    def __init__(self):
        super().__init__([STIFFNESS] * N)
        self.cell = EDGE * torch.eye(3, dtype=torch.float64)

    def dipole(self, positions):
        return CHARGE * positions.sum(dim=1)

    def polarizability(self, positions):
        alpha = POLARIZABILITY_VOLUME * ALPHA * N * torch.eye(3, dtype=torch.float64)
        return alpha.expand(len(positions), 3, 3)

    @property
    def atoms(self):
        atoms = super().atoms
        atoms.set_cell(self.cell.numpy())
        atoms.pbc = True
        return atoms


HIGH = 1.0 + 4.0 * np.pi * N * ALPHA / EDGE**3
STATIC = HIGH - 1.0 + cell_permittivity(N * CHARGE**2 / STIFFNESS, EDGE**3)


@pytest.fixture(scope="module")
def polarizable(tmp_path_factory):
    path = tmp_path_factory.mktemp("box") / "run.h5"
    return run(
        *(path, PolarizableBox()),
        method="Langevin",
        masses=np.full(N, 16.0),
        steps=4000,
        timestep=4.0,
        replicas=6,
        translation="thermal",
        limits=StabilityLimits(bond_stretch=np.inf),  # all wells are at the origin
        observables={"dipole": 1, "polarizability": 1, "positions": 2000},
    )


def test_permittivities_are_the_known_ones(polarizable):
    optics = molecular_spectra(polarizable, n_molecules=N, resolution=30.0).optics
    assert optics.high_frequency.value == pytest.approx(HIGH, rel=1e-12)
    assert abs(optics.static.value - STATIC) < 4.0 * optics.static.error
    assert optics.static.error < 0.1 * STATIC
    spectra = optics.spectra()
    real, index = spectra["permittivity-real"], spectra["refractive-index"]
    # far above the line n² = ε∞; the integral of ε''/ν̃ is the static one
    above = index.wavenumber > 3000.0
    np.testing.assert_allclose(index.values[above] ** 2, HIGH, rtol=0.01)
    low = real.values[(real.wavenumber > 30.0) & (real.wavenumber < 60.0)].mean()
    assert low == pytest.approx(optics.static.value, rel=0.08)


def test_spectra_of_a_cell_are_consistent(polarizable):
    """n² − k² = ε′, 2nk = ε″, α = 4πν̃k and σ = ε₀ω ε″, on the grid of all of them."""
    spectra = molecular_spectra(polarizable, n_molecules=N, resolution=30.0).optics.spectra()
    n, k, real, imaginary, alpha = (
        spectra[name]
        for name in (
            "refractive-index",
            "extinction-coefficient",
            "permittivity-real",
            "permittivity-imaginary",
            "absorption-coefficient",
        )
    )
    np.testing.assert_allclose(n.values**2 - k.values**2, real.values, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(2.0 * n.values * k.values, imaginary.values, rtol=1e-9, atol=1e-12)
    exact = 4.0 * np.pi * k.wavenumber * k.values
    np.testing.assert_allclose(alpha.values, exact, rtol=1e-9, atol=1e-9)
    sigma = spectra["conductivity"].between(imaginary.wavenumber[0] - 1e-9, None)
    # ε₀ω: 2πc · 8.8541878e-14 F/cm
    omega = 2.0 * np.pi * 2.99792458e10 * imaginary.wavenumber
    exact = 8.8541878128e-14 * omega * imaginary.values
    np.testing.assert_allclose(sigma.values, exact, rtol=1e-8)


def test_a_crystal_has_its_lattice_vibration_and_permittivities(tmp_path):
    """One line at ω² = 6k/μ, with the area of the charges, and ε(0), ε∞, as they are known."""
    crystal = IonicCrystal()
    n, volume = crystal.n_pairs, float(torch.linalg.det(crystal.cell))
    masses = np.where(crystal.numbers.numpy() == 12, *crystal.masses)
    trajectory = run(
        *(tmp_path / "run.h5", crystal),
        masses=masses,
        method=Method("Langevin", time_constant=200.0),
        timestep=4.0,
        steps=500,
        replicas=16,
        equilibration=Equilibration(400.0),
        observables={"dipole": 1, "polarizability": 1, "positions": 200},
    )
    spectra = molecular_spectra(trajectory, n_molecules=n, lag=450.0, frequency_correction=True)
    reduced = np.prod(crystal.masses) / np.sum(crystal.masses)
    omega = np.sqrt(6.0 * crystal.stiffness / reduced) * FEMTOSECOND  # 1/fs
    line = spectra.infrared.band(300.0, 1200.0)
    assert line.position.value == pytest.approx(
        omega / (2.0 * np.pi * SPEED_OF_LIGHT_CM_PER_FS), rel=5e-3
    )
    area = INTENSITY_PER_SQUARED_CHARGE_PER_MASS * 3.0 * crystal.charge**2 / reduced
    assert line.area.error < 0.15 * area
    assert line.area.value == pytest.approx(area, abs=4.0 * line.area.error)
    optics = spectra.optics
    high = 1.0 + 4.0 * np.pi * n * crystal.polarizability_volume / volume
    assert optics.high_frequency.value == pytest.approx(high, rel=1e-12)
    of_ions = n * crystal.charge**2 / (6.0 * crystal.stiffness)
    static = high - 1.0 + cell_permittivity(of_ions, volume)
    assert optics.static.error < 0.15 * static
    assert optics.static.value == pytest.approx(static, abs=4.0 * optics.static.error)
    # between the line and that of the longitudinal vibration light is reflected: ε' < 0
    real = optics.spectra()["permittivity-real"]
    assert real.values.min() < -1.0 < 1.0 < real.values[0]


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    return box_run(tmp_path_factory.mktemp("water") / "a.h5", steps=150)


def test_intensities_are_per_molecule(box):
    """The molecules of a box, counted by their bonds, are those of the spectrum."""
    assert count_molecules(box) == WaterBox().n_molecules == 4
    spectra = molecular_spectra(box, lag=30.0)
    whole = infrared(box, lag=30.0)
    np.testing.assert_allclose(4.0 * spectra.infrared.values, whole.values, rtol=1e-12)
    assert spectra.raman.isotropic.provenance["n_molecules"] == 4
    assert spectra.vibrations is None
    # αn of the cell is the cross-section per molecule times their density
    sigma = infrared(box, lag=30.0, n_molecules=4, quantity="cross-section")
    volume = abs(np.linalg.det(box.cell)) * 1e-24  # cm³
    absorption = spectra.optics.dielectric.absorption.values
    np.testing.assert_allclose(absorption, 4.0 * sigma.values / volume, rtol=1e-7)


def test_densities_of_states_of_sites_add_up(box):
    sites = {"first": [0, 1, 2], "oxygen": [3, 6, 9], "others": [4, 5, 7, 8, 10, 11]}
    found = motion_spectra(box, density_of_states=True, groups=sites, lag=30.0)
    whole = found["density-of-states"].values
    for parts in (("first", "oxygen", "others"), ("H", "O")):
        total = sum(found[f"density-of-states-{name}"].values for name in parts)
        np.testing.assert_allclose(total, whole, rtol=0.0, atol=1e-12 * whole.max())
    # the integral is ⟨Σ m v²⟩/k_BT of the recorded motion
    velocities = box.observable("positions").values
    velocities = (velocities[:, 2:] - velocities[:, :-2]) / (2.0 * 0.5)
    square = np.einsum("rtia,i->rtia", velocities**2, box.masses)[:, :, [0, 1, 2]]
    expected = square.sum(axis=(2, 3)).mean() / FEMTOSECOND**2  # eV
    raw = motion_spectra(
        box, density_of_states=True, groups=sites, lag=30.0, finite_difference="none"
    )["density-of-states-first"]
    degrees = raw.integrate().value
    assert degrees == pytest.approx(expected / (BOLTZMANN * box.temperature), rel=1e-6)
    with refused(key="group odd", value=[0, 12]):
        motion_spectra(box, density_of_states=True, groups={"odd": [0, 12]}, lag=30.0)


def test_a_cell_has_no_molecular_frame(box):
    with refused(key="frame", value="eckart"):
        molecular_spectra(box, frame="eckart")


def test_command(box, tmp_path, capsys):
    main(["spectra", str(box.path), "--output", str(tmp_path), "--lag", "30"])
    text = capsys.readouterr().out
    assert "ε∞ = " in text and "4 in the cell" in text
    n = read_spectrum(tmp_path / "spectrum-refractive-index.h5")
    alpha = box.observable("polarizability").values
    alpha = convert(np.trace(alpha.mean((0, 1))) / 3.0, "e^2*Å^2/eV", "Å^3")
    volume = abs(np.linalg.det(box.cell))
    assert n.values[-1] ** 2 == pytest.approx(1.0 + 4.0 * np.pi * alpha / volume, rel=0.05)
