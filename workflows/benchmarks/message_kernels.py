# SPDX-License-Identifier: MIT
"""Check and time the Triton kernels for PaiNN's messages; a part of gpu.py.

    bash workflows/benchmarks/gpu.sh

Checks, against the equations in float64 on the CPU: sums of messages with their first and
second derivatives, for pairs without order and symmetry, atoms without pairs, and numbers
of features that are no powers of two; gradients of a loss of forces, dipoles and
polarizabilities with respect to every parameter. Times, beside the model as it is
written: one sum of messages and its gradient, and the time that memory needs to move each
of their arguments and results once; evaluations captured as CUDA graphs; training steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqcalc.models import Potential
from eqcalc.models.networks import painn
from eqcalc.neighbors import Pairs, all_pairs
from eqcalc.runtime import ExecutionUnavailableError, evaluator_for, with_triton_kernels
from eqcalc.runtime.triton.message import sum_messages
from eqcalc.structures import Structures

__all__ = [
    "check_messages",
    "check_training",
    "time_captured",
    "time_messages",
    "time_training_steps",
    "why_not",
]

ALL = ("energy", "forces", "dipole", "polarizability")
Clock = Callable[[Callable[[], object]], float]


def why_not(potential: Potential) -> str | None:
    """Return why the kernels cannot be used for a model here, or None."""
    try:
        with_triton_kernels(potential)
    except ExecutionUnavailableError as reason:
        return str(reason)
    return None


def _arguments(
    n_atoms: int, n_pairs: int, features: int, radial: int, dtype: torch.dtype, device: str
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    shapes = (
        (n_atoms, 3 * features), (n_atoms, 3, features), (n_pairs, radial),
        (radial, 3 * features), (n_pairs, 3),
    )  # fmt: skip
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64)
        .to(device, dtype)
        .requires_grad_()
        for shape in shapes
    ]


def _derivatives(function: painn.Aggregation, inputs: list[Tensor], pairs: Pairs) -> list[Tensor]:
    values = function(*inputs, pairs)
    first = torch.autograd.grad(sum(v.square().sum() for v in values), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return [*values, *first, *second]


def check_messages(device: str, n_atoms: int = 40, n_pairs: int = 1001) -> dict[str, float]:
    """Return relative deviations of sums of messages and their first and second derivatives."""
    generator = torch.Generator().manual_seed(3)
    receiver = torch.randint(1, n_atoms, (n_pairs,), generator=generator).sort().values
    sender = torch.randint(0, n_atoms - 1, (n_pairs,), generator=generator)
    result = {}
    for features in (6, 134):  # the model has 128
        inputs = _arguments(n_atoms, n_pairs, features, 5, torch.float64, "cpu")
        expected = _derivatives(painn.sum_messages, inputs, Pairs(receiver, sender))
        for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
            there = [x.detach().to(device, dtype).requires_grad_() for x in inputs]
            pairs = Pairs(receiver.to(device), sender.to(device))
            found = _derivatives(sum_messages, there, pairs)
            again = _derivatives(sum_messages, there, pairs)
            if not all(torch.equal(one, other) for one, other in zip(found, again, strict=True)):
                raise SystemExit("messages: the same input gave other bits")
            worst = max(
                float(((one.cpu() - other).abs().max() / other.abs().max()).detach())
                for one, other in zip(found, expected, strict=True)
            )
            label = f"{features} features {str(dtype)[6:]}"
            result[label] = worst
            if not worst <= tolerance:
                raise SystemExit(f"messages, {label}: off by {worst:.1e}")
    return result


def check_training(potential: Potential, exact: Potential, positions: Tensor) -> dict[str, float]:
    """Compare gradients of a loss with respect to parameters with those of the CPU in float64."""
    numbers = torch.tensor([6, 6, 8, 1, 1, 1, 1, 1, 1])
    gradients = []
    for model in (exact, with_triton_kernels(potential)):
        stack = Structures.stack(numbers.to(model.device), positions.to(model.device))
        model.zero_grad()
        values = model.evaluate(stack, all_pairs(stack), ALL, create_graph=True)
        sum(values[name].square().sum() for name in ALL[1:]).backward()
        gradients.append([p.grad.double().cpu() for p in model.parameters() if p.grad is not None])
        model.zero_grad()
    worst = max(
        float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
        for expected, found in zip(*gradients, strict=True)
    )
    if not worst <= (1e-8 if potential.dtype == torch.float64 else 1e-2):
        raise SystemExit(f"gradients of a loss of forces are off by {worst:.1e}")
    return {"gradients of a loss of forces": worst}


def time_messages(
    device: str, molecules: int, bandwidth: float, clock: Clock
) -> dict[str, float | int]:
    """Time a sum of messages of ethanols, 128 features, and its gradient.

    Parameters
    ----------
    device
        Where.
    molecules
        Number of molecules of nine atoms.
    bandwidth
        Of the memory of the device [TB/s].
    clock
        Returns the milliseconds of a call.
    """
    features, radial = 128, 21
    stack = Structures.stack(torch.ones(9, dtype=torch.int64), torch.zeros(molecules, 9, 3))
    pairs = all_pairs(stack)
    pairs = Pairs(pairs.receiver.to(device), pairs.sender.to(device), degree=8)
    n_atoms, n_pairs = 9 * molecules, 72 * molecules
    inputs = _arguments(n_atoms, n_pairs, features, radial, torch.float32, device)
    inputs[3].requires_grad_(False)  # as in dynamics: the parameters are constants
    wanted = [x for x in inputs if x.requires_grad]
    row: dict[str, float | int] = {"molecules": molecules}
    # bytes of arguments and results, with indices of 8 bytes
    of_atoms, of_pairs = 4 * features * n_atoms, n_pairs * (4 * (radial + 3) + 8)
    least = {
        "sum": 10 * of_atoms + of_pairs,
        "sum and gradient": (10 + 10 + 10) * of_atoms + 4 * of_pairs,
    }
    for name, function in (("eager", painn.sum_messages), ("triton", sum_messages)):

        def forward(function: painn.Aggregation = function) -> object:
            with torch.no_grad():
                return function(*inputs, pairs)

        def both(function: painn.Aggregation = function) -> object:
            values = function(*inputs, pairs)
            return torch.autograd.grad(values, wanted, values)

        for title, call in (("sum", forward), ("sum and gradient", both)):
            took = clock(call)
            row[f"{name} {title} ms"] = took
            floor = 1e-9 * least[title] / bandwidth
            row[f"{name} {title}, fraction of memory floor"] = floor / took
    return row


def time_captured(
    potential: Potential, positions: Tensor, numbers: Tensor, clock: Clock
) -> dict[str, Any]:
    """Time replayed evaluations, with and without kernels."""
    row: dict[str, Any] = {"molecules": len(positions)}
    for execution in ("captured", "captured-triton"):
        evaluator = evaluator_for(potential, numbers, execution=execution)
        for title, names in (("E+F", ALL[:2]), ("E+F+mu+alpha", ALL)):
            row[f"{execution} {title} ms"] = clock(lambda e=evaluator, q=names: e(positions, q))
    return row


def time_training_steps(
    potential: Potential, positions: Tensor, numbers: Tensor, clock: Clock
) -> dict[str, Any]:
    """Time the gradient of a loss of forces, dipole and polarizability."""
    stack = Structures.stack(numbers.to(potential.device), positions)
    pairs = all_pairs(stack)
    row: dict[str, Any] = {"molecules": len(positions)}
    for name, model in (("eager", potential), ("triton", with_triton_kernels(potential))):

        def step(model: Potential = model) -> None:
            model.zero_grad()
            values = model.evaluate(stack, pairs, ALL, create_graph=True)
            sum(values[name].square().mean() for name in ALL[1:]).backward()

        if potential.device.type == "cpu":
            row[f"{name} ms"] = clock(step)
            continue
        torch.cuda.reset_peak_memory_stats()
        row[f"{name} ms"] = clock(step)
        row[f"{name} GiB"] = torch.cuda.max_memory_allocated() / 2**30
    potential.zero_grad()
    return row
