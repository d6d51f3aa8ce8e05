# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.datasets import Dataset, check_split, random_split, store_split
from eqcalc.validation import InvalidInputError


def test_parts_are_disjoint_and_complete():
    parts = random_split(
        101, {"training": 0.8, "validation": 10, "test": -1}, np.random.default_rng(0)
    )
    assert {k: len(v) for k, v in parts.items()} == {"training": 81, "validation": 10, "test": 10}
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(101))
    again = random_split(101, {"training": 0.8, "validation": 10}, np.random.default_rng(0))
    np.testing.assert_array_equal(again["training"], parts["training"])


@pytest.mark.parametrize(
    ("sizes", "key"),
    [
        ({"a": 0.8, "b": 30}, "sizes"),
        ({"a": -1, "b": -1}, "b"),
        ({"a": -3}, "a"),
        ({"a": 1.5}, "a"),
    ],
)
def test_impossible_sizes(sizes, key):
    with pytest.raises(InvalidInputError) as caught:
        random_split(100, sizes, np.random.default_rng(0))
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("parts", "key", "value", "problem"),
    [
        ({"a": [1, 100]}, "a", 100, ""),
        ({"a": [1, 1]}, "a", 1, "already in a"),
        ({"a": [1, 2], "b": [5, 2]}, "b", 2, "already in a"),
        ({"a": [0.5]}, "a", np.dtype(float), ""),
    ],
)
def test_wrong_indices(parts, key, value, problem):
    with pytest.raises(InvalidInputError) as caught:
        check_split(100, parts)
    error = caught.value
    assert (error.key, error.value, error.problem) == (key, value, problem)


def test_a_stored_split_is_read_back(tmp_path, mixed):
    path = tmp_path / "a.h5"
    before = Dataset.create(path, mixed, level_of_theory="x")
    dataset = store_split(path, "mine", {"training": [2, 0], "test": []})
    assert dataset.splits["mine"]["training"].tolist() == [2, 0]
    assert dataset.splits["mine"]["test"].tolist() == []
    assert dataset.provenance == before.provenance and len(dataset) == 3
    store_split(path, "other", {"training": [1]})
    with pytest.raises(InvalidInputError) as caught:
        store_split(path, "mine", {"training": [1]})
    assert (caught.value.value, caught.value.file) == ("mine", path)
    assert set(Dataset.open(path).splits) == {"mine", "other"}
