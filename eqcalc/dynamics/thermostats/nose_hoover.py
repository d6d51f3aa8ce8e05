# SPDX-License-Identifier: MIT
"""A Nosé–Hoover chain on all momenta of a classical molecule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eqcalc.dynamics.thermostats.langevin import (
    Ensemble,
    Thermostat,
    kinetic_energy,
    total_momentum_part,
)

#: Sixth-order Suzuki–Yoshida weights (Yoshida, Phys. Lett. A 150, 262 (1990)).
_OUTER = (0.784513610477560, 0.235573213359357, -1.17767998417887)
_WEIGHTS = (*_OUTER, 1.0 - 2.0 * sum(_OUTER), *reversed(_OUTER))
_SUBSTEPS = 2


@dataclass(frozen=True, eq=False)
class NoseHooverThermostat(Thermostat):
    """A chain of M thermostats.

    Their positions η_j and momenta p_j and the momenta p of the atoms obey

        dp/dt = −(p_1/Q_1) p
        dη_j/dt = p_j/Q_j
        dp_1/dt = 2K − f k_B T − (p_2/Q_2) p_1
        dp_j/dt = p²_{j−1}/Q_{j−1} − k_B T − (p_{j+1}/Q_{j+1}) p_j

    solved by the reversible factorisation of Martyna et al., Mol. Phys. 87, 1117 (1996).
    Energy of the chain: Σ p_j²/2Q_j + f k_B T η_1 + k_B T Σ_{j>1} η_j.

    ======  =====================  ==============================
    symbol  variable               unit
    ======  =====================  ==============================
    η_j     ``auxiliary[:, 0]``    1, ``[n_replicas, M]``
    p_j     ``auxiliary[:, 1]``    eV·ASE time, ``[n_replicas, M]``
    Q_j     ``inertia``            eV·ASE time², ``[M]``
    f       ``freedom``            1
    k_B T   ``thermal_energy``     eV
    ======  =====================  ==============================
    """

    timestep: float
    freedom: int
    thermal_energy: float
    masses: Tensor
    inertia: Tensor
    translation: str
    noise_sets: int = 0

    @classmethod
    def build(
        cls, ensemble: Ensemble, time_constant: float, chain_length: int
    ) -> NoseHooverThermostat:
        """Build the thermostat of one step; `time_constant` in ASE time."""
        inertia = torch.full(
            (chain_length,), ensemble.bead_energy * time_constant**2, dtype=torch.float64
        )
        inertia[0] *= ensemble.freedom
        return cls(
            timestep=ensemble.timestep,
            freedom=ensemble.freedom,
            thermal_energy=ensemble.bead_energy,
            masses=ensemble.masses,
            inertia=inertia,
            translation=ensemble.translation,
        )

    def initial(self, momenta: Tensor, generators: Sequence[np.random.Generator]) -> Tensor:
        """Draw the chain from equilibrium, ``[n_replicas, 2, M]``."""
        length = len(self.inertia)
        drawn = torch.from_numpy(np.stack([g.standard_normal(length) for g in generators]))
        speed = drawn.to(momenta) * (self.thermal_energy * self.inertia).sqrt()
        return torch.stack([torch.zeros_like(speed), speed], dim=1)

    def __call__(
        self, momenta: Tensor, auxiliary: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Apply one step to ``[n_replicas, 1, n_atoms, 3]`` momenta."""
        drift = torch.zeros_like(momenta)
        if self.translation == "none":
            drift = total_momentum_part(momenta, self.masses)
        inner = momenta - drift
        double = 2.0 * kinetic_energy(inner, self.masses)
        eta, p = auxiliary[:, 0], list(auxiliary[:, 1].unbind(dim=1))
        scale = torch.ones_like(double)
        for weight in _WEIGHTS * _SUBSTEPS:
            dt = weight * self.timestep / _SUBSTEPS
            p = self._kick(p, double * scale.square(), dt, reverse=False)
            scale = scale * torch.exp(-dt * p[0] / self.inertia[0])
            eta = eta + dt * torch.stack(p, dim=1) / self.inertia
            p = self._kick(p, double * scale.square(), dt, reverse=True)
        heat = torch.zeros_like(double)  # the chain has an energy of its own
        moved = scale[:, None, None, None] * inner + drift
        return moved, torch.stack([eta, torch.stack(p, dim=1)], dim=1), heat

    def _kick(
        self, p: list[Tensor], double_kinetic: Tensor, dt: float, *, reverse: bool
    ) -> list[Tensor]:
        """Propagate the momenta of the chain over dt/2, from its end or towards it."""
        p, q, last = list(p), self.inertia, len(p) - 1
        order = range(last, -1, -1) if not reverse else range(last + 1)
        for j in order:
            force = (
                double_kinetic - self.freedom * self.thermal_energy
                if j == 0
                else p[j - 1].square() / q[j - 1] - self.thermal_energy
            )
            if j == last:
                p[j] = p[j] + 0.5 * dt * force
            else:
                friction = torch.exp(-0.25 * dt * p[j + 1] / q[j + 1])
                p[j] = (p[j] * friction + 0.5 * dt * force) * friction
        return p

    def energy(self, auxiliary: Tensor) -> Tensor:
        """Return the energy of the chain, ``[n_replicas]`` [eV]."""
        eta, p = auxiliary[:, 0], auxiliary[:, 1]
        potential = self.thermal_energy * (self.freedom * eta[:, 0] + eta[:, 1:].sum(dim=1))
        return (0.5 * p.square() / self.inertia).sum(dim=1) + potential
