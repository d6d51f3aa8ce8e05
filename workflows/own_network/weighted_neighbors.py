# SPDX-License-Identifier: MIT
"""A representation outside of eqcalc: every atom sums its neighbours once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eqcalc.models import register_representation
from eqcalc.models.radial import CosineCutoff, radial_basis
from eqcalc.neighbors import Pairs
from eqcalc.structures import Structures
from eqcalc.validation import positive_fields


@register_representation
@dataclass(frozen=True)
class WeightedNeighborsConfig:
    """Configuration of :class:`WeightedNeighbors`.

    Parameters
    ----------
    features
        Number of scalar features per atom.
    vectors
        Number of vector features per atom.
    radial_functions
        Size of the radial basis.
    cutoff
        Distance beyond which atoms do not see each other [Å].
    embeddings
        Rows of the embedding table; atomic numbers must be smaller.
    """

    features: int = 64
    vectors: int = 16
    radial_functions: int = 16
    cutoff: float = 5.0
    embeddings: int = 100

    read_out_layers: ClassVar[int] = 2
    read_out_activation: ClassVar[str] = "silu"

    def __post_init__(self) -> None:
        positive_fields(self, "features", "vectors", "radial_functions", "cutoff", "embeddings")

    def build(self) -> WeightedNeighbors:
        """Return a representation with freshly drawn parameters."""
        return WeightedNeighbors(self)


class WeightedNeighbors(nn.Module):
    """Sums over neighbours, weighted by distance: of features, and of directions."""

    def __init__(self, config: WeightedNeighborsConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.embeddings, config.features)
        self.basis = radial_basis("gaussian", config.radial_functions, config.cutoff)
        self.cutoff = CosineCutoff(config.cutoff)
        self.filters = nn.Linear(config.radial_functions, config.features)
        self.update = nn.Sequential(
            nn.Linear(config.features, config.features),
            nn.SiLU(),
            nn.Linear(config.features, config.features),
        )
        self.weights = nn.Linear(config.features, config.vectors, bias=False)

    def forward(self, structures: Structures, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return scalars ``[n_atoms, F]`` and vectors ``[n_atoms, 3, V]``."""
        dtype = self.embedding.weight.dtype  # positions are float64 always
        separations = pairs.vectors(structures).to(dtype)
        distances = torch.sqrt(separations.square().sum(-1, keepdim=True))
        filters = self.filters(self.basis(distances)) * self.cutoff(distances)
        scalars = self.embedding(structures.numbers)
        messages = pairs.of_senders(scalars) * filters
        scalars = scalars + self.update(pairs.sum_over_senders(messages, structures.n_atoms))
        directions = (separations / distances).unsqueeze(-1) * self.weights(messages).unsqueeze(-2)
        flat = pairs.sum_over_senders(directions.flatten(1), structures.n_atoms)
        return scalars, flat.reshape(structures.n_atoms, 3, self.config.vectors)
