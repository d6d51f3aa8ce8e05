# SPDX-License-Identifier: MIT
"""PaiNN with parts removed, for ablation studies.

The PaiNN paper (arXiv:2102.03150) ablates three parts on aspirin; see
:mod:`eqcalc.models.networks.painn` for the equations:

- the scalar product ⟨U v_i, V v_i⟩ of the update of scalars;
- the convolution of vector features, φ_v(s_j) ∘ W_v(d_ij) ∘ v_j, in messages;
- all vector features.

Removing a part removes its parameters; :func:`matched_features` returns the width that compensates
for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from eqcalc.models.networks.painn import PaiNNConfig
from eqcalc.models.radial import radial_basis
from eqcalc.neighbors import Pairs
from eqcalc.structures import Structures
from eqcalc.validation import InvalidInputError


@dataclass(frozen=True)
class AblatedPaiNNConfig(PaiNNConfig):
    """Configuration of :class:`AblatedPaiNN`.

    Parameters
    ----------
    vector_features
        Whether there are vector features; if not, the other two must be false.
    scalar_product
        Whether scalars are updated by the scalar product of vectors.
    vector_convolution
        Whether the vectors of neighbours are part of messages.
    features, layers, cutoff, radial_basis, radial_functions, embeddings, norm_epsilon
        As in :class:`~eqcalc.models.networks.painn.PaiNNConfig`.
    """

    name: ClassVar[str] = "painn_ablated"

    vector_features: bool = True
    scalar_product: bool = True
    vector_convolution: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.vector_features and (self.scalar_product or self.vector_convolution):
            raise InvalidInputError(
                key="vector_features",
                value=False,
                expected="true, unless scalar_product and vector_convolution are false",
            )

    @property
    def vectors(self) -> int:
        """Number of vector features."""
        return self.features if self.vector_features else 0

    @property
    def message_parts(self) -> int:
        """Number of terms of a message: to scalars, along the pair, and of vectors."""
        return 1 + self.vector_features + self.vector_convolution

    def build(self) -> nn.Module:
        """Return a representation with random initial parameters."""
        return AblatedPaiNN(self)


def matched_features(config: AblatedPaiNNConfig, reference: PaiNNConfig) -> int:
    """Return the width at which `config` has about as many parameters as `reference`.

    Parameters are those of the representation and of an energy read-out.
    """

    def count(network: PaiNNConfig) -> int:
        with torch.device("meta"):  # shapes only
            representation = sum(p.numel() for p in network.build().parameters())
        hidden = max(network.features // 2, 1)
        return representation + (network.features + 2) * hidden + 1

    goal = count(reference)
    widths = range(reference.features, 2 * reference.features)
    return min(widths, key=lambda width: abs(count(replace(config, features=width)) - goal))


class Message(nn.Module):
    """Message block without the removed parts."""

    def __init__(self, config: AblatedPaiNNConfig) -> None:
        super().__init__()
        features = config.features
        self.vector_features = config.vector_features
        self.parts = config.message_parts
        self.context = nn.Sequential(
            nn.Linear(features, features), nn.SiLU(), nn.Linear(features, self.parts * features)
        )

    def forward(
        self, scalars: Tensor, vectors: Tensor, filters: Tensor, directions: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor]:
        """Return the updated scalars ``[n_atoms, F]`` and vectors ``[n_atoms, 3, F]``."""
        n_atoms = scalars.shape[0]
        weighted = (filters * pairs.of_senders(self.context(scalars))).chunk(self.parts, dim=-1)
        scalars = scalars + pairs.sum_over_senders(weighted[0], n_atoms)
        if not self.vector_features:
            return scalars, vectors
        received = pairs.sum_of_outer_products(directions, weighted[1], n_atoms)
        if self.parts == 3:
            passed = weighted[2].unsqueeze(1) * pairs.of_senders(vectors)
            received = received + pairs.sum_over_senders(passed, n_atoms)
        return scalars, vectors + received


class Update(nn.Module):
    """Update block without the removed parts."""

    def __init__(self, config: AblatedPaiNNConfig) -> None:
        super().__init__()
        features = config.features
        self.invariant = config.invariant()
        self.scalar_product = config.scalar_product
        self.parts = 1 + config.vector_features + config.scalar_product
        if config.vector_features:
            self.mix = nn.Linear(features, 2 * features, bias=False)
        self.context = nn.Sequential(
            nn.Linear((1 + config.vector_features) * features, features),
            nn.SiLU(),
            nn.Linear(features, self.parts * features),
        )

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the updated scalars ``[n_atoms, F]`` and vectors ``[n_atoms, 3, F]``."""
        if self.parts == 1:
            return scalars + self.context(scalars), vectors
        left, right = self.mix(vectors).chunk(2, dim=-1)
        context = self.context(torch.cat([scalars, self.invariant(left)], dim=-1))
        a_ss, a_vv, *a_sv = context.chunk(self.parts, dim=-1)
        scalars = scalars + a_ss
        if self.scalar_product:
            scalars = scalars + a_sv[0] * (left * right).sum(-2)
        return scalars, vectors + a_vv.unsqueeze(1) * right


class AblatedPaiNN(nn.Module):
    """PaiNN representation without some of its parts; PaiNN itself if none is removed."""

    def __init__(self, config: AblatedPaiNNConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.embeddings, config.features)
        self.basis = radial_basis(config.radial_basis, config.radial_functions, config.cutoff)
        self.cutoff = config.envelope()
        self.messages = nn.ModuleList(Message(config) for _ in range(config.layers))
        self.updates = nn.ModuleList(Update(config) for _ in range(config.layers))
        width = config.message_parts * config.features
        self.filters = nn.ModuleList(
            nn.Linear(config.radial_functions, width) for _ in range(config.layers)
        )

    def forward(self, structures: Structures, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Represent atoms; see :class:`eqcalc.models.networks.painn.PaiNN`."""
        dtype = self.embedding.weight.dtype
        separations = pairs.vectors(structures).to(dtype)
        distances = torch.sqrt(separations.square().sum(-1, keepdim=True))
        directions = separations / distances
        radial, envelope = self.basis(distances), self.cutoff(distances)
        scalars = self.embedding(structures.numbers)
        vectors = scalars.new_zeros(scalars.shape[0], 3, self.config.vectors)
        for message, update, filters in zip(self.messages, self.updates, self.filters, strict=True):
            weights = filters(radial) * envelope
            scalars, vectors = message(scalars, vectors, weights, directions, pairs)
            scalars, vectors = update(scalars, vectors)
        return scalars, vectors
