# SPDX-License-Identifier: MIT
"""Dynamics driven directly by a quantum-chemistry method, to compare a model with."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from eqcalc.labelling.method import Method


class MethodEvaluator:
    """Call a method where dynamics would call a model, one configuration after the other.

    Parameters
    ----------
    method
        The method, for example :class:`~eqcalc.labelling.GFN2`.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    """

    def __init__(self, method: Method, numbers: Tensor) -> None:
        self.method = method
        self.numbers = torch.as_tensor(numbers, dtype=torch.int64)
        self.provenance: dict[str, Any] = {
            "method": method.name,
            "method_version": method.version,
            "level_of_theory": method.level_of_theory,
        }

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate ``[n_structures, n_atoms, 3]`` Å; see :class:`~eqcalc.runtime.Evaluator`."""
        numbers = self.numbers.numpy()
        values: dict[str, list[np.ndarray]] = {name: [] for name in quantities}
        for coordinates in positions.detach().cpu().numpy():
            labels = self.method.label(Atoms(numbers, coordinates), tuple(quantities))
            for name, collected in values.items():
                collected.append(np.asarray(labels[name], dtype=np.float64))
        return {name: torch.from_numpy(np.stack(column)) for name, column in values.items()}
