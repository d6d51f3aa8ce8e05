# SPDX-License-Identifier: MIT
"""Exact decomposition of a spectrum into the spectra and cross spectra of its parts.

An observable that is a sum of parts, X = Σ_g X_g, has the spectrum S = Σ_gh S_gh
with the cross spectra S_gh of every pair. Nothing is neglected: with whatever
else there is of X as a part of its own, all parts together are the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from eqcalc.spectra.estimation import Estimation, Products
from eqcalc.spectra.estimator.correlation import LagSums
from eqcalc.spectra.series import Series
from eqcalc.spectra.spectrum import Spectrum


@dataclass(frozen=True)
class Decomposition:
    """A spectrum and the parts it is made of; made by :func:`decompose`.

    Kept are the correlation functions of all pairs of parts. A spectrum is made
    when it is asked for, with bootstrap samples of the same replicas each time.

    Parameters
    ----------
    names
        Name of each part.
    products
        Lag sums of the pairs of parts i ≤ j, row by row.
    series, estimation
        What they are from, and how spectra are made of them.
    scale, unit, label
        Of the spectra, relative to the square of the unit of the series.
    """

    names: tuple[str, ...]
    products: Products
    series: Series
    estimation: Estimation
    scale: float
    unit: str
    label: str

    @cached_property
    def total(self) -> Spectrum:
        """The whole spectrum."""
        first, second = self._pairs
        return self._combined(np.where(first == second, 1.0, 2.0), self.label)

    def part(self, name: str) -> Spectrum:
        """Return the spectrum that a part would have by itself."""
        i = self._index(name)
        first, second = self._pairs
        weights = np.where((first == i) & (second == i), 1.0, 0.0)
        return self._combined(weights, f"{self.label}, {name}")

    def cross(self, first: str, second: str) -> Spectrum:
        """Return the interference of two parts, S_gh + S_hg; it may be negative."""
        i, j = sorted((self._index(first), self._index(second)))
        if i == j:
            raise ValueError(f"{first!r} does not interfere with itself; use part()")
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
        return Spectrum(
            wavenumber=density.wavenumber,
            values=self.scale * density.values[0],
            unit=self.unit,
            label=label,
            samples=None if density.samples is None else self.scale * density.samples[:, 0],
            n_independent=density.n_independent,
            provenance={"spectrum": "decomposition", **density.provenance},
            warnings=density.warnings,
        )

    def _index(self, name: str) -> int:
        try:
            return self.names.index(name)
        except ValueError:
            raise ValueError(f"no part {name!r}; there are: {', '.join(self.names)}") from None


def decompose(
    parts: Mapping[str, Sequence[np.ndarray] | np.ndarray] | None = None,
    *,
    derivative: Mapping[str, Sequence[np.ndarray] | np.ndarray] | None = None,
    interval: float,
    temperature: float,
    unit: str,
    quantity_unit: str,
    scale: float = 1.0,
    result_unit: str,
    label: str,
    method: str | None = None,
    timestep: float | None = None,
    n_beads: int = 1,
    sources: Sequence[int] | None = None,
    **estimation: Any,
) -> Decomposition:
    """Return the spectra and cross spectra of the parts of an observable.

    Parameters
    ----------
    parts
        The observable as a sum: arrays ``[n_replicas, n_frames, ...]`` of equal
        shape, or of each part a list of replicas, whose lengths may differ.
    derivative
        The time derivatives of the parts, instead of `parts`.
    interval, temperature
        fs, K.
    unit
        Unit of what is given, such as ``"e*Å"``, or ``"e*Å/fs"`` of derivatives.
    quantity_unit
        Unit of the observable, such as ``"e*Å"``, that `scale` refers to.
    scale, result_unit, label
        Of the result, relative to (quantity_unit)²/(amu Å²) per cm⁻¹.
    method, timestep, n_beads
        Of the dynamics, if known.
    sources
        ``[n_replicas]``, for pieces of replicas: which replica each is from. Pieces
        of the same replica are not independent and are resampled together.
    estimation
        See :class:`eqcalc.spectra.Estimation`.
    """
    if (parts is None) == (derivative is None):
        raise TypeError("give either the parts or their time derivatives, and not both")
    given = parts if parts is not None else derivative
    assert given is not None
    names = tuple(given)
    arrays = [[np.asarray(replica, dtype=float) for replica in given[name]] for name in names]
    shapes = {tuple(replica.shape for replica in part) for part in arrays}
    if len(shapes) != 1 or any(replica.ndim < 1 for replica in arrays[0]):
        raise ValueError(
            f"parts: expected arrays [n_replicas, n_frames, ...] of one shape, got {shapes}"
        )
    stacked = tuple(
        np.stack([replica.reshape(len(replica), -1) for replica in replicas], axis=1)
        for replicas in zip(*arrays, strict=True)
    )
    n, n_components = stacked[0].shape[1:]
    series = Series(
        replicas=stacked,
        interval=interval,
        temperature=temperature,
        unit=unit,
        rate=parts is None,
        method=method,
        timestep=timestep,
        n_beads=n_beads,
    )
    chosen = Estimation(**estimation)
    if not isinstance(chosen.generator, int):
        # every spectrum of the decomposition draws the same bootstrap samples
        chosen = replace(chosen, generator=int(chosen.generator.integers(2**63)))
    columns = [slice(i * n_components, (i + 1) * n_components) for i in range(n)]
    pairs = [(columns[i], columns[j]) for i, j in zip(*np.triu_indices(n), strict=True)]
    products = chosen.products(series, series.signals(quantity_unit, n * n_components), pairs)
    if sources is not None:
        products = _joined(products, sources)
    return Decomposition(names, products, series, chosen, scale, result_unit, label)


def _joined(products: Products, sources: Sequence[int]) -> Products:
    """Return products whose parts are replicas, made of those of pieces of replicas."""
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
