# SPDX-License-Identifier: MIT
"""DimeNet++ through the layers of PyTorch Geometric.

After Gasteiger et al., "Fast and uncertainty-aware directional message passing
for non-equilibrium molecules" (arXiv:2011.14115): messages on directed pairs,
updated by messages on incoming pairs as a function of distance and angle. The layers are those of
PyTorch Geometric; pairs, triplets and the sum over atoms are eqcalc's, so that PyG's extension
packages are not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eqcalc.neighbors import Pairs
from eqcalc.structures import Structures
from eqcalc.validation import positive_fields

#: Added to the squared sine of angles, so that derivatives stay finite for collinear atoms.
_EPSILON = 1e-12


@dataclass(frozen=True)
class DimeNetConfig:
    """Configuration of :class:`DimeNet`; the defaults are those of the paper for QM9.

    Parameters
    ----------
    features
        Scalar features per atom that are read out.
    hidden
        Width of messages.
    layers
        Interaction blocks.
    triplet_embedding, basis_embedding, output_embedding
        Widths inside the blocks.
    spherical_functions, radial_functions
        Size of the bases of angles and distances.
    cutoff
        Distance at which interactions vanish [Å].
    """

    name: ClassVar[str] = "dimenet++"

    features: int = 128
    hidden: int = 128
    layers: int = 4
    triplet_embedding: int = 64
    basis_embedding: int = 8
    output_embedding: int = 256
    spherical_functions: int = 7
    radial_functions: int = 6
    cutoff: float = 5.0

    vectors: ClassVar[int] = 0
    embeddings: ClassVar[int] = 95
    read_out_layers: ClassVar[int] = 1
    read_out_activation: ClassVar[str] = "silu"

    def __post_init__(self) -> None:
        positive_fields(
            self,
            *("features", "hidden", "layers", "triplet_embedding", "basis_embedding"),
            *("output_embedding", "spherical_functions", "radial_functions", "cutoff"),
        )

    def build(self) -> DimeNet:
        """Return a representation with random initial parameters."""
        return DimeNet(self)


def triplets(pairs: Pairs, vectors: Tensor, n_atoms: int) -> tuple[Tensor, Tensor]:
    """Return all pairs of pairs k → j, j → i with k other than i.

    Parameters
    ----------
    pairs
        Pairs, sorted by receiver.
    vectors
        From receiver to sender, ``[n_pairs, 3]`` Å.
    n_atoms
        Number of atoms.

    Returns
    -------
    first, second
        Indices of the pairs k → j and j → i, ``[n_triplets]``.
    """
    device = pairs.receiver.device
    counts = torch.bincount(pairs.receiver, minlength=n_atoms)
    begin = torch.cumsum(counts, 0) - counts
    number = counts[pairs.sender]
    second = torch.repeat_interleave(torch.arange(len(number), device=device), number)
    offset = torch.cumsum(number, 0) - number
    rank = torch.arange(len(second), device=device) - offset[second]
    first = begin[pairs.sender[second]] + rank
    # exclude back-and-forth pairs; compared by vectors, since k may be a periodic image of i
    way = (vectors[first] + vectors[second]).detach()
    elsewhere = way.square().sum(-1) > 1e-6
    return first[elsewhere], second[elsewhere]


class DimeNet(nn.Module):
    """DimeNet++ representation of atomic environments by scalars.

    Raises
    ------
    ImportError
        PyTorch Geometric is not installed.
    """

    def __init__(self, config: DimeNetConfig) -> None:
        super().__init__()
        try:
            from torch_geometric.nn.models.dimenet import DimeNetPlusPlus
        except ImportError:
            raise ImportError(
                "DimeNet++ needs PyTorch Geometric: install torch-geometric, or eqcalc with the "
                "extra 'dimenet'"
            ) from None
        self.config = config
        self.layers = DimeNetPlusPlus(
            hidden_channels=config.hidden,
            out_channels=config.features,
            num_blocks=config.layers,
            int_emb_size=config.triplet_embedding,
            basis_emb_size=config.basis_embedding,
            out_emb_channels=config.output_embedding,
            num_spherical=config.spherical_functions,
            num_radial=config.radial_functions,
            cutoff=config.cutoff,
            output_initializer="glorot_orthogonal",
        )

    def forward(self, structures: Structures, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return scalars ``[n_atoms, F]``, and no vectors, ``[n_atoms, 3, 0]``."""
        layers, n_atoms = self.layers, structures.n_atoms
        separations = pairs.vectors(structures).to(layers.emb.emb.weight.dtype)
        near = separations.detach().square().sum(-1) < self.config.cutoff**2
        image = None if pairs.image is None else pairs.image[near]
        pairs, separations = (
            Pairs(pairs.receiver[near], pairs.sender[near], image),
            separations[near],
        )
        distances = torch.sqrt(separations.square().sum(-1))
        first, second = triplets(pairs, separations, n_atoms)
        along = (separations[first] * separations[second]).sum(-1)
        across = torch.linalg.cross(separations[first], separations[second]).square().sum(-1)
        angles = torch.atan2(torch.sqrt(across + _EPSILON), along)

        radial = layers.rbf(distances)
        spherical = layers.sbf(distances, angles, first)
        messages = layers.emb(structures.numbers, radial, pairs.receiver, pairs.sender)
        scalars = layers.output_blocks[0](messages, radial, pairs.receiver, num_nodes=n_atoms)
        for interaction, output in zip(
            layers.interaction_blocks, layers.output_blocks[1:], strict=True
        ):
            messages = interaction(messages, radial, spherical, first, second)
            scalars = scalars + output(messages, radial, pairs.receiver, num_nodes=n_atoms)
        return scalars, scalars.new_zeros(n_atoms, 3, 0)
