# SPDX-License-Identifier: MIT
"""Radial bases and cutoff functions.

A radial basis expands the distance d of a pair in functions of one variable;
a cutoff function brings every interaction smoothly to zero at the cutoff.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from eqcalc.validation import count, one_of, positive


class _ExactConstants(nn.Module):
    """A basis whose constants survive conversion to lower precision and back.

    Otherwise a model loaded in float32 and converted to float64 would keep wavenumbers or centres
    with errors in the eighth digit. The buffer has the precision of the network and is recomputed
    from the exact constants whenever that changes.
    """

    def _keep(self, name: str, constants: Tensor) -> None:
        self._name, self._exact = name, constants
        self.register_buffer(name, constants, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _ExactConstants:
        super()._apply(fn, recurse)
        moved = self.get_buffer(self._name)
        setattr(self, self._name, self._exact.to(moved.device, moved.dtype))
        return self


class SincBasis(_ExactConstants):
    """Spherical Bessel functions of order zero, ``sin(nπd/r_c)/d`` for n = 1 … size.

    The basis of the PaiNN paper (Schütt, Unke, Gastegger, ICML 2021), without
    a normalisation constant.

    Parameters
    ----------
    size
        Number of functions.
    cutoff
        Cutoff r_c [Å].
    rounding
        Precision to which the wavenumbers are rounded.
    """

    wavenumbers: Tensor

    def __init__(self, size: int, cutoff: float, rounding: torch.dtype = torch.float64) -> None:
        super().__init__()
        n = torch.arange(1, size + 1, dtype=rounding)
        wavenumbers = (n * math.pi / cutoff).to(torch.float64)
        self._keep("wavenumbers", wavenumbers)

    def forward(self, distances: Tensor) -> Tensor:
        """Expand distances ``[n_pairs, 1]`` Å into ``[n_pairs, size]``."""
        return torch.sin(distances * self.wavenumbers.to(distances)) / distances


class GaussianBasis(_ExactConstants):
    """Gaussians centred at equal spacing on [0, r_c], as wide as the spacing.

    Parameters
    ----------
    size
        Number of functions, at least two.
    cutoff
        Cutoff r_c [Å].
    rounding
        Precision to which the centres are rounded.
    """

    centers: Tensor

    def __init__(self, size: int, cutoff: float, rounding: torch.dtype = torch.float64) -> None:
        super().__init__()
        count("radial_functions", size, least=2)
        centers = torch.linspace(0.0, cutoff, size, dtype=rounding).to(torch.float64)
        self._keep("centers", centers)
        spacing = cutoff / (size - 1) if rounding == torch.float64 else float(centers[1])
        self.exponent = -0.5 / spacing**2

    def forward(self, distances: Tensor) -> Tensor:
        """Expand distances ``[n_pairs, 1]`` Å into ``[n_pairs, size]``."""
        return torch.exp(self.exponent * (distances - self.centers.to(distances)).square())


class CosineSquaredBasis(_ExactConstants):
    """Overlapping functions ``cos²(π(d − c)/2Δ)`` within Δ of centres c at a spacing Δ.

    The basis of Miller et al. (arXiv:2008.08461): at most two functions differ
    from zero at any distance, and they add up to one. The centres are 0, Δ, …,
    r_c − Δ, so that all functions and their slopes vanish at the cutoff and no
    envelope is needed.

    Parameters
    ----------
    size
        Number of functions; Δ is r_c/size.
    cutoff
        Cutoff r_c [Å].
    """

    centers: Tensor

    def __init__(self, size: int, cutoff: float) -> None:
        super().__init__()
        self.spacing = cutoff / size
        centers = self.spacing * torch.arange(size, dtype=torch.float64)
        self._keep("centers", centers)

    def forward(self, distances: Tensor) -> Tensor:
        """Expand distances ``[n_pairs, 1]`` Å into ``[n_pairs, size]``."""
        offsets = ((distances - self.centers.to(distances)) / self.spacing).clamp(-1.0, 1.0)
        return torch.cos(0.5 * math.pi * offsets).square()


class CosineCutoff(nn.Module):
    """``f(d) = [cos(πd/r_c) + 1]/2`` inside the cutoff r_c and zero beyond.

    (Behler, J. Chem. Phys. 134, 074106 (2011).)
    """

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, distances: Tensor) -> Tensor:
        """Return f for distances [Å] of any shape."""
        inside = 0.5 * (torch.cos(distances * (math.pi / self.cutoff)) + 1.0)
        return torch.where(distances < self.cutoff, inside, torch.zeros_like(inside))


class SquaredCosineCutoff(CosineCutoff):
    """``f(d) = [cos(πd/r_c) + 1]²/4`` inside the cutoff r_c and zero beyond.

    The square of :class:`CosineCutoff`: it ends with a zero of fourth order, so that three
    derivatives are continuous at the cutoff, where those of the cosine end with the first.
    """

    def forward(self, distances: Tensor) -> Tensor:
        """Return f for distances [Å] of any shape."""
        return super().forward(distances).square()


#: Radial bases by the name used in configurations. Those with constants of single
#: precision are for models of SchNetPack, which stores them so.
RADIAL_BASES: dict[str, Callable[[int, float], nn.Module]] = {
    "sinc": SincBasis,
    "gaussian": GaussianBasis,
    "sinc_single": partial(SincBasis, rounding=torch.float32),
    "gaussian_single": partial(GaussianBasis, rounding=torch.float32),
    "cosine_squared": CosineSquaredBasis,
}


def radial_basis(name: str, size: int, cutoff: float) -> nn.Module:
    """Return the radial basis called `name`.

    Raises
    ------
    InvalidInputError
        No such basis, or an invalid size or cutoff.
    """
    make = RADIAL_BASES[one_of("radial_basis", name, RADIAL_BASES)]
    return make(count("radial_functions", size), positive("cutoff", cutoff, unit="Å"))
