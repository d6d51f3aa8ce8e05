# SPDX-License-Identifier: MIT
"""Compare a few labels of a dataset with a fast method, to catch a mistaken unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eqcalc.datasets.consistency import Agreement, regression
from eqcalc.datasets.dataset import Dataset
from eqcalc.labelling.method import ConvergenceError, Method
from eqcalc.quantities import quantity


def compare_with_method(
    dataset: Dataset,
    method: Method,
    name: str,
    rng: np.random.Generator,
    *,
    n: int = 30,
    tolerance: float = 0.6,
) -> Agreement:
    """Compare the label `name` of `n` random structures with those of `method`.

    Good to a factor of two: GFN2-xTB dipoles are within some 30 % of those of
    density-functional theory for most molecules, whereas mistaken units are off
    by a factor of 1.9 to 4.8. A molecule for which the method is bad looks like
    one.

    Parameters
    ----------
    name
        ``"forces"``, ``"dipole"`` or ``"polarizability"`` (not with GFN2-xTB,
        whose polarizabilities are half of the right ones).
    rng
        Chooses the structures.
    tolerance
        |ln slope| that the method may be off by.

    Returns
    -------
    Agreement
        Slope of the labels in `dataset` on those of `method`.
    """
    if quantity(name).rank == 0:
        raise ValueError(f"{name}: two sources may have another origin of energy")
    known = np.flatnonzero(dataset.present(name))
    if not len(known):
        raise ValueError(f"{dataset.path} has no {name}")
    x, y = [], []
    for record in dataset.records(rng.permutation(known)[:n]):
        try:
            computed = method.label(replace(record, labels={}).atoms(), (name,))[name]
        except ConvergenceError:
            continue
        x.append(np.ravel(computed))
        y.append(np.ravel(record.labels[name]))
    if not x:
        raise ConvergenceError(f"{method.name} converged for none of {min(n, len(known))}")
    return regression(name, np.concatenate(x), np.concatenate(y), tolerance, 0.8, len(x))
