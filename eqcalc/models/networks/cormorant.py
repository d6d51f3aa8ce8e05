# SPDX-License-Identifier: MIT
"""The Cormorant representation: features coupled by Clebsch–Gordan products.

After Anderson, Hy and Kondor, "Cormorant: covariant molecular neural networks"
(NeurIPS 2019, arXiv:1906.04015). Atoms carry features F_i of degrees l ≤ l_max.
A layer couples them, channel by channel, with themselves and with those of the
neighbours, and mixes channels linearly; there is no other nonlinearity:

    pairs   g_ij^l ← f_c(r_ij) · W_l [g_ij^l ⊕ ⟨F_i, F_j⟩ ⊕ η(r_ij)]
    atoms   F_i ← W [F_i ⊕ F_i ⊗ F_i ⊕ Σ_j (g_ij Y(r_ij)) ⊗ F_j]

η are sines of the distance over its powers, with trained wavelengths and
phases. The scalars of all layers and the squared norms of the other degrees are read out.

Deviations from the paper, and choices where it is silent: features are real rather than
complex and keep natural parity, so that the network is equivariant under
reflections; the cutoff f_c is a cosine rather than a trained sigmoid, so that
forces are continuous; the terms of a layer are divided by the square root of their number, and sums
over neighbours by the square root of the number of neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eqcalc.models.networks.irreps import (
    Features,
    Linear,
    clebsch_gordan_like,
    coupled_degrees,
    spherical_harmonics,
)
from eqcalc.models.radial import CosineCutoff
from eqcalc.neighbors import Pairs
from eqcalc.structures import Structures
from eqcalc.validation import positive_fields

#: Powers of the inverse distance in the radial functions.
POWERS = (0, 1, 2)


@dataclass(frozen=True)
class CormorantConfig:
    """Configuration of :class:`Cormorant`; defaults are the paper's for QM9, with l ≤ 3.

    Parameters
    ----------
    channels
        Features of every degree.
    largest_degree
        l_max.
    layers
        Clebsch–Gordan layers.
    cutoff
        Distance at which interactions vanish [Å].
    radial_functions
        Sines for each power of the distance.
    neighbors
        Typical number of neighbours.
    embeddings
        Rows of the embedding table; atomic numbers must be smaller.
    """

    name: ClassVar[str] = "cormorant"

    channels: int = 16
    largest_degree: int = 3
    layers: int = 4
    cutoff: float = 8.0
    radial_functions: int = 16
    neighbors: float = 17.0
    embeddings: int = 100

    read_out_layers: ClassVar[int] = 2
    read_out_activation: ClassVar[str] = "silu"

    def __post_init__(self) -> None:
        positive_fields(
            self,
            *("channels", "largest_degree", "layers", "cutoff", "radial_functions"),
            *("neighbors", "embeddings"),
        )

    @property
    def features(self) -> int:
        """Number of scalar features: scalars and squared norms after every layer."""
        return self.channels * (self.largest_degree + 1) * self.layers

    @property
    def vectors(self) -> int:
        """Number of vector features."""
        return self.channels

    def build(self) -> Cormorant:
        """Return a representation with random initial parameters."""
        return Cormorant(self)


class RadialSines(nn.Module):
    """``sin(2πκd + φ)/d^k`` with trained κ [1/Å] and φ, for several powers k."""

    def __init__(self, size: int, cutoff: float) -> None:
        super().__init__()
        wavenumbers = torch.linspace(0.0, 0.5 * size / cutoff, size).repeat(len(POWERS))
        self.wavenumbers = nn.Parameter(wavenumbers)
        self.phases = nn.Parameter(math.pi * (torch.rand(size * len(POWERS)) - 0.5))
        self.size = size

    def forward(self, distances: Tensor) -> Tensor:
        """Expand ``[n_pairs, 1]`` Å into ``[n_pairs, size · number of powers]``."""
        sines = torch.sin(2.0 * math.pi * self.wavenumbers * distances + self.phases)
        weights = torch.cat([distances**-k for k in POWERS], dim=-1)
        return sines * weights.repeat_interleave(self.size, dim=-1)


class Layer(nn.Module):
    """Update of the pairs and of the atoms.

    Parameters
    ----------
    config
        Configuration of the network.
    inputs
        Degrees of the input features.
    first
        Whether there are no pair features yet.
    """

    def __init__(self, config: CormorantConfig, inputs: list[int], *, first: bool) -> None:
        super().__init__()
        channels, degrees = config.channels, range(config.largest_degree + 1)
        self.inputs, self.neighbors = inputs, config.neighbors
        self.radial = RadialSines(config.radial_functions, config.cutoff)
        known = config.radial_functions * len(POWERS) + channels * len(inputs)
        known += 0 if first else channels
        self.pair_weights = nn.ParameterDict(
            {str(l): nn.Parameter(torch.randn(known, channels)) for l in degrees}
        )
        self.own_paths = _paths(inputs, inputs, degrees, ordered=True)
        self.pair_paths = _paths(inputs, degrees, degrees, ordered=False)
        widths = {
            l: channels
            * ((l in inputs) + sum(path[2] == l for path in [*self.own_paths, *self.pair_paths]))
            for l in degrees
        }
        self.mix = Linear(widths, dict.fromkeys(degrees, channels))

    def forward(
        self,
        features: Features,
        between: dict[int, Tensor] | None,
        harmonics: dict[int, Tensor],
        distances: Tensor,
        envelope: Tensor,
        pairs: Pairs,
    ) -> tuple[Features, dict[int, Tensor]]:
        """Return the new features of atoms, and of pairs ``[n_pairs, channels]`` by degree."""
        sent = {l: pairs.of_senders(value) for l, value in features.items()}
        products = [(features[l][pairs.receiver] * sent[l]).sum(1) for l in self.inputs]
        known = [self.radial(distances), *products]
        updated = {}
        for key, weight in self.pair_weights.items():
            l = int(key)
            parts = known if between is None else [*known, between[l]]
            updated[l] = envelope * (torch.cat(parts, dim=-1) @ weight) * weight.shape[0] ** -0.5

        n_atoms = next(iter(features.values())).shape[0]
        collected: dict[int, list[Tensor]] = {l: [features[l]] for l in self.inputs}
        for l1, l2, l in self.own_paths:
            coupling = _coupling(l1, l2, l, features[l1])
            product = torch.einsum("nac,nbc,abo->noc", features[l1], features[l2], coupling)
            collected.setdefault(l, []).append(product)
        for l1, l2, l in self.pair_paths:
            coupling = _coupling(l1, l2, l, features[l1]) * math.sqrt(4.0 * math.pi)
            turned = torch.einsum("pb,abo->poa", harmonics[l2], coupling)
            message = torch.bmm(turned, sent[l1] * updated[l2].unsqueeze(1))
            received = pairs.sum_over_senders(message, n_atoms) * self.neighbors**-0.5
            collected.setdefault(l, []).append(received)
        joined = {l: torch.cat(parts, dim=-1) for l, parts in collected.items()}
        return self.mix(joined), updated


class Cormorant(nn.Module):
    """Cormorant representation of atomic environments."""

    def __init__(self, config: CormorantConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.embeddings, config.channels)
        self.cutoff = CosineCutoff(config.cutoff)
        degrees = list(range(config.largest_degree + 1))
        self.layers = nn.ModuleList(
            Layer(config, [0] if layer == 0 else degrees, first=layer == 0)
            for layer in range(config.layers)
        )

    def forward(self, structures: Structures, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Represent atoms; see :class:`eqcalc.models.networks.painn.PaiNN`."""
        dtype = self.embedding.weight.dtype
        separations = pairs.vectors(structures).to(dtype)
        distances = torch.sqrt(separations.square().sum(-1, keepdim=True))
        envelope = self.cutoff(distances)
        degrees = range(self.config.largest_degree + 1)
        harmonics = spherical_harmonics(degrees, separations / distances)
        features: Features = {0: self.embedding(structures.numbers).unsqueeze(1)}
        between: dict[int, Tensor] | None = None
        invariants = []
        for layer in self.layers:
            features, between = layer(features, between, harmonics, distances, envelope, pairs)
            lengths = [features[l].square().mean(1) for l in degrees if l > 0]
            invariants += [features[0].squeeze(1), *lengths]
        return torch.cat(invariants, dim=-1), features[1]


def _paths(
    first: list[int], second: list[int] | range, outputs: range, *, ordered: bool
) -> list[tuple[int, int, int]]:
    """Return paths l1, l2 → l of natural parity; only l1 ≤ l2 for self-products."""
    return [
        (l1, l2, l)
        for l1 in first
        for l2 in second
        if l1 <= l2 or not ordered
        for l in coupled_degrees(l1, l2, parity=True)
        if l in outputs
    ]


def _coupling(l1: int, l2: int, l: int, like: Tensor) -> Tensor:
    """Return the coupling normalised to preserve a mean square of one per component."""
    return clebsch_gordan_like(l1, l2, l, like) * math.sqrt(2 * l + 1)
