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

__all__ = ["make_durable", "write_checkpoint"]


def make_durable(simulation: Any, written: Callable[[int], None]) -> None:
    """Change how a simulation writes its outputs.

    Parameters
    ----------
    simulation
        A bound i-PI simulation.
    written
        Called with the number of the step when all outputs of a step are written.
    """
    checkpoints = [o for o in simulation.outputs if isinstance(o, CheckpointOutput)]
    others = [o for o in simulation.outputs if not isinstance(o, CheckpointOutput)]

    def write_outputs() -> None:
        # an output that cannot be written ends the step, which is then done again; i-PI would
        # go on without it
        writers = [output.write for output in others if output.active()]
        if simulation.threading:  # systems fill a batch of the response together
            pending = [simulation.executor.submit(write) for write in writers]
            for future in pending:
                future.result()
        else:
            for write in writers:
                write()
        # numbered ones first, so that the others know the next number
        due = sorted((c for c in checkpoints if c.active()), key=lambda c: bool(c.overwrite))
        if due:
            for output in others:
                _to_disk(output)
        for checkpoint in due:
            write_checkpoint(checkpoint)
        written(int(simulation.step) + 1)

    simulation.write_outputs = write_outputs
    # RESTART, which i-PI writes at the end
    simulation.chk.write = lambda store=True: write_checkpoint(simulation.chk, store=store)


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


def _to_disk(output: Any) -> None:
    for stream in _streams(output.out):
        stream.flush()
        os.fsync(stream.fileno())


def _streams(out: Any) -> Iterator[Any]:
    """Return the open files of an output: none, one, or one for each bead."""
    yield from (
        stream for stream in (out if isinstance(out, list) else [out]) if stream is not None
    )
