# SPDX-License-Identifier: MIT
"""Time series of an observable along independent replicas, the input of every spectrum.

:class:`Series` is built from arrays of any code or from a trajectory. Functions such as
:func:`eqcalc.spectra.infrared` take a series, a trajectory or arrays, and convert them with
:func:`as_series`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from eqcalc import methods
from eqcalc.facts import ComparedByValue, facts_table
from eqcalc.quantities import known_quantities
from eqcalc.spectra.estimator.correlation import Signal, differentiate
from eqcalc.spectra.provenance import trajectory_provenance
from eqcalc.spectra.quantum_factors import temperature_warning
from eqcalc.spectra.series_checks import require_polarizabilities, require_unbroken
from eqcalc.trajectory import Trajectory
from eqcalc.units import UnitError, conversion_factor
from eqcalc.validation import LARGEST, InvalidInputError, count, one_of, positive, real, within

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Shape of one frame.
FrameShape = tuple[int, ...]

#: Quantities that are themselves time derivatives.
_RATES = ("velocities",)
_WIGNER_WITH_FRICTION = (
    "the run starts with the quantum energy of every mode (Wigner), which its thermostat removes "
    "in a few of its time constants: leave out the start (simulate --equilibration)"
)
_GLE_BY_NAME = (
    "a generalised Langevin equation gives classical or quantum energies, which its name does not "
    "say, and classical ones are assumed: with a covariance C other than k_BT state the method QT"
)
#: Relative deviation of two statements of a time or a unit that are the same.
SAME_STATEMENT = 1e-3
#: Replicas per frame above which the axes of an array are presumably exchanged.
_EXCHANGED = 4


class SeriesOptions(TypedDict, total=False):
    """Metadata that plain arrays lack; see :class:`Series`.

    With `derivative`, time derivatives are given instead of the observable. For a trajectory,
    ``derivative=False`` uses finite differences even if the derivative was recorded.
    """

    derivative: Any
    interval: float | None
    temperature: float | None
    unit: str | None
    method: str | None
    timestep: float | None
    n_beads: int | None
    correlation: str | None
    provenance: dict[str, Any] | None


#: Longest time between frames, a nanosecond [fs]; spectra need shorter ones, fluctuations do not.
LONGEST_INTERVAL = 1e6


@dataclass(frozen=True, repr=False, eq=False)
class Series(ComparedByValue):
    """An observable along independent replicas, with its metadata.

    Parameters
    ----------
    replicas
        ``[n_replicas, n_frames, ...]``, or one array ``[n_frames, ...]`` per replica, whose
        lengths may differ. For ring polymers, the mean over the beads of the dipole moment or
        polarizability of each; the centroid of positions and velocities.
    interval
        Time between frames, fs.
    temperature
        K.
    unit
        Unit of the values, such as ``"e*Å"``; of a time derivative ``"e*Å/fs"``.
    quantity
        Name of the observable: ``"dipole"``, ``"polarizability"``, ``"velocities"``, ….
    rate
        The values are the time derivative of the quantity.
    method
        Name of the dynamics (:data:`eqcalc.methods.METHODS`), or None if unknown.
    timestep
        Step of the integrator, fs, or None if unknown.
    n_beads
        Number of beads.
    thermostat_time
        Time constant of the friction on the physical modes, fs.
    correlation
        Kind of correlation function, by default that of the method; see
        :class:`eqcalc.methods.DynamicsMethod`.
    positions
        Positions of the atoms, Å, for spectra in a molecular frame.
    masses
        ``[n_atoms]``, amu, likewise.
    provenance
        Origin of the data, JSON-able.
    names
        Names of the replicas, such as their files; "replica 0", … by default.
    warnings
        Warnings for the reader of its spectra.

    Raises
    ------
    InvalidInputError
        A number is not positive, the method is unknown, or the beads are inconsistent with it.
    """

    replicas: Any
    interval: float
    temperature: float
    unit: str
    quantity: str = "values"
    rate: bool = False
    method: str | None = None
    timestep: float | None = None
    n_beads: int = 1
    thermostat_time: float | None = None
    correlation: str | None = None
    positions: Series | None = None
    masses: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not np.iterable(self.replicas):
            expected = "an array [n_replicas, n_frames, ...], or a list of replicas"
            raise InvalidInputError(key="replicas", value=self.replicas, expected=expected)
        within("interval", positive("interval", self.interval), 0.0, LONGEST_INTERVAL, unit="fs")
        positive("temperature", self.temperature, unit="K")
        count("n_beads", self.n_beads)
        if self.timestep is not None:
            # a step is never longer than the time between frames
            step = positive("timestep", self.timestep, unit="fs")
            within("timestep", step, 0.0, self.interval * (1.0 + 1e-9), unit="fs")
        known = self.dynamics
        if self.n_beads > 1 and known is not None and not known.ring_polymer:
            known.checked_beads(self.n_beads)
        object.__setattr__(self, "replicas", tuple(self.replicas))
        if self.correlation is None and (known or self.n_beads > 1):
            # beads sample quantum statistics in any dynamics
            object.__setattr__(self, "correlation", known.correlation if known else "none")

    @property
    def dynamics(self) -> methods.DynamicsMethod | None:
        """The method of the dynamics, if given."""
        return None if self.method is None else methods.method(self.method)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Frames of each replica."""
        return tuple(len(replica) for replica in self.replicas)

    def name(self, index: int) -> str:
        """Return the name of a replica for messages."""
        return self.names[index] if self.names else f"replica {index}"

    def _facts(self) -> dict[str, str]:
        if not self.replicas:
            return {}
        frames = "–".join(str(n) for n in sorted({min(self.lengths), max(self.lengths)}))
        beads = f", {self.n_beads} beads" if self.n_beads > 1 else ""
        return {
            "quantity": f"{'rate of ' if self.rate else ''}{self.quantity} [{self.unit}]",
            "size": f"{len(self.replicas)} × {frames} frames, shape {self.replicas[0].shape[1:]}",
            "interval": f"{self.interval:g} fs",
            "dynamics": f"{self.method or 'unknown method'}{beads}, {self.temperature:g} K",
        }

    def __repr__(self) -> str:
        """Return a short description without the values."""
        return f"Series({'; '.join(self._facts().values())})"

    def _repr_html_(self) -> str:
        return facts_table("Series", self._facts())

    # --- where it comes from ----------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        data: Any,
        quantity: str,
        shapes: Sequence[FrameShape],
        **facts: Any,
    ) -> Series:
        """Build a series from arrays of any code.

        Parameters
        ----------
        data
            An array ``[n_replicas, n_frames, ...]``, one replica of it, a list of replicas of
            different length, or a mapping from names to replicas.
        quantity
            Name of the observable.
        shapes
            Accepted shapes of one frame.
        facts
            Other fields of the series. ``interval``, ``temperature`` and ``unit`` are needed.

        Raises
        ------
        InvalidInputError
            The shape is wrong, or see :class:`Series`.
        """
        names: tuple[str, ...] = ()
        if isinstance(data, Mapping):
            names, data = tuple(map(str, data)), list(data.values())
        series = cls(_replicas(data, shapes, quantity), quantity=quantity, names=names, **facts)
        row = series.dynamics
        if row is None or "correlation" in facts or row.correlation != "classical":
            return series
        return replace(series, warnings=(_GLE_BY_NAME,)) if row.thermostat == "memory" else series

    @classmethod
    def from_trajectory(
        cls,
        trajectory: Trajectory,
        quantity: str,
        *,
        derivative: bool = True,
        temperature: float | None = None,
        positions: bool = False,
    ) -> Series:
        """Build a series from an observable of a trajectory.

        Parameters
        ----------
        trajectory
            Its file is read lazily. Any object with the same attributes is accepted.
        quantity
            The observable. Its recorded time derivative ``"<quantity>_rate"`` is preferred.
        derivative
            False: use the observable even if its time derivative was recorded.
        temperature
            K; that of the trajectory by default.
        positions
            Add the positions, for molecular frames.

        Raises
        ------
        InvalidInputError
            The observable was not recorded, or the pressure was constant: steps of the cell are
            not motion, and spectra of a cell have one volume.
        """
        require_constant_volume(trajectory)
        found = f"{quantity}_rate"
        rate = derivative and found in trajectory.observables()
        values, interval, unit = _observable(trajectory, found if rate else quantity)
        settings = getattr(trajectory, "settings", trajectory.provenance)
        method = settings.get("method")
        method = method if isinstance(method, Mapping) else {}
        correlation, warnings = _energies(trajectory, settings, method.get("covariance"))
        series = cls(
            replicas=values,
            interval=interval,
            temperature=float(trajectory.temperature if temperature is None else temperature),
            unit=unit,
            quantity=quantity,
            rate=rate or quantity in _RATES,
            method=trajectory.method,
            timestep=float(trajectory.timestep),
            n_beads=int(trajectory.n_beads),
            thermostat_time=method.get("time_constant") or None,
            correlation=correlation,
            warnings=tuple(warnings),
            masses=getattr(trajectory, "masses", None),
            provenance=trajectory_provenance(trajectory),
        )
        if not positions:
            return series
        values, interval, unit = _observable(trajectory, "positions")
        there = cls(values, interval, series.temperature, unit, "positions")
        return replace(series, positions=there)

    # --- what spectra are estimated from -------------------------------------------------

    def factor(self, unit: str) -> float:
        """Return the factor from the values to `unit`, or from time derivatives to `unit` per fs.

        Raises
        ------
        UnitError
            The unit of the series has another dimension.
        """
        try:
            # times fs, a derivative has the unit of its observable (which may be a volume)
            return conversion_factor(f"{self.unit}*fs" if self.rate else self.unit, unit)
        except UnitError as error:
            if self.rate:
                raise UnitError(
                    f"unit of the time derivative: expected one like '{unit}/fs', got {self.unit!r}"
                ) from None
            raise UnitError(f"unit of the series: {error}") from None

    @property
    def largest(self) -> float:
        """Largest value that is possible, in the unit of the series."""
        known = known_quantities().get(self.quantity)
        return LARGEST if known is None else known.largest / self.factor(known.unit)

    def signals(
        self,
        unit: str,
        n_components: int,
        components: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> list[Signal]:
        """Return the time derivative of each replica, in `unit` per fs.

        The unit is that of the quantity, not of its derivative. `components` maps frames ``[n,
        ...]`` linearly to ``[n, n_components]``; by default they are flattened.
        """
        factor, largest = self.factor(unit), self.largest

        def signal(index: int, values: Any) -> Signal:
            def read(start: int, stop: int) -> np.ndarray:
                key = f"{self.quantity}, {self.name(index)}"
                frames = finite_frames(values[start:stop], key, start, largest)
                flat = frames.reshape(len(frames), -1) if components is None else components(frames)
                return flat * factor

            whole = Signal(len(values), n_components, read)
            return whole if self.rate else differentiate(whole, self.interval)

        return [signal(index, values) for index, values in enumerate(self.replicas)]


def as_series(
    data: Any,
    quantity: str,
    shapes: Sequence[FrameShape],
    *,
    positions: bool = False,
    **options: Unpack[SeriesOptions],
) -> Series:
    """Return the series of a quantity from data of any supported form.

    Parameters
    ----------
    data
        A series; a trajectory; or, with `options`, arrays as in :meth:`Series.from_arrays`.
    quantity, shapes, positions
        See :meth:`Series.from_trajectory`.
    options
        Metadata of arrays. For a trajectory or a series, only the temperature may be overridden.

    Raises
    ------
    InvalidInputError
        A required option is missing or given twice; see :class:`Series`; or arrays repeat frames,
        jump, have two equal replicas, or are no polarizabilities in the usual order.
    """
    stated: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    derivative = stated.pop("derivative", None)
    if isinstance(data, Series) or hasattr(data, "observable"):
        for key in stated.keys() - {"temperature"}:
            raise InvalidInputError("known already; give it for plain arrays only", key=key)
    if isinstance(data, Series):
        one_of("quantity", data.quantity, (quantity,))
        _replicas(data.replicas, shapes, quantity)
        return _sound(replace(data, **stated))
    if hasattr(data, "observable"):
        wanted = derivative is not False and not positions
        series = Series.from_trajectory(
            data, quantity, derivative=wanted, positions=positions, **stated
        )
        _replicas(series.replicas, shapes, quantity)
        return series
    given = one_given(f"the {quantity}", data, None if derivative is False else derivative)
    _compare(given, stated)
    require_stated(stated)
    rate = data is None or quantity in _RATES
    return _sound(Series.from_arrays(given, quantity, shapes, rate=rate, **stated))


def one_given(name: str, data: Any, derivative: Any) -> Any:
    """Return what is given of some data and their time derivative, which must be one of them."""
    if (data is None) == (derivative is None):
        raise InvalidInputError(
            f"give either {name} or the time derivative, and not both", key="derivative"
        )
    return derivative if data is None else data


def require_stated(facts: Mapping[str, Any]) -> None:
    """Raise InvalidInputError unless facts say what plain arrays do not."""
    for key in ("interval", "temperature", "unit"):
        if key not in facts:
            raise InvalidInputError("must be stated for plain arrays", key=key)


def _sound(series: Series) -> Series:
    """Return a series that no file says more of, after checking its values."""
    if series.quantity == "polarizability":
        require_polarizabilities(series.replicas, rate=series.rate)
    return require_unbroken(series)


def _compare(data: Any, stated: dict[str, Any]) -> None:
    """Add what files say, as read by `read_series`, to what is stated, if that is the same."""
    for key, same in (("interval", lambda a, b: a / b), ("unit", conversion_factor)):
        said = getattr(data, key, None)
        if isinstance(data, Mapping) and said is not None:
            given = stated.setdefault(key, said)
            if abs(same(said, given) - 1.0) > SAME_STATEMENT:
                raise InvalidInputError(
                    key=key, value=given, expected=f"{said}, which the files say"
                )


def require_constant_volume(trajectory: Any) -> None:
    """Raise InvalidInputError for a run at constant pressure, of which there are no spectra."""
    dynamics = methods.method(trajectory.method)
    if dynamics.constant_pressure:
        raise InvalidInputError(
            "random steps of the cell are no motion of the atoms",
            file=getattr(trajectory, "path", None),
            key="method",
            value=dynamics.name,
            expected="dynamics at constant volume for spectra",
            advice="simulate (NVE) in the mean cell of this run",
        )


def finite_frames(values: Any, key: str, first: int = 0, largest: float = LARGEST) -> np.ndarray:
    """Return frames as float64; `first` is the number of the first one.

    Raises
    ------
    InvalidInputError
        A value is not finite, or larger than possible.
    """
    frames = real(key, values).astype(float, copy=False)
    broken = ~(np.abs(frames) < largest)
    if broken.any():
        bad = np.argwhere(broken)[0]
        value = float(frames[tuple(bad)])
        raise InvalidInputError(
            "a value that is not possible" if np.isfinite(value) else "non-finite values",
            key=f"{key}, frame {first + int(bad[0])}",
            value=value,
            expected=f"finite numbers below {largest:.3g}",
        )
    return frames


class _StoredReplica:
    """One replica of an observable in a trajectory file, read lazily in pieces."""

    def __init__(self, trajectory: Trajectory, name: str, replica: int) -> None:
        self._trajectory, self._name = trajectory, name
        self._replica = slice(replica, replica + 1)
        first = trajectory.observable(name, self._replica, slice(0, 1)).values
        # the file may still be growing: fix the current length
        self.shape = (trajectory.n_frames(name), *first.shape[2:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: slice) -> np.ndarray:
        first, stop, _ = frames.indices(len(self))
        piece = slice(first, stop)
        return self._trajectory.observable(self._name, self._replica, piece).values[0]


def _observable(trajectory: Any, name: str) -> tuple[Any, float, str]:
    """Return the replicas of an observable, the time between frames [fs] and the unit."""
    recorded = trajectory.observables()
    if name not in recorded:
        raise InvalidInputError(
            f"no {name} is recorded",
            file=getattr(trajectory, "path", None),
            key="observable",
            value=name,
            expected=f"one of {', '.join(recorded)}",
            advice=advice_to_record(trajectory, name),
        )
    if not isinstance(trajectory, Trajectory):
        series = trajectory.observable(name)
        return series.values, float(series.interval), series.unit
    series = trajectory.observable(name, slice(0, 1), slice(0, 1))
    values = [_StoredReplica(trajectory, name, r) for r in range(trajectory.n_replicas)]
    return values, float(series.interval), series.unit


def advice_to_record(trajectory: Any, quantity: str) -> str:
    """Return how to have a quantity that a trajectory lacks, from what its model predicts."""
    levels = trajectory.provenance.get("level_of_theory")
    learned = quantity in ("dipole", "polarizability") and isinstance(levels, Mapping)
    if learned and quantity not in levels:
        return (
            f"its model has learned {', '.join(levels)} only: take one that predicts the "
            f"{quantity}, or train one on labels with it (eqcalc label, eqcalc train)"
        )
    return f"record it with simulate(observables={{{quantity!r}: 2, …}})"


def _energies(
    trajectory: Any, settings: Mapping[str, Any], covariance: Any
) -> tuple[str | None, list[str]]:
    """Return the kind of correlation function, if not that of the method, and warnings.

    Classical nuclei have quantum energies with a generalised Langevin equation of C ≠ T, and
    after a start from the quantum distribution unless a thermostat has removed them.
    """
    row = methods.method(trajectory.method)
    target = float(trajectory.temperature)
    if row.correlation == "classical":
        start = settings.get("initial")
        quantum = isinstance(start, Mapping) and start.get("distribution") == "wigner"
        kept = quantum and not settings.get("equilibration")
        bath = 0.0
        if covariance is not None:
            matrix = np.asarray(covariance, dtype=float) / target
            bath = float(np.abs(matrix - np.eye(matrix.shape[-1])).max())
        if bath > 1e-6 or (kept and row.thermostatted == "none"):
            return "symmetrized", []
        if kept and row.thermostat == "global":
            return "rescaled", []
        if kept:
            return None, [_WIGNER_WITH_FRICTION]
    if row.correlation == "symmetrized" or "temperature" not in trajectory.observables():
        return None, []
    kinetic = trajectory.observable("temperature").values
    if not kinetic.size:
        return None, []
    freedom = max(3 * len(trajectory.numbers) - 3, 1)
    return None, temperature_warning(
        kinetic.mean(axis=1), target, target * float(np.sqrt(2.0 / freedom))
    )


def _replicas(data: Any, shapes: Sequence[FrameShape], quantity: str) -> tuple[Any, ...]:
    """Split data into replicas, each ``[n_frames, *shape]`` with one of `shapes`."""
    # arrays on disk (h5py, memmap) are read in pieces
    whole = hasattr(data, "shape")
    forms = " or ".join(f"[n_replicas, n_frames, {', '.join(map(str, s))}]" for s in shapes)
    expected = f"an array {forms}, one replica of it, or a list of replicas"
    if (not whole and not isinstance(data, Sequence)) or isinstance(data, str | bytes):
        raise InvalidInputError(key=quantity, value=data, expected=expected)
    arrays = [
        real(quantity, a) if isinstance(a, np.ndarray) or not hasattr(a, "shape") else a
        for a in ([data] if whole else data)
    ]
    replicas: list[Any] = []
    for array in arrays:
        shape = tuple(array.shape)
        if shape[1:] in shapes:
            replicas.append(array)
        elif not whole or shape[2:] not in shapes:
            raise InvalidInputError(key=quantity, value=shape, expected=expected)
        elif shape[0] > _EXCHANGED * shape[1]:
            raise InvalidInputError(
                f"{shape[0]} replicas of {shape[1]} frames",
                key=quantity,
                value=shape,
                expected=expected,
                advice="exchange the axes with swapaxes(0, 1), or, if intended, give a list",
            )
        else:
            replicas.extend(array[r] for r in range(shape[0]))
    if not replicas:
        raise InvalidInputError("no replica given", key=quantity, expected=expected)
    return tuple(replicas)
