# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.datasets import Dataset, check_split, random_split, store_split


def test_parts_are_disjoint_and_complete():
    parts = random_split(
        101, {"training": 0.8, "validation": 10, "test": -1}, np.random.default_rng(0)
    )
    assert {k: len(v) for k, v in parts.items()} == {"training": 81, "validation": 10, "test": 10}
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(101))
    again = random_split(101, {"training": 0.8, "validation": 10}, np.random.default_rng(0))
    np.testing.assert_array_equal(again["training"], parts["training"])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"a": 0.8, "b": 30}, "need 110 structures"),
        ({"a": -1, "b": -1}, "only one part"),
        ({"a": -3}, "a: expected a number"),
        ({"a": 1.5}, "a: expected a number"),
    ],
)
def test_impossible_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        random_split(100, sizes, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a": [1, 100]}, "a: structure 100 of a dataset of 100"),
        ({"a": [1, 1]}, "a: an index occurs twice"),
        ({"a": [1, 2], "b": [5, 2]}, "structure 2 is both in a and in b"),
        ({"a": [0.5]}, "expected integers"),
    ],
)
def test_wrong_indices(parts, message):
    with pytest.raises(ValueError, match=message):
        check_split(100, parts)


def test_a_stored_split_is_read_back(tmp_path, mixed):
    path = tmp_path / "a.h5"
    before = Dataset.create(path, mixed, level_of_theory="x")
    dataset = store_split(path, "mine", {"training": [2, 0], "test": []})
    assert dataset.splits["mine"]["training"].tolist() == [2, 0]
    assert dataset.splits["mine"]["test"].tolist() == []
    assert dataset.provenance == before.provenance and len(dataset) == 3
    store_split(path, "other", {"training": [1]})
    with pytest.raises(ValueError, match="already has a split 'mine'"):
        store_split(path, "mine", {"training": [1]})
    assert set(Dataset.open(path).splits) == {"mine", "other"}
