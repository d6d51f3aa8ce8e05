# SPDX-License-Identifier: MIT
"""Batched classical and ring-polymer molecular dynamics of one molecule."""

from eqcalc.dynamics.checkpoint import (
    SettingsError,
    load_state,
    recorded_execution,
    recorded_observables,
)
from eqcalc.dynamics.initial import BalancedModes, FromArrays, HarmonicModes, MaxwellBoltzmann
from eqcalc.dynamics.methods import Method, register_barostat, register_thermostat
from eqcalc.dynamics.observables import (
    OBSERVABLES,
    Observable,
    System,
    default_observables,
    observable,
    register_observable,
    strides_at,
)
from eqcalc.dynamics.setup import Equilibration
from eqcalc.dynamics.shards import simulate_shards
from eqcalc.dynamics.simulation import simulate
from eqcalc.dynamics.stability import StabilityLimits, StabilityMonitor, UnstableDynamicsError
from eqcalc.dynamics.state import State

__all__ = [
    "OBSERVABLES",
    "BalancedModes",
    "Equilibration",
    "FromArrays",
    "HarmonicModes",
    "MaxwellBoltzmann",
    "Method",
    "Observable",
    "SettingsError",
    "StabilityLimits",
    "StabilityMonitor",
    "State",
    "System",
    "UnstableDynamicsError",
    "default_observables",
    "load_state",
    "observable",
    "recorded_execution",
    "recorded_observables",
    "register_barostat",
    "register_observable",
    "register_thermostat",
    "simulate",
    "simulate_shards",
    "strides_at",
]
