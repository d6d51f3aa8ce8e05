# SPDX-License-Identifier: MIT
"""Kinds of dynamics, by the names the field gives them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from eqcalc.dynamics.integrators import Integrator
from eqcalc.dynamics.ring import ring_frequencies
from eqcalc.dynamics.thermostats import LangevinThermostat, Thermostat
from eqcalc.units import FEMTOSECOND

__all__ = ["METHODS", "NVE", "PILEL", "RPMD", "TRPMD", "Langevin", "Method", "method_from"]


@dataclass(frozen=True)
class Method:
    """A kind of dynamics and its parameters."""

    #: Name in files, messages and on the command line.
    name: ClassVar[str]
    #: Ring polymers, or a classical molecule.
    ring_polymer: ClassVar[bool]
    #: Whether the thermostat acts on the motion of the centroid.
    thermostats_centroid: ClassVar[bool]

    def thermostat(
        self,
        frequencies: Tensor,
        timestep: float,
        masses: Tensor,
        temperature: float,
        translation: str,
    ) -> Thermostat | None:
        """Return the thermostat of one step.

        Parameters
        ----------
        frequencies
            ω_k of the free ring [1/ASE time], ``[n_beads]``.
        timestep
            [ASE time].
        masses
            ``[n_atoms, 1]`` [amu].
        temperature
            [K].
        translation
            ``"none"`` or ``"thermal"``: whether it acts on the total momentum.
        """
        return None

    def integrator(
        self,
        *,
        timestep: float,
        temperature: float,
        n_beads: int,
        masses: Tensor,
        translation: str = "none",
        propagator: str = "cayley",
    ) -> Integrator:
        """Return the integrator of this kind of dynamics.

        Parameters
        ----------
        timestep
            [fs].
        temperature
            [K].
        n_beads
            Number of beads.
        masses
            ``[n_atoms]`` [amu].
        translation
            ``"none"``: the thermostat leaves the total momentum alone.
        propagator
            ``"cayley"`` or ``"exact"``.

        Raises
        ------
        ValueError
            The number of beads does not fit the method.
        """
        if self.ring_polymer and n_beads < 2:
            raise ValueError(
                f"{self.name} is ring-polymer dynamics and needs at least 2 beads, got "
                f"{n_beads}; the classical methods are NVE and Langevin"
            )
        if not self.ring_polymer and n_beads != 1:
            raise ValueError(
                f"{self.name} is classical dynamics of one bead, got {n_beads} beads; the "
                "ring-polymer methods are RPMD, T-RPMD and PILE-L"
            )
        step = timestep * FEMTOSECOND
        frequencies = ring_frequencies(n_beads, temperature)
        thermostat = self.thermostat(
            frequencies, step, masses.double().view(-1, 1).cpu(), temperature, translation
        )
        return Integrator.build(
            timestep=step,
            temperature=temperature,
            n_beads=n_beads,
            masses=masses,
            thermostat=None if thermostat is None else thermostat.to(masses.device),
            propagator=propagator,
        )


@dataclass(frozen=True)
class NVE(Method):
    """Classical dynamics at constant energy: velocity Verlet."""

    name: ClassVar[str] = "NVE"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = False


@dataclass(frozen=True)
class Langevin(Method):
    """Classical Langevin dynamics (BAOAB).

    Parameters
    ----------
    time_constant
        1/γ [fs].
    """

    time_constant: float = 100.0

    name: ClassVar[str] = "Langevin"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _positive(self)

    def thermostat(
        self,
        frequencies: Tensor,
        timestep: float,
        masses: Tensor,
        temperature: float,
        translation: str,
    ) -> Thermostat:
        """Return a Langevin thermostat with γ = 1/time_constant."""
        friction = torch.full_like(frequencies, 1.0 / (self.time_constant * FEMTOSECOND))
        return LangevinThermostat.build(friction, timestep, masses, temperature, translation)


@dataclass(frozen=True)
class RPMD(Method):
    """Ring-polymer molecular dynamics at constant energy.

    Craig and Manolopoulos, J. Chem. Phys. 121, 3368 (2004).
    """

    name: ClassVar[str] = "RPMD"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = False


@dataclass(frozen=True)
class TRPMD(Method):
    """Thermostatted RPMD: Langevin on the internal modes, centroid free.

    Rossi, Ceriotti and Manolopoulos, J. Chem. Phys. 140, 234116 (2014).

    Parameters
    ----------
    damping
        λ of γ_k = 2λω_k; 1/2 is their recommendation.
    """

    damping: float = 0.5

    name: ClassVar[str] = "T-RPMD"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _positive(self)

    def thermostat(
        self,
        frequencies: Tensor,
        timestep: float,
        masses: Tensor,
        temperature: float,
        translation: str,
    ) -> Thermostat:
        """Return a Langevin thermostat with γ_k = 2λω_k, hence γ_0 = 0."""
        friction = 2.0 * self.damping * frequencies
        return LangevinThermostat.build(friction, timestep, masses, temperature, translation)


@dataclass(frozen=True)
class PILEL(Method):
    """Path-integral Langevin with a local centroid thermostat, to sample the ensemble.

    Ceriotti, Parrinello, Markland and Manolopoulos, J. Chem. Phys. 133, 124104 (2010).

    Parameters
    ----------
    time_constant
        1/γ_0 of the centroid [fs].
    damping
        λ of γ_k = 2λω_k; 1 is critical damping of the free ring.
    """

    time_constant: float = 100.0
    damping: float = 1.0

    name: ClassVar[str] = "PILE-L"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _positive(self)

    def thermostat(
        self,
        frequencies: Tensor,
        timestep: float,
        masses: Tensor,
        temperature: float,
        translation: str,
    ) -> Thermostat:
        """Return a Langevin thermostat with γ_0 = 1/τ and γ_k = 2λω_k."""
        friction = 2.0 * self.damping * frequencies
        friction[0] = 1.0 / (self.time_constant * FEMTOSECOND)
        return LangevinThermostat.build(friction, timestep, masses, temperature, translation)


#: Every method by name.
METHODS: dict[str, type[Method]] = {m.name: m for m in (NVE, Langevin, RPMD, TRPMD, PILEL)}


def method_from(method: str | Method) -> Method:
    """Return a method given itself or its name, the latter with default parameters.

    Raises
    ------
    ValueError
        There is no method of that name.
    """
    if isinstance(method, Method):
        return method
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    return METHODS[method]()


def _positive(method: Method) -> None:
    for item in fields(method):
        value = getattr(method, item.name)
        if not value > 0.0:
            raise ValueError(f"{method.name}: {item.name} must be positive, got {value}")
