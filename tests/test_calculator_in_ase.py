# SPDX-License-Identifier: MIT
"""The shipped model in ASE's own programs: vibrations, thermochemistry, NEB, filters, dynamics."""

from argparse import ArgumentParser

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.calculators import calculator as ase_calculators
from ase.cli.run import CLICommand
from ase.filters import Filter
from ase.md.langevin import Langevin
from ase.mep import NEB
from ase.optimize import BFGS
from ase.thermochemistry import IdealGasThermo
from ase.vibrations import Vibrations

from eqcalc import EqCalculator, harmonic_spectrum
from eqcalc.models.checkpoint import shipped_model
from eqcalc.units import WAVENUMBER_PER_EV

#: The hydrogen of the hydroxyl group of ethanol.
HYDROXYL = 3


@pytest.fixture(scope="module")
def calculator():
    return EqCalculator(shipped_model("ethanol"), device="cpu")


@pytest.fixture(scope="module")
def relaxed(calculator):
    atoms = molecule("CH3CH2OH")
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
    return atoms


@pytest.fixture
def ethanol(relaxed, calculator):
    atoms = relaxed.copy()
    atoms.calc = calculator
    return atoms


@pytest.mark.slow
def test_thermochemistry_of_vibrations_has_our_harmonic_energies(ethanol, tmp_path):
    """The zero-point energy is half the sum of our frequencies, the entropy that of experiment."""
    vibrations = Vibrations(ethanol, name=str(tmp_path / "vib"), delta=0.002)
    vibrations.run()
    energies = vibrations.get_energies().real[6:]
    ours = harmonic_spectrum(ethanol.calc.potential, ethanol).wavenumber
    assert len(energies) == len(ours) == 21
    np.testing.assert_allclose(energies * WAVENUMBER_PER_EV, ours, rtol=2e-3, atol=1.5)  # cm⁻¹
    thermo = IdealGasThermo(
        energies, "nonlinear", atoms=ethanol, symmetrynumber=1, spin=0, potentialenergy=0.0
    )
    assert thermo.get_ZPE_correction() == pytest.approx(
        0.5 * ours.sum() / WAVENUMBER_PER_EV, rel=1e-3
    )
    entropy = thermo.get_entropy(298.15, 1e5, verbose=False)
    # trans ethanol alone; 282.7 J/(mol K) with its gauche forms (CRC Handbook)
    assert 260.0 < entropy * units.mol / units.J < 283.0


def test_a_band_turns_the_hydroxyl_group_from_gauche_to_gauche(relaxed, calculator):
    """NEB over the mirror plane: symmetric, with a barrier of some kJ/mol in between."""
    images = []
    for angle in (60.0, 20.0, -20.0, -60.0):
        image = relaxed.copy()
        image.calc = calculator
        image.set_dihedral(0, 1, 2, HYDROXYL, angle)
        images.append(image)
    first, last = images[0], images[-1]
    BFGS(first, logfile=None).run(fmax=0.02, steps=60)
    last.positions = first.positions[[0, 1, 2, 3, 5, 4, 6, 8, 7]] * [1.0, 1.0, -1.0]
    band = NEB(images, method="improvedtangent", allow_shared_calculator=True)
    BFGS(band, logfile=None).run(fmax=0.1, steps=60)
    energies = np.array([image.get_potential_energy() for image in images])
    assert energies[0] == pytest.approx(energies[-1], abs=1e-5)
    assert energies[1] == pytest.approx(energies[2], abs=5e-3)
    assert 0.02 < energies[1] - energies[0] < 0.1  # eV


def test_a_filter_relaxes_one_atom_only(ethanol):
    before = ethanol.positions.copy()
    lowest = ethanol.get_potential_energy()
    ethanol.positions[HYDROXYL] += [0.05, -0.03, 0.08]
    assert ethanol.get_potential_energy() > lowest + 0.01
    BFGS(Filter(ethanol, indices=[HYDROXYL]), logfile=None).run(fmax=2e-3, steps=60)
    assert ethanol.get_potential_energy() == pytest.approx(lowest, abs=1e-4)
    assert np.array_equal(np.delete(ethanol.positions, HYDROXYL, 0), np.delete(before, HYDROXYL, 0))


def test_langevin_dynamics_of_ase_heats_a_cold_molecule(ethanol):
    """By ⟨T⟩ = T₀(1 − exp(−2γt)) after half a relaxation time, loosely."""
    dynamics = Langevin(
        ethanol, 0.5 * units.fs, temperature_K=300.0, friction=0.05 / units.fs,
        rng=np.random.default_rng(1), fixcm=False,
    )  # fmt: skip
    dynamics.run(60)
    assert 150.0 < ethanol.get_temperature() < 500.0


def test_ase_finds_the_calculator_once_it_is_registered(tmp_path, monkeypatch, relaxed):
    """ASE looks in its own package and in a table only, so somebody has to register it."""
    monkeypatch.setattr(ase_calculators, "external_calculators", {})
    ase_calculators.register_calculator_class("eqcalc", EqCalculator)
    assert ase_calculators.get_calculator_class("eqcalc") is EqCalculator
    monkeypatch.chdir(tmp_path)
    ase.io.write("ethanol.xyz", relaxed.copy())
    parser = ArgumentParser()
    CLICommand.add_arguments(parser)
    options = ["-p", f"model={shipped_model('ethanol')}", "-o", "out.extxyz"]
    CLICommand.run(parser.parse_args(["eqcalc", "ethanol.xyz", *options]))
    found = ase.io.read("out.extxyz")
    assert found.get_potential_energy() == pytest.approx(relaxed.get_potential_energy(), abs=1e-5)
    np.testing.assert_allclose(found.get_forces(), relaxed.get_forces(), atol=1e-4)
    np.testing.assert_allclose(found.get_dipole_moment(), relaxed.get_dipole_moment(), atol=1e-5)
