# SPDX-License-Identifier: MIT
"""What is done to a simulation of i-PI before it starts, by its ``post_init_hook``."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ipi.engine.forcefields import FFDirect, FFSocket
from ipi.interfaces.sockets import InterfaceSocket

from eqcalc.ipi.description import CONSTANT_PRESSURES, InputError, symbol
from eqcalc.ipi.units import extra_quantities


class PotentialError(RuntimeError):
    """The potential of a force field has raised an error."""


def prepare(simulation: Any, failed: Callable[[str], None]) -> dict[str, Any]:
    """Add properties, reject inputs that would hang, and notice errors of potentials.

    `failed` is told of errors of potentials, of which i-PI's other threads may never hear.
    Returns the record of each eqcalc potential, by the name of its force field.
    """
    add_averages(simulation)
    provenance = {}
    for name, forcefield in simulation.fflist.items():
        if isinstance(forcefield, FFDirect):
            _check_batches(simulation, name, forcefield)
            evaluate = getattr(forcefield.driver, "evaluate", None)
            if evaluate is not None and hasattr(evaluate, "quantities"):  # eqcalc's potential
                _check_potential(simulation, name, forcefield, evaluate)
                provenance[name] = evaluate.evaluator.provenance
            forcefield.driver = _reporting(forcefield.driver, name, failed)
        elif isinstance(forcefield, FFSocket):
            forcefield.socket = Interface.like(forcefield.socket)
    return provenance


def _reporting(
    driver: Callable[..., Any], name: str, failed: Callable[[str], None]
) -> Callable[..., Any]:
    """Return a potential whose errors are told."""

    def call(*arguments: Any) -> Any:
        try:
            return driver(*arguments)
        except Exception as error:
            message = f"the potential of the force field {name!r} failed: {error}"
            failed(message)
            raise PotentialError(message) from error

    return call


class Interface(InterfaceSocket):
    """Survives clients whose connection is reset.

    i-PI 3.3 gives the job of a client to another one if its connection ends. If the client was
    killed with data unread, the connection is reset instead, and the error would end the thread
    that serves all clients. After the error the connection has ended also for i-PI.
    """

    @classmethod
    def like(cls, other: InterfaceSocket) -> Interface:
        """Return an interface with the settings and the requests of another."""
        settings = inspect.signature(InterfaceSocket).parameters
        interface = cls(**{name: getattr(other, name) for name in settings})
        interface.requests, interface.offset = other.requests, other.offset
        return interface

    def poll(self) -> None:
        """Serve all clients once."""
        try:
            super().poll()
        except (ConnectionResetError, BrokenPipeError):
            # i-PI was about to remove the jobs that it had found to be done
            self.jobs[:] = [job for job in self.jobs if not _is_done(job[0])]


def _is_done(request: Any) -> bool:
    """Return whether a job, of one structure or a batch, has its results."""
    return bool((request[0] if isinstance(request, list) else request)["status"] == "Done")


# --- checks ---------------------------------------------------------------------------


def _check_potential(simulation: Any, name: str, forcefield: FFDirect, evaluate: Any) -> None:
    """Reject what eqcalc's potential would not notice."""
    if forcefield.dopbc and not evaluate.periodic:
        raise InputError(
            key=f"ffdirect[{name}].pbc",
            value="true",
            expected="'false', for wrapping the atoms into a cell tears the molecule apart",
        )
    numbers, forces = evaluate.evaluator.numbers.tolist(), "forces" in evaluate.quantities
    for system in simulation.syslist:
        names = [str(element) for element in system.beads.names]
        if [atomic_numbers[symbol(element)] for element in names] != numbers:
            raise InputError(
                key=f"ffdirect[{name}].parameters.symbols",
                value=str(Atoms(numbers).symbols),
                expected=f"the atoms that i-PI simulates, {' '.join(names)}",
            )
        for component in system.fcomp:
            if component.ffield != name or not component.weight:
                continue
            if system.motion.enstype in CONSTANT_PRESSURES and not evaluate.has_virial:
                raise InputError(
                    "the model has no stress",
                    key="dynamics.mode",
                    value=system.motion.enstype,
                    expected="nve or nvt",
                )
            if not forces:
                raise InputError(
                    key=f"force[{name}].weight",
                    value=component.weight,
                    expected="0, for its potential evaluates no forces",
                    advice="or add energy+forces to its quantities",
                )


def _check_batches(simulation: Any, name: str, forcefield: FFDirect) -> None:
    """Reject a batch size with which i-PI would wait for beads forever."""
    counts = [
        sum(
            (component.nbeads or system.beads.nbeads)
            for component in system.fcomp
            if component.ffield == name
        )
        for system in simulation.syslist
    ]
    together = simulation.threading and len(counts) > 1
    batches = [sum(counts)] if together else [count for count in counts if count]
    size = forcefield.batch_size
    if forcefield.threaded or all(count % size == 0 for count in batches):
        return
    raise InputError(
        key=f"ffdirect[{name}].batch_size",
        value=size,
        expected=f"{batches[0]}, the beads that come at a time; i-PI would wait forever",
    )


# --- averages over beads --------------------------------------------------------------


def add_averages(simulation: Any) -> None:
    """Add ``mu_mean``, ``alpha_mean`` etc. to the properties of all systems.

    For a single bead they are its values, for a component of one bead (``nbeads='1'``) those
    of the centroid. Extras of a component of weight zero are evaluated on demand, so that dipole
    and polarizability cost nothing between outputs.
    """
    for system in simulation.syslist:
        for name, q in extra_quantities().items():
            system.properties.property_dict[q.ipi_property] = {
                "func": _bead_average(system.properties, name, math.prod(q.shape)),
                "size": math.prod(q.shape),
                "help": f"Bead average of the {name}, row by row, in atomic units.",
                **({"dimension": q.ipi_dimension} if q.ipi_dimension else {}),
            }


def _bead_average(properties: Any, name: str, size: int) -> Callable[..., np.ndarray]:
    """Return an i-PI property: the bead average of an extra of a force component."""

    def average(component: str = "-1") -> np.ndarray:
        extras = properties.forces.extras_component(int(component))
        if name not in extras:
            known = ", ".join(sorted(set(extras) - {"raw"})) or "nothing"
            raise KeyError(
                f"force component {component} has no {name}, but {known}; add {name} to the "
                "quantities of its force field"
            )
        values = np.asarray(extras[name], dtype=float)
        mean = values.reshape(len(values), size).mean(axis=0)
        return mean if size > 1 else mean[0]

    return average
