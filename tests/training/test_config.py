# SPDX-License-Identifier: MIT
"""Every wrong setting is named; right ones survive a round trip."""

import copy
import time
from pathlib import Path

import pytest
import yaml

import eqcalc.training
from eqcalc.training import TrainingConfig
from eqcalc.training.config import CosineSchedule, PlateauSchedule
from eqcalc.training.settings import DuplicateKeyError, read_yaml
from eqcalc.validation import InvalidFileError, MissingFileError
from tests.errors import refused
from tests.training.conftest import scalar_settings

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
    ("key", "value", "named", "suggestion"),
    [
        ("optimiser", {}, "optimiser", "optimizer"),
        ("optimizer.lerning_rate", 1e-3, "optimizer.lerning_rate", "learning_rate"),
        ("optimizer.learning_rate", "fast", "optimizer.learning_rate", None),
        ("optimizer.learning_rate", -1.0, "optimizer.learning_rate", None),
        ("optimizer.batch_size", 2.5, "optimizer.batch_size", None),
        ("optimizer.batch_size", True, "optimizer.batch_size", None),
        ("optimizer", 3, "optimizer", None),
        ("data.path", "", "data.path", None),
        ("data.training", 0, "data.training", None),
        ("data.split", "aspirin", "data.training", None),
        ("loss", [], "loss", None),
        ("loss", ["enregy"], "loss", "energy"),
        ("loss.forces", {"weight": 0}, "loss.forces.weight", None),
        ("loss.forces", {"wieght": 1}, "loss.forces.wieght", "weight"),
        ("model.representation.name", "pain", "model.representation.name", None),
        (
            "model.representation",
            {"name": "painn", "fetures": 3},
            "model.representation.fetures",
            None,
        ),
        ("model.reset_heads", ["dipole"], "model.reset_heads", None),
        ("model.reset_heads", "dipole", "model.reset_heads", None),
        ("schedule.name", "step", "schedule.name", None),
        ("schedule.smoothing", 1.0, "schedule.smoothing", None),
        ("stopping.hours", 0, "stopping.hours", None),
        ("ema.decay", 1, "ema.decay", None),
        ("seed", -1, "seed", None),
        ("data.seed", -1, "data.seed", None),
        ("loss", "energy", "loss", None),
        ("loss", [{"energy": 1.0}], "loss", None),
        ("trainer.accelerator", "tpu", "trainer.accelerator", "gpu"),
        ("trainer.precision", "8-true", "trainer.precision", "64-true"),
        ("trainer.devices", 0, "trainer.devices", None),
        ("trainer.devices", "many", "trainer.devices", None),
        ("trainer.num_nodes", 0, "trainer.num_nodes", None),
        ("trainer.devices", 1.5, "trainer.devices", None),
        ("trainer.kernels", "cuda", "trainer.kernels", None),
        ("trainer", {"kernels": "triton", "precision": "16-mixed"}, "trainer.precision", None),
    ],
)
def test_a_wrong_setting_is_named(key, value, named, suggestion):
    settings = changed(key, value) if key != "loss.forces" else changed("loss", {"forces": value})
    expected = {} if suggestion is None else {"suggestion": suggestion}
    with refused(key=named, **expected):
        TrainingConfig.from_settings(settings)


def test_missing_section_and_key():
    for settings, key in (
        ({"output": "run", "loss": ["energy"]}, "data"),
        ({**GOOD, "data": {"training": 1, "validation": 1}}, "data.path"),
    ):
        with refused(key=key, problem="missing"):
            TrainingConfig.from_settings(settings)


def test_file_paths_overrides_and_errors(tmp_path):
    path = tmp_path / "train.yaml"
    # without a point, YAML 1.1 takes 1e-4 for text
    path.write_text(yaml.safe_dump(GOOD) + "optimizer: {learning_rate: 1e-4}\n")
    config = TrainingConfig.read(path, **{"stopping.epochs": 7})
    assert config.data.path == tmp_path / "data.h5"
    assert config.output == tmp_path / "run"
    assert config.optimizer.learning_rate == 1e-4
    assert config.stopping.epochs == 7
    with refused(file=path, suggestion="stopping"):
        TrainingConfig.read(path, **{"stoping.epochs": 7})
    for content in (b"output: [", b"", bytes(range(200, 256)), b"just text"):
        path.write_bytes(content)
        with refused(InvalidFileError, file=path):
            TrainingConfig.read(path)
    with refused(InvalidFileError, file=tmp_path):
        TrainingConfig.read(tmp_path)
    with refused(MissingFileError, file=tmp_path / "none.yaml"):
        TrainingConfig.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        (
            "output: a\noptimizer: {batch_size: 3}\nseed: 1\noptimizer: {weight_decay: 0.0}\n",
            *("optimizer", (2, 4)),
        ),
        ("data: {path: a, path: b}\n", "path", (1, 1)),
        ("a:\n- {x: 1}\n- b: 1\n  b: 2\n", "b", (3, 4)),
    ],
)
def test_keys_that_are_stated_twice_are_refused_with_their_lines(tmp_path, text, key, lines):
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with refused(DuplicateKeyError, file=path, key=key, lines=lines):
        TrainingConfig.read(path)


def test_text_that_is_not_yaml_is_refused_in_one_line(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("a: 1\n  b: 2\n")
    with refused(InvalidFileError, file=path) as caught:
        TrainingConfig.read(path)
    assert "line 2" in caught.value.problem and "\n" not in str(caught.value)


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


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ({"read_outs": {"heat_capacity": {"depth": 3}}}, "model.read_outs.heat_capacity.depth"),
        ({"read_outs": {"enthalpy": {"layers": 1}}}, "model.read_outs"),
        ({"element_values": {"heat_capacity": [1.0]}}, "model.element_values.heat_capacity"),
    ],
)
def test_wrong_options_are_refused_before_training(scalars, settings, model, key):
    with refused(key=key):
        TrainingConfig.from_settings(scalar_settings(scalars, settings, **model))


def laughs(text):
    """Return text with 9⁹ values, in half a kilobyte."""
    lines = [f"&a0 [{', '.join('x' * 9)}]"]
    lines += [f"&a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    return text.replace("HERE", f"[{', '.join(lines)}]")


@pytest.mark.parametrize(
    "text",
    [
        laughs("output: HERE"),
        laughs("optimizer: {batch_size: HERE}"),
        laughs("x: HERE"),
        "[" * 20_000,
        "a: " * 50_000,
        "x: &x [*x]",
        "{" * 200 + "}" * 200,
        "output: !!python/object/apply:os.system [true]",
        "# " + "x" * 2_000_000,
    ],
)
def test_small_files_cannot_take_long_or_much(tmp_path, text):
    path = tmp_path / "train.yaml"
    path.write_text(text)
    start = time.perf_counter()
    with refused(file=path) as caught:
        TrainingConfig.read(path)
    assert len(str(caught.value)) < 2000
    assert time.perf_counter() - start < 5.0  # on a busy machine; alone 0.1


@pytest.mark.parametrize("text", ["0100", "1:30", "1_0", "0x10", "0o10", "２", "2024-01-01"])
def test_numbers_of_yaml_1_1_are_not_guessed(tmp_path, text):
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(GOOD) + f"stopping: {{epochs: {text}}}\n")
    with refused(file=path, key="stopping.epochs", value=text):
        TrainingConfig.read(path)
    path.write_text(yaml.safe_dump(GOOD) + f"optimizer: {{weight_decay: {text}}}\n")
    with refused(file=path, key="optimizer.weight_decay", value=text):
        TrainingConfig.read(path)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("1", 1.0), (".5", 0.5), ("2.", 2.0), ("1.5E+0", 1.5)]
)
def test_numbers_of_yaml_1_2_are_read(tmp_path, text, value):
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(GOOD) + f"optimizer: {{weight_decay: {text}}}\n")
    assert TrainingConfig.read(path).optimizer.weight_decay == value
