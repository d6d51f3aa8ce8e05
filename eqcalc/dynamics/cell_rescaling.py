# SPDX-License-Identifier: MIT
"""Barostats: random changes of the cell that sample constant pressure.

A barostat acts in the middle of a step of velocity Verlet, between two half steps of free flight.
It scales cell, positions and momenta such that the volume in phase space is kept, and reports the
work that makes the effective energy a conserved quantity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from eqcalc.dynamics.ring_polymer import on_device
from eqcalc.dynamics.thermostats.langevin import Ensemble, kinetic_energy
from eqcalc.structures import volumes
from eqcalc.units import BOLTZMANN, FEMTOSECOND, conversion_factor

_Self = TypeVar("_Self", bound="Barostat")


def internal_pressure(
    momenta: Tensor, masses: Tensor, stress: Tensor, cell: Tensor, resting_energy: float = 0.0
) -> Tensor:
    """Return the instantaneous pressure P = 2(K + K_0)/3V − tr σ/3, ``[n_replicas]`` [eV/Å³].

    Parameters
    ----------
    momenta, masses
        ``[n_replicas, 1, n_atoms, 3]`` [amu·Å/ASE time], ``[n_atoms, 1]`` [amu].
    stress
        σ = (1/V) ∂E/∂strain, ``[n_replicas, 3, 3]`` [eV/Å³].
    cell
        ``[n_replicas, 3, 3]`` [Å].
    resting_energy
        K_0, the mean kinetic energy of the degrees of freedom that are held at rest [eV]; 3k_BT/2
        for a centre of mass, without which an ideal gas of N atoms would have the pressure of
        N − 1.
    """
    kinetic = 2.0 * (kinetic_energy(momenta, masses) + resting_energy) / volumes(cell)
    return (kinetic - stress.diagonal(dim1=-2, dim2=-1).sum(dim=-1)) / 3.0


class Barostat(Protocol):
    """Interface of barostats. They are built from an :class:`Ensemble` and their parameters."""

    def force(self, momenta: Tensor, stress: Tensor, cell: Tensor) -> Tensor:
        """Return what drives the cell, ``[n_replicas, ...]``; see :func:`internal_pressure`."""
        ...

    def __call__(
        self, positions: Tensor, momenta: Tensor, cell: Tensor, force: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return positions, momenta and cell after one step.

        `force` is that at the start of the step, `noise` standard normals of the shape of the
        momenta.
        """
        ...

    def heat(self, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> Tensor:
        """Return the heat taken in a step from (cell, force) `before` to `after` [eV]."""
        ...

    def energy(self, cell: Tensor) -> Tensor:
        """Return the energy of the cell in the bath, such as P₀V, ``[n_replicas]`` [eV]."""
        ...

    def to(self: _Self, device: torch.device) -> _Self:
        """Return the barostat, a dataclass, on `device`."""
        return on_device(self, device)


@dataclass(frozen=True, eq=False)
class CellRescaling(Barostat):
    """Isotropic stochastic cell rescaling.

    The volume obeys a Langevin equation of first order, whose noise is independent of the volume
    in the variable λ = √V (Bernetti and Bussi, J. Chem. Phys. 153, 114107 (2020)):

        dλ = (D/k_BT) f dt + √(2D) dW,   D = k_BT β_T/4τ_p,
        f  = 2λ (P − P₀ + k_BT/2V),

    P being the :func:`internal_pressure`. A step Δλ scales the cell and positions by
    s = (λ'/λ)^(2/3) and the momenta by 1/s. It is the reversible scheme of that paper: in the
    middle of velocity Verlet, with f of the last forces and of momenta after half of their step,

        O B A/2 V A/2 B,   Δλ = (D/k_BT) f Δt + √(2DΔt) ξ.

    The weights of forward and reverse step give the effective energy. It does not drift in
    equilibrium, and fluctuates by errors of order Δt,

        E + P₀V − ½k_BT ln V + Σ [½Δλ(f + f') − (DΔt/4k_BT)(f² − f'²)].

    β_T and τ_p matter by their ratio only: the distribution of volumes is that of the isobaric
    ensemble for any, and they set how fast it is sampled.

    ======  ===================  ==================================================
    symbol  variable             unit
    ======  ===================  ==================================================
    P₀      ``pressure``         eV/Å³
    k_BT    ``thermal_energy``   eV
    D       ``diffusion``        Å³/ASE time
    Δt      ``timestep``         ASE time
    K_0     ``resting_energy``   eV, of a centre of mass at rest
    f       ``force``            eV/Å^(3/2), ``[n_replicas]``
    ξ       ``noise``            1, the first of 3 n_atoms
    ======  ===================  ==================================================
    """

    pressure: float
    thermal_energy: float
    diffusion: float
    timestep: float
    masses: Tensor
    resting_energy: float

    @classmethod
    def build(
        cls, ensemble: Ensemble, pressure: float, barostat_time: float, compressibility: float
    ) -> CellRescaling:
        """Build the barostat of one step; P₀ in bar, τ_p in fs, β_T in 1/bar."""
        bar = conversion_factor("bar", "eV/Å^3")
        thermal = BOLTZMANN * ensemble.temperature
        rate = compressibility / bar / (barostat_time * FEMTOSECOND)
        resting = 3 * len(ensemble.masses) - ensemble.freedom
        return cls(
            pressure=pressure * bar,
            thermal_energy=thermal,
            diffusion=0.25 * thermal * rate,
            timestep=ensemble.timestep,
            masses=ensemble.masses,
            resting_energy=0.5 * resting * thermal,
        )

    def force(self, momenta: Tensor, stress: Tensor, cell: Tensor) -> Tensor:
        """Return f, see the class."""
        volume = volumes(cell)
        excess = (
            internal_pressure(momenta, self.masses, stress, cell, self.resting_energy)
            - self.pressure
        )
        return 2.0 * volume.sqrt() * (excess + 0.5 * self.thermal_energy / volume)

    def __call__(
        self, positions: Tensor, momenta: Tensor, cell: Tensor, force: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scale ``[n_replicas, 1, n_atoms, 3]`` positions and momenta, and the cells."""
        drift = self.diffusion / self.thermal_energy * self.timestep * force
        xi = noise[:, 0, 0, 0]
        step = drift + (2.0 * self.diffusion * self.timestep) ** 0.5 * xi
        scale = (1.0 + step / volumes(cell).sqrt()).square() ** (1.0 / 3.0)
        of_atoms = scale.view(-1, 1, 1, 1)
        return of_atoms * positions, momenta / of_atoms, scale.view(-1, 1, 1) * cell

    def heat(self, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> Tensor:
        """Return ½Δλ(f + f') − (DΔt/4k_BT)(f² − f'²), ``[n_replicas]`` [eV]."""
        (cell, force), (later, force_later) = before, after
        step = volumes(later).sqrt() - volumes(cell).sqrt()
        quarter = 0.25 * self.diffusion * self.timestep / self.thermal_energy
        work = 0.5 * step * (force + force_later)
        return work - quarter * (force.square() - force_later.square())

    def energy(self, cell: Tensor) -> Tensor:
        """Return P₀V − ½k_BT ln V (V in Å³), ``[n_replicas]`` [eV]."""
        volume = volumes(cell)
        return self.pressure * volume - 0.5 * self.thermal_energy * volume.log()
