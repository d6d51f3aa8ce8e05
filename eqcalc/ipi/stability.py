# SPDX-License-Identifier: MIT
"""The stability limits of eqcalc's dynamics, applied to i-PI simulations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers

from eqcalc.dynamics import (
    Method,
    StabilityLimits,
    StabilityMonitor,
    State,
    System,
    UnstableDynamicsError,
)
from eqcalc.ipi.description import CONSTANT_PRESSURE, symbol, unstable_structure_file
from eqcalc.ipi.units import (
    ATOMIC_MOMENTUM,
    ATOMIC_TIME,
    BOHR,
    ELECTRON_MASS,
    HARTREE,
    HARTREE_TEMPERATURE,
)

#: Steps between checks.
CHECK_INTERVAL = 10
#: i-PI ensembles to which the limits apply.
_CONSTANT_ENERGY = "nve"
_ENSEMBLES = (_CONSTANT_ENERGY, "nvt", CONSTANT_PRESSURE)


class Stability:
    """Checks all systems of a simulation and stops it when a limit is exceeded.

    `reference` is the :attr:`reference` of an earlier part of the same run, None if there is
    none; `prefix` is that of the file for a structure that went wrong, `periodic` whether the
    atoms fill the cell.
    """

    def __init__(
        self,
        simulation: Any,
        reference: Mapping[str, Any] | None,
        prefix: str,
        periodic: bool = False,
    ) -> None:
        self._simulation = simulation
        alike: dict[tuple[Any, ...], list[int]] = {}
        for index, system in enumerate(simulation.syslist):
            if _kind(system):
                alike.setdefault(_kind(system), []).append(index)
        self._groups = [
            _Group({i: simulation.syslist[i] for i in members}, reference or {}, prefix, periodic)
            for members in alike.values()
        ]

    @property
    def reference(self) -> dict[str, Any]:
        """What the systems are compared with, by the number of each; JSON can hold it."""
        return {name: entry for group in self._groups for name, entry in group.reference().items()}

    def check(self) -> None:
        """Check the systems after a step; the energy of the first time is to be conserved.

        Raises UnstableDynamicsError if a molecule has dissociated, is too hot, or does not conserve
        its energy. The beads of the system are in a file that the message names.
        """
        step = int(self._simulation.step)
        for group in self._groups:
            if group.started:
                group.check(step)
            else:
                group.start(step)


class _Group:
    """Systems of one molecule or cell with the same beads, temperature and time step."""

    def __init__(
        self,
        systems: Mapping[int, Any],
        stored: Mapping[str, Any],
        prefix: str,
        periodic: bool,
    ) -> None:
        self.names = [str(index) for index in systems]
        self.systems = list(systems.values())
        self.prefix = prefix
        self.started = False
        first = self.systems[0]
        self.numbers = [atomic_numbers[symbol(str(name))] for name in first.beads.names]
        masses = torch.from_numpy(np.array(first.beads.m, dtype=float) * ELECTRON_MASS)
        temperature = float(first.ensemble.temp) * HARTREE_TEMPERATURE
        n_beads = int(first.beads.nbeads)
        integrator = _method(first).integrator(
            timestep=float(first.motion.dt) * ATOMIC_TIME,
            temperature=temperature,
            n_beads=n_beads,
            masses=masses,
        )
        freedom = 3 * len(masses) * n_beads - (3 if first.motion.fixcom else 0)
        self._system = System(integrator, freedom)
        self._cell: np.ndarray | None = None
        if periodic:
            cells = (stored[name]["cell"] for name in self.names if name in stored)
            self._cell = np.array(next(cells, _cell_of(first)))
        state = self._state(0, conserved=False)
        self._structures = state.positions.mean(dim=1)
        for index, name in enumerate(self.names):
            if name in stored:
                self._structures[index] = torch.tensor(stored[name]["positions"])
        self._monitor = StabilityMonitor(
            StabilityLimits(),
            self._system,
            torch.tensor(self.numbers),
            self._structures,
            temperature,
            self._cell,
        )
        self._monitor.start(state)
        for index, name in enumerate(self.names):
            if name in stored:
                self._monitor.hottest[index] = stored[name]["hottest"]

    def reference(self) -> dict[str, Any]:
        """Return structures [Å], highest temperatures [K] and cells [Å] by name."""
        cell = {} if self._cell is None else {"cell": self._cell.tolist()}
        return {
            name: {
                **cell,
                "positions": self._structures[index].tolist(),
                "hottest": float(self._monitor.hottest[index]),
            }
            for index, name in enumerate(self.names)
        }

    def start(self, step: int) -> None:
        """Take the present energy as that which is to be conserved."""
        state, hottest = self._state(step), self._monitor.hottest
        self._monitor.check_step(state)
        self._monitor.start(state)
        self._monitor.hottest = hottest  # a resumed run is not measured by what it is now
        self.started = True

    def check(self, step: int) -> None:
        """Raise UnstableDynamicsError when a limit is exceeded."""
        try:
            self._monitor.check(self._state(step))
        except UnstableDynamicsError as error:
            raise self._explained(error) from None

    def _state(self, step: int, *, conserved: bool = True) -> State:
        """Return the systems as replicas; heat is what i-PI has besides the ring polymer."""
        shape = (len(self.systems), int(self.systems[0].beads.nbeads), len(self.numbers), 3)

        def stacked(values: list[Any], unit: float) -> torch.Tensor:
            return torch.from_numpy(np.array(values, dtype=float).reshape(shape) * unit)

        positions = stacked([s.beads.q for s in self.systems], BOHR)
        cell = None
        if self._cell is not None:
            cell = torch.from_numpy(np.stack([_cell_of(s) for s in self.systems]))
        state = replace(
            State.at_rest(positions, step, cell),
            momenta=stacked([s.beads.p for s in self.systems], ATOMIC_MOMENTUM),
            forces=torch.zeros_like(positions),
            potential_energies=positions.new_zeros(shape[:2]),
        )
        if not conserved:
            return state
        total = torch.tensor([float(s.ensemble.econs) for s in self.systems]).double()
        ring = shape[1] * self._system.integrator.conserved_energy(state)
        return replace(state, heat=total * HARTREE - ring)

    def _explained(self, error: UnstableDynamicsError) -> UnstableDynamicsError:
        """Save the unstable system, and raise the error that names it."""
        name = str(self.systems[error.replica].prefix)
        where = Path((f"{name}_" if name else "") + unstable_structure_file(self.prefix)).absolute()
        error.write_beads(where, self.numbers)
        system = f"system {name}: " if name else ""
        return error.with_message(f"{system}{error}. Its beads are in {where}")


def _cell_of(system: Any) -> np.ndarray:
    """Return the cell vectors of a system as rows [Å]."""
    return np.array(system.cell.h, dtype=float).T * BOHR


def _kind(system: Any) -> tuple[Any, ...]:
    """Return what systems of a group have in common; empty if the limits do not apply."""
    motion = system.motion
    ensemble = getattr(motion, "enstype", None)
    temperature = float(system.ensemble.temp)
    if ensemble not in _ENSEMBLES or not temperature > 0.0:
        return ()
    names = tuple(str(name) for name in system.beads.names)
    return names, int(system.beads.nbeads), temperature, float(motion.dt), ensemble


def _method(system: Any) -> Method:
    """Return the kind of dynamics whose limits apply."""
    classical = int(system.beads.nbeads) == 1
    if system.motion.enstype == _CONSTANT_ENERGY:
        return Method("NVE" if classical else "RPMD")
    return Method("Langevin" if classical else "PILE-L")
