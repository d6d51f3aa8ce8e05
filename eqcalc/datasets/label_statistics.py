# SPDX-License-Identifier: MIT
"""Label statistics, used to shift and scale a model and to normalise its loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eqcalc.datasets.dataset import Dataset
from eqcalc.models.compositions import composition_table
from eqcalc.quantities import Quantity, quantity


@dataclass(frozen=True)
class LabelStatistics:
    """Statistics of one label, in internal units.

    Parameters
    ----------
    n
        Number of structures with the label.
    rms
        Root mean square of the components after subtraction of `element_values`; for the
        energy per atom.
    element_values
        Least-squares value of each element, by atomic number, for scalars and the
        isotropic part of tensors; None for other quantities.
    """

    n: int
    rms: float
    element_values: dict[int, float] | None = None


def statistics(dataset: Dataset) -> dict[str, LabelStatistics]:
    """Compute the statistics of the labels of `dataset`; pass the training part only."""
    found = {}
    for name in dataset.quantities:
        known = np.flatnonzero(dataset.present(name))
        if len(known):
            numbers, values = numbers_and_labels(dataset, name, known)
            found[name] = _statistics(quantity(name), numbers, values)
    return found


def _statistics(q: Quantity, numbers: Sequence[np.ndarray], values: np.ndarray) -> LabelStatistics:
    if q.per_atom:
        return LabelStatistics(len(numbers), _rms(values))
    if not q.isotropic:
        size = math.prod(q.shape)
        lengths = np.linalg.norm(values.reshape(len(values), size), axis=1)
        return LabelStatistics(len(numbers), _rms(lengths) / math.sqrt(size))
    best = fit_element_values(q, numbers, values)
    isotropic = isotropic_part(q, values)
    left = isotropic - element_totals(q, numbers, best)
    if q.error_per_atom:
        left = left / np.array([len(z) for z in numbers])
    rms = _rms(left)
    if q.rank == 2:
        # a times the unit matrix has three components a out of nine
        traceless = values - isotropic[:, None, None] * np.eye(3)
        rms = math.hypot(_rms(traceless), rms / math.sqrt(3.0))
    return LabelStatistics(len(numbers), rms, best)


def isotropic_part(q: Quantity, values: np.ndarray) -> np.ndarray:
    """Return scalars unchanged, and a third of the trace of tensors, ``[n_structures]``."""
    return np.trace(values, axis1=1, axis2=2) / 3.0 if q.rank == 2 else values


def fit_element_values(
    q: Quantity, numbers: Sequence[np.ndarray], values: np.ndarray, *, robust: bool = False
) -> dict[int, float]:
    """Fit a scalar, or the isotropic part of a tensor, by a sum or mean over atoms.

    The least-squares solution of minimum norm is taken, since the problem is underdetermined
    if, for example, all structures are the same molecule.

    Parameters
    ----------
    q
        The quantity; atomic values are averaged if it is intensive.
    numbers
        Atomic numbers of each structure.
    values
        ``[n_structures]`` or ``[n_structures, 3, 3]``, in internal units.
    robust
        Refit without structures whose value per atom deviates by more than three times
        1.4826 median absolute deviations, until converged (at most ten times).

    Returns
    -------
    dict
        Value of each element, by atomic number.
    """
    values = isotropic_part(q, values)
    sizes = np.array([len(z) for z in numbers])
    elements, composition = composition_table(np.concatenate(numbers), sizes)
    counts = composition.sum(axis=1)
    if not q.extensive:
        composition = composition / counts[:, None]
    used = np.ones(len(values), dtype=bool)
    for _ in range(10):
        fit = np.linalg.lstsq(composition[used], values[used], rcond=1e-10)[0]
        if not robust:
            break
        off = np.abs(values - composition @ fit) / counts
        within = off <= 3.0 * 1.4826 * max(float(np.median(off)), 1e-3)
        if (within == used).all() or within.sum() <= len(elements):
            break
        used = within
    return {int(z): float(value) for z, value in zip(elements, fit, strict=True)}


def element_totals(
    q: Quantity, numbers: Sequence[np.ndarray], values: Mapping[int, float]
) -> np.ndarray:
    """Return the sum (or mean) of the element `values` over the atoms of each structure."""
    combine = np.sum if q.extensive else np.mean
    return np.array([combine([values.get(int(z), 0.0) for z in zs]) for zs in numbers])


def numbers_and_labels(
    dataset: Dataset, name: str, rows: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the atomic numbers of structures and their labels called `name`."""
    return dataset.numbers(rows), dataset.labels(rows, [name])[0][name].numpy()


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
