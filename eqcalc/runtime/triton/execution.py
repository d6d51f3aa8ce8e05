# SPDX-License-Identifier: MIT
"""Executions of PaiNN with Triton kernels."""

from __future__ import annotations

import copy
import importlib.util
import math
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from eqcalc.models.networks.painn import Message, PaiNN
from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.runtime.cpp_compiler import ExecutionUnavailableError, ExecutionWarning
from eqcalc.runtime.cuda_graphs import CapturedExecution
from eqcalc.runtime.execution import EagerExecution, Execution
from eqcalc.runtime.triton.message import sum_messages
from eqcalc.runtime.verification import (
    median_seconds,
    trial_molecule,
    trial_positions,
    verify,
)
from eqcalc.structures import Structures


def with_triton_kernels(potential: Potential, *, frozen: bool = False) -> Potential:
    """Return a model that sums its messages by Triton kernels and shares its parameters.

    It may be trained: what an optimiser does to the parameters of one, it does to
    those of the other. There is no forward-mode differentiation.

    Parameters
    ----------
    potential
        The model, on a GPU, or on a CPU where Triton interprets its kernels.
    frozen
        Take no gradients of parameters, which spares the time that they need.

    Raises
    ------
    ExecutionUnavailableError
        There are no kernels for this network or device, or Triton is not installed.
    """
    representation = potential.representation
    if type(potential) is not Potential or type(representation) is not PaiNN:
        raise ExecutionUnavailableError(
            f"there are no Triton kernels for {type(representation).__name__}"
        )
    if importlib.util.find_spec("triton") is None:
        raise ExecutionUnavailableError("Triton is not installed: pip install 'eqcalc[triton]'")
    if potential.device.type != "cuda" and not _interpreted():
        raise ExecutionUnavailableError("Triton kernels run on a GPU only")
    shared: dict[int, Tensor] = {id(buffer): buffer for buffer in potential.buffers()}
    for parameter in potential.parameters():
        shared[id(parameter)] = (
            nn.Parameter(parameter.detach(), requires_grad=False) if frozen else parameter
        )
    twin = copy.deepcopy(potential, shared)
    for module in twin.modules():
        if isinstance(module, Message):
            module.aggregation = sum_messages
    return twin


@contextmanager
def kernel_failures() -> Iterator[None]:
    """Raise ExecutionUnavailableError for whatever the first use of kernels raises."""
    try:
        yield
    except ExecutionUnavailableError:
        raise
    except Exception as error:  # Triton, its compilers and the driver raise all kinds
        raise ExecutionUnavailableError(
            f"the Triton kernels cannot be compiled or run: {error}"
        ) from error


def _interpreted() -> bool:
    import triton

    return bool(triton.knobs.runtime.interpret)


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
        Extra distance of the neighbour list [Å].
    trials
        What to compare with the eager execution first; see :func:`verify`.

    Raises
    ------
    ExecutionUnavailableError
        There are no kernels for this model or device, they cannot be compiled, or they
        disagree with the eager execution.
    """

    name: ClassVar[str] = "triton"
    manner: ClassVar[str] = "Triton kernels"

    def __init__(
        self,
        potential: Potential,
        *,
        skin: float = 0.5,
        trials: Collection[Structures] | None = None,
    ) -> None:
        super().__init__(potential, skin=skin, network=with_triton_kernels(potential, frozen=True))
        with kernel_failures():
            verify(self, trials)

    @classmethod
    def for_molecule(
        cls, potential: Potential, numbers: Tensor, *, charge: float = 0.0, **options: Any
    ) -> TritonExecution:
        """Return an execution that was compared with the eager one for this molecule."""
        trials = (trial_molecule(potential, numbers, charge=charge),)
        return cls(potential, skin=0.0, trials=trials, **options)


class CapturedTritonExecution(CapturedExecution):
    """Execution on a GPU by playing back recorded evaluations with Triton kernels in them."""

    name: ClassVar[str] = "captured-triton"

    def _to_record(
        self, potential: Potential, numbers: Tensor, *, charge: float, **options: Any
    ) -> Execution:
        network = with_triton_kernels(potential, frozen=True)
        return EagerExecution(potential, skin=0.0, static_atoms=math.inf, network=network)


def faster_execution(potential: Potential, skin: float = 0.5) -> EagerExecution:
    """Return the faster execution of crystals on a GPU: with Triton kernels, or without.

    The first time one is asked for a kind of model, energy and forces of 512 atoms
    are timed with both. Where Triton kernels cannot be used, a warning says why.
    """
    if "energy" not in potential.config.heads:  # a crystal has nothing else
        return EagerExecution(potential, skin=skin)
    key = (str(potential.device), precision_of(potential), potential.config.representation)
    if _faster.get(key) is EagerExecution:
        return EagerExecution(potential, skin=skin)
    try:
        fused = TritonExecution(potential, skin=skin)
    except ExecutionUnavailableError as reason:
        warnings.warn(
            f"running the model as it is written, without fused kernels: {reason}",
            ExecutionWarning,
            stacklevel=3,
        )
        return EagerExecution(potential, skin=skin)
    if key not in _faster:
        plain = EagerExecution(potential, skin=skin)
        _faster[key] = type(min((fused, plain), key=lambda one: _seconds(one, potential)))
    return fused if _faster[key] is TritonExecution else EagerExecution(potential, skin=skin)


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
    return median_seconds(lambda: execution.evaluate(crystal, names)["forces"])
