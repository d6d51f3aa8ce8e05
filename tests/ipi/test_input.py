# SPDX-License-Identifier: MIT
"""Every kind of input, run by i-PI for real and read back."""

import socket

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

pytest.importorskip("ipi")

from eqcalc.dynamics import Equilibration
from eqcalc.ipi import ExitStatus, InputError, Strides, TCPSocket, read_run, write_input
from eqcalc.ipi.description import Description
from eqcalc.methods import METHODS
from eqcalc.models.checkpoint import load_model
from eqcalc.runtime import eager_evaluator
from eqcalc.units import BOLTZMANN
from eqcalc.validation import InvalidInputError
from tests.ipi.conftest import PATIENCE, finish


def matrices(path, beads, temperature=300.0):
    """Write matrices of a canonical GLE: friction on every mode, one extra momentum."""
    n = beads
    drift = np.array([[[0.0, 2e-4], [-2e-4, 5e-4]]] * n)
    covariance = np.array([temperature * np.eye(2)] * n)

    def element(tag, units, values):
        text = ", ".join(f"{v:.8e}" for v in values.ravel())
        return f"<{tag} shape='({n}, 2, 2)'{units}> [ {text} ] </{tag}>"

    lines = [element("A", "", drift), element("C", " units='kelvin'", covariance)]
    path.write_text("<thermostat mode='nm_gle'>\n" + "\n".join(lines) + "\n</thermostat>\n")
    return path


SLOW = ("NVE", "Langevin", "SVR", "PILE-L", "PILE-G", "PA-CMD")


@pytest.mark.parametrize(
    "method", ["T-RPMD", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_each_method_runs_and_is_recognised(method, prepare, launch, model, water):
    beads = 4 if METHODS[method].ring_polymer else 1
    timestep = 0.05 if method == "PA-CMD" else 0.25
    path = prepare(method=method, beads=beads, timestep=timestep)
    trajectory = finish(path, launch)
    assert trajectory.method == method
    assert (trajectory.n_beads, trajectory.n_replicas) == (beads, 1)
    assert trajectory.timestep == pytest.approx(timestep, rel=1e-12)
    assert trajectory.temperature == pytest.approx(300.0, rel=1e-12)
    np.testing.assert_allclose(trajectory.masses, water.get_masses(), rtol=1e-7)
    assert trajectory.n_frames("dipole") == 21
    assert trajectory.observable("dipole").interval == pytest.approx(2 * timestep, rel=1e-12)

    # what is on file against a calculation at the positions on file, offline
    evaluator = eager_evaluator(load_model(model), torch.from_numpy(trajectory.numbers))
    positions = trajectory.observable("bead_positions").values[0]  # every 4 steps
    if method == "PA-CMD":  # at the centroid
        positions = positions.mean(axis=1, keepdims=True)
    flat = torch.from_numpy(positions).flatten(0, 1)
    values = evaluator(flat, ("energy", "dipole", "polarizability"))
    names = {"dipole": "dipole", "polarizability": "polarizability"}
    if method != "PA-CMD":
        names["energy"] = "potential_energy"
    for quantity, name in names.items():
        value = values[quantity]
        mean = value.reshape(*positions.shape[:2], *value.shape[1:]).mean(dim=1).numpy()
        found = trajectory.observable(name).values[0][::2]
        np.testing.assert_allclose(found, mean, rtol=0.0, atol=2e-7, err_msg=name)  # e·Å: 1e-6 D


@pytest.mark.slow
def test_piglet_with_matrices_from_a_file(prepare, launch, tmp_path):
    file = matrices(tmp_path / "gle.xml", 4)
    options = {"method": "PIGLET", "method_parameters": {"matrices": file}}
    path = prepare(**options)
    trajectory = finish(path, launch)
    assert trajectory.method == "PIGLET"
    with pytest.raises(InvalidInputError) as error:
        prepare("other", **{**options, "beads": 3})
    assert (error.value.file, error.value.key, error.value.value) == (file, "A", [4, 2, 2])
    file.write_text("<A shape='(4, 2, 2)'> [ 1, 2 ] </A><C/>")
    with pytest.raises(InputError) as error:
        prepare("another", **options)
    assert (error.value.file, error.value.key) == (file, "A")


@pytest.mark.slow
def test_rpmd_from_checkpoints_of_an_equilibrated_run_is_one_batch(prepare, launch):
    """Positions, momenta and energies go on; each system is a replica; energy is conserved."""
    strides = Strides(spectra=2, energies=10, centroid=10, beads=10, checkpoint=10, series=10)
    equilibration = finish(prepare("pile", strides=strides), launch)
    starts = [equilibration.path.parent / f"simulation.start_{i}" for i in (1, 2, 3)]
    path = prepare("rpmd", method="RPMD", starts=starts, steps=200)
    assert "<batch_size> 12 </batch_size>" in path.read_text()
    trajectory = finish(path, launch)
    assert (trajectory.method, trajectory.n_replicas) == ("RPMD", 3)
    for name in ("dipole", "polarizability", "potential_energy", "temperature", "bead_positions"):
        before = equilibration.observable(name)
        frames = [round(step * 0.25 / before.interval) for step in (10, 20, 30)]
        after = trajectory.observable(name).values[:, 0]
        np.testing.assert_allclose(after, before.values[0, frames], rtol=1e-7, atol=1e-7)
    rows = np.loadtxt(path.parent / "s000_simulation.energies")
    assert np.ptp(rows[:, 2]) < 0.02 * BOLTZMANN * 300.0
    with pytest.raises(InputError) as error:
        prepare("wrong", method="RPMD", starts=starts, beads=8)
    assert (error.value.file, error.value.key, error.value.value) == (starts[0], "beads", 4)


@pytest.mark.slow
def test_several_hosts_over_tcp(prepare, launch, eqcalc, model, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = prepare(method="T-RPMD", connection=TCPSocket("127.0.0.1", port, clients=2))
    assert "<batch_size> 2 </batch_size>" in path.read_text()
    address = ("--host", "127.0.0.1", "--port", port, "--wait", PATIENCE)
    logs = [tmp_path / f"client{i}.log" for i in range(2)]
    # before i-PI, which would not wait for the second one with its 40 steps
    clients = [eqcalc("ipi", "client", model, *address, log=log) for log in logs]
    process = launch(path)
    assert process.wait() == ExitStatus.COMPLETE
    assert [client.wait() for client in clients] == [0, 0]
    shared = prepare("in-process", method="T-RPMD")
    expected = finish(shared, launch)
    found = read_run(path.parent)
    for name in ("dipole", "polarizability", "potential_energy"):
        one, other = found.observable(name).values, expected.observable(name).values
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_dipole_and_polarizability_are_evaluated_at_outputs_only(prepare, launch, tmp_path):
    """Forces at every step, the response only at every fifth: counted in the potential."""
    driver = tmp_path / "counting_driver.py"
    driver.write_text(
        "from eqcalc.ipi.eqcalc_driver import EqcalcDriver\n"
        "__DRIVER_NAME__ = 'counting'\n__DRIVER_CLASS__ = 'Counting'\n"
        "class Counting(EqcalcDriver):\n"
        "    def compute(self, cell, pos):\n"
        "        names = '+'.join(self.evaluate.quantities)\n"
        f"        with open({str(tmp_path / 'calls')!r}, 'a') as file:\n"
        "            file.write(f'{names} {len(pos)}\\n')\n"
        "        return super().compute(cell, pos)\n"
    )
    path = prepare(strides=Strides(spectra=5, energies=40))
    original = Description.read(path).root.findtext("ffdirect/pes_path").strip()
    path.write_text(path.read_text().replace(original, str(driver)))
    finish(path, launch)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls.count("energy+forces 4") == 41
    assert calls.count("dipole+polarizability 4") == 9
    assert len(calls) == 50


class TestRefusals:
    """Inputs that make no sense are not written."""

    @pytest.mark.parametrize(
        ("options", "key"),
        [
            ({"method": "RPMD", "beads": 1}, "beads"),
            ({"method": "NVE", "beads": 4}, "beads"),
            ({"method": "QCMD"}, "method"),
            ({"method": "PIGLET"}, "PIGLET.matrices"),
            ({"method_parameters": {"dampin": 1.0}}, "PILE-L.dampin"),
            ({"method_parameters": {"time_constant": 0.0}}, "PILE-L.time_constant"),
            ({"connection": TCPSocket("localhost", 5, clients=3)}, "clients"),
            ({"timestep": 0.0}, "timestep"),
            ({"steps": 0}, "steps"),
            ({"atoms": None}, "atoms, starts"),
            ({"strides": None, "method": "PA-CMD", "connection": TCPSocket("a", 1)}, "connection"),
        ],
    )
    def test_what_does_not_fit(self, prepare, options, key):
        with pytest.raises(InvalidInputError) as error:
            prepare(**options)
        assert error.value.key == key

    def test_nothing_is_overwritten(self, prepare, model, water):
        path = prepare()
        with pytest.raises(FileExistsError):
            write_input(path, model, method="PILE-L", steps=1, atoms=water, beads=2)

    def test_heavy_atoms_and_order_survive(self, prepare, model, tmp_path):
        atoms = Atoms("HOH", positions=[(0, 0, 0), (0, 0, 1), (0, 1, 1.2)])
        atoms.set_masses([2.014, 15.999, 1.008])
        path = prepare(atoms=atoms)
        assert "symbols: HOH" in path.read_text()
        assert "2.014" in path.with_name("input.start.extxyz").read_text()


@pytest.mark.slow
def test_the_command_writes_the_same_input(prepare, eqcalc, model, tmp_path):
    import ase.io

    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    target = tmp_path / "command" / "input.xml"
    options = ["--method", "T-RPMD", "--beads", 8, "--time", 0.1, "--seed", 5, "--equilibration", 2]
    process = eqcalc(
        "ipi", "input", model, tmp_path / "water.xyz", *options, "--output", target,
        log=tmp_path / "log",
    )  # fmt: skip
    assert process.wait() == 0
    start = Equilibration(2.0)
    options = {"method": "T-RPMD", "beads": 8, "steps": 400, "seed": 5, "equilibration": start}
    direct = prepare("direct", atoms=molecule("H2O"), strides=None, **options)
    for name in ("input.xml", "input.start.chk", "input.start.extxyz"):
        assert target.with_name(name).read_text() == direct.with_name(name).read_text()
