# SPDX-License-Identifier: MIT
"""Initial positions and momenta: thermal, balanced, given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from eqcalc.dynamics.modes import normal_modes, rigid_motions
from eqcalc.dynamics.ring_polymer import from_modes, ring_frequencies, ring_transform
from eqcalc.units import BOLTZMANN, HBAR


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
        Source of the numbers.

    Returns
    -------
    Tensor
        ``[n_beads, n_atoms, 3]`` [amu·Å/ASE time].
    """
    normal = torch.from_numpy(generator.standard_normal((n_beads, len(masses), 3)))
    return torch.sqrt(masses.view(-1, 1) * (n_beads * BOLTZMANN * temperature)) * normal


def remove_translation(momenta: Tensor, masses: Tensor) -> Tensor:
    """Return momenta without motion of the centre of mass of the centroid.

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
    """Return momenta whose centroid has no angular momentum about its centre of mass.

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
    p = momenta.mean(dim=-3)
    angular = torch.linalg.cross(r, p).sum(dim=-2)
    square = (weights * r.square()).sum(dim=(-2, -1))
    unit = torch.eye(3, dtype=r.dtype, device=r.device)
    inertia = square[..., None, None] * unit - (weights * r).transpose(-2, -1) @ r
    moments, axes = torch.linalg.eigh(inertia)
    kept = moments > 1e-9 * moments[..., -1:]
    if linear:
        kept = kept & (moments > moments[..., :1])
    inverse = torch.where(kept, 1.0 / torch.where(kept, moments, torch.ones_like(moments)), 0.0)
    omega = (axes @ (inverse * (axes.transpose(-2, -1) @ angular[..., None])[..., 0])[..., None])[
        ..., 0
    ]
    spin = weights * torch.linalg.cross(omega[..., None, :].expand_as(r), r)
    return momenta - spin.unsqueeze(-3)


def degrees_of_freedom(
    positions: Tensor, masses: Tensor, n_beads: int, translation: str, rotation: str
) -> int:
    """Count the momenta that share in the thermal energy.

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
    n_rigid = rigid_motions(positions, masses).shape[1]
    removed = (3 if translation == "none" else 0) + (n_rigid - 3 if rotation == "none" else 0)
    return 3 * len(masses) * n_beads - removed


DISTRIBUTIONS = ("thermal", "fixed-action", "wigner")


class InitialConditions(Protocol):
    """A distribution of positions and momenta."""

    def check(self, n_structures: int, n_replicas: int, n_beads: int, n_atoms: int) -> None:
        """Raise ValueError when the distribution does not fit the run."""
        ...

    def sample(
        self,
        structures: Tensor,
        masses: Tensor,
        n_beads: int,
        temperature: float,
        generators: Sequence[np.random.Generator],
    ) -> tuple[Tensor, Tensor]:
        """Draw every replica with a generator of its own.

        Parameters
        ----------
        structures
            ``[n_structures, n_atoms, 3]`` [Å]; replica r starts from structure r modulo
            their number.
        masses
            ``[n_atoms]`` [amu].
        n_beads
            P.
        temperature
            Physical temperature [K].
        generators
            One for each replica.

        Returns
        -------
        positions, momenta
            ``[n_replicas, n_beads, n_atoms, 3]`` [Å, amu·Å/ASE time].
        """
        ...

    def settings(self) -> dict[str, Any]:
        """Return what describes the distribution, for the record of the run."""
        ...


@dataclass(frozen=True)
class MaxwellBoltzmann:
    """All beads at the structure, momenta thermal. Equilibrate before measuring."""

    name: ClassVar[str] = "Maxwell-Boltzmann"

    def check(self, n_structures: int, n_replicas: int, n_beads: int, n_atoms: int) -> None:
        """Fits every run."""

    def sample(
        self,
        structures: Tensor,
        masses: Tensor,
        n_beads: int,
        temperature: float,
        generators: Sequence[np.random.Generator],
    ) -> tuple[Tensor, Tensor]:
        """Draw every replica, see :class:`InitialConditions`."""
        momenta = [maxwell_boltzmann(masses, n_beads, temperature, g) for g in generators]
        starts = structures[torch.arange(len(generators)) % len(structures)]
        return starts[:, None].expand(-1, n_beads, -1, -1).clone(), torch.stack(momenta)

    def settings(self) -> dict[str, Any]:
        """Return the name."""
        return {"name": self.name}


@dataclass(frozen=True)
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

    Translations and rotations have thermal momenta in all of them, and the internal ring
    modes of a free particle.

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
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"unknown distribution {self.distribution!r} of harmonic modes; expected one of "
                f"{', '.join(DISTRIBUTIONS)}"
            )

    def check(self, n_structures: int, n_replicas: int, n_beads: int, n_atoms: int) -> None:
        """Require one Hessian of the right size for each structure."""
        size = (3 * n_atoms) ** 2
        if self.hessians.numel() != n_structures * size:
            raise ValueError(
                f"{n_structures} structures of {n_atoms} atoms need Hessians of shape "
                f"{(n_structures, 3 * n_atoms, 3 * n_atoms)}, got {tuple(self.hessians.shape)}"
            )
        if self.distribution == "wigner" and n_beads != 1:
            raise ValueError(
                f"Wigner sampling starts classical nuclei, but the run has {n_beads} beads; the "
                "quantum distribution of a ring polymer is 'thermal'"
            )

    def sample(
        self,
        structures: Tensor,
        masses: Tensor,
        n_beads: int,
        temperature: float,
        generators: Sequence[np.random.Generator],
    ) -> tuple[Tensor, Tensor]:
        """Draw every replica, see :class:`InitialConditions`."""
        n = 3 * len(masses)
        modes = [
            normal_modes(hessian, positions, masses)
            for hessian, positions in zip(self.hessians.reshape(-1, n, n), structures, strict=True)
        ]
        root = masses.double().sqrt().view(-1, 1)
        transform = ring_transform(n_beads)
        positions, momenta = [], []
        for replica, generator in enumerate(generators):
            structure = replica % len(structures)
            frequencies, vectors = modes[structure]
            q, p = self._amplitudes(frequencies, n_beads, temperature, generator)
            beads = from_modes(transform, torch.stack([q @ vectors.T, p @ vectors.T])[..., None])
            displacement, momentum = beads.view(2, n_beads, len(masses), 3)
            positions.append(structures[structure] + displacement / root)
            momenta.append(momentum * root)
        return torch.stack(positions), torch.stack(momenta)

    def _amplitudes(
        self,
        frequencies: Tensor,
        n_beads: int,
        temperature: float,
        generator: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Draw mass-weighted coordinates and momenta of ring modes, ``[n_beads, 3 n_atoms]``."""
        vibration = frequencies > 0.0
        w = frequencies[vibration]
        ring = ring_frequencies(n_beads, temperature)
        total = (ring.square()[:, None] + frequencies.square()).sqrt()  # Ω_sk
        thermal = n_beads * BOLTZMANN * temperature
        spread = torch.where(total > 0.0, math.sqrt(thermal) / total, torch.zeros_like(total))
        speed = torch.full_like(total, math.sqrt(thermal))
        if self.distribution == "wigner":
            coth = 1.0 / torch.tanh(HBAR * w / (2.0 * BOLTZMANN * temperature))
            spread[0, vibration] = (0.5 * HBAR / w * coth).sqrt()
            speed[0, vibration] = (0.5 * HBAR * w * coth).sqrt()
        normal = torch.from_numpy(generator.standard_normal((2, *total.shape)))
        q, p = spread * normal[0], speed * normal[1]
        if self.distribution == "fixed-action":
            phase = 2.0 * math.pi * torch.from_numpy(generator.random(len(frequencies)))[vibration]
            amplitude = math.sqrt(2.0 * thermal)
            q[0, vibration] = amplitude / w * torch.cos(phase)
            p[0, vibration] = -amplitude * torch.sin(phase)
        return q, p

    def settings(self) -> dict[str, Any]:
        """Return the name, the distribution and the Hessians."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "hessians": self.hessians.detach().cpu().double(),
        }


@dataclass(frozen=True)
class Given:
    """Positions, and momenta if wanted, of every replica and bead, for example of another run.

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
        for label, value in (("positions", self.positions), ("momenta", self.momenta)):
            if value is not None and tuple(value.shape) != expected:
                raise ValueError(
                    f"initial {label} must have the shape [replicas, beads, atoms, 3] = "
                    f"{expected}, got {tuple(value.shape)}"
                )

    def sample(
        self,
        structures: Tensor,
        masses: Tensor,
        n_beads: int,
        temperature: float,
        generators: Sequence[np.random.Generator],
    ) -> tuple[Tensor, Tensor]:
        """Return what was given, see :class:`InitialConditions`."""
        if self.momenta is None:
            drawn = [maxwell_boltzmann(masses, n_beads, temperature, g) for g in generators]
            momenta = torch.stack(drawn)
        else:
            momenta = self.momenta.detach().cpu().double()
        return self.positions.detach().cpu().double(), momenta

    def settings(self) -> dict[str, Any]:
        """Return the name and the arrays."""
        settings: dict[str, Any] = {
            "name": self.name,
            "positions": self.positions.detach().cpu().double(),
        }
        if self.momenta is not None:
            settings["momenta"] = self.momenta.detach().cpu().double()
        return settings
