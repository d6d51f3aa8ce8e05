# SPDX-License-Identifier: MIT
"""Stops an i-PI simulation that would otherwise hang."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ipi.engine.forcefields import FFSocket, ForceField
from ipi.engine.simulation import Simulation
from ipi.utils.softexit import softexit

from eqcalc.ipi.launcher import ExitStatus

#: Advice after most failures.
RESUMES = "Rerun the same command to resume from the last checkpoint"
#: Seconds between checks.
_PERIOD = 0.2


@dataclass(frozen=True)
class Failure:
    """Why a run was stopped, its exit status, and advice."""

    message: str
    status: ExitStatus = ExitStatus.FAILED
    advice: str = RESUMES


class Watchdog(threading.Thread):
    """Monitors a running simulation and stops it when it cannot continue.

    It ends the simulation at once when a potential has raised an error or a polling thread
    has died, and when no step was finished for `timeout` s, be it that no client is connected
    or that one does not answer. Ending means: i-PI writes RESTART; should that hang too, `leave`
    ends the process without it after `grace` s, whatever its threads do.
    """

    def __init__(
        self,
        simulation: Any,
        *,
        timeout: float,
        grace: float,
        leave: Callable[[Failure | None], None],
    ) -> None:
        super().__init__(name="eqcalc watchdog", daemon=True)
        self.failure: Failure | None = None
        self._simulation = simulation
        self._timeout = timeout
        self._grace = grace
        self._leave = leave
        self._wake = threading.Event()
        self._over = False
        self._ending: float | None = None
        self._last = time.monotonic()
        for forcefield in simulation.fflist.values():
            if hasattr(forcefield, "driver"):
                forcefield.driver = self._guarded(forcefield.name, forcefield.driver)

    def step_finished(self) -> None:
        """Record that a step was finished."""
        self._last = time.monotonic()

    def report(self, message: str, *, advice: str = RESUMES) -> None:
        """Record a reason to stop, with advice."""
        if self.failure is None:
            self.failure = Failure(message, advice=advice)
        self._wake.set()

    def ending(self) -> None:
        """Record that the simulation is being stopped."""
        if self._ending is None:
            self._ending = time.monotonic()

    def stop(self) -> None:
        """Stop monitoring."""
        self._over = True
        self._wake.set()

    def run(self) -> None:
        """Monitor until the simulation finishes or must be stopped."""
        while not self._over:
            self._wake.wait(_PERIOD)
            self._wake.clear()
            if self._ending is not None:
                if time.monotonic() - self._ending > self._grace:
                    self._leave(self.failure)
                continue
            self.failure = self.failure or self._examine()
            if self.failure is not None:
                self.ending()
                arguments = ("bad", self.failure.message)
                threading.Thread(target=clean_up, args=arguments, daemon=True).start()

    def _examine(self) -> Failure | None:
        for forcefield in self._simulation.fflist.values():
            thread = forcefield._thread
            if thread is not None and not thread.is_alive() and not softexit.triggered:
                return Failure(f"the thread that polls the force field {forcefield.name!r} died")
        if time.monotonic() - self._last < self._timeout:
            return None
        for forcefield in self._simulation.fflist.values():
            if isinstance(forcefield, FFSocket) and not forcefield.socket.clients:
                return Failure(
                    f"no client is connected to the force field {forcefield.name!r} and no step "
                    f"was finished for {self._timeout:g} s; start one with: "
                    f"eqcalc ipi client MODEL {client_options(forcefield.socket)}",
                    ExitStatus.NO_CLIENT,
                )
        return Failure(f"no step was finished for {self._timeout:g} s")

    def _guarded(self, name: str, driver: Callable[..., Any]) -> Callable[..., Any]:
        """Return a potential whose errors are noticed; of several systems only one sees them."""

        def call(*arguments: Any) -> Any:
            try:
                return driver(*arguments)
            except Exception as error:
                self.report(f"the potential of the force field {name!r} failed: {error}")
                raise

        return call


def client_options(interface: Any) -> str:
    """Return what tells a client where an interface of i-PI listens."""
    if interface.mode == "inet":
        return f"--host {interface.address} --port {interface.port}"
    return f"--unix {interface.address}"


def write_restart_first() -> None:
    """Let i-PI write RESTART, then close its outputs, then the force fields, which may hang."""

    def order(entry: tuple[Any, ...]) -> int:
        owner = getattr(entry[0], "__self__", None)
        return 0 if isinstance(owner, Simulation) else 2 if isinstance(owner, ForceField) else 1

    softexit.flist.sort(key=order)


def clean_up(status: str, message: str) -> list[Exception]:
    """Let i-PI close its outputs and write RESTART; return what went wrong.

    The status is ``"success"``, ``"restartable"`` or ``"bad"``, the message for the log.
    """
    errors: list[Exception] = []
    while True:
        try:
            softexit.cleanup(status=status, message=message)
        except Exception as error:  # one output that fails must not keep the others from closing
            errors.append(error)
            continue
        return errors


def report_thread_errors(watchdog: Watchdog) -> None:
    """End the run when a thread of i-PI, such as a polling thread, ends with an error."""

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_type is SystemExit:
            return
        traceback.print_exception(
            arguments.exc_type, arguments.exc_value, arguments.exc_traceback, file=sys.stderr
        )
        name = arguments.thread.name if arguments.thread is not None else "a thread"
        watchdog.report(f"{name}: {arguments.exc_type.__name__}: {arguments.exc_value}")

    threading.excepthook = hook
