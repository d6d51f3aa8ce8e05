# SPDX-License-Identifier: MIT
"""The PaiNN representation: scalar and vector features passed between atoms.

After Schütt, Unke and Gastegger, "Equivariant message passing for the
prediction of tensorial properties and molecular spectra", ICML 2021
(arXiv:2102.03150). With u_ij the unit vector of a pair, d_ij its length, W the
radial filters and ∘ the product of features,

    message   Δs_i = Σ_j φ_s(s_j) ∘ W_s(d_ij)
              Δv_i = Σ_j φ_u(s_j) ∘ W_u(d_ij) u_ij + φ_v(s_j) ∘ W_v(d_ij) ∘ v_j
    update    Δs_i = a_ss + a_sv ∘ ⟨U v_i, V v_i⟩
              Δv_i = a_vv ∘ U v_i,   a = a(s_i, |V v_i|)

No product but these appears, so the features are equivariant under rotations
and reflections alike: U and V mix features and have no bias.

What the update takes of the vectors, the length |V v_i|, and the cutoff function are parts.
:class:`SmoothPaiNN`, with as many parameters and an energy that is smooth enough for vibrations,
has others:

* The update and the read-outs take √(|V v|² + 1) − 1 of the vectors, or |V v|². A vector feature
  vanishes wherever symmetry demands it, as in every planar molecule, and the length has a kink
  there: higher derivatives of the energy diverge, although energies and forces show nothing of it.
  Both others are analytic. The first grows only linearly; with the second training may diverge on
  geometries far from the others.
* The cutoff function is the square of the cosine, whose third derivative still is continuous
  where an atom passes the cutoff.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from eqcalc.models.radial import CosineCutoff, SquaredCosineCutoff, radial_basis
from eqcalc.neighbors import Pairs
from eqcalc.structures import Structures
from eqcalc.validation import one_of, positive_fields

#: A function of vectors ``[..., 3, n]`` that no rotation changes, ``[..., n]``.
Invariant: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Length:
    """Length of vectors along their components, √(|v|² + ε).

    Parameters
    ----------
    epsilon
        ε, which keeps every derivative finite at v = 0.
    """

    epsilon: float

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the lengths ``[..., n]`` of ``[..., 3, n]``."""
        return torch.sqrt(vectors.square().sum(-2) + self.epsilon)


def squared_length(vectors: Tensor) -> Tensor:
    """Return |v|² ``[..., n]`` of vectors ``[..., 3, n]``."""
    return vectors.square().sum(-2)


def soft_length(vectors: Tensor) -> Tensor:
    """Return √(|v|² + 1) − 1 ``[..., n]`` of vectors ``[..., 3, n]``."""
    return torch.sqrt(squared_length(vectors) + 1.0) - 1.0


INVARIANTS: dict[str, Invariant] = {"soft_length": soft_length, "squared_length": squared_length}


@dataclass(frozen=True)
class PaiNNSize:
    """What every form of PaiNN has: sizes, cutoff and radial basis.

    Parameters
    ----------
    features
        Number of scalar features and of vector features per atom.
    layers
        Number of message–update layers.
    cutoff
        Distance at which interactions vanish [Å].
    radial_basis
        ``"sinc"`` (paper) or ``"gaussian"``.
    radial_functions
        Size of the radial basis.
    embeddings
        Rows of the embedding table; atomic numbers must be smaller.
    """

    features: int = 128
    layers: int = 3
    cutoff: float = 5.0
    radial_basis: str = "sinc"
    radial_functions: int = 20
    embeddings: int = 100

    read_out_layers: ClassVar[int] = 2
    read_out_activation: ClassVar[str] = "silu"

    def __post_init__(self) -> None:
        positive_fields(self, "features", "layers", "radial_functions", "embeddings")
        positive_fields(self, "cutoff")

    @property
    def vectors(self) -> int:
        """Number of vector features, as many as scalars."""
        return self.features

    def invariant(self) -> Invariant:
        """Return what the update takes of the vectors."""
        raise NotImplementedError

    def envelope(self) -> nn.Module:
        """Return the cutoff function of the filters."""
        raise NotImplementedError


@dataclass(frozen=True)
class PaiNNConfig(PaiNNSize):
    """Configuration of :class:`PaiNN`; the defaults are those of the paper.

    Parameters
    ----------
    features, layers, cutoff, radial_basis, radial_functions, embeddings
        As in :class:`PaiNNSize`.
    norm_epsilon
        Added to |V v|² under the root, which keeps every derivative finite at v = 0.
        The paper has none. Much smaller ones (10⁻⁸ is usual) leave cusps in the
        energy where a feature vanishes, and vibrations about such a geometry are
        wrong; lengths are 0.1 to 1 in a trained network.
    """

    name: ClassVar[str] = "painn"

    norm_epsilon: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_fields(self, "norm_epsilon")

    def invariant(self) -> Length:
        """Return the length of the paper."""
        return Length(self.norm_epsilon)

    def envelope(self) -> CosineCutoff:
        """Return the cutoff function of the paper."""
        return CosineCutoff(self.cutoff)

    def build(self) -> nn.Module:
        """Return a representation with random initial parameters."""
        return PaiNN(self)


@dataclass(frozen=True)
class SmoothPaiNNConfig(PaiNNSize):
    """Configuration of :class:`SmoothPaiNN`.

    Parameters
    ----------
    features, layers, cutoff, radial_basis, radial_functions, embeddings
        As in :class:`~eqcalc.models.networks.painn.PaiNNSize`.
    vector_invariant
        What update and read-outs take of a vector: ``"soft_length"`` or ``"squared_length"``.
    """

    name: ClassVar[str] = "smooth_painn"

    vector_invariant: str = "soft_length"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("vector_invariant", self.vector_invariant, tuple(INVARIANTS))

    def invariant(self) -> Invariant:
        """Return what the update takes of the vectors."""
        return INVARIANTS[self.vector_invariant]

    @property
    def read_out_invariant(self) -> Invariant:
        """What the read-outs take of the vectors."""
        return self.invariant()

    def envelope(self) -> SquaredCosineCutoff:
        """Return a cutoff function with three continuous derivatives."""
        return SquaredCosineCutoff(self.cutoff)

    def build(self) -> nn.Module:
        """Return a representation with random initial parameters."""
        return SmoothPaiNN(self)


class Aggregation(Protocol):
    """A function that sums the messages of all senders; :func:`sum_messages` is the reference."""

    def __call__(
        self,
        context: Tensor,
        vectors: Tensor | None,
        radial: Tensor,
        weights: Tensor,
        directions: Tensor,
        pairs: Pairs,
    ) -> tuple[Tensor, Tensor]:
        """Return Δs ``[n_atoms, F]`` and Δv ``[n_atoms, 3, F]``; see :func:`sum_messages`."""
        ...


def sum_messages(
    context: Tensor,
    vectors: Tensor | None,
    radial: Tensor,
    weights: Tensor,
    directions: Tensor,
    pairs: Pairs,
) -> tuple[Tensor, Tensor]:
    """Sum the messages to every atom from its neighbours.

    Parameters
    ----------
    context
        φ_s, φ_u and φ_v side by side, ``[n_atoms, 3 F]``.
    vectors
        ``[n_atoms, 3, F]``; None while all are zero, in the first layer.
    radial, weights
        Radial functions ``[n_pairs, K]`` and ``[K, 3 F]``, whose product are the filters.
    directions
        Unit vectors from receiver to sender, ``[n_pairs, 3]``.
    pairs
        The pairs, sorted by receiver.

    Returns
    -------
    tuple
        Δs ``[n_atoms, F]`` and Δv ``[n_atoms, 3, F]``.
    """
    n_atoms, width = context.shape[0], context.shape[1] // 3
    if vectors is None:  # nothing is carried on
        context, weights = context[:, : 2 * width], weights[:, : 2 * width]
    weighted = (radial @ weights) * pairs.of_senders(context)
    to_scalars, along, *carried = weighted.split(width, dim=-1)
    received = pairs.sum_of_outer_products(directions, along, n_atoms)
    if vectors is not None:
        passed = carried[0].unsqueeze(1) * pairs.of_senders(vectors)
        received = received + pairs.sum_over_senders(passed, n_atoms)
    return pairs.sum_over_senders(to_scalars, n_atoms), received


class Message(nn.Module):
    """Message block: sum of messages from the neighbours of an atom."""

    #: How messages are summed; an execution may override it in an instance.
    aggregation: Aggregation

    def __init__(self, features: int) -> None:
        super().__init__()
        self.aggregation = sum_messages
        self.context = nn.Sequential(
            nn.Linear(features, features), nn.SiLU(), nn.Linear(features, 3 * features)
        )

    def forward(
        self,
        scalars: Tensor,
        vectors: Tensor | None,
        radial: Tensor,
        weights: Tensor,
        directions: Tensor,
        pairs: Pairs,
    ) -> tuple[Tensor, Tensor]:
        """Return the updated scalars ``[n_atoms, F]`` and vectors ``[n_atoms, 3, F]``.

        See :func:`sum_messages` for the arguments.
        """
        to_scalars, to_vectors = self.aggregation(
            self.context(scalars), vectors, radial, weights, directions, pairs
        )
        return scalars + to_scalars, to_vectors if vectors is None else vectors + to_vectors


class Update(nn.Module):
    """Update block: scalars and vectors of one atom act on each other."""

    def __init__(self, features: int, invariant: Invariant) -> None:
        super().__init__()
        self.invariant = invariant
        self.mix = nn.Linear(features, 2 * features, bias=False)
        self.context = nn.Sequential(
            nn.Linear(2 * features, features), nn.SiLU(), nn.Linear(features, 3 * features)
        )

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the updated scalars ``[n_atoms, F]`` and vectors ``[n_atoms, 3, F]``."""
        left, right = self.mix(vectors).chunk(2, dim=-1)
        context = self.context(torch.cat([scalars, self.invariant(left)], dim=-1))
        a_ss, a_vv, a_sv = context.chunk(3, dim=-1)
        scalars = scalars + a_ss + a_sv * (left * right).sum(-2)
        return scalars, vectors + a_vv.unsqueeze(1) * right


class PaiNN(nn.Module):
    """PaiNN representation of atomic environments."""

    def __init__(self, config: PaiNNSize) -> None:
        super().__init__()
        self.config = config
        features = config.features
        self.embedding = nn.Embedding(config.embeddings, features)
        self.basis = radial_basis(config.radial_basis, config.radial_functions, config.cutoff)
        self.cutoff = config.envelope()
        # one linear map for the filters of all layers, as in the published layout
        self.filters = nn.Linear(config.radial_functions, 3 * features * config.layers)
        self.messages = nn.ModuleList(Message(features) for _ in range(config.layers))
        self.updates = nn.ModuleList(
            Update(features, config.invariant()) for _ in range(config.layers)
        )

    def forward(self, structures: Structures, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Represent atoms.

        Parameters
        ----------
        structures
            Structures whose positions may have a higher precision than the network.
        pairs
            Pairs, at least all those within the cutoff.

        Returns
        -------
        scalars, vectors
            Features ``[n_atoms, F]`` and ``[n_atoms, 3, F]``.
        """
        # differences are taken in the precision of the positions, then rounded
        dtype = self.filters.weight.dtype
        separations = pairs.vectors(structures).to(dtype)
        distances = torch.sqrt(separations.square().sum(-1, keepdim=True))
        directions = separations / distances
        envelope = self.cutoff(distances)
        # the bias of the filters is the weight of one more radial function, the envelope itself
        radial = torch.cat([self.basis(distances) * envelope, envelope], dim=-1)
        weights = torch.cat([self.filters.weight, self.filters.bias.unsqueeze(-1)], dim=-1)

        scalars = self.embedding(structures.numbers)
        vectors: Tensor | None = None
        width = 3 * self.config.features
        for layer, (message, update) in enumerate(zip(self.messages, self.updates, strict=True)):
            of_layer = weights[layer * width : (layer + 1) * width].T
            scalars, vectors = message(scalars, vectors, radial, of_layer, directions, pairs)
            scalars, vectors = update(scalars, vectors)
        assert vectors is not None
        return scalars, vectors


class SmoothPaiNN(PaiNN):
    """PaiNN whose features are analytic in the positions of the atoms within the cutoff."""


#: The forms of PaiNN: the same messages and linear layers.
FORMS: tuple[type[PaiNN], ...] = (PaiNN, SmoothPaiNN)
