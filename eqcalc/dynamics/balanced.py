# SPDX-License-Identifier: MIT
"""Initial conditions for intensity tests: every mode at k_BT, and nothing left to chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.linalg import hadamard
from torch import Tensor

from eqcalc.dynamics.modes import normal_modes
from eqcalc.units import BOLTZMANN

_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)


@dataclass(frozen=True)
class BalancedModes:
    """Every normal mode starts with exactly k_BT, and the replicas make an exact ensemble.

    In replica r, mode s starts at ``Q = ε_rs √(2k_BT)/ω cos φ_rs`` with momentum
    ``−ε_rs √(2k_BT) sin φ_rs``. The signs ε are rows of a Hadamard matrix,
    Σ_r ε_rs ε_rs' = 0, so that products of different modes cancel in a sum over
    the replicas. A second set of replicas runs a quarter of a period ahead,
    φ + π/2, so that ``cos(ωt + φ) cos(ωt' + φ)`` sums to ``cos ω(t − t')``
    whatever t: the averages are stationary, as in a canonical ensemble.
    Without this, cross terms fall only as 1/√(replicas × time) and the rest of
    a strong band, as 1/(ω × time), and weak bands are buried under both. The
    phases φ follow the golden ratio.

    Parameters
    ----------
    hessian
        ``[3 n_atoms, 3 n_atoms]`` [eV/Å²] at the one starting structure, a minimum.
    """

    hessian: Tensor

    name: ClassVar[str] = "balanced modes"

    @staticmethod
    def replicas(n_atoms: int) -> int:
        """Return the smallest number of replicas that balances all modes of a molecule."""
        return 2 * _order(n_atoms)

    def check(self, n_structures: int, n_replicas: int, n_beads: int, n_atoms: int) -> None:
        """Require one structure, one bead and replicas that fit the signs."""
        if self.hessian.numel() != (3 * n_atoms) ** 2:
            raise ValueError(
                f"a molecule of {n_atoms} atoms needs a Hessian of shape "
                f"{(3 * n_atoms, 3 * n_atoms)}, got {tuple(self.hessian.shape)}"
            )
        if n_structures != 1 or n_beads != 1:
            raise ValueError(
                "balanced modes start classical replicas of one structure, got "
                f"{n_structures} structures and {n_beads} beads"
            )
        balanced = self.replicas(n_atoms)
        if n_replicas % balanced != 0:
            raise ValueError(
                f"the modes of {n_atoms} atoms balance over multiples of {balanced} replicas, "
                f"got {n_replicas}"
            )

    def sample(
        self,
        structures: Tensor,
        masses: Tensor,
        n_beads: int,
        temperature: float,
        generators: Sequence[np.random.Generator],
    ) -> tuple[Tensor, Tensor]:
        """Return the start of every replica; nothing is random."""
        n = 3 * len(masses)
        omega, vectors = normal_modes(self.hessian.reshape(n, n), structures[0], masses)
        vibration = omega > 0.0
        order = _order(len(masses))
        ahead, row = np.divmod(np.arange(len(generators)) % (2 * order), order)
        signs = torch.from_numpy(hadamard(order)[row, :n].astype(float))
        phases = 2.0 * math.pi * torch.frac(_GOLDEN * torch.arange(1, n + 1).double())
        phases = phases + 0.5 * math.pi * torch.from_numpy(ahead).double().view(-1, 1)
        amplitudes = signs * math.sqrt(2.0 * BOLTZMANN * temperature)
        q, p = torch.zeros(2, *signs.shape, dtype=torch.float64)
        q[:, vibration] = (amplitudes * torch.cos(phases))[:, vibration] / omega[vibration]
        p[:, vibration] = -(amplitudes * torch.sin(phases))[:, vibration]
        root = masses.double().sqrt().view(-1, 1)
        displacements = (q @ vectors.T).view(len(generators), 1, -1, 3) / root
        momenta = (p @ vectors.T).view(len(generators), 1, -1, 3) * root
        return structures[0] + displacements, momenta

    def settings(self) -> dict[str, Any]:
        """Return the name and the Hessian."""
        return {"name": self.name, "hessian": self.hessian.detach().cpu().double()}


def _order(n_atoms: int) -> int:
    """Return the order of the Hadamard matrix with a column for every coordinate."""
    return int(2 ** math.ceil(math.log2(3 * n_atoms)))
