# SPDX-License-Identifier: MIT
"""Potentials with known answers, callable like a model by the dynamics."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import ase.units
import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from eqcalc.units import POLARIZABILITY_VOLUME


class Analytic:
    """Base: energy and forces from a differentiable energy function."""

    numbers: Tensor
    quantities = ("energy", "forces", "dipole", "polarizability")

    def __init__(self) -> None:
        self.provenance: dict[str, Any] = {"model": type(self).__name__}
        self.calls: list[tuple[tuple[int, ...], frozenset[str]]] = []

    def energy(self, positions: Tensor) -> Tensor:
        """[n] eV from [n, n_atoms, 3] Å."""
        raise NotImplementedError

    def forces(self, positions: Tensor) -> Tensor:
        with torch.enable_grad():
            x = positions.detach().requires_grad_()
            return -torch.autograd.grad(self.energy(x).sum(), x)[0]

    def dipole(self, positions: Tensor) -> Tensor:
        return positions.sum(dim=1)

    def polarizability(self, positions: Tensor) -> Tensor:
        return positions.sum(dim=1)[:, :, None] * torch.eye(3, dtype=positions.dtype)

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        self.calls.append((tuple(positions.shape), frozenset(quantities)))
        return {name: getattr(self, name)(positions) for name in quantities}

    def rates(
        self, positions: Tensor, velocities: Tensor, quantities: Collection[str]
    ) -> dict[str, Tensor]:
        return {
            name: torch.func.jvp(getattr(self, name), (positions,), (velocities,))[1]
            for name in quantities
        }

    def hessian(self, positions: Tensor) -> Tensor:
        """[3 n_atoms, 3 n_atoms] eV/Å² at positions [n_atoms, 3]."""
        flat = torch.func.hessian(lambda x: self.energy(x[None])[0])(positions)
        return flat.reshape(positions.numel(), positions.numel())


class HarmonicWell(Analytic):
    """Independent atoms, each in its own isotropic well V = ½ k r² about the origin."""

    def __init__(self, stiffness: list[float], numbers: list[int] | None = None) -> None:
        super().__init__()
        self.stiffness = torch.tensor(stiffness, dtype=torch.float64).view(-1, 1)
        self.numbers = torch.tensor(numbers or [1] * len(stiffness))

    def energy(self, positions: Tensor) -> Tensor:
        return 0.5 * (self.stiffness * positions.square()).sum(dim=(1, 2))

    def forces(self, positions: Tensor) -> Tensor:
        return -self.stiffness * positions

    @property
    def atoms(self) -> Atoms:
        return Atoms(self.numbers.numpy(), positions=[(0.0, 0.0, 0.0)] * len(self.numbers))


class MorseDiatomic(Analytic):
    """V = D (1 − exp(−a (r − r0)))², by default hydrogen chloride."""

    def __init__(self, depth: float = 4.618, width: float = 1.8681, length: float = 1.2746) -> None:
        super().__init__()
        self.depth, self.width, self.length = depth, width, length
        self.numbers = torch.tensor([1, 17])

    def energy(self, positions: Tensor) -> Tensor:
        r = (positions[:, 0] - positions[:, 1]).norm(dim=-1)
        return self.depth * (1.0 - torch.exp(-self.width * (r - self.length))).square()

    @property
    def atoms(self) -> Atoms:
        return Atoms("HCl", positions=[(0.0, 0.0, 0.0), (0.0, 0.0, self.length)])


class ToyWater(Analytic):
    """A flexible water molecule with point charges and bond polarizabilities.

    V = ½ k_b Σ (r − 1 Å)² + ½ k_a (θ − 112°)², charges −0.84/+0.42 e, and
    α = 0.30·1 + Σ_OH [(0.55 + 1.10 d) 1 + (0.35 + 1.40 d)(u u − 1/3)] Å³, d = r − 1 Å.
    """

    bond = 1059.162 * ase.units.kcal / ase.units.mol
    bend = 75.90 * ase.units.kcal / ase.units.mol
    angle = torch.deg2rad(torch.tensor(112.0, dtype=torch.float64))
    charges = torch.tensor([-0.84, 0.42, 0.42], dtype=torch.float64).view(-1, 1)
    masses = (15.999, 1.008, 1.008)

    def __init__(self) -> None:
        super().__init__()
        self.numbers = torch.tensor([8, 1, 1])

    @staticmethod
    def _internal(positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        arms = positions[:, 1:] - positions[:, :1]
        lengths = arms.norm(dim=-1)
        units = arms / lengths[..., None]
        cosine = (units[:, 0] * units[:, 1]).sum(dim=-1)
        sine = torch.linalg.cross(units[:, 0], units[:, 1]).norm(dim=-1)
        return lengths, units, torch.atan2(sine, cosine)

    def energy(self, positions: Tensor) -> Tensor:
        lengths, _, angle = self._internal(positions)
        stretch = 0.5 * self.bond * (lengths - 1.0).square().sum(dim=-1)
        return stretch + 0.5 * self.bend * (angle - self.angle).square()

    def dipole(self, positions: Tensor) -> Tensor:
        return (self.charges * positions).sum(dim=1)

    def polarizability(self, positions: Tensor) -> Tensor:
        lengths, units, _ = self._internal(positions)
        unit = torch.eye(3, dtype=positions.dtype)
        d = (lengths - 1.0)[..., None, None]
        traceless = units[..., :, None] * units[..., None, :] - unit / 3.0
        bonds = (0.55 + 1.10 * d) * unit + (0.35 + 1.40 * d) * traceless
        return POLARIZABILITY_VOLUME * (0.30 * unit + bonds.sum(dim=1))

    @property
    def atoms(self) -> Atoms:
        half = 0.5 * float(self.angle)
        x, y = torch.sin(torch.tensor(half)).item(), torch.cos(torch.tensor(half)).item()
        atoms = Atoms("OHH", positions=[(0.0, 0.0, 0.0), (x, y, 0.0), (-x, y, 0.0)])
        atoms.set_masses(self.masses)
        return atoms


class WaterBox(ToyWater):
    """Toy waters in a periodic cell that do not see each other, wherever their images are."""

    def __init__(self, n_molecules: int = 4, edge: float = 6.0) -> None:
        super().__init__()
        self.n_molecules = n_molecules
        self.numbers = self.numbers.repeat(n_molecules)
        skew = [[1.0, 0.0, 0.0], [0.1, 1.0, 0.0], [0.0, -0.2, 1.0]]
        self.cell = edge * torch.tensor(skew, dtype=torch.float64)

    def _molecules(self, positions: Tensor) -> Tensor:
        """Whole molecules, each about its oxygen atom, ``[n · n_molecules, 3, 3]``."""
        apart = positions.reshape(-1, 3, 3)
        arms = apart - apart[:, :1]
        return arms - torch.round(arms @ torch.linalg.inv(self.cell)) @ self.cell

    def _total(self, of_molecules: Tensor) -> Tensor:
        return of_molecules.unflatten(0, (-1, self.n_molecules)).sum(1)

    def energy(self, positions: Tensor) -> Tensor:
        return self._total(super().energy(self._molecules(positions)))

    def dipole(self, positions: Tensor) -> Tensor:
        return self._total(super().dipole(self._molecules(positions)))

    def polarizability(self, positions: Tensor) -> Tensor:
        return self._total(super().polarizability(self._molecules(positions)))

    @property
    def atoms(self) -> Atoms:
        one, rng = super().atoms, np.random.default_rng(5)
        box = Atoms(cell=self.cell.numpy(), pbc=True)
        for _ in range(self.n_molecules):
            molecule = one.copy()
            molecule.rotate(360.0 * rng.random(), rng.normal(size=3))
            molecule.positions += rng.random(3) @ self.cell.numpy()
            box += molecule
        box.set_masses(self.masses * self.n_molecules)
        return box


class IdealGas(Analytic):
    """Atoms that do not see each other, in a cell: V of N of them is Γ(N + 1, k_BT/P)."""

    quantities = ("energy", "forces", "stress")

    def __init__(self, n_atoms: int = 6, edge: float = 30.0) -> None:
        super().__init__()
        self.numbers = torch.full((n_atoms,), 18)
        self.cell = edge * torch.eye(3, dtype=torch.float64)

    def in_cells(self, positions: Tensor, cells: Tensor) -> dict[str, Tensor]:
        """Energy, forces and stress from [n, n_atoms, 3] Å and [n, 3, 3] Å."""
        energy = torch.zeros(len(positions), dtype=torch.float64)
        return {
            "energy": energy,
            "forces": torch.zeros_like(positions),
            "stress": torch.zeros_like(cells),
        }

    def __call__(
        self, positions: Tensor, quantities: Collection[str], cells: Tensor | None = None
    ) -> dict[str, Tensor]:
        cells = self.cell.expand(len(positions), 3, 3) if cells is None else cells
        values = self.in_cells(positions, cells)
        return {name: values[name] for name in quantities}

    @property
    def atoms(self) -> Atoms:
        n = len(self.numbers)
        places = np.random.default_rng(2).random((n, 3)) @ self.cell.numpy()
        return Atoms(self.numbers.numpy(), positions=places, cell=self.cell.numpy(), pbc=True)


class HarmonicCrystal(IdealGas):
    """A simple cubic crystal, ½k|d − a₀e|² of each of the 3N neighbours along an axis e.

    The displacements of the atoms and the size of the cell, with a = (V/N)^⅓, separate:
    p(V) ∝ V exp[−(3/2 N k (a − a₀)² + PV)/k_BT], the factor V being the centre of mass.
    """

    def __init__(self, edge: int = 2, spacing: float = 3.0, stiffness: float = 0.5) -> None:
        super().__init__(edge**3, edge * spacing)
        self.edge, self.spacing, self.stiffness = edge, spacing, stiffness
        sites = torch.cartesian_prod(*[torch.arange(edge)] * 3)
        self.sites = sites.double() / edge
        axes = torch.eye(3, dtype=torch.int64)
        ahead = (sites[None] + axes[:, None]).flatten(0, 1)
        self.images = torch.div(ahead, edge, rounding_mode="floor").double()
        place = torch.tensor([edge**2, edge, 1])
        self.first = torch.arange(edge**3).repeat(3)
        self.second = (ahead % edge) @ place
        self.axes = axes.double().repeat_interleave(edge**3, dim=0)

    def in_cells(self, positions: Tensor, cells: Tensor) -> dict[str, Tensor]:
        arms = positions[:, self.second] - positions[:, self.first] + self.images @ cells
        stretch = arms - self.spacing * self.axes
        pull = self.stiffness * stretch
        forces = torch.zeros_like(positions).index_add(1, self.first, pull)
        stress = pull.mT @ arms / torch.linalg.det(cells)[:, None, None]
        return {
            "energy": 0.5 * self.stiffness * stretch.square().sum(dim=(1, 2)),
            "forces": forces.index_add(1, self.second, pull, alpha=-1),
            "stress": 0.5 * (stress + stress.mT),
        }

    def mean_and_variance(self, thermal_energy: float, pressure: float) -> tuple[float, float]:
        """Exact moments of the volume [Å³], at a pressure in eV/Å³."""
        n = len(self.numbers)
        volume = n * np.linspace(0.4, 2.0, 20001) * self.spacing**3
        strain = np.cbrt(volume / n) - self.spacing
        exponent = -(1.5 * n * self.stiffness * strain**2 + pressure * volume) / thermal_energy
        weight = volume * np.exp(exponent - exponent.max())
        mean = float(np.average(volume, weights=weight))
        return mean, float(np.average((volume - mean) ** 2, weights=weight))

    @property
    def atoms(self) -> Atoms:
        places = (self.sites @ self.cell).numpy()
        return Atoms(self.numbers.numpy(), positions=places, cell=self.cell.numpy(), pbc=True)


class IonicCrystal(HarmonicCrystal):
    """Ions in a rock-salt lattice, held by the springs of :class:`HarmonicCrystal`: MgO as a toy.

    The sublattices move against each other with ω² = 6k/μ, μ the reduced mass of a pair, and
    ε(0) − ε∞ = n q²/6kε₀V with n pairs.
    """

    quantities = ("energy", "forces", "stress", "dipole", "polarizability")
    charge, polarizability_volume, masses = 1.2, 1.1, (24.305, 15.999)  # e, Å³ of a pair, amu

    def __init__(self) -> None:
        super().__init__(spacing=2.1, stiffness=3.0)
        odd = (self.edge * self.sites).sum(dim=1).long() % 2
        self.numbers = torch.where(odd == 0, 12, 8)
        self.charges = self.charge * (1.0 - 2.0 * odd.double())
        self.n_pairs = len(odd) // 2

    def __call__(
        self, positions: Tensor, quantities: Collection[str], cells: Tensor | None = None
    ) -> dict[str, Tensor]:
        usual = set(quantities) - {"dipole", "polarizability"}
        values = super().__call__(positions, usual, cells)
        unit = torch.eye(3, dtype=torch.float64).expand(len(positions), 3, 3)
        alpha = POLARIZABILITY_VOLUME * self.polarizability_volume * self.n_pairs * unit
        moment = self.charges @ positions
        return {**values, "dipole": moment, "polarizability": alpha}
