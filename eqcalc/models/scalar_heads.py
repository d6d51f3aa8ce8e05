# SPDX-License-Identifier: MIT
"""Read-outs of scalars: sums and means over atoms, and the spatial extent."""

from __future__ import annotations

from torch import Tensor

from eqcalc.models.readout import FeatureCounts, Head, origin_of, perceptron
from eqcalc.structures import Structures

__all__ = ["EnergyHead", "ScalarHead", "SpatialExtentHead"]


class ScalarHead(Head):
    """Sum or mean of atomic values from a perceptron of the scalar features.

    Parameters
    ----------
    counts
        Numbers of features.
    layers, function
        Linear maps of the perceptron, and the activation between them.
    aggregation
        ``"sum"`` for extensive and ``"mean"`` for intensive quantities.
    """

    isolated = False
    additive = True

    def __init__(
        self,
        counts: FeatureCounts,
        *,
        layers: int | None = None,
        function: str | None = None,
        aggregation: str = "sum",
    ) -> None:
        super().__init__()
        if aggregation not in {"sum", "mean"}:
            raise ValueError(f"aggregation: expected sum or mean, got {aggregation!r}")
        self.aggregation = aggregation
        self.atomwise = perceptron(counts, layers, function)

    def forward(
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return values ``[n_structures]``."""
        atomic = self.atomwise(scalars).squeeze(-1)
        return self.reference(atomic.to(structures.positions.dtype), structures)

    def reference(self, atomic: Tensor, structures: Structures) -> Tensor:
        """Return the sum or mean of ``[n_atoms]``."""
        if self.aggregation == "mean":
            return structures.mean_over_atoms(atomic)
        return structures.sum_over_atoms(atomic)


class EnergyHead(ScalarHead):
    """Sum of atomic energies."""

    def __init__(
        self, counts: FeatureCounts, *, layers: int | None = None, function: str | None = None
    ) -> None:
        super().__init__(counts, layers=layers, function=function)


class SpatialExtentHead(Head):
    """Electronic spatial extent ``⟨R²⟩ = Σ_i q_i |r_i − r_0|²`` with atomic q_i.

    Parameters
    ----------
    counts
        Numbers of features.
    layers, function
        Linear maps of the perceptron of q, and the activation between them.
    origin
        As for :class:`PolarizabilityHead`. The default is that of the labels of QM9:
        Gaussian puts the centre of nuclear charge at the origin.
    """

    def __init__(
        self,
        counts: FeatureCounts,
        *,
        layers: int | None = None,
        function: str | None = None,
        origin: str = "center_of_charge",
    ) -> None:
        super().__init__()
        self.atomwise = perceptron(counts, layers, function)
        self.origin = origin_of(origin)

    def forward(
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return extents ``[n_structures]``."""
        weights = self.atomwise(scalars).squeeze(-1).to(structures.positions.dtype)
        arms = structures.positions - structures.spread_to_atoms(self.origin(structures))
        return structures.sum_over_atoms(weights * arms.square().sum(-1))
