# SPDX-License-Identifier: MIT
"""PaiNN with an energy that is smooth enough for vibrations.

The equations are those of :mod:`eqcalc.models.networks.painn` with two parts changed:

* The update and the read-outs take √(|V v|² + 1) − 1 of the vectors, or |V v|², where the paper
  takes the length |V v|. A vector feature vanishes wherever symmetry demands it, as in every
  planar molecule, and the length has a kink there: higher derivatives of the energy diverge,
  although energies and forces show nothing of it. Both others are analytic. The first grows only
  linearly; with the second training may diverge on geometries far from the others.
* The cutoff function is the square of the cosine, whose third derivative still is continuous
  where an atom passes the cutoff.

The number of parameters is that of the paper's form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eqcalc.models.networks.painn import Invariant, PaiNN, PaiNNSize
from eqcalc.models.radial import SquaredCosineCutoff
from eqcalc.validation import one_of


def squared_length(vectors: Tensor) -> Tensor:
    """Return |v|² ``[..., n]`` of vectors ``[..., 3, n]``."""
    return vectors.square().sum(-2)


def soft_length(vectors: Tensor) -> Tensor:
    """Return √(|v|² + 1) − 1 ``[..., n]`` of vectors ``[..., 3, n]``."""
    return torch.sqrt(squared_length(vectors) + 1.0) - 1.0


INVARIANTS: dict[str, Invariant] = {"soft_length": soft_length, "squared_length": squared_length}


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


class SmoothPaiNN(PaiNN):
    """PaiNN whose features are analytic in the positions of the atoms within the cutoff."""


#: The forms of PaiNN: the same messages and linear layers.
FORMS: tuple[type[PaiNN], ...] = (PaiNN, SmoothPaiNN)
