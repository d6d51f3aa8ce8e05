# SPDX-License-Identifier: MIT
"""Verification of every execution against the eager one before its first use."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.runtime.execution import EagerExecution, Execution, ExecutionUnavailableError
from eqcalc.structures import Structures

#: Largest allowed deviation of a quantity, relative to its largest value. Two
#: orderings of the same sums differ by 10⁻⁶ and 10⁻¹³ with ordinary models; where factors
#: are rounded, such a difference can become one of the last digit of a factor.
TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "tf32": 1e-3, "bf16": 1e-2}

_SPACING = 1.4  # Å


def trial_positions(n_atoms: int, n_structures: int = 3) -> Tensor:
    """Return irregular but reasonable positions for atoms of any elements.

    Atoms lie near the points of a cubic lattice with a spacing of 1.4 Å; the positions are
    reproducible.

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

    Values that are non-finite in both agree.
    """
    result = {}
    for name, reference in expected.items():
        values = found[name].to(reference)
        agree = ~torch.isfinite(values) & ~torch.isfinite(reference)
        difference = (values - reference).abs().masked_fill(agree, 0.0).max()
        scale = reference.abs().masked_fill(agree, 0.0).max()
        result[name] = float(difference / scale.clamp(min=1e-6))
    return result


def trial_molecule(
    potential: Potential, numbers: Tensor | None = None, n: int = 3, charge: float = 0.0
) -> Structures:
    """Return `n` trial structures of a molecule, by default of seven of the known elements."""
    if numbers is None:
        numbers = _of_known_elements(potential, 7)
    return Structures.stack(numbers, trial_positions(len(numbers), n), charge).to(potential.device)


def trial_crystal(potential: Potential, n_atoms: int = 7, spread: float = 1.0) -> Structures:
    """Return a trial crystal of the known elements, with all distances `spread` times as long."""
    edge = spread * (_SPACING * _edge(n_atoms) + 0.4)
    return Structures.pack(
        _of_known_elements(potential, n_atoms),
        spread * trial_positions(n_atoms, 1)[0],
        [n_atoms],
        cell=torch.eye(3, dtype=torch.float64)[None] * edge,
        pbc=torch.ones(1, 3, dtype=torch.bool),
    ).to(potential.device)


def _of_known_elements(potential: Potential, n_atoms: int) -> Tensor:
    elements = potential.references.elements
    return torch.tensor([elements[k % len(elements)] for k in range(n_atoms)])


def verify(
    execution: Execution,
    trials: Collection[Structures] | None = None,
    names: Collection[str] | None = None,
) -> dict[str, float]:
    """Verify an execution against the eager one.

    Parameters
    ----------
    execution
        The execution to verify.
    trials
        Structures to compare them on; by default a molecule and, where the model has an
        energy, a crystal.
    names
        Quantities to compare; by default all that the structures have.

    Returns
    -------
    dict
        The largest relative deviation by quantity; of the energy without its reference values.

    Raises
    ------
    ExecutionUnavailableError
        A deviation is larger than :data:`TOLERANCES` allow.
    """
    potential = execution.potential
    reference = EagerExecution(potential, skin=0.0)
    if trials is None:
        trials = [trial_molecule(potential, n=1)]
        if "energy" in potential.config.heads:
            trials.append(trial_crystal(potential))
    tolerance = TOLERANCES[precision_of(potential)]
    worst: dict[str, float] = {}
    for structures in trials:
        wanted = potential.available_for(structures) if names is None else names
        found, expected = (e.evaluate(structures, wanted) for e in (execution, reference))
        if "energy" in expected:
            # reference energies are large and would hide an error of the network
            table = potential.reference("energy").to(potential.device)
            offset = structures.sum_over_atoms(table[structures.numbers])
            found, expected = (
                {**values, "energy": values["energy"] - offset} for values in (found, expected)
            )
        for name, deviation in deviations(found, expected).items():
            worst[name] = max(deviation, worst.get(name, 0.0))
            require_agreement(
                f"the {execution.name} execution deviates from the eager one",
                name,
                deviation,
                tolerance,
            )
    return worst


def require_agreement(problem: str, name: str, deviation: float, tolerance: float) -> None:
    """Raise ExecutionUnavailableError if a relative deviation is more than rounding."""
    if not deviation <= tolerance:
        raise ExecutionUnavailableError(
            problem,
            key=name,
            value=deviation,
            expected=f"a relative deviation up to {tolerance:.0e}, as by rounding",
            advice="please report this",
        )


class VerifiedExecution(EagerExecution):
    """An execution of any structures, verified against the eager one on construction.

    Parameters
    ----------
    potential
        The model.
    skin
        Extra distance of the neighbour list of periodic structures [Å].
    trials
        Structures to verify it on; see :func:`verify`.
    network
        See :class:`EagerExecution`.
    """

    def __init__(
        self,
        potential: Potential,
        *,
        skin: float = 0.5,
        trials: Collection[Structures] | None = None,
        network: Potential | None = None,
    ) -> None:
        super().__init__(potential, skin=skin, network=network)
        self._prepare()
        verify(self, trials)

    def _prepare(self) -> None:
        """Prepare the first evaluation."""

    @classmethod
    def for_molecule(
        cls, potential: Potential, numbers: Tensor, *, charge: float = 0.0, **options: Any
    ) -> EagerExecution:
        """Return an execution verified for this molecule."""
        trials = (trial_molecule(potential, numbers, charge=charge),)
        return cls(potential, skin=0.0, trials=trials, **options)


def _edge(n_atoms: int) -> int:
    """Return the edge, in lattice points, of the smallest cube that holds this many atoms."""
    edge = 1
    while edge**3 < n_atoms:
        edge += 1
    return edge
