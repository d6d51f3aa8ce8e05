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

from eqcalc.centroid import corrected
from eqcalc.ipi.protocol import Result
from eqcalc.ipi.units import BOHR, HARTREE, extra_quantities
from eqcalc.quantities import quantity
from eqcalc.runtime import Evaluator, load_evaluator, to_numpy
from eqcalc.units import atomic_unit
from eqcalc.validation import InvalidInputError, one_of, shape

#: Largest number of atoms of a formula.
_MOST_ATOMS = 100_000
#: Smallest width of a cell [Å]: that of a narrower one has shrunk without end.
_NARROWEST = 1.0


class BeadEvaluator:
    """Evaluates any number of beads of a molecule or cell in one call of the model.

    Uses one transfer to the device and one back.

    Parameters
    ----------
    evaluator
        The model, for one molecule or the contents of a cell.
    quantities
        Names of the quantities to evaluate. Without ``"forces"`` energy and forces are
        reported as zero, for an i-PI component of weight zero.
    periodic
        Whether i-PI's cells, which may change, take the place of that of the evaluator.

    Raises
    ------
    InvalidInputError
        A quantity is not supported for i-PI.
    """

    def __init__(
        self, evaluator: Evaluator, quantities: Collection[str], *, periodic: bool = False
    ) -> None:
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
        self.periodic = periodic
        #: Whether the virial is known; that of a cell is its stress.
        self.has_virial = not periodic or "stress" in evaluator.quantities
        self._names = self.quantities
        if periodic and self.has_virial and "forces" in self.quantities:
            self._names += ("stress",)
        #: Calls and structures so far.
        self.calls = self.structures = 0

    @classmethod
    def load(
        cls,
        model: str,
        symbols: str,
        *,
        quantities: Collection[str],
        periodic: bool = False,
        correction: str | None = None,
        **options: Any,
    ) -> BeadEvaluator:
        """Read a model file, which must predict the quantities.

        `symbols` are the elements in the order of the atoms, such as ``"C2OH6"``; `correction` is
        the file of a correction of the potential. Options are those of
        :func:`eqcalc.runtime.load_evaluator`.
        """
        some_cell = np.eye(3) if periodic else None  # i-PI's come with the positions
        evaluator = load_evaluator(model, atomic_numbers(symbols), cell=some_cell, **options)
        evaluator.provenance.pop("cell_angstrom", None)
        if correction is not None:
            evaluator = corrected(evaluator, correction)
        missing = sorted(set(quantities) - set(evaluator.quantities))
        if missing:
            raise InvalidInputError(
                f"the model does not predict {', '.join(missing)}{' of a cell' * periodic}",
                file=model,
                key="quantities",
                value=tuple(missing),
                expected=f"some of {', '.join(evaluator.quantities)}",
            )
        return cls(evaluator, quantities, periodic=periodic)

    def __call__(self, positions: np.ndarray, cells: np.ndarray | None = None) -> list[Result]:
        """Evaluate ``[n_structures, n_atoms, 3]`` [bohr].

        `cells` ``[n_structures, 3, 3]`` [bohr] have the vectors as columns. A molecule has none,
        and its atoms must not be wrapped into a cell.

        Raises
        ------
        InvalidInputError
            The number of atoms is not that of the molecule, a position is not finite, or a cell
            has collapsed.
        FloatingPointError
            The model returned non-finite values.
        """
        shape("positions", positions, ("structures", self.n_atoms, 3))
        self.calls += 1
        self.structures += len(positions)
        options: dict[str, Any] = {}
        if self.periodic:
            assert cells is not None
            rows = shape("cells", cells, (len(positions), 3, 3)).transpose(0, 2, 1) * BOHR
            _check_widths(rows)
            options["cells"] = torch.from_numpy(np.ascontiguousarray(rows))
        found = to_numpy(self.evaluator(torch.from_numpy(positions * BOHR), self._names, **options))
        columns = {name: found[name] * factor for name, factor in self._to_atomic_units.items()}
        if "stress" in found:
            volumes = np.linalg.det(rows)[:, None, None]
            columns["virial"] = -volumes * found["stress"] / HARTREE
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
        if not self.has_virial:
            virials = np.full((len(positions), 3, 3), np.nan)
        elif self.periodic:
            virials = columns["virial"]
        else:
            # relative to the first atom, to keep precision far from the origin
            arms = positions - positions[:, :1]
            virials = np.matmul(arms.transpose(0, 2, 1), forces)
        return [Result(*parts) for parts in zip(energies, forces, virials, texts, strict=True)]


def _check_widths(cells: np.ndarray) -> None:
    """Require that cells, with vectors as rows ``[n, 3, 3]`` Å, have not collapsed."""
    faces = np.cross(cells[:, [1, 2, 0]], cells[:, [2, 0, 1]])
    volumes = np.abs(np.einsum("na,na->n", cells[:, 0], faces[:, 0]))
    wide = (volumes[:, None] > _NARROWEST * np.linalg.norm(faces, axis=2)).all(axis=1)
    if not wide.all():
        raise InvalidInputError(
            "the cell has collapsed",
            key="cell",
            value=cells[int(wide.argmin())].tolist(),
            expected=f"widths of at least {_NARROWEST:g} Å",
            advice="is the model made for this density, and the barostat slow enough?",
        )


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
