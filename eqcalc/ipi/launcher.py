# SPDX-License-Identifier: MIT
"""Run i-PI in a process of its own, with timeouts, exit statuses and resumption.

Can be imported without i-PI, unlike :mod:`eqcalc.ipi.engine`.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from eqcalc.files import appending, write_record
from eqcalc.interruption import INTERRUPTED, STOPPED
from eqcalc.ipi.description import Description, InputError, find_checkpoints


class ExitStatus(IntEnum):
    """Exit statuses of ``eqcalc ipi run``; those above 60 as in sysexits.h."""

    COMPLETE = 0
    #: No client answered.
    NO_CLIENT = 69
    #: The potential failed, a step took too long, or an output could not be written.
    FAILED = 70
    #: Stopped on request, by SIGTERM or a file EXIT, or by SIGINT; the same command resumes.
    STOPPED = STOPPED
    INTERRUPTED = INTERRUPTED


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: ExitStatus
    message: str


class RunError(RuntimeError):
    """An i-PI run did not finish; has its exit status and log file."""

    def __init__(self, status: int, log: Path) -> None:
        super().__init__(status, log)
        self.status = status
        self.log = log

    def __str__(self) -> str:
        try:
            tail = self.log.read_text(errors="replace").splitlines()[-5:]
        except OSError:
            tail = []
        return "\n".join([f"i-PI ended with status {self.status}; its log {self.log} ends:", *tail])


def run(
    input_file: str | Path,
    *,
    timeout: float = 600.0,
    threads: int = 1,
    log: str | Path | None = None,
) -> Path:
    """Run or resume an i-PI simulation in a process of its own.

    The same as the command ``eqcalc ipi run``.

    Parameters
    ----------
    input_file
        i-PI input. Outputs are written to its folder; an interrupted run is resumed.
    timeout
        Timeout of a step [s].
    threads
        CPU threads of the network.
    log
        Log file of i-PI, appended to; by default ``<input>.log``.

    Returns
    -------
    Path
        The folder of the run, for :func:`eqcalc.read_run`.

    Raises
    ------
    RunError
        The run did not finish; the message contains the last lines of the log.
    """
    input_file = Path(input_file).resolve()
    log = input_file.with_suffix(".log") if log is None else Path(log)
    command = [sys.executable, "-m", "eqcalc", "ipi", "run", str(input_file)]
    command += ["--timeout", str(timeout), "--threads", str(threads)]
    with appending(log) as stream:
        status = subprocess.run(
            command, stdout=stream, stderr=subprocess.STDOUT, check=False
        ).returncode
    if status != ExitStatus.COMPLETE:
        raise RunError(status, log)
    return input_file.parent


def exit_now(status: int) -> None:
    """Exit this process without waiting for its threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


# --- the folder of a run --------------------------------------------------------------


def where_to_start(description: Description) -> tuple[Description | None, list[str]]:
    """Return the checkpoint to continue from, None at the beginning, and notes for the user.

    The description is that of the input, or of a checkpoint to continue from; outputs are beside
    it. A last record that was cut off is removed, for i-PI would append to it.

    Raises
    ------
    InputError
        An output is a link, a pipe or a device, into which i-PI would write.
    """
    if description.is_checkpoint:
        start: Description | None = description
        notes = []
    else:
        found, broken = find_checkpoints(description)
        notes = [f"ignored: {error}" for error in broken]
        start = found[0] if found else None
    outputs = _present_outputs(description)
    if start is None or start.step == 0:
        return None, notes
    notes += [
        f"{output.name}: removed a record that was cut off"
        for output in outputs
        if _end_half_record(output)
    ]
    return start, [*notes, f"resuming from step {start.step} in {start.file.name}"]


def _present_outputs(description: Description) -> list[Path]:
    """Return the files of outputs, of all systems and beads, that are there already."""
    found = set()
    for output in description.outputs():
        if output.kind != "checkpoint":
            pattern = f"*{description.file_prefix}{output.filename}*"
            found |= set(description.file.parent.glob(pattern))
    files = []
    for path in sorted(path for path in found if not path.name.startswith("#")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            files.append(path)
        elif not stat.S_ISDIR(mode):
            raise InputError(
                "is a link, a pipe or a device, and has the name of an output",
                file=path,
                advice="remove it, or choose another <output prefix>",
            )
    return files


def _end_half_record(path: Path) -> bool:
    """Remove an incomplete last line of an output; return whether there was one."""
    data = path.read_bytes()
    if not data or data.endswith(b"\n"):
        return False
    os.truncate(path, data.rfind(b"\n") + 1)
    return True


def remove_stale(path: Path) -> None:
    """Remove a unix socket on which nobody listens.

    Raises
    ------
    InputError
        Somebody does, or the path is something else, which is never removed.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise InputError(
                "is not a socket and is never removed",
                key="address",
                value=str(path),
                advice="choose another <address> or sockets_prefix",
            )
    except FileNotFoundError:
        return
    reason = "another i-PI listens there"
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            reason = str(error)
    raise InputError(reason, key="address", value=str(path), advice="choose another <address>")


def require_free_port(host: str, port: int) -> None:
    """Raise InputError unless i-PI can listen at a host and port."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"i-PI cannot listen there ({error})",
            key="address, port",
            value=f"{host}:{port}",
            advice="choose another <port>, or end the process that uses it",
        ) from None


class Record:
    """Record of a run, beside its input, of which `description` is.

    InputError: the stored record cannot be read.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self.path = path = description.file.with_name(f"{description.prefix}.run.json")
        self._stored: dict[str, Any] | None = None
        if path.exists():
            try:
                content = json.loads(path.read_text())
                self._stored = {
                    "input": content["input"],
                    "provenance": content["provenance"],
                    "reference": content.get("reference"),
                }
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"is damaged ({type(error).__name__}: {error})", file=path, advice="remove it"
                ) from None

    @property
    def reference(self) -> dict[str, Any] | None:
        """The reference of the stability limits, None at the beginning."""
        return None if self._stored is None else self._stored["reference"]

    def check(self) -> None:
        """Check that the folder does not contain a run of another input."""
        if self._stored is None or self.description.is_checkpoint:
            return
        if self._stored["input"] != self.description.physics():
            raise InputError(
                f"{self.path.parent} holds a run of another input; only <total_steps> may change",
                file=self.description.file,
                advice="use a new folder, or the old input",
            )

    def check_models(self, provenance: dict[str, Any]) -> None:
        """Check that the models are those of the original run."""
        for name, now in provenance.items():
            before = {} if self._stored is None else self._stored["provenance"].get(name, {})
            if before and before.get("model") != now.get("model"):
                raise InputError(
                    file=self.description.file,
                    key=f"model of the force field {name!r}",
                    value=now.get("model"),
                    expected=f"{before.get('model')}, with which the run was started",
                )

    def write(self, provenance: dict[str, Any], reference: dict[str, Any]) -> None:
        """Write the record, unless there was one."""
        if self._stored is None:
            content = {
                "input": self.description.physics(),
                "provenance": provenance,
                "reference": reference,
            }
            write_record(self.path, content)
