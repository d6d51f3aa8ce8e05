# SPDX-License-Identifier: MIT
"""Thermostats: exact maps of the ring-polymer momenta over one time step.

A thermostat acts on normal-mode momenta in the middle of the step. It leaves the canonical
distribution at P·T invariant, reports the kinetic energy it absorbed, and by default
conserves the total momentum of the molecule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from eqcalc.dynamics.ring_polymer import on_device
from eqcalc.units import BOLTZMANN

_Self = TypeVar("_Self", bound="Thermostat")


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Properties of the ensemble from which a thermostat is built.

    Parameters
    ----------
    frequencies
        ω_k of the free ring [1/ASE time], ``[n_beads]``.
    timestep
        Δt [ASE time].
    masses
        ``[n_atoms, 1]`` [amu].
    temperature
        Physical temperature T [K].
    translation
        ``"none"`` keeps the total momentum as it is, ``"thermal"`` thermostats it too.
    freedom
        Degrees of freedom of the centroid.
    """

    frequencies: Tensor
    timestep: float
    masses: Tensor
    temperature: float
    translation: str
    freedom: int

    @property
    def bead_energy(self) -> float:
        """P k_B T [eV]: the beads are at P times the temperature."""
        return len(self.frequencies) * BOLTZMANN * self.temperature


def kinetic_energy(momenta: Tensor, masses: Tensor) -> Tensor:
    """Return Σ p²/2m over beads (or normal modes) and atoms, ``[n_replicas]`` [eV]."""
    return 0.5 * (momenta.square() / masses).sum(dim=(1, 2, 3))


def total_momentum_part(momenta: Tensor, masses: Tensor) -> Tensor:
    """Return the centre-of-mass part of the momenta.

    Every atom moves with the velocity of the centre of mass, p_i = m_i Σp/M. This is the
    mass-weighted orthogonal projection, so that what is left of a canonical sample is
    canonical. `momenta` is ``[..., n_atoms, 3]``, `masses` ``[n_atoms, 1]``.
    """
    return masses * (momenta.sum(dim=-2, keepdim=True) / masses.sum())


class Thermostat(Protocol):
    """Interface of thermostats, with defaults for those without auxiliary variables."""

    @property
    def noise_sets(self) -> int:
        """Number of standard normals per momentum and step."""
        ...

    def initial(self, momenta: Tensor, generators: Sequence[np.random.Generator]) -> Tensor:
        """Return equilibrium auxiliary variables, ``[n_replicas, ...]``, possibly empty."""
        return momenta.new_zeros(len(momenta), 0)

    def __call__(
        self, momenta: Tensor, auxiliary: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``(momenta, auxiliary)`` over one step; also return the heat [eV].

        Momenta are those of normal modes, ``[n_replicas, n_beads, n_atoms, 3]``.
        """
        ...

    def energy(self, auxiliary: Tensor) -> Tensor | float:
        """Return the energy of the auxiliary variables, ``[n_replicas]`` or 0 [eV].

        It is 0 if the heat accounts for it.
        """
        return 0.0

    def to(self: _Self, device: torch.device) -> _Self:
        """Return the thermostat, a dataclass, on `device`."""
        return on_device(self, device)


@dataclass(frozen=True, eq=False)
class LangevinThermostat(Thermostat):
    """White-noise Langevin on each ring normal mode.

    The Ornstein–Uhlenbeck process dp̃ = −γ_k p̃ dt + √(2 γ_k m P k_B T) dW is solved
    exactly over the step,

        p̃ ← c_k p̃ + √(1 − c_k²) √(m P k_B T) ξ,   c_k = exp(−γ_k Δt).

    A mode with γ_k = 0 is bitwise unchanged. γ_0 = 1/τ with one bead is Langevin dynamics;
    γ_k = 2λω_k is PILE-L with γ_0 = 1/τ, and the thermostat of T-RPMD with γ_0 = 0.

    ======  ==================  ========================================
    symbol  variable            unit
    ======  ==================  ========================================
    c_k     ``decay``           1, ``[n_beads, 1, 1]``
    √...    ``width``           amu·Å/ASE time, ``[n_beads, n_atoms, 1]``
    m       ``masses``          amu, ``[n_atoms, 1]``
    ξ       ``noise[:, 0]``     1, ``[n_replicas, n_beads, n_atoms, 3]``
    ======  ==================  ========================================
    """

    decay: Tensor
    width: Tensor
    masses: Tensor
    thermostats_centroid: bool
    translation: str = "none"
    noise_sets: int = 1

    @classmethod
    def build(cls, ensemble: Ensemble, friction: Tensor) -> LangevinThermostat:
        """Build the thermostat of one step from γ_k [1/ASE time], ``[n_beads]``."""
        decay = torch.exp(-friction.double() * ensemble.timestep).view(-1, 1, 1)
        return cls(
            decay=decay,
            width=torch.sqrt((1.0 - decay.square()) * ensemble.bead_energy * ensemble.masses),
            masses=ensemble.masses,
            thermostats_centroid=bool(friction[0] != 0.0),
            translation=ensemble.translation,
        )

    def __call__(
        self, momenta: Tensor, auxiliary: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Apply one step to ``[n_replicas, n_beads, n_atoms, 3]`` normal-mode momenta."""
        moved = torch.addcmul(self.decay * momenta, self.width, noise[:, 0])
        if self.translation == "none" and self.thermostats_centroid:
            moved[:, 0] += total_momentum_part(momenta[:, 0] - moved[:, 0], self.masses)
        # K_before − K_after = Σ (p − p')(p + p')/2m
        heat = 0.5 * ((momenta - moved) * (momenta + moved) / self.masses).sum(dim=(1, 2, 3))
        return moved, auxiliary, heat
