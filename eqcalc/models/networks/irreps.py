# SPDX-License-Identifier: MIT
"""Features of any degree l, and equivariant operations on them.

Features are a mapping from the degree l to ``[n, 2l+1, multiplicity]``. Their
2l+1 components transform as the real spherical harmonics of e3nn, by rotations
and, with natural parity, by (−1)^l under inversion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from eqcalc.models.radial import CosineCutoff, CosineSquaredBasis, radial_basis
from eqcalc.neighbors import Pairs
from eqcalc.structures import Structures

#: Features by degree, ``[n, 2l+1, multiplicity]`` each.
Features = dict[int, Tensor]


@cache
def clebsch_gordan(l1: int, l2: int, l3: int) -> Tensor:
    """Return the coupling of two degrees to a third, ``[2l1+1, 2l2+1, 2l3+1]`` float64.

    The Wigner 3j symbols of real spherical harmonics; the sum of their squares is one.

    Raises
    ------
    ImportError
        e3nn is not installed.
    """
    try:
        from e3nn import o3
    except ImportError:
        raise ImportError(
            "this network needs e3nn: install it, or eqcalc with the extra 'equivariant'"
        ) from None

    with torch.inference_mode(False), torch.no_grad():
        return o3.wigner_3j(l1, l2, l3, dtype=torch.float64).clone()


def clebsch_gordan_like(l1: int, l2: int, l3: int, like: Tensor) -> Tensor:
    """Return :func:`clebsch_gordan` in the precision and on the device of a tensor."""
    return _converted(l1, l2, l3, like.dtype, like.device)


@cache
def _converted(l1: int, l2: int, l3: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # cached: copying it to a GPU would synchronize
    with torch.inference_mode(False):
        return clebsch_gordan(l1, l2, l3).to(device, dtype)


def coupled_degrees(l1: int, l2: int, *, parity: bool) -> list[int]:
    """Return the degrees to which two degrees couple, |l1−l2| … l1+l2.

    With natural parity only those of even l1 + l2 + l3 remain; the others, like
    the cross product of two vectors, have the wrong sign under inversion.
    """
    step = 2 if parity else 1
    return list(range(abs(l1 - l2), l1 + l2 + 1, step))


def spherical_harmonics(degrees: Sequence[int], directions: Tensor) -> dict[int, Tensor]:
    """Evaluate real spherical harmonics, orthonormal on the unit sphere.

    By recursion: ``Y_l = (2l+1)/√l · [Y_{l−1} ⊗ u]_l``, with values, order and signs
    of e3nn; Y_1 is proportional to (x, y, z). Explicit polynomials, from
    ``workflows/irreps/polynomials.py``, are not faster below l = 5.

    Parameters
    ----------
    degrees
        Degrees l.
    directions
        Unit vectors, ``[n, 3]``.

    Returns
    -------
    dict
        By degree ``[n, 2l+1]``, with mean square 1/4π in every component.
    """
    values = directions.new_full((directions.shape[0], 1), (4.0 * math.pi) ** -0.5)
    found = {0: values}
    for l in range(1, max(degrees) + 1):
        coupling = clebsch_gordan_like(l - 1, 1, l, directions) * ((2 * l + 1) / math.sqrt(l))
        step = (directions @ coupling.transpose(0, 1).flatten(1)).unflatten(1, (2 * l - 1, -1))
        values = torch.bmm(values.unsqueeze(1), step).squeeze(1)
        found[l] = values
    return {l: found[l] for l in degrees}


@dataclass(frozen=True, eq=False)
class Neighborhoods:
    """The pairs of every atom, padded to the largest number of neighbours.

    Sums of outer products over neighbours become batched matrix products even if the numbers of
    neighbours differ.

    Parameters
    ----------
    slots
        Pairs of every atom, ``[n_atoms, degree]``; padded with the number of pairs, an invalid
        index. None if no padding is needed.
    degree
        Largest number of pairs of an atom.
    n_atoms
        Number of atoms.
    """

    slots: Tensor | None
    degree: int
    n_atoms: int

    @classmethod
    def of(cls, pairs: Pairs, n_atoms: int) -> Neighborhoods:
        """Arrange pairs, which are sorted by receiver."""
        if pairs.degree is not None:
            return cls(None, pairs.degree, n_atoms)
        n_pairs, device = len(pairs.receiver), pairs.receiver.device
        counts = torch.bincount(pairs.receiver, minlength=n_atoms)
        degree = int(counts.max()) if n_pairs else 0
        first = torch.cumsum(counts, 0) - counts
        rank = torch.arange(n_pairs, device=device) - first[pairs.receiver]
        slots = torch.full((n_atoms, degree), n_pairs, device=device)
        slots[pairs.receiver, rank] = torch.arange(n_pairs, device=device)
        return cls(slots, degree, n_atoms)

    def _gather(self, values: Tensor) -> Tensor:
        if self.slots is None:
            return values.reshape(self.n_atoms, self.degree, values.shape[1])
        padded = torch.cat([values, values.new_zeros(1, values.shape[1])])
        return padded[self.slots]

    def sum_of_outer_products(self, left: Tensor, right: Tensor) -> Tensor:
        """Sum ``left ⊗ right``, ``[n_pairs, m]`` and ``[n_pairs, n]``, to ``[n_atoms, m, n]``."""
        return torch.bmm(self._gather(left).transpose(1, 2), self._gather(right))


def passed_through(
    blocks: Iterable[nn.Module],
    scalars: Tensor,
    structures: Structures,
    pairs: Pairs,
    degrees: Sequence[int],
) -> Features:
    """Return what blocks of convolutions make of embedded atoms ``[n_atoms, n]``."""
    separations = pairs.vectors(structures).to(scalars.dtype)
    distances = torch.sqrt(separations.square().sum(-1, keepdim=True))
    harmonics = spherical_harmonics(degrees, separations / distances)
    neighborhoods = Neighborhoods.of(pairs, structures.n_atoms)
    features: Features = {0: scalars.unsqueeze(1)}
    for block in blocks:
        features = block(features, harmonics, distances, pairs, neighborhoods)
    return features


def scalars_and_vectors(features: Features) -> tuple[Tensor, Tensor]:
    """Return the features of degree 0, ``[n_atoms, F]``, and of degree 1, which may be none."""
    scalars = features[0].squeeze(1)
    return scalars, features.get(1, scalars.new_zeros(scalars.shape[0], 3, 0))


class Normalized(nn.Module):
    """An activation scaled so that normally distributed inputs give a mean square of one.

    Signals then keep unit variance from layer to layer for any activation (e3nn). The mean square
    is computed by Gauss–Hermite quadrature.
    """

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function
        nodes, weights = np.polynomial.hermite_e.hermegauss(64)
        values = function(torch.as_tensor(nodes)).square().numpy()
        self.factor = float((weights @ values / weights.sum()) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to every element."""
        return self.factor * self.function(x)


class RadialPerceptron(nn.Module):
    """Functions of the distance: a radial basis and layers without bias.

    The weights are initialised with unit variance and every layer is normalised, so
    that the outputs have a mean square near one (e3nn). All layers and
    activations are zero at zero: the outputs vanish smoothly at the cutoff.

    Parameters
    ----------
    basis, size, cutoff
        Radial basis; see :mod:`eqcalc.models.radial`.
    width, layers
        Size and number of the layers.
    function
        Activation, zero at zero.
    """

    def __init__(
        self, basis: str, size: int, cutoff: float, width: int, layers: int, function: nn.Module
    ) -> None:
        super().__init__()
        self.basis = radial_basis(basis, size, cutoff)
        compact = isinstance(self.basis, CosineSquaredBasis)
        self.envelope = None if compact else CosineCutoff(cutoff)
        shapes = [(size, width)] + [(width, width)] * (layers - 1)
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(shape)) for shape in shapes)
        self.activation = Normalized(function)
        # the basis is normalised to a sum of squares that is one on average over the
        # distances of atoms, of which the bond of H2 is the shortest
        grid = torch.linspace(0.7, cutoff, 1001, dtype=torch.float64)[:-1, None]
        self.scale = float(self._expand(grid).square().sum(-1).mean()) ** -0.5

    def _expand(self, distances: Tensor) -> Tensor:
        values = self.basis(distances)
        return values if self.envelope is None else values * self.envelope(distances)

    def forward(self, distances: Tensor) -> Tensor:
        """Return ``[n, width]`` for distances ``[n, 1]`` Å."""
        values = self._expand(distances) * self.scale
        for layer, weight in enumerate(self.weights):
            fan_in = 1 if layer == 0 else weight.shape[0]
            values = self.activation(values @ weight * fan_in**-0.5)
        return values


class Linear(nn.Module):
    """Mix features of equal degree, without bias.

    Parameters
    ----------
    inputs, outputs
        Multiplicities by degree; outputs of a degree that is no input are zero.
    """

    def __init__(self, inputs: Mapping[int, int], outputs: Mapping[int, int]) -> None:
        super().__init__()
        self.outputs = dict(outputs)
        self.weights = nn.ParameterDict(
            {
                str(l): nn.Parameter(torch.randn(inputs[l], n))
                for l, n in outputs.items()
                if l in inputs
            }
        )

    def forward(self, features: Features) -> Features:
        """Mix the multiplicities of every degree."""
        mixed = {}
        some = next(iter(features.values()))
        for l, n in self.outputs.items():
            if str(l) in self.weights:
                weight = self.weights[str(l)]
                mixed[l] = features[l] @ weight * weight.shape[0] ** -0.5
            else:
                mixed[l] = some.new_zeros(some.shape[0], 2 * l + 1, n)
        return mixed


class PointConvolution(nn.Module):
    """Convolution with radial functions times spherical harmonics.

    ``y_i = n Σ_j Σ_{l_in, l_f} W(d_ij) [x_j^{l_in} ⊗ Y^{l_f}(r_ij)]^{l_out}`` (Thomas et
    al., arXiv:1802.08219; Miller et al., arXiv:2008.08461, equation 3), where the
    components are coupled by Wigner 3j symbols and W mixes multiplicities, one
    matrix for each path l_in, l_f → l_out and each distance. The factor, equation
    13, gives every component a mean square of one per neighbour if those of the
    inputs have it,

        n² = 4π (2 l_out + 1) / Σ_paths multiplicity of l_in .

    W is linear in the outputs of a radial perceptron. This map is applied after
    the sum over neighbours, which is equivalent and needs a fraction of the operations, as there
    are more pairs than atoms.

    Parameters
    ----------
    inputs, outputs
        Multiplicities by degree.
    filters
        Degrees of the spherical harmonics.
    width
        Number of radial functions.
    parity
        Whether to omit the paths of unnatural parity.
    """

    def __init__(
        self,
        inputs: Mapping[int, int],
        outputs: Mapping[int, int],
        filters: Sequence[int],
        width: int,
        *,
        parity: bool,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.width = dict(inputs), dict(outputs), width
        self.paths = [
            (l_in, l_f, l_out)
            for l_in in inputs
            for l_f in filters
            for l_out in coupled_degrees(l_in, l_f, parity=parity)
            if l_out in outputs
        ]
        self.weights = nn.ParameterDict(
            {
                _key(path): nn.Parameter(torch.randn(inputs[path[0]] * width, outputs[path[2]]))
                for path in self.paths
            }
        )
        for path in self.paths:
            self.register_buffer(f"coupling_{_key(path)}", clebsch_gordan(*path), persistent=False)
        self.norm = {
            l: ((2 * l + 1) * 4.0 * math.pi / max(fan_in, 1)) ** 0.5
            for l in outputs
            for fan_in in [sum(inputs[a] for a, _, c in self.paths if c == l)]
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PointConvolution:
        # couplings in float32 would limit the equivariance of a float64 model
        super()._apply(fn, recurse)
        for path in self.paths:
            name = f"coupling_{_key(path)}"
            moved = getattr(self, name)
            setattr(self, name, clebsch_gordan(*path).to(moved.device, moved.dtype))
        return self

    def forward(
        self,
        features: Features,
        harmonics: Mapping[int, Tensor],
        radial: Tensor,
        pairs: Pairs,
        neighborhoods: Neighborhoods,
        on_site: Tensor | None = None,
    ) -> Features:
        """Sum over neighbours.

        Parameters
        ----------
        features
            Features of all atoms.
        harmonics
            Spherical harmonics of the pairs by degree, ``[n_pairs, 2l+1]``.
        radial
            Radial functions of the pairs, ``[n_pairs, width]``.
        pairs, neighborhoods
            The pairs, and their arrangement.
        on_site
            Radial functions at distance zero, ``[width]``, if every atom is its
            own neighbour too. Only l_f = 0 is defined there.

        Returns
        -------
        dict
            Features of the output degrees.
        """
        some = next(iter(features.values()))
        n_atoms = some.shape[0]
        result = {l: some.new_zeros(n_atoms, 2 * l + 1, n) for l, n in self.outputs.items()}
        for path in self.paths:
            l_in, l_f, l_out = path
            coupling: Tensor = getattr(self, f"coupling_{_key(path)}").to(some.dtype)
            turned = torch.einsum("pf,afo->poa", harmonics[l_f], coupling)
            coupled = torch.bmm(turned, pairs.of_senders(features[l_in]))
            collected = neighborhoods.sum_of_outer_products(coupled.flatten(1), radial)
            collected = collected.reshape(n_atoms, 2 * l_out + 1, -1)
            if on_site is not None and l_f == 0:
                own = features[l_in] * (coupling[0, 0, 0] * (4.0 * math.pi) ** -0.5)
                collected = collected + (own.unsqueeze(-1) * on_site).flatten(2)
            result[l_out] = result[l_out] + collected @ self.weights[_key(path)]
        factor = self.width**-0.5
        return {l: value * (self.norm[l] * factor) for l, value in result.items()}


class Gate(nn.Module):
    """Activate scalars, and scale features of other degrees by activated scalars.

    (Weiler et al., "3D steerable CNNs", 2018.) The last input scalars are the gates, one for each
    feature of another degree.

    Parameters
    ----------
    outputs
        Output multiplicities by degree.
    scalars, gates
        Activations.
    """

    def __init__(self, outputs: Mapping[int, int], scalars: nn.Module, gates: nn.Module) -> None:
        super().__init__()
        self.outputs = dict(outputs)
        self.scalars, self.gates = Normalized(scalars), Normalized(gates)
        #: Input multiplicities by degree.
        self.inputs = {**outputs, 0: sum(outputs.values())}

    def forward(self, features: Features) -> Features:
        """Apply to features with the multiplicities :attr:`inputs`."""
        degrees = [l for l in self.outputs if l > 0]
        parts = features[0].split([self.outputs[0], *(self.outputs[l] for l in degrees)], dim=-1)
        activated = {0: self.scalars(parts[0])}
        for l, gate in zip(degrees, parts[1:], strict=True):
            activated[l] = self.gates(gate) * features[l]
        return activated


def _key(path: tuple[int, int, int]) -> str:
    return "{}_{}_{}".format(*path)
