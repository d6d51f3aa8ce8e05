# SPDX-License-Identifier: MIT
"""Detection of unstable simulations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from torch import Tensor

from eqcalc.dynamics.observables import OBSERVABLES, System
from eqcalc.dynamics.state import State
from eqcalc.files import replacing
from eqcalc.models.committee import FORCE_DISAGREEMENT
from eqcalc.molecules import bonds
from eqcalc.structures import volumes
from eqcalc.units import FEMTOSECOND

#: Largest distance of bonded atoms, in sums of covalent radii.
_BONDED = 1.3


class UnstableDynamicsError(RuntimeError):
    """The dynamics is unstable or left the domain of the model.

    Parameters
    ----------
    message
        Description.
    limit
        Field of :class:`StabilityLimits` that was exceeded, or ``"finite"`` for non-finite
        forces or energies.
    value
        Value that exceeded it.
    replica
        Index of the replica.
    step
        Step number.
    positions
        Beads of that replica, ``[n_beads, n_atoms, 3]`` [Å].
    cell
        Its cell vectors as rows [Å]; None for a molecule.
    """

    def __init__(
        self,
        message: str,
        limit: str,
        value: float,
        replica: int,
        step: int,
        positions: Tensor,
        cell: Tensor | None = None,
    ) -> None:
        super().__init__(message, limit, value, replica, step, positions, cell)
        self.limit = limit
        self.value = value
        self.replica = replica
        self.step = step
        self.positions = positions
        self.cell = cell

    def __str__(self) -> str:
        return str(self.args[0])

    def with_message(self, message: str) -> UnstableDynamicsError:
        """Return the same error with another message."""
        return UnstableDynamicsError(message, *self.args[1:])

    def write_beads(self, path: Path, numbers: Sequence[int]) -> None:
        """Write the beads of that replica as extended XYZ; atomic numbers are ``[n_atoms]``."""
        cell = None if self.cell is None else self.cell.cpu().numpy()
        beads = [
            Atoms(numbers, positions=bead.cpu().numpy(), cell=cell, pbc=cell is not None)
            for bead in self.positions
        ]
        with replacing(path) as temporary:
            ase.io.write(temporary, beads, format="extxyz")


@dataclass(frozen=True)
class StabilityLimits:
    """Limits beyond which a simulation is stopped.

    Parameters
    ----------
    bond_stretch
        Largest ratio of the distance of two bonded atoms to their initial distance.
    distance
        Largest distance of an atom from the centre of mass in excess of the initial maximum
        [Å]; detects fragments that were never bonded. Not for periodic structures.
    temperature
        Highest kinetic temperature [K]. Default: the value that thermal fluctuations about
        the larger of target and initial temperature exceed with a probability of 1e-13,
        plus 2000 K.
    energy_drift
        Largest change of the conserved energy [eV/atom]: since the start at constant energy,
        per picosecond with a thermostat, whose heat accumulates integration errors.
    force_disagreement
        Largest standard deviation of the force on an atom over the members of a committee
        [eV/Å]; see :class:`~eqcalc.models.committee.Committee`.
    volume_change
        Largest ratio of the volume of a cell to that at the start, or of the start to it.
    """

    bond_stretch: float = 2.0
    distance: float = 10.0
    temperature: float | None = None
    energy_drift: float = 0.1
    force_disagreement: float = 1.0
    volume_change: float = 2.0


class StabilityMonitor:
    """Checks states against limits and a reference state.

    Parameters
    ----------
    limits
        The limits.
    system
        Used for temperature and conserved energy.
    numbers
        Atomic numbers ``[n_atoms]``.
    structures
        Initial structure of each replica ``[n_replicas, n_atoms, 3]`` [Å].
    temperature
        Target temperature [K].
    cell
        Cell vectors of the initial structures as rows, ``[3, 3]`` [Å]; None for a molecule.
    """

    def __init__(
        self,
        limits: StabilityLimits,
        system: System,
        numbers: Tensor,
        structures: Tensor,
        temperature: float,
        cell: np.ndarray | None = None,
    ) -> None:
        self.limits = limits
        self.system = system
        self.numbers = [int(z) for z in numbers]
        self.target = temperature
        self.periodic = cell is not None
        distinct = np.unique(structures.cpu().numpy(), axis=0)
        atoms = [Atoms(self.numbers, x, cell=cell, pbc=self.periodic) for x in distinct]
        pairs = np.unique(np.concatenate([bonds(one, _BONDED) for one in atoms]), axis=0)
        self.first, self.second = torch.as_tensor(pairs.T, device=structures.device)
        arms = structures[:, self.first] - structures[:, self.second]
        self.cell = torch.zeros(3, 3).to(arms) if cell is None else torch.as_tensor(cell).to(arms)
        self.images = torch.zeros_like(arms)  # atoms are not wrapped: they stay the same
        if self.periodic:
            self.images = torch.round(arms @ torch.linalg.inv(self.cell))
        self.lengths = (arms - self.images @ self.cell).norm(dim=-1)
        self.weights = system.integrator.masses / system.integrator.masses.sum()
        self.radius = self._radii(structures).amax(dim=1)
        self.window = math.inf
        if system.integrator.thermostat is not None:
            self.window = round(1000.0 * FEMTOSECOND / system.integrator.timestep)
        self.since = 0
        self.energy = torch.empty(0)
        self.hottest = torch.empty(0)

    def start(self, state: State) -> None:
        """Use `state` as the reference for temperature and conserved energy."""
        self.since = state.step
        self.energy = self.system.integrator.conserved_energy(state)
        initial = OBSERVABLES["temperature"].estimate(state, self.system)
        if self.limits.temperature is not None:
            self.hottest = torch.full_like(initial, self.limits.temperature)
            return
        # P(χ²_f > f + 2√(fx) + 2x) < exp(−x) (Laurent and Massart, Ann. Statist. 28, 1302 (2000))
        f, x = self.system.degrees_of_freedom, 30.0
        fluctuation = 1.0 + 2.0 * math.sqrt(x / f) + 2.0 * x / f
        self.hottest = fluctuation * initial.clamp(min=self.target) + 2000.0

    def reference(self) -> dict[str, Tensor]:
        """Return the reference, to be stored with a checkpoint."""
        return {
            "watch.since": torch.tensor(self.since),
            "watch.energy": self.energy,
            "watch.hottest": self.hottest,
        }

    def restore(self, reference: dict[str, Tensor]) -> None:
        """Restore a stored reference."""
        self.since = int(reference["watch.since"])
        self.energy = reference["watch.energy"].to(self.radius)
        self.hottest = reference["watch.hottest"].to(self.radius)

    def check_step(self, state: State) -> None:
        """Run the checks of every step; raises UnstableDynamicsError.

        Forces and energies must be finite, and committee members must agree.
        """
        self._check_finite(state)
        if FORCE_DISAGREEMENT in state.properties:
            self._check_committee(state)

    def _check_committee(self, state: State) -> None:
        of_atoms = state.properties[FORCE_DISAGREEMENT].amax(dim=1)  # of all beads
        worst, atom = of_atoms.max(dim=1)
        disagreement = _Condition(
            "force_disagreement",
            worst,
            worst > self.limits.force_disagreement,
            lambda r: (
                f"the members of the committee differ by {float(worst[r]):.2f} eV/Å in the force "
                f"on {self._label(atom[r])} (bound {self.limits.force_disagreement:g}): they were "
                "not trained on such structures; label this one and train again"
            ),
        )
        _raise_first([disagreement], state)

    def _check_finite(self, state: State) -> None:
        # sums propagate non-finite values, and one number needs one synchronisation
        if math.isfinite((state.forces.sum() + state.potential_energies.sum()).item()):
            return
        finite = state.forces.isfinite().flatten(1).all(dim=1)
        finite &= state.potential_energies.isfinite().all(dim=1)
        energies = state.potential_energies.sum(dim=1)
        broken = _Condition(
            "finite", energies, ~finite, lambda r: "the forces or the energy are not finite"
        )
        _raise_first([broken], state)

    def check(self, state: State) -> None:
        """Run the less frequent checks; raises UnstableDynamicsError.

        The molecule has dissociated, is too hot, or does not conserve its energy.
        """
        self.check_step(state)
        centroid = state.positions.mean(dim=1)
        energy = self.system.integrator.conserved_energy(state)
        cell = state.cell if state.cell.numel() else self.cell
        conditions = [
            *self._dissociated(centroid, cell),
            self._expanded(cell) if self.periodic else self._evaporated(centroid),
            self._too_hot(state),
            self._drifted(energy, state.n_atoms),
        ]
        _raise_first(conditions, state)
        if state.step - self.since >= self.window:
            self.since, self.energy = state.step, energy

    def _dissociated(self, centroid: Tensor, cell: Tensor) -> list[_Condition]:
        first, second = self.first, self.second
        if not len(first):
            return []
        arms = centroid[:, first] - centroid[:, second] - self.images @ cell
        stretch = arms.norm(dim=-1) / self.lengths
        worst, pair = stretch.max(dim=1)
        return [
            _Condition(
                "bond_stretch",
                worst,
                worst > self.limits.bond_stretch,
                lambda r: (
                    f"the bond {self._label(first[pair[r]])}-{self._label(second[pair[r]])} is "
                    f"{float(worst[r]):.2f} times as long as at the start: the molecule "
                    "has dissociated"
                ),
            )
        ]

    def _evaporated(self, centroid: Tensor) -> _Condition:
        radius, atom = self._radii(centroid).max(dim=1)
        return _Condition(
            "distance",
            radius - self.radius,
            radius > self.radius + self.limits.distance,
            lambda r: (
                f"the atom {self._label(atom[r])} is {float(radius[r]):.1f} Å from the centre "
                "of mass: it has left the molecule"
            ),
        )

    def _expanded(self, cell: Tensor) -> _Condition:
        ratio = (volumes(cell) / volumes(self.cell)).expand(len(self.radius))
        change = torch.maximum(ratio, 1.0 / ratio)
        return _Condition(
            "volume_change",
            ratio,
            change > self.limits.volume_change,
            lambda r: (
                f"the volume is {float(ratio[r]):.2f} times that at the start: the pressure or the "
                "temperature is not one at which the system is condensed, or the model was not "
                "trained on stresses or on cells of several densities"
            ),
        )

    def _too_hot(self, state: State) -> _Condition:
        temperature = OBSERVABLES["temperature"].estimate(state, self.system)
        return _Condition(
            "temperature",
            temperature,
            temperature > self.hottest,
            lambda r: (
                f"the temperature is {float(temperature[r]):.0f} K "
                f"(target {self.target:g} K, bound {float(self.hottest[r]):.0f} K)"
            ),
        )

    def _drifted(self, energy: Tensor, n_atoms: int) -> _Condition:
        drift = (energy - self.energy) / n_atoms
        return _Condition(
            "energy_drift",
            drift,
            drift.abs() > self.limits.energy_drift,
            lambda r: (
                f"the conserved energy has changed by {float(drift[r]):.3f} eV per atom "
                f"(bound {self.limits.energy_drift:g}): the time step is too long or the "
                "forces are not the gradient of the energy"
            ),
        )

    def _radii(self, positions: Tensor) -> Tensor:
        """Distances from the centre of mass, ``[n_replicas, n_atoms]``."""
        centre = (self.weights * positions).sum(dim=1, keepdim=True)
        return (positions - centre).norm(dim=-1)

    def _label(self, atom: Tensor) -> str:
        index = int(atom)
        return f"{chemical_symbols[self.numbers[index]]}{index}"


class _Condition(NamedTuple):
    """A failure condition: value and truth, ``[n_replicas]``, and message."""

    limit: str
    value: Tensor
    replicas: Tensor
    message: Callable[[int], str]


def _raise_first(conditions: list[_Condition], state: State) -> None:
    """Raise UnstableDynamicsError for the first condition that holds, with one transfer."""
    if not bool(torch.stack([condition.replicas.any() for condition in conditions]).any()):
        return
    for condition in conditions:
        if bool(condition.replicas.any()):
            replica = int(condition.replicas.nonzero()[0])
            raise UnstableDynamicsError(
                condition.message(replica),
                condition.limit,
                float(condition.value[replica]),
                replica,
                state.step,
                state.positions[replica],
                state.cell[replica] if state.cell.numel() else None,
            )
