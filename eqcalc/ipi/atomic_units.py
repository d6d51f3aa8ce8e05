# SPDX-License-Identifier: MIT
"""Factors between the internal units and the atomic units in which i-PI speaks."""

from __future__ import annotations

from eqcalc.units import HBAR, conversion_factor

#: 1 bohr [Å].
LENGTH: float = conversion_factor("bohr", "Å")
#: 1 hartree [eV].
ENERGY: float = conversion_factor("hartree", "eV")
#: 1 hartree/bohr [eV/Å].
FORCE: float = ENERGY / LENGTH
#: 1 e·bohr [e·Å].
DIPOLE: float = LENGTH
#: 1 e²bohr²/hartree, written bohr³ [e²Å²/eV].
POLARIZABILITY: float = LENGTH**2 / ENERGY
#: ħ/hartree [fs], with the constant of i-PI, so that 0.25 fs written is 0.25 fs read.
TIME: float = 1.0 / 41.341373
#: Electron mass, ħ²/(hartree·bohr²) [amu].
MASS: float = HBAR**2 / (ENERGY * LENGTH**2)
#: ħ/bohr [amu·Å/ASE time].
MOMENTUM: float = HBAR / LENGTH
#: hartree/k_B [K], with the constant of i-PI.
TEMPERATURE: float = 1.0 / 3.1668152e-06
