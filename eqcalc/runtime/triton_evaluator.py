# SPDX-License-Identifier: MIT
"""The model with its messages summed by Triton kernels, for GPUs."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from torch import Tensor, nn

from eqcalc.models.painn import Message, PaiNN
from eqcalc.models.potential import Potential
from eqcalc.runtime.captured import CapturedEvaluator
from eqcalc.runtime.compiler import ExecutionUnavailableError
from eqcalc.runtime.evaluator import EagerEvaluator
from eqcalc.runtime.triton_message import sum_messages
from eqcalc.runtime.verification import verify_evaluator

__all__ = ["CapturedTritonEvaluator", "TritonEvaluator", "kernel_failures", "with_triton_kernels"]


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


class TritonEvaluator(EagerEvaluator):
    """Execution with messages summed by Triton kernels; derivatives of properties stay eager.

    Parameters
    ----------
    potential
        The model, on a GPU.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    charge
        Its total charge [e].

    Raises
    ------
    ValueError
        The molecule contains an element that the model does not know.
    ExecutionUnavailableError
        There are no kernels for this model or device, they cannot be compiled, or they
        disagree with the eager execution.
    """

    execution: ClassVar[str] = "triton"

    def __init__(self, potential: Potential, numbers: Tensor, *, charge: float = 0.0) -> None:
        super().__init__(potential, numbers, charge=charge)
        with kernel_failures():
            verify_evaluator(self, EagerEvaluator(potential, numbers, charge=charge))

    def executed(self, potential: Potential) -> Potential:
        """Return the model with kernels in it."""
        return with_triton_kernels(potential, frozen=True)


class CapturedTritonEvaluator(CapturedEvaluator):
    """Execution on a GPU by playing back recorded evaluations with Triton kernels in them."""

    execution: ClassVar[str] = "captured-triton"

    def executed(self, potential: Potential) -> Potential:
        """Return the model with kernels in it."""
        return with_triton_kernels(potential, frozen=True)
