# SPDX-License-Identifier: MIT
"""Kinds of dynamics, by the names the field gives them."""

from __future__ import annotations

from eqcalc.dynamics.classical import GLE, NVE, Langevin, NoseHoover, VelocityRescaling
from eqcalc.dynamics.method import Method
from eqcalc.dynamics.path_integral import PACMD, PIGLE, PILEG, PILEL, RPMD, TRPMD

#: Every method by name. GLE and PI+GLE have no default matrices.
METHODS: dict[str, type[Method]] = {
    m.name: m
    for m in (
        *(NVE, Langevin, VelocityRescaling, NoseHoover, GLE),
        *(RPMD, TRPMD, PACMD, PILEL, PILEG, PIGLE),
    )
}


def method_from(method: str | Method) -> Method:
    """Return a method given itself or its name, the latter with default parameters.

    Raises
    ------
    ValueError
        There is no method of that name.
    """
    if isinstance(method, Method):
        return method
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    try:
        return METHODS[method]()
    except TypeError:
        raise ValueError(
            f"{method} has parameters without defaults; pass "
            f"eqcalc.dynamics.methods.{METHODS[method].__name__}(...) instead of the name"
        ) from None
