# SPDX-License-Identifier: MIT
"""Every wrong setting is named; right ones survive a round trip."""

import copy
from pathlib import Path

import pytest
import yaml

import eqcalc.training
from eqcalc.training import ConfigError, TrainingConfig
from eqcalc.training.config import CosineSchedule, PlateauSchedule
from eqcalc.training.settings import read_yaml

GOOD = {
    "output": "run",
    "data": {"path": "data.h5", "training": 10, "validation": 2},
    "loss": ["energy", "forces"],
}


def changed(key, value):
    settings = copy.deepcopy(GOOD)
    *sections, last = key.split(".")
    place = settings
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    return settings


def test_defaults_are_those_of_the_published_recipe():
    config = TrainingConfig.from_settings(GOOD)
    assert config.optimizer.learning_rate == 1e-3
    assert config.optimizer.weight_decay == 0.01
    assert config.optimizer.batch_size == 10
    assert config.schedule == PlateauSchedule(factor=0.5, patience=50, smoothing=0.9)
    assert config.heads == ("energy",)


def test_round_trip():
    settings = changed("schedule", {"name": "cosine", "warm_up": 0.5})
    config = TrainingConfig.from_settings(settings)
    assert config.schedule == CosineSchedule(warm_up=0.5)
    assert TrainingConfig.from_settings(config.settings()) == config
    text = yaml.safe_dump(config.settings())
    assert TrainingConfig.from_settings(yaml.safe_load(text)) == config


def test_loss_in_its_three_forms():
    full = {"energy": {"weight": 0.3, "scale": 0.01}, "dipole": 2, "forces": None}
    loss = TrainingConfig.from_settings(changed("loss", full)).loss
    assert list(loss) == ["energy", "forces", "dipole"]
    assert (loss["energy"].weight, loss["energy"].scale) == (0.3, 0.01)
    assert (loss["dipole"].weight, loss["dipole"].scale) == (2.0, None)
    assert loss["forces"].weight == 0.95


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("optimiser", {}, ["optimiser", "'optimizer'"]),
        ("optimizer.lerning_rate", 1e-3, ["optimizer.lerning_rate", "'learning_rate'"]),
        ("optimizer.learning_rate", "fast", ["optimizer.learning_rate", "number", "'fast'"]),
        ("optimizer.learning_rate", -1.0, ["optimizer.learning_rate", "> 0", "-1.0"]),
        ("optimizer.batch_size", 2.5, ["optimizer.batch_size", "integer", "2.5"]),
        ("optimizer.batch_size", True, ["optimizer.batch_size", "integer", "True"]),
        ("optimizer", 3, ["optimizer", "mapping", "3"]),
        ("data.path", "", ["data.path", "path"]),
        ("data.training", 0, ["data.training", "positive", "0"]),
        ("data.split", "aspirin", ["data.training", "data.split"]),
        ("loss", [], ["loss", "at least one"]),
        ("loss", ["enregy"], ["loss.enregy", "'energy'"]),
        ("loss.forces", {"weight": 0}, ["loss.forces.weight", "> 0", "0"]),
        ("loss.forces", {"wieght": 1}, ["loss.forces.wieght", "'weight'"]),
        ("model.representation.name", "pain", ["model.representation.name", "painn", "'pain'"]),
        ("model.representation", {"name": "painn", "fetures": 3}, ["representation.fetures"]),
        ("model.reset_heads", ["dipole"], ["model.reset_heads", "model.start_from"]),
        ("model.reset_heads", "dipole", ["model.reset_heads", "list"]),
        ("schedule.name", "step", ["schedule.name", "plateau, cosine", "'step'"]),
        ("schedule.smoothing", 1.0, ["schedule.smoothing", "[0, 1)", "1.0"]),
        ("stopping.hours", 0, ["stopping.hours", "> 0"]),
        ("ema.decay", 1, ["ema.decay", "[0, 1)"]),
        ("seed", -1, ["seed", "≥ 0", "-1"]),
        ("data.seed", -1, ["data.seed", "≥ 0", "-1"]),
        ("loss", "energy", ["loss", "a list such as [energy, forces]", "'energy'"]),
        ("loss", [{"energy": 1.0}], ["loss", "names of quantities"]),
        ("trainer.accelerator", "tpu", ["trainer.accelerator", "auto, cpu, gpu", "'tpu'"]),
        ("trainer.precision", "8-true", ["trainer.precision", "32-true, 64-true", "'8-true'"]),
        ("trainer.devices", 0, ["trainer.devices", "> 0", "0"]),
        ("trainer.devices", "many", ["trainer.devices", "> 0", "'many'"]),
        ("trainer.num_nodes", 0, ["trainer.num_nodes", "> 0", "0"]),
        ("trainer.devices", 1.5, ["trainer.devices", "an integer or text", "1.5"]),
        ("trainer.kernels", "cuda", ["trainer.kernels", "torch, triton", "cuda"]),
        (
            "trainer",
            {"kernels": "triton", "precision": "16-mixed"},
            ["trainer.precision", "32-true"],
        ),
    ],
)
def test_a_wrong_setting_is_named(key, value, words):
    settings = changed(key, value) if key != "loss.forces" else changed("loss", {"forces": value})
    with pytest.raises(ConfigError) as error:
        TrainingConfig.from_settings(settings)
    for word in words:
        assert word in str(error.value)


def test_missing_section_and_key():
    with pytest.raises(ConfigError, match=r"^data: missing"):
        TrainingConfig.from_settings({"output": "run", "loss": ["energy"]})
    with pytest.raises(ConfigError, match=r"^data\.path: missing"):
        TrainingConfig.from_settings({**GOOD, "data": {"training": 1, "validation": 1}})


def test_file_paths_overrides_and_errors(tmp_path):
    path = tmp_path / "train.yaml"
    # without a point, YAML 1.1 takes 1e-4 for text
    path.write_text(yaml.safe_dump(GOOD) + "optimizer: {learning_rate: 1e-4}\n")
    config = TrainingConfig.read(path, **{"stopping.epochs": 7})
    assert config.data.path == tmp_path / "data.h5"
    assert config.output == tmp_path / "run"
    assert config.optimizer.learning_rate == 1e-4
    assert config.stopping.epochs == 7
    with pytest.raises(ConfigError, match=r"train\.yaml: stoping: unknown key; did you mean 'st"):
        TrainingConfig.read(path, **{"stoping.epochs": 7})
    path.write_text("output: [")
    with pytest.raises(ConfigError, match=r"train\.yaml: not valid YAML"):
        TrainingConfig.read(path)
    path.write_text("")
    with pytest.raises(ConfigError, match=r"train\.yaml: no settings; examples are"):
        TrainingConfig.read(path)
    path.write_bytes(bytes(range(200, 256)))
    with pytest.raises(ConfigError, match=r"train\.yaml: not text; expected settings in YAML"):
        TrainingConfig.read(path)
    with pytest.raises(ConfigError, match="a folder; state the YAML file"):
        TrainingConfig.read(tmp_path)
    path.write_text("just text")
    with pytest.raises(ConfigError, match="expected a mapping"):
        TrainingConfig.read(path)
    with pytest.raises(ConfigError, match="no such file"):
        TrainingConfig.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "output: a\noptimizer: {batch_size: 3}\nseed: 1\noptimizer: {weight_decay: 0.0}\n",
            r"train\.yaml: line 4: optimizer is stated twice, first in line 2",
        ),
        ("data: {path: a, path: b}\n", r"line 1: path is stated twice, first in line 1"),
        ("a:\n- {x: 1}\n- b: 1\n  b: 2\n", r"line 4: b is stated twice, first in line 3"),
        ("a: 1\n  b: 2\n", r"train\.yaml: not valid YAML: line 2: mapping values are not allowed"),
    ],
)
def test_keys_that_are_stated_twice_are_refused_with_their_lines(tmp_path, text, message):
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        TrainingConfig.read(path)
    assert "\n" not in str(error.value)


def test_what_is_merged_may_be_stated_again(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: [*a, *b], y: 4}\nd: *a\n")
    assert read_yaml(path)["b"] == {"x": 3, "y": 2}
    assert read_yaml(path)["c"]["y"] == 4


def test_documented_settings_are_the_defaults():
    text = eqcalc.training.__doc__.split("::", 1)[1]
    shown = TrainingConfig.from_settings(yaml.safe_load(text))
    bare = {
        "output": "runs/first",
        "data": {"path": "molecules.h5", "training": 950, "validation": 50},
        "loss": ["energy", "forces", "dipole", "polarizability"],
    }
    expected = TrainingConfig.from_settings(bare)
    assert shown.loss == expected.loss
    for section in ("data", "optimizer", "schedule", "stopping", "ema", "trainer", "seed"):
        assert getattr(shown, section) == getattr(expected, section)
    assert shown.model.potential_config(("energy",)) == expected.model.potential_config(("energy",))


@pytest.mark.parametrize("name", ["pretrain-gfn2", "finetune-pbe0", "pbe0-only"])
def test_settings_of_the_ethanol_workflow_are_valid(name):
    folder = Path(__file__).parents[2] / "workflows" / "ethanol"
    config = TrainingConfig.read(folder / f"{name}.yaml")
    assert config.data.path.parent == folder.parents[1] / "data" / "ethanol"
