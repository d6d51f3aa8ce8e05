# SPDX-License-Identifier: MIT
"""Checkpoints of i-PI that a kill cannot spoil, written after the outputs they belong to.

i-PI rewrites a checkpoint in place, and keeps lines of output in memory while it does:
killed at the wrong moment it leaves half a checkpoint, or one that is ahead of the outputs.
Here every step is ordered: the outputs of the step; then, if a checkpoint is due, all
outputs to the disk; then the checkpoint, under a temporary name that is exchanged at the
end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ipi.engine.outputs import CheckpointOutput, get_identification_info_xml

from eqcalc.trajectory import write_atomically


class DurableOutputs:
    """Takes over how a simulation writes its outputs.

    Parameters
    ----------
    simulation
        A bound i-PI simulation.
    written
        Called with the number of the step when all outputs of a step are written.
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
        """Write the outputs of a step.

        Raises
        ------
        OSError
            One of them cannot be written. The step then counts as not done; i-PI would go on
            without the output.
        """
        try:
            self._write_others()
            # numbered ones first, so that the others know the next number
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
        """Write RESTART, unless outputs up to its step are missing.

        Raises
        ------
        OSError
            They are; the last checkpoint is where to go on.
        """
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
                os.fsync(stream.fileno())


def write_checkpoint(checkpoint: CheckpointOutput, *, store: bool = True) -> None:
    """Write a checkpoint so that at any time either the old or the new one is there.

    Parameters
    ----------
    checkpoint
        An output of i-PI.
    store
        Take the present state; otherwise the one that was stored last.
    """
    name = (
        checkpoint.filename if checkpoint.overwrite else f"{checkpoint.filename}_{checkpoint.step}"
    )
    if store:
        checkpoint.step += 1
        checkpoint.store()
        checkpoint.status.step.store(checkpoint.simul.step + 1)
    text = f"{get_identification_info_xml()}\n{checkpoint.status.write(name='simulation')}"
    write_atomically(Path(name).absolute(), text.encode())


def _streams(out: Any) -> Iterator[Any]:
    """Return the open files of an output: none, one, or one for each bead."""
    yield from (
        stream for stream in (out if isinstance(out, list) else [out]) if stream is not None
    )
