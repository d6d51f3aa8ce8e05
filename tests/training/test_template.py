# SPDX-License-Identifier: MIT
"""What a settings file leaves out is chosen to fit its dataset; a template states the same."""

import pytest
import yaml

from eqcalc.cli.program import main
from eqcalc.datasets import Dataset
from eqcalc.files import shipped_models
from eqcalc.training import TrainingConfig, train
from eqcalc.training.template import fitting_settings, write_template
from eqcalc.validation import MissingFileError
from tests.errors import refused
from tests.training.conftest import LEVEL, records


@pytest.fixture
def minimal(tmp_path, dataset):
    """A settings file that names its dataset, and nothing else."""
    path = tmp_path / "train.yaml"
    path.write_text(f"data: {{path: {dataset.path.name}}}\n")
    return path


def test_a_template_states_what_a_file_without_settings_gets(tmp_path, dataset, minimal):
    target = tmp_path / "settings" / "template.yaml"
    target.parent.mkdir()
    text = write_template(dataset.path, target)
    assert target.read_text() == text
    stated, bare = TrainingConfig.read(target), TrainingConfig.read(minimal)
    assert stated.data == bare.data
    assert stated.data.path == dataset.path.resolve()
    for section in ("loss", "optimizer", "schedule", "ema", "stopping", "seed"):
        assert getattr(stated, section) == getattr(bare, section)
    network = stated.model.potential_config(stated.heads)
    assert network == bare.model.potential_config(bare.heads)
    assert bare.output == tmp_path.resolve() / "data-model"


def test_sizes_and_quantities_fit_the_dataset(dataset):
    found = fitting_settings(dataset)
    assert found["data"] == {"training": 32, "validation": 4, "test": 4}
    assert list(found["loss"]) == ["energy", "forces", "dipole", "polarizability"]
    without = Dataset.create(
        dataset.path.with_name("without.h5"),
        records(12, missing={"polarizability": [True] * 12}),
        level_of_theory=LEVEL,
    )
    assert list(fitting_settings(without)["loss"]) == ["energy", "forces", "dipole"]
    # as many steps for few structures as for many, as far as epochs allow
    assert found["stopping"]["epochs"] == 2000


@pytest.mark.parametrize("name", ["hcno", "general"])
def test_a_template_that_fine_tunes_names_the_model(tmp_path, dataset, name):
    path = tmp_path / "fine-tuning.yaml"
    text = write_template(dataset.path, path, start_from=name)
    assert yaml.safe_load(text)["model"] == {"start_from": name}
    stated = TrainingConfig.read(path)
    assert stated.model.start_from == shipped_models()["hcno"]
    # minutes: 32 structures in steps of 5
    assert stated.stopping.epochs * 6 == pytest.approx(12_000)
    assert stated.optimizer.learning_rate == 5e-4
    bare = tmp_path / "bare.yaml"
    bare.write_text(f"data: {{path: {dataset.path.name}}}\nmodel: {{start_from: {name}}}\n")
    assert TrainingConfig.read(bare).stopping == stated.stopping


def test_a_template_names_a_model_that_is_missing(tmp_path, dataset):
    with pytest.raises(MissingFileError):
        write_template(dataset.path, start_from=tmp_path / "hcnoo")


def test_stated_settings_are_kept(minimal, dataset):
    minimal.write_text(
        f"data: {{path: {dataset.path.name}, validation: 10}}\nloss: [energy]\noutput: mine\n"
        "optimizer: {batch_size: 3}\nschedule: {name: plateau}\nstopping: {patience: 7}\n"
    )
    config = TrainingConfig.read(minimal)
    assert (config.data.training, config.data.validation, config.data.test) == (26, 10, 4)
    assert config.quantities == ("energy",)
    assert config.output.name == "mine"
    assert (config.optimizer.batch_size, config.stopping.patience) == (3, 7)
    assert config.schedule.name == "plateau"


@pytest.mark.slow
def test_a_file_that_names_only_its_dataset_trains(minimal):
    overrides = {"stopping.epochs": 2, "model.representation": {"name": "painn", "features": 8}}
    result = train(TrainingConfig.read(minimal, **overrides), progress=False)
    assert result.finished
    assert {row["quantity"] for row in result.record["test"]} >= {"energy", "forces", "dipole"}


@pytest.mark.parametrize(
    ("text", "key", "suggestion"),
    [
        ("data: {path: none.h5}", "data.path", None),
        ("data: {pth: data.h5}", "data.pth", "path"),
        ("data: {path: data.h5}\nlos: [energy]", "los", "loss"),
        ("data: {path: data.h5}\nloss: [enrgy]", "loss", "energy"),
        ("data: {path: data.h5}\noptimizer: {batchsize: 3}", "optimizer.batchsize", "batch_size"),
        ("data: {path: data.h5, training: many}", "data.training", None),
        ("data: {path: data.h5, validation: -1}", "data.validation", None),
        ("data: data.h5", "data", None),
        ("data: {path: data.h5}\nmodel: {representation: {name: painnn}}", None, None),
    ],
)
def test_wrong_settings_of_short_files_are_named(minimal, text, key, suggestion):
    minimal.write_text(text)
    expected = {"key": key, "suggestion": suggestion}
    with refused(file=minimal, **{k: v for k, v in expected.items() if v is not None}):
        TrainingConfig.read(minimal)


def test_a_dataset_whose_name_is_no_text_is_found_again(tmp_path, dataset):
    renamed = dataset.path.rename(tmp_path / "b\udcff 1.h5")
    write_template(renamed, tmp_path / "s.yaml")
    assert TrainingConfig.read(tmp_path / "s.yaml").data.path == renamed


def test_the_command_writes_settings_and_says_what_is_next(tmp_path, dataset, capsys):
    target = tmp_path / "t.yaml"
    assert main(["train", "--template", str(dataset.path), "--output", str(target)]) == 0
    assert f"next: eqcalc train {target}" in capsys.readouterr().out
    assert main(["train", "--template", str(dataset.path), "--output", str(target)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["train", "--template", str(dataset.path)]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"]["training"] == 32
    for wrong in ([], [str(dataset.path)]):  # a dataset where settings are expected
        assert main(["train", *wrong]) == 2
        assert "eqcalc train --template DATASET" in capsys.readouterr().err
