# SPDX-License-Identifier: MIT
"""Batched classical and ring-polymer molecular dynamics of one molecule."""

from eqcalc.dynamics.balanced import BalancedModes
from eqcalc.dynamics.checkpoint import (
    CheckpointError,
    SettingsError,
    load_state,
    recorded_execution,
)
from eqcalc.dynamics.initial import Given, HarmonicModes, MaxwellBoltzmann
from eqcalc.dynamics.methods import (
    GLE,
    METHODS,
    NVE,
    PACMD,
    PIGLE,
    PILEG,
    PILEL,
    RPMD,
    TRPMD,
    Langevin,
    NoseHoover,
    VelocityRescaling,
)
from eqcalc.dynamics.observables import OBSERVABLES, Observable, default_observables, observable
from eqcalc.dynamics.setup import Equilibration
from eqcalc.dynamics.simulation import simulate
from eqcalc.dynamics.stability import Limits, UnstableDynamicsError

__all__ = [
    "GLE",
    "METHODS",
    "NVE",
    "OBSERVABLES",
    "PACMD",
    "PIGLE",
    "PILEG",
    "PILEL",
    "RPMD",
    "TRPMD",
    "BalancedModes",
    "CheckpointError",
    "Equilibration",
    "Given",
    "HarmonicModes",
    "Langevin",
    "Limits",
    "MaxwellBoltzmann",
    "NoseHoover",
    "Observable",
    "SettingsError",
    "UnstableDynamicsError",
    "VelocityRescaling",
    "default_observables",
    "load_state",
    "observable",
    "recorded_execution",
    "simulate",
]
