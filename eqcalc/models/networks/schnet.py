# SPDX-License-Identifier: MIT
"""The SchNet representation: scalar features and filters of the distance.

After Schütt et al., "SchNet – a deep learning architecture for molecules and
materials", J. Chem. Phys. 148, 241722 (2018). Every interaction block adds

    x_i ← x_i + V σ(U Σ_j (L x_j) ∘ W(d_ij))

with linear maps L, U, V, the shifted softplus σ and a filter W, itself a
two-layer perceptron of a Gaussian expansion of the distance times a cosine
cutoff. There are no vector features: dipole and polarizability are read out
from atomic scalars and positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eqcalc.models.radial import CosineCutoff, radial_basis
from eqcalc.neighbors import Pairs
from eqcalc.structures import Structures
from eqcalc.validation import positive_fields


class ShiftedSoftplus(nn.Module):
    """``ln((1 + exp βx)/2)/β``, which is zero at zero (Schütt et al., SchNet, 2017)."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """Apply to every element."""
        return nn.functional.softplus(x, self.beta) - math.log(2.0) / self.beta


@dataclass(frozen=True)
class SchNetConfig:
    """Configuration of :class:`SchNet`; the defaults are common for QM9.

    Parameters
    ----------
    features
        Number of scalar features per atom, also of the filters.
    layers
        Number of interaction blocks.
    cutoff
        Distance at which interactions vanish [Å].
    radial_basis
        ``"gaussian"`` (paper), ``"sinc"`` or ``"cosine_squared"``.
    radial_functions
        Size of the radial basis.
    embeddings
        Rows of the embedding table; atomic numbers must be smaller.
    """

    name: ClassVar[str] = "schnet"

    features: int = 128
    layers: int = 6
    cutoff: float = 10.0
    radial_basis: str = "gaussian"
    radial_functions: int = 50
    embeddings: int = 100

    vectors: ClassVar[int] = 0
    read_out_layers: ClassVar[int] = 2
    read_out_activation: ClassVar[str] = "shifted_softplus"

    def __post_init__(self) -> None:
        positive_fields(self, "features", "layers", "radial_functions", "embeddings", "cutoff")

    def build(self) -> SchNet:
        """Return a representation with random initial parameters."""
        return SchNet(self)


class Interaction(nn.Module):
    """Continuous-filter convolution over the neighbours of an atom."""

    def __init__(self, features: int, radial_functions: int) -> None:
        super().__init__()
        self.filter = nn.Sequential(
            nn.Linear(radial_functions, features), ShiftedSoftplus(), nn.Linear(features, features)
        )
        self.context = nn.Linear(features, features, bias=False)
        self.update = nn.Sequential(
            nn.Linear(features, features), ShiftedSoftplus(), nn.Linear(features, features)
        )

    def forward(self, scalars: Tensor, radial: Tensor, envelope: Tensor, pairs: Pairs) -> Tensor:
        """Return the change of the scalars, ``[n_atoms, F]``."""
        messages = pairs.of_senders(self.context(scalars)) * (self.filter(radial) * envelope)
        return self.update(pairs.sum_over_senders(messages, scalars.shape[0]))


class SchNet(nn.Module):
    """SchNet representation of atomic environments."""

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.embeddings, config.features)
        self.basis = radial_basis(config.radial_basis, config.radial_functions, config.cutoff)
        self.cutoff = CosineCutoff(config.cutoff)
        self.interactions = nn.ModuleList(
            Interaction(config.features, config.radial_functions) for _ in range(config.layers)
        )

    def forward(self, structures: Structures, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return scalars ``[n_atoms, F]``, and no vectors, ``[n_atoms, 3, 0]``."""
        dtype = self.embedding.weight.dtype
        separations = pairs.vectors(structures).to(dtype)
        distances = torch.sqrt(separations.square().sum(-1, keepdim=True))
        radial, envelope = self.basis(distances), self.cutoff(distances)
        scalars = self.embedding(structures.numbers)
        for interaction in self.interactions:
            scalars = scalars + interaction(scalars, radial, envelope, pairs)
        return scalars, scalars.new_zeros(scalars.shape[0], 3, 0)
