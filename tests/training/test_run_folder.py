# SPDX-License-Identifier: MIT
"""The folder of a run: one process at a time, and nothing in it begins anew unasked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from eqcalc.training import TrainingConfig, train
from eqcalc.training.module import TrainingModule
from eqcalc.training.run_folder import RunFolder
from tests.errors import refused


@pytest.fixture
def finished(settings):
    """A run of two epochs that has ended."""
    settings["stopping"] = {"epochs": 2}
    return train(settings, progress=False)


def files_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_a_second_process_is_refused(tmp_path, settings):
    folder = RunFolder(TrainingConfig.from_settings(settings))
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(settings))
    with folder.exclusive():
        command = [sys.executable, "-m", "eqcalc", "train", str(config), "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert f"{config}: output: another process is training in {folder.path}; " in done.stderr
        assert "Traceback" not in done.stderr
        assert not folder.log.exists()
    assert train(settings, progress=False).finished
    assert not (folder.path / ".lock").exists()


def test_the_lock_is_held_while_a_run_is_trained(settings, monkeypatch):
    original = TrainingModule.training_step

    def step(self, batch, number):
        with refused(key="output", value=Path(settings["output"])):
            train(settings, progress=False)
        return original(self, batch, number)

    settings["stopping"] = {"epochs": 1}
    monkeypatch.setattr(TrainingModule, "training_step", step)
    assert train(settings, progress=False).finished


@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_run_without_its_checkpoint_does_not_begin_anew(finished, settings, whole_folder):
    checkpoint = finished.folder / "checkpoints" / "last.ckpt"
    checkpoint.unlink()
    if whole_folder:
        checkpoint.parent.rmdir()
    before = files_of(finished.folder)
    assert train(settings, progress=False).finished  # there is nothing to do
    settings["stopping"] = {"epochs": 4}
    with refused(key="output", value=checkpoint):
        train(settings, progress=False)
    assert files_of(finished.folder) == before


@pytest.mark.slow
def test_a_run_of_an_older_version_that_named_no_network_stays_painn(settings):
    """The default was another network, whose parameters have the same names and shapes."""
    settings["stopping"] = {"epochs": 1}
    settings["model"] = {"representation": {"name": "painn"}}
    settings["data"] |= {"validation": 4}
    folder = train(settings, progress=False).folder
    state = json.loads((folder / "run.json").read_text())
    state["identity"]["settings"]["model"]["representation"] = None
    (folder / "run.json").write_text(json.dumps(state))
    assert train(settings, progress=False).finished
    del settings["model"]
    assert TrainingConfig.from_settings(settings).model.representation == {"name": "smooth_painn"}
    with refused(key="output", value=folder) as caught:
        train(settings, progress=False)
    assert "model.representation.name" in str(caught.value)


def test_a_run_that_was_stopped_by_the_clock_does_not_begin_anew_either(settings):
    settings["stopping"] = {"epochs": 3, "hours": 1e-9}
    result = train(settings, progress=False)
    checkpoint = result.folder / "checkpoints" / "last.ckpt"
    checkpoint.unlink()
    with refused(key="output", value=checkpoint):
        train(settings, progress=False)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins(settings, monkeypatch):
    def killed(self, batch, number):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train(settings, progress=False)
    assert train(settings, progress=False).finished


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_checkpoint_is_named_with_what_to_do(finished, settings, damage):
    checkpoint = finished.folder / "checkpoints" / "last.ckpt"
    if damage == "other":
        torch.save({"epoch": 3}, checkpoint)
    else:
        data = checkpoint.read_bytes()
        checkpoint.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    before = files_of(finished.folder)
    settings["stopping"] = {"epochs": 4}
    with refused(key="output", value=checkpoint) as caught:
        train(settings, progress=False)
    assert f"model.start_from: {finished.path}" in caught.value.advice
    assert files_of(finished.folder) == before


def test_a_damaged_record_of_the_run_is_named(finished, settings):
    record = finished.folder / "run.json"
    record.write_text('{"identity"')
    with refused(key="output", value=record):
        train(settings, progress=False)


def test_fewer_epochs_than_are_done_name_file_and_key(tmp_path, finished, settings):
    settings["stopping"] = {"epochs": 1}
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(settings))
    with refused(file=config, key="stopping.epochs", value=1):
        train(config, progress=False)


def test_the_log_of_a_resumed_run_has_lines_of_one_kind(finished, settings):
    settings["stopping"] = {"epochs": 4}
    train(settings, progress=False)
    assert b"\r" not in (finished.folder / "log.csv").read_bytes()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_is_named(settings):
    settings["output"] = "/proc/run"
    with refused(key="output", value=Path("/proc/run")):
        train(settings, progress=False)


def test_a_file_in_place_of_the_folder_is_named(tmp_path, settings):
    (tmp_path / "taken").write_text("mine")
    with refused(key="output", value=tmp_path / "taken"):
        train(settings | {"output": str(tmp_path / "taken")}, progress=False)
    assert (tmp_path / "taken").read_text() == "mine"
