# SPDX-License-Identifier: MIT
"""Molecules whose energy and dipole moment are elementary functions."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from eqcalc.normal_modes import NormalModes

KCAL = 0.0433641042  # eV per kcal/mol


class Molecule:
    """An evaluator of an analytic molecule."""

    quantities = ("energy", "dipole")
    provenance: ClassVar[dict] = {}
    numbers: Tensor
    masses: np.ndarray
    equilibrium: Tensor

    def energy(self, r: Tensor) -> Tensor:
        raise NotImplementedError

    def dipole(self, r: Tensor) -> Tensor:
        raise NotImplementedError

    def forces(self, r: Tensor) -> Tensor:
        r = r.clone().requires_grad_(True)
        return -torch.autograd.grad(self.energy(r).sum(), r)[0]

    def __call__(self, positions: Tensor, quantities) -> dict[str, Tensor]:
        return {name: getattr(self, name)(positions) for name in quantities}

    def modes(self, masses=None) -> NormalModes:
        hessian = torch.autograd.functional.hessian(
            lambda r: self.energy(r[None])[0], self.equilibrium
        )
        used = self.masses if masses is None else np.asarray(masses)
        return NormalModes.from_hessian(self.equilibrium.numpy(), used, hessian.numpy())


class Water(Molecule):
    """The monomer of q-TIP4P/F, as in Habershon et al., J. Chem. Phys. 131, 024501 (2009)."""

    numbers = torch.tensor([8, 1, 1])
    masses = np.array([15.9949146221, 1.0078250319, 1.0078250319])
    half = np.deg2rad(107.4) / 2
    equilibrium = 0.9419 * torch.tensor(
        [[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]],
        dtype=torch.float64,
    )

    def energy(self, r):
        bond = r[:, 1:] - r[:, :1]
        length = bond.norm(dim=-1)
        x = 2.287 * (length - 0.9419)
        stretch = 116.09 * KCAL * (x**2 - x**3 + 7.0 / 12.0 * x**4)
        cosine = (bond[:, 0] * bond[:, 1]).sum(-1) / length.prod(-1)
        bend = 0.5 * 87.85 * KCAL * (torch.arccos(cosine) - 2.0 * self.half) ** 2
        return stretch.sum(-1) + bend

    def dipole(self, r):
        hydrogens = r[:, 1] + r[:, 2]
        negative = 0.73612 * r[:, 0] + 0.13194 * hydrogens
        return 0.5564 * hydrogens - 1.1128 * negative


class CarbonDioxide(Molecule):
    """A linear molecule: two Morse bonds that repel each other's stretching, and a bend."""

    numbers = torch.tensor([6, 8, 8])
    masses = np.array([12.0, 15.9949146221, 15.9949146221])
    equilibrium = torch.tensor([[0, 0, 0], [0, 0, 1.16], [0, 0, -1.16]], dtype=torch.float64)

    def energy(self, r):
        bond = r[:, 1:] - r[:, :1]
        length = bond.norm(dim=-1)
        morse = 1.0 - torch.exp(-2.2 * (length - 1.16))
        coupling = 7.9 * (length[:, 0] - 1.16) * (length[:, 1] - 1.16)
        cosine = (bond[:, 0] * bond[:, 1]).sum(-1) / length.prod(-1)
        # 1 + cos θ is analytic at 180°, where it is half the square of the bend
        return 10.6 * (morse**2).sum(-1) + coupling + 4.9 * (1.0 + cosine)

    def dipole(self, r):
        return 0.6 * r[:, 0] - 0.3 * (r[:, 1] + r[:, 2])


class Tetrahedron(Molecule):
    """Methane, or with three atoms bound ammonia: Morse bonds and angles that soften as they grow.

    Parameters
    ----------
    bound
        Number of hydrogen atoms.
    """

    def __init__(self, bound: int) -> None:
        corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
        arms = 1.09 / np.sqrt(3.0) * corners[:bound].to(torch.float64)
        self.numbers = torch.tensor([6, *[1] * bound])
        self.masses = np.array([12.0, *[1.0078250319] * bound])
        self.equilibrium = torch.cat([torch.zeros((1, 3), dtype=torch.float64), arms])

    def energy(self, r):
        bond = r[:, 1:] - r[:, :1]
        length = bond.norm(dim=-1)
        morse = 1.0 - torch.exp(-1.9 * (length - 1.09))
        direction = bond / length[..., None]
        i, j = np.triu_indices(bond.shape[1], 1)
        bend = (direction[:, i] * direction[:, j]).sum(-1) + 1.0 / 3.0
        stretched = length[:, i] + length[:, j] - 2.18
        return 4.7 * (morse**2).sum(-1) + (bend**2 * (1.6 - 1.5 * stretched)).sum(-1)

    def dipole(self, r):
        return 0.1 * (r[:, 1:] - r[:, :1]).sum(1)
