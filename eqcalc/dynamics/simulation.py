# SPDX-License-Identifier: MIT
"""Run a simulation and write its trajectory."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike
from torch import Tensor

from eqcalc.dynamics.checkpoint import (
    Checkpoint,
    SettingsError,
    checkpoint_path,
    require_same_settings,
)
from eqcalc.dynamics.cuda_step import stepper
from eqcalc.dynamics.initial import InitialConditions, MaxwellBoltzmann
from eqcalc.dynamics.methods import Method, as_method
from eqcalc.dynamics.noise import GaussianNoise
from eqcalc.dynamics.observables import (
    Observable,
    System,
    default_observables,
    require_evaluated,
    strides_of,
    with_rates,
)
from eqcalc.dynamics.setup import (
    Equilibration,
    Setup,
    cell_of,
    common_masses,
    common_numbers,
)
from eqcalc.dynamics.stability import StabilityLimits, StabilityMonitor, UnstableDynamicsError
from eqcalc.dynamics.state import State
from eqcalc.files import exclusive, make_folder
from eqcalc.interruption import StopRequest, stopping
from eqcalc.models.corrected import require_potential
from eqcalc.progress import progress_bar
from eqcalc.trajectory import Trajectory, TrajectoryWriter
from eqcalc.validation import InvalidFileError, InvalidInputError, count, non_negative, positive

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator

#: Steps between the more expensive checks of the dynamics.
_CHECK_EVERY = 10


def simulate(
    structures: Atoms | Sequence[Atoms],
    evaluator: Evaluator,
    *,
    output: str | Path,
    method: str | Method,
    temperature: float,
    timestep: float,
    steps: int,
    seed: int,
    replicas: int | range = 1,
    beads: int = 1,
    masses: ArrayLike | Mapping[str, float] | None = None,
    initial: InitialConditions | None = None,
    equilibration: Equilibration | None = None,
    translation: str = "none",
    rotation: str = "thermal",
    observables: Mapping[str, int] | Sequence[str | Observable] | None = None,
    propagator: str = "cayley",
    limits: StabilityLimits | None = None,
    checkpoint_interval: float = 10.0,
    progress: bool = True,
) -> Trajectory:
    """Run molecular dynamics of many replicas of a molecule or of a cell.

    All replicas and beads are evaluated in one call per step. If `output` exists and the
    settings agree, the run is resumed from its last checkpoint, and extended if `steps` is
    larger than before; on a CPU the result is bitwise identical to that of an uninterrupted
    run. Nothing is ever overwritten.

    Parameters
    ----------
    structures
        Initial structure, or several conformers with the same order of atoms; replica r
        starts from structure r modulo their number. Periodic structures have the cell of the
        evaluator, which changes at constant pressure only, for each replica on its own; their
        atoms are not wrapped into it.
    evaluator
        Predicts energy and forces, and all recorded quantities. The dynamics runs on its
        device.
    output
        Trajectory file (HDF5); the checkpoint is written to the same folder.
    method
        Name of a method of :mod:`eqcalc.methods`, such as ``"NVE"`` or ``"T-RPMD"``, or a
        :class:`~eqcalc.dynamics.Method` with parameters.
    temperature
        [K].
    timestep
        [fs].
    steps
        Length of the production run.
    seed
        Random seed. The random numbers of a replica do not depend on the other replicas.
    replicas
        Number of independent copies; or a range of consecutive ones of a larger run, which are
        simulated as in that (:mod:`eqcalc.dynamics.shards`).
    beads
        Beads of each ring polymer; 1 for classical nuclei.
    masses
        Masses [amu], one for each atom, or isotopes of an element or of one atom by its
        index from zero: ``{"H": 2.014}``, ``{"3": 2.014}``. By default those of the
        structures.
    initial
        Initial conditions; by default Maxwell–Boltzmann momenta at the structures.
    equilibration
        Equilibration before the production run.
    translation
        ``"none"``: the total momentum is zero and not thermostatted. ``"thermal"``: it is
        treated like other degrees of freedom.
    rotation
        ``"thermal"``, or ``"none"``: production starts without angular momentum (of the
        centroid), for a spectrum without rotational structure. Only for methods that do
        not excite rotation, such as NVE and, approximately, RPMD.
    observables
        Steps between frames by name; or names or observables, recorded at their default
        intervals. Names are those of :data:`~eqcalc.dynamics.OBSERVABLES`, of quantities
        that the evaluator predicts, and ``"package.module:NAME"``. By default
        :func:`~eqcalc.dynamics.default_observables`.
    propagator
        Propagator of the free ring polymer, ``"cayley"`` or ``"exact"``.
    limits
        Limits beyond which an unstable simulation is stopped.
    checkpoint_interval
        Wall time between checkpoints [s].
    progress
        Show the progress: a bar, or without a terminal a few lines.

    Returns
    -------
    Trajectory
        The complete trajectory.

    Raises
    ------
    InvalidInputError
        An argument is invalid; the attributes say which.
    SettingsError
        `output` was started with different settings.
    BlockingIOError
        Another process is writing `output`.
    KeyboardInterrupt, Stopped
        After SIGINT or SIGTERM and a checkpoint; the same call resumes.
    UnstableDynamicsError
        The dynamics became unstable. Earlier frames are in the trajectory, the offending
        structure in ``<output>.failed.extxyz``.

    Notes
    -----
    File size (8 bytes per number): by default dipole and polarizability every fs take 96 kB per
    ps and replica for any number of beads, positions of 9 atoms every fs 216 kB, and velocities
    every 10 fs 22 kB. Positions of 64 beads take 1.4 MB every 10 fs. Memory: about ten arrays of
    the size of the positions (24 bytes per replica, bead and atom), at most 4 MB of frames, and
    the noise of a few steps.
    """
    output = Path(output)
    if not hasattr(evaluator, "numbers"):
        raise InvalidInputError(
            key="evaluator",
            value=type(evaluator).__name__,
            expected="an evaluator, such as eqcalc.runtime.evaluator_for("
            "eqcalc.load_model(path), atoms.numbers)",
        )
    starts = [structures] if isinstance(structures, Atoms) else list(structures)
    numbers = common_numbers(starts, evaluator)
    if observables is None:
        observables = default_observables(timestep, evaluator.quantities, method)
    numbered = replicas if isinstance(replicas, range) else range(count("replicas", replicas))
    if numbered.step != 1 or numbered.start < 0:
        raise InvalidInputError(
            key="replicas", value=replicas, expected="a number, or range(first, end) from 0 on"
        )
    setup = Setup(
        numbers=numbers,
        masses=common_masses(starts, masses),
        structures=torch.from_numpy(np.stack([atoms.positions for atoms in starts])),
        cell=cell_of(evaluator),
        provenance=evaluator.provenance,
        method=as_method(method),
        temperature=positive("temperature", temperature, unit="K"),
        timestep=positive("timestep", timestep, unit="fs"),
        seed=count("seed", seed, least=0),
        replicas=count("replicas", len(numbered)),
        beads=count("beads", beads),
        initial=MaxwellBoltzmann() if initial is None else initial,
        equilibration=equilibration,
        translation=translation,
        rotation=rotation,
        observables=strides_of(observables, timestep),
        propagator=propagator,
        first=numbered.start,
    )
    require_evaluated(setup.observables, evaluator, setup.method.row)
    require_potential(
        setup.method.row,
        evaluator.provenance,
        setup.temperature,
        setup.numbers.tolist(),
        setup.masses.tolist(),
    )
    steps = count("steps", steps)
    run = _Run(setup, evaluator, StabilityLimits() if limits is None else limits)
    make_folder(output.parent)
    interval = non_negative("checkpoint_interval", checkpoint_interval, unit="s")
    with exclusive(output.with_name(f".{output.name}.lock")), stopping() as request:
        run.execute(output, steps, interval, progress, request)
    return Trajectory.open(output)


@dataclass(frozen=True)
class _Run:
    """A run in progress: equilibration at negative steps, production from step 0."""

    setup: Setup
    evaluator: Evaluator
    limits: StabilityLimits

    @property
    def device(self) -> torch.device:
        """Device of positions and momenta, that of the evaluator."""
        return self.evaluator.numbers.device

    def execute(
        self,
        output: Path,
        steps: int,
        checkpoint_interval: float,
        progress: bool,
        request: StopRequest,
    ) -> None:
        """Start or resume the run until `steps`."""
        setup, settings = self.setup, self.setup.settings()
        stored = _stored(output, settings)
        writer = self._writer(output, steps, {} if stored is None else stored.frames)
        path = checkpoint_path(output)
        recorder = Recorder(
            *(writer, self.evaluator, setup.observables, path, checkpoint_interval, settings),
            request,
        )
        if stored is None:  # a checkpoint exists before there is any frame
            stored = Checkpoint(setup.first_state(), {}, {}, settings)
            recorder.save(stored)
        state = stored.state
        bar = progress_bar(
            total=setup.warm_up_steps + steps,
            initial=setup.warm_up_steps + state.step,
            desc=self._title(),
            unit="steps",
            shown=progress and state.step < steps,
        )
        try:
            self._phases(state.to(self.device), stored.reference, steps, recorder, bar)
        except UnstableDynamicsError as error:
            recorder.flush(sync=True)
            raise self._failed(error, output) from error
        finally:
            bar.close()
            writer.close()

    def _writer(self, output: Path, steps: int, frames: Mapping[str, int]) -> TrajectoryWriter:
        """Return the writer of a new, resumed or extended trajectory."""
        header, layouts = self.setup.header(steps), self.setup.layouts()
        if not output.exists():
            return TrajectoryWriter.create(output, header, layouts)
        laid_out = Trajectory.open(output).header.steps
        if steps < laid_out:
            raise SettingsError(output, {"steps": (laid_out, steps)})
        if steps > laid_out:
            return TrajectoryWriter.extend(output, header, layouts, frames)
        return TrajectoryWriter(output, frames)

    def _phases(
        self,
        state: State,
        reference: dict[str, Tensor],
        steps: int,
        recorder: Recorder,
        bar: Any,
    ) -> None:
        """Run equilibration and production; `reference` is that of a resumed run."""
        setup = self.setup
        if state.step < 0 and setup.warm_up is not None:
            system, monitor = self._system(setup.warm_up)
            if reference:
                monitor.restore(reference)
                reference = {}
            else:
                state = self._evaluated(state, system)
                monitor.start(state)
            state = self._propagate(state, 0, system, monitor, recorder, bar)
            state = setup.production_state(state)
        system, monitor = self._system(setup.method)
        if reference:
            monitor.restore(reference)
        else:
            state = self._evaluated(state, system, self._quantities(recorder.evaluated(0)))
            monitor.check_step(state)
            monitor.start(state)
            recorder.record(state, system)
            recorder.checkpoint(state, monitor)
        state = self._propagate(state, steps, system, monitor, recorder, bar)
        recorder.checkpoint(state, monitor)

    def _propagate(
        self,
        state: State,
        until: int,
        system: System,
        monitor: StabilityMonitor,
        recorder: Recorder,
        bar: Any,
    ) -> State:
        """Take steps until the step number `until`."""
        integrator = system.integrator
        noise = None
        if integrator.thermostat is not None:
            shape = (integrator.noise_sets, *state.positions.shape[1:])
            noise = GaussianNoise(self.setup.seed, self.setup.numbered, shape, self.device)
        recording = until > 0  # equilibration ends at step 0
        always = self.device.type == "cpu"  # on a GPU, reading a number synchronises
        step = stepper(integrator, self.evaluator, noise)
        while state.step < until:
            wanted = recorder.evaluated(state.step + 1) if recording else ()
            state = step(state, self._quantities(wanted))
            if state.step % _CHECK_EVERY == 0 or state.step == until:
                monitor.check(state)
            elif always:
                monitor.check_step(state)
            bar.update()
            if recording:
                recorder.record(state, system)
            if state.step != 0:  # saved as the first state of production
                recorder.checkpoint_if_due(state, monitor)
        return state

    def _quantities(self, recorded: Collection[str]) -> set[str]:
        """Return the quantities a step requires besides energy and forces."""
        return {*recorded, *getattr(self.evaluator, "diagnostics", ())}

    def _system(self, method: Method) -> tuple[System, StabilityMonitor]:
        system = self.setup.system(method, self.device)
        setup = self.setup
        starts = setup.starts.to(self.device)
        return system, StabilityMonitor(
            self.limits, system, setup.numbers, starts, setup.temperature, setup.cell
        )

    def _evaluated(self, state: State, system: System, quantities: Collection[str] = ()) -> State:
        """Return the first state of a phase: its forces, and variables of the thermostat."""
        stressed = system.integrator.barostat is not None
        state = state.with_evaluation(self.evaluator, quantities, stressed=stressed)
        thermostat = system.integrator.thermostat
        if thermostat is None:
            return state
        generators = self.setup.generators("thermostat variables", state.step)
        return replace(state, auxiliary=thermostat.initial(state.momenta, generators))

    def _failed(self, error: UnstableDynamicsError, output: Path) -> UnstableDynamicsError:
        """Save the unstable replica, and raise the error with its path."""
        setup = self.setup
        where = output.with_name(output.name + ".failed.extxyz")
        error.write_beads(where, setup.numbers.tolist())
        elapsed = error.step * setup.timestep
        phase = "equilibration" if error.step < 0 else "production"
        return error.with_message(
            f"{phase} stopped at step {error.step} ({elapsed:g} fs), "
            f"replica {setup.first + error.replica}: {error}. The beads of this replica are in "
            f"{where}, the frames before it in {output}"
        )

    def _title(self) -> str:
        setup = self.setup
        replicas = f"{setup.replicas} replicas" if setup.replicas > 1 else "1 replica"
        beads = f" × {setup.beads} beads" if setup.beads > 1 else ""
        return f"{setup.method.name} {setup.temperature:g} K, {replicas}{beads}"


def _stored(output: Path, settings: Mapping[str, object]) -> Checkpoint | None:
    """Return the checkpoint to resume from, or None for a new run."""
    path = checkpoint_path(output)
    if not output.exists():
        if path.exists():
            raise InvalidFileError(
                f"belongs to the trajectory {output}, which is missing",
                file=path,
                advice="put it back, or remove the checkpoint to start again",
            )
        return None
    trajectory = Trajectory.open(output)
    require_same_settings(trajectory.settings, settings, output)
    if path.exists():
        checkpoint = Checkpoint.read(path)
        require_same_settings(checkpoint.settings, settings, output)
        return checkpoint
    if any(trajectory.n_frames(name) for name in trajectory.observables()):
        raise InvalidFileError(f"is missing; {output} cannot be continued without it", file=path)
    return None  # killed before the first checkpoint


# --- recording ----------------------------------------------------------------------

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
        InvalidFileError
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
            raise InvalidFileError(
                f"cannot be written ({error.strerror or error})",
                file=self.path,
                advice=f"{self.writer.path} up to step {checkpoint.state.step} is readable",
            ) from error
        self.last = time.monotonic()
