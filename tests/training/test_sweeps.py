# SPDX-License-Identifier: MIT
"""Sweeps: combinations, resumption, and a table that says how it was made."""

import csv
import re
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from eqcalc.datasets import Dataset
from eqcalc.training import sweeps
from eqcalc.training.settings import DuplicateKeyError
from eqcalc.training.sweeps import (
    Sweep,
    how_made,
    source_commit,
    summary,
    summary_text,
    sweep,
)
from eqcalc.validation import InvalidFileError
from tests.errors import refused
from tests.training.conftest import LEVEL, records

AXES = {
    "model": {
        "small": {"model.representation": {"features": 4}},
        "large": {"model.representation": {"features": 8}},
    },
    "seed": {0: {"seed": 0, "data.seed": 0}, 1: {"seed": 1, "data.seed": 1}},
}


#: Sweeps of the workflows, with the least number of trainings.
WORKFLOWS = {
    "qm9/reduced": 24,
    "qm9/full": 378,
    "qm9/learning": 45,
    "md17/reduced": 15,
    "md17/forces": 2,
    "md17/full": 30,
    "irreps/reduced": 30,
    "irreps/full": 42,
}


@pytest.fixture
def file(tmp_path):
    Dataset.create(tmp_path / "data.h5", records(24), level_of_theory=LEVEL)
    representation = {"name": "painn", "layers": 1, "radial_functions": 4, "cutoff": 3.0}
    base = {
        "data": {"path": "data.h5", "training": 12, "validation": 4},
        "model": {"representation": representation},
        "loss": ["energy"],
        "stopping": {"epochs": 1},
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"base": base, "axes": AXES}))
    return path


def test_every_combination_is_trained_once(file, tmp_path):
    table = sweep(file, tmp_path / "runs", command="here", progress=False)
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["model"], row["seed"]) for row in rows} == {
        (model, seed) for model in ("small", "large") for seed in "01"
    }
    assert all(row["command"] == "here" and row["commit"] and row["hardware"] for row in rows)
    parameters = {row["model"]: int(row["parameters"]) for row in rows}
    assert parameters["small"] < parameters["large"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("model.eqc")}
    again = sweep(file, tmp_path / "runs", command="here", progress=False)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert again.read_text() == table.read_text()
    averaged = summary(table)
    assert len(averaged) == len(rows) // 2
    assert all(row["runs"] == 2 and row["spread"] >= 0.0 for row in averaged)
    assert "| small |" in summary_text(table)


def test_parts_of_a_sweep_fill_one_table_in_its_order(file, tmp_path):
    whole = sweep(file, tmp_path / "whole", command="here", progress=False)
    for seed in "10":
        parts = sweep(
            file, tmp_path / "parts", command="here", only={"seed": [seed]}, progress=False
        )

    def errors(table):
        with table.open() as stream:
            return [
                (r["model"], r["seed"], r["quantity"], r["mae"]) for r in csv.DictReader(stream)
            ]

    assert errors(parts) == errors(whole)


@pytest.mark.parametrize(
    ("only", "key", "value"),
    [({"seeds": ["1"]}, "only", "seeds"), ({"seed": ["2"]}, "only.seed", "2")],
)
def test_a_part_that_does_not_exist_is_refused(file, tmp_path, only, key, value):
    with refused(key=key, value=value):
        sweep(file, tmp_path / "runs", command="here", only=only, progress=False)
    assert not (tmp_path / "runs").exists()


def test_a_wrong_setting_is_found_before_any_training(file, tmp_path):
    settings = yaml.safe_load(file.read_text())
    settings["axes"]["model"]["large"] = {"model.representation": {"feature": 8}}
    file.write_text(yaml.safe_dump(settings))
    with refused(file=file, key="large/0.model.representation.feature"):
        sweep(file, tmp_path / "runs", command="here", progress=False)
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_sweep_is_refused(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("output: here\n")
    with refused(InvalidFileError, file=path):
        Sweep.read(path)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"axes": ["a"]}, "axes"),
        ({"axes": {"a": {}}}, "axes.a"),
        ({"axes": {"a": {"x": 1}}}, "axes.a.x"),
        ({"axes": {"a": {"../x": {"seed": 1}}}}, "axes.a.../x"),
        ({"axes": {"a": {1: None, "1": None}}}, "axes.a"),
        ({"axes": {"a": {"x": {"seed.b": 1}}}, "base": {"seed": 1}}, "seed.b"),
        ({"base": 3}, "base"),
        ({"base": {"output": "there"}}, "base.output"),
    ],
)
def test_parts_of_the_wrong_form_are_named(file, changes, key):
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))
    with refused(file=file, key=key):
        Sweep.read(file)


def test_keys_that_are_stated_twice_are_refused(file):
    file.write_text(file.read_text() + "axes: {}\n")
    with refused(DuplicateKeyError, file=file, key="axes"):
        Sweep.read(file)


def test_settings_of_one_run_stay_its_own(file):
    """The second axis changes what the first one gives, for its own runs only."""
    settings = yaml.safe_load(file.read_text())
    settings["axes"] = {
        "model": {"m": {"model.representation": settings["base"]["model"]["representation"]}},
        "cutoff": {"short": {"model.representation.cutoff": 2.0}, "usual": None},
    }
    del settings["base"]["model"]
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    cutoffs = [run.settings["model"]["representation"]["cutoff"] for run in Sweep.read(file).runs()]
    assert cutoffs == [2.0, 3.0]


@pytest.mark.parametrize(
    ("data", "key"),
    [({"test": 0}, "data.test"), ({"path": "gone.h5"}, "data.path")],
)
def test_data_that_cannot_be_used_name_the_run(file, tmp_path, data, key):
    settings = yaml.safe_load(file.read_text())
    settings["base"]["data"] |= data
    file.write_text(yaml.safe_dump(settings))
    with refused(key=f"large/0.{key}"):
        sweep(file, tmp_path / "runs", command="here", progress=False)
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(("name", "trainings"), WORKFLOWS.items())
def test_sweeps_of_the_workflows_are_valid(name, trainings):
    path = Path(__file__).parents[2] / "workflows" / f"{name}.yaml"
    assert len(list(Sweep.read(path).runs())) == trainings


def test_the_line_holds_command_seed_commit_versions_and_hardware(monkeypatch):
    monkeypatch.setattr("sys.argv", ["speed.py", "a file.h5"])
    line = how_made(seed=7)
    assert line.startswith("python speed.py 'a file.h5'; seed 7; commit ")
    assert f"torch {torch.__version__}; " in line
    assert line.endswith("thread(s)")


def test_a_changed_source_has_a_plus(tmp_path, monkeypatch):
    package = tmp_path / "eqcalc" / "analysis"
    package.mkdir(parents=True)
    module = package / "provenance.py"
    module.write_text("first\n")
    monkeypatch.setattr(sweeps, "__file__", str(module))
    assert source_commit() == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    clean = source_commit()
    assert re.fullmatch(r"[0-9a-f]{7,}", clean)
    module.write_text("second\n")
    assert source_commit() == clean + "+"
