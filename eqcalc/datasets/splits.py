# SPDX-License-Identifier: MIT
"""Divide a dataset into training, validation and test parts, and remember how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from eqcalc.datasets.dataset import Dataset


def random_split(
    n_structures: int, sizes: Mapping[str, int | float], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Divide `n_structures` structures at random.

    Parameters
    ----------
    sizes
        Size of each part, for example ``{"training": 0.8, "validation": 100,
        "test": -1}``: a number, a fraction below one, or -1 (once) for all that
        is left.
    rng
        Random numbers.

    Returns
    -------
    dict
        Ascending indices of each part; disjoint.
    """
    numbers: dict[str, int] = {}
    for part, size in sizes.items():
        if size == -1 or (isinstance(size, int) and size >= 0):
            numbers[part] = int(size)
        elif isinstance(size, float) and 0.0 <= size < 1.0:
            numbers[part] = round(size * n_structures)
        elif isinstance(size, float) and size.is_integer() and size > 0:
            numbers[part] = int(size)
        else:
            raise ValueError(
                f"{part}: expected a number of structures, a fraction or -1, got {size}"
            )
    rest = [part for part, number in numbers.items() if number == -1]
    if len(rest) > 1:
        raise ValueError(f"only one part can be all that is left, got {', '.join(rest)}")
    taken = sum(number for number in numbers.values() if number > 0)
    if taken > n_structures:
        raise ValueError(f"the parts need {taken} structures, there are {n_structures}")
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
    ValueError
        An index is out of range, or occurs twice.
    """
    checked: dict[str, np.ndarray] = {}
    seen = np.full(n_structures, -1)
    for number, (part, indices) in enumerate(parts.items()):
        rows = np.atleast_1d(np.asarray(indices))
        if rows.size and (not np.issubdtype(rows.dtype, np.integer) or rows.ndim != 1):
            raise ValueError(f"{part}: expected integers [n], got {rows.dtype}")
        rows = rows.astype(np.int64)
        wrong = rows[(rows < 0) | (rows >= n_structures)]
        if len(wrong):
            raise ValueError(f"{part}: structure {wrong[0]} of a dataset of {n_structures}")
        if len(np.unique(rows)) < len(rows):
            raise ValueError(f"{part}: an index occurs twice")
        if (seen[rows] >= 0).any():
            index = rows[seen[rows] >= 0][0]
            before = list(checked)[seen[index]]
            raise ValueError(f"structure {index} is both in {before} and in {part}")
        seen[rows] = number
        checked[part] = rows
    return checked


def store_split(path: str | Path, name: str, parts: Mapping[str, ArrayLike]) -> Dataset:
    """Store the split `name` in the dataset at `path`; read it as ``dataset.splits[name]``.

    The file is rewritten beside the old one and then replaced. A split of the
    same name is not overwritten: results may refer to it.
    """
    dataset = Dataset.open(path)
    if name in dataset.splits:
        raise ValueError(f"{path} already has a split {name!r}; choose another name")
    checked = check_split(len(dataset), parts)
    with dataset.writer(path, overwrite=True) as writer:
        writer.append(dataset.records())
        for other, stored in {**dataset.splits, name: checked}.items():
            writer.add_split(other, stored)
    return Dataset.open(path)
