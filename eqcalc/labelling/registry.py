# SPDX-License-Identifier: MIT
"""Reference methods by name: those of eqcalc, of other packages, and any ASE calculator.

=================================  ====================================================
name                               method
=================================  ====================================================
``gfn2``                           :class:`~eqcalc.labelling.gfn2.GFN2`
``dft``                            :class:`~eqcalc.labelling.dft.PySCF`
``dft:FUNCTIONAL/BASIS``           the same with a functional and, if given, a basis set
``aiqm2``                          :class:`~eqcalc.labelling.external.AIQM2`
``ptb``                            :class:`~eqcalc.labelling.external.PTB`
``ase:package.module.Calculator``  an ASE calculator
``package.module:Class``           a class that implements
                                   :class:`~eqcalc.labelling.method.Method`
any other name                     such a class registered by an installed package as an
                                   entry point of the group ``eqcalc.labelling``
=================================  ====================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eqcalc.labelling.ase_calculators import CalculatorMethod
from eqcalc.labelling.dft import PySCF
from eqcalc.labelling.external import AIQM2, PTB
from eqcalc.labelling.gfn2 import GFN2
from eqcalc.labelling.method import CombinedMethod, Method
from eqcalc.plugins import class_named, instance
from eqcalc.quantities import known_quantities
from eqcalc.validation import InvalidInputError, one_of

#: Built-in methods by name.
METHODS: dict[str, Callable[..., Method]] = {
    "gfn2": GFN2,
    "dft": PySCF,
    "aiqm2": AIQM2,
    "ptb": PTB,
}
#: Entry-point group for methods of other packages.
ENTRY_POINTS = "eqcalc.labelling"

_ATTRIBUTES = ("name", "version", "level_of_theory", "quantities", "settings", "label")


def method_named(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Return the method called `name`, see the table of this module.

    Parameters
    ----------
    name
        Its name.
    options
        Arguments of its class.

    Raises
    ------
    InvalidInputError
        There is no such method, it cannot be imported, or an option is invalid.
    """
    options = dict(options or {})
    if name.startswith("ase:"):
        return CalculatorMethod(name.removeprefix("ase:"), options)
    if name.startswith("dft:"):
        functional, _, basis = name.removeprefix("dft:").partition("/")
        options = {"functional": functional, **({"basis": basis} if basis else {}), **options}
        name = "dft"
    kind = class_named("method", name, METHODS, ENTRY_POINTS)
    return as_method(instance(name, kind, options))


def as_method(method: Any) -> Method:
    """Return a method from any form accepted by :func:`~eqcalc.labelling.label`.

    Parameters
    ----------
    method
        A :class:`~eqcalc.labelling.method.Method`, its name, an ASE calculator, or a mapping
        from comma-separated quantities to methods: ``{"energy,forces": "gfn2",
        "dipole,polarizability": "dft"}``.

    Raises
    ------
    InvalidInputError
        It is none of them.
    """
    if isinstance(method, str):
        return method_named(method)
    if isinstance(method, Mapping):
        known = known_quantities()
        parts = (
            (tuple(one_of("method", name, known) for name in names.split(",")), as_method(one))
            for names, one in method.items()
        )
        return CombinedMethod(tuple(parts))
    if hasattr(method, "implemented_properties"):
        return CalculatorMethod(method)
    lacking = [attribute for attribute in _ATTRIBUTES if not hasattr(method, attribute)]
    if lacking:
        raise InvalidInputError(
            f"{type(method).__name__} has no {', '.join(lacking)}",
            key="method",
            expected="the attributes of eqcalc.labelling.Method",
        )
    checked: Method = method
    return checked
