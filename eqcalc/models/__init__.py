# SPDX-License-Identifier: MIT
"""Models: representations, read-outs, potentials, their derivatives and files."""

from eqcalc.models.checkpoint import load_model, save_model
from eqcalc.models.local_readouts import LocalDipoleHead, LocalPolarizabilityHead
from eqcalc.models.networks.painn import PaiNN, PaiNNConfig, SmoothPaiNN, SmoothPaiNNConfig
from eqcalc.models.potential import Potential, PotentialConfig, References
from eqcalc.models.readouts import FeatureCounts, Head, register_readout
from eqcalc.models.registry import register_representation

__all__ = [
    "FeatureCounts",
    "Head",
    "LocalDipoleHead",
    "LocalPolarizabilityHead",
    "PaiNN",
    "PaiNNConfig",
    "Potential",
    "PotentialConfig",
    "References",
    "SmoothPaiNN",
    "SmoothPaiNNConfig",
    "load_model",
    "register_readout",
    "register_representation",
    "save_model",
]
