# SPDX-License-Identifier: MIT
"""Every execution is compared with the eager one before its first use."""

from __future__ import annotations

import torch
from torch import Tensor

from eqcalc.runtime.compiler import ExecutionUnavailableError
from eqcalc.runtime.evaluator import EagerEvaluator

__all__ = ["TOLERANCES", "deviations", "trial_positions", "verify_evaluator"]

#: Largest allowed deviation of a quantity, relative to its largest value. Two
#: orderings of the same sums differ by 10⁻⁶ and 10⁻¹⁴ with ordinary models.
TOLERANCES: dict[torch.dtype, float] = {torch.float32: 1e-4, torch.float64: 1e-6}


def trial_positions(n_atoms: int, n_structures: int = 3) -> Tensor:
    """Return irregular but not absurd positions for atoms of any kind.

    Atoms lie near the points of a cubic lattice with a spacing of 1.4 Å, and
    the same call gives the same positions.

    Returns
    -------
    Tensor
        ``[n_structures, n_atoms, 3]`` Å.
    """
    edge = 1
    while edge**3 < n_atoms:
        edge += 1
    points = torch.cartesian_prod(*[torch.arange(edge, dtype=torch.float64)] * 3)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(n_structures, n_atoms, 3, generator=generator, dtype=torch.float64)
    return 1.4 * points.reshape(-1, 3)[:n_atoms] + 0.4 * noise


def deviations(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Return the largest deviation of each quantity relative to its largest value."""
    result = {}
    for name, reference in expected.items():
        difference = (found[name].to(reference) - reference).abs().max()
        result[name] = float(difference / reference.abs().max().clamp(min=1e-6))
    return result


def verify_evaluator(evaluator: EagerEvaluator, reference: EagerEvaluator) -> dict[str, float]:
    """Compare an execution with the eager one on trial positions.

    Returns
    -------
    dict
        Relative deviation by quantity; the energy without its reference values.

    Raises
    ------
    ExecutionUnavailableError
        A deviation is larger than :data:`TOLERANCES` allow.
    """
    potential = reference.potential
    names = [name for name in potential.quantities if name != "stress"]
    positions = trial_positions(len(reference.numbers))
    found, expected = evaluator(positions, names), reference(positions, names)
    if "energy" in names:
        # total energies are large numbers that no execution can get wrong
        offset = potential.energy_reference[reference.numbers].sum()
        for values in (found, expected):
            values["energy"] = values["energy"] - offset
    result = deviations(found, expected)
    tolerance = TOLERANCES[potential.dtype]
    for name, deviation in result.items():
        if not deviation <= tolerance:
            raise ExecutionUnavailableError(
                f"the {evaluator.execution} execution gives a {name} that deviates by "
                f"{deviation:.1e} from the eager one, more than the {tolerance:.0e} that rounding "
                "explains; please report this"
            )
    return result
