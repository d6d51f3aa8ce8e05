# SPDX-License-Identifier: MIT
"""Stochastic velocity rescaling of the centroid, with Langevin on the internal modes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eqcalc.dynamics.thermostats.langevin import (
    Ensemble,
    LangevinThermostat,
    Thermostat,
    kinetic_energy,
    total_momentum_part,
)


@dataclass(frozen=True, eq=False)
class RescalingThermostat(Thermostat):
    """Samples the kinetic energy of the centroid and rescales its momenta accordingly.

    The exact propagator of the kinetic energy over a step (Bussi, Donadio and Parrinello,
    J. Chem. Phys. 126, 014101 (2007), eq. A7) gives p̃_0 ← α p̃_0 with

        α² = c + (1 − c) K̄/(f K) Σ_i ξ_i² + 2 ξ_1 √(c (1 − c) K̄/(f K)),

    c = exp(−Δt/τ), K̄ = f P k_B T/2 and the sign of α that of ξ_1 + √(c f K/((1 − c) K̄))
    (Bussi and Parrinello, Comput. Phys. Commun. 179, 26 (2008)). Internal ring modes
    have white-noise friction. Replicas are independent.

    ======  ==================  =============================
    symbol  variable            unit
    ======  ==================  =============================
    c       ``decay``           1
    f       ``freedom``         1, of the centroid
    P k_BT  ``bead_energy``     eV
    ξ       ``noise[:, 0, 0]``  1, the first f of 3 n_atoms
    ======  ==================  =============================
    """

    decay: float
    freedom: int
    bead_energy: float
    masses: Tensor
    translation: str
    internal: LangevinThermostat
    noise_sets: int = 1

    @classmethod
    def build(
        cls, ensemble: Ensemble, time_constant: float, friction: Tensor
    ) -> RescalingThermostat:
        """Build the thermostat of one step.

        Parameters
        ----------
        ensemble
            Masses, temperature, degrees of freedom.
        time_constant
            τ [ASE time].
        friction
            γ_k of the internal modes [1/ASE time], ``[n_beads]`` with γ_0 = 0.
        """
        return cls(
            decay=math.exp(-ensemble.timestep / time_constant),
            freedom=ensemble.freedom,
            bead_energy=ensemble.bead_energy,
            masses=ensemble.masses,
            translation=ensemble.translation,
            internal=LangevinThermostat.build(ensemble, friction),
        )

    def __call__(
        self, momenta: Tensor, auxiliary: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Apply one step to ``[n_replicas, n_beads, n_atoms, 3]`` normal-mode momenta."""
        before = kinetic_energy(momenta, self.masses)
        if momenta.shape[1] > 1:
            momenta, _, _ = self.internal(momenta, auxiliary, noise)
        centroid = momenta[:, :1]
        drift = torch.zeros_like(centroid)
        if self.translation == "none":
            drift = total_momentum_part(centroid, self.masses)
        inner = centroid - drift
        c = self.decay
        xi = noise[:, 0, 0].flatten(1)[:, : self.freedom]
        per_freedom = 0.5 * self.bead_energy / kinetic_energy(inner, self.masses)  # K̄/(f K)
        mixed = torch.sqrt(c * (1.0 - c) * per_freedom)
        square = c + (1.0 - c) * per_freedom * xi.square().sum(dim=1) + 2.0 * mixed * xi[:, 0]
        sign = torch.sign(xi[:, 0] + torch.sqrt(c / ((1.0 - c) * per_freedom)))
        scaled = (sign * square.clamp(min=0.0).sqrt())[:, None, None, None] * inner + drift
        moved = torch.cat([scaled, momenta[:, 1:]], dim=1)
        return moved, auxiliary, before - kinetic_energy(moved, self.masses)
