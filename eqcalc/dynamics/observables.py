# SPDX-License-Identifier: MIT
"""What can be recorded while a simulation runs, each with its unit and estimator."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from eqcalc.dynamics.integrator import Integrator
from eqcalc.dynamics.state import State
from eqcalc.dynamics.thermostats.langevin import kinetic_energy
from eqcalc.models.committee import FORCE_DISAGREEMENT
from eqcalc.quantities import Quantity, known_quantities
from eqcalc.units import BOLTZMANN, FEMTOSECOND

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator


#: What the name of the time derivative of a quantity ends in.
_RATE = "_rate"


@dataclass(frozen=True)
class System:
    """What the estimators need to know besides the state.

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


@dataclass(frozen=True)
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
        The quantity the evaluator must return for it, if any.
    rate
        The quantity whose time derivative the evaluator must return for it, if any.
    """

    name: str
    unit: str
    shape: Callable[[int, int], tuple[int, ...]]
    estimate: Callable[[State, System], Tensor]
    evaluated: str | None = None
    rate: str | None = None


def _scalar(n_beads: int, n_atoms: int) -> tuple[int, ...]:
    return ()


def _atoms(n_beads: int, n_atoms: int) -> tuple[int, ...]:
    return (n_atoms, 3)


def _positions(state: State, system: System) -> Tensor:
    return state.positions.mean(dim=1)


def _velocities(state: State, system: System) -> Tensor:
    return state.momenta.mean(dim=1) / system.integrator.masses * FEMTOSECOND


def _bead_positions(state: State, system: System) -> Tensor:
    return state.positions


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
    """2K/(f P k_B) of all beads, which are at P·T."""
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


def _force_disagreement(state: State, system: System) -> Tensor:
    """Largest of all beads and atoms."""
    return state.properties[FORCE_DISAGREEMENT].amax(dim=(1, 2))


def _bead_average(name: str) -> Callable[[State, System], Tensor]:
    def estimate(state: State, system: System) -> Tensor:
        return state.properties[name].mean(dim=1)

    return estimate


def _shape(quantity: Quantity) -> Callable[[int, int], tuple[int, ...]]:
    return lambda n_beads, n_atoms: (*[n_atoms] * quantity.per_atom, *quantity.shape)


def _evaluated(quantity: Quantity) -> Observable:
    """Return the observable of a quantity: its mean over the beads, never of the centroid."""
    name = quantity.name
    return Observable(name, quantity.unit, _shape(quantity), _bead_average(name), evaluated=name)


def _rate(quantity: Quantity) -> Observable:
    """Return the time derivative of the observable of a quantity, (1/P) Σ_j ∂A/∂r_j · v_j."""
    name, unit = f"{quantity.name}{_RATE}", f"{quantity.unit}/fs"
    return Observable(name, unit, _shape(quantity), _bead_average(name), rate=quantity.name)


def with_rates(state: State, system: System, evaluator: Evaluator, names: Collection[str]) -> State:
    """Return the state with exact time derivatives of quantities among its properties.

    Parameters
    ----------
    state, system
        Positions and velocities of all beads.
    evaluator
        Must have a method ``rates(positions, velocities, quantities)``.
    names
        Quantities to be differentiated.

    Raises
    ------
    TypeError
        The evaluator cannot differentiate.
    """
    if not names:
        return state
    rates = getattr(evaluator, "rates", None)
    if rates is None:
        raise TypeError(
            f"{type(evaluator).__name__} offers no exact time derivatives; record "
            f"{', '.join(names)} instead of their rates"
        )
    velocities = system.integrator.velocities(state.momenta) * FEMTOSECOND
    found = rates(state.positions.flatten(0, 1), velocities.flatten(0, 1), tuple(names))
    shape = state.positions.shape[:2]
    extra = {f"{name}{_RATE}": value.unflatten(0, shape) for name, value in found.items()}
    return replace(state, properties={**state.properties, **extra})


#: Observables by name, besides the quantities that a model gives and their rates, such as
#: ``"dipole"`` and ``"dipole_rate"``; see :func:`observable`.
OBSERVABLES: dict[str, Observable] = {
    o.name: o
    for o in (
        Observable("positions", "Å", _atoms, _positions),
        Observable("velocities", "Å/fs", _atoms, _velocities),
        Observable("bead_positions", "Å", lambda p, n: (p, n, 3), _bead_positions),
        Observable("potential_energy", "eV", _scalar, _potential_energy),
        Observable("kinetic_energy", "eV", _scalar, _kinetic_energy),
        Observable("kinetic_energy_primitive", "eV", _scalar, _kinetic_energy_primitive),
        Observable("kinetic_energy_virial", "eV", _scalar, _kinetic_energy_virial),
        Observable("temperature", "K", _scalar, _temperature),
        Observable("centroid_temperature", "K", _scalar, _centroid_temperature),
        Observable("conserved_energy", "eV", _scalar, _conserved_energy),
        Observable("radius_of_gyration", "Å", lambda p, n: (n,), _radius_of_gyration),
        Observable(
            *(FORCE_DISAGREEMENT, "eV/Å", _scalar, _force_disagreement),
            evaluated=FORCE_DISAGREEMENT,
        ),
    )
}


def observable(name: str) -> Observable:
    """Return the observable called `name`.

    Parameters
    ----------
    name
        One of :data:`OBSERVABLES`; a quantity of the model, of which the mean over the
        beads is recorded; or a quantity of structures with ``_rate``, its exact time
        derivative.

    Raises
    ------
    ValueError
        There is no such observable.
    """
    if name in OBSERVABLES:
        return OBSERVABLES[name]
    known = {n: q for n, q in known_quantities().items() if q.derivative_of is None}
    known.pop("energy")  # which is the potential energy
    if name in known:
        return _evaluated(known[name])
    base = known.get(name.removesuffix(_RATE))
    if base is not None and not base.per_atom:
        return _rate(base)
    names = ", ".join([*OBSERVABLES, *known])
    raise ValueError(f"unknown observable {name!r}; expected some of {names}, or dipole_rate, …")


def default_observables(timestep: float, given: Collection[str]) -> dict[str, int]:
    """Return strides for a spectrum: dipole and polarizability every 1 fs, the rest 10 fs.

    Parameters
    ----------
    timestep
        [fs].
    given
        Quantities that the evaluator gives; there is no spectrum of others.

    Raises
    ------
    ValueError
        The timestep is not positive.
    """
    if not timestep > 0.0:
        raise ValueError(f"timestep must be positive, got {timestep}")
    fine, coarse = max(1, round(1.0 / timestep)), max(1, round(10.0 / timestep))
    return {
        **{name: fine for name, q in known_quantities().items() if q.recorded and name in given},
        "positions": coarse,
        "velocities": coarse,
        "potential_energy": coarse,
        "temperature": coarse,
        "conserved_energy": coarse,
    }


def check_given(observables: Collection[str], given: Collection[str]) -> None:
    """Raise ValueError for an observable of a quantity that the evaluator does not give."""
    for name in observables:
        needed = observable(name).evaluated or observable(name).rate
        if needed in known_quantities() and needed not in given:
            raise ValueError(
                f"observables: {name!r} cannot be recorded, for the model gives no {needed}; it "
                f"gives {', '.join(given)}"
            )


def check_observables(observables: Mapping[str, int]) -> None:
    """Raise ValueError for an unknown observable or a stride that is not a positive int."""
    for name, stride in observables.items():
        observable(name)
        if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
            raise ValueError(
                f"the stride of the observable {name!r} must be a positive whole number of steps, "
                f"got {stride!r}"
            )
