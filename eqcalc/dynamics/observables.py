# SPDX-License-Identifier: MIT
"""Observables of a simulation, with units and estimators."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from eqcalc.dynamics.cell_rescaling import internal_pressure
from eqcalc.dynamics.integrator import Integrator
from eqcalc.dynamics.methods import Method, as_method
from eqcalc.dynamics.state import State
from eqcalc.dynamics.thermostats.langevin import kinetic_energy
from eqcalc.methods import DynamicsMethod
from eqcalc.models.committee import FORCE_DISAGREEMENT
from eqcalc.plugins import object_at
from eqcalc.quantities import ATOMIC_PARTS, STRESS, Quantity, known_quantities
from eqcalc.structures import volumes
from eqcalc.units import BOLTZMANN, FEMTOSECOND, conversion_factor
from eqcalc.validation import InvalidInputError, count, nearest, positive

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator


@dataclass(frozen=True)
class System:
    """What estimators require besides the state.

    Parameters
    ----------
    integrator
        The integrator, which holds masses, springs and temperature.
    degrees_of_freedom
        Of all beads, see :func:`~eqcalc.dynamics.initial.degrees_of_freedom`.
    """

    integrator: Integrator
    degrees_of_freedom: int

    @property
    def centroid_degrees_of_freedom(self) -> int:
        """Degrees of freedom of the centroid."""
        internal = 3 * len(self.integrator.masses) * (self.integrator.n_beads - 1)
        return self.degrees_of_freedom - internal


@dataclass(frozen=True, eq=False)
class Observable:
    """A quantity recorded at regular steps.

    Parameters
    ----------
    name
        Key in the trajectory.
    unit
        Unit of the recorded values.
    shape
        Shape of one value, given the numbers of beads and atoms.
    estimate
        Returns ``[n_replicas, *shape]`` from a state.
    evaluated
        The quantity required from the evaluator, if any.
    rate
        The quantity whose time derivative is required from the evaluator, if any.
    interval
        Default time between frames [fs].
    periodic
        Only cells have it.
    """

    name: str
    unit: str
    shape: Callable[[int, int], tuple[int, ...]]
    estimate: Callable[[State, System], Tensor]
    evaluated: str | None = None
    rate: str | None = None
    interval: float = 10.0
    periodic: bool = False


def _scalar(n_beads: int, n_atoms: int) -> tuple[int, ...]:
    return ()


def _atoms(n_beads: int, n_atoms: int) -> tuple[int, ...]:
    return (n_atoms, 3)


def _positions(state: State, system: System) -> Tensor:
    return state.positions.mean(dim=1)


def _velocities(state: State, system: System) -> Tensor:
    velocities = state.momenta.mean(dim=1) / system.integrator.masses * FEMTOSECOND
    scaling = system.integrator.mode_scaling
    return velocities if scaling is None else scaling[0] * velocities


def _bead_positions(state: State, system: System) -> Tensor:
    return state.positions


def _centroid_force(state: State, system: System) -> Tensor:
    """(1/P) Σ_j F(r_j), whose mean with the centroid held is that of its potential."""
    return state.forces.mean(dim=1)


def _potential_energy(state: State, system: System) -> Tensor:
    return state.potential_energies.mean(dim=1)


def _kinetic_energy(state: State, system: System) -> Tensor:
    """½ Σ m v² of the centroid, which for one bead is the kinetic energy."""
    return kinetic_energy(state.momenta.mean(dim=1, keepdim=True), system.integrator.masses)


def _kinetic_energy_primitive(state: State, system: System) -> Tensor:
    """3NP k_BT/2 − (1/P) Σ_j ½ m ω_P² (r_j − r_{j+1})² (Barker, JCP 70, 2914 (1979))."""
    size = 3 * state.n_atoms * state.n_beads
    springs = system.integrator.spring_energy(state.positions)
    return 0.5 * size * BOLTZMANN * system.integrator.temperature - springs / state.n_beads


def _kinetic_energy_virial(state: State, system: System) -> Tensor:
    """3N k_BT/2 − (1/2P) Σ_j (r_j − r_c)·F_j (Herman et al., JCP 76, 5150 (1982))."""
    centroid = state.positions.mean(dim=1, keepdim=True)
    virial = ((state.positions - centroid) * state.forces).sum(dim=(1, 2, 3))
    thermal = 1.5 * state.n_atoms * BOLTZMANN * system.integrator.temperature
    return thermal - 0.5 * virial / state.n_beads


def _temperature(state: State, system: System) -> Tensor:
    """2K/(f P k_B) of all beads, which are at temperature P·T."""
    energy = kinetic_energy(state.momenta, system.integrator.masses)
    return 2.0 * energy / (system.degrees_of_freedom * state.n_beads * BOLTZMANN)


def _centroid_temperature(state: State, system: System) -> Tensor:
    """2K/(f k_B) of the centroid."""
    return 2.0 * _kinetic_energy(state, system) / (system.centroid_degrees_of_freedom * BOLTZMANN)


def _conserved_energy(state: State, system: System) -> Tensor:
    return system.integrator.conserved_energy(state)


def _radius_of_gyration(state: State, system: System) -> Tensor:
    """Root-mean-square distance of the beads of each atom from their centroid."""
    centroid = state.positions.mean(dim=1, keepdim=True)
    return (state.positions - centroid).square().sum(dim=-1).mean(dim=1).sqrt()


def _cell(state: State, system: System) -> Tensor:
    return state.cell


def _volume(state: State, system: System) -> Tensor:
    return volumes(state.cell)


def _pressure(state: State, system: System) -> Tensor:
    """2K/3V − tr σ/3 of classical nuclei, with the mean share of modes at rest."""
    masses, temperature = system.integrator.masses, system.integrator.temperature
    resting = 3 * len(masses) - system.centroid_degrees_of_freedom
    pressure = internal_pressure(
        *(state.momenta, masses, state.properties[STRESS.name].mean(dim=1), state.cell),
        resting_energy=0.5 * resting * BOLTZMANN * temperature,
    )
    return pressure * conversion_factor("eV/Å^3", "bar")


def _force_disagreement(state: State, system: System) -> Tensor:
    """Largest force on any atom of any bead."""
    return state.properties[FORCE_DISAGREEMENT].amax(dim=(1, 2))


def _of_quantity(quantity: Quantity, *, rate: bool = False) -> Observable:
    """Return the bead average of a quantity (not its value at the centroid).

    That of its time derivative is (1/P) Σ_j ∂A/∂r_j · v_j.
    """
    name, unit = quantity.name, quantity.unit
    if rate:
        name, unit = f"{name}_rate", f"{unit}/fs"

    def shape(n_beads: int, n_atoms: int) -> tuple[int, ...]:
        return quantity.shape_of(n_atoms)

    def estimate(state: State, system: System) -> Tensor:
        return state.properties[name].mean(dim=1)

    return Observable(
        *(name, unit, shape, estimate),
        evaluated=None if rate else quantity.name,
        rate=quantity.name if rate else None,
        interval=1.0 if quantity.recorded else 10.0,
    )


def with_rates(state: State, system: System, evaluator: Evaluator, names: Collection[str]) -> State:
    """Return the state with exact time derivatives of quantities added to its properties.

    Parameters
    ----------
    state, system
        Positions and velocities of all beads.
    evaluator
        Must have a method ``rates(positions, velocities, quantities)``.
    names
        Quantities to differentiate.

    Raises
    ------
    InvalidInputError
        The evaluator cannot differentiate.
    """
    if not names:
        return state
    rates = getattr(evaluator, "rates", None)
    if rates is None:
        raise InvalidInputError(
            key="observables",
            value=[f"{name}_rate" for name in names],
            expected=f"{', '.join(names)}, as this evaluator has no exact time derivatives",
        )
    velocities = system.integrator.velocities(state.momenta) * FEMTOSECOND
    found = rates(state.positions.flatten(0, 1), velocities.flatten(0, 1), tuple(names))
    shape = state.positions.shape[:2]
    extra = {f"{name}_rate": value.unflatten(0, shape) for name, value in found.items()}
    return replace(state, properties={**state.properties, **extra})


#: Observables by name, besides the quantities that a model predicts and their rates, such
#: as ``"dipole"`` and ``"dipole_rate"``; see :func:`observable`.
OBSERVABLES: dict[str, Observable] = {
    o.name: o
    for o in (
        Observable("positions", "Å", _atoms, _positions, interval=1.0),
        Observable("velocities", "Å/fs", _atoms, _velocities),
        Observable("bead_positions", "Å", lambda p, n: (p, n, 3), _bead_positions, interval=100.0),
        Observable("centroid_force", "eV/Å", _atoms, _centroid_force),
        Observable("potential_energy", "eV", _scalar, _potential_energy),
        Observable("kinetic_energy", "eV", _scalar, _kinetic_energy),
        Observable("kinetic_energy_primitive", "eV", _scalar, _kinetic_energy_primitive),
        Observable("kinetic_energy_virial", "eV", _scalar, _kinetic_energy_virial),
        Observable("temperature", "K", _scalar, _temperature),
        Observable("centroid_temperature", "K", _scalar, _centroid_temperature),
        Observable("conserved_energy", "eV", _scalar, _conserved_energy),
        Observable("cell", "Å", lambda p, n: (3, 3), _cell, periodic=True),
        Observable("volume", "Å^3", _scalar, _volume, periodic=True),
        Observable("pressure", "bar", _scalar, _pressure, evaluated=STRESS.name, periodic=True),
        Observable("radius_of_gyration", "Å", lambda p, n: (n,), _radius_of_gyration),
        Observable(
            *(FORCE_DISAGREEMENT, "eV/Å", _scalar, _force_disagreement),
            evaluated=FORCE_DISAGREEMENT,
        ),
    )
}
_BUILT_IN = frozenset(OBSERVABLES)


def register_observable(observable: Observable) -> Observable:
    """Register a custom observable by name.

    Its module is imported if listed in ``EQCALC_PLUGINS``, or if the observable is requested as
    ``"package.module:NAME"``.

    Returns
    -------
    Observable
        `observable` itself.

    Raises
    ------
    InvalidInputError
        The name is taken by an observable or quantity of eqcalc.
    """
    if observable.name in {*_BUILT_IN, *_of_structures()}:
        raise InvalidInputError(
            key="observable", value=observable.name, expected="a name that eqcalc does not use"
        )
    OBSERVABLES[observable.name] = observable
    return observable


def observable(name: str | Observable) -> Observable:
    """Return the observable called `name`; an observable is returned unchanged.

    Parameters
    ----------
    name
        One of :data:`OBSERVABLES`; ``"package.module:NAME"``; a quantity of the model,
        averaged over the beads; or a structure quantity with the suffix ``_rate``, its exact
        time derivative.

    Raises
    ------
    InvalidInputError
        There is no such observable.
    """
    if isinstance(name, Observable):
        return name
    if ":" in name:
        found = object_at("observables", name)
        if isinstance(found, Observable):
            return found
        raise InvalidInputError(key="observables", value=name, expected="an Observable")
    by_quantity = _of_structures()
    if name in OBSERVABLES:
        return OBSERVABLES[name]
    if name in by_quantity:
        return by_quantity[name]
    known = [*OBSERVABLES, *by_quantity]
    raise InvalidInputError(
        key="observables",
        value=name,
        expected=f"some of {', '.join(known)}, or package.module:NAME",
        suggestion=nearest(name, known),
    )


def _of_structures() -> dict[str, Observable]:
    """Return the observables of all quantities, and of the rates of structure quantities."""
    known = [q for q in known_quantities().values() if q.name not in ("energy", "forces")]
    whole = [q for q in known if not q.per_atom and q.derivative_of is None]
    rates = [_of_quantity(q, rate=True) for q in whole]
    parts = [replace(_of_quantity(q), interval=1.0) for q in ATOMIC_PARTS.values()]
    return {o.name: o for o in (*map(_of_quantity, known), *rates, *parts)}


def strides_of(
    observables: Mapping[str, int] | Iterable[str | Observable], timestep: float
) -> dict[Observable, int]:
    """Return the steps between frames of each observable, by default from its interval.

    Raises
    ------
    InvalidInputError
        There is no such observable, or a stride is not a positive integer.
    """
    if isinstance(observables, Mapping):
        return {
            observable(name): count(f"observables.{name}", stride)
            for name, stride in observables.items()
        }
    return {item: max(1, round(item.interval / timestep)) for item in map(observable, observables)}


def default_observables(
    timestep: float, given: Collection[str], method: str | Method = "NVE"
) -> dict[str, int]:
    """Return strides for a spectrum and its assignment, or for what runs at constant pressure show.

    Dipole, polarizability and positions every 1 fs, the rest every 10 fs.

    Parameters
    ----------
    timestep
        [fs].
    given
        Quantities that the evaluator predicts.
    method
        At constant pressure there are no spectra; cell and pressure are recorded, and the rest
        every 10 fs.

    Raises
    ------
    InvalidInputError
        The timestep is not positive.
    """
    positive("timestep", timestep, unit="fs")
    names = [name for name, q in known_quantities().items() if q.recorded]
    names = [name for name in names if name in given]
    names += ["positions", "velocities", "potential_energy", "temperature", "conserved_energy"]
    if as_method(method).row.constant_pressure:
        names = ["cell", "pressure", *names[names.index("positions") :]]
        return strides_at(dict.fromkeys(names, 10.0), timestep)
    return {item.name: stride for item, stride in strides_of(names, timestep).items()}


def strides_at(intervals: Mapping[str, float | None], timestep: float) -> dict[str, int]:
    """Return strides by name from times between frames [fs]; None: the default interval."""
    return {
        name: max(1, round((observable(name).interval if time is None else time) / timestep))
        for name, time in intervals.items()
    }


def require_evaluated(
    observables: Iterable[Observable], evaluator: Evaluator, method: DynamicsMethod
) -> None:
    """Require that the evaluator predicts every recorded quantity, and the stress for a barostat.

    Raises
    ------
    InvalidInputError
        It does not; or a time derivative is requested at constant pressure, where cells jump.
    """
    given = (*evaluator.quantities, *getattr(evaluator, "diagnostics", ()))
    if method.constant_pressure and STRESS.name not in given:
        raise InvalidInputError(
            f"{method.name} needs the stress",
            key="evaluator.quantities",
            value=given,
            expected=f"{STRESS.name} among them: a model of energies, and a structure with a cell",
        )
    for observable in observables:
        if observable.rate is not None and method.constant_pressure:
            raise InvalidInputError(
                key="observables",
                value=observable.name,
                expected=f"no time derivatives: {method.name} changes the cell by random steps",
            )
        needed = observable.evaluated or observable.rate
        if needed is not None and needed not in given:
            raise InvalidInputError(
                f"the model does not predict {needed}",
                key="observables",
                value=observable.name,
                expected=f"observables of {', '.join(given)}",
                advice=f"take a model that predicts it, or train one on labels with {needed}",
            )
