# SPDX-License-Identifier: MIT
"""States of i-PI as starting points of the in-process engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from eqcalc.dynamics import Given
from eqcalc.ipi import atomic_units
from eqcalc.ipi.description import Description, InputError, numbers_in


def initial_conditions(checkpoints: Sequence[str | Path]) -> Given:
    """Return positions and momenta of all beads, one replica for each system.

    Parameters
    ----------
    checkpoints
        Checkpoints of i-PI of the same molecule and number of beads.

    Raises
    ------
    InputError
        A file is no checkpoint, or they are of different sizes.
    """
    positions: list[np.ndarray] = []
    momenta: list[np.ndarray] = []
    for path in checkpoints:
        description = Description.read(path)
        for index, system in enumerate(description.systems(method="any")):
            element = description.root.findall("system")[index]
            shape = (system.n_beads, len(system.numbers), 3)
            for values, tag, unit in (
                (positions, "q", atomic_units.LENGTH),
                (momenta, "p", atomic_units.MOMENTUM),
            ):
                numbers = numbers_in(element.findtext(f"beads/{tag}") or "")
                if numbers.size != np.prod(shape):
                    raise InputError(f"{path}: expected {shape} numbers in <{tag}>")
                values.append(numbers.reshape(shape) * unit)
    if len({array.shape for array in positions}) != 1:
        raise InputError("the checkpoints are of different molecules or numbers of beads")
    return Given(torch.from_numpy(np.stack(positions)), torch.from_numpy(np.stack(momenta)))
