# SPDX-License-Identifier: MIT
import os
import time
from contextlib import contextmanager

import pytest

from eqcalc.validation import InvalidInputError
from eqcalc.workers import _run_on_worker, map_unordered, parallelism
from tests.errors import refused


def add(state, task):
    return state + task, os.environ.get("OMP_NUM_THREADS")


def tell(state, task):
    """Return the task, the process, and whether its state was there already."""
    known = getattr(state, "used", False)
    state.used = True
    time.sleep(0.05)
    return task, os.getpid(), known


class State:
    """Kept by a worker between tasks."""


def die_once(file, task):
    """End the process of the first call with task 3."""
    time.sleep(0.05)
    if task == 3 and not file.exists():
        file.touch()
        os._exit(7)
    return task


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


# --- a cluster --------------------------------------------------------------------


@contextmanager
def cluster(workers, *, processes):
    """Yield a Dask cluster on this machine."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=processes,
        dashboard_address=None,
        memory_limit=0,
    ) as found:
        yield found


def test_workers_of_a_scheduler_keep_the_state():
    with cluster(1, processes=False) as one:
        address = one.scheduler_address
        assert parallelism(address) == 1
        found = list(map_unordered(tell, State(), range(6), address))
        assert sorted(task for task, _, _ in found) == list(range(6))
        assert sorted(known for _, _, known in found) == [False] + 5 * [True]
        assert not list(map_unordered(tell, State(), [], address))
        with pytest.raises(ValueError, match="task"):
            list(map_unordered(fail, None, range(6), address))


def _of_another_version(version, *others):
    return _run_on_worker("9.9", *others)


def test_another_version_on_a_worker(monkeypatch):
    with cluster(1, processes=False) as one:
        monkeypatch.setattr("eqcalc.workers._run_on_worker", _of_another_version)
        with pytest.raises(RuntimeError, match="a worker has"):
            list(map_unordered(add, 1, [1], one.scheduler_address))


def test_no_scheduler_at_an_address(monkeypatch):
    monkeypatch.setattr("eqcalc.workers._PATIENCE", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with refused(InvalidInputError, key="scheduler", value=address):
            list(map_unordered(add, 1, [1], address))


@pytest.mark.slow
def test_tasks_of_a_lost_worker_are_done_by_others(tmp_path):
    with cluster(2, processes=True) as two:
        found = list(map_unordered(die_once, tmp_path / "died", range(20), two.scheduler_address))
        assert sorted(found) == list(range(20))
        assert (tmp_path / "died").exists()


@pytest.mark.slow
def test_a_worker_that_is_added_takes_tasks():
    with cluster(1, processes=True) as growing:
        processes = set()
        for count, (_, process, _) in enumerate(
            map_unordered(tell, State(), range(400), growing.scheduler_address)
        ):
            processes.add(process)
            if count == 3:
                growing.scale(2)
        assert len(processes) == 2


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_an_error():
    with cluster(2, processes=True) as two, pytest.raises(RuntimeError, match="lost 4 workers"):
        list(map_unordered(die, None, range(6), two.scheduler_address))
