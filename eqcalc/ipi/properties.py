# SPDX-License-Identifier: MIT
"""Bead-averaged dipole and polarizability as properties that i-PI prints like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

#: Names in ``<properties>``; an argument chooses the force component: ``mu_mean(1)``.
MU_MEAN = "mu_mean"
ALPHA_MEAN = "alpha_mean"


def _bead_average(name: str, size: int) -> Callable[..., np.ndarray]:
    """Return a property of i-PI: the mean of an extra over the beads of a force component.

    The extras of a component whose weight is zero are evaluated when they are asked for and
    not before, so this is what makes dipole and polarizability cost nothing between outputs.
    """

    def average(properties: Any, component: str = "-1") -> np.ndarray:
        extras = properties.forces.extras_component(int(component))
        if name not in extras:
            known = ", ".join(sorted(set(extras) - {"raw"})) or "nothing"
            raise KeyError(
                f"force component {component} gives no {name}, but {known}; add {name} to the "
                "quantities of its force field"
            )
        values = np.asarray(extras[name], dtype=float)
        return values.reshape(len(values), size).mean(axis=0)

    return average


def add_properties(simulation: Any) -> None:
    """Make ``mu_mean`` and ``alpha_mean`` known to every system of a simulation.

    With one bead, or a component of one bead (``nbeads='1'``), they are the values of that
    bead, of the centroid in the second case.

    Parameters
    ----------
    simulation
        An i-PI simulation before it is bound.
    """
    table = {
        MU_MEAN: {
            "func": _bead_average("dipole", 3),
            "size": 3,
            "dimension": "electric-dipole",
            "help": "Bead average of the dipole moment (x, y, z); by default e bohr.",
        },
        ALPHA_MEAN: {
            "func": _bead_average("polarizability", 9),
            "size": 9,
            "help": "Bead average of the polarizability (xx, xy, ..., zz) in e^2 bohr^2/hartree.",
        },
    }
    for system in simulation.syslist:
        properties = system.properties
        for name, entry in table.items():
            bound = entry["func"].__get__(properties, type(properties))  # type: ignore[attr-defined]
            properties.property_dict[name] = {**entry, "func": bound}
