# SPDX-License-Identifier: MIT
"""Run i-PI so that it ends when it cannot go on, says how it ended, and can go on later."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eqcalc.dynamics.checkpoint import exclusive
from eqcalc.ipi.checkpoints import Checkpoint, find_checkpoints
from eqcalc.ipi.description import Description, InputError
from eqcalc.ipi.status import ExitStatus, Outcome
from eqcalc.trajectory import write_atomically


class RunError(RuntimeError):
    """A run of i-PI has not reached its end.

    Parameters
    ----------
    message
        Why, from its log.
    status
        Its exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def run(
    input_file: str | Path,
    *,
    timeout: float = 600.0,
    threads: int = 1,
    log: str | Path | None = None,
) -> Path:
    """Run or continue an i-PI simulation in a process of its own.

    The same as the command ``eqcalc ipi run``.

    Parameters
    ----------
    input_file
        Input of i-PI. Outputs are written beside it; a run that was stopped goes on.
    timeout
        Longest time without a finished step [s].
    threads
        CPU threads of the network.
    log
        Where the messages of i-PI go; ``<input>.log`` by default, appended to.

    Returns
    -------
    Path
        The folder of the run, for :func:`eqcalc.read_run`.

    Raises
    ------
    RunError
        The run has not reached its end; the message has the last lines of the log.
    """
    input_file = Path(input_file).resolve()
    log = input_file.with_suffix(".log") if log is None else Path(log)
    command = [sys.executable, "-m", "eqcalc", "ipi", "run", str(input_file)]
    command += ["--timeout", str(timeout), "--threads", str(threads)]
    with log.open("ab") as stream:
        status = subprocess.run(
            command, stdout=stream, stderr=subprocess.STDOUT, check=False
        ).returncode
    if status != ExitStatus.COMPLETE:
        tail = log.read_text(errors="replace").splitlines()[-5:]
        raise RunError(
            f"i-PI ended with status {status}; its log {log} ends with:\n" + "\n".join(tail), status
        )
    return input_file.parent


def run_in_this_process(
    input_file: str | Path, *, timeout: float = 600.0, grace: float | None = None
) -> Outcome:
    """Run or continue an i-PI simulation in this process, which must be there for it alone.

    i-PI takes over the signals of the process, and its current folder becomes that of the
    input. If threads of i-PI cannot be ended, the process ends with the exit status that
    says why.

    Parameters
    ----------
    input_file
        Input of i-PI.
    timeout
        Longest time without a finished step [s].
    grace
        Longest time to write RESTART and to end, after a failure [s]; by default `timeout`,
        but at most half a minute.

    Raises
    ------
    InputError
        The input cannot be used, or the folder holds a run of another input.
    """
    try:
        from eqcalc.ipi.engine import Engine
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "ipi":
            raise InputError("i-PI is not installed: pip install 'eqcalc[ipi]'") from None
        raise

    path = Path(input_file).resolve()
    description = Description.read(path)
    os.chdir(path.parent)
    with exclusive(path.parent / (description.prefix or "i-pi")):
        record = Record(path.parent / f"{description.prefix}.run.json", description)
        record.check()
        start, notes = _start(path, description)
        for note in notes:
            print(f"eqcalc ipi: {note}", flush=True)
        if start is not None and start.step >= description.total_steps:
            return Outcome(
                ExitStatus.COMPLETE,
                f"all {description.total_steps} steps are done; raise <total_steps> to go on",
                start.step,
                description.total_steps,
            )
        for interface in description.sockets():
            if interface.path is not None:
                remove_stale(interface.path)
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


def _start(path: Path, description: Description) -> tuple[Checkpoint | None, list[str]]:
    """Return where to go on, None at the beginning, and what the user should know."""
    if description.is_checkpoint:
        start: Checkpoint | None = Checkpoint(path, description)
        notes = []
    else:
        found, broken = find_checkpoints(path.parent, description)
        notes = [f"ignored: {text}" for text in broken]
        start = found[0] if found else None
    if start is None or start.step == 0:
        return None, notes
    for name in end_half_records(path.parent, description):
        notes.append(f"{name}: removed a record that was cut off")
    notes.append(f"going on from step {start.step} in {start.path.name}")
    return start, notes


def end_half_records(folder: Path, description: Description) -> list[str]:
    """Remove the last line of each output if it was never finished; return the files.

    i-PI would append to it.
    """
    changed = []
    prefix = f"{description.prefix}." if description.prefix else ""
    for output in description.outputs():
        if output.kind == "checkpoint":
            continue
        for path in sorted(folder.glob(f"*{prefix}{output.filename}*")):
            if path.name.startswith("#") or not path.is_file():
                continue
            data = path.read_bytes()
            if data and not data.endswith(b"\n"):
                with path.open("r+b") as file:
                    file.truncate(data.rfind(b"\n") + 1)
                changed.append(path.name)
    return changed


def remove_stale(path: Path) -> None:
    """Remove the file of a unix socket on which nobody listens.

    Raises
    ------
    InputError
        Somebody does.
    """
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise InputError(f"{path}: {error}; choose another <address>") from None
    raise InputError(f"another i-PI listens at {path}; choose another <address>")


@dataclass(frozen=True)
class Record:
    """What was run in a folder, kept beside the outputs.

    Parameters
    ----------
    path
        The file.
    description
        The input that is to be run.
    """

    path: Path
    description: Description

    def check(self) -> None:
        """Check that the folder does not hold a run of another input.

        Raises
        ------
        InputError
            It does.
        """
        stored = self._stored()
        if stored is None or self.description.is_checkpoint:
            return
        if stored["input"] != self.description.physics():
            raise InputError(
                f"{self.path.parent} holds a run of another input than {self.description.source}; "
                "only <total_steps> may change. Use a new folder, or the old input"
            )

    def check_models(self, provenance: dict[str, Any]) -> None:
        """Check that the models are those with which the run was started.

        Raises
        ------
        InputError
            They are not.
        """
        stored = self._stored()
        for name, now in provenance.items():
            before = {} if stored is None else stored["provenance"].get(name, {})
            if before and before.get("model") != now.get("model"):
                raise InputError(
                    f"the force field {name!r} had the model {before.get('model')} when the run "
                    f"was started, and now has {now.get('model')}"
                )

    def reference(self) -> dict[str, Any] | None:
        """Return what the limits of the dynamics compare with, None at the beginning."""
        stored = self._stored()
        return None if stored is None else stored["reference"]

    def write(self, provenance: dict[str, Any], reference: dict[str, Any]) -> None:
        """Write the record, unless there is one."""
        if self._stored() is None:
            content = {
                "input": self.description.physics(),
                "provenance": provenance,
                "reference": reference,
            }
            write_atomically(self.path, json.dumps(content, indent=1).encode())

    def _stored(self) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        try:
            content = json.loads(self.path.read_text())
            return {
                "input": content["input"],
                "provenance": content["provenance"],
                "reference": content.get("reference"),
            }
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.path} is damaged ({error}); remove it") from None
