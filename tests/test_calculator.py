# SPDX-License-Identifier: MIT
"""The ASE calculator: values, cache, refusals, and ASE's own tools on top of it."""

import pickle
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import InputError, PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.vibrations import Infrared, Vibrations
from ase.vibrations.placzek import PlaczekStatic
from ase.vibrations.raman import StaticRamanCalculator

from eqcalc.calculator import CalculatorInputError, EqCalculator, StaticPolarizability
from eqcalc.models.checkpoint import save_model
from eqcalc.models.derivatives import hessian, property_derivative
from eqcalc.neighbors import all_pairs
from eqcalc.structure_formats import GeometryWarning
from eqcalc.structures import Structures
from eqcalc.validation import ABSENT
from tests.conftest import make_potential
from tests.errors import refused


@pytest.fixture
def calculator(potential):
    return EqCalculator(potential)


def test_all_quantities_come_in_ase_units(calculator, potential, ethanol):
    ethanol.calc = calculator
    energy = ethanol.get_potential_energy()
    structure = Structures.from_atoms(ethanol)
    names = ("energy", "forces", "dipole", "polarizability")
    expected = potential.evaluate(structure, all_pairs(structure), names)
    assert isinstance(energy, float)
    assert energy == pytest.approx(float(expected["energy"]), rel=1e-14)
    for found, name in (
        (ethanol.get_forces(), "forces"),
        (ethanol.get_dipole_moment()[None], "dipole"),
        (calculator.get_polarizability()[None], "polarizability"),
    ):
        np.testing.assert_allclose(found, expected[name], rtol=0.0, atol=1e-12)
    assert set(calculator.results) == set(calculator.implemented_properties) - {"stress"}


def test_one_evaluation_serves_all_requests(calculator, ethanol, monkeypatch):
    calls = []
    execution = type(calculator.execution)
    evaluate = execution.evaluate
    monkeypatch.setattr(
        execution, "evaluate", lambda *arguments: calls.append(1) or evaluate(*arguments)
    )
    ethanol.calc = calculator
    ethanol.get_forces()
    ethanol.get_potential_energy()
    ethanol.get_dipole_moment()
    calculator.get_polarizability(ethanol)
    assert len(calls) == 1
    ethanol.positions[0, 0] += 1e-12
    ethanol.get_forces()
    assert len(calls) == 2


def test_cache_is_invalidated_by_everything_that_matters(ethanol):
    potential = make_potential()
    potential.metadata["charges"] = [0.0, 1.0]
    ethanol.calc = EqCalculator(potential)
    neutral = ethanol.get_dipole_moment()
    ethanol.info["charge"] = 1
    charged = ethanol.get_dipole_moment()
    assert np.abs(charged - neutral).max() > 1e-6
    ethanol.info["charge"] = 0
    np.testing.assert_array_equal(ethanol.get_dipole_moment(), neutral)
    del ethanol.info["charge"]
    ethanol.set_initial_charges([1.0] + [0.0] * 8)
    np.testing.assert_array_equal(ethanol.get_dipole_moment(), charged)
    ethanol.set_initial_charges([0.0] * 9)
    before = ethanol.get_potential_energy()
    ethanol.numbers[2] = 7
    assert ethanol.get_potential_energy() != before


def test_periodicity_and_cell_invalidate_the_cache(calculator):
    crystal = bulk("C", cubic=True)
    crystal.calc = calculator
    energies = [crystal.get_potential_energy()]
    crystal.set_cell(crystal.cell.array * 1.01, scale_atoms=False)
    energies.append(crystal.get_potential_energy())
    crystal.pbc = [True, True, False]
    energies.append(crystal.get_potential_energy())
    crystal.pbc = False
    energies.append(crystal.get_potential_energy())
    assert len(set(energies)) == 4


def test_charged_dipole_is_about_the_centre_of_mass_of_the_isotopes(ethanol):
    potential = make_potential()
    potential.metadata["charges"] = [1.0]
    ethanol.info["charge"] = 1.0
    ethanol.calc = EqCalculator(potential)
    normal, center = ethanol.get_dipole_moment(), ethanol.get_center_of_mass()
    ethanol.set_masses([30.0, *ethanol.get_masses()[1:]])
    heavy = ethanol.get_dipole_moment()
    np.testing.assert_allclose(heavy - normal, center - ethanol.get_center_of_mass(), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        (lambda a: a.numbers.__setitem__(0, 17), "elements", "Cl"),
        (lambda a: a.positions.__setitem__((3, slice(None)), np.inf), "positions[3]", 3 * [np.inf]),
        (lambda a: a.positions.__setitem__(4, a.positions[1] + 0.01), "positions", ABSENT),
        (lambda a: a.info.__setitem__("charge", 1), "charge", 1.0),
        (lambda a: a.info.__setitem__("charge", "one"), "atoms.info['charge']", "one"),
        (lambda a: a.set_pbc(True), "cell", ABSENT),
    ],
)
def test_bad_input_is_a_clear_error(calculator, ethanol, change, key, value):
    ethanol.calc = calculator
    ethanol.get_potential_energy()
    change(ethanol)
    with refused(CalculatorInputError, key=key, value=value) as caught:
        ethanol.get_potential_energy()
    assert isinstance(caught.value, InputError)  # that of ASE


def test_contradicting_charges_are_refused(calculator, ethanol):
    ethanol.calc = calculator
    ethanol.set_initial_charges([0.5] + [0.0] * 8)
    ethanol.info["charge"] = 0
    with refused(CalculatorInputError, key="atoms.info['charge']", value=0.0):
        ethanol.get_potential_energy()


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": 5},
        {"device": "gpu"},
        {"device": 1.5},
        {"skin": -1.0},
        {"skin": "a"},
        {"device": "cuda:99"},
        {"precision": "float16"},
    ],
    ids=str,
)
def test_impossible_arguments_are_named(potential, arguments):
    ((key, _),) = arguments.items()
    with refused(CalculatorInputError, key=key):
        EqCalculator(**{"model": potential, **arguments})


def test_results_are_exported_to_ase_by_the_names_it_knows(calculator, ethanol):
    found = calculator.calculate_properties(ethanol, ["energy", "forces", "dipole"])
    ethanol.calc = calculator
    assert found["energy"] == ethanol.get_potential_energy()
    np.testing.assert_array_equal(found["forces"], ethanol.get_forces())
    np.testing.assert_array_equal(found["dipole"], ethanol.get_dipole_moment())


def test_atoms_that_nothing_is_near_are_pointed_out(calculator, ethanol):
    ethanol.positions *= 1000.0  # nanometres?
    with pytest.warns(GeometryWarning, match="as if it were alone; positions are taken in ång"):
        calculator.get_potential_energy(ethanol)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeometryWarning)
        calculator.get_potential_energy(ethanol[:1])  # a free atom is one


def test_no_atoms_is_refused(calculator):
    with refused(CalculatorInputError, key="atoms"):
        Atoms(calculator=calculator).get_potential_energy()


def test_undefined_properties_are_not_invented(calculator, ethanol):
    ethanol.calc = calculator
    with pytest.raises(PropertyNotImplementedError, match="no stress"):
        ethanol.get_stress()
    crystal = bulk("C", cubic=True)
    crystal.calc = EqCalculator(calculator.potential)
    assert crystal.get_stress().shape == (6,)
    with pytest.raises(PropertyNotImplementedError, match="pbc = False"):
        crystal.get_dipole_moment()
    energy_only = EqCalculator(make_potential(heads=("energy",)))
    ethanol.calc = energy_only
    assert "dipole" not in energy_only.implemented_properties
    with pytest.raises(PropertyNotImplementedError):
        ethanol.get_dipole_moment()


def test_results_are_not_overwritten_by_the_next_call(calculator, ethanol):
    ethanol.calc = calculator
    forces = ethanol.get_forces()
    kept = forces.copy()
    ethanol.positions[0] += 0.1
    ethanol.get_forces()
    np.testing.assert_array_equal(forces, kept)


def test_file_and_precision(tmp_path, potential, ethanol):
    save_model(potential, tmp_path / "m.eqc")
    energies = {}
    for precision in (None, "float32", "float64"):
        ethanol.calc = EqCalculator(tmp_path / "m.eqc", device="cpu", precision=precision)
        energies[precision] = ethanol.get_potential_energy()
    assert energies[None] == energies["float64"]
    assert 0.0 < abs(energies["float32"] - energies[None]) < 1e-4
    with refused(CalculatorInputError, key="precision", value="float16"):
        EqCalculator(tmp_path / "m.eqc", precision="float16")


def test_a_model_given_is_not_changed(potential):
    EqCalculator(potential, precision="float32")
    assert potential.dtype == torch.float64


@pytest.mark.parametrize("name", ["H2O", "CO2"])
def test_numpy_views_and_subclasses_work(calculator, name):
    class Labelled(Atoms):
        """A user's own subclass of Atoms."""

    atoms = Labelled(molecule(name))
    atoms.positions = np.asfortranarray(atoms.positions)
    atoms.calc = calculator
    assert np.isfinite(atoms.get_forces()).all()


def test_molecular_dynamics_of_ase_conserves_energy(calculator, ethanol):
    ethanol.calc = calculator
    dynamics = VelocityVerlet(ethanol, timestep=0.1 * units.fs)
    start = ethanol.get_total_energy()
    dynamics.run(50)
    assert abs(ethanol.get_total_energy() - start) < 1e-4


def test_optimiser_goes_downhill(calculator, ethanol):
    ethanol.calc = calculator
    before = ethanol.get_potential_energy()
    BFGS(ethanol, logfile=None, maxstep=0.02).run(steps=5)
    assert ethanol.get_potential_energy() < before


def test_vibrations_and_infrared_of_ase_agree_with_exact_derivatives(
    calculator, potential, ethanol, tmp_path
):
    ethanol.calc = calculator
    infrared = Infrared(ethanol, name=str(tmp_path / "ir"), delta=2e-4)
    infrared.run()
    infrared.read()
    structure = Structures.from_atoms(ethanol)
    exact = hessian(potential, structure).reshape(27, 27).numpy()
    np.testing.assert_allclose(infrared.H, exact, atol=2e-4 * np.abs(exact).max())
    # dmu/dQ in (D/Å)/√amu from our polar tensors and ASE's modes
    tensors = property_derivative(potential, structure, "dipole").reshape(27, 3).numpy()
    masses = np.repeat(ethanol.get_masses(), 3) ** -0.5
    _, modes = np.linalg.eigh(masses[:, None] * exact * masses[None, :])
    intensities = ((modes.T * masses) @ tensors / units.Debye) ** 2
    np.testing.assert_allclose(
        infrared.intensities, intensities.sum(1), rtol=5e-3, atol=1e-3 * intensities.max()
    )
    vibrations = Vibrations(ethanol, name=str(tmp_path / "vib"), delta=2e-4)
    vibrations.run()
    assert len(vibrations.get_frequencies()) == 27


def test_placzek_raman_of_ase_agrees_with_exact_derivatives(
    calculator, potential, ethanol, tmp_path
):
    ethanol.calc = calculator
    name = str(tmp_path / "raman")
    arguments = {"exkwargs": {"calculator": calculator}, "name": name, "delta": 2e-4}
    StaticRamanCalculator(ethanol, StaticPolarizability, **arguments).run()
    raman = PlaczekStatic(ethanol, name=name, delta=2e-4)
    activities = raman.get_absolute_intensities()
    structure = Structures.from_atoms(ethanol)
    exact = hessian(potential, structure).reshape(27, 27).numpy()
    alpha = property_derivative(potential, structure, "polarizability").reshape(27, 3, 3).numpy()
    masses = np.repeat(ethanol.get_masses(), 3) ** -0.5
    _, modes = np.linalg.eigh(masses[:, None] * exact * masses[None, :])
    volume = units.Hartree * units.Bohr
    derivative = np.einsum("kq,kab->qab", modes * masses[:, None], alpha) * volume
    isotropic = np.trace(derivative, axis1=1, axis2=2) / 3.0
    traceless = derivative - isotropic[:, None, None] * np.eye(3)
    expected = 45.0 * isotropic**2 + 7.0 * 1.5 * (traceless**2).sum((1, 2))
    np.testing.assert_allclose(activities, expected, rtol=5e-3, atol=2e-3 * expected.max())


def test_threads_that_share_a_calculator_get_the_values_of_their_own_atoms(
    calculator, ethanol, monkeypatch
):
    shared = pickle.loads(pickle.dumps(calculator))
    copies = [ethanol.copy() for _ in range(3)]
    for scale, atoms in zip((0.97, 1.0, 1.03), copies, strict=True):
        atoms.positions *= scale
    expected = [calculator.get_potential_energy(atoms) for atoms in copies]
    assert len(set(expected)) == 3
    execution, rng = type(shared.execution), np.random.default_rng(1)
    evaluate = execution.evaluate

    def slow(*arguments):
        time.sleep(rng.uniform(0.0, 0.01))  # the others come in between
        return evaluate(*arguments)

    monkeypatch.setattr(execution, "evaluate", slow)

    def energies(atoms):
        atoms.calc = shared
        found = []
        for _ in range(10):
            found.append(atoms.get_potential_energy())
            time.sleep(rng.uniform(0.0, 0.01))
        return found

    with ThreadPoolExecutor(3) as threads:
        for found, value in zip(threads.map(energies, copies), expected, strict=True):
            assert found == [value] * 10
