# SPDX-License-Identifier: MIT
"""Dynamics of ring polymers: of the quantum nuclei, and to sample their ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from eqcalc.dynamics.method import Method, require_positive
from eqcalc.dynamics.thermostats.gle import GLEThermostat
from eqcalc.dynamics.thermostats.langevin import Ensemble, LangevinThermostat, Thermostat
from eqcalc.dynamics.thermostats.rescaling import RescalingThermostat
from eqcalc.units import FEMTOSECOND, wavenumber_to_angular_frequency


@dataclass(frozen=True)
class RPMD(Method):
    """Ring-polymer molecular dynamics at constant energy.

    Craig and Manolopoulos, J. Chem. Phys. 121, 3368 (2004).
    """

    name: ClassVar[str] = "RPMD"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = False
    excites_rotation: ClassVar[bool] = False


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
    excites_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return a Langevin thermostat with γ_k = 2λω_k, hence γ_0 = 0."""
        friction = 2.0 * self.damping * ensemble.frequencies
        return LangevinThermostat.build(ensemble, friction)


@dataclass(frozen=True)
class PACMD(Method):
    """Partially adiabatic centroid molecular dynamics.

    The free-ring frequency of every internal mode is raised to Ω, above those of the
    molecule, so that the modes, thermostatted, average the force on the centroid, which
    is free (Cao and Voth, J. Chem. Phys. 100, 5106 (1994); Hone, Rossky and Voth, J. Chem.
    Phys. 124, 154103 (2006)). The slowest mode then runs Ω/ω_1 times faster, which needs
    a short time step. The curvature problem makes stretching bands too red and too broad.

    Parameters
    ----------
    frequency
        Ω [cm⁻¹].
    damping
        λ of the friction γ = 2λΩ of the internal modes.
    """

    frequency: float = 16000.0
    damping: float = 1.0

    name: ClassVar[str] = "PA-CMD"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = False
    excites_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return a Langevin thermostat with γ_k = 2λΩ but γ_0 = 0."""
        common = 2.0 * self.damping * wavenumber_to_angular_frequency(self.frequency)
        friction = torch.full_like(ensemble.frequencies, common)
        friction[0] = 0.0
        return LangevinThermostat.build(ensemble, friction)

    def pace(self, ensemble: Ensemble) -> Tensor:
        """Return Ω/ω_k, and 1 for the centroid.

        Raises
        ------
        ValueError
            The slowest internal mode would take steps of more than 1 fs of its own time.
        """
        pace = torch.ones_like(ensemble.frequencies)
        common = wavenumber_to_angular_frequency(self.frequency)
        pace[1:] = common / ensemble.frequencies[1:]
        longest = FEMTOSECOND / float(pace.max())
        if ensemble.timestep > longest:
            raise ValueError(
                f"{self.name} with its internal modes at {self.frequency:g} cm⁻¹ needs a timestep "
                f"of at most {longest / FEMTOSECOND:.3f} fs, got "
                f"{ensemble.timestep / FEMTOSECOND:g}; shorten it (simulate --timestep), or, in "
                "Python, lower the frequency: method=PACMD(frequency=…)"
            )
        return pace


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
    excites_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return a Langevin thermostat with γ_0 = 1/τ and γ_k = 2λω_k."""
        friction = 2.0 * self.damping * ensemble.frequencies
        friction[0] = 1.0 / (self.time_constant * FEMTOSECOND)
        return LangevinThermostat.build(ensemble, friction)


@dataclass(frozen=True)
class PILEG(Method):
    """Path-integral Langevin with stochastic velocity rescaling of the centroid.

    Ceriotti, Parrinello, Markland and Manolopoulos, J. Chem. Phys. 133, 124104 (2010).

    Parameters
    ----------
    time_constant
        Relaxation time of the kinetic energy of the centroid [fs].
    damping
        λ of γ_k = 2λω_k on the internal modes.
    """

    time_constant: float = 100.0
    damping: float = 1.0

    name: ClassVar[str] = "PILE-G"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return rescaling of the centroid with Langevin on the rest."""
        return RescalingThermostat.build(
            ensemble,
            self.time_constant * FEMTOSECOND,
            2.0 * self.damping * ensemble.frequencies,
        )


@dataclass(frozen=True)
class PIGLE(Method):
    """Ring polymer with a generalised Langevin equation on every normal mode.

    With matrices fitted for the number of beads, PIGLET: Ceriotti and Manolopoulos,
    Phys. Rev. Lett. 109, 100604 (2012).

    Parameters
    ----------
    drift
        A_k, ``[n_beads, n + 1, n + 1]`` [1/fs], in the order of
        :func:`~eqcalc.dynamics.ring_polymer.ring_transform`.
    covariance
        C_k, same shape [K], on the scale of the beads, which are at P·T. None: C = P·T.
    """

    drift: Sequence[Sequence[Sequence[float]]]
    covariance: Sequence[Sequence[Sequence[float]]] | None = None

    name: ClassVar[str] = "PI+GLE"
    ring_polymer: ClassVar[bool] = True
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = True

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return the propagator of the extended momenta of every mode."""
        return GLEThermostat.build(ensemble, self.drift, self.covariance)
