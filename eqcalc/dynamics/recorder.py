# SPDX-License-Identifier: MIT
"""Records observables and writes checkpoints during a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from eqcalc.dynamics.checkpoint import Checkpoint, CheckpointError
from eqcalc.dynamics.observables import Observable, System, with_rates
from eqcalc.dynamics.stability import StabilityMonitor
from eqcalc.dynamics.state import State
from eqcalc.interruption import StopRequest
from eqcalc.trajectory import Trajectory, TrajectoryWriter

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator


#: Memory for buffered frames [bytes].
_BUFFER = 4_000_000
#: Seconds after which frames are written for readers of a running simulation.
_VISIBLE_AFTER = 1.0


class Recorder:
    """Writes frames of observables, and checkpoints every `interval` seconds and on `request`."""

    def __init__(
        self,
        writer: TrajectoryWriter,
        evaluator: Evaluator,
        strides: Mapping[Observable, int],
        checkpoint: Path,
        interval: float,
        settings: dict[str, Any],
        request: StopRequest,
    ) -> None:
        self.writer = writer
        self.evaluator = evaluator
        self.strides = dict(strides)
        self.path = checkpoint
        self.interval = interval
        self.settings = settings
        self.request = request
        self.frames: dict[str, list[Tensor]] = {o.name: [] for o in self.strides}
        self.waiting = 0
        self.last = self.flushed = self.began = time.monotonic()
        #: Wall time of earlier calls [s].
        self.earlier = Trajectory.open(writer.path).wall_time or 0.0

    def due(self, step: int) -> list[Observable]:
        """Return the observables recorded at `step`; none while equilibrating."""
        if step < 0:
            return []
        return [observable for observable, stride in self.strides.items() if step % stride == 0]

    def evaluated(self, step: int) -> list[str]:
        """Return the quantities required from the evaluator at `step`."""
        return [o.evaluated for o in self.due(step) if o.evaluated is not None]

    def record(self, state: State, system: System) -> None:
        """Record the observables that are due."""
        due = self.due(state.step)
        rates = [observable.rate for observable in due if observable.rate is not None]
        state = with_rates(state, system, self.evaluator, rates)
        for observable in due:
            values = observable.estimate(state, system).detach()
            self.frames[observable.name].append(values)  # stays on its device until written
            self.waiting += values.numel() * values.element_size()
        if self.waiting > _BUFFER:
            self.flush()

    def checkpoint_if_due(self, state: State, monitor: StabilityMonitor) -> None:
        """Write a checkpoint if due, or else buffered frames if due; stop on request."""
        now = time.monotonic()
        if self.request or now - self.last >= self.interval:
            self.checkpoint(state, monitor)
            self.request.obey()
        elif now - self.flushed >= _VISIBLE_AFTER:
            self.flush()

    def checkpoint(self, state: State, monitor: StabilityMonitor) -> None:
        """Write the frames, then the checkpoint that refers to them.

        Raises
        ------
        TrajectoryError, CheckpointError
            The disk is full or read-only. Earlier frames remain readable.
        """
        self.flush(sync=True)
        frames = dict(self.writer.frames)
        self.save(Checkpoint(state, frames, monitor.reference(), self.settings))

    def flush(self, *, sync: bool = False) -> None:
        """Write buffered frames to the file, and with `sync` to disk."""
        for name, frames in self.frames.items():
            if frames:
                self.writer.write(name, torch.stack(frames, dim=1).cpu().numpy())
                self.frames[name] = []
        if self.waiting:
            self.writer.write_wall_time(self.earlier + time.monotonic() - self.began)
        self.waiting = 0
        if sync:
            self.writer.sync()
        self.flushed = time.monotonic()

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the stored checkpoint."""
        try:
            checkpoint.write(self.path)
        except OSError as error:
            raise CheckpointError(
                f"cannot be written ({error.strerror or error})",
                file=self.path,
                advice=f"{self.writer.path} up to step {checkpoint.state.step} is readable",
            ) from error
        self.last = time.monotonic()
