# SPDX-License-Identifier: MIT
"""Structures of any kind with messages summed by Triton kernels, and whether that pays."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import torch

from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.runtime.compiler import ExecutionUnavailableError, ExecutionWarning
from eqcalc.runtime.execution import EagerExecution
from eqcalc.runtime.timing import median_seconds
from eqcalc.runtime.triton_evaluator import kernel_failures, with_triton_kernels
from eqcalc.runtime.verification import trial_positions, verify_execution
from eqcalc.structures import Structures

__all__ = ["TritonExecution", "faster_execution"]

#: Atoms of the trial crystal along an edge, and their distance [Å]: a twentieth of an atom per Å³
#: is less than in most crystals, and they are fewer than in most cells of a GPU.
_EDGE, _SPACING = 8, 2.7

#: What was faster, by device, precision and network, measured once.
_faster: dict[tuple[Any, ...], type[EagerExecution]] = {}


class TritonExecution(EagerExecution):
    """Execution on a GPU with messages summed by Triton kernels.

    Parameters
    ----------
    potential
        The model, on a GPU.
    skin
        Extra distance of the neighbour list of periodic structures [Å].

    Raises
    ------
    ExecutionUnavailableError
        There are no kernels for this model or device, they cannot be compiled, or they
        disagree with the eager execution.
    """

    name: ClassVar[str] = "triton"

    def __init__(self, potential: Potential, skin: float = 0.5) -> None:
        super().__init__(with_triton_kernels(potential, frozen=True), skin)
        with kernel_failures():
            verify_execution(self, EagerExecution(potential, skin), potential)


def faster_execution(potential: Potential, skin: float = 0.5) -> EagerExecution:
    """Return the faster execution of crystals on a GPU: with Triton kernels, or without.

    The first time one is asked for a kind of model, energy and forces of 512 atoms
    are timed with both. Where Triton kernels cannot be used, a warning says why.
    """
    if "energy" not in potential.config.heads:  # a crystal has nothing else
        return EagerExecution(potential, skin)
    key = (str(potential.device), precision_of(potential), potential.config.representation)
    if _faster.get(key) is EagerExecution:
        return EagerExecution(potential, skin)
    try:
        fused = TritonExecution(potential, skin)
    except ExecutionUnavailableError as reason:
        warnings.warn(
            f"running the model as it is written, without fused kernels: {reason}",
            ExecutionWarning,
            stacklevel=3,
        )
        return EagerExecution(potential, skin)
    if key not in _faster:
        plain = EagerExecution(potential, skin)
        _faster[key] = type(min((fused, plain), key=lambda one: _seconds(one, potential)))
    return fused if _faster[key] is TritonExecution else EagerExecution(potential, skin)


def _seconds(execution: EagerExecution, potential: Potential) -> float:
    """Return the median time of an evaluation of a crystal."""
    n = _EDGE**3
    elements = torch.tensor(potential.references.elements)
    positions = trial_positions(n, 1)
    scale = _SPACING / float(positions.max() / (_EDGE - 1))
    cell = torch.eye(3, dtype=torch.float64)[None] * _EDGE * _SPACING
    crystal = Structures.pack(
        elements[torch.arange(n) % len(elements)],
        scale * positions[0],
        [n],
        cell=cell,
        pbc=torch.ones(1, 3, dtype=torch.bool),
    ).to(potential.device)
    names = ("energy", "forces")
    return median_seconds(lambda: execution.evaluate(crystal, names)[0]["forces"])
