# SPDX-License-Identifier: MIT
from pathlib import Path

import numpy as np
import pytest

from eqcalc.datasets import Record

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def pbe0() -> Path:
    return DATA / "ethanol" / "pbe0-def2tzvp.h5"


@pytest.fixture
def mixed() -> list[Record]:
    """Three molecules of different size, labels and charge."""
    rng = np.random.default_rng(3)
    records = []
    for numbers, names, charge in (
        ([8, 1, 1], ("energy", "forces", "dipole"), 0.0),
        ([7, 1, 1, 1, 1], ("energy",), 1.0),
        ([6, 8], ("dipole", "polarizability"), 0.0),
    ):
        n = len(numbers)
        alpha = rng.normal(size=(3, 3))
        every = {
            "energy": rng.normal(),
            "forces": rng.normal(size=(n, 3)),
            "dipole": rng.normal(size=3),
            "polarizability": alpha @ alpha.T,
        }
        labels = {name: every[name] for name in names}
        positions = rng.normal(size=(n, 3)) + 3.0 * np.arange(n)[:, None]
        records.append(Record(np.array(numbers), positions, labels, charge, source=f"made {n}"))
    return records
