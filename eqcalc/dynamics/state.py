# SPDX-License-Identifier: MIT
"""The state of a simulation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from eqcalc.validation import InvalidInputError

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import CellEvaluator, Evaluator


#: Variables of a step, stored in checkpoints, in packing order.
VARIABLES = (
    "positions",
    "momenta",
    "forces",
    "potential_energies",
    "heat",
    "auxiliary",
    "cell",
    "stress",
)


@dataclass(frozen=True, eq=False)
class State:
    """All replicas and beads of a molecule or cell at one time.

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
        ``[n_replicas]``, energy absorbed by thermostat and barostat since the start [eV].
        Ring-polymer energy plus heat is conserved.
    auxiliary
        ``[n_replicas, ...]``, auxiliary variables of the thermostat; often empty.
    cell
        ``[n_replicas, 3, 3]``, cell vectors of each replica as rows [Å]; empty for a molecule.
    stress
        ``[n_replicas, 3, 3]``, at `positions` in runs at constant pressure [eV/Å³], else empty.
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
    cell: Tensor
    stress: Tensor
    step: int = 0
    properties: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def at_rest(cls, positions: Tensor, step: int = 0, cell: Tensor | None = None) -> State:
        """Return a state with zero momenta whose forces have not been evaluated.

        `cell` is that of all replicas, ``[3, 3]``, or of each.
        """
        replicas, beads = positions.shape[:2]
        none = positions.new_zeros(replicas, 0)
        return cls(
            positions=positions,
            momenta=torch.zeros_like(positions),
            forces=torch.full_like(positions, float("nan")),
            potential_energies=positions.new_full((replicas, beads), float("nan")),
            heat=positions.new_zeros(replicas),
            auxiliary=none,
            cell=none if cell is None else cell.to(positions).expand(replicas, 3, 3),
            stress=none,
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

    def with_evaluation(
        self, evaluator: Evaluator, quantities: Collection[str] = (), *, stressed: bool = False
    ) -> State:
        """Return the state with forces, energies and `quantities` at its positions.

        With `stressed` it also has its stress, each replica in its own cell.
        """
        cell = self.cell if stressed else None
        energies, forces, properties = evaluate(evaluator, self.positions, quantities, cell)
        stress = properties["stress"].mean(dim=1) if stressed else self.stress
        return replace(
            self, forces=forces, potential_energies=energies, stress=stress, properties=properties
        )


def evaluate(
    evaluator: Evaluator,
    positions: Tensor,
    quantities: Collection[str] = (),
    cell: Tensor | None = None,
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
    cell
        ``[n_replicas, 3, 3]`` [Å], if it is not that of the evaluator; the stress is then among
        the properties.

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
    if cell is None:
        results = evaluator(positions.flatten(0, 1), wanted)
    else:
        wanted.add("stress")
        of_beads = cell.repeat_interleave(positions.shape[1], dim=0)
        results = cast("CellEvaluator", evaluator)(positions.flatten(0, 1), wanted, of_beads)
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
