# SPDX-License-Identifier: MIT
"""Executions of PaiNN with Triton kernels."""

from __future__ import annotations

import copy
import importlib.util
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import Tensor, nn

from eqcalc.models.networks.painn import FORMS, Message
from eqcalc.models.potential import Potential
from eqcalc.runtime.cuda_graphs import CapturedExecution
from eqcalc.runtime.execution import EagerExecution, Execution, ExecutionUnavailableError
from eqcalc.runtime.triton.message import sum_messages
from eqcalc.runtime.verification import VerifiedExecution
from eqcalc.structures import Structures


def with_triton_kernels(potential: Potential, *, frozen: bool = False) -> Potential:
    """Return a model that sums its messages with Triton kernels and shares its parameters.

    It may be trained: both models share their parameters. Forward-mode differentiation is not
    supported.

    Parameters
    ----------
    potential
        The model, on a GPU, or on a CPU where Triton interprets its kernels.
    frozen
        Skip the gradients of the parameters, which saves time.

    Raises
    ------
    ExecutionUnavailableError
        There are no kernels for this network or device, or Triton is not installed.
    """
    representation = potential.representation
    if type(potential) is not Potential or type(representation) not in FORMS:
        raise ExecutionUnavailableError(
            f"there are no Triton kernels for {type(representation).__name__}", key="network"
        )
    if importlib.util.find_spec("triton") is None:
        raise ExecutionUnavailableError(
            "is not installed", key="triton", advice="pip install 'eqcalc[triton]'"
        )
    if potential.device.type != "cuda" and not _interpreted():
        raise ExecutionUnavailableError(
            key="device", value=str(potential.device), expected="cuda, for Triton kernels"
        )
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
    except Exception as error:  # Triton, its compilers and the driver raise many types
        raise ExecutionUnavailableError(
            f"cannot be compiled or run: {error}", key="triton"
        ) from error


def _interpreted() -> bool:
    import triton

    return bool(triton.knobs.runtime.interpret)


class TritonExecution(VerifiedExecution):
    """Execution on a GPU with messages summed by Triton kernels.

    Parameters
    ----------
    potential
        The model, on a GPU.
    skin, trials
        See :class:`~eqcalc.runtime.verification.VerifiedExecution`.

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
        network = with_triton_kernels(potential, frozen=True)
        with kernel_failures():
            super().__init__(potential, skin=skin, trials=trials, network=network)


class CapturedTritonExecution(CapturedExecution):
    """Execution on a GPU by replaying CUDA graphs that contain Triton kernels."""

    name: ClassVar[str] = "captured-triton"

    def _to_capture(
        self, potential: Potential, numbers: Tensor, *, charge: float, **options: Any
    ) -> Execution:
        network = with_triton_kernels(potential, frozen=True)
        return EagerExecution(potential, skin=0.0, static_atoms=math.inf, network=network)
