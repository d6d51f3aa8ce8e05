# SPDX-License-Identifier: MIT
"""Thermostats, each with the symbols of its equations."""

from eqcalc.dynamics.thermostats.gle import GLEThermostat
from eqcalc.dynamics.thermostats.langevin import (
    Ensemble,
    LangevinThermostat,
    Thermostat,
    kinetic_energy,
    total_momentum_part,
)
from eqcalc.dynamics.thermostats.nose_hoover import NoseHooverThermostat
from eqcalc.dynamics.thermostats.rescaling import RescalingThermostat

__all__ = [
    "Ensemble",
    "GLEThermostat",
    "LangevinThermostat",
    "NoseHooverThermostat",
    "RescalingThermostat",
    "Thermostat",
    "kinetic_energy",
    "total_momentum_part",
]
