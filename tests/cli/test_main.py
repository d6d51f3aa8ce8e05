# SPDX-License-Identifier: MIT
"""The commands, end to end on small inputs, and how they fail."""

import argparse
import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import molecule

from eqcalc.calculator import EqCalculator
from eqcalc.centroid import LearningPlan
from eqcalc.cli import build_parser, main
from eqcalc.cli.program import FAILURE
from eqcalc.datasets import Dataset
from eqcalc.files import _failure, replacing
from eqcalc.labelling import SamplingPlan
from eqcalc.methods import method_names
from eqcalc.models.checkpoint import load_model, save_model, shipped_model
from eqcalc.molecules import read_structures
from eqcalc.runtime import ahead_of_time, eager_evaluator
from eqcalc.spectra import read_spectrum
from eqcalc.spectra.provenance import provenance_facts
from eqcalc.structure_formats import GeometryWarning
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidFileError
from tests.conftest import make_potential


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def water(tmp_path):
    path = tmp_path / "water.xyz"
    ase.io.write(path, molecule("H2O"))
    return path


@pytest.fixture
def ethanol_file(tmp_path):
    path = tmp_path / "ethanol.xyz"
    ase.io.write(path, molecule("CH3CH2OH"))
    return path


def test_a_misspelled_option_is_told_by_its_command(capsys):
    for arguments, meant in (
        (["spectra", "run.h5", "--ouput", "x"], "--output"),
        (["ipi", "run", "input.xml", "--timeuot=3"], "--timeout"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        told = capsys.readouterr().err
        assert ended.value.code == FAILURE
        assert f"eqcalc {' '.join(arguments[: 1 + (arguments[0] == 'ipi')])}: error" in told
        assert meant in told.splitlines()[-1]


def test_a_unit_of_another_quantity_is_told_by_its_option(tmp_path, capsys):
    np.savetxt(tmp_path / "a.dat", np.random.default_rng(0).normal(size=(50, 3)))
    series = ["spectra", "--dipole", tmp_path / "a.dat", "--format", "columns", "--interval", 1]
    for unit in ("eV", "furlong"):
        assert run(*series, "--temperature", 300, "--dipole-unit", unit) == FAILURE
        told = capsys.readouterr().err
        assert "--dipole-unit" in told and "e*Å" in told


def test_version_and_help(capsys):
    for arguments in (["--version"], ["--help"], ["simulate", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
    assert "eqcalc" in capsys.readouterr().out


def test_label_train_evaluate_and_info(tmp_path, water, capsys, monkeypatch):
    """The chain of the README: each command reads what the last one wrote."""
    pytest.importorskip("tblite")
    short = replace(SamplingPlan.default(), equilibration=20.0)  # tests/labelling run the plan
    monkeypatch.setattr(SamplingPlan, "default", lambda: short)
    labels = tmp_path / "labels.h5"
    assert run("label", water, labels, "--structures", 24, "--quiet") == 0
    assert len(Dataset.open(labels)) == 24

    settings = {
        "output": str(tmp_path / "run"),
        "data": {"path": str(labels), "training": 16, "validation": 4},
        "model": {"representation": {"name": "painn", "features": 8, "layers": 1}},
        "loss": {"energy": 0.1, "forces": 1.0, "dipole": 0.1},
        "stopping": {"epochs": 2},
    }
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(settings))
    assert run("train", config, "--quiet") == 0
    model = tmp_path / "run" / "model.eqc"
    capsys.readouterr()

    assert run("evaluate", model, labels, "--split", "test", "--output", tmp_path / "errors") == 0
    table = capsys.readouterr().out
    assert "meV/Å" in table
    assert "mD" in table
    assert (tmp_path / "errors" / "evaluation.csv").is_file()

    assert run("info", model) == 0
    assert "level of theory: GFN2-xTB" in capsys.readouterr().out
    assert run("info", model, "--json") == 0
    header = json.loads(capsys.readouterr().out)
    assert header["metadata"]["level_of_theory"]["energy"] == "GFN2-xTB"
    assert run("info", labels) == 0
    assert "24 structures" in capsys.readouterr().out


@pytest.mark.slow
def test_smoothness(ethanol_file, capsys):
    assert run("evaluate", shipped_model(), "--smoothness", ethanol_file) == 0
    table = capsys.readouterr().out
    assert "anharmonic results may be trusted" in table
    assert len(table.splitlines()) == 3 + 21 + 1  # and the command that comes next


def test_nothing_to_evaluate(capsys):
    assert run("evaluate", "model.eqc") == FAILURE
    assert "--smoothness" in capsys.readouterr().err


def test_convert(tmp_path, capsys):
    frames = []
    for shift in (0.0, 0.03, 0.05):
        atoms = molecule("H2O")
        atoms.positions[1, 1] += shift
        atoms.info["E"] = -14.0 + shift
        frames.append(atoms)
    source = tmp_path / "frames.extxyz"
    ase.io.write(source, frames, format="extxyz")
    arguments = ["convert", source, tmp_path / "out.h5", "--level-of-theory", "test", "--quiet"]
    assert run(*arguments, "--key", "energy=E") == FAILURE
    assert "unit" in capsys.readouterr().err
    units = ["--unit", "energy=kcal/mol", "--unit", "positions=Å"]
    assert run(*arguments, "--key", "energy=E", *units) == 0
    energies = Dataset.open(tmp_path / "out.h5").labels(np.arange(3))[0]["energy"]
    np.testing.assert_allclose(energies, np.array([-14.0, -13.97, -13.95]) * 0.0433641, rtol=1e-5)


def test_simulate_and_spectra(tmp_path, ethanol_file, capsys):
    model, output = shipped_model("ethanol"), tmp_path / "run.h5"
    arguments = ["simulate", model, ethanol_file, "--output", output, "--quiet"]
    arguments += ["--replicas", 2, "--time", 0.1, "--equilibration", 5]
    # an element, and one atom
    assert run(*arguments, "--mass", "H=2.014", "--mass", "3=3.016") == 0
    trajectory = Trajectory.open(output)
    assert trajectory.n_replicas == 2
    assert trajectory.masses[-1] == pytest.approx(2.014)
    assert trajectory.masses[3] == pytest.approx(3.016)
    assert run("spectra", output, "--output", tmp_path / "spectra") == 0
    assert "km/mol" in capsys.readouterr().out
    spectrum = read_spectrum(tmp_path / "spectra" / "spectrum-infrared.csv")
    assert spectrum.integrate().value > 0.0
    assert (tmp_path / "spectra" / "spectra.png").is_file()


def test_te_pigs_takes_the_correction_that_is_shipped(tmp_path, ethanol_file, capsys):
    simulate = ["simulate", shipped_model("ethanol"), ethanol_file, "--quiet", "--replicas", 1]
    simulate += ["--method", "Te-PIGS", "--time", 0.002, "--equilibration", 0]
    output = tmp_path / "run.h5"
    for _ in range(2):  # the second one resumes
        assert run(*simulate, "--output", output) == 0
        assert "corrections/ethanol.eqc, which comes with eqcalc" in capsys.readouterr().out
    assert not (tmp_path / "run-correction").exists()
    assert Trajectory.open(output).provenance["correction"]["elevated_temperature_K"] == 600.0


def test_replicas_in_several_processes(tmp_path, ethanol_file, monkeypatch):
    """Each process is told all; a correction is found before."""
    sent = []

    def map_here(function, state, tasks, processes):
        sent.append(processes)
        state = pickle.loads(pickle.dumps(state))
        monkeypatch.chdir(tmp_path / "..")  # workers of a cluster are elsewhere
        return [function(state, task) for task in tasks]

    monkeypatch.setattr("eqcalc.dynamics.shards.map_unordered", map_here)
    monkeypatch.chdir(tmp_path)
    simulate = ["simulate", shipped_model("ethanol"), ethanol_file.name, "--quiet"]
    simulate += ["--method", "Te-PIGS", "--time", 0.002, "--equilibration", 0, "--replicas", 3]
    assert run(*simulate, "--output", "parts.h5", "--processes", 2) == 0
    monkeypatch.chdir(tmp_path)
    assert run(*simulate, "--output", "whole.h5") == 0
    parts, whole = (Trajectory.open(tmp_path / name) for name in ("parts.h5", "whole.h5"))
    assert sent == [2]
    assert parts.settings == whole.settings
    for name in whole.observables():
        values = [one.observable(name).values for one in (parts, whole)]
        np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-9)


def test_processes_are_here_or_of_a_scheduler(capsys):
    simulate = ["simulate", "ethanol", "x.xyz", "--output", "x.h5"]
    for wrong in (["--scheduler", "host"], ["--processes", 2, "--scheduler", "tcp://host:1"]):
        with pytest.raises(SystemExit) as stopped:
            run(*simulate, *wrong)
        assert stopped.value.code == 2
        assert "--scheduler" in capsys.readouterr().err


def test_parameters_of_a_method_are_options(tmp_path, ethanol_file, capsys):
    output = tmp_path / "run.h5"
    simulate = ["simulate", shipped_model("ethanol"), ethanol_file, "--quiet", "--replicas", 1]
    simulate += ["--method", "T-RPMD", "--beads", 2, "--time", 0.002, "--equilibration", 0]
    assert run(*simulate, "--option", "damping=0.25", "--output", output) == 0
    assert Trajectory.open(output).settings["method"]["damping"] == 0.25
    assert run(*simulate, "--option", "dampning=1", "--output", tmp_path / "other.h5") == 2
    assert "damping" in capsys.readouterr().err


@pytest.mark.slow
def test_te_pigs_learns_runs_and_resumes(tmp_path, ethanol_file, capsys, monkeypatch):
    """One command; another run takes its correction, and spectra say how they were made."""
    whole = LearningPlan.for_molecule
    small = {"beads": 4, "replicas": 4, "equilibration": 5.0, "tests": 2, "test_time": 100.0}
    monkeypatch.setattr(
        LearningPlan, "for_molecule", lambda *a, **k: whole(*a, **{**small, "epochs": 1, **k})
    )
    output = tmp_path / "run.h5"
    simulate = ["simulate", shipped_model("ethanol"), ethanol_file, "--quiet", "--replicas", 2]
    simulate += ["--method", "Te-PIGS", "--time", 0.05, "--equilibration", 5]
    assert run(*simulate, "--labels", 32, "--elevated-temperature", 600, "--output", output) == 0
    told = capsys.readouterr()
    assert "path integrals at 600 K, 4 beads: 32 labels" in told.err
    assert "correction: of " in told.out
    correction = tmp_path / "run-correction" / "correction.eqc"
    before = correction.read_bytes()
    assert run(*simulate, "--labels", 32, "--elevated-temperature", 600, "--output", output) == 0
    assert correction.read_bytes() == before
    assert "evaluations" not in capsys.readouterr().err

    other = tmp_path / "other.h5"
    assert run(*simulate, "--correction", correction, "--output", other) == 0
    first, second = (Trajectory.open(p).observable("dipole").values for p in (output, other))
    np.testing.assert_array_equal(first, second)
    assert run("spectra", output, "--output", tmp_path / "spectra") == 0
    spectrum = read_spectrum(tmp_path / "spectra" / "spectrum-infrared.csv")
    facts = provenance_facts(spectrum.provenance)
    assert "Te-PIGS, 300 K" in facts["dynamics"]
    assert "path integrals at 600 K, 4 beads, error " in facts["correction"]
    assert spectrum.provenance["correlation"] == "kubo"


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["--labels", 9], "--labels"),
        (["--method", "T-RPMD", "--elevated-temperature", 500], "--elevated-temperature"),
        (["--method", "Te-PIGS", "--elevated-temperature", 200], "elevated_temperature"),
        (["--method", "Te-PIGS", "--correction", shipped_model("ethanol")], "correction"),
    ],
)
def test_corrections_are_those_of_te_pigs(tmp_path, ethanol_file, capsys, options, key):
    simulate = ["simulate", shipped_model("ethanol"), ethanol_file, "--quiet", *options]
    assert run(*simulate, "--output", tmp_path / "run.h5") == FAILURE
    assert f"{key}: " in capsys.readouterr().err
    assert not (tmp_path / "run.h5").exists()


def test_an_execution_is_chosen_by_name(tmp_path, ethanol_file, capsys):
    output = tmp_path / "run.h5"
    arguments = ["simulate", shipped_model("ethanol"), ethanol_file, "--output", output, "--quiet"]
    arguments += ["--replicas", 1, "--time", 0.002, "--equilibration", 0]
    assert run(*arguments, "--execution", "fastest") == FAILURE
    assert "expected one of fused" in capsys.readouterr().err
    assert run(*arguments, "--execution", "eager") == 0
    assert Trajectory.open(output).settings["evaluator"]["execution"] == "eager"


def test_compilations_are_reported(tmp_path, ethanol_file, capsys, monkeypatch):
    monkeypatch.setenv("EQCALC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        ahead_of_time, "compile_program", lambda p, s, target: torch.save((p, s), target)
    )

    def load_program(path, device):  # what was to be compiled, as it is
        potential, wanted = torch.load(path, weights_only=False)
        eager = eager_evaluator(potential, torch.tensor(wanted.numbers))
        return lambda positions: [
            eager(positions, wanted.quantities)[name] for name in wanted.quantities
        ]

    monkeypatch.setattr(ahead_of_time, "load_program", load_program)
    arguments = ["simulate", shipped_model("ethanol"), ethanol_file, "--execution", "compiled"]
    arguments += ["--quiet", "--replicas", 5, "--time", 0.002, "--equilibration", 0]
    for made in (2, 0):  # energy and forces, and all that is recorded
        assert run(*arguments, "--output", tmp_path / f"{made}.h5") == 0
        assert f"programs compiled in this run: {made}," in capsys.readouterr().err


def test_simulate_stops_where_a_committee_disagrees(tmp_path, ethanol_file, capsys):
    other, output = load_model(shipped_model("ethanol")), tmp_path / "run.h5"
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    save_model(other, tmp_path / "other.eqc")
    arguments = ["simulate", shipped_model("ethanol"), ethanol_file, "--output", output, "--quiet"]
    arguments += ["--replicas", 1, "--time", 0.1]
    assert run(*arguments, "--committee", tmp_path / "other.eqc") == FAILURE
    assert "members of the committee differ by" in capsys.readouterr().err
    assert len(Trajectory.open(output).provenance["committee"]) == 2


def test_harmonic(tmp_path, ethanol_file, capsys):
    output = tmp_path / "modes.json"
    assert run("harmonic", shipped_model("ethanol"), ethanol_file, "--output", output) == 0
    printed = capsys.readouterr().out
    assert "km/mol" in printed
    assert f"results: {output}\n" in printed
    assert "next: eqcalc simulate ethanol " in printed
    assert run("info", "ethanol") == 0
    assert "knows compositions: C2H6O" in capsys.readouterr().out
    assert len(json.loads(output.read_text())["wavenumber_cm-1"]) == 21


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nothing.eqc"], "nothing.eqc: no such"),
        (["train", "nothing.yaml"], "nothing.yaml"),
        (["evaluate", "nothing.eqc", "nothing.h5"], "nothing.eqc"),
        (["harmonic", shipped_model("ethanol"), "nothing.xyz"], "nothing.xyz: no such file"),
        (["spectra", "nothing.h5"], "nothing.h5"),
        (["convert", "nothing.xyz", "out.h5"], "nothing.xyz"),
    ],
)
def test_missing_files_are_named_without_a_traceback(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == FAILURE
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_elements_the_model_does_not_know_are_named(tmp_path, capsys):
    path = tmp_path / "phosphine.xyz"
    ase.io.write(path, molecule("PH3"))
    assert run("simulate", shipped_model("ethanol"), path, "--output", tmp_path / "x.h5") == FAILURE
    assert "expected only H C N O, got 'P'" in capsys.readouterr().err


def test_traceback_is_shown_on_request(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        run("--traceback", "info", "nothing.h5")


def test_wrong_assignments_are_explained(tmp_path, ethanol_file, capsys):
    output = tmp_path / "x.h5"
    arguments = ["simulate", shipped_model("ethanol"), ethanol_file, "--output", output]
    for wrong in ("deuterium", "H=heavy", "H=-2"):
        with pytest.raises(SystemExit):
            run(*arguments, "--mass", wrong)
        assert "--mass/--isotope: expected" in capsys.readouterr().err
    assert run(*arguments, "--mass", "9=2.014") == FAILURE
    assert "'9'" in capsys.readouterr().err


def test_a_step_too_long_for_pacmd_is_answered_with_what_can_be_done(
    tmp_path, ethanol_file, capsys
):
    arguments = ["simulate", shipped_model("ethanol"), ethanol_file, "--quiet"]
    arguments += ["--output", tmp_path / "x.h5", "--method", "PA-CMD", "--beads", 4]
    assert run(*arguments) == FAILURE
    error = capsys.readouterr().err
    assert "timestep: expected at most" in error
    assert "lower the frequency" in error


@pytest.mark.slow
def test_a_reader_that_has_enough_is_no_error():
    """As in ``eqcalc info MODEL --json | head``."""
    command = [sys.executable, "-m", "eqcalc", "info", str(shipped_model("ethanol")), "--json"]
    # a pipe that is closed already
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert done.stderr == b""
    assert done.returncode == 128 + signal.SIGPIPE


def test_errors_about_atoms_name_their_file(tmp_path, capsys):
    ethanol = molecule("CH3CH2OH")
    periodic = ethanol.copy()
    periodic.set_cell([9.0, 9.0, 9.0])
    periodic.pbc = True
    good, bad = tmp_path / "good.xyz", tmp_path / "bad.xyz"
    ase.io.write(good, [ethanol, ethanol])
    ase.io.write(bad, periodic)
    assert run("harmonic", "ethanol", bad) == FAILURE
    assert f"{bad}: atoms.pbc: " in capsys.readouterr().err
    assert run("simulate", "ethanol", good, bad, "--output", tmp_path / "run.h5") == FAILURE
    assert f"{bad}: structures[2].atoms.pbc: " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_to_a_full_disk_is_told():
    command = [sys.executable, "-m", "eqcalc", "info", str(shipped_model("ethanol"))]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == FAILURE
    assert "standard output: No space left on device; make room" in line


def test_a_file_that_holds_no_structure(tmp_path, capsys):
    path = tmp_path / "notes.txt"
    path.write_text("nothing")
    assert main(["label", str(path), str(tmp_path / "labels.h5"), "--quiet"]) == 2
    assert f"{path}: " in capsys.readouterr().err


@pytest.mark.parametrize("beads", ["0", "many", "1.5"])
def test_a_number_that_is_not_positive_and_whole(beads, capsys):
    with pytest.raises(SystemExit):
        main(["simulate", "m.eqc", "m.xyz", "--output", "r.h5", "--beads", beads])
    assert "--beads: expected an integer of at least 1" in capsys.readouterr().err


def test_labels_for_a_missing_folder_are_refused_before_the_sampling(tmp_path, water, capsys):
    assert run("label", water, tmp_path / "gone" / "labels.h5", "--structures", 10_000) == FAILURE
    assert str(tmp_path / "gone") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--time", "-1", "--time: expected a positive number, got -1.0"),
        ("--time", "inf", "--time: expected a positive number, got inf"),
        ("--timestep", "0", "--timestep: expected a positive number, got 0.0"),
        ("--equilibration", "-5", "--equilibration: expected zero or a positive number, got -5.0"),
        ("--equilibration", "x", "--equilibration: expected zero or a positive number, got 'x'"),
    ],
)
def test_times_are_checked_under_the_name_that_was_typed(option, value, message, capsys):
    with pytest.raises(SystemExit):
        run("simulate", "model.eqc", "water.xyz", "--output", "run.h5", f"{option}={value}")
    assert message in capsys.readouterr().err


def test_results_that_need_a_folder_are_not_put_into_a_file(tmp_path, capsys):
    file = tmp_path / "taken"
    file.write_text("mine")
    for arguments in (
        ["demo"],
        ["evaluate", "model.eqc", "labels.h5"],
        ["spectra", "run.h5"],
        ["compare", "a.h5", "b.jdx", "--limits", 500, 4000],
        ["assign", "run.h5"],
    ):
        with pytest.raises(SystemExit):
            run(*arguments, "--output", file)
        assert f"--output: {file} is a file; expected a folder" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_a_device_that_is_not_there(tmp_path, ethanol_file, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = ["simulate", shipped_model("ethanol"), ethanol_file, "--output", tmp_path / "r.h5"]
    assert run(*arguments, "--device", "cuda") == FAILURE
    assert "device: cuda requested, but torch" in capsys.readouterr().err
    assert run("doctor", "--device", "gpu") == FAILURE
    assert "device: expected cpu, cuda or cuda:1, got 'gpu'" in capsys.readouterr().err


def test_the_charge_of_the_structure_counts_in_dynamics(tmp_path, capsys):
    atoms = molecule("H2O")
    atoms.info["charge"] = 1
    start, model = tmp_path / "cation.xyz", tmp_path / "model.eqc"
    ase.io.write(start, atoms, format="extxyz")
    potential = make_potential(features=8)
    save_model(potential, model)
    arguments = ["--time", 0.001, "--replicas", 1, "--equilibration", 0, "--quiet"]
    arguments += ["--mass", "H=1e4", "--mass", "O=1e5", "--temperature", 1]
    output = tmp_path / "run.h5"
    assert run("simulate", model, start, "--output", output, *arguments) == FAILURE
    assert "charge: expected a total charge [e]" in capsys.readouterr().err
    potential.metadata["charges"] = [1.0]
    save_model(potential, model)
    assert run("simulate", model, start, "--output", output, *arguments) == 0
    trajectory = Trajectory.open(output)
    first = trajectory.observable("positions").values[0, 0]
    there = Atoms(atoms.numbers, first, masses=trajectory.masses, info={"charge": 1})
    there.calc = EqCalculator(potential)
    # the dynamics reports dipoles about the centre of the standard masses
    there.set_masses("defaults")
    expected = there.get_dipole_moment()
    found = trajectory.observable("dipole").values[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_help_of_simulate_names_every_method(capsys):
    with pytest.raises(SystemExit):
        run("simulate", "--help")
    words = capsys.readouterr().out.replace(",", " ").replace(";", " ").split()
    assert set(method_names(engine="eqcalc")) <= set(words)


@pytest.mark.slow
def test_a_terminal_without_the_letters_gets_others():
    """Å and ⁻ are replaced; nothing fails after its files have been written."""
    command = [sys.executable, "-m", "eqcalc", "info", str(shipped_model("ethanol"))]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"meV/?" in done.stdout


def test_sigterm_ends_a_command_with_its_status_and_without_remains(tmp_path, monkeypatch, capsys):
    target = tmp_path / "result"

    def slow(path):
        with replacing(target):
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("is not reached")

    monkeypatch.setattr("eqcalc.reports.description.describe_file", slow)
    assert main(["info", "x"]) == 75
    assert "rerun the same command" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["argparse", "eqcalc.cli.arguments"])
def test_ctrl_c_while_the_command_starts(where):
    """As soon as Python runs eqcalc at all, the exit status is that of an interrupt."""
    program = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name == {where!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from eqcalc.cli import main\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert b"Traceback" not in done.stderr


def test_ctrl_c_while_arguments_are_read(capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["eqcalc.cli.program"], "build_parser", interrupted)
    assert main(["info"]) == 128 + signal.SIGINT
    assert "eqcalc: stopped" in capsys.readouterr().err


def test_warnings_are_lines_for_people(tmp_path, water, capsys):
    """And once the command is over, those of the caller look as before."""
    before = warnings.formatwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda m, c, f, n, *rest: sys.stderr.write(
            warnings.formatwarning(m, c, f, n)
        )
        assert run("harmonic", shipped_model("ethanol"), water) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("eqcalc: warning: H2O was not among")
    assert warnings.formatwarning is before


def test_coordinates_in_another_unit_are_suspected(tmp_path, capsys):
    atoms = molecule("CH3CH2OH")
    for name, scale in (("right.xyz", 1.0), ("bohr.xyz", 1.8897)):
        atoms.positions[:] = scale * molecule("CH3CH2OH").positions
        ase.io.write(tmp_path / name, atoms)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_structures([tmp_path / "right.xyz"])
    with pytest.warns(GeometryWarning, match=r"bohr\.xyz: the nearest neighbour of atom \d \("):
        read_structures([tmp_path / "bohr.xyz"])


def test_a_trajectory_is_called_what_it_is(capsys):
    with pytest.raises(SystemExit):
        run("simulate", "m.eqc", "m.xyz", "--output", "run.xyz")
    assert "--output: expected a name that ends in .h5 or .hdf5" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["spectra", "run.h5", "--output", "/proc/spectra"],
        ["assign", "run.h5", "--output", "/proc/deep/bands"],
        ["harmonic", "m.xyz", "--output", "/proc/modes.json"],
    ],
)
def test_places_where_nothing_can_be_written_are_told_before_the_work(arguments, capsys):
    with pytest.raises(SystemExit):
        run(*arguments)
    assert "/proc: the folder cannot be written" in capsys.readouterr().err


ADVICE = [(errno.ENOSPC, "room"), (errno.EFBIG, "ulimit"), (errno.EROFS, "place")]


@pytest.mark.parametrize(("number", "advice"), ADVICE)
@pytest.mark.parametrize("kind", ["of the system", "of a room", "of eqcalc.files"])
def test_errors_of_the_system_say_what_to_do(number, advice, kind, capsys, monkeypatch):
    def fail(path):
        error = OSError(number, os.strerror(number), "run.h5")
        if kind == "of the system":
            raise error
        if kind == "of a room":
            raise InvalidFileError("cannot be written", file="run.h5") from error
        raise _failure(Path("run.h5"), number, "cannot be written")

    monkeypatch.setattr("eqcalc.reports.description.describe_file", fail)
    assert run("info", "run.h5") == FAILURE
    told = capsys.readouterr().err
    assert "error: run.h5: " in told
    assert advice in told.partition("; ")[2]


def test_a_folder_of_results_is_tried_out_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("eqcalc.training.evaluate", None)
    (tmp_path / "file").write_text("mine")
    output = tmp_path / "file" / "errors"
    with pytest.raises(SystemExit):
        run("evaluate", "model.eqc", "data.h5", "--output", output)
    assert "file is a file; expected a folder" in capsys.readouterr().err


def test_the_parser_is_built_without_torch():
    program = "import sys, eqcalc.cli; eqcalc.cli.build_parser(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == [b"False"]


def test_every_argument_is_explained():
    def silent(parser, command):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, inner in action.choices.items():
                    yield from silent(inner, f"{command} {name}")
            elif not action.help:
                yield f"{command} {action.dest}"

    assert list(silent(build_parser(), "eqcalc")) == []


def test_progress_is_shown_unless_quiet(monkeypatch):
    seen = []
    monkeypatch.setattr(
        sys.modules["eqcalc.cli.program"], "_info", lambda o: seen.append(o.progress)
    )
    assert run("info", "file") == 0
    assert run("info", "--quiet", "file") == 0
    assert seen == [True, False]


@pytest.mark.parametrize(
    "command",
    [
        *(
            "demo",
            "spectra run.h5",
            "assign run.h5",
            "compare s.h5 m.csv",
            "methods m.eqc a run.h5",
        ),
        *("convert a.h5 a.xyz", "convert a.xyz a.h5", "export m.eqc --output m.pt"),
        *("harmonic m.eqc a --figure a.png", "harmonic m.eqc a --output a.json"),
        *("anharmonic m.eqc a --output a.json", "evaluate m.eqc a.h5 --output e"),
        *("train --template a.h5 --output a.yaml", "sweep a.yaml --output s"),
        "ipi input m.eqc a --method NVE --steps 1 --output a.xml",
    ],
)
def test_a_read_only_folder_is_told_in_a_line_before_the_work(monkeypatch, capsys, command):
    """Also for the folder of results that is the default; permissions do not bind root."""

    def refuse(folder):
        raise OSError(errno.EROFS, "Read-only file system", str(folder))

    monkeypatch.setattr("eqcalc.cli.arguments.require_writable", refuse)
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Read-only file system" in line
