# SPDX-License-Identifier: MIT
"""Initial positions and momenta: thermal, harmonic, balanced, or from arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from scipy.linalg import hadamard
from torch import Tensor

from eqcalc.dynamics.ring_polymer import ring_frequencies, ring_transform
from eqcalc.facts import ComparedByValue
from eqcalc.normal_modes import (
    NormalModes,
    inverse_inertia,
    quantum_variance,
    require_minimum,
    rigid_motions,
)
from eqcalc.units import BOLTZMANN
from eqcalc.validation import InvalidInputError, one_of, shape

_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)

# --- momenta and rigid motion ---------------------------------------------------------


def maxwell_boltzmann(
    masses: Tensor, n_beads: int, temperature: float, generator: np.random.Generator
) -> Tensor:
    """Draw momenta of a ring polymer from the Maxwell–Boltzmann distribution at P·T.

    Each component is normal with variance m P k_B T, so that the centroid, the mean of
    the beads, is at the physical temperature T.

    Parameters
    ----------
    masses
        ``[n_atoms]`` [amu].
    n_beads
        P.
    temperature
        Physical temperature T [K].
    generator
        Random generator.

    Returns
    -------
    Tensor
        ``[n_beads, n_atoms, 3]`` [amu·Å/ASE time].
    """
    normal = torch.from_numpy(generator.standard_normal((n_beads, len(masses), 3)))
    return torch.sqrt(masses.view(-1, 1) * (n_beads * BOLTZMANN * temperature)) * normal


def remove_translation(momenta: Tensor, masses: Tensor) -> Tensor:
    """Remove the centre-of-mass motion of the centroid from momenta.

    Every atom of every bead loses m_i V, V = Σ p / (P M); the ring modes of the centre
    of mass, which are quantum fluctuations and not motion as a whole, are kept.

    Parameters
    ----------
    momenta
        ``[..., n_beads, n_atoms, 3]``.
    masses
        ``[n_atoms]`` [amu].
    """
    total = momenta.mean(dim=-3, keepdim=True).sum(dim=-2, keepdim=True)
    return momenta - masses.view(-1, 1) * (total / masses.sum())


def remove_rotation(
    positions: Tensor, momenta: Tensor, masses: Tensor, *, linear: bool = False
) -> Tensor:
    """Remove the angular momentum of the centroid about its centre of mass from momenta.

    Every atom of every bead loses m_i ω × r_i with ω = I⁻¹ L of the centroid.

    Parameters
    ----------
    positions, momenta
        ``[..., n_beads, n_atoms, 3]`` [Å, amu·Å/ASE time].
    masses
        ``[n_atoms]`` [amu].
    linear
        The molecule is linear at rest: angular momentum about its long axis belongs to
        the bending vibrations and is kept.
    """
    weights = masses.view(-1, 1)
    centroid = positions.mean(dim=-3)
    r = centroid - (weights * centroid).sum(dim=-2, keepdim=True) / masses.sum()
    angular = torch.linalg.cross(r, momenta.mean(dim=-3)).sum(dim=-2)
    inverse = inverse_inertia(centroid.cpu().numpy(), masses.cpu().numpy(), linear=linear)
    omega = torch.from_numpy(inverse).to(angular) @ angular[..., None]
    spin = weights * torch.linalg.cross(omega.transpose(-2, -1).expand_as(r), r)
    return momenta - spin.unsqueeze(-3)


def degrees_of_freedom(
    positions: Tensor, masses: Tensor, n_beads: int, translation: str, rotation: str
) -> int:
    """Return the number of thermal degrees of freedom.

    3 N P, less 3 for a centre of mass at rest, less the 3 (linear molecule: 2, atom: 0)
    rotations of a molecule that does not rotate.

    Parameters
    ----------
    positions
        ``[n_atoms, 3]`` [Å].
    masses
        ``[n_atoms]`` [amu].
    n_beads
        P.
    translation, rotation
        ``"none"`` or ``"thermal"``.
    """
    n_rigid = len(rigid_motions(positions.numpy(), masses.numpy()))
    removed = (3 if translation == "none" else 0) + (n_rigid - 3 if rotation == "none" else 0)
    return 3 * len(masses) * n_beads - removed


# --- distributions --------------------------------------------------------------------

DISTRIBUTIONS = ("thermal", "fixed-action", "wigner")


@dataclass(frozen=True, eq=False)
class Starts(ComparedByValue):
    """The system for which initial conditions are drawn.

    Parameters
    ----------
    structures
        ``[n_structures, n_atoms, 3]`` [Å]; replica r starts from structure r modulo their
        number.
    masses
        ``[n_atoms]`` [amu].
    n_beads
        P.
    temperature
        Physical temperature [K].
    generators
        One random generator per replica.
    """

    structures: Tensor
    masses: Tensor
    n_beads: int
    temperature: float
    generators: Sequence[np.random.Generator]

    def thermal_momenta(self) -> Tensor:
        """Draw Maxwell–Boltzmann momenta, ``[n_replicas, n_beads, n_atoms, 3]``."""
        drawn = (
            maxwell_boltzmann(self.masses, self.n_beads, self.temperature, generator)
            for generator in self.generators
        )
        return torch.stack(list(drawn))


class InitialConditions(Protocol):
    """A distribution of positions and momenta."""

    def check(self, n_structures: int, n_replicas: int, n_beads: int, n_atoms: int) -> None:
        """Raise ValueError if the distribution does not suit the run."""
        ...

    def sample(self, starts: Starts) -> tuple[Tensor, Tensor]:
        """Draw positions and momenta ``[n_replicas, n_beads, n_atoms, 3]`` [Å, amu·Å/ASE time]."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return a description of the distribution, for the record of the run."""
        ...


@dataclass(frozen=True)
class MaxwellBoltzmann:
    """All beads at the structure, with thermal momenta. Requires equilibration."""

    name: ClassVar[str] = "Maxwell-Boltzmann"

    def check(self, n_structures: int, n_replicas: int, n_beads: int, n_atoms: int) -> None:
        """Accept every run."""

    def sample(self, starts: Starts) -> tuple[Tensor, Tensor]:
        """Draw every replica, see :class:`InitialConditions`."""
        momenta, structures = starts.thermal_momenta(), starts.structures
        structures = structures[torch.arange(len(momenta)) % len(structures)]
        return structures[:, None].expand_as(momenta).clone(), momenta

    def settings(self) -> dict[str, Any]:
        """Return the name."""
        return {"name": self.name}


@dataclass(frozen=True, eq=False)
class HarmonicModes:
    """Independent harmonic normal modes about each starting structure, a minimum.

    With mass-weighted coordinate Q_s of frequency ω_s, and its ring modes Q̃_sk of
    frequency Ω_sk² = ω_s² + ω_k²:

    ``"thermal"``
        Q̃_sk normal with variance P k_B T/Ω_sk², conjugate momenta with P k_B T. For one
        bead the classical canonical distribution; for P beads the exact distribution
        of the P-bead ring polymer in the harmonic potential, so that path-integral
        dynamics starts next to equilibrium.
    ``"fixed-action"``
        Every mode starts with exactly k_B T and a random phase,
        Q = √(2k_BT)/ω cos φ, Q' = −√(2k_BT) sin φ. Averages over phases then give
        harmonic intensities without the scatter of thermal energies. Applies to the
        centroid; internal ring modes are thermal.
    ``"wigner"``
        Classical nuclei with the quantum-mechanical phase-space density of the harmonic
        modes: variances (ħ/2ω) coth(ħω/2k_BT) and (ħω/2) coth(ħω/2k_BT). One bead only.

    In all of them translations and rotations have thermal momenta and the internal ring modes
    of a free particle.

    Parameters
    ----------
    hessians
        ``[n_structures, 3 n_atoms, 3 n_atoms]`` [eV/Å²], one for each structure.
    distribution
        ``"thermal"``, ``"fixed-action"`` or ``"wigner"``.
    """

    hessians: Tensor
    distribution: str = "thermal"

    name: ClassVar[str] = "harmonic modes"

    def __post_init__(self) -> None:
        one_of("distribution", self.distribution, DISTRIBUTIONS)

    def check(self, n_structures: int, n_replicas: int, n_beads: int, n_atoms: int) -> None:
        """Require one Hessian of the right shape for each structure."""
        _check_hessians(self.hessians, n_structures, n_atoms)
        if self.distribution == "wigner" and n_beads != 1:
            raise InvalidInputError(
                key="beads",
                value=n_beads,
                expected="1 for Wigner sampling, which starts classical nuclei",
                advice="the quantum distribution of a ring polymer is 'thermal'",
            )

    def sample(self, starts: Starts) -> tuple[Tensor, Tensor]:
        """Draw every replica, see :class:`InitialConditions`."""
        structures, masses = starts.structures, starts.masses
        hessians = self.hessians.reshape(len(structures), -1)
        modes = [_all_modes(h, x, masses) for h, x in zip(hessians, structures, strict=True)]
        from_ring = ring_transform(starts.n_beads).numpy().T
        positions, momenta = [], []
        for replica, generator in enumerate(starts.generators):
            structure = replica % len(structures)
            frequencies, vectors = modes[structure]
            q, p = self._amplitudes(frequencies, starts.n_beads, starts.temperature, generator)
            displacement, momentum = _moved(from_ring @ q, from_ring @ p, vectors, masses)
            positions.append(structures[structure] + displacement)
            momenta.append(momentum)
        return torch.stack(positions), torch.stack(momenta)

    def _amplitudes(
        self,
        frequencies: np.ndarray,
        n_beads: int,
        temperature: float,
        generator: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw coordinates and momenta of ring modes, ``[n_beads, 3 n_atoms]``."""
        vibration = frequencies > 0.0
        w = frequencies[vibration]
        ring = ring_frequencies(n_beads, temperature).numpy()
        total = np.sqrt(ring[:, None] ** 2 + frequencies**2)  # Ω_sk
        thermal = n_beads * BOLTZMANN * temperature
        width = np.divide(math.sqrt(thermal), total, out=np.zeros_like(total), where=total > 0.0)
        speed = np.full_like(total, math.sqrt(thermal))
        if self.distribution == "wigner":
            width[0, vibration] = np.sqrt(quantum_variance(w, temperature))
            speed[0, vibration] = w * width[0, vibration]
        normal = generator.standard_normal((2, *total.shape))
        q, p = width * normal[0], speed * normal[1]
        if self.distribution == "fixed-action":
            phase = 2.0 * math.pi * generator.random(len(frequencies))[vibration]
            amplitude = math.sqrt(2.0 * thermal)
            q[0, vibration] = amplitude / w * np.cos(phase)
            p[0, vibration] = -amplitude * np.sin(phase)
        return q, p

    def settings(self) -> dict[str, Any]:
        """Return the name, the distribution and the Hessians."""
        hessians = _on_host(self.hessians)
        return {"name": self.name, "distribution": self.distribution, "hessians": hessians}


@dataclass(frozen=True, eq=False)
class BalancedModes:
    """Every normal mode starts with exactly k_BT, and replicas form a balanced ensemble.

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
        """Return the smallest number of replicas that balances all modes."""
        return 2 * _order(n_atoms)

    def check(self, n_structures: int, n_replicas: int, n_beads: int, n_atoms: int) -> None:
        """Require one structure, one bead and a suitable number of replicas."""
        _check_hessians(self.hessian, 1, n_atoms)
        if n_structures != 1:
            raise InvalidInputError(
                key="structures", value=n_structures, expected=f"1 for {self.name}"
            )
        if n_beads != 1:
            raise InvalidInputError(
                key="beads", value=n_beads, expected=f"1 for {self.name}, of classical nuclei"
            )
        balanced = self.replicas(n_atoms)
        if n_replicas % balanced != 0:
            raise InvalidInputError(
                key="replicas",
                value=n_replicas,
                expected=f"a multiple of {balanced}, to balance the modes of {n_atoms} atoms",
            )

    def sample(self, starts: Starts) -> tuple[Tensor, Tensor]:
        """Return the deterministic initial conditions of every replica."""
        structure, masses = starts.structures[0], starts.masses
        n = 3 * len(masses)
        omega, vectors = _all_modes(self.hessian, structure, masses)
        vibration = omega > 0.0
        order = _order(len(masses))
        ahead, row = np.divmod(np.arange(len(starts.generators)) % (2 * order), order)
        signs = hadamard(order)[row, :n].astype(float)
        phases = 2.0 * math.pi * np.modf(_GOLDEN * np.arange(1, n + 1))[0]
        phases = phases + 0.5 * math.pi * ahead[:, None]
        amplitudes = signs * math.sqrt(2.0 * BOLTZMANN * starts.temperature)
        q, p = np.zeros((2, *signs.shape))
        q[:, vibration] = (amplitudes * np.cos(phases))[:, vibration] / omega[vibration]
        p[:, vibration] = -(amplitudes * np.sin(phases))[:, vibration]
        displacements, momenta = _moved(q[:, None], p[:, None], vectors, masses)
        return structure + displacements, momenta

    def settings(self) -> dict[str, Any]:
        """Return the name and the Hessian."""
        return {"name": self.name, "hessian": _on_host(self.hessian)}


@dataclass(frozen=True, eq=False)
class FromArrays:
    """Given positions, and optionally momenta, of every replica and bead.

    Parameters
    ----------
    positions
        ``[n_replicas, n_beads, n_atoms, 3]`` [Å].
    momenta
        Same shape [amu·Å/ASE time]; drawn from Maxwell–Boltzmann when None.
    """

    positions: Tensor
    momenta: Tensor | None = None

    name: ClassVar[str] = "given"

    def check(self, n_structures: int, n_replicas: int, n_beads: int, n_atoms: int) -> None:
        """Require one set of positions for each replica and bead."""
        expected = (n_replicas, n_beads, n_atoms, 3)
        for name, value in (("positions", self.positions), ("momenta", self.momenta)):
            if value is not None:
                shape(name, value.detach().cpu(), expected)

    def sample(self, starts: Starts) -> tuple[Tensor, Tensor]:
        """Return the given arrays, see :class:`InitialConditions`."""
        momenta = starts.thermal_momenta() if self.momenta is None else _on_host(self.momenta)
        return _on_host(self.positions), momenta

    def settings(self) -> dict[str, Any]:
        """Return the name and the arrays."""
        momenta = {} if self.momenta is None else {"momenta": _on_host(self.momenta)}
        return {"name": self.name, "positions": _on_host(self.positions), **momenta}


# --- harmonic modes -------------------------------------------------------------------


def _on_host(values: Tensor) -> Tensor:
    return values.detach().cpu().double()


def _order(n_atoms: int) -> int:
    """Return the order of the Hadamard matrix with a column for every coordinate."""
    return int(2 ** math.ceil(math.log2(3 * n_atoms)))


def _check_hessians(hessians: Tensor, n_structures: int, n_atoms: int) -> None:
    if hessians.numel() != n_structures * (3 * n_atoms) ** 2:
        raise InvalidInputError(
            key="hessians",
            value=list(hessians.shape),
            expected=f"the shape {[n_structures, 3 * n_atoms, 3 * n_atoms]}",
        )


def _all_modes(hessian: Tensor, positions: Tensor, masses: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return ω ``[3 n_atoms]`` and ∂r/∂Q ``[3 n_atoms, n_atoms, 3]`` of all motions.

    Those of translations and rotations, with ω = 0, come first.
    """
    matrix = _on_host(hessian).reshape(positions.numel(), -1).numpy()
    modes = NormalModes.from_hessian(positions.numpy(), masses.numpy(), matrix)
    require_minimum(modes)
    frequencies = np.concatenate([np.zeros(len(modes.rigid)), modes.angular_frequency])
    return frequencies, np.concatenate([modes.rigid, modes.vectors])


def _moved(
    q: np.ndarray, p: np.ndarray, vectors: np.ndarray, masses: Tensor
) -> tuple[Tensor, Tensor]:
    """Return displacements and momenta ``[..., n_atoms, 3]`` of ``[..., n_modes]``."""
    displacements, velocities = (np.tensordot(x, vectors, axes=1) for x in (q, p))
    return torch.from_numpy(displacements), masses.view(-1, 1) * torch.from_numpy(velocities)
