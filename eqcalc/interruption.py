# SPDX-License-Identifier: MIT
"""Stopping on request: SIGTERM, SIGHUP and SIGINT are obeyed once nothing would be lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Exit status after SIGTERM, as in sysexits.h: rerun the command to resume.
STOPPED = 75
#: Exit status after SIGINT, as in shells.
INTERRUPTED = 128 + signal.SIGINT.value


#: SIGTERM, and that of a terminal that is closed.
_TERMINATING = (signal.SIGTERM, signal.SIGHUP)


class Stopped(SystemExit):
    """The process was asked to end by SIGTERM or SIGHUP; everything is stored."""

    def __init__(self) -> None:
        super().__init__(STOPPED)

    def __reduce__(self) -> tuple[type[Stopped], tuple[()]]:
        return type(self), ()  # on its way from a worker process


class _Obeyed(BaseException):
    """Leaves the calculation after its checkpoint."""


class StopRequest:
    """Whether SIGTERM or SIGINT has come; true if so."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self._number is not None

    @property
    def status(self) -> int:
        """The exit status of a process that obeys."""
        return INTERRUPTED if self._number == signal.SIGINT else STOPPED

    def obey(self) -> None:
        """Leave the block of :func:`stopping`, if a signal has come."""
        if self:
            raise _Obeyed

    def listen(self) -> None:
        """Note signals from now on; a second one acts as before. Ignored ones stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, *_TERMINATING):
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None, self._note):
                self._before.setdefault(number, handler)
                signal.signal(number, self._note)

    def _note(self, number: int, _: Any) -> None:
        if self:
            self._restore()
            signal.raise_signal(number)
        self._number = number

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())


@contextmanager
def stopping() -> Iterator[StopRequest]:
    """Postpone SIGTERM, SIGHUP and SIGINT in a block, which polls the request and obeys it.

    Raises
    ------
    Stopped, KeyboardInterrupt
        At the end of the block, if SIGTERM or SIGINT has come.
    """
    request = StopRequest()
    request.listen()
    try:
        yield request
    except _Obeyed:
        pass
    finally:
        request._restore()
    if request._number == signal.SIGINT:
        raise KeyboardInterrupt
    if request:
        raise Stopped


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise :class:`Stopped`, so that temporary files are removed."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped

    main = threading.current_thread() is threading.main_thread()
    default = [n for n in _TERMINATING if main and signal.getsignal(n) is signal.SIG_DFL]
    for number in default:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in default:
            signal.signal(number, signal.SIG_DFL)
