# SPDX-License-Identifier: MIT
"""Run a simulation and write its trajectory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike
from torch import Tensor
from tqdm import tqdm

from eqcalc.dynamics.checkpoint import (
    Checkpoint,
    CheckpointError,
    SettingsError,
    checkpoint_path,
    exclusive,
    require_same_settings,
)
from eqcalc.dynamics.cuda_step import stepper
from eqcalc.dynamics.initial import InitialConditions, MaxwellBoltzmann
from eqcalc.dynamics.methods import Method, method_from
from eqcalc.dynamics.noise import GaussianNoise
from eqcalc.dynamics.observables import System, check_given, default_observables
from eqcalc.dynamics.recorder import Recorder
from eqcalc.dynamics.setup import (
    Equilibration,
    Setup,
    as_count,
    atomic_masses,
    common_numbers,
)
from eqcalc.dynamics.stability import Limits, UnstableDynamicsError, Watch
from eqcalc.dynamics.state import State
from eqcalc.files import make_folder
from eqcalc.trajectory import Trajectory, TrajectoryWriter

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
    replicas: int = 1,
    beads: int = 1,
    masses: ArrayLike | Mapping[str, float] | None = None,
    initial: InitialConditions | None = None,
    equilibration: Equilibration | None = None,
    translation: str = "none",
    rotation: str = "thermal",
    observables: Mapping[str, int] | None = None,
    propagator: str = "cayley",
    limits: Limits | None = None,
    checkpoint_interval: float = 10.0,
    progress: bool = True,
) -> Trajectory:
    """Run molecular dynamics of many replicas of one molecule.

    All replicas and beads are evaluated in one call per step. A run whose `output` exists
    is continued from its last checkpoint if the settings agree, and is extended if
    `steps` is larger than before; on a CPU the result is bitwise that of a run that was
    never interrupted. Nothing is ever overwritten.

    Parameters
    ----------
    structures
        One starting structure, or several conformers of the same molecule with the same
        order of atoms; replica r starts from structure r modulo their number.
    evaluator
        The potential, and the dipole and polarizability if they are recorded. The
        dynamics is propagated on its device.
    output
        The trajectory, an HDF5 file. The checkpoint is beside it.
    method
        Classical: ``"NVE"``, ``"Langevin"``, ``"SVR"``, ``"NHC"``. Ring polymers:
        ``"RPMD"``, ``"T-RPMD"``, ``"PA-CMD"``, ``"PILE-L"``, ``"PILE-G"``. Or one of the classes of
        :mod:`eqcalc.dynamics.methods` with parameters of your own.
    temperature
        [K].
    timestep
        [fs].
    steps
        Length of the production run.
    seed
        Of all random numbers. Replica r draws the same numbers whatever runs beside it.
    replicas
        Number of independent copies.
    beads
        Beads of each ring polymer; 1 for classical nuclei.
    masses
        Masses [amu], one for each atom, or isotopes of an element or of one atom by its
        index from zero: ``{"H": 2.014}``, ``{"3": 2.014}``. Others are those of the first
        structure.
    initial
        Initial conditions; by default Maxwell–Boltzmann momenta at the structures.
    equilibration
        What to do before the production run.
    translation
        ``"none"``: the total momentum is zero and no thermostat touches it.
        ``"thermal"``: it is a degree of freedom like others.
    rotation
        ``"thermal"``, or ``"none"``: production starts without angular momentum (of the
        centroid), for a spectrum without rotational structure. Only for methods that do
        not set it into rotation again, such as NVE and, nearly, RPMD.
    observables
        Strides in steps of what is recorded, by name; see
        :data:`~eqcalc.dynamics.observables.OBSERVABLES` and
        :func:`~eqcalc.dynamics.observables.default_observables`.
    propagator
        Of the free ring polymer, ``"cayley"`` or ``"exact"``.
    limits
        When to stop a simulation that has gone wrong.
    checkpoint_interval
        Seconds of wall time between checkpoints, the most that a kill can cost.
    progress
        Show a progress bar.

    Returns
    -------
    Trajectory
        The complete trajectory.

    Raises
    ------
    ValueError
        An argument makes no sense; the message says which.
    SettingsError
        `output` was started with different settings.
    UnstableDynamicsError
        The dynamics went wrong. The frames up to then are in the trajectory, the offending
        structure is in ``<output>.failed.extxyz``.

    Notes
    -----
    A number takes 8 bytes in the file: dipole and polarizability every fs are 96 kB per ps
    and replica whatever the number of beads, positions and velocities of 9 atoms every
    10 fs another 43 kB, all of 64 beads 1.4 MB. In memory the dynamics holds some ten
    arrays of the size of the positions (24 bytes per replica, bead and atom), at most
    4 MB of frames, and the noise of one or some steps.
    """
    output = Path(output)
    if not hasattr(evaluator, "numbers"):
        raise TypeError(
            "evaluator: expected an evaluator, such as eqcalc.runtime.evaluator_for("
            f"eqcalc.load_model(path), atoms.numbers), got {type(evaluator).__name__}"
        )
    starts = [structures] if isinstance(structures, Atoms) else list(structures)
    numbers = common_numbers(starts, evaluator)
    if observables is None:
        observables = default_observables(timestep, evaluator.quantities)
    setup = Setup(
        numbers=numbers,
        masses=atomic_masses(starts[0], masses),
        structures=torch.from_numpy(np.stack([atoms.get_positions() for atoms in starts])),
        provenance=evaluator.provenance,
        method=method_from(method),
        temperature=float(temperature),
        timestep=float(timestep),
        seed=as_count("seed", seed, least=0),
        replicas=as_count("replicas", replicas),
        beads=as_count("beads", beads),
        initial=MaxwellBoltzmann() if initial is None else initial,
        equilibration=equilibration,
        translation=translation,
        rotation=rotation,
        observables=dict(observables),
        propagator=propagator,
    )
    check_given(setup.observables, evaluator.quantities)
    steps = as_count("steps", steps)
    run = _Run(setup, evaluator, Limits() if limits is None else limits)
    try:
        make_folder(output.parent)
    except OSError as error:
        raise CheckpointError(str(error)) from None
    with exclusive(output):
        run.execute(output, steps, checkpoint_interval, progress)
    return Trajectory.open(output)


@dataclass(frozen=True)
class _Run:
    """A run in progress: equilibration at negative steps, production from step 0."""

    setup: Setup
    evaluator: Evaluator
    limits: Limits

    @property
    def device(self) -> torch.device:
        """Where positions and momenta live: with the evaluator."""
        return self.evaluator.numbers.device

    def execute(self, output: Path, steps: int, checkpoint_interval: float, progress: bool) -> None:
        """Start or continue the run until `steps`."""
        setup, settings = self.setup, self.setup.settings()
        stored = _stored(output, settings)
        writer = self._writer(output, steps, {} if stored is None else stored.frames)
        path = checkpoint_path(output)
        recorder = Recorder(
            writer, self.evaluator, setup.observables, path, checkpoint_interval, settings
        )
        if stored is None:  # a checkpoint exists before there is any frame
            stored = Checkpoint(setup.first_state(), {}, {}, settings)
            recorder.save(stored)
        state = stored.state
        bar = tqdm(
            total=setup.warm_up_steps + steps,
            initial=setup.warm_up_steps + state.step,
            desc=self._title(),
            unit="step",
            disable=not progress or state.step == steps,
        )
        try:
            self._phases(
                _on(state, self.device),
                stored.reference or None,
                steps,
                recorder,
                bar,
            )
        except UnstableDynamicsError as error:
            recorder.flush(sync=True)
            raise self._failed(error, output) from error
        finally:
            bar.close()
            writer.close()

    def _writer(self, output: Path, steps: int, frames: Mapping[str, int]) -> TrajectoryWriter:
        """Return the writer of a new, a continued or an extended trajectory."""
        header, layouts = self.setup.header(steps), self.setup.layouts()
        if not output.exists():
            return TrajectoryWriter.create(output, header, layouts)
        laid_out = Trajectory.open(output).header.steps
        if steps < laid_out:
            raise SettingsError(
                f"{output} was started with {laid_out} steps, more than the {steps} asked for; a "
                "run can be extended but not shortened"
            )
        if steps > laid_out:
            return TrajectoryWriter.extend(output, header, layouts, frames)
        return TrajectoryWriter(output, frames)

    def _phases(
        self,
        state: State,
        reference: dict[str, Tensor] | None,
        steps: int,
        recorder: Recorder,
        bar: tqdm,
    ) -> None:
        """Go through equilibration and production, from wherever `state` is.

        `reference` is that of the stability checks of a run that goes on.
        """
        setup = self.setup
        if state.step < 0 and setup.warm_up is not None:
            system, watch = self._system(setup.warm_up)
            if reference is None:
                state = self._with_thermostat(state.with_evaluation(self.evaluator), system)
                watch.start(state)
            else:
                watch.restore(reference)
                reference = None
            state = self._propagate(state, 0, system, watch, recorder, bar)
            state = setup.production_state(state)
        system, watch = self._system(setup.method)
        if reference is None:
            wanted = self._quantities(recorder.evaluated(0))
            state = state.with_evaluation(self.evaluator, wanted)
            state = self._with_thermostat(state, system)
            watch.check_step(state)
            watch.start(state)
            recorder.record(state, system)
            recorder.checkpoint(state, watch)
        else:
            watch.restore(reference)
        state = self._propagate(state, steps, system, watch, recorder, bar)
        recorder.checkpoint(state, watch)

    def _propagate(
        self,
        state: State,
        until: int,
        system: System,
        watch: Watch,
        recorder: Recorder,
        bar: tqdm,
    ) -> State:
        """Take steps until the step number `until`."""
        integrator, thermostat = system.integrator, system.integrator.thermostat
        noise = None
        if thermostat is not None:
            shape = (thermostat.noise_sets, *state.positions.shape[1:])
            noise = GaussianNoise(self.setup.seed, range(state.n_replicas), shape, self.device)
        recording = until > 0  # equilibration ends at step 0
        always = self.device.type == "cpu"  # elsewhere looking at a number stalls the device
        step = stepper(integrator, self.evaluator, noise)
        while state.step < until:
            wanted = recorder.evaluated(state.step + 1) if recording else ()
            state = step(state, self._quantities(wanted))
            if state.step % _CHECK_EVERY == 0 or state.step == until:
                watch.check(state)
            elif always:
                watch.check_step(state)
            bar.update()
            if recording:
                recorder.record(state, system)
            if state.step != 0:  # saved as the first state of production
                recorder.checkpoint_if_due(state, watch)
        return state

    def _quantities(self, recorded: Collection[str]) -> set[str]:
        """Return what a step asks of the evaluator besides energy and forces."""
        return {*recorded, *getattr(self.evaluator, "diagnostics", ())}

    def _system(self, method: Method) -> tuple[System, Watch]:
        system = self.setup.system(method, self.device)
        starts = self.setup.starts.to(self.device)
        return system, Watch(
            self.limits, system, self.setup.numbers, starts, self.setup.temperature
        )

    def _with_thermostat(self, state: State, system: System) -> State:
        """Return the state with the extra variables of the thermostat."""
        thermostat = system.integrator.thermostat
        if thermostat is None:
            return state
        generators = self.setup.generators("thermostat variables", state.step)
        return replace(state, auxiliary=thermostat.initial(state.momenta, generators))

    def _failed(self, error: UnstableDynamicsError, output: Path) -> UnstableDynamicsError:
        """Save the replica that went wrong and say where."""
        where = output.with_name(output.name + ".failed.extxyz")
        numbers = self.setup.numbers.numpy()
        beads = [Atoms(numbers, positions=bead.cpu().numpy()) for bead in error.positions]
        ase.io.write(where, beads, format="extxyz")
        elapsed = error.step * self.setup.timestep
        phase = "equilibration" if error.step < 0 else "production"
        return UnstableDynamicsError(
            f"{phase} stopped at step {error.step} ({elapsed:g} fs), replica {error.replica}: "
            f"{error}. The beads of this replica are in {where}, the frames before it in {output}",
            error.replica,
            error.step,
            error.positions,
        )

    def _title(self) -> str:
        setup = self.setup
        beads = f" × {setup.beads} beads" if setup.beads > 1 else ""
        return f"{setup.method.name} {setup.temperature:g} K, {setup.replicas} replicas{beads}"


def _stored(output: Path, settings: Mapping[str, object]) -> Checkpoint | None:
    """Return the checkpoint to continue from, or None to start."""
    path = checkpoint_path(output)
    if not output.exists():
        if path.exists():
            raise CheckpointError(
                f"{path} belongs to a trajectory {output} that is not there; put it back, or "
                "remove the checkpoint to start again"
            )
        return None
    trajectory = Trajectory.open(output)
    require_same_settings(trajectory.settings, settings, output)
    if path.exists():
        checkpoint = Checkpoint.read(path)
        require_same_settings(checkpoint.settings, settings, output)
        return checkpoint
    if any(trajectory.n_frames(name) for name in trajectory.observables()):
        raise CheckpointError(
            f"{output} cannot be continued because its checkpoint {path} is missing"
        )
    return None  # killed before the first checkpoint


def _on(state: State, device: torch.device) -> State:
    """Return the state on `device`."""
    return replace(
        state,
        positions=state.positions.to(device),
        momenta=state.momenta.to(device),
        forces=state.forces.to(device),
        potential_energies=state.potential_energies.to(device),
        heat=state.heat.to(device),
        auxiliary=state.auxiliary.to(device),
    )
