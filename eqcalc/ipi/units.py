# SPDX-License-Identifier: MIT
"""Conversion factors from i-PI's units to internal units.

Atomic units by default. Time and temperature use the rounded constants of i-PI, so that
0.25 fs written is 0.25 fs read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from eqcalc.quantities import ENERGY, Quantity, known_quantities
from eqcalc.units import FEMTOSECOND, HBAR, atomic_unit, conversion_factor
from eqcalc.validation import one_of

#: 1 bohr [Å]; also 1 e·bohr [e·Å].
BOHR: float = conversion_factor("bohr", "Å")
#: 1 hartree [eV].
HARTREE: float = conversion_factor("hartree", "eV")
#: ħ/hartree [fs].
ATOMIC_TIME: float = 1.0 / 41.341373
#: Electron mass, ħ²/(hartree·bohr²) [amu].
ELECTRON_MASS: float = HBAR**2 / (HARTREE * BOHR**2)
#: ħ/bohr [amu·Å/ASE time].
ATOMIC_MOMENTUM: float = HBAR / BOHR
#: hartree/k_B [K].
HARTREE_TEMPERATURE: float = 1.0 / 3.1668152e-06

#: Units by the names of i-PI; the empty one is the atomic unit. Of temperatures [K].
TEMPERATURES: Mapping[str, float] = {"": HARTREE_TEMPERATURE, "kelvin": 1.0, "k": 1.0}
#: Of times [fs].
TIMES: Mapping[str, float] = {
    "": ATOMIC_TIME,
    "femtosecond": 1.0,
    "picosecond": 1e3,
    "attosecond": 1e-3,
    "second": 1e15,
}
#: The eV of i-PI is rounded; this undoes what it does.
_ENERGIES = {"": HARTREE, "electronvolt": 0.036749326 * HARTREE}
_LENGTHS = {"ase": 1.0}
_PRESSURES = {"": 1.0 / 3.398827377e-9, "bar": 1.0}
_VELOCITIES = {"ase": FEMTOSECOND}
#: Units in which i-PI may print what is read, besides the averages of extras.
_PRINTED: Mapping[str, Mapping[str, float]] = {
    "potential": _ENERGIES,
    "kinetic_cv": _ENERGIES,
    "temperature": {"": HARTREE_TEMPERATURE, "kelvin": 1.0},
    "cell_h": _LENGTHS,
    "pressure_cv": _PRESSURES,
    "positions": _LENGTHS,
    "x_centroid": _LENGTHS,
    "velocities": _VELOCITIES,
    "v_centroid": _VELOCITIES,
}

_PRINTED_NAME = re.compile(r"^\s*(\w+)\s*(?:\([^()]*\))?\s*(?:\{([^{}]*)\})?")


def extra_quantities() -> dict[str, Quantity]:
    """Return the quantities that i-PI is handed as extras: those that are not its own."""
    return {
        name: q
        for name, q in known_quantities().items()
        if name != ENERGY.name and q.derivative_of is None and not q.per_atom
    }


def printed_units() -> dict[str, Mapping[str, float]]:
    """Return the units in which i-PI may print what is read, by its names."""
    averages = {}
    for q in extra_quantities().values():
        converted = {"ase": 1.0} if q.ipi_dimension else {}
        averages[q.ipi_property] = {"": atomic_unit(q.unit), **converted}
    return {**averages, **_PRINTED}


def unit_factor(key: str, unit: str, table: Mapping[str, float]) -> float:
    """Return the factor to internal units of a unit of i-PI, which must be one of the table."""
    unit = unit.strip().lower()
    return table[one_of(key, "" if unit in ("automatic", "atomic_unit") else unit, table)]


def printed_factor(what: str) -> float:
    """Return the factor to internal units of what i-PI prints as ``name(...){unit}``."""
    name, unit = split_unit(what)
    known = printed_units()
    return unit_factor(f"unit of {name}", unit, known[one_of("output", name, known)])


def split_unit(what: str) -> tuple[str, str]:
    """Return the name and the unit in ``name(...){unit}``."""
    match = _PRINTED_NAME.match(what)
    return (what, "") if match is None else (match.group(1), (match.group(2) or "").strip())
