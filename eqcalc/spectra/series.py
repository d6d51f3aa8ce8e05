# SPDX-License-Identifier: MIT
"""What a spectrum is computed from: arrays or a trajectory, as signals in known units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from eqcalc.spectra.continuity import (
    describe_repeat,
    equal_replicas,
    jump,
    repeated_frames,
)
from eqcalc.spectra.estimator.correlation import Signal, differentiate
from eqcalc.spectra.provenance import trajectory_provenance
from eqcalc.spectra.quantum_factors import check_method
from eqcalc.trajectory import Trajectory
from eqcalc.units import UnitError, conversion_factor

_MEANING = {
    "interval": "the time between frames [fs]",
    "temperature": "the temperature [K]",
    "unit": "the unit of the values",
}
#: An array of so many times more replicas than frames has its axes exchanged.
_EXCHANGED = 4


class TrajectoryLike(Protocol):
    """The part of :class:`eqcalc.trajectory.Trajectory` that spectra are made from."""

    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def temperature(self) -> float: ...  # noqa: D102
    @property
    def timestep(self) -> float: ...  # noqa: D102
    @property
    def n_beads(self) -> int: ...  # noqa: D102
    @property
    def provenance(self) -> dict[str, Any]: ...  # noqa: D102
    def observables(self) -> tuple[str, ...]: ...  # noqa: D102
    def observable(self, name: str, /) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class Series:
    """An observable along independent replicas, with what is needed to interpret it.

    Parameters
    ----------
    replicas
        One array ``[n_frames, ...]`` per replica; lengths may differ.
    interval
        Time between frames, fs.
    temperature
        K.
    unit
        Unit of the values.
    rate
        The values are a time derivative (unit per fs) already.
    method
        Name of the dynamics, or None if not stated.
    timestep
        Step of the integrator, fs, or None if not stated.
    n_beads
        Number of beads.
    thermostat_time
        Time constant of the friction on the physical modes, fs.
    provenance
        Where the data came from.
    names
        Of the replicas, such as their files; "replica 0", … by default.
    """

    replicas: tuple[Any, ...]
    interval: float
    temperature: float
    unit: str
    rate: bool = False
    method: str | None = None
    timestep: float | None = None
    n_beads: int = 1
    thermostat_time: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def name(self, index: int) -> str:
        """Return what messages call a replica."""
        return self.names[index] if self.names else f"replica {index}"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Frames of each replica."""
        return tuple(len(replica) for replica in self.replicas)

    def signals(
        self,
        unit: str,
        n_components: int,
        components: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> list[Signal]:
        """Return the time derivative of each replica, in `unit` per fs.

        Parameters
        ----------
        unit
            Unit of the observable (not of its derivative).
        n_components
            Number of components after `components`.
        components
            Takes frames ``[n, ...]`` to components ``[n, n_components]``;
            must be linear. Frames are flattened by default.
        """
        try:
            # times fs, a derivative has the unit of its observable (which may be a volume)
            factor = conversion_factor(f"{self.unit}*fs" if self.rate else self.unit, unit)
        except UnitError as error:
            if self.rate:
                raise UnitError(
                    f"unit of the time derivative: expected one like '{unit}/fs', got {self.unit!r}"
                ) from None
            raise UnitError(f"unit of the series: {error}") from None

        def signal(index: int, values: Any) -> Signal:
            def read(start: int, stop: int) -> np.ndarray:
                frames = np.asarray(values[start:stop], dtype=float)
                if not np.isfinite(frames).all():
                    bad = start + int(np.argwhere(~np.isfinite(frames))[0, 0])
                    raise ValueError(f"{self.name(index)}, frame {bad}: the value is not finite")
                flat = frames.reshape(len(frames), -1) if components is None else components(frames)
                return flat * factor

            whole = Signal(len(values), n_components, read)
            return whole if self.rate else differentiate(whole, self.interval)

        return [signal(index, values) for index, values in enumerate(self.replicas)]


class _StoredReplica:
    """One replica of an observable in a trajectory file, read in pieces when they are needed."""

    def __init__(self, trajectory: Trajectory, name: str, replica: int) -> None:
        self._trajectory, self._name = trajectory, name
        self._replica = slice(replica, replica + 1)
        first = trajectory.observable(name, self._replica, slice(0, 1)).values
        # a file may still be growing: its length is that of now
        self.shape = (trajectory.n_frames(name), *first.shape[2:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: slice) -> np.ndarray:
        first, stop, _ = frames.indices(len(self))
        piece = slice(first, stop)
        return self._trajectory.observable(self._name, self._replica, piece).values[0]


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return ", ".join("n_atoms" if n is None else str(n) for n in shape)


def _matches(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(
        want in (None, have) for have, want in zip(found, shape, strict=True)
    )


def _replicas(
    data: Any, shapes: Sequence[tuple[int | None, ...]], name: str
) -> tuple[np.ndarray, ...]:
    """Split data into replicas, each ``[n_frames, *shape]`` with one of `shapes`."""
    expected = " or ".join(f"[n_replicas, n_frames, {_shape_text(s)}]" for s in shapes)
    if isinstance(data, Mapping):
        data = list(data.values())
    # arrays on disk (h5py, memmap) are left there and read in pieces
    arrays = (
        [data]
        if hasattr(data, "shape")
        else [a if hasattr(a, "shape") else np.asarray(a, dtype=float) for a in data]
    )
    replicas: list[Any] = []
    for array in arrays:
        if any(_matches(tuple(array.shape[1:]), s) for s in shapes):
            replicas.append(array)
        elif any(_matches(tuple(array.shape[2:]), s) for s in shapes) and array is data:
            if array.shape[0] > _EXCHANGED * array.shape[1]:
                raise ValueError(
                    f"{name}: expected an array {expected}; shape {tuple(array.shape)} means "
                    f"{array.shape[0]} replicas of {array.shape[1]} frames: exchange the axes "
                    "with swapaxes(0, 1), or, if it is meant, give a list of replicas"
                )
            replicas.extend(array[r] for r in range(array.shape[0]))
        else:
            raise ValueError(
                f"{name}: expected an array {expected}, one replica of it, or a list of replicas "
                f"of different length; got shape {tuple(array.shape)}"
            )
    if not replicas:
        raise ValueError(f"{name}: no replica given; expected {expected}")
    return tuple(replicas)


def _check(series: Series, name: str) -> Series:
    """Refuse series of other codes that are not independent, unbroken motions."""
    for index, values in enumerate(series.replicas):
        # arrays on disk are not read as a whole
        if isinstance(values, np.ndarray) and not isinstance(values, np.memmap):
            repeated = repeated_frames(values)
            if repeated is not None:
                raise ValueError(f"{name}, {series.name(index)}: {describe_repeat(*repeated)}")
        found = None if series.rate else jump(values)
        if found is not None:
            frame, step, usual = found
            branch = (
                "another branch of the polarization of a cell (take it out with --unwrap, or "
                "eqcalc.spectra.unwrap_dipole), an atom put back into the cell, or "
                if name == "dipole"
                else ""
            )
            raise ValueError(
                f"{name}, {series.name(index)}: jumps by {step:.3g} {series.unit} from frame "
                f"{frame} to {frame + 1}, where {usual:.2g} is usual: {branch}a calculation that "
                "failed; repair it, or cut there and give the parts as replicas"
            )
    equal = equal_replicas(series.replicas)
    if equal is not None:
        first, second = map(series.name, equal)
        raise ValueError(
            f"{name}: {second} is the same motion as {first}; errors come from independent "
            "replicas, so give each once"
        )
    return series


def _thermostat_time(settings: dict[str, Any]) -> float | None:
    """Return the time constant [fs] of the thermostat in the settings of a simulation."""
    method = settings.get("method")
    if isinstance(method, dict) and method.get("time_constant"):
        return float(method["time_constant"])
    return None


def _read_trajectory(
    trajectory: Any,
    derivative: Any,
    name: str,
    shapes: Sequence[tuple[int | None, ...]],
    temperature: float | None,
) -> Series:
    """Return the series of an observable of a trajectory, or of its rate."""
    known = tuple(trajectory.observables())
    rate_name = f"{name}_rate"
    rate = rate_name in known and derivative is not False
    if not rate and name not in known:
        raise ValueError(f"the trajectory has no {name!r}; it has: {', '.join(known) or 'nothing'}")
    found = rate_name if rate else name
    if isinstance(trajectory, Trajectory):
        series = trajectory.observable(found, slice(0, 1), slice(0, 1))
        values: Any = [_StoredReplica(trajectory, found, r) for r in range(trajectory.n_replicas)]
    else:
        series = trajectory.observable(found)
        values = series.values
    return Series(
        replicas=_replicas(values, shapes, name),
        interval=float(series.interval),
        temperature=float(trajectory.temperature if temperature is None else temperature),
        unit=series.unit,
        rate=rate,
        method=trajectory.method,
        timestep=float(trajectory.timestep),
        n_beads=int(trajectory.n_beads),
        thermostat_time=_thermostat_time(getattr(trajectory, "settings", trajectory.provenance)),
        provenance=trajectory_provenance(trajectory),
    )


def read_series(
    data: Any,
    derivative: Any,
    *,
    name: str,
    shapes: Sequence[tuple[int | None, ...]],
    interval: float | None,
    temperature: float | None,
    unit: str | None,
    method: str | None,
    timestep: float | None,
    n_beads: int | None = None,
) -> Series:
    """Return the series of observable `name` from arrays or from a trajectory.

    Of a trajectory, the recorded time derivative ``"<name>_rate"`` is preferred
    to the observable itself.

    Parameters
    ----------
    data
        A trajectory, an array ``[n_replicas, n_frames, ...]``, one replica of
        it, a list of replicas of different length or a mapping of their names, or None.
    derivative
        The time derivative in the same forms, instead of `data`; for a
        trajectory, False uses the observable even if its derivative is there.
    name
        Name of the observable.
    shapes
        Shapes of one frame that are understood.
    interval, temperature, unit, method, timestep, n_beads
        fs, K, unit of `data` or of `derivative`, name of the dynamics, its
        step [fs] and its number of beads. With a trajectory they are known and must not be given.

    Raises
    ------
    TypeError
        Something needed is missing, or stated twice.
    ValueError
        The shape is wrong, a number is not positive, the method unknown, or an
        array repeats frames, jumps, or has two equal replicas.
    """
    stated = {
        "interval": interval,
        "unit": unit,
        "method": method,
        "timestep": timestep,
        "n_beads": n_beads,
    }
    if hasattr(data, "observable"):
        for key, value in stated.items():
            if value is not None:
                raise TypeError(f"{key}: a trajectory knows it; do not state it again")
        return _read_trajectory(data, derivative, name, shapes, temperature)
    if (data is None) == (derivative is None or derivative is False):
        raise TypeError(f"give either the {name} or its time derivative, and not both")
    for key, value in (("interval", interval), ("temperature", temperature), ("unit", unit)):
        if value is None:
            raise TypeError(f"{key}: {_MEANING[key]} must be stated for plain arrays")
    assert interval is not None and temperature is not None and unit is not None
    for key, number in (("interval", interval), ("temperature", temperature)):
        if not (np.isfinite(number) and number > 0.0):
            raise ValueError(f"{key}: expected a positive number, got {number}")
    if timestep is not None and not 0.0 < timestep <= interval * (1.0 + 1e-9):
        raise ValueError(
            f"timestep: the step of the integrator must lie between 0 and the interval between "
            f"frames ({interval} fs), got {timestep}"
        )
    if n_beads is not None and n_beads < 1:
        raise ValueError(f"n_beads: expected at least 1, got {n_beads}")
    check_method(method)
    rate = data is None
    given = derivative if rate else data
    series = Series(
        replicas=_replicas(given, shapes, name),
        interval=float(interval),
        temperature=float(temperature),
        unit=unit,
        rate=rate,
        method=method,
        timestep=None if timestep is None else float(timestep),
        n_beads=1 if n_beads is None else int(n_beads),
        names=tuple(map(str, given)) if isinstance(given, Mapping) else (),
    )
    return _check(series, name)
