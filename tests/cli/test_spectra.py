# SPDX-License-Identifier: MIT
"""The commands about spectra, from files to files."""

import json
import re
import shlex
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from eqcalc.cli.program import FAILURE, build_parser, main
from eqcalc.models.checkpoint import save_model, shipped_model
from eqcalc.spectra import (
    infrared,
    raman,
    read_raman,
    read_spectrum,
    write_spectrum,
)
from eqcalc.spectra.provenance import molecule as record_of
from tests.conftest import make_potential
from tests.spectra.oscillators import oscillator, vector

ROOT = Path(__file__).parents[2]
#: Random weights make a rough surface: heavy, cold atoms hardly leave their places.
SLOW = ["--mass", "H=1e4", "--mass", "O=1e5", "--temperature", 1, "--equilibration", 0, "--quiet"]


def _next(printed):
    """Return the options of the command that is said to be next."""
    (line,) = (line for line in printed.splitlines() if line.startswith("next: eqcalc "))
    return build_parser().parse_args(shlex.split(line)[2:])


def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def series():
    scatter = np.sqrt(np.random.default_rng(1).exponential(size=(8, 1)))
    return scatter * oscillator(1500.0, n_frames=4000, n_replicas=8)


@pytest.fixture(scope="module")
def spectrum(tmp_path_factory, series):
    found = infrared(
        vector(series), interval=0.5, temperature=300.0, unit="e*Å", method="NVE", resolution=30.0
    )
    return write_spectrum(found, tmp_path_factory.mktemp("spectrum") / "infrared.h5")


@pytest.mark.slow
def test_series_of_another_code(tmp_path, series, capsys):
    paths = []
    for replica, x in enumerate(vector(series[:4])):
        paths.append(tmp_path / f"dipole-{replica}.txt")
        np.savetxt(paths[-1], np.column_stack([np.arange(len(x)), x * 4.80320471]))
    known = ["--interval", 0.5, "--temperature", 300, "--dipole-key", "1,2,3", "--dipole-unit", "D"]
    command = ["spectra", "--dipole", *paths, "--format", "columns", *known, "--resolution", 30]
    assert run(*command, "--method", "Langevin", "--output", tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert "4 replicas" in text
    assert "note: the dynamics was thermostatted (Langevin)" in text
    found = read_spectrum(tmp_path / "out" / "spectrum-infrared.jdx")
    direct = infrared(
        vector(series[:4]), interval=0.5, temperature=300.0, unit="e*Å", resolution=30.0
    )
    assert found.integrate(1000, 2000).value == pytest.approx(
        direct.integrate(1000, 2000).value, rel=1e-6
    )
    for missing, message in (
        ("--interval", "--interval: must be stated"),
        ("--dipole-unit", "dipole-unit"),
    ):
        i = command.index(missing)
        assert run(*command[:i], *command[i + 2 :]) == 2
        assert message in capsys.readouterr().err
    assert run("spectra", "--dipole", paths[0]) == 2
    told = capsys.readouterr().err
    assert "--format" in told and "--temperature" in told  # in one go
    assert run("spectra") == 2
    assert "trajectory: expected one of eqcalc" in capsys.readouterr().err
    assert run("spectra", "run.h5", "--interval", 0.5) == 2
    assert "--interval: is for series" in capsys.readouterr().err


@pytest.mark.slow
def test_raman_of_another_code(tmp_path, capsys):
    x = oscillator(1500.0, n_frames=4000, n_replicas=3)
    tensors = x[..., None] * np.array([1.0, 1.0, 3.0, 0.0, 0.0, 0.0])
    paths = []
    for replica, x in enumerate(tensors):
        paths.append(tmp_path / f"polarizability-{replica}.out")
        np.savetxt(paths[-1], np.column_stack([np.arange(len(x)), x]))
    command = ["spectra", "--polarizability", *paths, "--format", "gpumd", "--interval", 0.5]
    command += ["--temperature", 300, "--polarizability-unit", "bohr^3", "--resolution", 30]
    scattering = ["--laser", 785, "--geometry", "VV", "--anti-stokes", "--photon-counting"]
    assert run(*command, *scattering, "--output", tmp_path) == 0
    assert "0.085 (0.000)" in capsys.readouterr().out  # ρ = 12/141
    parts = read_raman(tmp_path / "spectrum-raman-parts.h5")
    expected = parts.cross_section(785.0, geometry="VV", anti_stokes=True, photon_counting=True)
    found = read_spectrum(tmp_path / "spectrum-raman-cross-section.h5")
    assert np.array_equal(found.values, expected.values)
    assert found.provenance["geometry"] == "VV"
    assert run(*command, "--geometry", "HH", "--output", tmp_path) == 2
    assert "geometry: expected one of VV" in capsys.readouterr().err


def test_compare(tmp_path, spectrum, capsys):
    nu = np.arange(900.0, 2200.0, 1.3)
    # as wide as the computed band with its window
    absorbance = 0.4 * np.exp(-0.5 * ((nu - 1455.0) / 12.7) ** 2)
    measured = tmp_path / "measured.jdx"
    pairs = "\n".join(f"{x:.2f} {y:.6f}" for x, y in zip(nu, 10.0**-absorbance, strict=True))
    measured.write_text(
        "##TITLE=gas\n##JCAMP-DX=4.24\n##XUNITS=1/CM\n##YUNITS=TRANSMITTANCE\n"
        f"##NPOINTS={len(nu)}\n##XYPOINTS=(XY..XY)\n{pairs}\n##END=\n"
    )
    command = ["compare", spectrum, measured, "--limits", 1000, 2000, "--output", tmp_path / "c"]
    assert run(*command) == 0
    assert "(not fitted)" in capsys.readouterr().out
    assert run(*command, "--scale", 0.9, 1.1, "--fwhm", 4, "--name", "MD", "--reversed") == 0
    record = json.loads((tmp_path / "c" / "comparison.json").read_text())
    (found,) = record["calculated"]
    assert found["name"] == "MD"
    value, lower, upper = found["wavenumber_scale"]
    assert value == pytest.approx(1455.0 / 1500.0, abs=2e-4)
    assert lower <= value <= upper
    assert found["scores"]["match"][0] > 0.98
    assert (tmp_path / "c" / "comparison.png").stat().st_size > 10_000
    assert "MD" in capsys.readouterr().out
    # both in absolute units: the integrated absorptions are compared as well
    own = read_spectrum(spectrum).scaled(43.4294482, unit="L/(mol cm)", label="ε")
    reference = write_spectrum(own, tmp_path / "reference.csv")
    assert run("compare", spectrum, reference, "--limits", 1000, 2000, "--output", tmp_path) == 0
    line, written = capsys.readouterr().out.splitlines()[-2:]
    assert written == f"results: {tmp_path}"
    computed, known = (
        line.split("computed ")[1].split(" ± ")[0],
        line.split("measured ")[1].split()[0],
    )
    assert float(computed) == pytest.approx(float(known), rel=1e-3)


def test_compare_with_lists_of_bands(tmp_path, spectrum, capsys):
    folder = tmp_path / "out"
    bands = tmp_path / "bands.csv"
    bands.write_text("wavenumber,km/mol,assignment\n1490,12,stretch\n1900,,overtone\n")
    assert run("compare", spectrum, bands, "--output", folder, "--name", "MD") == 0
    text = capsys.readouterr().out
    assert "1 of 2 matched" in text
    assert (folder / "bands.txt").read_text() + f"results: {folder}\n" == text
    (found,) = json.loads((folder / "bands.json").read_text())["calculated"]
    assert found["bands"][0]["deviation_cm-1"][0] == pytest.approx(10.0, abs=1.0)
    assert found["bands"][1]["note"] == "no computed band"
    assert (folder / "bands.png").stat().st_size > 10_000
    # the same file as a curve, which takes limits
    assert run("compare", spectrum, bands, "--no-bands", "--output", folder) == FAILURE
    assert "--limits: expected the range" in capsys.readouterr().err
    assert run("compare", spectrum, "--output", folder) == FAILURE
    assert "--fundamentals" in capsys.readouterr().err


def test_compare_with_fundamentals(tmp_path, spectrum, capsys):
    water = molecule("H2O")
    known = read_spectrum(spectrum)
    known.provenance["source"] = {"molecule": record_of(water.numbers, None, water.positions)}
    path = write_spectrum(known, tmp_path / "water.h5")
    folder = tmp_path / "out"
    assert run("compare", path, "--fundamentals", "--window", 150, "--output", folder) == 0
    text = capsys.readouterr().out
    assert "fundamentals of Water" in text
    assert "1 of 3 matched" in text  # 1500 to the bend at 1595
    assert run("compare", path, "--molecule", "Ammonia", "--output", folder) == 0
    assert "with other atoms or isotopes" in capsys.readouterr().out
    assert run("compare", spectrum, "--fundamentals", "--output", folder) == FAILURE
    assert "--molecule" in capsys.readouterr().err


def test_compare_names_what_is_wrong(tmp_path, spectrum, capsys):
    rows = "".join(f"{x},5\t{1 / (1 + ((x - 1500) / 20) ** 2):.6f}\n" for x in range(900, 2100, 5))
    comma = tmp_path / "comma.txt"
    comma.write_text(rows.replace(".", ","))
    command = ["compare", spectrum, comma, "--limits", 1000, 2000, "--output", tmp_path / "c"]
    assert run(*command) == 0
    assert "comma.txt, 1000 to 2000 cm⁻¹" in capsys.readouterr().out
    assert run(*command, "--scale", 0.9, 0.95) == 0
    assert "at the limit" in capsys.readouterr().out
    # what is wrong with one of both files is told with both names
    constant = tmp_path / "constant.csv"
    constant.write_text("cm-1,A\n" + "".join(f"{x},1\n" for x in range(900, 2100, 5)))
    arguments = ["--limits", 1000, 2000, "--output", tmp_path / "d"]
    assert run("compare", spectrum, constant, *arguments) == FAILURE
    assert f"{spectrum} against {constant}: measured spectrum" in capsys.readouterr().err
    assert run("compare", comma, spectrum, *arguments) == FAILURE
    assert "computed spectra come first" in capsys.readouterr().err
    assert run("compare", spectrum, tmp_path, *arguments) == FAILURE
    assert f"{tmp_path}: is a directory" in capsys.readouterr().err
    table = tmp_path / "spectrum-infrared.csv"  # in a folder of results
    table.write_text("")
    assert run("compare", tmp_path, "--fundamentals") == FAILURE
    assert str(table) in capsys.readouterr().err
    assert run("compare", spectrum, comma, *arguments, "--name", "a", "--name", "b") == FAILURE
    assert "(--name): expected 1, one for each computed spectrum, got 2" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_parts_of_raman_spectra_are_told_from_intensities(tmp_path, capsys):
    x = oscillator(1500.0, n_frames=1000, n_replicas=2)
    tensors = x[..., None, None] * np.diag([1.0, 1.0, 3.0])
    found = raman(tensors, interval=0.5, temperature=300.0, unit="Å^3", resolution=100.0)
    parts = write_spectrum(found, tmp_path / "parts.h5")
    assert run("compare", parts, "m.txt", "--limits", 1000, 2000, "--output", tmp_path) == FAILURE
    assert "parts.h5: the isotropic and the anisotropic part" in capsys.readouterr().err


@pytest.fixture(scope="module")
def water_run(tmp_path_factory):
    """A model of random weights, and a short run of 'water' with it."""
    folder = tmp_path_factory.mktemp("water")
    model, start, trajectory = (folder / name for name in ("w.eqc", "w.xyz", "run.h5"))
    save_model(make_potential(features=8), model)
    atoms = molecule("H2O")
    ase.io.write(start, Atoms(atoms.numbers, atoms.positions))
    return model, start, trajectory


@pytest.mark.slow
def test_simulate_spectra_and_assign(tmp_path, water_run, capsys):
    model, start, trajectory = water_run
    arguments = ["--time", 0.12, "--replicas", 3, *SLOW]
    assert run("simulate", model, start, "--output", trajectory, *arguments) == 0
    assert _next(capsys.readouterr().out).trajectory == trajectory
    assert run("spectra", trajectory, "--model", model, "--output", tmp_path / "s") == 0
    printed = capsys.readouterr().out
    assert "sum rule: integrated infrared intensity / exact value" in printed
    assert f"results: {tmp_path / 's'}\n" in printed
    assert (_next(printed).command, _next(printed).trajectory) == ("assign", trajectory)
    member = tmp_path / "member.eqc"
    save_model(make_potential(features=12), member)
    command = ["spectra", trajectory, "--model", model, "--output", tmp_path / "c"]
    assert run(*command, "--committee", model, member) == 0
    assert "committee of 2 on this trajectory" in capsys.readouterr().out
    assert (tmp_path / "c" / "committee.png").stat().st_size > 5000
    assert read_spectrum(tmp_path / "c" / "committee-mean.h5").history[-1] == (
        "mean of a committee of 2"
    )
    assert run("spectra", trajectory, "--frame", "corotating", "--output", tmp_path / "f") == 0
    assert "sum rule" not in capsys.readouterr().out
    # the trajectory knows where its model is, as long as it is there
    assert run("spectra", trajectory, "--output", tmp_path / "s") == 0
    assert "sum rule: integrated infrared intensity" in capsys.readouterr().out
    assert str(tmp_path.parent) not in (tmp_path / "s" / "spectrum-infrared.csv").read_text()
    model.rename(model.with_suffix(".moved"))
    assert run("spectra", trajectory, "--output", tmp_path / "s") == 0
    assert "sum rule: not checked" in capsys.readouterr().out
    assert run("assign", trajectory, "--output", tmp_path / "a") == 2
    assert "--model: expected the model" in capsys.readouterr().err
    # and another one in its place is not taken for it
    save_model(make_potential(features=4), model)
    assert run("assign", trajectory, "--output", tmp_path / "a") == 2
    assert "--model: expected the model" in capsys.readouterr().err
    model.with_suffix(".moved").rename(model)


def test_assignments_say_where_they_are_and_what_comes_next(tmp_path, capsys, monkeypatch):
    reports = "eqcalc.reports.assignment."
    monkeypatch.setattr("eqcalc.cli.spectra._read_trajectory", lambda path: path)
    monkeypatch.setattr("eqcalc.reports.molecular.model_of", lambda *_: "model")
    monkeypatch.setattr(f"{reports}assign", lambda *_, **options: options)
    monkeypatch.setattr(f"{reports}write_assignment", lambda *_, **options: "table")
    assert run("assign", "run.h5", "--output", tmp_path) == 0
    printed = capsys.readouterr().out
    assert f"results: {tmp_path}\n" in printed
    assert (_next(printed).command, _next(printed).output) == ("spectra", tmp_path)


def test_trajectories_with_rare_positions_say_what_to_do(tmp_path, water_run, capsys):
    model, start, _ = water_run
    trajectory = tmp_path / "run.h5"
    arguments = ["--time", 0.05, "--replicas", 2, *SLOW, "--observables", "positions=10"]
    assert run("simulate", model, start, "--output", trajectory, *arguments) == 0
    assert run("assign", trajectory, "--model", model) == 2
    assert "expected as often as the dipole, every 1 fs" in capsys.readouterr().err
    # it is resumed as it was started, also without its options
    assert run("simulate", model, start, "--output", trajectory, *arguments[:-2]) == 0
    other = tmp_path / "other.eqc"
    save_model(make_potential(features=4), other)
    assert run("spectra", trajectory, "--model", other, "--output", tmp_path) == 2
    assert "not the model that" in capsys.readouterr().err
    assert run("methods", other, start, trajectory, "--output", tmp_path) == 2
    assert "not the model that" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--mass", "X=2"], "an element of OH2"),
        (["--mass", "3=2"], "0 to 2"),
    ],
)
def test_wrong_isotopes_are_explained(water_run, option, message, capsys):
    model, start, _ = water_run
    assert run("harmonic", model, start, *option) == 2
    assert message in capsys.readouterr().err


def test_the_hydroxyl_group_of_the_examples_is_one(capsys):
    """The atoms of ``--group OH=…`` and of ``--mass`` in texts, in the molecule they are about."""
    with pytest.raises(SystemExit):
        main(["assign", "--help"])
    usage = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["assign", "run.h5", "--group", "OH"])
    texts = [usage, (ROOT / "workflows" / "spectra" / "README.md").read_text(encoding="utf-8")]
    atoms = ase.io.read(ROOT / "workflows" / "ethanol" / "ethanol.xyz")
    for text in texts:
        oxygen, hydrogen = map(int, re.search(r"OH=(\d+),(\d+)", text).groups())
        assert [atoms.symbols[oxygen], atoms.symbols[hydrogen]] == ["O", "H"]
        assert atoms.get_distance(oxygen, hydrogen) < 1.1
    assert f"{hydrogen}=2.014" in usage


def test_an_unknown_format_of_a_series(capsys):
    series = ["--dipole", "d.txt", "--format", "foo", "--interval", "1", "--temperature", "300"]
    assert main(["spectra", *series]) == 2
    assert "format: expected one of" in capsys.readouterr().err


def test_a_folder_that_is_missing_is_told_before_the_work(water_run, tmp_path, capsys):
    model, start, _ = water_run
    target = tmp_path / "none" / "x.json"
    with pytest.raises(SystemExit):
        run("harmonic", model, start, "--output", target)
    captured = capsys.readouterr()
    assert f"--output: {target}: there is no folder {target.parent}" in captured.err
    assert captured.out == ""


@pytest.mark.slow
def test_a_committee_on_path_integrals(tmp_path, water_run, capsys):
    model, start, _ = water_run
    member = tmp_path / "member.eqc"
    save_model(make_potential(features=12), member)
    choices = ["--method", "T-RPMD", "--beads", 2, "--time", 0.3, "--replicas", 2, *SLOW]
    command = ["spectra", tmp_path / "coarse.h5", "--committee", model, member]
    assert run("simulate", model, start, "--output", tmp_path / "coarse.h5", *choices) == 0
    assert run(*command, "--output", tmp_path / "none") == FAILURE
    error = capsys.readouterr().err
    assert "positions of all beads are recorded every 100 fs, the dipole every 1 fs" in error
    assert "eqcalc simulate --observables bead_positions=1" in error
    assert not (tmp_path / "none").exists()
    command[1] = tmp_path / "fine.h5"
    choices += ["--observables", "bead_positions=1"]
    assert run("simulate", model, start, "--output", tmp_path / "fine.h5", *choices) == 0
    assert run(*command, "--output", tmp_path / "s", "--model", model) == 0
    printed = capsys.readouterr().out
    assert "committee of 2 on this trajectory" in printed
    assert (tmp_path / "s" / "summary.txt").read_text() in printed
    mean = read_spectrum(tmp_path / "s" / "committee-mean.h5")
    assert np.array_equal(
        mean.wavenumber, read_spectrum(tmp_path / "s" / "spectrum-infrared.h5").wavenumber
    )


@pytest.mark.parametrize("option", ["--limits", "--scale"])
def test_ranges_are_ordered(option, capsys):
    arguments = ["compare", "a.h5", "b.jdx", option, "3000", "500"]
    if option == "--scale":
        arguments += ["--limits", "500", "3000"]
    with pytest.raises(SystemExit):
        main(arguments)
    assert f"{option}: expected two finite numbers, the lower one first" in capsys.readouterr().err


def test_a_file_that_is_no_structure_is_named(tmp_path, capsys):
    text = tmp_path / "notes.txt"
    text.write_text("nothing")
    assert main(["harmonic", str(shipped_model("ethanol")), str(text)]) == FAILURE
    assert "notes.txt: ASE cannot read it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "a.h5", "b.txt", "--limits", 1, 2, "--unit", "%t r"], "--unit: expected one"),
        (
            ["harmonic", "m.eqc", "m.xyz", "--figure", "a.foo"],
            "--figure: expected a name that ends",
        ),
        (["harmonic", "m.eqc", "m.xyz", "--fwhm", "0"], "--fwhm: expected a positive number"),
        (
            ["convert", "a.xyz", "b.h5", "--unit", "energy"],
            "--unit: expected NAME=VALUE",
        ),
        (["convert", "a.xyz", "b.h5", "--key", "=E"], "--key: expected NAME=VALUE"),
        (["compare", "a.h5", "b.txt", "--limits", 1, "inf"], "--limits: expected two finite"),
        (
            ["compare", "a.h5", "b.txt", "--limits", 1, 2, "--scale", 0, 1],
            "--scale: expected a positive number",
        ),
        (["spectra", "run.h5", "--resolution", "-4"], "--resolution: expected a positive number"),
    ],
)
def test_options_are_checked_before_the_work(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run(*arguments)
    assert message in capsys.readouterr().err


def test_a_key_that_is_no_column(tmp_path, capsys):
    np.savetxt(tmp_path / "d.txt", np.zeros((10, 4)))
    known = ["--interval", 1, "--temperature", 300, "--dipole-unit", "D", "--format", "columns"]
    command = ["spectra", "--dipole", tmp_path / "d.txt", *known]
    assert run(*command, "--dipole-key", "a,b") == FAILURE
    assert "--dipole-key: expected numbers from 0" in capsys.readouterr().err


def test_limits_beyond_the_data_name_the_file(tmp_path, spectrum, series, capsys):
    measured = tmp_path / "measured.txt"
    measured.write_text("\n".join(f"{x} {1 / (1 + (x - 1500) ** 2)}" for x in range(1000, 2000, 5)))
    command = ["compare", spectrum, measured, "--output", tmp_path]
    assert run(*command, "--limits", 500, 1900) == FAILURE
    assert f"{measured}: limits: expected a range within 1000" in capsys.readouterr().err
    wide = tmp_path / "wide.txt"
    wide.write_text("\n".join(["cm-1 A", *(f"{x} {x}" for x in range(0, 200_000, 500))]))
    assert run("compare", spectrum, wide, "--limits", 500, 190_000) == FAILURE
    assert f"{spectrum} against {wide}: limits" in capsys.readouterr().err
    np.savetxt(tmp_path / "d.txt", vector(series[:1])[0])
    known = ["--interval", 0.5, "--temperature", 300, "--dipole-unit", "D", "--format", "columns"]
    command = ["spectra", "--dipole", tmp_path / "d.txt", *known, "--output", tmp_path / "s"]
    assert run(*command, "--dipole-key", "0,1,2", "--limits", 1e5, 2e5) == FAILURE
    assert (
        "limits: expected a range that overlaps with the spectrum, 0 to" in capsys.readouterr().err
    )
    assert not (tmp_path / "s").exists()


@pytest.fixture(scope="module")
def moments(tmp_path_factory, series):
    """Files of CP2K with the dipole moment along four replicas, and what reads them."""
    folder = tmp_path_factory.mktemp("cp2k")
    paths = [folder / f"{replica}.dat" for replica in range(4)]
    for path, values in zip(paths, vector(series[:4]) * 4.80320471, strict=True):
        path.write_text("".join("X= {:.8f} Y= {:.8f} Z= {:.8f}\n".format(*v) for v in values))
    return paths, ["--format", "cp2k", "--interval", 0.5, "--temperature", 300, "--resolution", 30]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--frame", "eckart"], "--frame: needs the positions"),
        (["--model", "m.eqc"], "--model: needs the positions"),
        (["--committee", "a.eqc", "b.eqc"], "--committee: needs the positions"),
        (["--method", "TRMPD", "--beads", 32], "method: expected one of NVE, Langevin"),
        (["--method", "T-RPMD"], "--beads: must be stated for T-RPMD"),
        (["--beads", 32], "--method: must be stated for 32 beads"),
        (["--skip", 1999.5], "--skip: expected less than the 2000 fs of"),
        (["--unwrap", 1, 2], "--unwrap: expected 1, 3 or 9 numbers, got 2"),
        (["--time-key", "step"], "time_key: expected none (format cp2k"),
    ],
)
def test_options_without_effect_or_sense_are_refused(moments, option, message, capsys):
    paths, known = moments
    assert run("spectra", "--dipole", *paths, *known, *option) == FAILURE
    assert message in capsys.readouterr().err


def test_the_same_replica_twice(tmp_path, moments, capsys):
    paths, known = moments
    assert run("spectra", "--dipole", paths[0], paths[1], paths[0], *known) == FAILURE
    assert "0.dat: given twice" in capsys.readouterr().err
    (tmp_path / "copy.dat").write_text(paths[0].read_text() + "\n")
    assert run("spectra", "--dipole", *paths, tmp_path / "copy.dat", *known) == FAILURE
    assert "copy.dat: the same motion as" in capsys.readouterr().err


def test_a_jump_of_the_polarization_is_refused_and_taken_out(tmp_path, moments, capsys):
    paths, known = moments
    lines = paths[2].read_text().splitlines()
    broken = tmp_path / "broken.dat"
    quantum = 10.0 * 4.80320471
    values = [[float(word) for word in line.split()[1::2]] for line in lines]
    text = [
        f"X= {x:.8f} Y= {y + quantum * (i >= 2000):.8f} Z= {z:.8f}\n"
        for i, (x, y, z) in enumerate(values)
    ]
    broken.write_text("".join(text))
    command = ["spectra", "--dipole", *paths[:2], broken, *known, "--output", tmp_path / "out"]
    assert run(*command) == FAILURE
    message = capsys.readouterr().err
    assert "broken.dat: jumps by 48 D from frame 1999 to 2000" in message
    assert "--unwrap" in message
    assert not (tmp_path / "out").exists()
    assert run(*command, "--unwrap", 10) == 0
    found = read_spectrum(tmp_path / "out" / "spectrum-infrared.h5")
    assert run("spectra", "--dipole", *paths[:3], *known, "--output", tmp_path / "whole") == 0
    whole = read_spectrum(tmp_path / "whole" / "spectrum-infrared.h5")
    assert np.allclose(found.values, whole.values, atol=1e-5 * whole.values.max())
    # a summary of series does not ask for the model that they do not have
    assert "--model" not in capsys.readouterr().out


def test_timestep_molecules_and_skip_of_series(tmp_path, moments, series):
    paths, known = moments
    choices = ["--timestep", 0.5, "--molecules", 4, "--skip", 100]
    command = ["spectra", "--dipole", *paths, *known, *choices, "--output", tmp_path]
    assert run(*command) == 0
    found = read_spectrum(tmp_path / "spectrum-infrared.h5")
    direct = infrared(
        vector(series[:4])[:, 200:],
        interval=0.5,
        temperature=300.0,
        unit="e*Å",
        resolution=30.0,
        timestep=0.5,
        frequency_correction=True,
        n_molecules=4,
    )
    assert np.allclose(found.wavenumber, direct.wavenumber)
    assert np.allclose(found.values, direct.values, atol=1e-5 * direct.values.max())
    # the line is at sin(u)/u of where velocity Verlet moved it to
    u = np.pi * 2.99792458e-5 * 0.5 * 1500.0
    assert found.band(1300, 1700).position.value == pytest.approx(1500 * np.sin(u) / u, abs=0.1)


def test_files_of_beads_are_counted(tmp_path, capsys):
    paths = []
    x = vector(oscillator(1500.0, n_frames=4000, n_replicas=4))
    for bead, values in enumerate(x):
        paths.append(tmp_path / f"run.dip_{bead}")
        frames = enumerate(values)
        paths[-1].write_text(
            "".join(f"#EXTRAS(dipole)# Step: {i}\n{v[0]} {v[1]} {v[2]}\n" for i, v in frames)
        )
    known = ["--format", "i-pi", "--dipole-unit", "e*Å", "--interval", 0.5, "--temperature", 300]
    known += ["--method", "T-RPMD", "--output", tmp_path / "out", "--resolution", 30]
    assert run("spectra", "--dipole", *paths, *known, "--beads", 32) == FAILURE
    assert (
        "--dipole: the mean is over the file of every bead; expected 32 files"
        in capsys.readouterr().err
    )
    assert run("spectra", "--dipole", *paths[:3], *known) == 0
    text = capsys.readouterr().out
    assert "T-RPMD, 3 beads" in text
    assert "3 beads are too few" in text
    with pytest.raises(SystemExit):
        run("spectra", "--dipole", *paths, *known, "--beads", 0)
    assert "--beads: expected an integer of at least 1" in capsys.readouterr().err


def test_the_column_of_the_time(tmp_path, series, capsys):
    path = tmp_path / "d.txt"
    x = vector(series[:1])[0]
    times = np.delete(np.arange(len(x) + 9), range(500, 509))
    np.savetxt(path, np.column_stack([x, times]))
    known = ["--interval", 0.5, "--temperature", 300, "--dipole-unit", "D", "--format", "columns"]
    command = ["spectra", "--dipole", path, *known, "--dipole-key", "0,1,2"]
    assert run(*command, "--time-key", 3) == FAILURE
    assert "d.txt: line 501: frames: 9 missing between 499 and 509" in capsys.readouterr().err
    assert run(*command, "--time-key", "0,1") == FAILURE
    assert "--time-key: expected one column" in capsys.readouterr().err
    assert run(*command[:-2], "--dipole-key=-3,-2,-1") == FAILURE
    assert "--dipole-key: expected numbers from 0" in capsys.readouterr().err


def test_help_lists_the_methods(capsys):
    from eqcalc.methods import METHODS

    with pytest.raises(SystemExit):
        run("spectra", "--help")
    shown = "".join(capsys.readouterr().out.split())
    assert [name for name in METHODS if name.replace(" ", "") not in shown] == []


def test_a_folder_below_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        run("spectra", "run.h5", "--output", tmp_path / "file" / "x" / "y")
    assert "file is a file; expected a folder" in capsys.readouterr().err


def test_bad_structure_files_are_named(tmp_path, capsys):
    model = shipped_model("ethanol")
    bad = tmp_path / "nan.xyz"
    bad.write_text("3\n\nO 0 0 0\nH nan 0 0\nH 0 0 1\n")
    assert run("harmonic", model, bad) == FAILURE
    assert f"{bad}: line 4: expected numbers, got 'nan 0 0'" in capsys.readouterr().err
    assert run("harmonic", model, tmp_path) == FAILURE
    assert f"{tmp_path}: is a directory; expected a structure file" in capsys.readouterr().err
    atom = tmp_path / "atom.xyz"
    atom.write_text("1\n\nO 0 0 0\n")
    assert run("harmonic", tmp_path, atom) == FAILURE
    assert f"{tmp_path}: " in capsys.readouterr().err
    assert run("harmonic", model, atom) == FAILURE
    assert f"{atom}: atoms: " in capsys.readouterr().err
