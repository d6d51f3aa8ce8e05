# SPDX-License-Identifier: MIT
"""Run i-PI in this process; failures produce a checkpoint and an exit status."""

from __future__ import annotations

import math
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from eqcalc.dynamics import UnstableDynamicsError
from eqcalc.files import exclusive, sync_file, write_atomically
from eqcalc.ipi.description import Description, InputError, symbol
from eqcalc.ipi.launcher import (
    ExitStatus,
    Outcome,
    Record,
    exit_now,
    remove_stale,
    require_free_port,
    where_to_start,
)
from eqcalc.ipi.stability import Stability
from eqcalc.ipi.units import extra_quantities

try:
    from ipi.engine.forcefields import FFDirect
    from ipi.engine.outputs import CheckpointOutput, get_identification_info_xml
    from ipi.engine.simulation import Simulation
    from ipi.interfaces import sockets as ipi_sockets
    from ipi.utils.softexit import softexit

    from eqcalc.ipi.watchdog import (
        Failure,
        Watchdog,
        clean_up,
        report_thread_errors,
        write_restart_first,
    )
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "ipi":
        raise
    raise ModuleNotFoundError(
        "i-PI is not installed: pip install 'eqcalc[ipi]'", name=error.name
    ) from None

#: Advice after unstable dynamics.
_UNSTABLE = (
    "What was written is kept; start again in a new folder with a shorter time step or another "
    "structure"
)


def run_in_this_process(
    input_file: str | Path, *, timeout: float = 600.0, grace: float | None = None
) -> Outcome:
    """Run or resume an i-PI simulation in this process, which must be dedicated to it.

    i-PI installs signal handlers, and the working directory becomes that of the input. If
    threads of i-PI cannot be stopped, the process exits with the status of the failure.
    BlockingIOError: another process runs in this folder.

    Parameters
    ----------
    input_file, timeout
        See :func:`~eqcalc.ipi.run`.
    grace
        Longest time to write RESTART and exit after a failure [s]; by default `timeout`,
        but at most 30 s.
    """
    path = Path(input_file).resolve()
    description = Description.read(path)
    description.check()
    os.chdir(path.parent)
    with exclusive(path.parent / f".{description.prefix or 'i-pi'}.lock"):
        record = Record(path.parent / f"{description.prefix}.run.json", description)
        record.check()
        start, notes = where_to_start(path, description)
        for note in notes:
            print(f"eqcalc ipi: {note}", flush=True)
        if start is not None and start.step >= description.total_steps:
            return Outcome(
                ExitStatus.COMPLETE,
                f"all {description.total_steps} steps are done; raise <total_steps> for more",
                start.step,
                description.total_steps,
            )
        for file in description.sockets():
            remove_stale(file)
        for place in description.ports():
            require_free_port(*place)
        state = description if start is None else start.description
        engine = Engine(
            state.with_total_steps(description.total_steps),
            timeout=timeout,
            grace=min(timeout, 30.0) if grace is None else grace,
            reference=record.reference(),
        )
        try:
            record.check_models(engine.provenance)
            record.write(engine.provenance, engine.reference)
        except BaseException:
            engine.abandon()
            raise
        return engine.run()


class Engine:
    """An i-PI simulation, ready to run, from the text of an input or checkpoint.

    For times see :func:`run_in_this_process`; `reference` is the :attr:`reference` of an earlier
    part of the run. InputError: i-PI would hang or compute something else.
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
        self._signal = 0
        self._note_signals()
        #: Record of each eqcalc potential, by the name of its force field.
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
        """Reference of the stability limits, JSON-able."""
        return {} if self._stability is None else self._stability.reference

    def run(self) -> Outcome:
        """Run to the end, or until stopped."""
        simulation, watchdog = self._simulation, self._watchdog
        report_thread_errors(watchdog)
        watchdog.start()
        try:
            # so that a run killed before its first checkpoint has one
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
            message = f"stopped after step {done} of {total}; rerun the same command to resume"
            interrupted = self._signal == signal.SIGINT
            status = ExitStatus.INTERRUPTED if interrupted else ExitStatus.STOPPED
            return Outcome(status, message, done, total)
        return Outcome(ExitStatus.COMPLETE, f"all {total} steps are done", done, total)

    def _note_signals(self) -> None:
        """Remember which signal stops i-PI."""
        handle = softexit._kill_handler

        def noted(number: int, frame: Any) -> None:
            self._signal = self._signal or number
            handle(number, frame)

        softexit._kill_handler = noted

    def _leave(self, failure: Failure | None) -> None:
        """Exit the process although threads of i-PI are stuck."""
        outcome = self._outcome(failure)
        print(f"eqcalc ipi: {outcome.message}", flush=True)
        exit_now(outcome.status)

    def _finished(self, step: int) -> None:
        self._done = step
        self._watchdog.step_finished()
        if self._stability is not None:
            self._stability.check(step)

    def _prepare(self, simulation: Any) -> None:
        """Add properties and reject inputs that would hang, before anything is started."""
        add_averages(simulation)
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
                key=f"ffdirect[{name}].pbc",
                value="true",
                expected="'false', for wrapping the atoms into a cell tears the molecule apart",
            )
        numbers = evaluate.evaluator.numbers.tolist()
        for system in simulation.syslist:
            names = [str(element) for element in system.beads.names]
            if [atomic_numbers[symbol(element)] for element in names] != numbers:
                raise InputError(
                    key=f"ffdirect[{name}].parameters.symbols",
                    value=str(Atoms(numbers).symbols),
                    expected=f"the atoms that i-PI simulates, {' '.join(names)}",
                )
        if "forces" in evaluate.quantities:
            return
        for system in simulation.syslist:
            for component in system.fcomp:
                if component.ffield == name and component.weight != 0.0:
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


def _treat_reset_as_disconnection() -> None:
    """Let i-PI reassign the job of a killed client.

    i-PI 3.3 handles the end of a client's connection, but not its reset, which occurs if the
    client left data unread; a reset kills the thread that serves all clients.
    """
    receive = socket.socket.recv_into

    def recv_into(self: socket.socket, *arguments: Any, **options: Any) -> int:
        try:
            return receive(self, *arguments, **options)
        except (ConnectionResetError, BrokenPipeError):
            raise ipi_sockets.Disconnected from None

    ipi_sockets.DriverSocket.recv_into = recv_into


# --- outputs --------------------------------------------------------------------------


class DurableOutputs:
    """Replaces the output routine of a simulation to keep checkpoints consistent.

    i-PI rewrites checkpoints in place and buffers its outputs: if killed at the wrong moment it
    leaves a truncated checkpoint, or one ahead of the outputs. Here the order of every step is:
    its outputs; if a checkpoint is due, a sync of all outputs to disk; then the checkpoint,
    written atomically. `written` is called with the number of each step whose outputs are written.
    """

    def __init__(self, simulation: Any, written: Callable[[int], None]) -> None:
        self._simulation = simulation
        self._written = written
        self._checkpoints = [o for o in simulation.outputs if isinstance(o, CheckpointOutput)]
        self._others = [o for o in simulation.outputs if not isinstance(o, CheckpointOutput)]
        self._complete = True
        simulation.write_outputs = self.write
        simulation.chk.write = self.write_restart

    def write(self) -> None:
        """Write the outputs of a step; unlike in i-PI, the step fails if this does."""
        try:
            self._write_others()
            # numbered ones first, so that the others contain the next number
            due = sorted(
                (c for c in self._checkpoints if c.active()), key=lambda c: bool(c.overwrite)
            )
            if due:
                self._to_disk()
        except OSError:
            self._complete = False  # what was in memory may be lost
            raise
        for checkpoint in due:
            write_checkpoint(checkpoint)
        self._written(int(self._simulation.step) + 1)

    def write_restart(self, store: bool = True) -> None:
        """Write RESTART, unless outputs up to its step are missing, which is an OSError."""
        if not self._complete:
            raise OSError("outputs are incomplete, so RESTART is not written")
        self._to_disk()
        write_checkpoint(self._simulation.chk, store=store)

    def _write_others(self) -> None:
        writers = [output.write for output in self._others if output.active()]
        if self._simulation.threading:  # systems fill a batch of the response together
            pending = [self._simulation.executor.submit(write) for write in writers]
            for future in pending:
                future.result()
        else:
            for write in writers:
                write()

    def _to_disk(self) -> None:
        for output in self._others:
            for stream in _streams(output.out):
                stream.flush()
                sync_file(stream.fileno())


def write_checkpoint(checkpoint: CheckpointOutput, *, store: bool = True) -> None:
    """Write a checkpoint atomically.

    Without `store`, it contains the state that was stored last.
    """
    name = (
        checkpoint.filename if checkpoint.overwrite else f"{checkpoint.filename}_{checkpoint.step}"
    )
    if store:
        checkpoint.step += 1
        checkpoint.store()
        checkpoint.status.step.store(checkpoint.simul.step + 1)
    text = f"{get_identification_info_xml()}\n{checkpoint.status.write(name='simulation')}"
    write_atomically(Path(name).absolute(), text)


def _streams(out: Any) -> Iterator[Any]:
    """Return the open files of an output: none, one, or one per bead."""
    yield from (
        stream for stream in (out if isinstance(out, list) else [out]) if stream is not None
    )


def _bead_average(name: str, size: int) -> Callable[..., np.ndarray]:
    """Return an i-PI property: the bead average of an extra of a force component.

    Extras of a component of weight zero are evaluated on demand, so that dipole and
    polarizability cost nothing between outputs.
    """

    def average(properties: Any, component: str = "-1") -> np.ndarray:
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


def add_averages(simulation: Any) -> None:
    """Register ``mu_mean``, ``alpha_mean`` etc. with a simulation that is not yet bound.

    For a single bead they are its values, for a component of one bead (``nbeads='1'``) those
    of the centroid.
    """
    table: dict[str, dict[str, Any]] = {}
    for name, q in extra_quantities().items():
        size = math.prod(q.shape)
        table[q.ipi_property] = {
            "func": _bead_average(name, size),
            "size": size,
            "help": f"Bead average of the {name}, row by row, in atomic units.",
            **({"dimension": q.ipi_dimension} if q.ipi_dimension else {}),
        }
    for system in simulation.syslist:
        properties = system.properties
        for name, entry in table.items():
            bound = entry["func"].__get__(properties, type(properties))
            properties.property_dict[name] = {**entry, "func": bound}
