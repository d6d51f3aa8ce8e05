# SPDX-License-Identifier: MIT
"""Evaluation tables against numpy, by hand."""

import csv
import dataclasses
import io
import json
import re

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.data import atomic_masses
from ase.units import Bohr, Debye, Hartree, kcal, mol

from eqcalc.datasets import Dataset, store_split
from eqcalc.labelling.sampling import SamplingPlan, sampled_temperatures
from eqcalc.models.checkpoint import save_model
from eqcalc.neighbors import all_pairs
from eqcalc.structures import Structures
from eqcalc.training import evaluate, train
from eqcalc.training.config import DataConfig
from eqcalc.training.data import split_dataset
from eqcalc.training.evaluation_table import describe_force_error, parity_plot, wavenumber_error
from eqcalc.units import BOLTZMANN, angular_frequency_to_wavenumber
from eqcalc.validation import UnknownElementError
from tests.errors import refused
from tests.training.conftest import LEVEL, records
from tests.training.test_module import tiny_potential

NAMES = ("energy", "forces", "dipole", "polarizability")


@pytest.fixture
def model():
    potential = tiny_potential()
    potential.metadata = {"level_of_theory": dict.fromkeys(NAMES, LEVEL)}
    return potential


def predictions(model, found):
    """One structure at a time, through other calls than those of the evaluation."""
    results = {name: [] for name in NAMES}
    for r in found:
        structures = Structures.from_atoms(Atoms(r.numbers, r.positions))
        outputs = model.evaluate(structures, all_pairs(structures), NAMES)
        for name in NAMES:
            value = outputs[name].numpy()
            results[name].append(value if name == "forces" else value[0])
    return results


def test_numbers_by_hand(model, dataset):
    table = evaluate(model, dataset)
    found = list(dataset)
    ours = predictions(model, found)
    error = {
        name: [p - r.labels[name] for p, r in zip(ours[name], found, strict=True)] for name in NAMES
    }
    counts = np.array([len(r.numbers) for r in found])
    energy = np.array(error["energy"])
    forces = np.concatenate(error["forces"])
    length = [
        np.linalg.norm(p) - np.linalg.norm(r.labels["dipole"])
        for p, r in zip(ours["dipole"], found, strict=True)
    ]
    alpha = np.array(error["polarizability"])
    isotropic = (alpha[:, 0, 0] + alpha[:, 1, 1] + alpha[:, 2, 2]) / 3
    for name, unit, errors, factor in (
        ("energy", "meV", energy, 1e3),
        ("energy", "kcal/mol", energy, mol / kcal),
        ("energy per atom", "meV/atom", energy / counts, 1e3),
        ("forces", "meV/Å", forces, 1e3),
        ("forces", "kcal/mol/Å", forces, mol / kcal),
        ("dipole", "mD", np.array(error["dipole"]), 1e3 / Debye),
        ("dipole magnitude", "mD", np.array(length), 1e3 / Debye),
        # e²Å²/eV over (4πε₀) bohr³, with 4πε₀ = 1/(Hartree · Bohr)
        ("polarizability", "bohr³", alpha, Hartree / Bohr**2),
        ("isotropic polarizability", "bohr³", isotropic, Hartree / Bohr**2),
    ):
        row = table.row(name, unit)
        assert row.mae == pytest.approx(np.mean(np.abs(errors)) * factor, rel=1e-9), name
        assert row.rmse == pytest.approx(np.sqrt(np.mean(errors**2)) * factor, rel=1e-9), name
        assert row.largest == pytest.approx(np.max(np.abs(errors)) * factor, rel=1e-9), name
        assert row.n == errors.size
    assert "forces" in repr(table) and len(repr(table)) < 250
    assert table._repr_html_().count("\n") == 1 + len(table.rows) + len(table.meaning)
    labels = np.concatenate([r.labels["forces"] for r in found])
    assert table.row("forces", "meV/Å").spread == pytest.approx(
        1e3 * np.sqrt(np.mean(labels.var(axis=0)))
    )
    assert table.n_structures == 40
    assert table.notes == ()


def test_order_of_structures_does_not_matter(model, dataset, tmp_path):
    table = evaluate(model, dataset)
    order = np.random.default_rng(3).permutation(40)
    shuffled = Dataset.create(
        tmp_path / "shuffled.h5", [dataset[int(i)] for i in order], level_of_theory=LEVEL
    )
    for other in (evaluate(model, dataset, order), evaluate(model, shuffled)):
        for a, b in zip(table.rows, other.rows, strict=True):
            assert (a.quantity, a.unit, a.n) == (b.quantity, b.unit, b.n)
            assert a.mae == pytest.approx(b.mae, rel=1e-9)
            assert a.rmse == pytest.approx(b.rmse, rel=1e-9)


def test_missing_labels_are_left_out(model, tmp_path):
    mask = np.arange(12) % 3 == 0
    part = Dataset.create(
        tmp_path / "part.h5",
        records(12, missing={"dipole": mask, "energy": ~mask, "forces": mask}),
        level_of_theory=LEVEL,
    )
    full = Dataset.create(tmp_path / "full.h5", records(12), level_of_theory=LEVEL)
    table = evaluate(model, part)
    assert table.row("dipole", "mD").n == 8 * 3
    for name, rows in (("dipole", ~mask), ("energy", mask), ("forces", ~mask)):
        expected = evaluate(model, full, np.flatnonzero(rows), names=[name])
        for row in expected.rows:
            assert table.row(row.quantity, row.unit).rmse == pytest.approx(row.rmse, rel=1e-9)


def test_files(model, dataset, tmp_path):
    table = evaluate(model, dataset, names=["energy", "dipole"])
    paths = table.write(tmp_path / "out")
    assert [p.name for p in paths] == [
        "evaluation.csv",
        "evaluation.json",
        "evaluation-energy.png",
        "evaluation-dipole.png",
    ]
    rows = list(csv.DictReader(io.StringIO(paths[0].read_text())))
    assert len(rows) == len(table.rows)
    for read, row in zip(rows, table.rows, strict=True):
        assert (read["quantity"], read["unit"], int(read["n"])) == (row.quantity, row.unit, row.n)
        assert float(read["mae"]) == pytest.approx(row.mae, rel=1e-7)
    stored = json.loads(paths[1].read_text())
    assert stored["rows"][0]["rmse"] == table.rows[0].rmse
    for path in paths[2:]:
        assert path.read_bytes().startswith(b"\x89PNG")
    text = str(table)
    for word in ("kcal/mol", "meV/atom", "mD", "RMSE"):
        assert word in text


def test_parity_plot_shows_the_numbers(model, dataset):
    table = evaluate(model, dataset)
    for name, unit in (("forces", "meV/Å"), ("polarizability", "bohr³"), ("energy", "meV")):
        figure = parity_plot(name, table.labels[name], table.predicted[name])
        upper, lower = figure.axes
        row = table.row(name, unit)
        assert f"MAE {row.mae:.3g}, RMSE {row.rmse:.3g} {unit}" in upper.get_title()
        points = lower.lines[1].get_ydata()
        assert len(points) == row.n
        assert np.abs(points).mean() == pytest.approx(row.mae)


def test_part_of_the_own_training(settings, dataset, tmp_path):
    result = train(settings, progress=False)
    tested = evaluate(result.path, dataset, split="test")
    assert tested.n_structures == 8
    stored = json.loads((result.folder / "test.json").read_text())
    assert stored["rows"] == [vars(row) for row in tested.rows]
    assert evaluate(result.path, dataset, split="training").n_structures == 24
    other = Dataset.create(tmp_path / "other.h5", records(10, seed=5), level_of_theory="other")
    with refused(key="split", value="test", file=other.path):
        evaluate(result.path, other, split="test")
    store_split(other.path, "hard", {"cold": [1, 2, 3]})
    table = evaluate(result.path, other.path, split="hard/cold")
    assert table.n_structures == 3
    assert table.notes[0] == (f"energy: the model was trained at {LEVEL}, the labels are other.")
    for wrong, near in (("hard/hot", "hard/cold"), ("tests", "test")):
        with refused(key="split", value=wrong, file=other.path, suggestion=near):
            evaluate(result.path, other.path, split=wrong)


def test_structures_that_were_trained_on_are_counted(settings, dataset):
    result = train(settings, progress=False)
    (note,) = evaluate(result.path, dataset).notes
    assert note.startswith("24 of these 40 structures were trained on")
    assert evaluate(result.path, dataset, split="test").notes == ()
    # a selection of the file is known by its places in the file
    held_out = split_dataset(dataset, DataConfig(dataset.path, 24, 8)).test
    assert evaluate(result.path, dataset.subset(held_out)).notes == ()


def test_compositions_that_were_not_trained_on_are_named(settings, dataset, tmp_path):
    result = train(settings, progress=False)
    assert result.record["dataset"]["compositions"]["formulas"] == ["CH4", "H2O"]
    assert result.model.metadata["charges"] == [0.0]
    found = records(6, names=("H2O", "CH3OH"))
    other = Dataset.create(tmp_path / "other.h5", found, level_of_theory=LEVEL)
    (note,) = evaluate(result.path, other).notes
    assert note == "CH4O: not among the training data of the model (CH4, H2O)."


def test_numbers_that_are_none_are_left_out_and_named(model, dataset, tmp_path):
    found = list(dataset)[:12]
    for index, name in ((4, "energy"), (5, "forces")):
        labels = {**found[index].labels, name: np.full_like(found[index].labels[name], np.nan)}
        found[index] = dataclasses.replace(found[index], labels=labels)
    spoiled = Dataset.create(tmp_path / "spoiled.h5", found, level_of_theory=LEVEL)
    table = evaluate(model, spoiled)
    assert table.notes[0] == (
        "left out, since they are not finite: energy of structure 4; forces of structure 5."
    )
    good = [k for k in range(12) if k not in (4, 5)]
    assert table.rows == evaluate(model, dataset, good).rows
    assert table.n_structures == 10
    # a label that is not compared is of no interest, and structures are named by their places
    assert "forces" not in evaluate(model, spoiled.subset([4, 6]), names=["energy"]).notes[0]
    assert "structure 4." in evaluate(model, spoiled.subset([6, 4]), names=["energy"]).notes[0]
    with refused(file=spoiled.path):
        evaluate(model, spoiled, [4])


def test_a_model_that_gives_no_numbers_is_noted(model, dataset):
    with torch.no_grad():
        next(model.heads["dipole"].parameters()).fill_(np.nan)
    notes = evaluate(model, dataset).notes
    assert notes == ("dipole: 120 of 120 values of the model are not finite.",)


def test_what_model_and_data_have_is_said_where_nothing_is_common(model, tmp_path):
    other = tmp_path / "other.h5"
    labels = {"homo_lumo_gap": np.array(1.0)}
    found = [dataclasses.replace(record, labels=labels) for record in records(2)]
    Dataset.create(other, found, level_of_theory=LEVEL)
    with refused(file=other) as caught:
        evaluate(model, other)
    assert "energy" in caught.value.problem and "homo_lumo_gap" in caught.value.problem


def test_refusals(model, dataset, tmp_path):
    with refused(key="split", value="test"):
        evaluate(model, dataset, [0], split="test")
    with refused(file=dataset.path):
        evaluate(model, dataset, [])
    with refused(key="row", suggestion="energy [meV]"):
        evaluate(model, dataset).row("energy", "eV")
    none = Dataset.create(
        tmp_path / "none.h5",
        records(2, missing={"dipole": [True, True]}),
        level_of_theory=LEVEL,
    )
    with refused(key="names", value="dipole", file=none.path):
        evaluate(model, none, names=["dipole"])
    with refused(key="names", value="energy", expected="quantities of the model: dipole"):
        evaluate(tiny_potential(heads=("dipole",)), dataset, names=["energy"])
    ammonia = Dataset.create(tmp_path / "n.h5", [_relabelled()], level_of_theory=LEVEL)
    path = tmp_path / "model.eqc"
    save_model(model, path)
    with refused(UnknownElementError, file=ammonia.path, unknown=(7,), known=(1, 6, 8)):
        evaluate(path, ammonia)


def _relabelled():
    record = records(1)[0]
    return type(record)(np.array([7, 1, 1]), record.positions, record.labels)


def test_errors_of_force_constants_are_recognised_in_those_of_forces():
    """Random errors of all force constants between vibrations: their forces, and their shifts."""
    rng = np.random.default_rng(3)
    n_atoms, omega, temperature = 20, 0.2, 300.0
    n, mass = 3 * n_atoms - 6, atomic_masses[6]
    modes = np.linalg.qr(rng.normal(size=(3 * n_atoms, n)))[0]
    upper = np.triu(1e-4 * rng.normal(size=(n, n)))
    errors = upper + np.triu(upper, 1).T
    thermal = np.sqrt(BOLTZMANN * temperature) / omega * rng.normal(size=(2000, n))
    forces = np.sqrt(mass) * thermal @ errors @ modes.T
    shifts = angular_frequency_to_wavenumber(1.0) * np.diag(errors) / (2.0 * omega)
    found = wavenumber_error(np.mean(np.abs(forces)), [6] * n_atoms, temperature)
    assert found == pytest.approx(np.mean(np.abs(shifts)), rel=0.2)


def test_one_small_molecule_does_not_say_how_good_a_model_is():
    """Of H2 the error of all forces, which is that of large molecules, would be 170 cm⁻¹."""
    ethanol, hydrogen = [6, 6, 8, 1, 1, 1, 1, 1, 1], [1, 1]
    assert wavenumber_error(0.038, hydrogen) > 140.0
    typical = wavenumber_error(0.038, ethanol)

    def numbers(*arguments):
        text = describe_force_error(0.038, *arguments).partition("meV/Å")[2]
        return [float(word) for word in re.findall(r"\b[\d.]+\b", text)]

    assert numbers([ethanol]) == [pytest.approx(typical, abs=0.5)]
    assert numbers([ethanol] * 9 + [hydrogen]) == [pytest.approx(typical, abs=0.5)]
    own = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.3]
    low, high = (wavenumber_error(error, ethanol) for error in (0.02, 0.06))
    middle = wavenumber_error(0.04, ethanol)
    assert numbers([ethanol] * 7, own) == pytest.approx([middle, low, high], rel=0.1)
    assert numbers([hydrogen, ethanol], [0.001, 0.038])[1:] == pytest.approx([4, 13], rel=0.1)


def test_a_table_says_what_the_model_knows_and_what_its_errors_mean(settings, dataset):
    result = train(settings, progress=False)
    table = evaluate(result.path, dataset, split="test")
    assert table.meaning[0].startswith("the model knows compositions: CH4, H2O; temperatures")
    assert table.meaning[0].endswith("not recorded")
    error = table.row("forces", "meV/Å").mae
    assert f"a mean error of forces of {error:.3g} meV/Å" in table.meaning[1]
    assert table.meaning[1] in str(table)


def test_temperatures_are_known_only_if_all_structures_record_them():
    plan = SamplingPlan.default().settings()
    assert sampled_temperatures({"sampling": plan}) == (300.0, 800.0)
    assert sampled_temperatures({"sampling": plan, "appended": [{"method": "PBE0"}]}) is None
    assert sampled_temperatures({"sampling": "by hand"}) is None
    assert sampled_temperatures({}) is None
