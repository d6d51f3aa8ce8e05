# SPDX-License-Identifier: MIT
"""Run a function over tasks in several single-threaded processes, here or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from eqcalc._version import __version__
from eqcalc.interruption import Stopped
from eqcalc.validation import InvalidInputError, MissingExtraError, count

if TYPE_CHECKING:
    from distributed import Client

#: A number of processes, or the address of a Dask scheduler, ``"tcp://host:8786"``.
Processes: TypeAlias = "int | str"

State = TypeVar("State")
Task = TypeVar("Task")
Result = TypeVar("Result")

_work: tuple[Callable[..., Any], Any] | None = None
_stopped = False


def map_unordered(
    function: Callable[[State, Task], Result],
    state: State,
    tasks: Sequence[Task],
    processes: Processes,
) -> Iterator[Result]:
    """Yield ``function(state, task)`` for each of `tasks`, in the order they finish.

    Parameters
    ----------
    function
        Defined at the top level of a module, so that it can be pickled.
    state
        Sent once to each process and kept there.
    processes
        With 1, everything runs in this process, in order. With more, a script must be
        guarded by ``if __name__ == "__main__":``. With the address of a scheduler, its workers,
        whose number may change, take the tasks, each worker one at a time; those of a worker that
        is lost are done by others.

    Raises
    ------
    RuntimeError
        A process died, a task has lost several workers, or the scheduler was lost.
    InvalidInputError
        There is no scheduler at the address.
    MissingExtraError
        Dask is not installed.
    """
    if isinstance(processes, str):
        yield from _map_on_cluster(function, state, tasks, processes)
        return
    if count("processes", processes) == 1 or len(tasks) < 2:
        for task in tasks:
            yield function(state, task)
        return
    try:
        with worker_processes(min(processes, len(tasks)), _keep, function, state) as submit:
            with _one_thread_each():
                futures = [submit(_run, task) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process died without an error of its own: it ran out of memory, was "
            "killed, or could not start because the script that calls this is not guarded by "
            "`if __name__ == '__main__':`"
        ) from None


def parallelism(processes: Processes) -> int:
    """Return how many tasks are done at once, of a cluster at the moment but at least one."""
    if not isinstance(processes, str):
        return count("processes", processes)
    with _cluster(processes) as client:
        return max(1, len(client.nthreads()))


@contextmanager
def worker_processes(
    processes: int, prepare: Callable[..., None], *arguments: Any
) -> Iterator[Callable[..., Future[Any]]]:
    """Yield ``submit(function, *arguments)``; an exception in the block stops what it started.

    Parameters
    ----------
    processes
        Their number.
    prepare
        Called in each process at its start, with `arguments`.
    """
    # spawn: forking a multi-threaded process (OpenMP, torch) can deadlock. An
    # executor: a Pool waits forever for a task whose process was killed.
    others = {*multiprocessing.active_children()}
    executor = ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(prepare, arguments),
    )

    def submit(function: Callable[..., Any], *task: Any) -> Future[Any]:
        return executor.submit(_unless_stopped, function, *task)

    try:
        yield submit
    except BaseException:  # tasks in progress are not waited for
        for process in {*multiprocessing.active_children()} - others:
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _start(prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Prepare a worker: it ends when its parent asks it to, or has been killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the first process decides
    signal.signal(signal.SIGTERM, _stop)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    prepare(*arguments)


def _stop(number: int, frame: Any) -> None:
    raise Stopped


def _unless_stopped(function: Callable[..., Any], *arguments: Any) -> Any:
    """Carry out a task, if none before was stopped: the next one may be in the queue already."""
    global _stopped  # noqa: PLW0603 - of a worker process
    if _stopped:
        raise Stopped
    try:
        return function(*arguments)
    except Stopped:
        _stopped = True
        raise


def _keep(function: Callable[..., Any], state: Any) -> None:
    global _work  # noqa: PLW0603 - what a worker process keeps between tasks
    _work = (function, state)


def _run(task: Any) -> Any:
    assert _work is not None
    function, state = _work
    return function(state, task)


# --- a cluster ------------------------------------------------------------------------

#: Time for connecting to a scheduler [s].
_PATIENCE = 15.0

#: What a worker of a cluster keeps between tasks: the state of the last run, by its name.
_states: dict[str, Any] = {}
_one_task = threading.Lock()  # methods and models are not made for several threads


def _map_on_cluster(
    function: Callable[[State, Task], Result], state: State, tasks: Sequence[Task], address: str
) -> Iterator[Result]:
    with _cluster(address) as client:
        from distributed import CancelledError, KilledWorker, as_completed

        if not client.nthreads():
            print(f"waiting for workers of {address}", file=sys.stderr, flush=True)
        run = uuid.uuid4().hex
        # a result of a task, and no argument of every one: made again if its worker is lost
        packed = client.submit(bytes, pickle.dumps(state), key=f"eqcalc-state-{run}")
        futures = [
            client.submit(_run_on_worker, __version__, run, function, packed, task, pure=False)
            for task in tasks
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
                future.release()
        except KilledWorker as error:
            raise RuntimeError(
                f"a task has lost {error.allowed_failures + 1} workers of {address}: they ran out "
                "of memory or were killed; see their logs"
            ) from None
        except CancelledError:
            raise RuntimeError(f"the scheduler {address} was lost") from None


@contextmanager
def _cluster(address: str) -> Iterator[Client]:
    """Yield a connection to a scheduler."""
    try:
        from distributed import Client
    except ImportError:
        raise MissingExtraError.of("cluster", "a scheduler", "Dask") from None
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            key="scheduler",
            value=address,
            expected="the address of a running Dask scheduler, such as tcp://host:8786",
        ) from error
    with client, client.as_current():
        yield client


def _run_on_worker(
    version: str, run: str, function: Callable[..., Any], packed: bytes, task: Any
) -> Any:
    """Carry out a task in a worker of a cluster, with the state kept from the last one."""
    if version != __version__:
        raise RuntimeError(f"a worker has eqcalc {__version__}, the run is one of {version}")
    with _one_task:
        if run not in _states:
            _states.clear()
            _states[run] = pickle.loads(packed)
        return function(_states[run], task)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Limit processes started in this block to one thread each."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
