# SPDX-License-Identifier: MIT
"""Read-outs: from atomic features to energy, dipole, polarizability and other quantities."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from eqcalc.models.networks.painn import Invariant, Length
from eqcalc.models.networks.schnet import ShiftedSoftplus
from eqcalc.plugins import instance, load_plugins
from eqcalc.quantities import MOLECULAR_SCALARS, named, ordered, quantity
from eqcalc.structures import Structures
from eqcalc.validation import (
    InvalidInputError,
    count,
    located,
    non_negative,
    one_of,
)

#: Activations by the name used in configurations.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "shifted_softplus": ShiftedSoftplus,
}


def activation(name: str) -> nn.Module:
    """Return the activation called `name`.

    Raises
    ------
    InvalidInputError
        There is no activation of that name.
    """
    return ACTIVATIONS[one_of("activation", name, ACTIVATIONS)]()


@dataclass(frozen=True)
class FeatureCounts:
    """The features of a representation as seen by the read-outs.

    Parameters
    ----------
    scalars, vectors
        Numbers of features per atom; a network without vectors has 0.
    layers, activation
        Default depth and activation of the perceptrons that read out scalars; options of the head
        override them.
    invariant
        What read-outs take of vectors; by default their lengths √(|v|² + ε), with the
        ``norm_epsilon`` of the read-out.
    """

    scalars: int
    vectors: int
    layers: int = 2
    activation: str = "silu"
    invariant: Invariant | None = None


def perceptron(counts: FeatureCounts, layers: int | None, function: str | None) -> nn.Sequential:
    """Return linear maps F → F/2 → … → 1 with activations between them."""
    number = counts.layers if layers is None else layers
    count("layers", number)
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
        Whether it contains absolute positions, which are undefined in periodic structures; of
        :mod:`eqcalc.models.local_readouts` none do.
    additive
        Whether reference values of the elements can be added; see :meth:`reference`.
    conserves_charge
        Whether it predicts atomic charges that add up to the total charge, which is then passed in
        units of the scale of the read-out.
    """

    isolated: ClassVar[bool] = True
    additive: ClassVar[bool] = False
    conserves_charge: ClassVar[bool] = False

    @property
    def last_layer(self) -> nn.Linear | None:
        """The linear map in whose parameters the values are linear; None if there is none."""
        return None

    def forward(
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return values ``[n_structures, ...]`` in the precision of the positions.

        `origin` ``[n_structures, 3]`` Å is the origin of the dipole of charged molecules.
        """
        raise NotImplementedError

    def reference(self, atomic: Tensor, structures: Structures) -> Tensor:
        """Return the total of the atomic reference values ``[n_atoms]``."""
        raise NotImplementedError


_READOUTS: dict[str, dict[str, type[Head]]] = {}

_HeadClass = TypeVar("_HeadClass", bound=type[Head])


def register_readout(name: str, form: str = "default") -> Callable[[_HeadClass], _HeadClass]:
    """Register a read-out of a quantity; a decorator of its class.

    The class is called with the numbers of features, and with the options of settings
    (``read_outs: {<name>: {...}}``) as keyword arguments. A model file names the quantity
    and can be read wherever the class is registered, or where the module that registers
    it is listed in ``EQCALC_PLUGINS``.

    Parameters
    ----------
    name
        The quantity.
    form
        Name of this read-out among those of the quantity. The first that is registered
        is the default; settings choose another by ``form``.

    Raises
    ------
    InvalidInputError
        There is no such quantity, it is a derivative, or another class has this name.
    """
    if (of := quantity(name).derivative_of) is not None:
        raise InvalidInputError(
            f"the derivative of the {of} needs no read-out of its own", key="quantity", value=name
        )

    def register(kind: _HeadClass) -> _HeadClass:
        known = _READOUTS.setdefault(name, {}).setdefault(form, kind)
        if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
            raise InvalidInputError(
                key=f"{name}.form",
                value=form,
                expected=f"another name: {known.__qualname__} already has this one",
            )
        _READOUTS[name][form] = kind
        return kind

    return register


def _centroid(structures: Structures) -> Tensor:
    return structures.mean_over_atoms(structures.positions)


def _center_of_charge(structures: Structures) -> Tensor:
    charges = structures.numbers.to(structures.positions).unsqueeze(-1)
    moments = structures.sum_over_atoms(charges * structures.positions)
    return moments / structures.sum_over_atoms(charges)


#: Origins of the positions in read-outs, by their name in options.
ORIGINS: dict[str, Callable[[Structures], Tensor]] = {
    "centroid": _centroid,
    "center_of_mass": Structures.center_of_mass,
    "center_of_charge": _center_of_charge,
}


def origin_of(name: str) -> Callable[[Structures], Tensor]:
    """Return the function for a key of :data:`ORIGINS`."""
    return ORIGINS[one_of("origin", name, ORIGINS)]


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
        self.aggregation = one_of("aggregation", aggregation, ("sum", "mean"))
        self.atomwise = perceptron(counts, layers, function)

    @property
    def last_layer(self) -> nn.Linear:
        """The last map of the perceptron."""
        return cast("nn.Linear", self.atomwise[-1])

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


@register_readout("energy", "sum")
class EnergyHead(ScalarHead):
    """Sum of atomic energies."""

    def __init__(
        self, counts: FeatureCounts, *, layers: int | None = None, function: str | None = None
    ) -> None:
        super().__init__(counts, layers=layers, function=function)


@register_readout("electronic_spatial_extent", "weighted")
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


class GatedEquivariantBlock(nn.Module):
    """Map scalars and vectors to new ones, the vectors gated by scalars.

    PaiNN paper, figure 3: with U, V linear without bias and m a two-layer
    perceptron, ``s', g = m([s, |U v|])`` and ``v' = g ∘ V v``. The length is that of the
    paper; networks may have another invariant in its place.

    Parameters
    ----------
    scalars, vectors
        Numbers of input features.
    features
        Number of scalar and of vector output features.
    activate
        Whether to apply an activation to the new scalars; false for the last block.
    invariant
        What is taken of U v.
    """

    def __init__(
        self, scalars: int, vectors: int, features: int, *, activate: bool, invariant: Invariant
    ) -> None:
        super().__init__()
        self.features_out = features
        self.invariant = invariant
        self.mix = nn.Linear(vectors, 2 * features, bias=False)
        self.gate = nn.Sequential(
            nn.Linear(scalars + features, scalars), nn.SiLU(), nn.Linear(scalars, 2 * features)
        )
        self.activation = nn.SiLU() if activate else nn.Identity()

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``[n_atoms, F]`` and ``[n_atoms, 3, F]`` to the same with F'."""
        left, right = self.mix(vectors).chunk(2, dim=-1)
        gates = self.gate(torch.cat([scalars, self.invariant(left)], dim=-1))
        scalars, gates = gates.split(self.features_out, dim=-1)
        return self.activation(scalars), gates.unsqueeze(1) * right


def gated_blocks(counts: FeatureCounts, features: int, invariant: Invariant) -> nn.ModuleList:
    """Return two blocks, F → F/2 → `features`."""
    hidden = max(counts.scalars // 2, 1)
    return nn.ModuleList(
        GatedEquivariantBlock(*sizes, activate=activate, invariant=invariant)
        for sizes, activate in (
            ((counts.scalars, counts.vectors, hidden), True),
            ((hidden, hidden, features), False),
        )
    )


def invariant_of(counts: FeatureCounts, norm_epsilon: float | None) -> Invariant:
    """Return what gated blocks take of vectors: that of the network, or lengths.

    Raises
    ------
    InvalidInputError
        The network has an invariant of its own, and `norm_epsilon` is given.
    """
    if counts.invariant is None:
        epsilon = 1e-8 if norm_epsilon is None else norm_epsilon
        return Length(non_negative("norm_epsilon", epsilon))
    if norm_epsilon is not None:
        raise InvalidInputError(
            "the read-outs of this network take no lengths of vectors",
            key="norm_epsilon",
            value=norm_epsilon,
            expected="nothing",
        )
    return counts.invariant


class AtomicScalarAndVector(Head):
    """One scalar and one vector per atom.

    With vector features from two gated blocks F → F/2 → 1; without, the scalar
    comes from a perceptron, and there is no vector.
    """

    def __init__(self, counts: FeatureCounts, *, gated: bool, norm_epsilon: float | None) -> None:
        super().__init__()
        invariant = invariant_of(counts, norm_epsilon)
        if gated and not counts.vectors:
            raise InvalidInputError(
                "the network has no vector features", key="atomic_dipoles", value=gated
            )
        self.gated = gated
        if gated:
            self.blocks = gated_blocks(counts, 1, invariant)
        else:
            self.atomwise = perceptron(counts, None, None)

    @property
    def last_layer(self) -> nn.Linear | None:
        """The last map of the gates, or of the perceptron."""
        gates = cast("GatedEquivariantBlock", self.blocks[-1]).gate if self.gated else None
        return cast("nn.Linear", (self.atomwise if gates is None else gates)[-1])

    def atomic(
        self, scalars: Tensor, vectors: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        """Return scalars ``[n_atoms, 1]`` and, if gated, vectors ``[n_atoms, 3]``."""
        if not self.gated:
            return self.atomwise(scalars).to(dtype), None
        for block in self.blocks:
            scalars, vectors = block(scalars, vectors)
        return scalars.to(dtype), vectors.squeeze(-1).to(dtype)


def with_total_charge(charges: Tensor, structures: Structures) -> Tensor:
    """Shift atomic charges ``[n_atoms, 1]`` e equally, so that they add up to the total charge."""
    missing = structures.charge.unsqueeze(-1) / structures.counts.unsqueeze(-1)
    missing = missing - structures.mean_over_atoms(charges)
    return charges + structures.spread_to_atoms(missing)


@register_readout("dipole", "vector")
class DipoleHead(AtomicScalarAndVector):
    """Dipole from atomic charges and atomic dipoles, ``μ = Σ_i μ_i + q_i (r_i − r_0)``.

    The charges are shifted equally so that they add up to the total charge.
    The dipole of a neutral molecule is then independent of the origin; that of a charged one is
    not: ``μ(r_0 + d) = μ(r_0) − Q d``. The default origin is the centre of mass.

    Parameters
    ----------
    counts
        Numbers of features.
    atomic_dipoles
        Whether to include μ_i; by default if there are vector features.
    norm_epsilon
        Added to squared lengths of vectors under the square root, 10⁻⁸ by default; for
        networks whose read-outs take lengths.
    """

    conserves_charge = True

    def __init__(
        self,
        counts: FeatureCounts,
        *,
        atomic_dipoles: bool | None = None,
        norm_epsilon: float | None = None,
    ) -> None:
        gated = counts.vectors > 0 if atomic_dipoles is None else atomic_dipoles
        super().__init__(counts, gated=gated, norm_epsilon=norm_epsilon)

    def forward(
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return dipoles ``[n_structures, 3]`` about `origin` ``[n_structures, 3]`` Å."""
        charges, dipoles = self.atomic(scalars, vectors, structures.positions.dtype)
        charges = with_total_charge(charges, structures)
        if origin is None:
            origin = structures.center_of_mass()
        arms = structures.positions - structures.spread_to_atoms(origin)
        moments = charges * arms
        return structures.sum_over_atoms(moments if dipoles is None else dipoles + moments)


@register_readout("dipole_magnitude", "vector")
class DipoleMagnitudeHead(DipoleHead):
    """Length of the dipole of :class:`DipoleHead`."""

    last_layer = None

    def forward(
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return lengths ``[n_structures]``."""
        return torch.linalg.vector_norm(super().forward(scalars, vectors, structures), dim=-1)


def times_identity(values: Tensor) -> Tensor:
    """Return isotropic tensors ``[n, 3, 3]`` of ``[n]``."""
    return values[:, None, None] * torch.eye(3, dtype=values.dtype, device=values.device)


@register_readout("polarizability", "tensor")
class PolarizabilityHead(AtomicScalarAndVector):
    """Polarizability ``α = Σ_i a_i 1 + ν_i ⊗ (r_i − r_0) + (r_i − r_0) ⊗ ν_i``.

    The form of the PaiNN paper, with positions relative to a point r_0 of the molecule; otherwise
    the result would change with a translation d by Σν_i ⊗ d + d ⊗ Σν_i. The default is the centroid
    of the atoms rather than the centre of mass, since a polarizability must not depend on isotopes.

    Without vector features ``ν_i = a_i (r_i − r_0)``, which is equivariant too.

    Parameters
    ----------
    counts
        Numbers of features.
    origin
        ``"centroid"``, ``"center_of_mass"`` or ``"center_of_charge"``.
    norm_epsilon
        Added to squared lengths of vectors under the square root, 10⁻⁸ by default; for
        networks whose read-outs take lengths.
    """

    additive = True

    def __init__(
        self, counts: FeatureCounts, *, origin: str = "centroid", norm_epsilon: float | None = None
    ) -> None:
        super().__init__(counts, gated=counts.vectors > 0, norm_epsilon=norm_epsilon)
        self.origin = origin_of(origin)

    def forward(
        self, scalars: Tensor, vectors: Tensor, structures: Structures, origin: Tensor | None = None
    ) -> Tensor:
        """Return polarizabilities ``[n_structures, 3, 3]``, symmetric."""
        isotropic, directions = self.atomic(scalars, vectors, structures.positions.dtype)
        arms = structures.positions - structures.spread_to_atoms(self.origin(structures))
        if directions is None:
            directions = isotropic * arms
        outer = structures.sum_over_atoms(directions.unsqueeze(-1) * arms.unsqueeze(-2))
        trace = self.reference(isotropic.squeeze(-1), structures)
        return trace + outer + outer.transpose(-1, -2)

    def reference(self, atomic: Tensor, structures: Structures) -> Tensor:
        """Return the isotropic part ``Σ_i a_i`` times the unit matrix."""
        return times_identity(structures.sum_over_atoms(atomic))


for _scalar in MOLECULAR_SCALARS:
    register_readout(_scalar.name, "scalar")(ScalarHead)


def readouts_of(name: str) -> dict[str, type[Head]]:
    """Return the read-outs of a quantity by form, the default first; may be empty."""
    if name not in _READOUTS:
        load_plugins()
    return dict(_READOUTS.get(name, {}))


def readable_quantities() -> tuple[str, ...]:
    """Return the quantities that have a read-out."""
    load_plugins()
    return ordered(_READOUTS)


def build_head(name: str, counts: FeatureCounts, options: Mapping[str, Any]) -> Head:
    """Build the read-out of a quantity.

    Parameters
    ----------
    name
        A quantity that has a read-out.
    counts
        Numbers of features.
    options
        ``form``, where there is more than one, and keyword arguments of its class.

    Raises
    ------
    InvalidInputError
        There is no such read-out or option, or its value is invalid.
    """
    forms = readouts_of(name)
    if not forms:
        named("heads", name, readable_quantities())
    options = dict(options)
    with located(section=f"read_outs.{name}"):
        kind = forms[one_of("form", options.pop("form", next(iter(forms))), forms)]
        if "aggregation" in inspect.signature(kind).parameters and not quantity(name).extensive:
            options.setdefault("aggregation", "mean")
        return instance("", functools.partial(kind, counts), options)
