# SPDX-License-Identifier: MIT
"""What i-PI starts from: an equilibrated molecule, its charge, checkpoints that fit."""

import ase.io
import numpy as np
import pytest

pytest.importorskip("ipi")

from ase.build import molecule
from ase.constraints import FixBondLengths

from eqcalc.cli.program import FAILURE, main
from eqcalc.dynamics import Equilibration
from eqcalc.ipi import (
    ExitStatus,
    InputError,
    Strides,
    TCPSocket,
    UnixSocket,
    initial_conditions,
    read_run,
)
from eqcalc.models.checkpoint import shipped_model
from eqcalc.units import BOLTZMANN
from eqcalc.validation import InvalidInputError
from tests.ipi.conftest import STRIDES

SHORT = Equilibration(20.0)


@pytest.mark.parametrize(("method", "beads"), [("RPMD", 4), ("NVE", 1)])
@pytest.mark.slow
def test_ipi_starts_with_the_equilibrated_positions_and_momenta(prepare, launch, method, beads):
    """Bead by bead those of the in-process engine, which spread and are thermal."""
    path = prepare(method=method, beads=beads, equilibration=SHORT, steps=4)
    start = path.with_name("input.start.chk")
    state = initial_conditions([start])
    assert state.positions.shape == (1, beads, 3, 3)
    process = launch(path)
    assert process.wait() == ExitStatus.COMPLETE, process.text()
    trajectory = read_run(path.parent)
    found = trajectory.observable("bead_positions").values[0, 0]
    np.testing.assert_allclose(found, state.positions[0].numpy(), atol=2e-8)
    if beads > 1:
        assert found.std(axis=0).max() > 0.001  # Å: the ring polymers are not collapsed
    momenta = state.momenta[0].numpy()
    masses = trajectory.masses[:, None]
    # i-PI counts the three motions of the centre of mass as if they were thermal
    kinetic = (momenta**2 / masses).sum() / (BOLTZMANN * beads) + 3.0 * 300.0
    temperature = trajectory.observable("temperature").values[0, 0]
    assert temperature == pytest.approx(kinetic / (9.0 * beads), rel=1e-4)
    velocities = trajectory.observable("velocities").values[0, 0]
    expected = momenta.mean(axis=0) / masses
    np.testing.assert_allclose(
        velocities / np.abs(velocities).max(), expected / np.abs(expected).max(), atol=1e-5
    )


def test_the_start_is_the_same_for_the_same_seed(prepare):
    texts = [
        prepare(name, equilibration=SHORT, seed=seed).with_name("input.start.chk").read_text()
        for name, seed in (("one", 3), ("two", 3), ("three", 4))
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


@pytest.mark.slow
def test_fast_internal_modes_get_momenta_of_their_own_masses(prepare, launch):
    """Momenta of the real masses would make the light modes of PA-CMD glow."""
    path = prepare(method="PA-CMD", timestep=0.05, equilibration=SHORT, steps=20)
    process = launch(path)
    assert process.wait() == ExitStatus.COMPLETE, process.text()
    temperatures = read_run(path.parent).observable("temperature").values
    assert temperatures.max() < 1500.0


def test_an_unstable_equilibration_is_told(prepare):
    with pytest.raises(InputError) as error:
        prepare(timestep=30.0, equilibration=Equilibration(3000.0))
    assert error.value.key == "equilibration"
    assert 0.0 < error.value.value < 3000.0  # fs
    assert not prepare("other").with_name("input.start.chk").exists()


@pytest.mark.slow
def test_checkpoints_of_another_temperature_are_refused(prepare, launch):
    strides = Strides(spectra=0, energies=0, centroid=0, series=4)
    path = prepare(strides=strides, steps=8)
    assert launch(path).wait() == ExitStatus.COMPLETE
    starts = [path.parent / f"simulation.start_{i}" for i in (1, 2)]
    with pytest.raises(InputError) as error:
        prepare("hot", starts=starts, temperature=600.0)
    assert (error.value.file, error.value.key) == (starts[0], "temperature")
    assert error.value.value == pytest.approx(300.0)
    with pytest.raises(InputError) as error:
        prepare("again", starts=starts, equilibration=SHORT)
    assert error.value.key == "equilibration"
    text = prepare("light", starts=starts, method="PA-CMD", timestep=0.05).read_text()
    assert "<velocities mode='thermal'" in text
    assert "thermal" not in prepare("same", starts=starts, method="RPMD").read_text()
    charged = starts[0].with_name("charged")
    charged.write_text(starts[0].read_text().replace("charge: 0", "charge: 1"))
    with pytest.raises(InvalidInputError) as error:
        prepare("charged", starts=[charged])
    assert (error.value.key, error.value.value) == ("charge", 1.0)
    with pytest.raises(InputError) as error:
        prepare("charges", starts=[starts[0], charged])
    assert (error.value.key, error.value.value) == ("charge", (0.0, 1.0))


# --- refusals -----------------------------------------------------------------------


def periodic():
    atoms = molecule("H2O", vacuum=5.0)
    atoms.pbc = True
    return atoms


def broken():
    atoms = molecule("H2O")
    atoms.positions[1, 2] = np.nan
    return atoms


def charged():
    atoms = molecule("H2O")
    atoms.info["charge"] = 1
    return atoms


def held():
    atoms = molecule("H2O")
    atoms.set_constraint(FixBondLengths([[0, 1]]))
    return atoms


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"atoms": periodic()}, "quantities"),  # of molecules
        ({"atoms": broken()}, "positions[1, 2]"),
        ({"atoms": molecule("SiH4")}, "elements"),
        ({"atoms": charged()}, "charge"),
        ({"atoms": held()}, "atoms.constraints"),
        ({"charge": 1.0}, "charge"),
        ({"charge": 0.0, "atoms": charged()}, "charge"),
        ({"precision": "foo"}, "precision"),
        ({"device": "foo"}, "device"),
        ({"prefix": "a b/c"}, "prefix"),
        ({"timestep": float("nan")}, "timestep"),
        ({"temperature": float("inf")}, "temperature"),
        ({"seed": -1}, "seed"),
        ({"steps": 2.5}, "steps"),
    ],
)
def test_what_would_fail_or_mislead_later_is_refused(prepare, options, key, tmp_path):
    with pytest.raises(InvalidInputError) as error:
        prepare(**options)
    assert error.value.key == key
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: UnixSocket("a/b"), "address"),
        (lambda: UnixSocket("a", clients=0), "clients"),
        (lambda: TCPSocket("a", 70000), "port"),
        (lambda: Strides(beads=-1), "strides.beads"),
    ],
)
def test_sockets_and_strides_that_cannot_be(make, key):
    with pytest.raises(InvalidInputError) as error:
        make()
    assert error.value.key == key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clients", "2"], "--clients"),
        (["--unix", "a", "--host", "b", "--port", "5"], "--unix"),
        (["--host", "b"], "--port"),
        (["--unix", "a/b"], "a/b"),
        (["--matrices", "gle.xml"], "NVE.matrices"),
        (["--charge", "1"], "charge"),
        (["--flexible"], "--pressure"),
        (["--pressure", "1"], "barostat"),
        (["--correction", "x.eqc"], "x.eqc"),
        (["--prefix", "a b/c"], "prefix"),
    ],
)
def test_options_that_contradict_each_other(options, message, model, tmp_path, capsys):
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    target = tmp_path / "run" / "input.xml"
    command = ["ipi", "input", str(model), str(tmp_path / "water.xyz"), "--output", str(target)]
    assert main([*command, "--method", "NVE", *options]) == FAILURE
    assert message in capsys.readouterr().err
    assert not target.parent.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--timestep", "0"], "--timestep: expected a positive number"),
        (["--time", "nan"], "--time: expected a positive number"),
        (["--temperature", "-3"], "--temperature: expected a positive number"),
        (["--beads", "0"], "--beads: expected"),
        (["--equilibration", "-1"], "--equilibration: expected zero or a positive"),
    ],
)
def test_numbers_that_make_no_sense(options, message, model, capsys):
    with pytest.raises(SystemExit):
        main(["ipi", "input", str(model), "x.xyz", "--output", "y", "--method", "NVE", *options])
    assert message in capsys.readouterr().err


def test_a_file_of_two_structures_is_refused(model, tmp_path, capsys):
    ase.io.write(tmp_path / "two.xyz", [molecule("H2O"), molecule("H2O")])
    target = tmp_path / "run" / "input.xml"
    command = ["ipi", "input", str(model), str(tmp_path / "two.xyz"), "--output", str(target)]
    assert main([*command, "--method", "NVE"]) == FAILURE
    assert "two.xyz" in capsys.readouterr().err


def test_the_command_equilibrates_unless_told_not_to(tmp_path, capsys):
    ase.io.write(tmp_path / "ethanol.xyz", molecule("CH3CH2OH"))
    command = ["ipi", "--quiet", "input", str(shipped_model("ethanol"))]
    command += [str(tmp_path / "ethanol.xyz"), "--method", "NVE", "--timestep", "1"]
    for name, options in (("default", []), ("none", ["--equilibration", "0"])):
        options += ["--bead-positions", "0.1", "--output", str(tmp_path / name / "input.xml")]
        assert main([*command, *options]) == 0
    assert "Langevin, 500 fs at 300 K" in (tmp_path / "default" / "input.start.chk").read_text()
    assert "not equilibrated" in capsys.readouterr().out
    assert not (tmp_path / "none" / "input.start.chk").exists()
    text = (tmp_path / "none" / "input.xml").read_text()
    assert "<trajectory filename='beads' stride='1'" in text  # not never


def test_an_input_for_a_charge_that_the_model_does_not_know_is_not_run(
    prepare, monkeypatch, capsys
):
    """Not by the command that writes inputs only: also one that was edited."""
    path = prepare(strides=STRIDES)
    path.write_text(path.read_text().replace("charge: 0", "charge: 1"))
    monkeypatch.chdir(path.parent)
    assert main(["ipi", "run", str(path)]) == FAILURE
    assert "charge" in capsys.readouterr().err
