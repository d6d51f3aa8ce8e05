# SPDX-License-Identifier: MIT
"""The state of a simulation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from eqcalc.validation import InvalidInputError

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator


#: Variables of a step, stored in checkpoints, in packing order.
VARIABLES = ("positions", "momenta", "forces", "potential_energies", "heat", "auxiliary")


@dataclass(frozen=True)
class State:
    """All replicas and beads of a molecule at one time.

    Together with the seed, a state determines the rest of a run, since the noise is a function
    of seed and step (:mod:`eqcalc.dynamics.noise`).

    Parameters
    ----------
    positions
        ``[n_replicas, n_beads, n_atoms, 3]`` [Å], float64.
    momenta
        Same shape [amu·Å/ASE time].
    forces
        Same shape, at `positions` [eV/Å].
    potential_energies
        ``[n_replicas, n_beads]``, at `positions` [eV].
    heat
        ``[n_replicas]``, energy absorbed by the thermostat since the start [eV]. Ring-polymer
        energy plus heat is conserved.
    auxiliary
        ``[n_replicas, ...]``, auxiliary variables of the thermostat; often empty.
    step
        Number of steps since the start of production; negative during equilibration.
    properties
        Other quantities evaluated at `positions`, by name, ``[n_replicas, n_beads, ...]``.
    """

    positions: Tensor
    momenta: Tensor
    forces: Tensor
    potential_energies: Tensor
    heat: Tensor
    auxiliary: Tensor
    step: int = 0
    properties: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def at_rest(cls, positions: Tensor, step: int = 0) -> State:
        """Return a state with zero momenta whose forces have not been evaluated."""
        replicas, beads = positions.shape[:2]
        return cls(
            positions=positions,
            momenta=torch.zeros_like(positions),
            forces=torch.full_like(positions, float("nan")),
            potential_energies=positions.new_full((replicas, beads), float("nan")),
            heat=positions.new_zeros(replicas),
            auxiliary=positions.new_zeros(replicas, 0),
            step=step,
        )

    @property
    def n_replicas(self) -> int:
        """Number of independent copies of the molecule."""
        return self.positions.shape[0]

    @property
    def n_beads(self) -> int:
        """Number of beads of each ring polymer; 1 for classical nuclei."""
        return self.positions.shape[1]

    @property
    def n_atoms(self) -> int:
        """Number of atoms of the molecule."""
        return self.positions.shape[2]

    def to(self, device: torch.device) -> State:
        """Return the state on `device`, without its properties."""
        moved = {name: getattr(self, name).to(device) for name in VARIABLES}
        return State(**moved, step=self.step)

    def with_evaluation(self, evaluator: Evaluator, quantities: Collection[str] = ()) -> State:
        """Return the state with forces, energies and `quantities` at its positions."""
        energies, forces, properties = evaluate(evaluator, self.positions, quantities)
        return replace(self, forces=forces, potential_energies=energies, properties=properties)


def evaluate(
    evaluator: Evaluator, positions: Tensor, quantities: Collection[str] = ()
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Evaluate all replicas and beads in one call.

    Parameters
    ----------
    evaluator
        Called with ``[n_replicas · n_beads, n_atoms, 3]`` positions [Å].
    positions
        ``[n_replicas, n_beads, n_atoms, 3]`` [Å].
    quantities
        Names of quantities besides energy and forces.

    Returns
    -------
    energies
        ``[n_replicas, n_beads]`` [eV].
    forces
        ``[n_replicas, n_beads, n_atoms, 3]`` [eV/Å].
    properties
        By name, ``[n_replicas, n_beads, ...]``.

    Raises
    ------
    InvalidInputError
        The evaluator did not return a requested quantity.
    """
    wanted = {"energy", "forces", *quantities}
    results = evaluator(positions.flatten(0, 1), wanted)
    missing = sorted(wanted - set(results))
    if missing:
        raise InvalidInputError(
            f"the evaluator did not return {', '.join(missing)}",
            key="evaluator",
            value=sorted(results),
            expected=f"{', '.join(sorted(wanted))} among its results",
        )
    shape = positions.shape[:2]
    unflattened = {name: results[name].view(*shape, *results[name].shape[1:]) for name in wanted}
    return unflattened.pop("energy"), unflattened.pop("forces"), unflattened
