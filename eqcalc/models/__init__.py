# SPDX-License-Identifier: MIT
"""The networks: representations, read-outs, potentials, their derivatives and files."""

from eqcalc.models.painn import PaiNN, PaiNNConfig
from eqcalc.models.potential import Potential, PotentialConfig, References

__all__ = ["PaiNN", "PaiNNConfig", "Potential", "PotentialConfig", "References"]
