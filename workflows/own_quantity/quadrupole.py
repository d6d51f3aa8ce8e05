# SPDX-License-Identifier: MIT
"""A quantity outside of eqcalc: the traceless quadrupole moment, and its read-out."""

from __future__ import annotations

import torch
from torch import Tensor

from eqcalc.models import FeatureCounts, register_readout
from eqcalc.models.readouts import AtomicScalarAndVector, with_total_charge
from eqcalc.quantities import Quantity, register_quantity
from eqcalc.structures import Structures

QUADRUPOLE = register_quantity(
    Quantity(
        "quadrupole",
        shape=(3, 3),
        unit="e*Å^2",
        report=(("mD*Å", "mD Å"),),  # 1 D Å is a buckingham
        symmetric=True,
        traceless=True,
        invariant="magnitude",
        loss_weight=0.02,
        recorded=True,
        figure=("D*Å", "D Å"),
    )
)


@register_readout("quadrupole")
class QuadrupoleHead(AtomicScalarAndVector):
    """Quadrupole from atomic charges q and dipoles μ at x = r − r_0, r_0 the centre of mass.

    ``Θ = Σ_i ½ q_i (3 x_i ⊗ x_i − x_i² 1) + ½ (3 μ_i ⊗ x_i + 3 x_i ⊗ μ_i − 2 μ_i·x_i 1)``
    (Buckingham, Adv. Chem. Phys. 12, 107 (1967)), the charges shifted equally so that they
    add up to the total charge. Without vector features there are no μ_i.

    Parameters
    ----------
    counts
        Numbers of features.
    norm_epsilon
        Added to squared lengths of vectors under the root, with networks that have lengths.
    """

    conserves_charge = True

    def __init__(self, counts: FeatureCounts, *, norm_epsilon: float | None = None) -> None:
        super().__init__(counts, gated=counts.vectors > 0, norm_epsilon=norm_epsilon)

    def forward(
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return quadrupoles ``[n_structures, 3, 3]`` about `origin` ``[n_structures, 3]`` Å."""
        charges, dipoles = self.atomic(scalars, vectors, structures.positions.dtype)
        charges = with_total_charge(charges, structures)
        if origin is None:
            origin = structures.center_of_mass()
        x = structures.positions - structures.spread_to_atoms(origin)
        moments = 0.5 * charges * x
        if dipoles is not None:
            moments = moments + dipoles
        outer = moments.unsqueeze(-1) * x.unsqueeze(-2)
        total = structures.sum_over_atoms(outer + outer.transpose(-1, -2))
        trace = total.diagonal(dim1=-2, dim2=-1).sum(-1)
        identity = torch.eye(3, dtype=total.dtype, device=total.device)
        return 1.5 * total - 0.5 * trace[:, None, None] * identity
