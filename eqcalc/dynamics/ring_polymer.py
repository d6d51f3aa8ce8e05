# SPDX-License-Identifier: MIT
"""The free ring polymer: normal modes, frequencies and their exact propagation in time.

A quantum particle is isomorphic to a ring of P beads joined by harmonic springs
(Chandler and Wolynes, J. Chem. Phys. 74, 4078 (1981)). In the convention used here
every bead has the physical mass and the ring is at the temperature P·T,

    H_P = Σ_j [ p_j²/2m + ½ m ω_P² (r_j − r_{j+1})² + V(r_j) ],   ω_P = P k_B T / ħ .

The springs are diagonal in the normal modes x̃ = C x, with frequencies
ω_k = 2 ω_P sin(kπ/P). With one bead all of this reduces to a classical particle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from eqcalc.units import BOLTZMANN, HBAR
from eqcalc.validation import one_of

PROPAGATORS = ("cayley", "exact")

_Item = TypeVar("_Item")


def on_device(item: _Item, device: torch.device) -> _Item:
    """Return a dataclass with its tensors, and those of its parts, on `device`."""
    values = {field.name: getattr(item, field.name) for field in fields(cast("Any", item))}
    moved = {name: value.to(device) for name, value in values.items() if hasattr(value, "to")}
    return replace(cast("Any", item), **moved)


def ring_transform(n_beads: int) -> Tensor:
    """Return the orthogonal matrix C that takes beads to real normal modes.

    Row k = 0 is the centroid times √P. Rows k and P − k are the cosine and the sine
    of the same wave (Ceriotti et al., J. Chem. Phys. 133, 124104 (2010), eq. 17).

    Returns
    -------
    Tensor
        ``[n_beads, n_beads]``, float64, C Cᵀ = 1.
    """
    j = torch.arange(n_beads, dtype=torch.float64)
    rows = []
    for k in range(n_beads):
        if k == 0:
            row = torch.full_like(j, math.sqrt(1.0 / n_beads))
        elif 2 * k == n_beads:
            row = math.sqrt(1.0 / n_beads) * (1.0 - 2.0 * (j % 2))
        elif 2 * k < n_beads:
            row = math.sqrt(2.0 / n_beads) * torch.cos(2.0 * math.pi * (k * j % n_beads) / n_beads)
        else:
            row = math.sqrt(2.0 / n_beads) * torch.sin(2.0 * math.pi * (k * j % n_beads) / n_beads)
        rows.append(row)
    return torch.stack(rows)


def ring_frequencies(n_beads: int, temperature: float) -> Tensor:
    """Return ω_k = 2 ω_P sin(kπ/P), the frequencies of the free ring [1/ASE time].

    Parameters
    ----------
    n_beads
        P.
    temperature
        Physical temperature T [K]; ω_P = P k_B T / ħ.
    """
    k = torch.arange(n_beads, dtype=torch.float64)
    return 2.0 * n_beads * BOLTZMANN * temperature / HBAR * torch.sin(math.pi * k / n_beads)


def to_modes(transform: Tensor, beads: Tensor) -> Tensor:
    """Transform ``[n_replicas, n_beads, n_atoms, 3]`` from beads to normal modes, C x."""
    if transform.shape[0] == 1:
        return beads
    return torch.matmul(transform, beads.flatten(2)).view_as(beads)


def from_modes(transform: Tensor, modes: Tensor) -> Tensor:
    """Transform ``[n_replicas, n_beads, n_atoms, 3]`` from normal modes to beads, Cᵀ x̃."""
    if transform.shape[0] == 1:
        return modes
    return torch.matmul(transform.T, modes.flatten(2)).view_as(modes)


@dataclass(frozen=True, eq=False)
class Propagator:
    """Free ring-polymer motion in normal modes.

    For a mode of frequency ω the motion is a rotation of (mωx̃, p̃) by an angle θ:

        x̃ ← cos θ x̃ + (sin θ/ω) p̃/m
        p̃ ← cos θ p̃ − m ω sin θ x̃

    ``"exact"`` takes θ = ωΔt. ``"cayley"`` takes θ = 2 arctan(ωΔt/2), the Cayley
    transform of the same generator, which is time reversible, symplectic and, unlike the
    exact rotation, free of resonances between the springs and the kicks of the
    potential (Korol, Bou-Rabee and Miller, J. Chem. Phys. 151, 124103 (2019)). Half a
    step is half the angle, that is the square root of the matrix, so that two halves
    are one whole (Korol et al., J. Chem. Phys. 152, 104102 (2020)). A mode with
    ω = 0 is in free flight, x̃ ← x̃ + Δt p̃/m, in both.

    ======  ==============  ==========================
    symbol  variable        unit
    ======  ==============  ==========================
    cos θ   ``cosine``      1, ``[n_beads, 1, 1]``
    sin θ/ω ``advance``     ASE time, ``[n_beads, 1, 1]``
    ω sin θ ``restoring``   1/ASE time, ``[n_beads, 1, 1]``
    Δt      ``flight``      ASE time
    ======  ==============  ==========================
    """

    cosine: Tensor
    advance: Tensor
    restoring: Tensor
    flight: float

    @classmethod
    def build(
        cls,
        frequencies: Tensor,
        timestep: float,
        kind: str,
        fraction: float = 1.0,
        mode_scaling: Tensor | None = None,
    ) -> Propagator:
        """Build the propagator of `fraction` of a step.

        Parameters
        ----------
        frequencies
            ω_k [1/ASE time], ``[n_beads]``.
        timestep
            Δt of the whole step [ASE time].
        kind
            ``"cayley"`` or ``"exact"``.
        fraction
            Part of the rotation angle of the whole step: 1 or 1/2.
        mode_scaling
            s_k by which the time of each mode is faster than Δt, ``[n_beads]``; 0: the mode
            stands still; None: 1.
        """
        angle = frequencies.double() * timestep
        if mode_scaling is not None:
            angle = angle * mode_scaling
        if one_of("propagator", kind, PROPAGATORS) == "cayley":
            angle = 2.0 * torch.atan(0.5 * angle)
        angle = fraction * angle
        still = frequencies == 0.0
        safe = torch.where(still, torch.ones_like(frequencies), frequencies)
        free = torch.full_like(frequencies, fraction * timestep)
        if mode_scaling is not None:
            free = free * mode_scaling
        advance = torch.where(still, free, torch.sin(angle) / safe)
        shape = (-1, 1, 1)
        return cls(
            torch.cos(angle).view(shape),
            advance.view(shape),
            (frequencies * torch.sin(angle)).view(shape),
            fraction * timestep,
        )

    def __call__(self, positions: Tensor, momenta: Tensor, masses: Tensor) -> tuple[Tensor, Tensor]:
        """Propagate normal modes.

        Parameters
        ----------
        positions, momenta
            Normal modes ``[n_replicas, n_beads, n_atoms, 3]`` [Å, amu·Å/ASE time].
        masses
            ``[n_atoms, 1]`` [amu].
        """
        if self.cosine.shape[0] == 1:
            return torch.addcdiv(positions, momenta, masses, value=self.flight), momenta
        return (
            self.cosine * positions + self.advance * (momenta / masses),
            self.cosine * momenta - self.restoring * (masses * positions),
        )

    def to(self, device: torch.device) -> Propagator:
        """Return the propagator on `device`."""
        return on_device(self, device)
