# SPDX-License-Identifier: MIT
"""Every execution is compared with the eager one before its first use."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.runtime.cpp_compiler import ExecutionUnavailableError
from eqcalc.runtime.evaluator import EagerEvaluator
from eqcalc.runtime.execution import Execution
from eqcalc.structures import Structures

#: Largest allowed deviation of a quantity, relative to its largest value. Two
#: orderings of the same sums differ by 10⁻⁶ and 10⁻¹³ with ordinary models; where factors
#: are rounded, such a difference can become one of the last digit of a factor.
TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "tf32": 1e-3, "bf16": 1e-2}

_SPACING = 1.4  # Å


def trial_positions(n_atoms: int, n_structures: int = 3) -> Tensor:
    """Return irregular but not absurd positions for atoms of any kind.

    Atoms lie near the points of a cubic lattice with a spacing of 1.4 Å, and
    the same call gives the same positions.

    Returns
    -------
    Tensor
        ``[n_structures, n_atoms, 3]`` Å.
    """
    points = torch.cartesian_prod(*[torch.arange(_edge(n_atoms), dtype=torch.float64)] * 3)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(n_structures, n_atoms, 3, generator=generator, dtype=torch.float64)
    return _SPACING * points.reshape(-1, 3)[:n_atoms] + 0.4 * noise


def deviations(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Return the largest deviation of each quantity relative to its largest value.

    Numbers that are finite in neither, as absurd models give them, agree.
    """
    result = {}
    for name, reference in expected.items():
        values = found[name].to(reference)
        agree = ~torch.isfinite(values) & ~torch.isfinite(reference)
        difference = (values - reference).abs().masked_fill(agree, 0.0).max()
        scale = reference.abs().masked_fill(agree, 0.0).max()
        result[name] = float(difference / scale.clamp(min=1e-6))
    return result


def verify_evaluator(
    evaluator: EagerEvaluator,
    reference: EagerEvaluator,
    n_structures: int = 3,
    names: Collection[str] | None = None,
) -> dict[str, float]:
    """Compare an evaluator with the eager one on trial positions.

    Parameters
    ----------
    evaluator, reference
        What is compared, and the eager one.
    n_structures
        Number of trial structures.
    names
        Quantities to compare; by default all that the model gives.

    Returns
    -------
    dict
        Relative deviation by quantity; the energy without its reference values.

    Raises
    ------
    ExecutionUnavailableError
        A deviation is larger than :data:`TOLERANCES` allow.
    """
    potential, numbers = reference.potential, reference.numbers
    positions = trial_positions(len(numbers), n_structures).to(reference.device)
    if names is None:
        names = potential.defined_for(reference.stack(positions))
    return _compared(
        evaluator.execution,
        potential,
        numbers.expand(len(positions), -1),
        evaluator(positions, names),
        reference(positions, names),
    )


def verify_execution(
    execution: Execution, reference: Execution, potential: Potential
) -> dict[str, float]:
    """Compare an execution with the eager one on a molecule and on a crystal.

    Returns
    -------
    dict
        The larger relative deviation by quantity.

    Raises
    ------
    ExecutionUnavailableError
        A deviation is larger than :data:`TOLERANCES` allow.
    """
    elements = potential.references.elements
    numbers = torch.tensor([elements[k % len(elements)] for k in range(7)])
    molecule = Structures.stack(numbers, trial_positions(7, 1)).to(potential.device)
    trials: list[Structures] = [molecule]
    if "energy" in potential.config.heads:
        edge = _SPACING * _edge(7) + 0.4
        settings: dict[str, Any] = vars(molecule)
        cell = torch.eye(3, dtype=torch.float64, device=potential.device)[None] * edge
        pbc = torch.ones(1, 3, dtype=torch.bool, device=potential.device)
        trials.append(Structures(**{**settings, "cell": cell, "pbc": pbc}))
    worst: dict[str, float] = {}
    for structures in trials:
        names = potential.defined_for(structures)
        found, expected = (e.evaluate(structures, names)[0] for e in (execution, reference))
        result = _compared(execution.name, potential, structures.numbers[None], found, expected)
        worst.update({name: max(value, worst.get(name, 0.0)) for name, value in result.items()})
    return worst


def _edge(n_atoms: int) -> int:
    """Return the edge of the smallest cube of lattice points for so many atoms."""
    edge = 1
    while edge**3 < n_atoms:
        edge += 1
    return edge


def _compared(
    execution: str,
    potential: Potential,
    numbers: Tensor,
    found: dict[str, Tensor],
    expected: dict[str, Tensor],
) -> dict[str, float]:
    if "energy" in expected:
        # total energies are large numbers that no execution can get wrong
        offset = potential.reference("energy").to(numbers.device)[numbers].sum(-1)
        found, expected = (
            {**values, "energy": values["energy"] - offset} for values in (found, expected)
        )
    result = deviations(found, expected)
    tolerance = TOLERANCES[precision_of(potential)]
    for name, deviation in result.items():
        if not deviation <= tolerance:
            raise ExecutionUnavailableError(
                f"the {execution} execution gives a {name} that deviates by {deviation:.1e} from "
                f"the eager one, more than the {tolerance:.0e} that rounding explains; please "
                "report this"
            )
    return result


def median_seconds(call: Callable[[], Tensor], repeats: int = 5) -> float:
    """Return the median time of a call until its result is on the host [s].

    One call before, which may record or compile, is not counted.
    """
    times = []
    for _ in range(1 + repeats):
        begin = time.perf_counter()
        call().cpu()  # waits for the device
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])
