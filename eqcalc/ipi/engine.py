# SPDX-License-Identifier: MIT
"""i-PI in this process, with its failures turned into a checkpoint and an exit status."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import atomic_numbers
from ipi.engine.forcefields import FFDirect
from ipi.engine.simulation import Simulation
from ipi.interfaces import sockets as ipi_sockets
from ipi.utils.softexit import softexit

from eqcalc.dynamics import UnstableDynamicsError
from eqcalc.ipi.description import Description, InputError, symbol
from eqcalc.ipi.durable import DurableOutputs
from eqcalc.ipi.properties import add_properties
from eqcalc.ipi.stability import Stability
from eqcalc.ipi.status import ExitStatus, Outcome, leave_at_once
from eqcalc.ipi.watchdog import (
    Failure,
    Watchdog,
    clean_up,
    report_thread_errors,
    write_restart_first,
)

#: What to do after dynamics that left its limits.
_UNSTABLE = (
    "What was written is kept; start again in a new folder with a shorter time step or another "
    "structure"
)


class Engine:
    """A simulation of i-PI, ready to run.

    Parameters
    ----------
    text
        Input or checkpoint of i-PI (XML).
    timeout
        Longest time without a finished step [s].
    grace
        Longest time to write RESTART and to end, after a failure [s].
    reference
        Of the limits of an earlier part of the same run, :attr:`reference`.

    Raises
    ------
    InputError
        i-PI would hang or compute something else than what is meant.
    """

    def __init__(
        self,
        text: str,
        *,
        timeout: float,
        grace: float,
        reference: Mapping[str, Any] | None = None,
    ) -> None:
        _treat_reset_as_disconnection()
        #: What each potential of eqcalc is, by the name of its force field.
        self.provenance: dict[str, Any] = {}
        self._simulation = Simulation.load_from_xml(text, post_init_hook=self._prepare)
        self._done = int(self._simulation.step)
        description = Description(text, "the input")
        self._stability = (
            Stability(self._simulation, reference, description.prefix)
            if description.is_of_molecules()
            else None
        )
        DurableOutputs(self._simulation, self._finished)
        write_restart_first()
        self._watchdog = Watchdog(self._simulation, timeout=timeout, grace=grace, leave=self._leave)

    @property
    def reference(self) -> dict[str, Any]:
        """What the limits of the dynamics compare with; JSON can hold it."""
        return {} if self._stability is None else self._stability.reference

    def run(self) -> Outcome:
        """Run to the end, or until something ends it."""
        simulation, watchdog = self._simulation, self._watchdog
        report_thread_errors(watchdog)
        watchdog.start()
        try:
            # a run that is killed before its first checkpoint has one nevertheless
            simulation.chk.store()
            simulation.chk.write(store=False)
            simulation.run()
        except SystemExit:
            pass  # how i-PI leaves a step that cannot be finished
        except UnstableDynamicsError as error:
            watchdog.report(str(error), advice=_UNSTABLE)
        except Exception as error:
            watchdog.report(f"{type(error).__name__}: {error}")
        return self._end()

    def abandon(self) -> None:
        """Close everything without a step."""
        clean_up("bad", "not started")

    def _end(self) -> Outcome:
        self._watchdog.ending()
        total = int(self._simulation.tsteps)
        failure = self._watchdog.failure
        complete = failure is None and self._done >= total
        status = "success" if complete else "bad" if failure is not None else "restartable"
        errors = clean_up(status, "")
        with softexit.lock:  # another thread may be in the middle of it
            pass
        errors += clean_up(status, "")
        if errors and failure is None:
            failure = Failure(f"an output could not be written: {errors[0]}")
        if failure is None and not complete:
            Path("EXIT").unlink(missing_ok=True)  # it has been obeyed
        self._watchdog.stop()
        return self._outcome(failure)

    def _outcome(self, failure: Failure | None) -> Outcome:
        done, total = self._done, int(self._simulation.tsteps)
        if failure is not None:
            return Outcome(
                failure.status,
                f"stopped after step {done} of {total}: {failure.message}. {failure.advice}",
                done,
                total,
            )
        if done < total:
            message = f"stopped after step {done} of {total}; the same command goes on"
            return Outcome(ExitStatus.STOPPED, message, done, total)
        return Outcome(ExitStatus.COMPLETE, f"all {total} steps are done", done, total)

    def _leave(self, failure: Failure | None) -> None:
        """End the process although threads of i-PI are stuck."""
        outcome = self._outcome(failure)
        print(f"eqcalc ipi: {outcome.message}", flush=True)
        leave_at_once(outcome.status)

    def _finished(self, step: int) -> None:
        self._done = step
        self._watchdog.step_finished()
        if self._stability is not None:
            self._stability.check(step)

    def _prepare(self, simulation: Any) -> None:
        """Add properties and refuse what would hang, before anything is started."""
        add_properties(simulation)
        for name, forcefield in simulation.fflist.items():
            if isinstance(forcefield, FFDirect):
                _check_batches(simulation, name, forcefield)
                self._check_potential(simulation, name, forcefield)

    def _check_potential(self, simulation: Any, name: str, forcefield: FFDirect) -> None:
        evaluate = getattr(forcefield.driver, "evaluate", None)
        if evaluate is None or not hasattr(evaluate, "quantities"):
            return  # a potential of somebody else
        self.provenance[name] = evaluate.evaluator.provenance
        if forcefield.dopbc:
            raise InputError(
                f"<ffdirect name='{name}'>: set pbc='false'; wrapping the atoms into a cell would "
                "tear the molecule apart"
            )
        numbers = evaluate.evaluator.numbers.tolist()
        for system in simulation.syslist:
            names = [str(element) for element in system.beads.names]
            if [atomic_numbers[symbol(element)] for element in names] != numbers:
                raise InputError(
                    f"<ffdirect name='{name}'>: its potential is for {Atoms(numbers).symbols}, but "
                    f"i-PI simulates {' '.join(names)}; correct symbols in <parameters>"
                )
        if any(quantity.name == "forces" for quantity in evaluate.quantities):
            return
        for system in simulation.syslist:
            for component in system.fcomp:
                if component.ffield == name and component.weight != 0.0:
                    raise InputError(
                        f"<force forcefield='{name}'>: its potential evaluates no forces; set "
                        "weight='0', or add energy+forces to its quantities"
                    )


def _check_batches(simulation: Any, name: str, forcefield: FFDirect) -> None:
    """Refuse a batch size with which i-PI would wait for beads that never come.

    Raises
    ------
    InputError
        It does not divide the number of beads.
    """
    counts = [
        sum(
            (component.nbeads or system.beads.nbeads)
            for component in system.fcomp
            if component.ffield == name
        )
        for system in simulation.syslist
    ]
    together = simulation.threading and len(counts) > 1
    batches = [sum(counts)] if together else [count for count in counts if count]
    size = forcefield.batch_size
    if forcefield.threaded or all(count % size == 0 for count in batches):
        return
    raise InputError(
        f"<ffdirect name='{name}'>: batch_size is {size}, but {batches[0]} beads come at a time; "
        f"i-PI would wait for ever. Set batch_size to {batches[0]}"
    )


def _treat_reset_as_disconnection() -> None:
    """Let i-PI give the job of a client that was killed to another one.

    i-PI 3.3 expects that the connection of a client that dies ends, and not that it is reset,
    which happens when the client has left something unread; the reset ends the thread that
    serves all clients.
    """
    receive = socket.socket.recv_into

    def recv_into(self: socket.socket, *arguments: Any, **options: Any) -> int:
        try:
            return receive(self, *arguments, **options)
        except (ConnectionResetError, BrokenPipeError):
            raise ipi_sockets.Disconnected from None

    ipi_sockets.DriverSocket.recv_into = recv_into
