# SPDX-License-Identifier: MIT
"""Products of one-mode functions, and matrices of operators that act on few modes.

A configuration is the number of quanta in each mode, a row of an integer array. An operator
on some modes connects configurations which agree in all other modes; these are found by a sum of
random 64-bit numbers, one for each mode and quantum, in which the modes of the
operator are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eqcalc.anharmonic.expansion import Modes


def all_configurations(n_modes: int, quanta: int, highest: int) -> np.ndarray:
    """Return all configurations of at most so many quanta, ``[n, n_modes]``.

    Parameters
    ----------
    n_modes
        Number of modes.
    quanta
        Largest sum of quanta.
    highest
        Most quanta in a single mode.
    """
    rows = np.zeros((1, 0), dtype=np.int64)
    left = np.array([quanta])
    for _ in range(n_modes):
        choices = np.minimum(left, highest) + 1
        parent = np.repeat(np.arange(len(rows)), choices)
        added = np.arange(len(parent)) - np.repeat(np.cumsum(choices) - choices, choices)
        rows = np.column_stack([rows[parent], added])
        left = left[parent] - added
    return rows[np.lexsort((*-rows.T[::-1], rows.sum(axis=1)))]


def connections(
    rows: np.ndarray, columns: np.ndarray, modes: Modes
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of configurations that agree in all but these modes, as two indices."""
    # what is left of a row without the quanta of these modes must fit among the columns
    rest = rows.sum(axis=1) - rows[:, list(modes)].sum(axis=1)
    candidates = np.flatnonzero(rest <= columns.sum(axis=1).max())
    weights = np.array(np.random.default_rng(0).integers(1, 2**63, rows.shape[1]), dtype=np.uint64)
    weights[list(modes)] = 0
    keys = (rows[candidates].astype(np.uint64) * weights).sum(axis=1)
    others = (columns.astype(np.uint64) * weights).sum(axis=1)
    order = np.argsort(others, kind="stable")
    first = np.searchsorted(others[order], keys, side="left")
    counts = np.searchsorted(others[order], keys, side="right") - first
    starts = np.repeat(first - np.cumsum(counts) + counts, counts)
    return np.repeat(candidates, counts), order[starts + np.arange(len(starts))]


def elements(
    operator: np.ndarray, rows: np.ndarray, columns: np.ndarray, modes: Modes
) -> np.ndarray:
    """Return elements of an operator ``[n, n, n', n', …]`` between pairs of configurations."""
    quanta = [x[:, k] for k in modes for x in (rows, columns)]
    return np.asarray(operator[tuple(quanta)])


def matrix(
    operators: Mapping[Modes, np.ndarray], rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Return the matrix of a sum of operators, ``[n_rows, n_columns]``."""
    result = np.zeros((len(rows), len(columns)))
    for modes, operator in operators.items():
        i, j = connections(rows, columns, modes)
        result[i, j] += elements(operator, rows[i], columns[j], modes)
    return result


def diagonal(operators: Mapping[Modes, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return the diagonal elements of a sum of operators, ``[n_rows]``."""
    result = np.zeros(len(rows))
    for modes, operator in operators.items():
        result += elements(operator, rows, rows, modes)
    return result
