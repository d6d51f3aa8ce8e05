# SPDX-License-Identifier: MIT
"""Run i-PI in this process; failures produce a checkpoint and an exit status.

i-PI is advanced by a few steps at a time, as its own scripting interface does. In between, outputs
are synced, checkpoints are written and stops are obeyed, so that a checkpoint is never ahead of
the outputs. A thread watches that steps are finished.
"""

from __future__ import annotations

import inspect
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from eqcalc.dynamics import UnstableDynamicsError
from eqcalc.files import exclusive, sync_file, write_atomically
from eqcalc.interruption import StopRequest
from eqcalc.ipi.description import CONSTANT_PRESSURES, Description, InputError, symbol
from eqcalc.ipi.launcher import (
    ExitStatus,
    Outcome,
    Record,
    exit_now,
    remove_stale,
    require_free_port,
    where_to_start,
)
from eqcalc.ipi.stability import CHECK_INTERVAL, Stability
from eqcalc.ipi.units import extra_quantities
from eqcalc.validation import located

try:
    from ipi.engine.forcefields import FFDirect, FFSocket
    from ipi.engine.outputs import CheckpointOutput, get_identification_info_xml
    from ipi.engine.simulation import Simulation
    from ipi.interfaces.sockets import InterfaceSocket
    from ipi.utils.depend import dstrip
    from ipi.utils.softexit import softexit
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "ipi":
        raise
    raise ModuleNotFoundError(
        "i-PI is not installed: pip install 'eqcalc[ipi]'", name=error.name
    ) from None

#: Advice after most failures, and after unstable dynamics.
_RESUMES = "Rerun the same command to resume from the last checkpoint"
_UNSTABLE = (
    "What was written is kept; start again in a new folder with a shorter time step or another "
    "structure"
)
#: Seconds between checks that steps are finished.
_PERIOD = 0.2
#: Longest time to finish a step after a request to stop, and to disconnect clients [s].
_GRACE = 30.0
_RESTART, _EXIT = Path("RESTART"), Path("EXIT")


def run_in_this_process(input_file: str | Path, *, timeout: float = 600.0) -> Outcome:
    """Run or resume an i-PI simulation in this process, which must be dedicated to it.

    The working directory becomes that of the input, and signals are handled. If threads of i-PI
    cannot be stopped, the process exits with the status of the failure. BlockingIOError: another
    process runs in this folder.

    Parameters
    ----------
    input_file, timeout
        See :func:`~eqcalc.ipi.run`.
    """
    path = Path(input_file).resolve()
    description = Description.read(path)
    description.check()
    os.chdir(path.parent)
    with exclusive(path.parent / f".{description.prefix or 'i-pi'}.lock"):
        record = Record(description)
        record.check()
        start, notes = where_to_start(description)
        for note in notes:
            print(f"eqcalc ipi: {note}", flush=True)
        if start is not None and start.step >= description.total_steps:
            message = f"all {description.total_steps} steps are done; raise <total_steps> for more"
            return Outcome(ExitStatus.COMPLETE, message)
        with located(file=path):
            for file in description.sockets():
                remove_stale(file)
            for place in description.ports():
                require_free_port(*place)
        state = description if start is None else start
        engine = Engine(
            state.with_total_steps(description.total_steps),
            timeout=timeout,
            grace=min(timeout, _GRACE),
            reference=record.reference,
        )
        try:
            record.check_models(engine.provenance)
            record.write(engine.provenance, engine.reference)
        except BaseException:
            engine.close()
            raise
        return engine.run()


@dataclass(frozen=True)
class Failure:
    """Why a run was stopped, its exit status, and advice."""

    message: str
    status: ExitStatus = ExitStatus.FAILED
    advice: str = _RESUMES


class Engine:
    """An i-PI simulation, ready to run, from the text of an input or checkpoint.

    A step takes `timeout` s at most, and after a request to stop `grace` s; `reference` is the
    :attr:`reference` of an earlier part of the run. InputError: i-PI would hang or compute
    something else.
    """

    def __init__(
        self,
        text: str,
        *,
        timeout: float,
        grace: float,
        reference: Mapping[str, Any] | None = None,
    ) -> None:
        self._timeout = timeout
        self._grace = grace
        self._request = StopRequest()
        self._failure: Failure | None = None
        self._failed = threading.Event()
        self._ending = threading.Lock()
        self._lost = False
        #: Record of each eqcalc potential, by the name of its force field.
        self.provenance: dict[str, Any] = {}
        self._momenta: list[Any] = []
        self._simulation = Simulation.load_from_xml(text, post_init_hook=self._prepare)
        for system, momenta in zip(self._simulation.syslist, self._momenta, strict=False):
            system.beads.p = momenta
        # i-PI's own soft exit would write RESTART at any time, also ahead of the outputs
        softexit.reset()
        self._total = int(self._simulation.tsteps)
        outputs = self._simulation.outputs
        checkpoints = [output for output in outputs if isinstance(output, CheckpointOutput)]
        # numbered ones first, so that the others contain the next number
        self._checkpoints = sorted(checkpoints, key=lambda checkpoint: bool(checkpoint.overwrite))
        self._simulation.outputs = [output for output in outputs if output not in checkpoints]
        description = Description(text, "the input")
        self._stability = (
            Stability(self._simulation, reference, description.prefix, description.is_periodic())
            if description.is_of_eqcalc()
            else None
        )

    def _prepare(self, simulation: Any) -> None:
        self.provenance = prepare(simulation, self._report_of_thread)
        if simulation.step:
            # i-PI then removes the motion of the centre of mass once more than in the run that
            # did not stop, which changes last digits
            self._momenta = [dstrip(system.beads.p).copy() for system in simulation.syslist]

    @property
    def reference(self) -> dict[str, Any]:
        """Reference of the stability limits, JSON-able."""
        return {} if self._stability is None else self._stability.reference

    def run(self) -> Outcome:
        """Run to the end, or until stopped."""
        threading.excepthook = self._thread_ended
        self._request.listen()
        threading.Thread(target=self._watch, name="eqcalc watchdog", daemon=True).start()
        failure = None
        try:
            # so that a run killed before its first checkpoint has one
            self._simulation.chk.store()
            self._write_state(_RESTART, self._simulation.chk)
            self._advance()
        except SystemExit:
            pass  # how i-PI leaves a step that cannot be finished
        except UnstableDynamicsError as error:
            failure = Failure(str(error), advice=_UNSTABLE)
        except Exception as error:
            self._lost = isinstance(error, OSError)
            failure = Failure(f"{type(error).__name__}: {error}")
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # the watchdog ends the process
        return self._end(failure)

    def close(self) -> None:
        """Disconnect clients and stop the threads of i-PI, as far as they can be."""
        closing = threading.Thread(target=self._simulation.stop, daemon=True)
        closing.start()
        closing.join(self._grace)

    # --- steps ------------------------------------------------------------------------

    def _advance(self) -> None:
        """Do all steps, or those until a request to stop."""
        simulation = self._simulation
        done = int(simulation.step)
        if done == 0:
            self._write_checkpoints(0)
        until = time.monotonic() + simulation.ttime if simulation.ttime > 0 else float("inf")
        end = done + 1
        while done < self._total:
            simulation.tsteps = end
            simulation.run()
            simulation.tsteps = self._total
            if softexit.triggered or simulation.finished:
                return  # i-PI has decided to stop
            done = simulation.step = int(simulation.step) + 1
            if self._stability is not None:
                self._stability.check()
            self._write_checkpoints(done)
            if self._request or _EXIT.exists() or time.monotonic() > until:
                break
            strides = (CHECK_INTERVAL, *(checkpoint.stride for checkpoint in self._checkpoints))
            end = min(self._total, *((done // stride + 1) * stride for stride in strides))
        simulation.chk.store()

    def _write_checkpoints(self, done: int) -> None:
        due = [c for c in self._checkpoints if done % c.stride == 0]
        if due:
            self._sync()
        for checkpoint in due:
            name = checkpoint.filename
            if not checkpoint.overwrite:
                name = f"{name}_{checkpoint.step}"
            checkpoint.step += 1
            checkpoint.store()
            self._write_state(Path(name), checkpoint)

    def _write_state(self, path: Path, checkpoint: CheckpointOutput) -> None:
        """Write a stored state atomically."""
        checkpoint.status.total_steps.store(self._total)
        text = f"{get_identification_info_xml()}\n{checkpoint.status.write(name='simulation')}"
        write_atomically(path.absolute(), text)

    def _sync(self) -> None:
        """Sync all outputs to disk."""
        for output in self._simulation.outputs:
            for stream in _streams(output.out):
                stream.flush()
                sync_file(stream.fileno())

    # --- the end ----------------------------------------------------------------------

    def _end(self, failure: Failure | None) -> Outcome:
        """Write RESTART, unless outputs up to its step are lost, and close everything."""
        state = self._simulation.chk
        if not self._lost:
            try:
                self._sync()
                self._write_state(_RESTART, state)
            except OSError as error:
                failure = failure or Failure(f"an output could not be written: {error}")
        self.close()
        done, total = int(state.status.step.fetch()), self._total
        if failure is not None:
            message = f"stopped after step {done} of {total}: {failure.message}. {failure.advice}"
            return Outcome(failure.status, message)
        if done < total:
            _EXIT.unlink(missing_ok=True)  # it has been obeyed
            message = f"stopped after step {done} of {total}; rerun the same command to resume"
            return Outcome(ExitStatus(self._request.status), message)
        return Outcome(ExitStatus.COMPLETE, f"all {total} steps are done")

    # --- what is noticed by other threads ---------------------------------------------

    def _watch(self) -> None:
        """End the process when the simulation cannot go on by itself."""
        step, last = -1, time.monotonic()
        stop = float("inf")
        while not self._ending.locked():
            self._failed.wait(_PERIOD)
            now = time.monotonic()
            if int(self._simulation.step) != step:
                step, last = int(self._simulation.step), now
            if self._request:
                stop = min(stop, now + self._grace)
            failure = self._failure
            if failure is None and now - last > self._timeout:
                failure = self._explanation()
            if failure is None and now < stop:
                continue
            if self._ending.acquire(blocking=False):
                if hasattr(softexit, "lock"):  # since 3.3.1 held while a state is stored
                    softexit.lock.acquire(timeout=1.0)  # in vain if an output is stuck
                outcome = self._end(failure)
                print(f"eqcalc ipi: {outcome.message}", flush=True)
                exit_now(outcome.status)

    def _explanation(self) -> Failure:
        """Return why no step was finished."""
        message = f"no step was finished for {self._timeout:g} s"
        for name, forcefield in self._simulation.fflist.items():
            if isinstance(forcefield, FFSocket) and not forcefield.socket.clients:
                socket = forcefield.socket
                where = (
                    f"--host {socket.address} --port {socket.port}"
                    if socket.mode == "inet"
                    else f"--unix {socket.address}"
                )
                return Failure(
                    f"no client is connected to the force field {name!r} and {message}; start one "
                    f"with: eqcalc ipi client MODEL {where}",
                    ExitStatus.NO_CLIENT,
                )
        return Failure(message)

    def _report_of_thread(self, message: str) -> None:
        """Note an error in a thread of which the main thread may never hear."""
        if threading.current_thread() is not threading.main_thread():
            self._failure = self._failure or Failure(message)
            self._failed.set()

    def _thread_ended(self, arguments: threading.ExceptHookArgs) -> None:
        """Note that a thread of i-PI, such as one that serves clients, ended with an error."""
        kind, error, trace, thread = arguments
        if kind is not SystemExit:
            traceback.print_exception(kind, error, trace, file=sys.stderr)
            name = "a thread" if thread is None else thread.name
            self._report_of_thread(f"{name}: {kind.__name__}: {error}")


def _streams(out: Any) -> Iterator[Any]:
    """Return the open files of an output: none, one, or one per bead."""
    yield from (
        stream for stream in (out if isinstance(out, list) else [out]) if stream is not None
    )


# --- preparation, by i-PI's ``post_init_hook`` --------------------------------------


class PotentialError(RuntimeError):
    """The potential of a force field has raised an error."""


def prepare(simulation: Any, failed: Callable[[str], None]) -> dict[str, Any]:
    """Add properties, reject inputs that would hang, and notice errors of potentials.

    `failed` is told of errors of potentials, of which i-PI's other threads may never hear.
    Returns the record of each eqcalc potential, by the name of its force field.
    """
    add_averages(simulation)
    provenance = {}
    for name, forcefield in simulation.fflist.items():
        if isinstance(forcefield, FFDirect):
            _check_batches(simulation, name, forcefield)
            evaluate = getattr(forcefield.driver, "evaluate", None)
            if evaluate is not None and hasattr(evaluate, "quantities"):  # eqcalc's potential
                _check_potential(simulation, name, forcefield, evaluate)
                provenance[name] = evaluate.evaluator.provenance
            forcefield.driver = _reporting(forcefield.driver, name, failed)
        elif isinstance(forcefield, FFSocket):
            forcefield.socket = Interface.like(forcefield.socket)
    return provenance


def _reporting(
    driver: Callable[..., Any], name: str, failed: Callable[[str], None]
) -> Callable[..., Any]:
    """Return a potential whose errors are told."""

    def call(*arguments: Any) -> Any:
        try:
            return driver(*arguments)
        except Exception as error:
            message = f"the potential of the force field {name!r} failed: {error}"
            failed(message)
            raise PotentialError(message) from error

    return call


class Interface(InterfaceSocket):
    """Survives clients whose connection is reset.

    i-PI 3.3 gives the job of a client to another one if its connection ends. If the client was
    killed with data unread, the connection is reset instead, and the error would end the thread
    that serves all clients. After the error the connection has ended also for i-PI.
    """

    @classmethod
    def like(cls, other: InterfaceSocket) -> Interface:
        """Return an interface with the settings and the requests of another."""
        settings = inspect.signature(InterfaceSocket).parameters
        interface = cls(**{name: getattr(other, name) for name in settings})
        interface.requests, interface.offset = other.requests, other.offset
        return interface

    def poll(self) -> None:
        """Serve all clients once."""
        try:
            super().poll()
        except (ConnectionResetError, BrokenPipeError):
            # i-PI was about to remove the jobs that it had found to be done
            self.jobs[:] = [job for job in self.jobs if not _is_done(job[0])]


def _is_done(request: Any) -> bool:
    """Return whether a job, of one structure or a batch, has its results."""
    return bool((request[0] if isinstance(request, list) else request)["status"] == "Done")


# --- checks ---------------------------------------------------------------------------


def _check_potential(simulation: Any, name: str, forcefield: FFDirect, evaluate: Any) -> None:
    """Reject what eqcalc's potential would not notice."""
    if forcefield.dopbc and not evaluate.periodic:
        raise InputError(
            key=f"ffdirect[{name}].pbc",
            value="true",
            expected="'false', for wrapping the atoms into a cell tears the molecule apart",
        )
    numbers, forces = evaluate.evaluator.numbers.tolist(), "forces" in evaluate.quantities
    for system in simulation.syslist:
        names = [str(element) for element in system.beads.names]
        if [atomic_numbers[symbol(element)] for element in names] != numbers:
            raise InputError(
                key=f"ffdirect[{name}].parameters.symbols",
                value=str(Atoms(numbers).symbols),
                expected=f"the atoms that i-PI simulates, {' '.join(names)}",
            )
        for component in system.fcomp:
            if component.ffield != name or not component.weight:
                continue
            if system.motion.enstype in CONSTANT_PRESSURES and not evaluate.has_virial:
                raise InputError(
                    "the model has no stress",
                    key="dynamics.mode",
                    value=system.motion.enstype,
                    expected="nve or nvt",
                )
            if not forces:
                raise InputError(
                    key=f"force[{name}].weight",
                    value=component.weight,
                    expected="0, for its potential evaluates no forces",
                    advice="or add energy+forces to its quantities",
                )


def _check_batches(simulation: Any, name: str, forcefield: FFDirect) -> None:
    """Reject a batch size with which i-PI would wait for beads forever."""
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
        key=f"ffdirect[{name}].batch_size",
        value=size,
        expected=f"{batches[0]}, the beads that come at a time; i-PI would wait forever",
    )


# --- averages over beads --------------------------------------------------------------


def add_averages(simulation: Any) -> None:
    """Add ``mu_mean``, ``alpha_mean`` etc. to the properties of all systems.

    For a single bead they are its values, for a component of one bead (``nbeads='1'``) those
    of the centroid. Extras of a component of weight zero are evaluated on demand, so that dipole
    and polarizability cost nothing between outputs.
    """
    for system in simulation.syslist:
        for name, q in extra_quantities().items():
            system.properties.property_dict[q.ipi_property] = {
                "func": _bead_average(system.properties, name, math.prod(q.shape)),
                "size": math.prod(q.shape),
                "help": f"Bead average of the {name}, row by row, in atomic units.",
                **({"dimension": q.ipi_dimension} if q.ipi_dimension else {}),
            }


def _bead_average(properties: Any, name: str, size: int) -> Callable[..., np.ndarray]:
    """Return an i-PI property: the bead average of an extra of a force component."""

    def average(component: str = "-1") -> np.ndarray:
        extras = properties.forces.extras_component(int(component))
        if name not in extras:
            known = ", ".join(sorted(set(extras) - {"raw"})) or "nothing"
            raise KeyError(
                f"force component {component} has no {name}, but {known}; add {name} to the "
                "quantities of its force field"
            )
        values = np.asarray(extras[name], dtype=float)
        mean = values.reshape(len(values), size).mean(axis=0)
        return mean if size > 1 else mean[0]

    return average
