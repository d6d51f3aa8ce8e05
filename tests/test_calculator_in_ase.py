# SPDX-License-Identifier: MIT
"""The shipped model in ASE's own programs: vibrations, thermochemistry, NEB, filters, dynamics."""

import subprocess
import sys
from importlib.metadata import entry_points

import ase.db
import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.calculators.calculator import get_calculator_class
from ase.calculators.names import names as calculator_names
from ase.filters import Filter, FrechetCellFilter
from ase.md.langevin import Langevin
from ase.mep import NEB
from ase.optimize import BFGS
from ase.phonons import Phonons
from ase.thermochemistry import IdealGasThermo
from ase.vibrations import Vibrations

from eqcalc import EqCalculator, harmonic_spectrum, simulate
from eqcalc.ase_plugin import read_eqcalc
from eqcalc.models.checkpoint import shipped_model
from eqcalc.models.networks.painn import SmoothPaiNNConfig
from eqcalc.runtime import evaluator_for
from eqcalc.units import WAVENUMBER_PER_EV
from eqcalc.validation import MissingFileError
from tests.conftest import make_potential
from tests.errors import refused

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


def test_lattice_vibrations_have_the_frequencies_of_the_lattice_at_its_centre(tmp_path):
    """Phonons of ASE, by supercells, at Γ: the translations, and the modes of the cell alone."""
    potential = make_potential(form=SmoothPaiNNConfig, cutoff=3.5)
    crystal = bulk("C", "diamond", a=3.6)
    crystal.calc = EqCalculator(potential, device="cpu")
    phonons = Phonons(
        crystal, crystal.calc, supercell=(3, 3, 3), delta=1e-3, name=str(tmp_path / "phonon")
    )
    phonons.run()
    phonons.read(acoustic=True)
    squared = np.sign(found := phonons.band_structure([[0.0, 0.0, 0.0]])[0]) * found**2
    vibrations = Vibrations(crystal, name=str(tmp_path / "vib"), delta=1e-3)
    vibrations.run()
    expected = np.sort((vibrations.get_energies() ** 2).real)
    np.testing.assert_allclose(np.sort(squared), expected, atol=1e-3 * np.abs(expected).max())


def test_a_cell_and_its_contents_are_relaxed():
    potential = make_potential(form=SmoothPaiNNConfig, cutoff=3.5)
    crystal = bulk("C", "diamond", a=3.6)
    crystal.rattle(0.05, seed=2)
    crystal.calc = EqCalculator(potential, device="cpu")
    energy, stress = crystal.get_potential_energy(), np.abs(crystal.get_stress()).max()
    BFGS(FrechetCellFilter(crystal), logfile=None).run(fmax=1e-3, steps=60)
    assert crystal.get_potential_energy() < energy
    assert np.abs(crystal.get_stress()).max() < 0.05 * stress
    assert np.abs(crystal.get_forces()).max() < 1e-3


@pytest.mark.parametrize("suffix", ["extxyz", "traj", "db"])
def test_dipole_moments_and_polarizabilities_come_back_from_files(ethanol, tmp_path, suffix):
    """ASE has no polarizability among its properties: it travels as additional information."""
    path = tmp_path / f"ethanol.{suffix}"
    ethanol.get_forces()
    ethanol.info["polarizability"] = ethanol.calc.get_polarizability()
    if suffix == "db":
        with ase.db.connect(path) as database:
            database.write(ethanol, data={"polarizability": ethanol.info["polarizability"]})
            row = database.get(1)
        found, alpha = row.toatoms(), row.data["polarizability"]
    else:
        ase.io.write(path, ethanol)
        found = ase.io.read(path)
        alpha = found.info["polarizability"]
    np.testing.assert_allclose(found.get_dipole_moment(), ethanol.get_dipole_moment(), atol=1e-8)
    np.testing.assert_allclose(found.get_forces(), ethanol.get_forces(), atol=1e-8)
    np.testing.assert_allclose(alpha, ethanol.calc.get_polarizability(), atol=1e-8)


def test_files_tell_with_which_model_and_make_the_calculator_again(relaxed, tmp_path):
    ethanol = relaxed.copy()
    ethanol.calc = EqCalculator("ethanol", device="cpu", precision="float64")
    energy = ethanol.get_potential_energy()
    ase.io.write(tmp_path / "ethanol.traj", ethanol)
    kept = ase.io.read(tmp_path / "ethanol.traj").calc
    with ase.db.connect(tmp_path / "ethanol.db") as database:
        database.write(ethanol)
        row = database.get(1)
    assert row.calculator == kept.name == ethanol.calc.name
    assert row.calculator_parameters == kept.parameters
    again = get_calculator_class(row.calculator)(**row.calculator_parameters)
    assert again.get_potential_energy(row.toatoms()) == energy
    # of a model without a file nothing else is made
    with pytest.raises(MissingFileError):
        get_calculator_class("eqcalc")(**EqCalculator(make_potential()).parameters)


def test_arguments_of_a_calculator_do_not_change(calculator):
    with refused(key="precision", value="float64"):
        calculator.set(precision="float64")


# --- what ASE finds of eqcalc ---


def test_the_calculator_is_found_by_its_name(ethanol):
    assert "eqcalc" in calculator_names
    found = get_calculator_class("eqcalc")(shipped_model("ethanol"), device="cpu")
    assert isinstance(found, EqCalculator)
    assert found.get_potential_energy(ethanol) == ethanol.get_potential_energy()


@pytest.mark.slow
def test_the_command_of_ase_runs_the_calculator(tmp_path, relaxed):
    """A process of its own, which is told of eqcalc by the entry point alone."""
    if not entry_points(group="ase.ioformats", name="eqcalc"):
        pytest.skip("eqcalc was installed before it had this entry point")
    ase.io.write(tmp_path / "ethanol.xyz", relaxed.copy())
    command = [sys.executable, "-m", "ase", "run", "eqcalc", "ethanol.xyz"]
    options = ["-p", f"model={shipped_model('ethanol')}", "-o", "out.extxyz"]
    subprocess.run([*command, *options], cwd=tmp_path, check=True, timeout=300)
    found = ase.io.read(tmp_path / "out.extxyz")
    assert found.get_potential_energy() == pytest.approx(relaxed.get_potential_energy(), abs=1e-5)
    np.testing.assert_allclose(found.get_forces(), relaxed.get_forces(), atol=1e-4)
    np.testing.assert_allclose(found.get_dipole_moment(), relaxed.get_dipole_moment(), atol=1e-5)


def test_what_ase_loads_with_its_formats_is_not_slow():
    code = "import eqcalc.ase_plugin, sys; print('torch' in sys.modules or 'h5py' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_trajectories_are_read_as_atoms(ethanol, tmp_path):
    evaluator = evaluator_for(ethanol.calc.potential, ethanol.numbers)
    strides = {"positions": 2, "dipole": 2, "polarizability": 4, "velocities": 2}
    path = tmp_path / "run.h5"
    run = simulate(
        *(ethanol, evaluator),
        output=path,
        method="NVE",
        temperature=300.0,
        timestep=0.5,
        steps=8,
        seed=1,
        replicas=2,
        observables=strides | {"potential_energy": 2, "temperature": 2},
        progress=False,
    )
    frames = read_eqcalc(str(path), slice(None))
    assert [frame.info["time_fs"] for frame in frames] == 2 * [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [frame.info["replica"] for frame in frames] == 5 * [0] + 5 * [1]
    assert ["polarizability" in f.info for f in frames] == 2 * [True, False, True, False, True]
    (last,) = read_eqcalc(str(path))
    temperature = run.observable("temperature").values[1, -1]  # of 24 degrees of freedom
    assert last.get_temperature() * 27 / 24 == pytest.approx(temperature, rel=1e-6)
    energy, dipole, alpha = last.get_potential_energy(), last.get_dipole_moment(), last.info
    last.calc = ethanol.calc
    assert last.get_potential_energy() == pytest.approx(energy, abs=2e-3)
    np.testing.assert_allclose(last.get_dipole_moment(), dipole, atol=1e-5)
    np.testing.assert_allclose(
        last.calc.get_polarizability(last), alpha["polarizability"], atol=1e-5
    )
