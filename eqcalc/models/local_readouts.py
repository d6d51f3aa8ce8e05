# SPDX-License-Identifier: MIT
"""Read-outs of the response of a cell: sums of local vectors and tensors, without positions.

In a periodic cell ``Σ q_i r_i`` depends on where the cell is cut. What these read out depends on
the surroundings of each atom only. It is therefore the same when an atom or a molecule is moved by
lattice vectors, proportional to the size of a supercell, and independent of the origin; and one
model serves molecules and cells:

==============  ========================================================================
dipole          ``μ = Σ_i μ_i``
polarizability  ``α = Σ_i a_i 1 + Σ_ic (u_ic ⊗ v_ic + v_ic ⊗ u_ic)/2 − (u_ic · v_ic)/3 1``
==============  ========================================================================

with vectors μ, u, v and scalars a from gated blocks, and channels c. In settings::

    read_outs: {dipole: {form: local}, polarizability: {form: local}}
"""

from __future__ import annotations

import torch
from torch import Tensor

from eqcalc.models.readouts import (
    AtomicScalarAndVector,
    FeatureCounts,
    Head,
    gated_blocks,
    invariant_of,
    register_readout,
    times_identity,
)
from eqcalc.structures import Structures
from eqcalc.validation import InvalidInputError, count


def _require_vectors(counts: FeatureCounts) -> None:
    if not counts.vectors:
        raise InvalidInputError(
            "the network has no vector features",
            key="form",
            value="local",
            expected="another form, or a network with vectors",
        )


@register_readout("dipole", "local")
class LocalDipoleHead(AtomicScalarAndVector):
    """Dipole moment ``μ = Σ_i μ_i`` of a molecule or a cell.

    Of a charged molecule the sum is the dipole about the centre of mass; about another origin r_0
    it is ``Σ_i μ_i + Q (r_cm − r_0)``. A charged cell has none.

    Parameters
    ----------
    counts
        Numbers of features.
    norm_epsilon
        Added to squared lengths of vectors under the square root, 10⁻⁸ by default; for
        networks whose read-outs take lengths.
    """

    isolated = False
    conserves_charge = True

    def __init__(self, counts: FeatureCounts, *, norm_epsilon: float | None = None) -> None:
        _require_vectors(counts)
        super().__init__(counts, gated=True, norm_epsilon=norm_epsilon)

    def forward(
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return dipoles ``[n_structures, 3]`` about `origin` ``[n_structures, 3]`` Å."""
        _, dipoles = self.atomic(scalars, vectors, structures.positions.dtype)
        assert dipoles is not None
        total = structures.sum_over_atoms(dipoles)
        if origin is None:
            return total
        return total + structures.charge.unsqueeze(-1) * (structures.center_of_mass() - origin)


@register_readout("polarizability", "local")
class LocalPolarizabilityHead(Head):
    """Polarizability of a molecule, or of a cell: V(ε∞ − 1)/4π in the units of a volume.

    The anisotropic part comes from symmetric traceless products of two vectors, of which each atom
    has several.

    Parameters
    ----------
    counts
        Numbers of features.
    channels
        Number of products per atom.
    norm_epsilon
        As for :class:`LocalDipoleHead`.
    """

    isolated = False
    additive = True

    def __init__(
        self, counts: FeatureCounts, *, channels: int = 8, norm_epsilon: float | None = None
    ) -> None:
        super().__init__()
        _require_vectors(counts)
        self.channels = count("channels", channels)
        self.blocks = gated_blocks(counts, 2 * channels, invariant_of(counts, norm_epsilon))

    def forward(
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return polarizabilities ``[n_structures, 3, 3]``, symmetric."""
        for block in self.blocks:
            scalars, vectors = block(scalars, vectors)
        dtype = structures.positions.dtype
        left, right = vectors.to(dtype).chunk(2, dim=-1)
        product = left @ right.mT  # [n_atoms, 3, 3], summed over channels
        total = structures.sum_over_atoms(0.5 * (product + product.mT))
        third = torch.diagonal(total, dim1=-2, dim2=-1).mean(-1)
        isotropic = structures.sum_over_atoms(scalars.to(dtype).sum(-1))
        return total + times_identity(isotropic - third)

    def reference(self, atomic: Tensor, structures: Structures) -> Tensor:
        """Return the isotropic part ``Σ_i a_i`` times the unit matrix."""
        return times_identity(structures.sum_over_atoms(atomic))
