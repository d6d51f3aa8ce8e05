# SPDX-License-Identifier: MIT
"""Run a function over tasks in several single-threaded processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from eqcalc.validation import count

State = TypeVar("State")
Task = TypeVar("Task")
Result = TypeVar("Result")

_work: tuple[Callable[..., Any], Any] | None = None


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
    # spawn: forking a multi-threaded process (OpenMP, torch) can deadlock. An
    # executor: a Pool waits forever for a task whose process was killed.
    others = {*multiprocessing.active_children()}
    executor = ProcessPoolExecutor(
        min(processes, len(tasks)),
        multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(function, state),
    )
    try:
        with _one_thread_each():
            futures = [executor.submit(_run, task) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
    except (KeyboardInterrupt, SystemExit):  # tasks in progress are not waited for
        for process in {*multiprocessing.active_children()} - others:
            process.terminate()
        raise
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process died without an error of its own: it ran out of memory, was "
            "killed, or could not start because the script that calls this is not guarded by "
            "`if __name__ == '__main__':`"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _start(function: Callable[..., Any], state: Any) -> None:
    global _work  # noqa: PLW0603 - what a worker process keeps between tasks
    _work = (function, state)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the first process decides
    end_with_parent()


def end_with_parent() -> None:
    """Let this process, started by multiprocessing, end when its parent has been killed."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


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
