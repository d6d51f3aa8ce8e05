# SPDX-License-Identifier: MIT
"""PaiNN with an energy that is smooth enough for vibrations.

The equations are those of :mod:`eqcalc.models.networks.painn` with two parts changed:

* The update and the read-outs take |V v|² of the vectors, where the paper takes the length
  |V v|. A vector feature vanishes wherever symmetry demands it, as in every planar molecule,
  and the length has a kink there: higher derivatives of the energy diverge, although energies
  and forces show nothing of it. |V v|² is analytic.
* The cutoff function is the square of the cosine, whose third derivative still is continuous
  where an atom passes the cutoff.

The number of parameters is that of the paper's form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from eqcalc.models.networks.painn import Invariant, PaiNN, PaiNNSize
from eqcalc.models.radial import SquaredCosineCutoff


def squared_length(vectors: Tensor) -> Tensor:
    """Return |v|² ``[..., n]`` of vectors ``[..., 3, n]``."""
    return vectors.square().sum(-2)


@dataclass(frozen=True)
class SmoothPaiNNConfig(PaiNNSize):
    """Configuration of :class:`SmoothPaiNN`; see :class:`PaiNNSize` for the parameters."""

    name: ClassVar[str] = "smooth_painn"

    read_out_invariant = staticmethod(squared_length)

    def invariant(self) -> Invariant:
        """Return the squared length."""
        return squared_length

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
