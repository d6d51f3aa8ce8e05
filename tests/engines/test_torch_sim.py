# SPDX-License-Identifier: MIT
"""torch-sim gets from the model what ASE gets, for batches of molecules and of cells."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.stress import voigt_6_to_full_3x3_stress

from eqcalc import EqCalculator, infrared, simulate
from eqcalc.dynamics import FromArrays
from eqcalc.engines.torch_sim import TorchSimModel
from eqcalc.models import Potential, PotentialConfig, References
from eqcalc.models.networks.painn import PaiNNConfig, SmoothPaiNNConfig
from eqcalc.runtime import ExecutionUnavailableError, MoleculeEvaluator
from eqcalc.units import FEMTOSECOND
from eqcalc.validation import UnknownElementError
from tests.conftest import make_potential
from tests.errors import refused

LOCAL = {"dipole": {"form": "local"}, "polarizability": {"form": "local"}}


def test_without_torch_sim_it_says_so(monkeypatch):
    monkeypatch.setattr("eqcalc.engines.torch_sim.ModelInterface", torch.nn.Module)
    with pytest.raises(ExecutionUnavailableError) as caught:
        TorchSimModel(EqCalculator(make_potential(), device="cpu"))
    assert caught.value.key == "torch-sim"


@pytest.fixture
def ts():
    return pytest.importorskip("torch_sim", minversion="0.6")


@pytest.fixture(scope="module")
def calculator():
    """Return a random model with read-outs of molecules and cells, in double precision."""
    potential = make_potential(form=SmoothPaiNNConfig, read_outs=LOCAL, cutoff=4.0)
    return EqCalculator(potential, device="cpu")


def state_of(ts, structures: list[Atoms], **extras):
    state = ts.io.atoms_to_state(structures, torch.device("cpu"), torch.float64)
    for name, value in extras.items():
        state._system_extras[name] = value
    return state


def cells() -> list[Atoms]:
    """Return cells of different sizes and shapes."""
    rng = np.random.default_rng(1)
    found = []
    for name in ("H2O", "CH3OH", "CH4"):
        atoms = molecule(name)
        atoms.cell = 5.0 * np.eye(3) + 0.5 * rng.normal(size=(3, 3))
        atoms.pbc = True
        found.append(atoms)
    return found


def test_molecules_of_a_batch_are_what_they_are_in_ase(ts, calculator):
    structures = [molecule(name) for name in ("H2O", "CH3CH2OH", "C6H6", "CH4")]
    found = TorchSimModel(calculator, compute_stress=True)(state_of(ts, structures))
    assert set(found) == {"energy", "forces", "total_polarization", "polarizability"}
    first = 0
    for index, atoms in enumerate(structures):
        atoms.calc = calculator
        forces = found["forces"][first : first + len(atoms)]
        first += len(atoms)
        np.testing.assert_allclose(found["energy"][index], atoms.get_potential_energy(), atol=1e-9)
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-10)
        dipole, alpha = found["total_polarization"][index], found["polarizability"][index]
        np.testing.assert_allclose(dipole, atoms.get_dipole_moment(), atol=1e-10)
        np.testing.assert_allclose(alpha, calculator.get_polarizability(atoms), atol=1e-10)


def test_cells_of_a_batch_are_what_they_are_in_ase(ts, calculator):
    structures = cells()
    found = TorchSimModel(calculator, compute_stress=True)(state_of(ts, structures))
    for index, atoms in enumerate(structures):
        atoms.calc = calculator
        stress = voigt_6_to_full_3x3_stress(atoms.get_stress())
        np.testing.assert_allclose(found["stress"][index], stress, atol=1e-11)
        dipole = found["total_polarization"][index]
        np.testing.assert_allclose(dipole, atoms.get_dipole_moment(), atol=1e-10)


def test_the_contract_of_torch_sim_holds(ts):
    from torch_sim.models.interface import validate_model_outputs

    config = PotentialConfig(PaiNNConfig(features=8, cutoff=3.5), ("energy",), {})
    elements = (1, 6, 12, 14, 26)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    potential = Potential(config, References(elements, {"energy": dict.fromkeys(elements, 0.0)}))
    torch.set_rng_state(state)
    model = TorchSimModel(EqCalculator(potential.double(), device="cpu"))
    validate_model_outputs(model, torch.device("cpu"), torch.float64)


def test_changes_of_a_state_are_noticed(ts, calculator):
    """Elements that are changed in place, after calls for the same objects."""
    model = TorchSimModel(calculator)
    state = state_of(ts, [molecule("H2O"), molecule("CH4")])
    first = {name: value.clone() for name, value in model(state).items()}
    state.positions += 0.1 * torch.sin(torch.arange(24.0).double()).reshape(8, 3)
    moved = model(state)
    assert not torch.allclose(moved["energy"], first["energy"])
    state.atomic_numbers[0] = 7
    changed = state_of(ts, [Atoms([7, 1, 1], state.positions[:3].numpy())])
    assert model(state)["energy"][0] == pytest.approx(model(changed)["energy"].item(), abs=1e-9)
    state.positions[0, 0] = torch.nan
    torch.testing.assert_close(model(state)["energy"][1], moved["energy"][1])


def test_steps_are_ours(ts, calculator, ethanol, tmp_path):
    """Two replicas at once, in torch-sim's NVE and in ours, to rounding."""
    rng = np.random.default_rng(3)
    masses = ethanol.get_masses()
    momenta = rng.normal(size=(2, 9, 3)) * np.sqrt(0.005 * masses)[:, None]
    momenta -= masses[:, None] * (momenta.sum(1, keepdims=True) / masses.sum())
    model = TorchSimModel(calculator)
    state = state_of(ts, [ethanol, ethanol])
    state = ts.nve_init(state, model, kT=0.01)
    state.momenta = torch.from_numpy(momenta.reshape(18, 3))
    frames = [state.total_polarization.clone()]
    for _ in range(20):
        state = ts.nve_step(state, model, dt=0.5 * FEMTOSECOND)
        frames.append(state.total_polarization.clone())
    ours = simulate(
        ethanol,
        MoleculeEvaluator(calculator.execution, torch.from_numpy(ethanol.numbers)),
        output=tmp_path / "ours.h5",
        method="NVE",
        temperature=300.0,
        timestep=0.5,
        steps=20,
        seed=1,
        replicas=2,
        initial=FromArrays(
            torch.from_numpy(ethanol.positions).expand(2, 1, 9, 3),
            torch.from_numpy(momenta)[:, None],
        ),
        observables={"dipole": 1, "positions": 20},
        progress=False,
    )
    positions = ours.observable("positions").values[:, -1]
    np.testing.assert_allclose(state.positions.reshape(2, 9, 3), positions, atol=1e-9)
    dipole = torch.stack(frames, dim=1)
    np.testing.assert_allclose(dipole, ours.observable("dipole").values, atol=1e-9)
    theirs = infrared(dipole.numpy(), interval=0.5, unit="e*Å", temperature=300.0, method="NVE")
    np.testing.assert_allclose(theirs.values, infrared(ours).values, rtol=1e-6)


def test_reporters_record_dipole_moments(ts, calculator, ethanol, tmp_path):
    files = [tmp_path / f"{index}.h5" for index in range(2)]
    reporter = ts.TrajectoryReporter(
        files,
        state_frequency=10,
        prop_calculators={2: {"dipole": lambda state: state.total_polarization}},
    )
    ts.integrate(
        [ethanol, ethanol],
        TorchSimModel(calculator),
        integrator=ts.Integrator.nve,
        n_steps=10,
        temperature=300.0,
        timestep=0.0005,
        trajectory_reporter=reporter,
    )
    for file in files:
        with ts.TorchSimTrajectory(file) as trajectory:
            assert trajectory.get_array("dipole").shape == (6, 1, 3)


def test_charges_are_those_of_the_state(ts):
    potential = make_potential()
    potential.metadata["charges"] = [0.0, 1.0]
    calculator = EqCalculator(potential, device="cpu")
    model = TorchSimModel(calculator, dtype=torch.float32)
    ion = molecule("H2O")
    found = model(state_of(ts, [ion, ion], total_charge=torch.tensor([1.0, 0.0]).double()))
    assert {value.dtype for value in found.values()} == {torch.float32}
    ion.info["charge"] = 1.0
    ion.calc = calculator
    np.testing.assert_allclose(found["total_polarization"][0], ion.get_dipole_moment(), atol=1e-6)
    with refused(key="charge", value=2.0):
        model(state_of(ts, [ion], charge=torch.tensor([2.0]).double()))


def test_read_outs_of_molecules_are_left_out_of_cells(ts):
    found = TorchSimModel(EqCalculator(make_potential(cutoff=3.5), device="cpu"))(
        state_of(ts, cells())
    )
    assert set(found) == {"energy", "forces"}


def test_what_does_not_fit_is_refused(ts, calculator):
    model = TorchSimModel(calculator)
    with pytest.raises(UnknownElementError):
        model(state_of(ts, [Atoms("Ar")]))
    flat = molecule("H2O")
    flat.pbc = True
    with refused(key="state.cell"):
        model(state_of(ts, [flat]))
