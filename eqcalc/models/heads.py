# SPDX-License-Identifier: MIT
"""Read-outs: from atomic features to the properties of a structure.

Every head returns one value per structure. Those that weight with positions
do it about a point that moves with the molecule, so that nothing but the
dipole of a charged molecule depends on an origin.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eqcalc.models.painn import vector_norm
from eqcalc.structures import Structures

__all__ = ["DipoleHead", "EnergyHead", "GatedEquivariantBlock", "PolarizabilityHead"]


class EnergyHead(nn.Module):
    """Sum of atomic energies from a two-layer perceptron F → F/2 → 1.

    Parameters
    ----------
    features
        Number of scalar features F.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        hidden = max(features // 2, 1)
        self.atomwise = nn.Sequential(nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, 1))

    def forward(self, scalars: Tensor, structures: Structures) -> Tensor:
        """Return energies ``[n_structures]`` in the precision of the positions."""
        atomic = self.atomwise(scalars).squeeze(-1)
        return structures.sum_over_atoms(atomic.to(structures.positions.dtype))


class GatedEquivariantBlock(nn.Module):
    """Map scalars and vectors to new ones, the vectors gated by scalars.

    PaiNN paper, figure 3: with U, V linear without bias and m a two-layer
    perceptron, ``s', g = m([s, |U v|])`` and ``v' = g ∘ V v``.

    Parameters
    ----------
    features_in, features_out
        Numbers of scalar and of vector features.
    activate
        Whether the new scalars pass an activation; false for the last block.
    epsilon
        Added to squared lengths under the root.
    """

    def __init__(
        self, features_in: int, features_out: int, *, activate: bool, epsilon: float = 1e-8
    ) -> None:
        super().__init__()
        self.features_out = features_out
        self.epsilon = epsilon
        self.mix = nn.Linear(features_in, 2 * features_out, bias=False)
        self.gate = nn.Sequential(
            nn.Linear(features_in + features_out, features_in),
            nn.SiLU(),
            nn.Linear(features_in, 2 * features_out),
        )
        self.activation = nn.SiLU() if activate else nn.Identity()

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``[n_atoms, F]`` and ``[n_atoms, 3, F]`` to the same with F'."""
        left, right = self.mix(vectors).chunk(2, dim=-1)
        gates = self.gate(torch.cat([scalars, vector_norm(left, self.epsilon)], dim=-1))
        scalars, gates = gates.split(self.features_out, dim=-1)
        return self.activation(scalars), gates.unsqueeze(1) * right


class AtomicScalarAndVector(nn.Module):
    """One scalar and one vector per atom from two gated blocks F → F/2 → 1."""

    def __init__(self, features: int) -> None:
        super().__init__()
        hidden = max(features // 2, 1)
        self.blocks = nn.ModuleList(
            [
                GatedEquivariantBlock(features, hidden, activate=True),
                GatedEquivariantBlock(hidden, 1, activate=False),
            ]
        )

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return scalars ``[n_atoms, 1]`` and vectors ``[n_atoms, 3]``."""
        for block in self.blocks:
            scalars, vectors = block(scalars, vectors)
        return scalars, vectors.squeeze(-1)


class DipoleHead(AtomicScalarAndVector):
    """Dipole from atomic charges and atomic dipoles, ``μ = Σ_i μ_i + q_i (r_i − r_0)``.

    The charges are shifted equally so that they add up to the total charge.
    The dipole of a neutral molecule then depends on no origin; that of a
    charged one does: ``μ(r_0 + d) = μ(r_0) − Q d``. The default origin is the
    centre of mass.
    """

    def forward(  # type: ignore[override]
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return dipoles ``[n_structures, 3]`` about `origin` ``[n_structures, 3]`` Å."""
        charges, dipoles = super().forward(scalars, vectors)
        charges, dipoles = (t.to(structures.positions.dtype) for t in (charges, dipoles))
        missing = structures.charge.unsqueeze(-1) / structures.counts.unsqueeze(-1)
        missing = missing - structures.mean_over_atoms(charges)
        charges = charges + structures.spread_to_atoms(missing)
        if origin is None:
            origin = structures.center_of_mass()
        arms = structures.positions - structures.spread_to_atoms(origin)
        return structures.sum_over_atoms(dipoles + charges * arms)


class PolarizabilityHead(AtomicScalarAndVector):
    """Polarizability ``α = Σ_i a_i 1 + ν_i ⊗ (r_i − r̄) + (r_i − r̄) ⊗ ν_i``.

    The form of the PaiNN paper, with positions taken about the centroid r̄ of
    the atoms: without that the result would change when the molecule is moved,
    by Σν_i ⊗ d + d ⊗ Σν_i. The centroid rather than the centre of mass, since
    a polarizability must not depend on isotopes.
    """

    def forward(  # type: ignore[override]
        self, scalars: Tensor, vectors: Tensor, structures: Structures
    ) -> Tensor:
        """Return polarizabilities ``[n_structures, 3, 3]``, symmetric."""
        isotropic, directions = super().forward(scalars, vectors)
        dtype = structures.positions.dtype
        isotropic, directions = isotropic.to(dtype), directions.to(dtype)
        centroid = structures.mean_over_atoms(structures.positions)
        arms = structures.positions - structures.spread_to_atoms(centroid)
        outer = structures.sum_over_atoms(directions.unsqueeze(-1) * arms.unsqueeze(-2))
        trace = structures.sum_over_atoms(isotropic).unsqueeze(-1)
        identity = torch.eye(3, dtype=dtype, device=arms.device)
        return trace * identity + outer + outer.transpose(-1, -2)
