# SPDX-License-Identifier: MIT
"""Generalised Langevin thermostats, defined by matrices."""

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
from eqcalc.units import BOLTZMANN, FEMTOSECOND
from eqcalc.validation import InvalidInputError


@dataclass(frozen=True, eq=False)
class GLEThermostat(Thermostat):
    """Coloured noise from extra momenta coupled linearly to the physical ones.

    The mass-scaled momentum p/√m and n extra momenta s of each degree of freedom obey

        d(p, s) = −A (p, s) dt + B dW,   B Bᵀ = A C + C Aᵀ,

    whose solution over a step is exact (Ceriotti, Bussi and Parrinello, J. Chem. Theory
    Comput. 6, 1170 (2010), eqs. 15–17),

        (p, s) ← T (p, s) + S ξ,   T = exp(−A Δt),   S Sᵀ = C − T C Tᵀ.

    Each ring mode k may have matrices of its own.

    ======  ================  ============================================
    symbol  variable          unit
    ======  ================  ============================================
    T       ``propagator``    1, ``[n_beads or 1, n + 1, n + 1]``
    S       ``noise_matrix``  √eV, same shape
    C       ``covariance``    eV, same shape
    s       ``auxiliary``     √eV, ``[n_replicas, n, n_beads, n_atoms, 3]``
    ξ       ``noise``         1, ``[n_replicas, n + 1, n_beads, n_atoms, 3]``
    ======  ================  ============================================
    """

    propagator: Tensor
    noise_matrix: Tensor
    covariance: Tensor
    masses: Tensor
    translation: str

    @classmethod
    def build(
        cls,
        ensemble: Ensemble,
        drift: Sequence[Sequence[Sequence[float]]],
        covariance: Sequence[Sequence[Sequence[float]]] | None,
    ) -> GLEThermostat:
        """Build the thermostat of one step.

        Parameters
        ----------
        ensemble
            Masses, temperature, number of beads.
        drift
            A_k [1/fs], ``[n_beads or 1, n + 1, n + 1]``.
        covariance
            C_k [K], same shape; None: P T times the unit matrix.

        Raises
        ------
        InvalidInputError
            The matrices have the wrong shape, are unstable, or imply a noise covariance that is
            not positive semidefinite.
        """
        a = torch.as_tensor(drift, dtype=torch.float64) / FEMTOSECOND
        beads = len(ensemble.frequencies)
        if a.ndim != 3 or a.shape[1] != a.shape[2] or a.shape[0] not in (1, beads):
            raise InvalidInputError(
                key="drift",
                value=list(a.shape),
                expected=f"the shape [{beads}, n + 1, n + 1] or [1, n + 1, n + 1]",
            )
        if covariance is None:
            unit = torch.eye(a.shape[1], dtype=torch.float64)
            c = (ensemble.bead_energy * unit).expand_as(a)
        else:
            c = torch.as_tensor(covariance, dtype=torch.float64) * BOLTZMANN
            if c.shape != a.shape:
                raise InvalidInputError(
                    key="covariance",
                    value=list(c.shape),
                    expected=f"the shape of the drift, {list(a.shape)}",
                )
        if bool((torch.linalg.eigvals(a).real < -1e-12).any()):
            raise InvalidInputError(
                key="drift", expected="a matrix without eigenvalues of negative real part"
            )
        t = torch.linalg.matrix_exp(-a * ensemble.timestep)
        squares, vectors = torch.linalg.eigh(c - t @ c @ t.transpose(1, 2))
        if bool((squares < -1e-9 * c.abs().max()).any()):
            raise InvalidInputError(
                key="covariance",
                expected="a matrix C that makes A C + C Aᵀ, the covariance of the noise, positive",
            )
        noise_matrix = vectors * squares.clamp(min=0.0).sqrt()[:, None, :]
        return cls(t, noise_matrix, c, ensemble.masses, ensemble.translation)

    @property
    def noise_sets(self) -> int:
        """One set of normals for the momentum and each extra momentum."""
        return self.propagator.shape[1]

    def initial(self, momenta: Tensor, generators: Sequence[np.random.Generator]) -> Tensor:
        """Draw the extra momenta from their stationary distribution."""
        extra = self.noise_sets - 1
        shape = (extra, *momenta.shape[1:])
        drawn = torch.from_numpy(np.stack([g.standard_normal(shape) for g in generators]))
        if extra == 0:
            return drawn.to(momenta)
        root = torch.linalg.cholesky(self.covariance[:, 1:, 1:])
        return self._mix(root, drawn.to(momenta))

    @staticmethod
    def _mix(matrices: Tensor, vectors: Tensor) -> Tensor:
        """Apply ``[n_beads or 1, a, b]`` to ``[n_replicas, b, n_beads, n_atoms, 3]``."""
        matrices = matrices.expand(vectors.shape[2], -1, -1)
        return torch.einsum("kab,rbknc->raknc", matrices, vectors)

    def __call__(
        self, momenta: Tensor, auxiliary: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Apply one step to ``[n_replicas, n_beads, n_atoms, 3]`` normal-mode momenta."""
        root = self.masses.sqrt()
        extended = torch.cat([(momenta / root)[:, None], auxiliary], dim=1)
        extended = self._mix(self.propagator, extended) + self._mix(self.noise_matrix, noise)
        moved = extended[:, 0] * root
        if self.translation == "none":
            kept = total_momentum_part(momenta[:, :1] - moved[:, :1], self.masses)
            moved = torch.cat([moved[:, :1] + kept, moved[:, 1:]], dim=1)
        heat = kinetic_energy(momenta, self.masses) - kinetic_energy(moved, self.masses)
        return moved, extended[:, 1:], heat
