# SPDX-License-Identifier: MIT
"""Structures that are chosen for labels."""

import numpy as np
import torch

from eqcalc.datasets import Record
from eqcalc.models.checkpoint import load_model
from eqcalc.prediction.proposals import chosen, disagreement
from tests.anharmonic.surfaces import Water


def stretched(*lengths):
    """Return water with bonds of these lengths relative to equilibrium."""
    shape = Water.equilibrium.numpy()
    return [Record(Water.numbers.numpy(), length * shape) for length in lengths]


def places(found, records):
    """Return which of the records were chosen."""
    return [next(i for i, other in enumerate(records) if other is one) for one in found]


def test_the_most_uncertain_comes_first_and_what_resembles_it_last():
    records = stretched(1.0, 1.001, 1.1, 1.2)
    found = chosen(records, np.array([5.0, 4.9, 1.0, 1.0]), 3)
    assert places(found, records) == [0, 3, 2]


def test_known_structures_are_not_chosen():
    records = stretched(1.0, 1.1)
    found = chosen(records, np.array([9.0, 1.0]), 2, stretched(1.0))
    assert places(found, records) == [1]


def test_copies_are_chosen_once():
    assert len(chosen(stretched(1.0, 1.0, 1.1), np.ones(3), 3)) == 2


def test_members_disagree_more_about_what_the_model_does_not_know():
    model = load_model("hcno", dtype=torch.float64)
    near, far = disagreement(model, stretched(1.0, 1.6))
    # E is 0 and 2Ē
    assert 9.0 * far > 2.0 * near


def test_a_model_without_members_finds_all_alike():
    model = load_model("hcno", dtype=torch.float64)
    model.last_layers = None
    np.testing.assert_array_equal(disagreement(model, stretched(1.0, 1.6)), 1.0)
