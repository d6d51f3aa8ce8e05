# SPDX-License-Identifier: MIT
"""Run a function over tasks in several single-threaded processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from eqcalc.interruption import Stopped
from eqcalc.validation import count

State = TypeVar("State")
Task = TypeVar("Task")
Result = TypeVar("Result")

_work: tuple[Callable[..., Any], Any] | None = None
_stopped = False


def map_unordered(
    function: Callable[[State, Task], Result],
    state: State,
    tasks: Sequence[Task],
    processes: int,
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
        guarded by ``if __name__ == "__main__":``.

    Raises
    ------
    RuntimeError
        A process died.
    """
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
