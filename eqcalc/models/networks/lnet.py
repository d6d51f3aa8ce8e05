# SPDX-License-Identifier: MIT
"""The L1Net and L0Net family: point convolutions with gated blocks.

After Miller, Geiger, Smidt and Noé, "Relevance of rotationally equivariant
convolutions for predicting molecular properties" (arXiv:2008.08461). Every
block is a convolution over all atoms (equation 3, normalised by equation 13)
followed by a gate; the scalars of the last block are read out atom by atom and summed. An L1Net
carries scalars and vectors, an L0Net replaces the vectors by three times as many scalars.

Where the paper is silent, the defaults are inferred from the ranges of the
authors' search script and the alternatives are settings:

- widths of scalars, embedding, radial perceptron and output block, and β;
- an atom is its own neighbour, through the path l_f = 0 at distance zero;
- features are divided by the square root of the mean number of neighbours;
- no residual connections (a table of the paper says "True", its text and the
  authors' search use none);
- the published network omits no path, so that two vectors couple to a third by the cross product.
Its features and energies are therefore not invariant under reflection. The default here keeps
natural parity; ``parity=False`` is the paper's.
- several targets share the output block, which the paper gives to each of them;
  `output_features` times the number of targets contains its model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from eqcalc.models.networks.irreps import (
    Features,
    Gate,
    Neighborhoods,
    PointConvolution,
    RadialPerceptron,
    passed_through,
    scalars_and_vectors,
)
from eqcalc.models.networks.schnet import ShiftedSoftplus
from eqcalc.neighbors import Pairs
from eqcalc.structures import Structures
from eqcalc.validation import count, positive_fields


@dataclass(frozen=True)
class LNetConfig:
    """Configuration of :class:`LNet`; the defaults are those of L1Net.

    Parameters
    ----------
    scalars, hidden_vectors
        Features of the hidden blocks. The paper's L1Net has 29 vectors.
    blocks
        Hidden blocks before the output block.
    embedding
        Width of the embedding of the elements.
    output_features, output_vectors
        Features of the output block; the paper's has no vectors.
    read_out_layers
        Linear maps of scalar read-outs; with more than one, ReLU between them.
    cutoff
        Distance at which interactions vanish [Å]. The default puts the last of
        84 centres of the cos² basis at 11.1 Å.
    radial_basis, radial_functions
        Radial basis; the paper tries cos², Gaussians and Bessel functions.
    radial_width, radial_layers
        Radial perceptron.
    beta
        Sharpness of all softplus activations.
    neighbors
        Mean number of neighbours, including the atom itself; 18.0 in QM9.
    self_interaction
        Whether an atom is its own neighbour.
    residual
        Whether blocks with equal input and output features have a residual connection.
    parity
        Natural parity only; false couples all degrees, as published.
    embeddings
        Rows of the embedding table; atomic numbers must be smaller.
    """

    name: ClassVar[str] = "lnet"

    scalars: int = 32
    hidden_vectors: int = 29
    blocks: int = 2
    embedding: int = 112
    output_features: int = 96
    output_vectors: int = 0
    read_out_layers: int = 1
    cutoff: float = 11.1 * 84 / 83
    radial_basis: str = "cosine_squared"
    radial_functions: int = 84
    radial_width: int = 112
    radial_layers: int = 2
    beta: float = 5.0
    neighbors: float = 18.0
    self_interaction: bool = True
    residual: bool = False
    parity: bool = True
    embeddings: int = 100

    read_out_activation: ClassVar[str] = "relu"

    def __post_init__(self) -> None:
        positive_fields(
            self,
            *("scalars", "blocks", "embedding", "output_features", "read_out_layers", "cutoff"),
            *("radial_functions", "radial_width", "radial_layers", "beta", "neighbors"),
            "embeddings",
        )
        for key in ("hidden_vectors", "output_vectors"):
            count(key, getattr(self, key), least=0)

    @property
    def features(self) -> int:
        """Number of scalar features that are read out."""
        return self.output_features

    @property
    def vectors(self) -> int:
        """Number of vector features that are read out."""
        return self.output_vectors

    def build(self) -> LNet:
        """Return a representation with random initial parameters."""
        return LNet(self)


_L0 = replace(LNetConfig(), scalars=32 + 3 * 29, hidden_vectors=0)

#: The networks of the paper. One feature vector counts as three scalars.
VARIANTS: dict[str, LNetConfig] = {
    "L1Net": LNetConfig(),
    "L0Net": _L0,
    "L0Net Deep": replace(_L0, blocks=3),
    "L0Net Outdeep": replace(_L0, read_out_layers=2),
    "L0Net Both Deep": replace(_L0, blocks=3, read_out_layers=2),
}


class Block(nn.Module):
    """A convolution and a gate."""

    def __init__(self, inputs: dict[int, int], outputs: dict[int, int], config: LNetConfig) -> None:
        super().__init__()
        self.gate = Gate(outputs, nn.Softplus(config.beta), nn.Sigmoid())
        self.residual = config.residual and inputs == outputs
        self.scale = config.neighbors**-0.5
        filters = range(max(inputs) + max(outputs) + 1)
        self.radial = RadialPerceptron(
            config.radial_basis,
            config.radial_functions,
            config.cutoff,
            config.radial_width,
            config.radial_layers,
            ShiftedSoftplus(config.beta),
        )
        self.convolution = PointConvolution(
            inputs, self.gate.inputs, filters, config.radial_width, parity=config.parity
        )
        self.self_interaction = config.self_interaction

    def forward(
        self,
        features: Features,
        harmonics: dict[int, Tensor],
        distances: Tensor,
        pairs: Pairs,
        neighborhoods: Neighborhoods,
    ) -> Features:
        """Return the features of the next block."""
        on_site = self.radial(distances.new_zeros(1, 1))[0] if self.self_interaction else None
        scaled = {l: value * self.scale for l, value in features.items()}
        gathered = self.convolution(
            scaled, harmonics, self.radial(distances), pairs, neighborhoods, on_site
        )
        activated = self.gate(gathered)
        if self.residual:
            activated = {l: features[l] + value for l, value in activated.items()}
        return activated


class LNet(nn.Module):
    """Representation of atomic environments by scalars, with or without vectors."""

    def __init__(self, config: LNetConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.embeddings, config.embedding)
        hidden = _multiplicities(config.scalars, config.hidden_vectors)
        output = _multiplicities(config.output_features, config.output_vectors)
        shapes = [{0: config.embedding}, *[hidden] * config.blocks, output]
        self.blocks = nn.ModuleList(
            Block(inputs, outputs, config) for inputs, outputs in pairwise(shapes)
        )
        self.degrees = range(max(max(a) + max(b) for a, b in pairwise(shapes)) + 1)

    def forward(self, structures: Structures, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Represent atoms; see :class:`eqcalc.models.networks.painn.PaiNN`."""
        scalars = self.embedding(structures.numbers)
        features = passed_through(self.blocks, scalars, structures, pairs, self.degrees)
        return scalars_and_vectors(features)


def _multiplicities(scalars: int, vectors: int) -> dict[int, int]:
    return {0: scalars, 1: vectors} if vectors else {0: scalars}
