# SPDX-License-Identifier: MIT
"""What all read-outs share: their interface, perceptrons of scalars, and origins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from eqcalc.models.activations import activation
from eqcalc.structures import Structures

__all__ = ["ORIGINS", "FeatureCounts", "Head", "origin_of", "perceptron"]


@dataclass(frozen=True)
class FeatureCounts:
    """What a representation offers to the read-outs.

    Parameters
    ----------
    scalars, vectors
        Numbers of features per atom; a network without vectors has 0.
    layers, activation
        Depth of a perceptron that reads out scalars, and its activation, where
        the options of the head do not say otherwise.
    """

    scalars: int
    vectors: int
    layers: int = 2
    activation: str = "silu"


def perceptron(counts: FeatureCounts, layers: int | None, function: str | None) -> nn.Sequential:
    """Return linear maps F → F/2 → … → 1 with activations between them."""
    number = counts.layers if layers is None else layers
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"layers: expected a positive integer, got {number!r}")
    hidden = max(counts.scalars // 2, 1)
    sizes = [counts.scalars, *[hidden] * (number - 1), 1]
    modules: list[nn.Module] = []
    for before, after in pairwise(sizes):
        modules += [nn.Linear(before, after), activation(function or counts.activation)]
    return nn.Sequential(*modules[:-1])


class Head(nn.Module):
    """A read-out of one quantity.

    Attributes
    ----------
    isolated
        Whether it weights with positions, which periodic structures do not allow.
    additive
        Whether reference values of the elements can be added; see :meth:`reference`.
    """

    isolated: ClassVar[bool] = True
    additive: ClassVar[bool] = False

    def forward(
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return values ``[n_structures, ...]`` in the precision of the positions.

        `origin` ``[n_structures, 3]`` Å is that of the dipole of charged molecules.
        """
        raise NotImplementedError

    def reference(self, atomic: Tensor, structures: Structures) -> Tensor:
        """Return what reference values of the atoms ``[n_atoms]`` add up to."""
        raise NotImplementedError


def _centroid(structures: Structures) -> Tensor:
    return structures.mean_over_atoms(structures.positions)


def _center_of_charge(structures: Structures) -> Tensor:
    charges = structures.numbers.to(structures.positions).unsqueeze(-1)
    moments = structures.sum_over_atoms(charges * structures.positions)
    return moments / structures.sum_over_atoms(charges)


#: Points about which read-outs may weight with positions, by the name in options.
ORIGINS: dict[str, Callable[[Structures], Tensor]] = {
    "centroid": _centroid,
    "center_of_mass": Structures.center_of_mass,
    "center_of_charge": _center_of_charge,
}


def origin_of(name: str) -> Callable[[Structures], Tensor]:
    """Return the function of a key of :data:`ORIGINS`."""
    if name not in ORIGINS:
        raise ValueError(f"origin: expected one of {', '.join(ORIGINS)}, got {name!r}")
    return ORIGINS[name]
