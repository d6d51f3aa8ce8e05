# SPDX-License-Identifier: MIT
"""The validated description of a run: molecule or cell, method, ensemble, and observables."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike
from torch import Tensor

import eqcalc
from eqcalc.dynamics.checkpoint import describe
from eqcalc.dynamics.initial import (
    FromArrays,
    InitialConditions,
    MaxwellBoltzmann,
    Starts,
    degrees_of_freedom,
    remove_rotation,
    remove_translation,
)
from eqcalc.dynamics.methods import Method, as_method
from eqcalc.dynamics.noise import replica_generator
from eqcalc.dynamics.observables import Observable, System
from eqcalc.dynamics.ring_polymer import PROPAGATORS
from eqcalc.dynamics.state import State
from eqcalc.models.committee import charge_of
from eqcalc.molecules import (
    atomic_masses,
    isolated_molecule,
    periodic_cell,
    states_charge,
    total_charge,
    unconstrained,
)
from eqcalc.normal_modes import is_linear
from eqcalc.trajectory import Header, Layout
from eqcalc.validation import InvalidInputError, finite, located, one_of

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator


#: Parts of an evaluator's record that may change when a run is resumed.
_NOT_PHYSICS = ("device", "eqcalc", "model_file", "torch", "versions")

#: Arrays of the size of the positions during a step, and other memory of a replica [bytes].
_ARRAYS, _PER_REPLICA = 10, 2000

#: Setting of a part of a larger run: the number of its first replica.
FIRST_REPLICA = "first_replica"

_PLAIN_SETTINGS = (
    *("temperature", "timestep", "seed", "replicas", "beads"),
    *("translation", "rotation", "propagator"),
)


@dataclass(frozen=True)
class Equilibration:
    """A thermostatted run before the production run, which is not recorded.

    Production starts from its final positions with new Maxwell–Boltzmann momenta.

    Parameters
    ----------
    duration
        Length [fs].
    method
        A thermostatted method; by default that of the run at constant pressure, else Langevin for
        one bead and PILE-L for more.
    """

    duration: float
    method: str | Method | None = None

    def resolve(self, beads: int, production: Method | None = None) -> Method:
        """Return the equilibration method for this number of beads and method of the run.

        Raises
        ------
        InvalidInputError
            The method does not thermostat all modes, or changes the cell of a run at constant
            volume.
        """
        usual: str | Method = "Langevin" if beads == 1 else "PILE-L"
        if production is not None and production.row.constant_pressure:
            usual = production
        method = as_method(self.method or usual)
        if method.row.constant_pressure and usual is not production:
            raise InvalidInputError(
                key="equilibration.method",
                value=method.name,
                expected="a method at constant volume, like that of the run",
                advice="take the mean volume of a run at constant pressure for the structure",
            )
        if not method.row.thermostats_centroid:
            raise InvalidInputError(
                key="equilibration.method",
                value=method.name,
                expected="a method with a thermostat on all modes",
            )
        return method

    def steps(self, timestep: float) -> int:
        """Return the number of steps of `timestep` fs."""
        steps = round(self.duration / timestep)
        if steps < 1:
            raise InvalidInputError(
                key="equilibration.duration",
                value=self.duration,
                expected=f"at least one step of {timestep} fs",
            )
        return steps


@dataclass(frozen=True, eq=False)
class Setup:
    """The validated arguments of :func:`~eqcalc.dynamics.simulation.simulate`.

    Parameters
    ----------
    numbers, masses
        ``[n_atoms]``, masses in amu.
    structures
        ``[n_structures, n_atoms, 3]`` [Å].
    cell
        Cell vectors as rows, ``[3, 3]`` [Å]; None for a molecule.
    provenance
        Provenance of the evaluator.
    first
        Number of the first replica, of those of a larger run.
    others
        As in :func:`~eqcalc.dynamics.simulation.simulate`.
    """

    numbers: Tensor
    masses: Tensor
    structures: Tensor
    cell: np.ndarray | None
    provenance: dict[str, Any]
    method: Method
    temperature: float
    timestep: float
    seed: int
    replicas: int
    beads: int
    initial: InitialConditions
    equilibration: Equilibration | None
    translation: str
    rotation: str
    observables: dict[Observable, int]
    propagator: str
    first: int = 0

    def __post_init__(self) -> None:
        for name in ("translation", "rotation"):
            one_of(name, getattr(self, name), ("none", "thermal"))
        one_of("propagator", self.propagator, PROPAGATORS)
        self._check_memory()
        if self.rotation == "none" and self.method.row.excites_rotation:
            raise InvalidInputError(
                key="rotation",
                value=self.rotation,
                expected=f"'thermal' for {self.method.name}, which sets the molecule into rotation",
                advice="take the rotation out of the spectrum instead (frame='eckart')",
            )
        if self.cell is not None:
            self._check_periodic()
        else:
            self._check_isolated()
        self.method.row.checked_beads(self.beads)
        with located(section="initial"):
            self.initial.check(len(self.structures), self.replicas, self.beads, len(self.numbers))
        self.system(self.method)
        if self.warm_up is not None:
            self.system(self.warm_up)

    def _check_periodic(self) -> None:
        """Refuse what only molecules have."""
        if self.rotation == "none":
            raise InvalidInputError(
                key="rotation", value=self.rotation, expected="'thermal': a cell does not rotate"
            )
        if not isinstance(self.initial, MaxwellBoltzmann | FromArrays):
            raise InvalidInputError(
                key="initial",
                value=self.initial.settings()["name"],
                expected="Maxwell-Boltzmann momenta or given arrays for a cell",
            )

    def _check_isolated(self) -> None:
        """Refuse what only cells have."""
        if self.method.row.constant_pressure:
            raise InvalidInputError(
                key="method",
                value=self.method.name,
                expected="a method at constant volume: a molecule without a cell has no pressure",
            )
        for name in (o.name for o in self.observables if o.periodic):
            raise InvalidInputError(
                key="observables", value=name, expected="observables of a molecule without a cell"
            )

    def _check_memory(self) -> None:
        """Check that positions, momenta, noise etc. of all replicas fit into memory."""
        free = available_memory()
        each = _ARRAYS * 24 * self.beads * len(self.numbers) + _PER_REPLICA
        if free is not None and self.replicas * each > free:
            raise InvalidInputError(
                f"{self.replicas * each / 1e9:.3g} GB would be needed",
                key="replicas",
                value=self.replicas,
                expected=f"at most {int(free // each)} replicas of {self.beads} beads, for which "
                f"there is memory ({free / 1e9:.3g} GB)",
                advice="run them one after another with other seeds",
            )

    @property
    def warm_up(self) -> Method | None:
        """Method of the equilibration."""
        if self.equilibration is None:
            return None
        return self.equilibration.resolve(self.beads, self.method)

    @property
    def warm_up_steps(self) -> int:
        """Number of steps of the equilibration."""
        return 0 if self.equilibration is None else self.equilibration.steps(self.timestep)

    @property
    def starts(self) -> Tensor:
        """Starting structure of each replica, ``[n_replicas, n_atoms, 3]`` [Å]."""
        return self.structures[torch.tensor(self.numbered) % len(self.structures)]

    @property
    def numbered(self) -> range:
        """Numbers of the replicas, which decide their starting structures and random numbers."""
        return range(self.first, self.first + self.replicas)

    def system(self, method: Method, device: torch.device | str = "cpu") -> System:
        """Return integrator and degrees of freedom for one phase of the run."""
        rotation = "thermal" if method.row.excites_rotation else self.rotation
        freedom = degrees_of_freedom(
            self.structures[0], self.masses, self.beads, self.translation, rotation
        )
        centroid_freedom = freedom - 3 * len(self.masses) * (self.beads - 1)
        if centroid_freedom < 1:
            raise InvalidInputError(
                "the molecule has no degrees of freedom left",
                key="translation",
                value=self.translation,
                expected="'thermal'",
            )
        integrator = method.integrator(
            timestep=self.timestep,
            temperature=self.temperature,
            n_beads=self.beads,
            masses=self.masses.to(device),
            translation=self.translation,
            freedom=centroid_freedom,
            propagator=self.propagator,
        )
        return System(integrator, freedom)

    def settings(self) -> dict[str, Any]:
        """Return all settings that determine the trajectory, except its length, JSON-able."""
        warm_up = self.warm_up
        settings = {
            "method": self.method.settings(),
            **{name: getattr(self, name) for name in _PLAIN_SETTINGS},
            **({FIRST_REPLICA: self.first} if self.first else {}),
            "observables": {o.name: stride for o, stride in self.observables.items()},
            "numbers": self.numbers.tolist(),
            "masses": self.masses.tolist(),
            "structures": self.structures,
            **({} if self.cell is None else {"cell": self.cell.tolist()}),
            "initial": self.initial.settings(),
            "equilibration": warm_up
            and {"method": warm_up.settings(), "steps": self.warm_up_steps},
            "evaluator": _physics(self.provenance),
        }
        return describe(settings)

    def header(self, steps: int) -> Header:
        """Return the header of the trajectory."""
        software = {
            "eqcalc": eqcalc.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        }
        return Header(
            method=self.method.name,
            temperature=self.temperature,
            timestep=self.timestep,
            steps=steps,
            n_replicas=self.replicas,
            n_beads=self.beads,
            numbers=self.numbers.numpy(),
            masses=self.masses.numpy(),
            cell=self.cell,
            settings=self.settings(),
            provenance={
                **self.provenance,
                "molecule": {"positions_angstrom": self.structures[0].tolist()},
                "software": software,
            },
        )

    def layouts(self) -> dict[str, Layout]:
        """Return the storage layout of each observable."""
        size = self.beads, len(self.numbers)
        return {o.name: Layout(o.shape(*size), o.unit, n) for o, n in self.observables.items()}

    def generators(self, purpose: str, block: int = 0) -> list[np.random.Generator]:
        """Return one generator per replica; see :mod:`eqcalc.dynamics.noise`."""
        return [replica_generator(self.seed, replica, purpose, block) for replica in self.numbered]

    # --- states ----------------------------------------------------------------------

    def first_state(self) -> State:
        """Draw the initial conditions of every replica."""
        positions, momenta = self.initial.sample(self._starts("initial conditions"))
        cell = None if self.cell is None else torch.as_tensor(self.cell)
        state = replace(State.at_rest(positions, -self.warm_up_steps, cell), momenta=momenta)
        return self._without_rigid_motion(state)

    def production_state(self, equilibrated: State) -> State:
        """Return equilibrated positions and cells with new momenta at step 0.

        They are drawn from the Maxwell–Boltzmann distribution.
        """
        momenta = self._starts("production momenta").thermal_momenta()
        cell = equilibrated.cell if self.cell is not None else None
        state = State.at_rest(equilibrated.positions, cell=cell)
        fresh = momenta.to(state.positions.device)
        return self._without_rigid_motion(replace(state, momenta=fresh))

    def _starts(self, purpose: str) -> Starts:
        generators = self.generators(purpose)
        return Starts(self.structures, self.masses, self.beads, self.temperature, generators)

    def _without_rigid_motion(self, state: State) -> State:
        masses = self.masses.to(state.momenta.device)
        momenta = state.momenta
        if self.translation == "none":
            momenta = remove_translation(momenta, masses)
        if self.rotation == "none" and state.step == 0:
            linear = is_linear(self.structures[0].numpy(), self.masses.numpy())
            momenta = remove_rotation(state.positions, momenta, masses, linear=linear)
        return replace(state, momenta=momenta)


def _physics(provenance: Any) -> Any:
    """Return the record of an evaluator, or of all its members, without volatile entries."""
    if isinstance(provenance, Mapping):
        return {k: _physics(v) for k, v in provenance.items() if k not in _NOT_PHYSICS}
    if isinstance(provenance, list):
        return [_physics(member) for member in provenance]
    return provenance


def available_memory() -> float | None:
    """Return the memory that this process may use [bytes], None where that is not known."""
    limits = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        limits.append(1024.0 * int(text.partition("MemAvailable:")[2].split()[0]))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container
        with contextlib.suppress(OSError, ValueError):
            limits.append(float(int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii"))))
    return min(limits, default=None)


# --- arguments -------------------------------------------------------------------------


def common_numbers(structures: Sequence[Atoms], evaluator: Evaluator) -> Tensor:
    """Return the atomic numbers that all structures and the evaluator share.

    Raises
    ------
    InvalidInputError
        They, the charges or the cells differ, or a structure is constrained or has positions
        that are not finite.
    """
    if not structures:
        raise InvalidInputError(key="structures", value=0, expected="at least one structure")
    expected = evaluator.numbers.tolist()
    charge = charge_of(evaluator)
    silent = not any(states_charge(atoms) for atoms in structures)  # the caller states it then
    for index, atoms in enumerate(structures):
        with located(section=f"structures[{index}]"):
            unconstrained(_in_its_cell(atoms, evaluator))
            own = charge if silent else total_charge(atoms)
        if atoms.numbers.tolist() != expected:
            raise InvalidInputError(
                key=f"structures[{index}].numbers",
                value=atoms.numbers.tolist(),
                expected=f"{expected}, the atoms of the evaluator",
                advice="conformers need the same atoms in the same order",
            )
        if abs(own - charge) > 1e-6:
            raise InvalidInputError(
                key=f"structures[{index}].charge",
                value=own,
                expected=f"{charge:g} e, the charge of the evaluator",
                advice="pass the charge to evaluator_for, with a model that was trained on it; "
                "structures of one run have one charge",
            )
    return torch.tensor(expected, dtype=torch.long)


def _in_its_cell(atoms: Atoms, evaluator: Evaluator) -> Atoms:
    """Require a molecule, or a structure in the cell of the evaluator; return it."""
    expected = cell_of(evaluator)
    if expected is None:
        return isolated_molecule(atoms)
    found = periodic_cell(atoms)
    if found is None or not np.allclose(found, expected, rtol=0.0, atol=1e-6):
        raise InvalidInputError(
            key="atoms.cell",
            value=None if found is None else found.tolist(),
            expected=f"{expected.tolist()} Å, the cell of the evaluator",
            advice="structures of one run have one cell",
        )
    finite("positions", atoms.positions)
    return atoms


def cell_of(evaluator: Evaluator) -> np.ndarray | None:
    """Return the cell vectors of an evaluator as rows [Å], None of one for a molecule."""
    cell = getattr(evaluator, "cell", None)
    return None if cell is None else np.asarray(torch.as_tensor(cell).cpu(), dtype=float)


def common_masses(
    structures: Sequence[Atoms], masses: ArrayLike | Mapping[str, float] | None
) -> Tensor:
    """Return the masses [amu] that all structures share, with those given by the caller.

    Raises
    ------
    InvalidInputError
        A mass is invalid, or the structures have different isotopes.
    """
    first, *others = (atomic_masses(atoms, masses) for atoms in structures)
    for index, other in enumerate(others, start=1):
        if not np.array_equal(first, other):
            atom = int(np.argmax(first != other))
            raise InvalidInputError(
                key=f"structures[{index}].masses[{atom}]",
                value=float(other[atom]),
                expected=f"{first[atom]:g} amu, as in structures[0]",
                advice="run isotopologues one by one, or state the masses",
            )
    return torch.from_numpy(first)
