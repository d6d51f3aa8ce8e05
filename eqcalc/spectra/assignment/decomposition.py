# SPDX-License-Identifier: MIT
"""Exact decomposition of a spectrum into the spectra and cross spectra of its parts.

An observable that is a sum of parts, X = Σ_g X_g, has the spectrum S = Σ_gh S_gh
with the cross spectra S_gh of every pair. The decomposition is exact if the remainder of X is
included as a separate part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from eqcalc.spectra.estimation import Estimation, Products
from eqcalc.spectra.estimator.correlation import LagSums
from eqcalc.spectra.frames import LABORATORY
from eqcalc.spectra.observable import split_options
from eqcalc.spectra.quantum_factors import check_quantum_factor, with_quantum_factor
from eqcalc.spectra.series import Series, one_given, require_stated
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import InvalidInputError, one_of


@dataclass(frozen=True)
class Decomposition:
    """A spectrum and its parts, from :func:`decompose`.

    It stores the correlation functions of all pairs of parts. Spectra are computed on request,
    always with bootstrap samples of the same replicas.

    Parameters
    ----------
    names
        Name of each part.
    products
        Lag sums of the pairs of parts i ≤ j, row by row.
    series, estimation
        The series, and the options of the spectral estimate.
    scale, unit, label
        Scale, unit and label of the spectra; the scale is relative to the square of the unit of the
        series.
    quantum_factor, frame
        See :func:`eqcalc.spectra.infrared`.
    """

    names: tuple[str, ...]
    products: Products
    series: Series
    estimation: Estimation
    scale: float
    unit: str
    label: str
    quantum_factor: str = "harmonic"
    frame: str = LABORATORY

    @cached_property
    def total(self) -> Spectrum:
        """The total spectrum."""
        first, second = self._pairs
        return self._combined(np.where(first == second, 1.0, 2.0), self.label)

    def part(self, name: str) -> Spectrum:
        """Return the spectrum of one part alone."""
        i = self._index(name)
        first, second = self._pairs
        weights = np.where((first == i) & (second == i), 1.0, 0.0)
        return self._combined(weights, f"{self.label}, {name}")

    def cross(self, first: str, second: str) -> Spectrum:
        """Return the interference of two parts, S_gh + S_hg; it may be negative."""
        i, j = sorted((self._index(first), self._index(second)))
        if i == j:
            raise InvalidInputError(
                "does not interfere with itself", key=first, advice="use part()"
            )
        a, b = self._pairs
        weights = np.where((a == i) & (b == j), 2.0, 0.0)
        return self._combined(weights, f"{self.label}, {first} × {second}")

    def share(self, name: str) -> Spectrum:
        """Return the part's share of the total, Σ_h S_gh: shares sum to the total."""
        i = self._index(name)
        first, second = self._pairs
        weights = np.where((first == i) | (second == i), 1.0, 0.0)
        return self._combined(weights, f"{self.label}, share of {name}")

    @property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Parts of each pair."""
        first, second = np.triu_indices(len(self.names))
        return first, second

    def _combined(self, weights: np.ndarray, label: str) -> Spectrum:
        """Return the spectrum of the sum of the pairs' correlation functions."""
        used = np.flatnonzero(weights)
        sums = np.einsum("pkl,k->pl", self.products.sums.sums[:, used], weights[used])
        products = replace(self.products, sums=LagSums(sums[:, None], self.products.sums.counts))
        density = self.estimation.transform(self.series, products)
        found = density.spectrum(
            [self.scale],
            unit=self.unit,
            label=label,
            spectrum="decomposition",
            frame=self.frame,
        )
        return with_quantum_factor(found, self.series.temperature, self.quantum_factor)

    def _index(self, name: str) -> int:
        return self.names.index(one_of("part", name, self.names))


def decompose(
    parts: Mapping[str, Sequence[np.ndarray] | np.ndarray] | None = None,
    *,
    derivative: Mapping[str, Sequence[np.ndarray] | np.ndarray] | None = None,
    quantity_unit: str,
    scale: float = 1.0,
    result_unit: str,
    label: str,
    sources: Sequence[int] | None = None,
    quantum_factor: str = "harmonic",
    frame: str = LABORATORY,
    **options: Any,
) -> Decomposition:
    """Return the spectra and cross spectra of the parts of an observable.

    Parameters
    ----------
    parts
        The observable as a sum: arrays ``[n_replicas, n_frames, ...]`` of equal
        shape, or a list of replicas per part, whose lengths may differ.
    derivative
        The time derivatives of the parts, instead of `parts`.
    quantity_unit
        Unit of the observable, such as ``"e*Å"``, that `scale` refers to.
    scale, result_unit, label
        Scale, unit and label of the result; the scale is relative to (quantity_unit)²/(amu Å²) per
        cm⁻¹.
    sources
        ``[n_replicas]``, for pieces of replicas: index of the replica of each. Pieces of the same
        replica are not independent and are resampled together.
    quantum_factor
        See :func:`eqcalc.spectra.infrared`.
    frame
        That the parts are in, for the record.
    options
        Metadata of the series (at least ``interval``, ``temperature`` and ``unit``) and options of
        the estimate: see :func:`eqcalc.spectra.infrared`.

    Raises
    ------
    InvalidInputError
        The parts have different shapes.
    """
    given = one_given("the parts", parts, derivative)
    arrays = [[np.asarray(replica, dtype=float) for replica in part] for part in given.values()]
    shapes = {tuple(replica.shape for replica in part) for part in arrays}
    if len(shapes) != 1 or any(replica.ndim < 1 for replica in arrays[0]):
        expected = "arrays [n_replicas, n_frames, ...] of one shape"
        raise InvalidInputError(key="parts", value=shapes, expected=expected)
    stacked = tuple(
        np.stack([replica.reshape(len(replica), -1) for replica in replicas], axis=1)
        for replicas in zip(*arrays, strict=True)
    )
    n, n_components = stacked[0].shape[1:]
    facts, estimation = split_options(options)
    require_stated(facts)
    series = Series(stacked, rate=derivative is not None, **facts)
    check_quantum_factor(quantum_factor, series.correlation, series.temperature)
    if not isinstance(estimation.generator, int):
        # all spectra of the decomposition use the same bootstrap samples
        seed = int(estimation.generator.integers(2**63))
        estimation = replace(estimation, generator=seed)
    columns = [slice(i * n_components, (i + 1) * n_components) for i in range(n)]
    pairs = [(columns[i], columns[j]) for i, j in zip(*np.triu_indices(n), strict=True)]
    signals = series.signals(quantity_unit, n * n_components)
    products = estimation.products(series, signals, pairs)
    if sources is not None:
        products = _joined(products, sources)
    return Decomposition(
        tuple(given), products, series, estimation, scale, result_unit, label, quantum_factor, frame
    )


def _joined(products: Products, sources: Sequence[int]) -> Products:
    """Combine products of pieces of replicas into those of replicas."""
    found, owners = np.unique(np.asarray(sources), return_inverse=True)
    if len(found) == len(owners) or products.resampled != "replicas":
        return products
    sums = np.zeros((len(found), *products.sums.sums.shape[1:]))
    counts = np.zeros((len(found), *products.sums.counts.shape[1:]))
    np.add.at(sums, owners, products.sums.sums)
    np.add.at(counts, owners, products.sums.counts)
    frames = np.bincount(owners, weights=products.frames).astype(int)
    return replace(
        products,
        sums=LagSums(sums, counts),
        frames=tuple(frames.tolist()),
        resampled="replicas" if len(found) > 1 else "none",
    )
