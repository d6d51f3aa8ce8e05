# SPDX-License-Identifier: MIT
"""Whole trainings: learning, resuming, refusing and recording."""

import csv
import errno
import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from eqcalc.datasets import Dataset, DatasetWriter
from eqcalc.interruption import Stopped
from eqcalc.models.checkpoint import load_model, read_header, shipped_model
from eqcalc.reports.description import describe_file, describe_model
from eqcalc.runtime import ExecutionUnavailableError
from eqcalc.runtime.cpp_compiler import compiler
from eqcalc.training import evaluate, train
from eqcalc.training.config import DataConfig
from eqcalc.training.data import split_dataset
from eqcalc.training.module import TrainingModule
from eqcalc.training.run_folder import unfinished
from eqcalc.validation import MissingExtraError
from tests.conftest import slow
from tests.errors import refused
from tests.training.conftest import LEVEL, records, scalar_settings

ALL = ["energy", "forces", "dipole", "polarizability"]


def log_of(result):
    with (result.folder / "log.csv").open() as stream:
        return list(csv.DictReader(stream))


def without_time(rows):
    return [{k: v for k, v in row.items() if k != "hours"} for row in rows]


def same_parameters(a, b):
    state = b.state_dict()
    return all(torch.equal(value, state[name]) for name, value in a.state_dict().items())


@pytest.mark.slow
def test_overfits_a_handful_of_structures(tmp_path, settings):
    path = tmp_path / "few.h5"
    with DatasetWriter(path, level_of_theory=LEVEL) as writer:
        writer.append(records(6))
        writer.add_split("all", {"training": range(6), "validation": range(6)})
    settings |= {
        "data": {"path": str(path), "split": "all"},
        "loss": dict.fromkeys(ALL, 1.0),
        "optimizer": {"batch_size": 2, "learning_rate": 0.01, "weight_decay": 0.0},
        "schedule": {"name": "cosine"},
        "stopping": {"epochs": 80, "patience": None},
    }
    settings["model"]["representation"]["features"] = 16
    result = train(settings, progress=False)
    table = evaluate(result.model, path)
    # each label is learned to a tenth of its own spread
    for name, unit in (
        ("energy", "meV"),
        ("forces", "meV/Å"),
        ("dipole", "mD"),
        ("polarizability", "bohr³"),
    ):
        row = table.row(name, unit)
        assert row.rmse < 0.1 * row.spread, row


def test_the_same_seed_gives_the_same_model(tmp_path, settings):
    state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = train(settings, progress=False)
    second = train(settings | {"output": str(tmp_path / "second")}, progress=False)
    other = train(settings | {"output": str(tmp_path / "other"), "seed": 1}, progress=False)
    assert same_parameters(first.model, second.model)
    assert not same_parameters(first.model, other.model)
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    "schedule",
    [{"name": "plateau", "patience": 0, "smoothing": 0.5}, {"name": "cosine", "warm_up": 1.5}],
    ids=lambda s: s["name"],
)
def test_a_killed_run_resumes_as_if_nothing_had_happened(tmp_path, settings, schedule, monkeypatch):
    settings["schedule"] = schedule
    settings["stopping"] = {"epochs": 5}
    whole = train(settings, progress=False)

    steps = 0
    original = TrainingModule.training_step

    def dying_step(self, batch, number):
        nonlocal steps
        steps += 1
        if steps == 8:  # in the middle of the third epoch
            raise RuntimeError("killed")
        return original(self, batch, number)

    settings["output"] = str(tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", dying_step)
        with pytest.raises(RuntimeError, match="killed"):
            train(settings, progress=False)
    assert len((tmp_path / "killed" / "log.csv").read_text().splitlines()) == 3
    resumed = train(settings, progress=False)

    assert without_time(log_of(resumed)) == without_time(log_of(whole))
    assert same_parameters(resumed.model, whole.model)
    last = [
        torch.load(r.folder / "checkpoints" / "last.ckpt", weights_only=True)
        for r in (resumed, whole)
    ]
    for name, value in last[0]["state_dict"].items():
        assert torch.equal(value, last[1]["state_dict"][name]), name
    assert last[0]["global_step"] == last[1]["global_step"] == 15
    assert last[0].get("plateau") == last[1].get("plateau")


@pytest.mark.parametrize("step", [2, *slow(3, 8)])
def test_a_signal_stops_within_an_epoch_and_nothing_is_trained_twice(
    tmp_path, settings, monkeypatch, step
):
    """Also in the last of the three steps of an epoch, which is then validated first."""
    settings["stopping"] = {"epochs": 4}
    whole = train(settings, progress=False)
    steps, original = [], TrainingModule.training_step

    def counted(self, batch, number):
        steps.append(number)
        if len(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, number)

    monkeypatch.setattr(TrainingModule, "training_step", counted)
    settings["output"] = str(tmp_path / "stopped")
    with pytest.raises(Stopped):
        train(settings, progress=False)
    assert len(steps) == step
    resumed = train(settings, progress=False)
    assert len(steps) == 12
    assert without_time(log_of(resumed)) == without_time(log_of(whole))
    assert same_parameters(resumed.model, whole.model)


def test_a_checkpoint_on_a_full_disk_is_named_and_the_run_goes_on_later(
    tmp_path, settings, monkeypatch
):
    """Files cannot be larger than half of it meanwhile; none goes to the temporary folder."""
    settings["stopping"] = {"epochs": 2, "hours": 1e-9}
    result = train(settings, progress=False)
    checkpoint = result.folder / "checkpoints" / "last.ckpt"
    before = checkpoint.read_bytes()
    assert result.path.stat().st_size < len(before) // 2
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            train(settings, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(checkpoint))
    assert list(scratch.iterdir()) == []
    assert [p.name for p in checkpoint.parent.iterdir()] == ["last.ckpt"]
    assert checkpoint.read_bytes() == before
    assert train(settings, progress=False).finished


def test_models_of_trainings_that_were_not_finished_say_so(settings, dataset):
    """After the first of three epochs, by the clock; after two, killed; at the end."""
    settings["stopping"] = {"epochs": 3, "hours": 1e-9}
    result = train(settings, progress=False)
    told = f"epoch {result.record['best_epoch']} of 3"
    assert told in describe_file(result.path)
    assert any(told in note for note in evaluate(result.path, dataset, [0]).notes)
    del result.model.metadata["training"]["stopped_by"]  # which a killed one does not have
    assert told in describe_model({**read_header(result.path), "metadata": result.model.metadata})
    while not result.finished:
        result = train(settings, progress=False)
    assert "not finished" not in describe_file(result.path)
    table = json.loads((result.folder / "test.json").read_text())
    assert not any("not finished" in note for note in table["notes"])
    assert unfinished(load_model(shipped_model("hcno")).metadata["training"]) == ""
    assert unfinished(load_model(shipped_model("ethanol")).metadata["training"]) == ""


def test_a_time_limit_can_be_gone_past(settings):
    settings["stopping"] = {"epochs": 3, "hours": 1e-9}
    for epochs in (1, 2, 3):
        result = train(settings, progress=False)
        assert [row["epoch"] for row in log_of(result)] == [str(k + 1) for k in range(epochs)]
        assert result.finished == (epochs == 3)
    written = result.path.stat().st_mtime_ns
    again = train(settings, progress=False)
    assert again.finished
    assert result.path.stat().st_mtime_ns == written
    # more epochs go on from where it ended
    settings["stopping"] = {"epochs": 4}
    assert len(log_of(train(settings, progress=False))) == 4


@pytest.mark.slow
def test_plateau_and_early_stopping(settings):
    """Steps too small for float32 change nothing: every epoch after the first is a bad one."""
    settings["stopping"] = {"epochs": 50, "patience": 3}
    settings["optimizer"]["learning_rate"] = 1e-12
    settings["schedule"] = {"patience": 1, "smoothing": 0.5, "minimum": 0.0}
    settings["ema"] = {"decay": 0.0}
    result = train(settings, progress=False)
    rows = log_of(result)
    assert len({row["validation loss"] for row in rows}) == 1
    rates = [float(row["learning rate"]) for row in rows]
    assert rates == pytest.approx([1e-12, 1e-12, 0.5e-12, 0.5e-12])
    assert result.record["stopped_by"] == "patience"
    assert result.record["best_epoch"] == 1
    # a shorter patience is over already, a longer one is not
    settings["stopping"] = {"epochs": 50, "patience": 1}
    assert len(log_of(train(settings, progress=False))) == len(rows)
    settings["stopping"] = {"epochs": len(rows) + 1, "patience": 10}
    assert len(log_of(train(settings, progress=False))) == len(rows) + 1


@pytest.mark.parametrize("name", ALL)
def test_each_quantity_alone(settings, name):
    settings |= {"loss": [name], "stopping": {"epochs": 2}}
    result = train(settings, progress=False)
    losses = [float(row["training loss"]) for row in log_of(result)]
    assert losses[1] < losses[0]
    assert name in result.model.quantities
    assert result.record["test"][0]["quantity"] == name


def test_other_settings_or_data_are_refused_in_the_same_folder(tmp_path, settings):
    train(settings, progress=False)
    changed = settings | {"optimizer": {**settings["optimizer"], "learning_rate": 0.001}}
    with refused(key="output", value=Path(settings["output"])) as caught:
        train(changed, progress=False)
    assert "optimizer.learning_rate" in caught.value.problem
    path = settings["data"]["path"]
    Dataset.append(path, records(1, seed=9))
    with refused(key="output", value=Path(settings["output"])) as caught:
        train(settings, progress=False)
    assert "data.path" in caught.value.problem
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "model.eqc").write_text("precious")
    with refused(key="output", value=foreign / "model.eqc"):
        train(settings | {"output": str(foreign)}, progress=False)
    assert (foreign / "model.eqc").read_text() == "precious"


def test_labels_that_are_not_there(tmp_path, settings, caplog):
    missing = {"dipole": np.arange(40) % 2 == 0, "polarizability": np.ones(40, dtype=bool)}
    path = tmp_path / "part.h5"
    Dataset.create(path, records(40, missing=missing), level_of_theory=LEVEL)
    settings["data"]["path"] = str(path)
    with refused(key="loss.polarizability", value="polarizability"):
        train(settings | {"loss": ["polarizability"]}, progress=False)
    rare = tmp_path / "rare.h5"
    missing["dipole"] = np.ones(40, dtype=bool)
    missing["dipole"][0] = False
    Dataset.create(rare, records(40, missing=missing), level_of_theory=LEVEL)
    data = settings["data"] | {"path": str(rare)}
    with refused(key="loss.dipole"):
        train(settings | {"loss": ["dipole"], "data": data}, progress=False)
    caplog.set_level(logging.INFO, logger="eqcalc.training")
    result = train(settings | {"loss": ["forces", "dipole"]}, progress=False)
    assert re.search(r"dipole: \d+ of 24 training structures have it", caplog.text)
    assert re.search(r"energy: in .*part\.h5, but not trained", caplog.text)
    assert result.model.quantities == ("energy", "forces", "stress", "dipole")


def test_record_travels_with_the_model(settings, dataset):
    result = train(settings, progress=False)
    model = load_model(result.path)
    record = model.metadata["training"]
    assert model.metadata["level_of_theory"] == {"energy": LEVEL, "forces": LEVEL}
    assert record["dataset"]["training"] == 24
    assert record["dataset"]["test"] == 8
    assert record["dataset"]["file"] == "data.h5"
    assert record["epochs"] == 4
    assert 1 <= record["best_epoch"] <= 4
    best = min(float(row["validation loss"]) for row in log_of(result))
    assert record["validation"]["validation loss"] == pytest.approx(best, rel=1e-5)
    # no place on the disk of whoever trained
    assert str(dataset.path.parent) not in json.dumps(model.metadata)
    # the model in the file is the one that was validated
    table = evaluate(model, dataset, names=["forces"])
    assert table.row("forces", "meV/Å").n == 40 // 2 * (3 + 5) * 3
    files = {path.name for path in result.folder.iterdir()}
    assert {"config.yaml", "log.csv", "model.eqc", "test.csv", "test.json"} <= files
    assert {"test-energy.png", "test-forces.png"} <= files


@pytest.mark.slow
def test_fine_tuning_refits_the_reference(tmp_path, settings, dataset, caplog):
    """Another level of theory that differs by an energy per atom is matched before any step."""
    caplog.set_level(logging.INFO, logger="eqcalc.training")
    settings["loss"] = ["energy", "forces", "dipole"]
    start = train(settings, progress=False)
    shift = -7.5
    path = tmp_path / "other.h5"
    Dataset.create(path, records(40, shift=shift), level_of_theory="another level")
    tuned = {
        "output": str(tmp_path / "tuned"),
        "data": {"path": str(path), "training": 24, "validation": 8},
        "model": {"start_from": str(start.path), "reset_heads": ["dipole"]},
        "loss": ALL,
        "optimizer": {"learning_rate": 1e-12, "weight_decay": 0.0},
        "stopping": {"epochs": 1},
        "ema": {"decay": 0.0},
    }
    result = train(tuned, progress=False)
    assert (
        "energy: reference values fitted anew, from pair potential to another level" in caplog.text
    )
    assert "dipole: new read-out" in caplog.text
    assert "polarizability: new read-out" in caplog.text
    references = result.model.references
    # the errors of the energy are those of the start model on its own level, without their mean
    before = evaluate(start.model, dataset)
    after = evaluate(result.model, path)
    assert after.row("forces", "meV/Å").rmse == pytest.approx(
        before.row("forces", "meV/Å").rmse, rel=1e-6
    )
    assert after.row("energy", "meV").rmse < 1.1 * before.row("energy", "meV").rmse
    training = split_dataset(dataset, DataConfig(path, training=24, validation=8)).training
    labels = Dataset.open(path).labels(training)[0]["energy"].numpy()
    left = labels - evaluate(start.model, dataset, training).predicted["energy"]
    change = {
        z: e - start.model.references.values["energy"][z]
        for z, e in references.values["energy"].items()
    }
    counts = Dataset.open(path).counts[training]
    for n, formula in ((3, [8, 1, 1]), (5, [6, 1, 1, 1, 1])):
        mean = left[counts == n].mean()
        assert sum(change[z] for z in formula) == pytest.approx(mean, rel=1e-6)
    assert references.scales["energy"] == start.model.references.scales["energy"]
    assert "polarizability" in result.model.quantities
    origin = result.model.metadata["training"]["started_from"]
    assert origin["level_of_theory"]["energy"] == LEVEL
    assert origin["hash"] == start.model.metadata["hash"]
    assert origin["training"]["dataset"]["file"] == "data.h5"


@pytest.mark.slow
def test_fine_tuning_at_the_same_level_keeps_the_reference(tmp_path, settings):
    start = train(settings, progress=False)
    tuned = settings | {
        "output": str(tmp_path / "tuned"),
        "model": {"start_from": str(start.path)},
        "stopping": {"epochs": 1},
    }
    result = train(tuned, progress=False)
    assert result.model.references == start.model.references


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path, settings):
    """DistributedDataParallel over two processes gives the same steps, up to rounding."""
    settings["loss"] = ["forces", "dipole"]
    settings["stopping"] = {"epochs": 2}
    settings["trainer"] = {"accelerator": "cpu", "precision": "64-true"}
    one = train(settings, progress=False)
    script = tmp_path / "two.py"
    settings |= {"output": str(tmp_path / "two")}
    settings["trainer"] |= {"devices": 2, "strategy": "ddp"}
    script.write_text(
        f"from eqcalc.training import train\nif __name__ == '__main__':\n"
        f"    train({settings!r}, progress=False)\n"
    )
    subprocess.run([sys.executable, script], check=True, timeout=120, capture_output=True)
    two = load_model(tmp_path / "two" / "model.eqc")
    for name, value in two.state_dict().items():
        torch.testing.assert_close(value, one.model.state_dict()[name], rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
def test_compiled_kernels_learn_what_autograd_does(tmp_path, settings):
    settings["loss"] = ["energy", "forces", "dipole", "polarizability"]
    settings["stopping"] = {"epochs": 3}
    logs = []
    for kernels in ("fused", "torch"):
        settings["output"] = str(tmp_path / kernels)
        settings["trainer"] = {"precision": "64-true", "kernels": kernels, "accelerator": "cpu"}
        logs.append(without_time(log_of(train(settings, progress=False))))
    for fused, eager in zip(*logs, strict=True):
        assert {k: float(v) for k, v in fused.items()} == pytest.approx(
            {k: float(v) for k, v in eager.items()}, rel=1e-7
        )


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("lost", [0, 1])
def test_a_run_resumes_with_the_kernels_it_began_with_or_says_so(
    tmp_path, settings, monkeypatch, caplog, lost
):
    """Kernels are lost, or found, between the calls; what computed the steps is recorded."""

    def without(*arguments, **keywords):
        raise ExecutionUnavailableError(key="kernels", value="none", expected="a compiler")

    settings["trainer"] = {"accelerator": "cpu"}
    for call in range(2):
        settings["stopping"] = {"epochs": 2 * (call + 1)}
        with monkeypatch.context() as patch:
            if call == lost:
                patch.setattr("eqcalc.training.module.FusedTraining", without)
            result = train(settings, progress=False)
    used = [["torch"], ["fused", "torch"]][lost]
    last = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["kernels"] == load_model(result.path).metadata["training"]["kernels"] == used
    warned = [r.args for r in caplog.records if r.levelname == "WARNING" and "from here" in r.msg]
    assert warned == ([("fused", "torch")] if lost else [])
    if not lost:
        settings |= {"output": str(tmp_path / "whole")}
        settings["trainer"]["kernels"] = "torch"
        whole = train(settings, progress=False)
        assert same_parameters(result.model, whole.model)


@pytest.mark.slow
def test_importing_does_not_import_lightning_or_change_anything():
    code = (
        "import sys, torch; threads, state = torch.get_num_threads(), torch.get_rng_state();"
        "import eqcalc.training;"
        "assert 'lightning' not in sys.modules and 'matplotlib' not in sys.modules;"
        "assert threads == torch.get_num_threads() and torch.equal(state, torch.get_rng_state());"
        "assert torch.get_default_dtype() == torch.float32"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_lightning_is_named_before_anything_is_written(monkeypatch, settings):
    monkeypatch.setitem(sys.modules, "lightning", None)
    with refused(MissingExtraError, key="train"):
        train(settings, progress=False)
    assert not Path(settings["output"]).exists()


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="a CPU may interpret them")
def test_kernels_that_cannot_be_used_are_named(settings):
    settings["trainer"] = {"kernels": "triton", "accelerator": "cpu"}
    with refused(key="trainer.kernels", value="triton"):
        train(settings, progress=False)


@pytest.mark.slow
def test_several_scalars_are_trained_at_once(scalars, settings):
    settings["stopping"] = {"epochs": 12}
    result = train(scalar_settings(scalars, settings), progress=False)
    assert result.finished
    table = evaluate(result.model, scalars, split="test")
    for name, unit in (("homo_energy", "meV"), ("heat_capacity", "cal/mol/K")):
        row = table.row(name, unit)
        assert row.mae < 0.2 * row.spread
    assert {row.quantity for row in table.rows} == set(scalars.quantities)


def test_files_that_are_missing_are_named_with_their_key(tmp_path, settings):
    missing = settings | {"data": settings["data"] | {"path": str(tmp_path / "none.h5")}}
    with refused(key="data.path", value=str(tmp_path / "none.h5")):
        train(missing, progress=False)
    for name in ("none.eqc", "data.h5"):
        start = settings | {"model": {"start_from": str(tmp_path / name)}}
        with refused(key="model.start_from", value=str(tmp_path / name)):
            train(start, progress=False)


@pytest.mark.parametrize(
    ("trainer", "key"),
    [
        ({"accelerator": "gpu"}, "trainer.accelerator"),
        ({"strategy": "fast"}, "trainer.strategy"),
        ({"strategy": "fsdp"}, "trainer"),
    ],
)
def test_a_trainer_that_is_not_possible_here(settings, monkeypatch, trainer, key):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with refused(key=key):
        train(settings | {"trainer": trainer}, progress=False)
