# SPDX-License-Identifier: MIT
"""What is wrong with data, devices and the cutoff is said before the first step."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch

from eqcalc.datasets import Dataset
from eqcalc.datasets.checks import not_finite
from eqcalc.training import train
from eqcalc.training.data import TrainingWarning
from eqcalc.validation import InvalidInputError
from tests.training.conftest import LEVEL, records


def spoiled(tmp_path, changes, n=40):
    """Write a dataset whose structures have some values replaced by NaN or infinity."""
    found = records(n, missing={"dipole": np.arange(n) % 2 == 0})
    for index, (name, value) in changes.items():
        record = found[index]
        if name == "positions":
            positions = record.positions.copy()
            positions[0, 1] = value
            found[index] = dataclasses.replace(record, positions=positions)
            continue
        label = np.array(record.labels[name])
        label.flat[-1] = value
        found[index] = dataclasses.replace(record, labels={**record.labels, name: label})
    path = tmp_path / "spoiled.h5"
    Dataset.create(path, found, level_of_theory=LEVEL)
    return path


@pytest.mark.parametrize(
    ("name", "value"), [("energy", np.nan), ("forces", np.inf), ("positions", np.nan)]
)
@pytest.mark.parametrize("index", [0, 7, 33])
def test_a_number_that_is_none_names_structure_and_quantity(tmp_path, settings, name, value, index):
    settings["data"]["path"] = str(spoiled(tmp_path, {index: (name, value)}))
    with pytest.raises(InvalidInputError, match=rf"{name} of structure "):
        train(settings, progress=False)
    with pytest.raises(InvalidInputError, match=rf"structure {index};"):
        train(settings, progress=False)
    assert not (tmp_path / "run" / "log.csv").exists()


def test_labels_that_are_unknown_or_not_trained_are_fine(tmp_path, settings):
    """Every second structure has no dipole, which is stored as NaN; one energy is NaN."""
    settings["data"]["path"] = str(spoiled(tmp_path, {3: ("energy", np.nan)}))
    settings |= {"loss": ["forces", "dipole"], "stopping": {"epochs": 1}}
    assert train(settings, progress=False).finished


def test_many_are_counted(tmp_path, settings):
    changes = dict.fromkeys(range(8), ("energy", np.nan)) | {9: ("dipole", np.nan)}
    dataset = Dataset.open(spoiled(tmp_path, changes))
    found = not_finite(dataset, ["energy", "dipole"])
    assert {name: list(rows) for name, rows in found.items()} == {
        "energy": list(range(8)),
        "dipole": [9],
    }
    settings["data"] |= {"path": str(dataset.path), "training": 30, "validation": 10}
    with pytest.raises(InvalidInputError, match="energy of structures 0, 1, 2, 3, 4 and 3 more"):
        train(settings, progress=False)


def test_a_cutoff_without_any_pairs_is_warned_of(settings):
    settings["stopping"] = {"epochs": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        train(settings | {"output": settings["output"] + "-usual"}, progress=False)
    settings["model"]["representation"]["cutoff"] = 0.3
    with pytest.warns(TrainingWarning, match=r"cutoff: no atoms are within 0\.3 Å of each other"):
        train(settings, progress=False)


def test_files_that_are_missing_are_named_with_their_key(tmp_path, settings):
    missing = settings | {"data": settings["data"] | {"path": str(tmp_path / "none.h5")}}
    with pytest.raises(InvalidInputError, match=r"^data\.path: .*none\.h5: no such file"):
        train(missing, progress=False)
    for name, message in (("none.eqc", "no such model file"), ("data.h5", "not a complete model")):
        start = settings | {"model": {"start_from": str(tmp_path / name)}}
        with pytest.raises(InvalidInputError, match=rf"^model\.start_from: .*{name}: {message}"):
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
    with pytest.raises(InvalidInputError) as caught:
        train(settings | {"trainer": trainer}, progress=False)
    assert caught.value.key == key
