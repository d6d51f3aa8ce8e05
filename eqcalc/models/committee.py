# SPDX-License-Identifier: MIT
"""Committees of models: their mean and their disagreement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from eqcalc.validation import InvalidInputError

#: Name of the standard deviation of the forces of the members.
FORCE_DISAGREEMENT = "force_disagreement"


class Member(Protocol):
    """An evaluator of configurations of one molecule."""

    numbers: Tensor
    quantities: tuple[str, ...]
    provenance: dict[str, Any]

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate ``[n_structures, n_atoms, 3]`` Å."""
        ...

    def rates(
        self, positions: Tensor, velocities: Tensor, quantities: Collection[str]
    ) -> dict[str, Tensor]:
        """Return time derivatives along velocities."""
        ...


def charge_of(evaluator: Any) -> float:
    """Return the total charge [e] of the molecule of an evaluator; 0 if it does not state one."""
    return float(getattr(evaluator, "charge", 0.0))


class Committee:
    """The mean of several models trained on different data or with different seeds.

    It has the interface of a member. The mean force is the negative gradient of the mean energy, so
    dynamics conserves the energy of the committee. Outside their training data the members
    disagree, which the quantity ``"force_disagreement"`` measures: for atom i

        σ_i = √( Σ_m |F_mi − F̄_i|² / (M − 1) ),

    the standard deviation of the force over the M members (Schran, Brezina and Marsalek,
    J. Chem. Phys. 153, 104105 (2020)).

    Parameters
    ----------
    members
        At least two evaluators of the same molecule.

    Raises
    ------
    ValueError
        There are fewer than two members, or they are for different molecules.
    """

    #: Its quantities besides those of its members.
    diagnostics = (FORCE_DISAGREEMENT,)

    def __init__(self, members: Sequence[Member]) -> None:
        if len(members) < 2:
            raise InvalidInputError(
                key="members", value=len(members), expected="at least two members"
            )
        self.members = tuple(members)
        self.numbers = self.members[0].numbers
        #: Total charge [e].
        self.charge: float = charge_of(self.members[0])
        #: Cell vectors as rows [Å]; None for a molecule.
        self.cell: Tensor | None = getattr(self.members[0], "cell", None)
        for index, member in enumerate(self.members):
            if member.numbers.tolist() != self.numbers.tolist():
                raise InvalidInputError(
                    "the members of a committee are for one molecule",
                    key=f"members[{index}].numbers",
                    value=member.numbers.tolist(),
                    expected=str(self.numbers.tolist()),
                )
            if charge_of(member) != self.charge:
                raise InvalidInputError(
                    "the members of a committee are for one molecule",
                    key=f"members[{index}].charge",
                    value=charge_of(member),
                    expected=f"{self.charge:g}",
                )
            if member.provenance == self.members[0].provenance and index > 0:
                raise InvalidInputError(
                    "is the same model as member 0; identical members give no uncertainty",
                    key=f"members[{index}]",
                )
        #: Names of the quantities of all members.
        self.quantities = tuple(
            name
            for name in self.members[0].quantities
            if all(name in member.quantities for member in self.members)
        )
        first, *others = (member.provenance for member in self.members)
        common = {
            name: value
            for name, value in first.items()
            if all(other.get(name) == value for other in others)
        }
        self.provenance: dict[str, Any] = {
            **common,
            "committee": [dict(member.provenance) for member in self.members],
        }

    def __call__(
        self, positions: Tensor, quantities: Collection[str], cells: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Evaluate configurations.

        Parameters
        ----------
        positions
            ``[n_structures, n_atoms, 3]`` Å.
        quantities
            Those of the members, and ``"force_disagreement"``.
        cells
            Cells other than that of the members, ``[n_structures, 3, 3]`` Å.

        Returns
        -------
        dict
            Means over the members; ``"force_disagreement"`` is ``[n_structures, n_atoms]``
            eV/Å.
        """
        wanted = set(quantities) - {FORCE_DISAGREEMENT}
        disagreement = FORCE_DISAGREEMENT in quantities
        asked = wanted | {"forces"} if disagreement else wanted
        given: tuple[Any, ...] = (positions, asked) if cells is None else (positions, asked, cells)
        found = [member(*given) for member in self.members]
        means = _means(found)
        results = {name: means[name] for name in wanted if name in means}
        if disagreement:
            forces = torch.stack([values["forces"] for values in found])
            squares = (forces - means["forces"]).square().sum(dim=(0, -1))
            results[FORCE_DISAGREEMENT] = (squares / (len(found) - 1)).sqrt()
        return results

    def rates(
        self, positions: Tensor, velocities: Tensor, quantities: Collection[str]
    ) -> dict[str, Tensor]:
        """Return the mean of the members' exact time derivatives, with the same arguments."""
        return _means([member.rates(positions, velocities, quantities) for member in self.members])


def _means(found: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([values[name] for values in found]).mean(dim=0) for name in found[0]}
