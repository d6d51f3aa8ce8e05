# SPDX-License-Identifier: MIT
"""When fine-tuning stops."""

import math

import pytest

from eqcalc.prediction import ActiveLearning
from eqcalc.prediction.convergence import Round, largest_change, reason_to_stop
from tests.errors import refused

OPTIONS = ActiveLearning("none", labels=60, hours=1.0, tolerance=3.0, area_tolerance=0.05)


def rounds(changes, *, position=10.0, area=0.01, seconds=60.0):
    """Return rounds with these changes of the spectrum."""
    labels, found = 0, []
    for number, change in enumerate(changes, 1):
        labels += OPTIONS.batch(labels)
        found.append(Round(number, labels, [], position, area, change, seconds, 1.0, 1.0, 1.0))
    return found


@pytest.mark.parametrize("labels", [8, 9, 10, 60, 61, 1000])
def test_batches_use_all_labels(labels):
    batches = ActiveLearning("none", labels=labels).rounds()
    assert sum(batches) == labels
    assert batches[0] == max(batches)


def test_a_spectrum_that_agrees_has_converged():
    assert "converged," in reason_to_stop(rounds([9.0], position=2.9, area=0.04), OPTIONS)
    assert reason_to_stop(rounds([9.0], position=2.9, area=0.06), OPTIONS) is None
    assert reason_to_stop(rounds([9.0], position=3.1, area=0.04), OPTIONS) is None


def test_labels_and_hours_come_to_an_end():
    assert "labels are used" in reason_to_stop(rounds([9.0, 8.0, 7.0, 6.0, 5.0]), OPTIONS)
    assert "hours" in reason_to_stop(rounds([9.0, 8.0], seconds=1800.0), OPTIONS)
    assert reason_to_stop(rounds([9.0, 8.0], seconds=1700.0), OPTIONS) is None


def test_labels_that_no_longer_help():
    assert reason_to_stop(rounds([9.0, 4.0, 5.0]), OPTIONS) is None  # once is no evidence
    assert "no longer help" in reason_to_stop(rounds([9.0, 4.0, 5.0, 4.5]), OPTIONS)
    assert reason_to_stop(rounds([9.0, 4.0, 5.0, 3.0]), OPTIONS) is None


def test_lost_minima_have_no_change():
    assert largest_change([[1.0, 2.0], [5.0]], [[1.5, 4.0], []]) == 2.0
    assert largest_change([[1.0]], [[]]) == math.inf


@pytest.mark.parametrize(
    ("key", "value"), [("labels", 7), ("hours", 0.0), ("tolerance", -1.0), ("processes", 0)]
)
def test_options_are_checked(key, value):
    with refused(key=key, value=value):
        ActiveLearning("none", **{key: value})
