# SPDX-License-Identifier: MIT
"""Periodic cells through i-PI: the virial, constant volume and pressure, and what is refused."""

import json
import socket
import threading

import numpy as np
import pytest
import torch
from ase import Atoms

from eqcalc.calculator import EqCalculator
from eqcalc.centroid import corrected
from eqcalc.dynamics import Equilibration, simulate
from eqcalc.ipi import (
    Address,
    Barostat,
    InputError,
    ProtocolError,
    Strides,
    UnixSocket,
    initial_conditions,
    serve,
    write_input,
)
from eqcalc.ipi.description import Description
from eqcalc.ipi.evaluation import BeadEvaluator
from eqcalc.ipi.units import BOHR, HARTREE
from eqcalc.models.checkpoint import load_model, model_hash, save_model
from eqcalc.models.corrected import CORRECTION, ELEVATED_TEMPERATURE
from eqcalc.reports.cell import mean_density
from eqcalc.runtime import evaluator_for
from eqcalc.units import BOLTZMANN, atomic_unit
from eqcalc.validation import InvalidInputError
from tests.conftest import make_potential
from tests.errors import refused
from tests.ipi.conftest import PATIENCE, finish
from tests.ipi.test_client import connected, init
from tests.models.test_local_readouts import local_potential, water_box

ALL = ("energy", "forces", "dipole", "polarizability")
STRIDES = Strides(spectra=2, energies=2, centroid=4, beads=4, checkpoint=10)


def standard(box):
    """Return a box in i-PI's frame: the first vector along x, the second in the xy plane."""
    turned = box.copy()
    turned.set_cell(box.cell.standard_form()[0], scale_atoms=True)
    return turned


def columns(box):
    """Return the cell as i-PI has it, vectors as columns [bohr]."""
    return box.cell.array.T / BOHR


@pytest.fixture
def box():
    return standard(water_box())


@pytest.fixture
def evaluator(box):
    return evaluator_for(local_potential(), torch.tensor(box.numbers), cell=box.cell.array)


@pytest.fixture
def evaluate(evaluator):
    return BeadEvaluator(evaluator, ALL, periodic=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model of cells, whose weak forces leave the molecules what they are."""
    path = tmp_path_factory.mktemp("model") / "model.eqc"
    potential = local_potential(features=8, layers=1)
    potential.references.scales["energy"] = 0.02
    del potential.references.values["energy"]  # i-PI 3.3.0 prints nine digits
    save_model(potential, path)
    return path


@pytest.fixture
def water(box):
    """The box that `prepare` starts from, too heavy to fly apart within a test."""
    box.set_masses(100.0 * box.get_masses())
    return box


# --- one evaluation -------------------------------------------------------------------


def test_results_are_those_of_the_evaluator(evaluate, evaluator, box):
    beads = box.positions + np.random.default_rng(1).normal(scale=0.02, size=(3, len(box), 3))
    results = evaluate(beads / BOHR, np.stack([columns(box)] * 3))
    expected = evaluator(torch.from_numpy(beads), (*ALL, "stress"))
    volume = box.get_volume()
    for i, result in enumerate(results):
        extras = json.loads(result.extras)
        assert result.energy * HARTREE == pytest.approx(float(expected["energy"][i]), rel=1e-12)
        pairs = (
            (result.forces * HARTREE / BOHR, expected["forces"][i]),
            (-result.virial * HARTREE / volume, expected["stress"][i]),
            (np.array(extras["dipole"]) * BOHR, expected["dipole"][i]),
            (
                np.reshape(extras["polarizability"], (3, 3)) * atomic_unit("e^2*Å^2/eV"),
                expected["polarizability"][i],
            ),
        )
        for found, value in pairs:
            np.testing.assert_allclose(found, value, rtol=0.0, atol=1e-11)


def test_the_virial_is_what_the_energy_loses_by_strain(evaluate, box):
    """W_ab = −∂E/∂ε_ab of all components, positions and cell strained alike, in atomic units."""
    positions, cell, step = box.positions[None] / BOHR, columns(box)[None], 3e-5
    virial = evaluate(positions, cell)[0].virial
    numerical = np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            energies = []
            for sign in (1.0, -1.0):
                strain = np.eye(3)
                strain[a, b] += sign * step
                energies.append(evaluate(positions @ strain.T, strain @ cell)[0].energy)
            numerical[a, b] = -(energies[0] - energies[1]) / (2.0 * step)
    assert np.abs(virial).max() > 1e-3
    np.testing.assert_allclose(numerical, virial, rtol=0.0, atol=1e-6 * np.abs(virial).max())


def test_sign_and_unit_are_those_of_ipis_own_driver(evaluate, evaluator, box, tmp_path):
    ase = pytest.importorskip("ipi.pes._ase")
    box.write(tmp_path / "box.extxyz")

    class OfASE(ase.ASEDriver):
        def check_parameters(self):
            super().check_parameters()
            self.ase_calculator = EqCalculator(evaluator.potential)

    theirs = OfASE(str(tmp_path / "box.extxyz"))(columns(box), box.positions / BOHR)
    ours = evaluate(box.positions[None] / BOHR, columns(box)[None])[0]
    for found, expected in zip(ours[:3], theirs[:3], strict=True):
        np.testing.assert_allclose(np.ravel(found), np.ravel(expected), rtol=2e-7, atol=1e-7)


def test_wrapped_atoms_and_other_cells_in_a_batch(evaluate, box):
    """Wrapping changes nothing; each structure has a cell of its own, for replicas of NPT."""
    wrapped, larger = box.copy(), box.copy()
    wrapped.wrap()
    assert np.abs(wrapped.positions - box.positions).max() > 1.0
    larger.set_cell(1.02 * box.cell, scale_atoms=True)
    boxes = (box, wrapped, larger)
    together = evaluate(
        np.stack([b.positions / BOHR for b in boxes]), np.stack([columns(b) for b in boxes])
    )
    alone = evaluate(larger.positions[None] / BOHR, columns(larger)[None])[0]
    for found, expected in ((together[1], together[0]), (together[2], alone)):
        for one, other in zip(found[:3], expected[:3], strict=True):
            np.testing.assert_allclose(one, other, rtol=0.0, atol=1e-10)
        for name, values in json.loads(expected.extras).items():
            np.testing.assert_allclose(json.loads(found.extras)[name], values, atol=1e-10)
    assert abs(together[2].energy - together[0].energy) > 1e-5


@pytest.mark.parametrize("batch", [None, 3])
def test_the_client_hands_on_the_cells(evaluate, box, batch):
    """Both protocols, spoken by i-PI's own code; padding is not evaluated."""
    sockets = pytest.importorskip("ipi.interfaces.sockets")
    from tests.ipi.test_client import TestAgainstIPI

    larger = box.copy()
    larger.set_cell(1.02 * box.cell, scale_atoms=True)
    boxes = [box, larger]
    requests = TestAgainstIPI.requests([b.positions / BOHR for b in boxes])
    for request, b in zip(requests, boxes, strict=True):
        request["cell"] = (columns(b), np.linalg.inv(columns(b)))
    expected = [evaluate(b.positions[None] / BOHR, columns(b)[None])[0] for b in boxes]
    evaluate.structures = 0
    with connected(evaluate) as (ours, ending):
        driver = sockets.Driver(ours)
        if batch is not None:
            driver.batch_size = batch
        driver.get_status()
        if batch is None:
            for request in requests:
                assert driver.dispatch_send(request) and driver.dispatch_recv(request)
        else:
            assert driver.dispatch_send_batch(requests) and driver.dispatch_recv_batch(requests)
        driver.shutdown()
    assert ending == [None]
    assert evaluate.structures == 2
    for request, result in zip(requests, expected, strict=True):
        assert request["result"][0] == pytest.approx(result.energy, rel=1e-13)
        np.testing.assert_allclose(request["result"][2], result.virial, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("width", [0.4, 0.0, np.nan])
def test_a_collapsed_cell_is_refused(evaluate, box, width):
    cell = columns(box)
    cell[:, 2] = [0.0, 0.0, width / BOHR]
    with refused(InvalidInputError, key="cell"):
        evaluate(box.positions[None] / BOHR, cell[None])


# --- inputs ---------------------------------------------------------------------------


def overlapping(box):
    box.positions[3] = box.positions[0] + 0.1
    return box


def tiny(box):
    return Atoms("He", cell=[0.2, 5.0, 5.0], pbc=True)


def exchanged(box):
    box.set_cell(box.cell.array[[1, 0, 2]])
    return box


def layer(box):
    box.pbc = [True, True, False]
    return box


def isolated(box):
    box.pbc = False
    return box


@pytest.mark.parametrize(
    ("change", "options", "key"),
    [
        (overlapping, {}, "positions"),
        (tiny, {}, "atoms.cell"),
        (exchanged, {}, "atoms.cell"),
        (layer, {}, "atoms.pbc"),
        (isolated, {"barostat": Barostat()}, "barostat"),
        (None, {"barostat": Barostat(), "method": "NVE", "beads": 1}, "method"),
        (None, {"barostat": Barostat(), "method": "T-RPMD"}, "method"),
        (None, {"method": "Te-PIGS", "beads": 1}, "correction"),
    ],
)
def test_what_no_run_can_start_from(prepare, box, change, options, key, tmp_path):
    atoms = box if change is None else change(box)
    with refused(InvalidInputError, key=key):
        prepare(atoms=atoms, **options)
    assert not (tmp_path / "run").exists()


def test_a_model_whose_response_is_of_molecules(prepare, box, tmp_path):
    """It is refused, unless the run is one without spectra."""
    path = tmp_path / "molecules.eqc"
    save_model(make_potential(features=8, layers=1), path)
    with refused(InvalidInputError, file=path, key="quantities", value="dipole"):
        prepare_with(path, tmp_path / "a", box, Strides(spectra=2))
    text = prepare_with(path, tmp_path / "b", box, Strides(spectra=0)).read_text()
    assert "quantities: energy+forces}" in text


def prepare_with(model, folder, atoms, strides):
    return write_input(
        folder / "input.xml", model, method="NVE", steps=4, atoms=atoms, strides=strides
    )


def test_pressure_of_a_molecule_is_refused_before_ipi_starts(prepare):
    path = prepare(barostat=Barostat())
    description = Description.read(path)
    description.check()
    assert description.constant_pressure and description.is_periodic()
    path.write_text(path.read_text().replace(", periodic: True", ""))
    with refused(InputError, file=path, key="dynamics.mode", value="npt"):
        Description.read(path).check()


def test_constant_pressure_needs_a_stress():
    preparation = pytest.importorskip("eqcalc.ipi.engine")
    from types import SimpleNamespace as Namespace

    class WithoutStress:
        numbers = torch.tensor([2])
        quantities = ("energy", "forces")

    evaluate = BeadEvaluator(WithoutStress(), ("energy", "forces"), periodic=True)
    component = Namespace(ffield="eqcalc", weight=1.0)
    system = Namespace(
        beads=Namespace(names=["He"]), fcomp=[component], motion=Namespace(enstype="npt")
    )
    arguments = Namespace(syslist=[system]), "eqcalc", Namespace(dopbc=True), evaluate
    with refused(InputError, key="dynamics.mode", value="npt"):
        preparation._check_potential(*arguments)
    system.motion.enstype = "nvt"
    preparation._check_potential(*arguments)


# --- runs -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def correction(model, tmp_path_factory):
    """What makes the potential of the model that of Te PIGS; not a small correction."""
    path = tmp_path_factory.mktemp("correction") / "correction.eqc"
    potential = make_potential(features=8, layers=1, heads=("energy",), cutoff=3.0)
    potential.references.scales["energy"] = 0.05
    del potential.references.values["energy"]
    identity = [model_hash(load_model(model))]
    potential.metadata[CORRECTION] = {"potential": identity, ELEVATED_TEMPERATURE: 500.0}
    save_model(potential, path)
    return path


def test_a_corrected_potential_is_the_sum(model, correction, box):
    positions, cells = box.positions[None] / BOHR, columns(box)[None]
    symbols, names = str(box.symbols), ("energy", "forces", "dipole")
    options = {"quantities": names, "periodic": True}
    alone = BeadEvaluator.load(str(model), symbols, **options)(positions, cells)[0]
    both = BeadEvaluator.load(str(model), symbols, correction=str(correction), **options)
    assert both.evaluator.provenance[CORRECTION][ELEVATED_TEMPERATURE] == 500.0
    assert "cell_angstrom" not in both.evaluator.provenance
    found = both(positions, cells)[0]
    box.calc = EqCalculator(correction)
    expected = (
        box.get_potential_energy() / HARTREE,
        box.get_forces() * BOHR / HARTREE,
        -box.get_volume() * box.get_stress(voigt=False) / HARTREE,
    )
    for one, other, difference in zip(found[:3], alone[:3], expected, strict=True):
        assert np.abs(difference).max() > 1e-6
        np.testing.assert_allclose(one - other, difference, rtol=0.0, atol=1e-11)
    assert found.extras == alone.extras


@pytest.mark.parametrize("asked", [True, False])
def test_a_client_has_the_correction_that_ipi_asks_for(model, correction, tmp_path, asked):
    text = f" symbols : OH2 , {'correction : of_the_client , ' * asked}"
    address = Address(unix="socket", prefix=f"{tmp_path}/")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()

        def work():
            with listener.accept()[0] as connection:
                connection.sendall(init(text))
                connection.recv(1)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        with refused(ProtocolError, key="correction"):
            serve(model, address, correction=None if asked else correction, patience=10.0)
        thread.join(20.0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["NVE", "Te-PIGS"])
def test_constant_energy_is_the_dynamics_of_our_engine(
    prepare, launch, eqcalc, model, correction, water, tmp_path, method
):
    """Position by position and dipole by dipole, in process and by a client, from wrapped atoms."""
    pytest.importorskip("ipi")
    turned = water_box()  # not in the frame of i-PI
    turned.set_masses(water.get_masses())
    turned.wrap()
    options = {"method": method, "beads": 1, "steps": 80, "equilibration": Equilibration(5.0)}
    if method == "Te-PIGS":
        options["correction"] = correction
    path = prepare(atoms=turned, **options)
    there = finish(path, launch)
    np.testing.assert_allclose(there.cell, water.cell.array, atol=1e-7)
    evaluator = evaluator_for(load_model(model), torch.tensor(water.numbers), cell=water.cell.array)
    if method == "Te-PIGS":
        evaluator = corrected(evaluator, correction)
        assert there.provenance[CORRECTION][ELEVATED_TEMPERATURE] == 500.0
    assert there.method == method
    start = standard(turned)
    here = simulate(
        start,
        evaluator,
        output=tmp_path / "here.h5",
        method=method,
        temperature=300.0,
        timestep=0.25,
        steps=80,
        seed=1,
        initial=initial_conditions([path.with_name("input.start.chk")]),
        observables={"positions": 4, "dipole": 2, "polarizability": 2, "potential_energy": 2},
        progress=False,
    )
    address = UnixSocket()
    other = prepare("client", atoms=turned, connection=address, **options)
    given = ("--correction", correction) if method == "Te-PIGS" else ()
    client = eqcalc(
        *("ipi", "client", model, "--unix", address.address, "--wait", PATIENCE, *given),
        log=tmp_path / "client.log",
    )
    by_client = finish(other, launch)
    assert client.wait() == 0
    for name in here.observables():
        expected = here.observable(name).values
        moved = np.ptp(expected, axis=1).max()
        for found in (there, by_client):
            error = np.abs(found.observable(name).values - expected).max()
            assert error < 1e-6 * moved + 2e-8, name
    cells = there.observable("cell")
    np.testing.assert_allclose(cells.values[0, 10], water.cell.array, atol=1e-7)
    assert (cells.unit, cells.values.shape) == ("Å", (1, 41, 3, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "beads", "flexible", "limit"),
    [("Langevin", 1, False, 1e-6), ("PILE-L", 2, False, 1e-6), ("Langevin", 1, True, 1e-2)],
)
def test_constant_pressure_keeps_its_conserved_quantity(
    prepare, launch, method, beads, flexible, limit, water
):
    """While the volume grows by a tenth; i-PI's flexible barostat drifts for an ideal gas, too."""
    pytest.importorskip("ipi")
    barostat = Barostat(time_constant=100.0, flexible=flexible)
    path = prepare(method=method, beads=beads, steps=160, barostat=barostat, strides=STRIDES)
    text = path.read_text()
    if beads > 1:  # resumed in the middle
        path.write_text(text.replace("<total_steps> 160 ", "<total_steps> 80 "))
        finish(path, launch)
        path.write_text(text)
    trajectory = finish(path, launch)
    assert trajectory.method == ("NPT" if beads == 1 else "PIMD")
    volume = np.linalg.det(trajectory.observable("cell").values[0])
    assert np.ptp(volume) > 0.05 * volume[0]
    assert np.linalg.det(trajectory.cell) == pytest.approx(volume.mean(), rel=1e-2)
    rows = np.loadtxt(path.with_name("simulation.energies"))
    assert np.ptp(rows[:, 2]) < limit * BOLTZMANN * 300.0 * len(water)
    np.testing.assert_allclose(trajectory.observable("pressure").values[0], rows[:, -1])
    assert "g/cm³" in mean_density(trajectory)
