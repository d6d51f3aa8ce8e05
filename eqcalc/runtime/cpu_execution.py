# SPDX-License-Identifier: MIT
"""Executions on CPUs by compiled kernels."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.neighbors import NeighborList, Pairs
from eqcalc.runtime.cpu_kernels import Closest, Composition, FusedPotential, HalfPairs
from eqcalc.runtime.evaluator import EagerEvaluator
from eqcalc.runtime.execution import EagerExecution
from eqcalc.runtime.verification import verify_evaluator, verify_execution
from eqcalc.structures import Structures


class FusedEvaluator(EagerEvaluator):
    """Execution on CPUs by compiled kernels; derivatives of properties stay eager.

    The result of a configuration does not depend on the others in the call nor
    on the number of threads, to the last bit. Large calls are shared between as
    many threads as ``torch.get_num_threads()`` says.

    Parameters
    ----------
    potential
        The model, on a CPU.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    charge
        Its total charge [e].

    Raises
    ------
    ValueError
        The molecule contains an element that the model does not know.
    ExecutionUnavailableError
        There are no kernels for this model, they cannot be compiled, or they
        disagree with the eager execution.
    """

    execution: ClassVar[str] = "fused"

    def __init__(self, potential: Potential, numbers: Tensor, *, charge: float = 0.0) -> None:
        super().__init__(potential, numbers, charge=charge)
        self._fused = FusedPotential(potential)
        self._compositions: dict[int, Composition] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        verify_evaluator(self, EagerEvaluator(potential, numbers, charge=charge))

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate ``[n_structures, n_atoms, 3]`` Å; see :class:`Evaluator`."""
        if positions.ndim != 3 or positions.shape[1:] != (len(self.numbers), 3):
            raise ValueError(
                f"positions: expected shape (n_structures, {len(self.numbers)}, 3), "
                f"got {tuple(positions.shape)}"
            )
        n_threads = min(torch.get_num_threads(), len(positions))
        if n_threads <= 1:
            return self._evaluate(positions, quantities)
        if self._threads is None or self._process != os.getpid():  # a fork has no threads
            self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="eqcalc-fused")
            self._process = os.getpid()
        shares = positions.tensor_split(n_threads)
        parts = list(self._threads.map(lambda share: self._evaluate(share, quantities), shares))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_threads": None}

    def _evaluate(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        n = len(positions)
        composition = self._compositions.get(n)
        if composition is None:
            stack = self.stack(positions.double())
            composition = self._compositions[n] = self._fused.composition(stack)
        flat = positions.detach().reshape(-1, 3)
        values, _ = self._fused.evaluate(composition, flat, quantities)
        if "forces" in values:
            values["forces"] = values["forces"].reshape(positions.shape)
        return values


class FusedExecution:
    """Execution on a CPU by compiled kernels.

    Parameters
    ----------
    potential
        The model, on a CPU.
    skin
        Extra distance of the neighbour list of periodic structures [Å].

    Raises
    ------
    ExecutionUnavailableError
        There are no kernels for this model, they cannot be compiled, or they
        disagree with the eager execution.
    """

    name: ClassVar[str] = "fused"

    def __init__(self, potential: Potential, skin: float = 0.5) -> None:
        self._fused = FusedPotential(potential)
        self._neighbors = NeighborList(potential.cutoff, skin)
        self._last: tuple[Structures, Composition] | None = None
        self._last_pairs: tuple[Pairs, HalfPairs] | None = None
        verify_execution(self, EagerExecution(potential, skin), potential)

    def evaluate(
        self, structures: Structures, quantities: Collection[str]
    ) -> tuple[dict[str, Tensor], Closest]:
        """Evaluate; see :class:`Execution`."""
        composition = self._composition(structures)
        if not structures.periodic:
            return self._fused.evaluate(composition, structures.positions, quantities)
        return self._fused.evaluate(
            composition,
            structures.positions,
            quantities,
            cell=structures.cell,
            pairs=self._half_pairs(structures),
        )

    def _composition(self, structures: Structures) -> Composition:
        if self._last is not None:
            last, composition = self._last
            if (
                last.numbers is structures.numbers
                and last.owner is structures.owner
                and last.charge is structures.charge
            ):
                return composition
        composition = self._fused.composition(structures)
        self._last = (structures, composition)
        return composition

    def _half_pairs(self, structures: Structures) -> HalfPairs:
        pairs = self._neighbors.pairs(structures)
        if self._last_pairs is None or self._last_pairs[0] is not pairs:
            self._last_pairs = (pairs, HalfPairs.of(pairs))
        return self._last_pairs[1]
