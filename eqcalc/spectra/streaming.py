# SPDX-License-Identifier: MIT
"""Spectra of a running simulation, in memory that does not grow with it.

The frames of a dipole moment or polarizability are handed over as they come;
the spectrum of all frames so far can be asked for at any time and is the one
that :func:`eqcalc.spectra.infrared` or :func:`eqcalc.spectra.raman` gives for
the whole series.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from eqcalc.spectra.estimator.correlation import LagSums, Signal, lag_sums
from eqcalc.spectra.estimator.estimation import Density, Estimation, Pairs, Products, grouped
from eqcalc.spectra.infrared_absorption import infrared_result
from eqcalc.spectra.quantum_factors import check_method
from eqcalc.spectra.raman_scattering import RAMAN_GROUPS, RamanSpectrum, invariants, raman_result
from eqcalc.spectra.series import Series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.trajectory import Trajectory
from eqcalc.units import conversion_factor

Result = TypeVar("Result")

#: Frames read at once from a trajectory, at least.
_PIECE = 10_000


class SpectrumAccumulator(Generic[Result]):
    """Correlation function of a growing series, and the spectrum of it.

    Made by :func:`infrared_accumulator` and :func:`raman_accumulator`.

    Parameters
    ----------
    n_replicas
        Replicas that advance together.
    series
        Interval, temperature, unit and method; without frames.
    factor
        From the unit of the frames to that of the components.
    components
        Takes frames ``[n, ...]`` to components ``[n, n_components]``, linearly.
    pairs
        Groups of components.
    finish
        Takes a density and a series to the result.
    estimation
        A fixed lag or resolution; errors are from replicas.
    """

    def __init__(
        self,
        n_replicas: int,
        series: Series,
        factor: float,
        components: Callable[[np.ndarray], np.ndarray],
        pairs: Pairs,
        finish: Callable[[Density, Series], Result],
        estimation: Estimation,
    ) -> None:
        if n_replicas < 1:
            raise ValueError(f"n_replicas: expected at least 1, got {n_replicas}")
        if estimation.lag is None and estimation.resolution is None:
            raise TypeError("state the resolution or the lag: the length of the run is not known")
        if estimation.estimator != "correlation" or estimation.errors == "blocks":
            raise ValueError(
                "a running spectrum is the transform of a correlation function, with errors from "
                "replicas"
            )
        self._series = series
        self._factor = factor
        self._components = components
        self._groups = [a for a, _ in pairs]
        self._finish = finish
        self._estimation = estimation
        self._n_lags = estimation.number_of_lags(series.interval, np.iinfo(np.int32).max)
        shape = (n_replicas, len(self._groups), self._n_lags)
        self._sums = np.zeros(shape)
        self._frames = 0
        # the last frames as given (for differences), and the last derivatives
        self._last: np.ndarray | None = None
        self._recent: np.ndarray | None = None
        # derivatives not correlated yet: in portions as long as the lag window a
        # frame costs the same however few come at a time
        self._waiting: list[np.ndarray] = []

    @property
    def n_frames(self) -> int:
        """Frames received so far, of each replica."""
        return self._frames

    def append(self, values: np.ndarray) -> None:
        """Add frames of all replicas, ``[n_replicas, n_new_frames, ...]``.

        Raises
        ------
        ValueError
            The number of replicas is wrong, or a value is not finite.
        """
        values = np.asarray(values, dtype=float)
        if len(values) != len(self._sums):
            raise ValueError(f"expected {len(self._sums)} replicas, got {len(values)}")
        if not np.isfinite(values).all():
            bad = np.argwhere(~np.isfinite(values))[0]
            raise ValueError(
                f"replica {bad[0]}, frame {self._frames + bad[1]}: the value is not finite"
            )
        if values.shape[1] == 0:
            return
        frames = np.stack([self._components(v) for v in values]) * self._factor
        self._frames += frames.shape[1]
        if not self._series.rate:
            joined = frames if self._last is None else np.concatenate([self._last, frames], 1)
            self._last = joined[:, -2:]
            frames = (joined[:, 2:] - joined[:, :-2]) / (2.0 * self._series.interval)
        self._waiting.append(frames)
        if sum(part.shape[1] for part in self._waiting) >= self._n_lags:
            self._correlate()

    def follow(self, trajectory: Trajectory, name: str) -> int:
        """Add the frames of a trajectory, perhaps of a running simulation, that are not in yet.

        Parameters
        ----------
        trajectory
            Its file.
        name
            The observable, such as ``"dipole"``.

        Returns
        -------
        How many frames were added.

        Raises
        ------
        ValueError
            Interval or unit are not those of the accumulator.
        """
        added = 0
        while True:
            piece = trajectory.observable(
                name, frames=slice(self._frames, self._frames + max(self._n_lags, _PIECE))
            )
            if not np.isclose(piece.interval, self._series.interval) or piece.unit != (
                self._series.unit
            ):
                raise ValueError(
                    f"{trajectory.path}: {name!r} is recorded every {piece.interval:g} fs in "
                    f"{piece.unit}, but the accumulator is for {self._series.interval:g} fs and "
                    f"{self._series.unit}"
                )
            if piece.values.shape[1] == 0:
                return added
            self.append(piece.values)
            added += piece.values.shape[1]

    def _correlate(self) -> None:
        """Add the pairs whose later frame is new: each sum only ever sees complete pairs."""
        frames = np.concatenate(self._waiting, 1) if self._waiting else np.empty((0, 0))
        self._waiting = []
        if frames.shape[1] == 0:
            return
        known = self._recent
        joined = frames if known is None else np.concatenate([known, frames], 1)
        # time reversed, the new frames are the earlier ones of each pair
        n_new, reach = frames.shape[1], min(self._n_lags, joined.shape[1])
        for r, replica in enumerate(joined[:, ::-1]):
            whole = lag_sums(Signal.from_array(replica), reach, self._groups).sums[0]
            if known is not None:
                old = replica[n_new:]
                depth = min(reach, len(old))
                whole[:, :depth] -= lag_sums(Signal.from_array(old), depth, self._groups).sums[0]
            self._sums[r, :, :reach] += whole
        self._recent = joined[:, max(joined.shape[1] - self._n_lags + 1, 0) :]

    def result(self) -> Result:
        """Return the spectrum of all frames so far.

        Raises
        ------
        ValueError
            There are fewer frames than lags.
        """
        self._correlate()
        usable = self._frames - (0 if self._series.rate else 2)
        self._estimation.number_of_lags(self._series.interval, max(usable, 0))
        counts = np.tile(usable - np.arange(self._n_lags, dtype=float), (len(self._sums), 1))
        sums = LagSums(self._sums.copy(), counts)
        resampled = "replicas" if sums.n_parts > 1 and self._estimation.errors != "none" else "none"
        if resampled == "none":
            sums = sums.merged()
        frames = (self._frames,) * len(self._sums)
        products = Products(sums, self._n_lags, resampled, frames)
        return self._finish(self._estimation.transform(self._series, products), self._series)

    def state(self) -> dict[str, np.ndarray]:
        """Return what is needed to go on after a restart, for example in ``numpy.savez``."""
        self._correlate()
        empty = np.empty(0)
        return {
            "sums": self._sums.copy(),
            "frames": np.array(self._frames),
            "last": empty if self._last is None else self._last.copy(),
            "recent": empty if self._recent is None else self._recent.copy(),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state of an accumulator with the same settings."""
        if state["sums"].shape != self._sums.shape:
            raise ValueError(
                f"the state is of {state['sums'].shape} (replicas, groups, lags), but this "
                f"accumulator has {self._sums.shape}"
            )
        self._sums = np.array(state["sums"])
        self._frames = int(state["frames"])
        self._last = np.array(state["last"]) if state["last"].size else None
        self._recent = np.array(state["recent"]) if state["recent"].size else None
        self._waiting = []


def _series(
    interval: float,
    temperature: float,
    unit: str,
    rate: bool,
    method: str | None,
    timestep: float | None,
    n_beads: int,
) -> Series:
    for key, number in (("interval", interval), ("temperature", temperature)):
        if not (np.isfinite(number) and number > 0.0):
            raise ValueError(f"{key}: expected a positive number, got {number}")
    check_method(method)
    return Series((), interval, temperature, unit, rate, method, timestep, n_beads)


def infrared_accumulator(
    n_replicas: int,
    *,
    interval: float,
    temperature: float,
    unit: str,
    rate: bool = False,
    method: str | None = None,
    timestep: float | None = None,
    n_beads: int = 1,
    **estimation: Any,
) -> SpectrumAccumulator[Spectrum]:
    """Return an accumulator of the infrared spectrum of dipoles ``[n_replicas, n_new, 3]``.

    Parameters
    ----------
    n_replicas
        Replicas that advance together.
    rate
        The frames are time derivatives, `unit` is per fs.
    interval, temperature, unit, method, timestep, n_beads, estimation
        See :func:`eqcalc.spectra.infrared`; a resolution or lag is needed.
    """
    series = _series(interval, temperature, unit, rate, method, timestep, n_beads)
    return SpectrumAccumulator(
        n_replicas,
        series,
        conversion_factor(f"{unit}*fs" if rate else unit, "e*Å"),
        lambda frames: frames,
        grouped(slice(0, 3)),
        infrared_result,
        Estimation(**estimation),
    )


def raman_accumulator(
    n_replicas: int,
    *,
    interval: float,
    temperature: float,
    unit: str,
    rate: bool = False,
    method: str | None = None,
    timestep: float | None = None,
    n_beads: int = 1,
    **estimation: Any,
) -> SpectrumAccumulator[RamanSpectrum]:
    """Return an accumulator of the Raman spectrum of ``[n_replicas, n_new, 3, 3]``.

    The parameters are those of :func:`infrared_accumulator`.
    """
    series = _series(interval, temperature, unit, rate, method, timestep, n_beads)
    return SpectrumAccumulator(
        n_replicas,
        series,
        conversion_factor(f"{unit}*fs" if rate else unit, "Å^3"),
        invariants,
        RAMAN_GROUPS,
        raman_result,
        Estimation(**estimation),
    )
