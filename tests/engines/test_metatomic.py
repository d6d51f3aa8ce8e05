# SPDX-License-Identifier: MIT
"""Models in metatomic's engines give what they give in ours, for structures of any size."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from eqcalc import EqCalculator
from eqcalc.engines.metatomic import export_metatomic, metatomic_model
from eqcalc.models.networks.painn import SmoothPaiNNConfig
from eqcalc.runtime import ExecutionUnavailableError
from tests.conftest import make_potential

LOCAL = {"dipole": {"form": "local"}, "polarizability": {"form": "local"}}


def test_without_metatomic_it_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExecutionUnavailableError) as caught:
        metatomic_model(make_potential())
    assert caught.value.key == "metatomic"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Return metatomic's ASE calculator and ours of the same model, with local read-outs."""
    pytest.importorskip("metatomic.torch")
    metatomic_ase = pytest.importorskip("metatomic_ase")
    potential = make_potential(form=SmoothPaiNNConfig, read_outs=LOCAL, cutoff=4.0)
    path = export_metatomic(potential, tmp_path_factory.mktemp("models") / "model.pt")
    return metatomic_ase.MetatomicCalculator(path, device="cpu"), EqCalculator(potential)


def requests():
    from metatomic.torch import ModelOutput

    return {
        name: ModelOutput(sample_kind="system")
        for name in ("energy", "mtt::dipole", "mtt::polarizability")
    }


def box(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    cell = 6.0 * (np.eye(3) + 0.1 * rng.normal(size=(3, 3)))
    atoms = Atoms(cell=cell, pbc=True)
    for corner in ([0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]):
        water = molecule("H2O")
        water.rotate(360.0 * rng.random(), rng.normal(size=3))
        water.positions += corner @ cell
        atoms += water
    return atoms


def structures() -> list[Atoms]:
    mixed = box(1)
    mixed.pbc = [True, True, False]
    names = ("H2O", "C", "CH3CH2OH", "C6H6", "CH4")
    return [*map(molecule, names), box(0), mixed]


@pytest.mark.parametrize("index", range(7))
def test_energy_forces_and_stress_are_ours(engine, index):
    theirs, ours = structures()[index], structures()[index]
    theirs.calc, ours.calc = engine
    assert theirs.get_potential_energy() == pytest.approx(ours.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(theirs.get_forces(), ours.get_forces(), atol=1e-9)
    if theirs.pbc.all():
        np.testing.assert_allclose(theirs.get_stress(), ours.get_stress(), atol=1e-11)


def test_a_batch_of_molecules_and_cells_is_what_each_is_alone(engine):
    theirs, ours = engine
    batch = structures()
    found = theirs.run_model(batch, requests())
    for row, atoms in enumerate(batch):
        atoms.calc = ours
        energy = found["energy"].block().values[row, 0].item()
        assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        dipole = found["mtt::dipole"].block().values[row, :, 0].detach().numpy()
        np.testing.assert_allclose(dipole, atoms.get_dipole_moment(), atol=1e-10)
        alpha = found["mtt::polarizability"].block().values[row, ..., 0].detach().numpy()
        np.testing.assert_allclose(alpha, ours.get_polarizability(atoms), atol=1e-10)


def test_energies_of_atoms_and_of_selected_ones(engine):
    from metatensor.torch import Labels
    from metatomic.torch import ModelOutput

    theirs, _ = engine
    batch = [molecule("H2O"), molecule("CH4")]
    by_atom = {"energy": ModelOutput(unit="eV", sample_kind="atom")}
    block = theirs.run_model(batch, by_atom)["energy"].block()
    assert block.samples.names == ["system", "atom"] and len(block.values) == 8
    chosen = Labels(["system", "atom"], torch.tensor([[0, 2], [1, 0], [1, 3]]))
    by_system = {"energy": ModelOutput(unit="eV", sample_kind="system")}
    partial = theirs.run_model(batch, by_system, selected_atoms=chosen)["energy"].block().values
    atomic = block.values[:, 0]
    expected = torch.stack([atomic[2], atomic[3] + atomic[6]])
    torch.testing.assert_close(partial[:, 0], expected, rtol=0.0, atol=1e-10)


def test_dipole_moments_when_all_atoms_are_selected_as_lammps_does(engine):
    from metatensor.torch import Labels

    theirs, ours = engine
    water = molecule("H2O")
    atoms = Labels(["system", "atom"], torch.tensor([[0, 0], [0, 1], [0, 2]]))
    found = theirs.run_model(water, requests(), selected_atoms=atoms)
    water.calc = ours
    dipole = found["mtt::dipole"].block().values[0, :, 0].detach().numpy()
    np.testing.assert_allclose(dipole, water.get_dipole_moment(), atol=1e-10)
    some = Labels(["system", "atom"], torch.tensor([[0, 1]]))
    with pytest.raises(torch.jit.Error):
        theirs.run_model(water, requests(), selected_atoms=some)


def test_read_outs_of_molecules_refuse_cells(tmp_path):
    pytest.importorskip("metatomic.torch")
    metatomic_ase = pytest.importorskip("metatomic_ase")
    potential = make_potential(cutoff=4.0)
    potential.metadata["charges"] = [0.0, 1.0]
    path = export_metatomic(potential, tmp_path / "model.pt", charge=1.0)
    theirs = metatomic_ase.MetatomicCalculator(path, device="cpu")
    ion = molecule("H2O")
    ion.info["charge"] = 1.0
    ion.calc = EqCalculator(potential)
    found = theirs.run_model(ion, requests())["mtt::dipole"].block().values[0, :, 0]
    np.testing.assert_allclose(found.detach().numpy(), ion.get_dipole_moment(), atol=1e-10)
    with pytest.raises(torch.jit.Error):
        theirs.run_model(box(0), requests())
