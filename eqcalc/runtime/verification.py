# SPDX-License-Identifier: MIT
"""Verification of every execution against the eager one before its first use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.models.precision import in_precision, precision_of
from eqcalc.runtime.execution import EagerExecution, Execution, ExecutionUnavailableError
from eqcalc.structures import Structures

#: Largest allowed deviation of a quantity, relative to its largest value. Two
#: orderings of the same sums differ by 10⁻⁶ and 10⁻¹³ with ordinary models; where factors
#: are rounded, such a difference can become one of the last digit of a factor.
TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "tf32": 1e-3, "bf16": 1e-2}

#: Deviation from double precision that is allowed, in parts of that of the eager execution.
_ROUNDING = 4.0
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


def deviations(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, float]:
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
        evaluated = partial(_without_references, structures=structures, names=wanted)

        def exact(evaluated: partial[dict[str, Tensor]] = evaluated) -> dict[str, Tensor]:
            return evaluated(EagerExecution(in_precision(potential, "float64"), skin=0.0))

        found, expected = evaluated(execution), evaluated(reference)
        problem = f"the {execution.name} execution deviates from the eager one"
        off = agreement(problem, found, expected, exact, tolerance)
        for name, deviation in off.items():
            worst[name] = max(deviation, worst.get(name, 0.0))
    return worst


def _without_references(
    execution: Execution, structures: Structures, names: Collection[str]
) -> dict[str, Tensor]:
    """Evaluate without reference energies: large, they would hide an error of the network."""
    values = execution.evaluate(structures, names)
    if "energy" in values:
        potential = execution.potential
        table = potential.reference("energy").to(potential.device)
        offset = structures.sum_over_atoms(table[structures.numbers])
        values = {**values, "energy": values["energy"] - offset}
    return values


def agreement(
    problem: str,
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    exact: Callable[[], Mapping[str, Tensor]],
    tolerance: float,
) -> dict[str, float]:
    """Return the deviations of what was `found` from what was `expected`.

    Parameters
    ----------
    problem
        What is wrong if they deviate.
    exact
        Returns the same values by arithmetic in double precision; called where a deviation is
        above `tolerance`. Terms that cancel may have rounded in both.
    tolerance
        Largest allowed deviation, relative to the largest value.

    Raises
    ------
    ExecutionUnavailableError
        A deviation is larger than rounding explains.
    """
    result = deviations(found, expected)
    large = {name for name, deviation in result.items() if not deviation <= tolerance}
    if large:
        values = exact()
        rounding, off = deviations(expected, values), deviations(found, values)
        for name in large:
            allowed = max(tolerance, _ROUNDING * rounding[name])
            if not off[name] <= allowed:
                raise ExecutionUnavailableError(
                    problem,
                    key=name,
                    value=off[name],
                    expected=f"a relative deviation up to {allowed:.0e}, as by rounding",
                    advice="please report this",
                )
    return result


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
