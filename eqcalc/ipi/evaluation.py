# SPDX-License-Identifier: MIT
"""Evaluate a model for i-PI: in atomic units, all beads in one call."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from ase import Atoms

from eqcalc.ipi.protocol import Result
from eqcalc.ipi.units import BOHR, extra_quantities
from eqcalc.quantities import quantity
from eqcalc.runtime import Evaluator, load_evaluator, to_numpy
from eqcalc.units import atomic_unit
from eqcalc.validation import InvalidInputError, one_of, shape

#: Largest number of atoms of a formula.
_MOST_ATOMS = 100_000


class BeadEvaluator:
    """Evaluates any number of beads of a molecule in one call of the model.

    Uses one transfer to the device and one back.

    Parameters
    ----------
    evaluator
        The model, for one molecule.
    quantities
        Names of the quantities to evaluate. Without ``"forces"`` energy and forces are
        reported as zero, for an i-PI component of weight zero.

    Raises
    ------
    InvalidInputError
        A quantity is not supported for i-PI.
    """

    def __init__(self, evaluator: Evaluator, quantities: Collection[str]) -> None:
        usable = ("energy", "forces", *extra_quantities())
        if not quantities:
            raise InvalidInputError(
                key="quantities", value="none", expected=f"some of {', '.join(usable)}"
            )
        for name in quantities:
            one_of("quantities", name, usable)
        self.evaluator = evaluator
        self.quantities = tuple(name for name in usable if name in set(quantities))
        self._to_atomic_units = {
            name: 1.0 / atomic_unit(quantity(name).unit) for name in self.quantities
        }
        self.n_atoms = len(evaluator.numbers)
        #: Calls and structures so far.
        self.calls = self.structures = 0

    @classmethod
    def load(
        cls, model: str, symbols: str, *, quantities: Collection[str], **options: Any
    ) -> BeadEvaluator:
        """Read a model file, which must predict the quantities.

        `symbols` are the elements in the order of the atoms, such as ``"C2OH6"``; options are
        those of :func:`eqcalc.runtime.load_evaluator`.
        """
        evaluator = load_evaluator(model, atomic_numbers(symbols), **options)
        missing = sorted(set(quantities) - set(evaluator.quantities))
        if missing:
            raise InvalidInputError(
                f"the model does not predict {', '.join(missing)}",
                file=model,
                key="quantities",
                value=tuple(missing),
                expected=f"some of {', '.join(evaluator.quantities)}",
            )
        return cls(evaluator, quantities)

    def __call__(self, positions: np.ndarray) -> list[Result]:
        """Evaluate ``[n_structures, n_atoms, 3]`` [bohr], not wrapped into a cell.

        Raises
        ------
        InvalidInputError
            The number of atoms is not that of the molecule, or a position is not finite.
        FloatingPointError
            The model returned non-finite values.
        """
        shape("positions", positions, ("structures", self.n_atoms, 3))
        self.calls += 1
        self.structures += len(positions)
        values = self.evaluator(torch.from_numpy(positions * BOHR), self.quantities)
        columns = {
            name: array * self._to_atomic_units[name] for name, array in to_numpy(values).items()
        }
        # one sum instead of all elements: non-finite values propagate
        if not math.isfinite(sum(float(array.sum()) for array in columns.values())):
            _explain(positions, columns)
        return self._results(positions, columns)

    def _results(self, positions: np.ndarray, columns: dict[str, np.ndarray]) -> list[Result]:
        extra = {
            name: columns[name].reshape(len(positions), -1).tolist()
            for name in self.quantities
            if name not in ("energy", "forces")
        }
        texts = [
            json.dumps({name: rows[i] for name, rows in extra.items()}) if extra else ""
            for i in range(len(positions))
        ]
        if "forces" not in columns:
            nothing, no_virial = np.zeros((self.n_atoms, 3)), np.zeros((3, 3))
            return [Result(0.0, nothing, no_virial, text) for text in texts]
        energies = columns["energy"].tolist() if "energy" in columns else [0.0] * len(positions)
        forces = columns["forces"]
        # relative to the first atom, to keep precision far from the origin
        arms = positions - positions[:, :1]
        virials = np.matmul(arms.transpose(0, 2, 1), forces)
        return [Result(*parts) for parts in zip(energies, forces, virials, texts, strict=True)]


def _explain(positions: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    """Raise an error that names the structure with non-finite positions or results."""
    broken = ~np.isfinite(positions).all(axis=(1, 2))
    if broken.any():
        raise InvalidInputError(
            "the dynamics has exploded",
            key=f"positions[{int(broken.argmax())}]",
            expected="finite numbers",
            advice="is the time step too long?",
        )
    for name, column in columns.items():
        broken = ~np.isfinite(column.reshape(len(positions), -1)).all(axis=1)
        if broken.any():
            raise FloatingPointError(
                f"the model returned a non-finite {name} for structure {int(broken.argmax())} of "
                f"{len(positions)}; it is probably far from anything the model was trained on"
            )


def atomic_numbers(symbols: str) -> np.ndarray:
    """Return the atomic numbers of ``"C2OH6"``, in order."""
    counts = re.findall(r"\d+", symbols)
    try:
        if len(symbols) > _MOST_ATOMS or sum(map(int, counts)) > _MOST_ATOMS:
            raise ValueError  # which would take much memory
        numbers = Atoms(symbols).numbers
    except (KeyError, ValueError, TypeError):
        numbers = np.zeros(0, dtype=int)
    if not len(numbers):
        raise InvalidInputError(
            key="symbols",
            value=symbols,
            expected="the elements in the order of the atoms, such as C2OH6",
        )
    return np.asarray(numbers, dtype=np.int64)


def parse_quantities(text: str) -> tuple[str, ...]:
    """Return the names in ``"energy+forces+dipole"``."""
    return tuple(name.strip() for name in text.split("+") if name.strip())
