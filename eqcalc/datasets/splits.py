# SPDX-License-Identifier: MIT
"""Split a dataset into training, validation and test parts, and store the split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from eqcalc.datasets.dataset import Dataset
from eqcalc.validation import InvalidInputError


def random_split(
    n_structures: int, sizes: Mapping[str, int | float], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Split `n_structures` structures at random.

    Parameters
    ----------
    sizes
        Size of each part, for example ``{"training": 0.8, "validation": 100, "test": -1}``:
        a number, a fraction below one, or -1 (once) for the remainder.
    rng
        Random generator.

    Returns
    -------
    dict
        Ascending indices of each part; disjoint.
    """
    numbers: dict[str, int] = {}
    for part, size in sizes.items():
        real = isinstance(size, int | float)
        if real and (size == -1 or size >= 0) and float(size).is_integer():
            numbers[part] = int(size)
        elif real and 0.0 < size < 1.0:
            numbers[part] = round(size * n_structures)
        else:
            expected = "a number of structures, a fraction or -1"
            raise InvalidInputError(key=part, value=size, expected=expected)
    rest = [part for part, number in numbers.items() if number == -1]
    if len(rest) > 1:
        raise InvalidInputError(key=rest[1], value=-1, expected="one part that is all that is left")
    taken = sum(number for number in numbers.values() if number > 0)
    if taken > n_structures:
        raise InvalidInputError(
            f"the parts need {taken} structures", key="sizes", expected=f"at most {n_structures}"
        )
    for part in rest:
        numbers[part] = n_structures - taken
    order = rng.permutation(n_structures)
    stops = np.cumsum(list(numbers.values()))
    return {
        part: np.sort(order[stop - number : stop])
        for (part, number), stop in zip(numbers.items(), stops, strict=True)
    }


def check_split(n_structures: int, parts: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Return `parts` as index arrays.

    Raises
    ------
    InvalidInputError
        An index is out of range, or occurs twice.
    """
    checked: dict[str, np.ndarray] = {}
    owner = np.full(n_structures, -1)
    for number, (part, indices) in enumerate(parts.items()):
        rows = np.atleast_1d(np.asarray(indices))
        if rows.size and (not np.issubdtype(rows.dtype, np.integer) or rows.ndim != 1):
            raise InvalidInputError(key=part, value=rows.dtype, expected="integers [n]")
        checked[part] = rows = rows.astype(np.int64)
        outside = rows[(rows < 0) | (rows >= n_structures)]
        if len(outside):
            expected = f"indices of {n_structures} structures"
            raise InvalidInputError(key=part, value=int(outside[0]), expected=expected)
        values, counts = np.unique(rows, return_counts=True)
        repeated = [*values[counts > 1], *rows[owner[rows] >= 0]]
        if repeated:
            index = int(repeated[0])
            first = part if owner[index] < 0 else list(checked)[owner[index]]
            raise InvalidInputError(
                f"already in {first}", key=part, value=index, expected="each index once"
            )
        owner[rows] = number
    return checked


def store_split(path: str | Path, name: str, parts: Mapping[str, ArrayLike]) -> Dataset:
    """Store the split `name` in the dataset at `path`; read it as ``dataset.splits[name]``.

    The file is replaced atomically. An existing split is not overwritten, since results may
    refer to it.
    """
    dataset = Dataset.open(path)
    if name in dataset.splits:
        raise InvalidInputError(
            key="name", value=name, expected="a name that no split has", file=dataset.path
        )
    return dataset.rewrite(splits={name: check_split(len(dataset), parts)})
