# SPDX-License-Identifier: MIT
"""Spectra of a running simulation in constant memory.

Frames of the dipole moment or polarizability are added as they are computed; the spectrum of all
frames so far is available at any time and equals that of :func:`eqcalc.spectra.infrared` or
:func:`eqcalc.spectra.raman` for the whole series.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from eqcalc.spectra.estimation import Density, Products
from eqcalc.spectra.estimator.correlation import LagSums, Signal, lag_sums
from eqcalc.spectra.infrared_absorption import DIPOLE, infrared_result
from eqcalc.spectra.observable import Observable, SpectrumOptions, split_options
from eqcalc.spectra.quantum_factors import check_quantum_factor
from eqcalc.spectra.raman_scattering import POLARIZABILITY, RamanSpectrum, raman_result
from eqcalc.spectra.series import Series, finite_frames, require_stated
from eqcalc.spectra.series_checks import TensorSums
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidInputError, count, one_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

Result = TypeVar("Result")

#: Smallest number of frames read at once from a trajectory.
_PIECE = 10_000


class SpectrumAccumulator(Generic[Result]):
    """Correlation function of a growing series, and its spectrum.

    Created by :func:`infrared_accumulator` and :func:`raman_accumulator`. A resolution or lag is
    required; errors are from replicas.

    Parameters
    ----------
    observable
        The observable of the spectrum.
    result
        Maps a density, a series and the name of the quantum factor to the spectrum.
    n_replicas, rate, quantum_factor, options
        See :func:`infrared_accumulator`.
    """

    def __init__(
        self,
        observable: Observable,
        result: Callable[[Density, Series, str], Result],
        n_replicas: int,
        rate: bool,
        quantum_factor: str,
        options: Mapping[str, Any],
    ) -> None:
        count("n_replicas", n_replicas)
        facts, estimation = split_options(options)
        if estimation.lag is None and estimation.resolution is None:
            raise InvalidInputError(
                "give it, or the lag: the length of the run is unknown", key="resolution"
            )
        one_of("estimator", estimation.estimator, ("correlation",))
        one_of("errors", estimation.errors, (None, "replicas", "none"))
        require_stated(facts)
        series = Series((), quantity=observable.quantity, rate=rate, **facts)
        check_quantum_factor(quantum_factor, series.correlation, series.temperature)
        self._series, self._estimation = series, estimation
        self._quantum_factor = quantum_factor
        self._observable, self._finish = observable, result
        self._factor = series.factor(observable.unit)
        self._n_lags = estimation.number_of_lags(series.interval, np.iinfo(np.int32).max)
        self._sums = np.zeros((n_replicas, len(observable.groups), self._n_lags))
        self._frames = 0
        self._tensors = TensorSums()
        # the last frames as given (for differences), and the last derivatives
        self._last: np.ndarray | None = None
        self._recent: np.ndarray | None = None
        # derivatives not correlated yet: processed in blocks of the lag window, so that the cost
        # per frame does not depend on the size of additions
        self._waiting: list[np.ndarray] = []

    @property
    def n_frames(self) -> int:
        """Frames received so far, of each replica."""
        return self._frames

    def append(self, values: np.ndarray) -> None:
        """Add frames of all replicas, ``[n_replicas, n_new_frames, ...]``.

        Raises
        ------
        InvalidInputError
            The number of replicas is wrong, a value is not finite, or polarizabilities are not
            symmetric.
        """
        given = self._checked(values)
        if self._series.quantity == "polarizability":
            tensors = self._tensors
            for replica in given:
                tensors = tensors.plus(replica)
            tensors.require_symmetric()
            self._tensors = tensors
        self._add(given)

    def _checked(self, values: Any) -> list[np.ndarray]:
        """Return the frames of each replica, all finite and equally many."""
        known = self._observable.shapes
        forms = [f"[{len(self._sums)}, n_frames, {', '.join(map(str, s))}]" for s in known]
        shapes = [np.shape(v) for v in values] if np.iterable(values) else []
        if (
            len(shapes) != len(self._sums)
            or any(s[1:] not in known for s in shapes)
            or len({s[0] for s in shapes}) > 1
        ):
            expected = f"an array {' or '.join(forms)}"
            raise InvalidInputError(key="values", value=shapes or values, expected=expected)
        quantity, largest = self._series.quantity, self._series.largest
        return [
            finite_frames(v, f"{quantity}, replica {r}", self._frames, largest)
            for r, v in enumerate(values)
        ]

    def _add(self, given: list[np.ndarray]) -> None:
        """Add frames of each replica."""
        if len(given[0]) == 0:
            return
        components = self._observable.components or (lambda frames: frames)
        frames = np.stack([components(v) for v in given]) * self._factor
        self._frames += frames.shape[1]
        if not self._series.rate:
            joined = frames if self._last is None else np.concatenate([self._last, frames], 1)
            self._last = joined[:, -2:]
            frames = (joined[:, 2:] - joined[:, :-2]) / (2.0 * self._series.interval)
        self._waiting.append(frames)
        if sum(part.shape[1] for part in self._waiting) >= self._n_lags:
            self._correlate()

    def follow(self, trajectory: Trajectory, name: str) -> int:
        """Add the new frames of a trajectory, possibly of a running simulation.

        Returns the number of frames of the observable `name`, such as ``"dipole"``, that were
        added.

        Raises
        ------
        InvalidInputError
            Interval or unit differ from those of the accumulator.
        """
        made = Series.from_trajectory(trajectory, name)
        check_quantum_factor(self._quantum_factor, made.correlation, made.temperature)
        if made.correlation != self._series.correlation:
            # the method of the trajectory, and its warnings, belong to the spectrum
            facts = ("method", "n_beads", "correlation", "warnings")
            self._series = replace(self._series, **{f: getattr(made, f) for f in facts})
        added = 0
        while True:
            piece = trajectory.observable(
                name, frames=slice(self._frames, self._frames + max(self._n_lags, _PIECE))
            )
            own = self._series
            if not np.isclose(piece.interval, own.interval) or piece.unit != own.unit:
                raise InvalidInputError(
                    file=trajectory.path,
                    key=name,
                    value=f"{piece.unit} every {piece.interval:g} fs",
                    expected=f"{own.unit} every {own.interval:g} fs, as in the accumulator",
                )
            if piece.values.shape[1] == 0:
                return added
            self._add(self._checked(piece.values))
            added += piece.values.shape[1]

    def _correlate(self) -> None:
        """Add the pairs whose later frame is new: each sum only ever sees complete pairs."""
        frames = np.concatenate(self._waiting, 1) if self._waiting else np.empty((0, 0))
        self._waiting = []
        if frames.shape[1] == 0:
            return
        known = self._recent
        joined = frames if known is None else np.concatenate([known, frames], 1)
        pairs = self._observable.pairs
        # time reversed, the new frames are the earlier ones of each pair
        n_new, reach = frames.shape[1], min(self._n_lags, joined.shape[1])
        for r, replica in enumerate(joined[:, ::-1]):
            whole = lag_sums(Signal.from_array(replica), reach, pairs).sums[0]
            if known is not None:
                old = replica[n_new:]
                depth = min(reach, len(old))
                whole[:, :depth] -= lag_sums(Signal.from_array(old), depth, pairs).sums[0]
            self._sums[r, :, :reach] += whole
        self._recent = joined[:, max(joined.shape[1] - self._n_lags + 1, 0) :]

    def result(self) -> Result:
        """Return the spectrum of all frames so far.

        Raises
        ------
        LagWindowError
            There are fewer frames than lags.
        InvalidInputError
            The mean of the polarizabilities is not positive definite.
        """
        if not self._series.rate:
            self._tensors.require_positive()
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
        density = self._estimation.transform(self._series, products)
        return self._finish(density, self._series, self._quantum_factor)

    def state(self) -> dict[str, np.ndarray]:
        """Return the state for a restart, for example for ``numpy.savez``."""
        self._correlate()
        empty = np.empty(0)
        return {
            "sums": self._sums.copy(),
            "frames": np.array(self._frames),
            "last": empty if self._last is None else self._last.copy(),
            "recent": empty if self._recent is None else self._recent.copy(),
            "tensors": self._tensors.array.copy(),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state of an accumulator with the same settings."""
        names = {"sums", "frames", "last", "recent", "tensors"}
        if not isinstance(state, Mapping) or not names <= state.keys():
            expected = f"{', '.join(sorted(names))}, as state() returns them"
            raise InvalidInputError(key="state", value=state, expected=expected)
        if state["sums"].shape != self._sums.shape:
            raise InvalidInputError(
                key="state",
                value=state["sums"].shape,
                expected=f"that of {self._sums.shape} (replicas, groups, lags)",
            )
        self._sums = np.array(state["sums"])
        self._frames = int(state["frames"])
        self._last = np.array(state["last"]) if state["last"].size else None
        self._recent = np.array(state["recent"]) if state["recent"].size else None
        self._tensors = TensorSums(state["tensors"])
        self._waiting = []


def infrared_accumulator(
    n_replicas: int,
    *,
    rate: bool = False,
    quantum_factor: str = "harmonic",
    **options: Unpack[SpectrumOptions],
) -> SpectrumAccumulator[Spectrum]:
    """Return an accumulator of the infrared spectrum of dipoles ``[n_replicas, n_new, 3]``.

    Parameters
    ----------
    n_replicas
        Number of replicas that advance together.
    rate
        The frames are time derivatives, `unit` is per fs.
    quantum_factor
        See :func:`eqcalc.spectra.infrared`.
    options
        See :func:`eqcalc.spectra.infrared`; a resolution or lag is required.
    """
    return SpectrumAccumulator(
        DIPOLE,
        lambda density, series, factor: infrared_result(density, series, quantum_factor=factor),
        n_replicas,
        rate,
        quantum_factor,
        options,
    )


def raman_accumulator(
    n_replicas: int,
    *,
    rate: bool = False,
    quantum_factor: str = "harmonic",
    **options: Unpack[SpectrumOptions],
) -> SpectrumAccumulator[RamanSpectrum]:
    """Return an accumulator of the Raman spectrum of ``[n_replicas, n_new, 3, 3]``.

    The parameters are those of :func:`infrared_accumulator`.
    """
    return SpectrumAccumulator(
        POLARIZABILITY, raman_result, n_replicas, rate, quantum_factor, options
    )
