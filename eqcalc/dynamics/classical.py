# SPDX-License-Identifier: MIT
"""Classical dynamics: constant energy, and thermostats of the molecule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from eqcalc.dynamics.method import Method, require_positive
from eqcalc.dynamics.thermostats.gle import GLEThermostat
from eqcalc.dynamics.thermostats.langevin import Ensemble, LangevinThermostat, Thermostat
from eqcalc.dynamics.thermostats.nose_hoover import NoseHooverThermostat
from eqcalc.dynamics.thermostats.rescaling import RescalingThermostat
from eqcalc.units import FEMTOSECOND


@dataclass(frozen=True)
class NVE(Method):
    """Classical dynamics at constant energy: velocity Verlet."""

    name: ClassVar[str] = "NVE"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = False
    excites_rotation: ClassVar[bool] = False


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
    excites_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return a Langevin thermostat with γ = 1/time_constant."""
        friction = torch.full_like(ensemble.frequencies, 1.0 / (self.time_constant * FEMTOSECOND))
        return LangevinThermostat.build(ensemble, friction)


@dataclass(frozen=True)
class VelocityRescaling(Method):
    """Classical dynamics with stochastic velocity rescaling.

    Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007). It scales all
    momenta alike and so disturbs the dynamics little, and does not excite rotation.

    Parameters
    ----------
    time_constant
        Relaxation time of the kinetic energy [fs].
    """

    time_constant: float = 100.0

    name: ClassVar[str] = "SVR"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return the rescaling of all momenta."""
        return RescalingThermostat.build(
            ensemble, self.time_constant * FEMTOSECOND, torch.zeros_like(ensemble.frequencies)
        )


@dataclass(frozen=True)
class NoseHoover(Method):
    """Classical dynamics with one chain of Nosé–Hoover thermostats.

    Martyna, Klein and Tuckerman, J. Chem. Phys. 97, 2635 (1992). Deterministic: the
    trajectory of one molecule is ergodic only as far as anharmonic coupling makes it so,
    and never in the direction of its angular momentum. Use many replicas.

    Parameters
    ----------
    time_constant
        τ of the thermostat masses Q_1 = f k_B T τ², Q_j = k_B T τ² [fs].
    chain_length
        Number of thermostats.
    """

    time_constant: float = 20.0
    chain_length: int = 4

    name: ClassVar[str] = "NHC"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_positive(self)

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return the chain."""
        return NoseHooverThermostat.build(
            ensemble, self.time_constant * FEMTOSECOND, self.chain_length
        )


@dataclass(frozen=True)
class GLE(Method):
    """Classical dynamics with a generalised Langevin equation.

    Ceriotti, Bussi and Parrinello, J. Chem. Theory Comput. 6, 1170 (2010). With matrices
    fitted for it this is also the quantum thermostat.

    Parameters
    ----------
    drift
        A, ``[n + 1, n + 1]`` for n extra momenta [1/fs].
    covariance
        C, same shape [K]; None: the physical temperature, C = T.
    """

    drift: Sequence[Sequence[float]]
    covariance: Sequence[Sequence[float]] | None = None

    name: ClassVar[str] = "GLE"
    ring_polymer: ClassVar[bool] = False
    thermostats_centroid: ClassVar[bool] = True
    excites_rotation: ClassVar[bool] = True

    def thermostat(self, ensemble: Ensemble) -> Thermostat:
        """Return the propagator of the extended momenta."""
        covariance = None if self.covariance is None else [self.covariance]
        return GLEThermostat.build(ensemble, [self.drift], covariance)
