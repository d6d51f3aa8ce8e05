# SPDX-License-Identifier: MIT
import os

import pytest

from eqcalc.labelling.workers import map_unordered
from eqcalc.validation import InvalidInputError


def add(state, task):
    return state + task, os.environ.get("OMP_NUM_THREADS")


def die(state, task):
    if task == 3:
        os._exit(7)
    return task


def fail(state, task):
    raise ValueError(f"task {task}")


def test_one_process_is_this_one():
    assert [value for value, _ in map_unordered(add, 10, range(3), 1)] == [10, 11, 12]
    with pytest.raises(ValueError, match="task"):
        list(map_unordered(fail, None, range(6), 1))
    with pytest.raises(InvalidInputError, match="processes"):
        list(map_unordered(fail, None, range(6), 0))


@pytest.mark.slow
def test_every_task_once_in_single_threaded_processes(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    found = list(map_unordered(add, 10, range(20), 2))
    assert sorted(value for value, _ in found) == list(range(10, 30))
    assert {threads for _, threads in found} == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "5"


@pytest.mark.slow
def test_a_dead_process_is_an_error_not_a_wait():
    with pytest.raises(RuntimeError, match="a worker process died"):
        list(map_unordered(die, None, range(6), 2))


@pytest.mark.slow
def test_errors_come_through():
    with pytest.raises(ValueError, match="task"):
        list(map_unordered(fail, None, range(6), 2))
