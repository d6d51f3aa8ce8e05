# SPDX-License-Identifier: MIT
"""Representations of other packages: let in by the caller, named by files, used like others."""

import csv
import importlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import yaml
from ase.build import molecule

from eqcalc import EqCalculator, testing
from eqcalc.models import (
    PaiNNConfig,
    Potential,
    PotentialConfig,
    References,
    load_model,
    register_representation,
    registry,
    save_model,
)
from eqcalc.structures import Structures
from eqcalc.training import TrainingConfig, train
from eqcalc.training.sweeps import Sweep, sweep
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused

FOLDER = Path(__file__).parents[2] / "workflows" / "own_network"
NAME = "weighted_neighbors:WeightedNeighborsConfig"


@pytest.fixture
def importable(monkeypatch):
    """The folder of the example is in the path; nothing of it is imported or registered."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(registry, "_REGISTERED", {})
    monkeypatch.delenv("EQCALC_PLUGINS", raising=False)
    yield
    sys.modules.pop("weighted_neighbors", None)


@pytest.fixture
def small(importable):
    """A potential of the example, registered."""
    module = importlib.import_module("weighted_neighbors")
    config = module.WeightedNeighborsConfig(features=8, vectors=4, cutoff=3.0)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return Potential(PotentialConfig(config), References((1, 6, 8))).double()


@pytest.fixture
def settings(tmp_path):
    """The settings of the example, for a training that takes a second."""
    settings = yaml.safe_load((FOLDER / "train.yaml").read_text())
    settings["output"] = str(tmp_path / "run")
    settings["data"] |= {"training": 20, "validation": 5, "test": 5}
    settings["data"]["path"] = str((FOLDER / settings["data"]["path"]).resolve())
    settings["model"]["representation"]["features"] = 8
    settings["stopping"]["epochs"] = 1
    return settings


def test_the_page_is_true(importable, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    exec(code, {})
    checked = set(re.findall(r"testing\.(\w+)", code)) | {"assert_consistent_derivatives"}
    assert checked == {name for name in vars(testing) if name.startswith("assert_")}


def test_second_derivatives(small):
    water = molecule("H2O")
    water.rattle(0.05, seed=1)
    testing.assert_consistent_derivatives(small, Structures.from_atoms(water), tolerance=2e-5)


def test_a_file_is_read_wherever_the_class_is_registered(small, tmp_path):
    save_model(small, tmp_path / "model.eqc")
    loaded = load_model(tmp_path / "model.eqc")
    assert loaded.config == small.config
    assert loaded.config.settings()["representation"]["name"] == NAME
    energies = []
    for potential in (small, loaded):
        atoms = molecule("H2O")
        atoms.calc = EqCalculator(potential, execution="eager")
        energies.append(atoms.get_potential_energy())
    assert energies[0] == energies[1]


def test_a_file_imports_nothing_that_the_caller_has_not_let_in(small, tmp_path, monkeypatch):
    save_model(small, tmp_path / "model.eqc")
    monkeypatch.setattr(registry, "_REGISTERED", {})
    del sys.modules["weighted_neighbors"]
    with refused(InvalidFileError, key="representation.name", value=NAME):
        load_model(tmp_path / "model.eqc")
    monkeypatch.setenv("EQCALC_PLUGINS", "weighted_neighbors_of_others,another")
    with refused(InvalidFileError, key="representation.name", value=NAME):
        load_model(tmp_path / "model.eqc")
    assert "weighted_neighbors" not in sys.modules
    monkeypatch.setenv("EQCALC_PLUGINS", "another, weighted_neighbors")
    assert load_model(tmp_path / "model.eqc").config.settings() == small.config.settings()


@pytest.mark.parametrize(
    ("name", "plugins", "explained"),
    [
        ("weighted_neighbors:Nothing", "weighted_neighbors", "a class of weighted_neighbors"),
        ("weighted_neighbors:WeightedNeighbors", "weighted_neighbors", "a dataclass"),
        ("weighted_neighbors:CosineCutoff", "weighted_neighbors", "eqcalc.models.radial:Cos"),
        ("weighted_neighbors", "weighted_neighbors", "or package.module:ClassName"),
        (NAME, "", "EQCALC_PLUGINS=weighted_neighbors"),
    ],
)
def test_a_wrong_name_is_explained(importable, monkeypatch, settings, name, plugins, explained):
    monkeypatch.setenv("EQCALC_PLUGINS", plugins)
    settings["model"]["representation"] = {"name": name}
    with refused(key="model.representation.name", value=name) as caught:
        TrainingConfig.from_settings(settings)
    assert explained in caught.value.expected + caught.value.advice


def test_a_module_that_cannot_be_imported_is_named(importable, monkeypatch, settings):
    monkeypatch.setenv("EQCALC_PLUGINS", "no_such_module")
    settings["model"]["representation"] = {"name": "no_such_module:Config"}
    with pytest.raises(InvalidInputError) as caught:
        TrainingConfig.from_settings(settings)
    assert (caught.value.key, caught.value.value) == ("EQCALC_PLUGINS", "no_such_module")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_class_that_is_not_registered_is_not_saved(small, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", {})
    with refused(key="representation", value=NAME, file=tmp_path / "model.eqc"):
        save_model(small, tmp_path / "model.eqc")

    class Derived(PaiNNConfig):
        """Would be read as PaiNN, which it may not be."""

    derived = Potential(PotentialConfig(Derived(features=4)), References((1,)))
    with refused(key="representation", file=tmp_path / "model.eqc"):
        save_model(derived, tmp_path / "model.eqc")
    assert not list(tmp_path.iterdir())


def test_what_a_configuration_lacks_is_named():
    @dataclass(frozen=True)
    class Config:
        features: int = 8
        vectors: ClassVar[int] = 0

        def build(self):
            raise NotImplementedError

    with refused(key="read_out_layers"):
        register_representation(Config)
    with refused(key="name", value=f"{__name__}:f.<locals>.Local"):
        register_representation(type("Local", (PaiNNConfig,), {"__qualname__": "f.<locals>.Local"}))


@pytest.mark.slow
def test_commands_train_and_read_it(tmp_path, settings):
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(settings))
    path = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}

    def run(*arguments, **more):
        command = [sys.executable, "-m", "eqcalc", *map(str, arguments)]
        return subprocess.run(
            command, env=environment | more, capture_output=True, text=True, check=False
        )

    unknown = run("train", config, "--quiet")
    assert unknown.returncode == 2
    assert "train.yaml: model.representation.name: " in unknown.stderr
    trained = run("train", config, "--quiet", EQCALC_PLUGINS="weighted_neighbors")
    assert trained.returncode == 0, trained.stderr
    model = tmp_path / "run" / "model.eqc"
    data = settings["data"]["path"]
    assert "EQCALC_PLUGINS" in run("evaluate", model, data).stderr
    table = run("evaluate", model, data, "--split", "test", EQCALC_PLUGINS="weighted_neighbors")
    assert "meV/Å" in table.stdout
    assert NAME in run("info", model).stdout  # which builds no network


@pytest.mark.slow
def test_it_is_swept_beside_others(importable, tmp_path, settings, monkeypatch):
    monkeypatch.setenv("EQCALC_PLUGINS", "weighted_neighbors")
    axes = Sweep.read(FOLDER / "sweep.yaml").axes
    base = {key: settings[key] for key in ("data", "loss", "stopping")}
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"base": base, "axes": {"network": dict(axes["network"])}}))
    table = sweep(path, tmp_path / "runs", command="test", progress=False)
    with table.open() as stream:
        assert {row["network"] for row in csv.DictReader(stream)} == set(axes["network"])


@pytest.mark.slow
def test_it_trains_in_python_once_it_is_imported(small, settings):
    result = train(settings, progress=False)
    assert result.model.config.settings()["representation"]["name"] == NAME
