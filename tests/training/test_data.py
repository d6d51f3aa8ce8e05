# SPDX-License-Identifier: MIT
"""Splits, checks of the data, batch order and batches."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch

from eqcalc.datasets import Dataset, DatasetWriter
from eqcalc.neighbors import all_pairs
from eqcalc.training import TrainingConfig, train
from eqcalc.training.config import DataConfig
from eqcalc.training.data import (
    EVALUATION_ATOMS,
    Batches,
    BatchOrder,
    TrainingWarning,
    check_numbers,
    evaluation_batches,
    loader,
    split_dataset,
)
from eqcalc.training.loss import ErrorSums, Loss
from eqcalc.training.module import ParameterAverage
from tests.errors import refused
from tests.no_host import NoHost
from tests.training.conftest import LEVEL, records
from tests.training.test_module import tiny_potential


def test_parts_are_disjoint_and_complete(dataset):
    split = split_dataset(dataset, DataConfig(dataset.path, training=25, validation=5))
    assert split.sizes() == {"training": 25, "validation": 5, "test": 10}
    joined = np.concatenate([split.training, split.validation, split.test])
    assert sorted(joined) == list(range(40))
    again = split_dataset(dataset, DataConfig(dataset.path, training=25, validation=5))
    np.testing.assert_array_equal(split.training, again.training)
    other = split_dataset(dataset, DataConfig(dataset.path, training=25, validation=5, seed=1))
    assert not np.array_equal(split.training, other.training)


def test_learning_curve_keeps_its_judges(dataset):
    small, large = (
        split_dataset(dataset, DataConfig(dataset.path, training=n, validation=5, test=8))
        for n in (10, 20)
    )
    np.testing.assert_array_equal(small.validation, large.validation)
    np.testing.assert_array_equal(small.test, large.test)
    assert set(small.training) < set(large.training)


def test_stored_split_and_errors(tmp_path):
    path = tmp_path / "split.h5"
    with DatasetWriter(path, level_of_theory=LEVEL) as writer:
        writer.append(records(6))
        writer.add_split("first", {"training": [3, 1], "validation": [0]})
        writer.add_split("broken", {"validation": [3, 1]})
    dataset = Dataset.open(path)
    split = split_dataset(dataset, DataConfig(path, split="first"))
    assert split.sizes() == {"training": 2, "validation": 1, "test": 0}
    for wrong, key, value in (
        ({"split": "none"}, "data.split", "none"),
        ({"split": "broken"}, "data.split", "broken"),
        ({"training": 5, "validation": 2}, "data.training", 5),
    ):
        with refused(key=key, value=value):
            split_dataset(dataset, DataConfig(path, **wrong))


def test_epochs_need_structures_for_validation(tmp_path, settings):
    path = tmp_path / "split.h5"
    with DatasetWriter(path, level_of_theory=LEVEL) as writer:
        writer.append(records(6))
        writer.add_split("all", {"training": range(6)})
    with refused(key="data.split", value="all"):
        train(settings | {"data": {"path": str(path), "split": "all"}}, progress=False)


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
    with refused(key="data.path", value={name: [index]}):
        train(settings, progress=False)
    assert not (tmp_path / "run" / "log.csv").exists()


def test_labels_that_are_unknown_or_not_trained_are_fine(tmp_path, settings):
    """Every second structure has no dipole, which is stored as NaN; one energy is NaN."""
    settings["data"]["path"] = str(spoiled(tmp_path, {3: ("energy", np.nan)}))
    settings |= {"loss": ["forces", "dipole"], "stopping": {"epochs": 1}}
    assert train(settings, progress=False).finished


def test_all_of_them_are_told(tmp_path, settings):
    changes = dict.fromkeys(range(8), ("energy", np.nan)) | {9: ("dipole", np.nan)}
    dataset = Dataset.open(spoiled(tmp_path, changes))
    split = split_dataset(dataset, DataConfig(dataset.path, training=30, validation=10))
    settings["loss"] = ["energy", "dipole"]
    expected = {"energy": list(range(8)), "dipole": [9]}
    with refused(key="data.path", value=expected):
        check_numbers(TrainingConfig.from_settings(settings), dataset, split)


def test_a_cutoff_without_any_pairs_is_warned_of(settings):
    settings["stopping"] = {"epochs": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        train(settings | {"output": settings["output"] + "-usual"}, progress=False)
    settings["model"]["representation"]["cutoff"] = 0.3
    with pytest.warns(TrainingWarning, match=r"cutoff: no atoms are within 0\.3 Å of each other"):
        train(settings, progress=False)


def test_order_is_a_new_permutation_each_epoch():
    order = BatchOrder(np.arange(10, 33), 5, seed=2)
    assert len(order) == 4
    epochs = []
    for epoch in (0, 1, 0):
        order.set_epoch(epoch)
        batches = list(order)
        assert [len(b) for b in batches] == [5] * 4
        seen = np.concatenate(batches)
        assert len(set(seen)) == 20
        assert set(seen) <= set(range(10, 33))
        epochs.append(batches)
    assert not all(map(np.array_equal, epochs[0], epochs[1]))
    assert all(map(np.array_equal, epochs[0], epochs[2]))


def test_processes_share_every_batch():
    whole = list(BatchOrder(np.arange(24), 6, seed=5))
    shares = [list(BatchOrder(np.arange(24), 6, 5, rank, 3)) for rank in range(3)]
    for step, batch in enumerate(whole):
        joined = np.concatenate([share[step] for share in shares])
        assert sorted(joined) == sorted(batch)
    with refused(key="optimizer.batch_size", value=5):
        BatchOrder(np.arange(24), 5, 0, 0, 3)


def test_few_structures_make_one_batch():
    order = BatchOrder(np.arange(3), 10, seed=0)
    assert [sorted(b) for b in order] == [[0, 1, 2]]


def test_batches_hold_what_was_asked(dataset):
    batches = Batches(dataset, ("forces", "dipole"), 5.0)
    batch = batches[np.array([4, 1, 2])]
    assert set(batch.labels) == {"forces", "dipole"}
    expected = [dataset[i] for i in (4, 1, 2)]
    torch.testing.assert_close(
        batch.labels["forces"],
        torch.as_tensor(np.concatenate([r.labels["forces"] for r in expected])),
    )
    assert batch.structures.counts.tolist() == [3, 5, 3]
    # a batch of equal molecules has static pairs, made once
    water = batches[np.array([0, 2, 4])]
    assert water.pairs.degree == 2
    assert batches[np.array([6, 8, 10])].pairs is water.pairs
    assert torch.equal(water.pairs.sender, all_pairs(water.structures).sender)


def test_loader_leaves_the_global_random_stream_alone(dataset):
    state = torch.get_rng_state()
    order = BatchOrder(np.arange(40), 8, seed=0)
    loaded = list(loader(Batches(dataset, ("energy",), 5.0), order))
    assert len(loaded) == 5
    assert torch.equal(state, torch.get_rng_state())


def test_evaluation_batches_cover_everything_in_order(tmp_path):
    dataset = Dataset.create(tmp_path / "many.h5", records(400), level_of_theory=LEVEL)
    rows = np.arange(5, 400)
    parts = evaluation_batches(dataset, rows)
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    sizes = [int(dataset.counts[part].sum()) for part in parts]
    assert len(parts) == 3
    assert max(sizes) <= EVALUATION_ATOMS + 5
    assert evaluation_batches(dataset, np.empty(0, int)) == []


@pytest.mark.parametrize("names", [("CH4",), ("H2O", "CH4")])
def test_a_training_step_on_a_gpu_waits_for_nothing(tmp_path, names):
    """Tensors on the meta device have no values, so that looking at one is an error."""
    dataset = Dataset.create(tmp_path / "few.h5", records(4, names=names), level_of_theory=LEVEL)
    quantities = ("energy", "forces", "dipole", "polarizability")
    batch = Batches(dataset, quantities, 5.0)[np.arange(4)].to("meta")
    potential = tiny_potential().to("meta")
    loss = Loss(dict.fromkeys(quantities, 1.0), dict.fromkeys(quantities, 2.0))
    average = ParameterAverage(potential, 0.9).to("meta")
    sums = ErrorSums(quantities, "meta")
    average._updates = 3

    def step():
        outputs = potential.evaluate(batch.structures, batch.pairs, quantities, create_graph=True)
        given = (batch.labels, batch.present, batch.structures)
        loss(outputs, *given).backward()
        sums.add(outputs, *given)
        average.update(potential)

    step()  # makes tables
    with NoHost():
        step()
