# SPDX-License-Identifier: MIT
"""Equivariant graph convolution over any set of degrees l.

After Lee, Galkin and Miret, "Deconstructing equivariant representations in
molecular systems" (arXiv:2410.08131) and the authors' code, where the text is
silent. An element becomes 64 scalars; each block couples the features of the
senders with spherical harmonics of the chosen degrees, with weights from a two-layer perceptron of
20 Bessel functions of the distance, sums over neighbours and divides by a constant; blocks after
the first add to their input. A linear map reads out the scalars of the last block.

In the published network nothing but the radial perceptron is nonlinear, its
graph is that of the covalent bonds, and as only scalars are read out, the last
block's other degrees are never trained. Settings replace each of these:
``nonlinearity``, ``self_interaction``, ``graph`` and ``read_out``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from eqcalc.models.networks.irreps import (
    Features,
    Gate,
    Linear,
    Neighborhoods,
    PointConvolution,
    RadialPerceptron,
    passed_through,
    scalars_and_vectors,
)
from eqcalc.models.networks.painn import Length
from eqcalc.neighbors import Pairs
from eqcalc.structures import Structures
from eqcalc.validation import InvalidInputError, one_of, positive_fields

#: Two atoms are bonded if they are closer than this times the sum of covalent radii.
BOND_TOLERANCE = 1.25


@dataclass(frozen=True)
class IrrepsGCNConfig:
    """Configuration of :class:`IrrepsGCN`; the defaults are the published ones.

    Parameters
    ----------
    degrees
        Degrees of features and of spherical harmonics; 0 must be among them.
    multiplicity
        Features of every degree, also the width of the radial perceptron.
    blocks
        Convolutions. The paper's text says three; its code builds five.
    embedding
        Scalars of an element.
    graph
        ``"bonds"``: neighbours are bonded atoms, so that the energy is not a
        continuous function of the positions; ``"radius"``: all within the cutoff.
    cutoff
        Range of the radial functions [Å].
    radial_functions
        Size of the radial basis.
    normalization
        Sums over neighbours are divided by this; √37 in the paper.
    nonlinearity
        ``"none"`` as published; ``"gate"``: after each block scalars pass a
        SiLU and other degrees a gate.
    self_interaction
        Whether to mix each atom's features after a block, by a linear map.
    read_out
        ``"scalars"`` as published; ``"norms"``: scalars, and norms of all other degrees, so that
        these are trained in the last block too.
    embeddings
        Rows of the embedding table; atomic numbers must be smaller.
    """

    name: ClassVar[str] = "irreps_gcn"

    degrees: tuple[int, ...] = (0, 1, 2)
    multiplicity: int = 32
    blocks: int = 5
    embedding: int = 64
    graph: str = "bonds"
    cutoff: float = 6.0
    radial_functions: int = 20
    normalization: float = 37.0**0.5
    nonlinearity: str = "none"
    self_interaction: bool = False
    read_out: str = "scalars"
    embeddings: int = 100

    read_out_layers: ClassVar[int] = 1
    read_out_activation: ClassVar[str] = "silu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "degrees", tuple(sorted(set(self.degrees))))
        if not all(isinstance(l, int) and l >= 0 for l in self.degrees) or 0 not in self.degrees:
            raise InvalidInputError(
                key="degrees", value=self.degrees, expected="integers ≥ 0 with 0 among them"
            )
        positive_fields(
            self,
            *("multiplicity", "blocks", "embedding", "cutoff", "radial_functions"),
            *("normalization", "embeddings"),
        )
        one_of("graph", self.graph, ("bonds", "radius"))
        one_of("nonlinearity", self.nonlinearity, ("none", "gate"))
        one_of("read_out", self.read_out, ("scalars", "norms"))

    @property
    def features(self) -> int:
        """Number of scalar features that are read out."""
        return self.multiplicity * (1 if self.read_out == "scalars" else len(self.degrees))

    @property
    def vectors(self) -> int:
        """Number of vector features that are read out."""
        return self.multiplicity if 1 in self.degrees else 0

    def build(self) -> IrrepsGCN:
        """Return a representation with random initial parameters."""
        return IrrepsGCN(self)


def bonds(structures: Structures, pairs: Pairs) -> Pairs:
    """Return the pairs of covalently bonded atoms, determined from their distance."""
    radii = torch.as_tensor(covalent_radii, dtype=structures.positions.dtype)
    radii = radii.to(structures.positions.device)[structures.numbers]
    separations = pairs.vectors(structures).detach()
    reach = BOND_TOLERANCE * (radii[pairs.receiver] + radii[pairs.sender])
    bonded = separations.square().sum(-1) < reach.square()
    image = None if pairs.image is None else pairs.image[bonded]
    return Pairs(pairs.receiver[bonded], pairs.sender[bonded], image)


class Block(nn.Module):
    """A convolution, optionally with a self-interaction and a gate."""

    def __init__(self, inputs: dict[int, int], config: IrrepsGCNConfig) -> None:
        super().__init__()
        outputs = dict.fromkeys(config.degrees, config.multiplicity)
        gated = config.nonlinearity == "gate"
        self.gate = Gate(outputs, nn.SiLU(), nn.Sigmoid()) if gated else None
        produced = outputs if self.gate is None else self.gate.inputs
        self.radial = RadialPerceptron(
            "sinc", config.radial_functions, config.cutoff, config.multiplicity, 1, nn.SiLU()
        )
        self.convolution = PointConvolution(
            inputs, produced, config.degrees, config.multiplicity, parity=True
        )
        self.mix = Linear(produced, produced) if config.self_interaction else None
        self.residual = inputs == outputs
        self.normalization = config.normalization

    def forward(
        self,
        features: Features,
        harmonics: dict[int, Tensor],
        distances: Tensor,
        pairs: Pairs,
        neighborhoods: Neighborhoods,
    ) -> Features:
        """Return the features of the next block."""
        gathered = self.convolution(
            features, harmonics, self.radial(distances), pairs, neighborhoods
        )
        gathered = {l: value / self.normalization for l, value in gathered.items()}
        if self.mix is not None:
            gathered = self.mix(gathered)
        if self.gate is not None:
            gathered = self.gate(gathered)
        if self.residual:
            gathered = {l: features[l] + value for l, value in gathered.items()}
        return gathered


class IrrepsGCN(nn.Module):
    """Representation of atomic environments by features of chosen degrees."""

    def __init__(self, config: IrrepsGCNConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.embeddings, config.embedding)
        hidden = dict.fromkeys(config.degrees, config.multiplicity)
        inputs = [{0: config.embedding}, *[hidden] * (config.blocks - 1)]
        self.blocks = nn.ModuleList(Block(one, config) for one in inputs)

    def latent(self, structures: Structures, pairs: Pairs) -> Features:
        """Return the features of every degree after the last block."""
        if self.config.graph == "bonds":
            pairs = bonds(structures, pairs)
        scalars = self.embedding(structures.numbers)
        return passed_through(self.blocks, scalars, structures, pairs, self.config.degrees)

    def read_out(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return the scalars and vectors among features of all degrees."""
        scalars, vectors = scalars_and_vectors(features)
        if self.config.read_out == "norms":
            lengths = [Length(1e-8)(features[l]) for l in self.config.degrees if l > 0]
            scalars = torch.cat([scalars, *lengths], dim=-1)
        return scalars, vectors

    def forward(self, structures: Structures, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Represent atoms; see :class:`eqcalc.models.networks.painn.PaiNN`."""
        return self.read_out(self.latent(structures, pairs))
