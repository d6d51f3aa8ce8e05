# SPDX-License-Identifier: MIT
"""Real spherical harmonics as explicit polynomials, and their operation counts.

Lee, Galkin and Miret (arXiv:2410.08131) replace the recursion over degrees by one
polynomial in x, y, z per component. Here the polynomials are derived exactly with
sympy from the closed form of the solid harmonics (Schlegel and Frisch, Int. J.
Quantum Chem. 54, 83 (1995)), in the convention of e3nn: the polar axis is y, the
components run over m = −l … l, and degree one is (x, y, z) up to a factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy
import torch
from sympy.printing.pycode import PythonCodePrinter
from torch import Tensor

from eqcalc.models.networks.irreps import clebsch_gordan, spherical_harmonics
from eqcalc.validation import InvalidInputError

X, Y, Z = sympy.symbols("x y z", real=True)


@cache
def polynomials(degree: int) -> tuple[sympy.Expr, ...]:
    """Return the 2l+1 solid harmonics of a degree, orthonormal on the unit sphere.

    Each is a homogeneous polynomial of degree l in x, y, z, exact.
    """
    if degree < 0:
        raise InvalidInputError(key="degree", value=degree, expected="zero or more")
    square = X**2 + Y**2 + Z**2
    components = []
    for m in range(-degree, degree + 1):
        size = abs(m)
        polar = sum(
            sympy.Rational(
                (-1) ** k
                * sympy.binomial(degree, k)
                * sympy.binomial(2 * degree - 2 * k, degree)
                * sympy.factorial(degree - 2 * k),
                2**degree * sympy.factorial(degree - 2 * k - size),
            )
            * square**k
            * Y ** (degree - 2 * k - size)
            for k in range((degree - size) // 2 + 1)
        )
        # (z + ix)^|m|: its real part for m ≥ 0, its imaginary part for m < 0
        azimuthal = sum(
            sympy.binomial(size, k) * Z ** (size - k) * X**k * sympy.I**k for k in range(size + 1)
        )
        azimuthal = sympy.expand(sympy.im(azimuthal) if m < 0 else sympy.re(azimuthal))
        norm = sympy.sqrt(
            sympy.Rational(2 * degree + 1, 4)
            / sympy.pi
            * (2 if m else 1)
            * sympy.factorial(degree - size)
            / sympy.factorial(degree + size)
        )
        components.append(norm * polar * azimuthal)
    return tuple(components)


def _compact(expression: sympy.Expr) -> sympy.Expr:
    """Return the nested or factored form with the fewest operations."""
    orders = ((Y, Z, X), (X, Z, Y), (Z, X, Y))
    expanded = sympy.expand(expression)
    forms = [sympy.factor(expression), *(sympy.horner(expanded, wrt=order) for order in orders)]
    return min((form.evalf(20) for form in forms), key=sympy.count_ops)


@cache
def program(
    degree: int,
) -> tuple[tuple[tuple[sympy.Symbol, sympy.Expr], ...], tuple[sympy.Expr, ...]]:
    """Return shared subexpressions in order, and the components in terms of them."""
    shared, components = sympy.cse([_compact(p) for p in polynomials(degree)])
    return tuple(shared), tuple(components)


class _Printer(PythonCodePrinter):
    """Writes integer powers as products, which are faster for tensors."""

    def _print_Pow(self, expr: sympy.Pow, rational: bool = False) -> str:
        base, exponent = expr.args
        if exponent.is_Integer and exponent > 1:
            return "(" + "*".join([self.parenthesize(base, 100)] * int(exponent)) + ")"
        return str(super()._print_Pow(expr, rational=rational))


@cache
def source_code(degree: int) -> str:
    """Return the source of a Python function of x, y and z for one degree."""
    printer = _Printer({"fully_qualified_modules": False})
    shared, components = program(degree)
    lines = [f"    {name} = {printer.doprint(value)}" for name, value in shared]
    results = ",\n        ".join(printer.doprint(value) for value in components)
    return "\n".join(
        [
            f"def harmonics_of_degree_{degree}(x, y, z):",
            *lines,
            f"    return (\n        {results},\n    )",
        ]
    )


@cache
def _compiled(degree: int) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]:
    namespace: dict[str, Any] = {}
    exec(source_code(degree), namespace)
    return namespace[f"harmonics_of_degree_{degree}"]


def direct_harmonics(degree: int, vectors: Tensor) -> Tensor:
    """Evaluate the polynomials of one degree, ``[n, 3]`` to ``[n, 2l+1]``."""
    x, y, z = vectors.unbind(-1)
    ones = torch.ones_like(x)
    return torch.stack([ones * value for value in _compiled(degree)(x, y, z)], dim=-1)


def recursive_harmonics(degree: int, vectors: Tensor) -> Tensor:
    """Evaluate one degree by the recursion of the models, ``[n, 3]`` to ``[n, 2l+1]``."""
    return spherical_harmonics((degree,), vectors)[degree]


@dataclass(frozen=True)
class OperationCounts:
    """Additions, multiplications and powers for all components of one degree.

    Parameters
    ----------
    degree
        The degree l.
    substituted
        The recursion expanded for every component separately, without sharing subexpressions; as
        counted by Lee et al.
    recursive
        The recursion reusing the lower degrees, summed over degrees up to l.
    direct
        Explicit polynomials with shared subexpressions.
    """

    degree: int
    substituted: int
    recursive: int
    direct: int


def operation_counts(degree: int) -> OperationCounts:
    """Count the operations of one degree for three ways of evaluation."""
    shared, components = program(degree)
    direct = sum(int(sympy.count_ops(e)) for e in (*(value for _, value in shared), *components))
    previous = [_WrittenOut(0, 0)]
    recursive = 0
    for l in range(1, degree + 1):
        coupling = clebsch_gordan(l - 1, 1, l)
        current = []
        for m in range(2 * l + 1):
            terms = (coupling[:, :, m].abs() > 1e-12).nonzero()[:, 0].tolist()
            # each term: one factor, one coordinate; then their sum
            own = 2 * len(terms) + len(terms) - 1
            recursive += own
            current.append(_WrittenOut(own, sum(previous[k].total for k in terms)))
        previous = current
    return OperationCounts(degree, sum(one.total for one in previous), recursive, direct)


@dataclass(frozen=True)
class _WrittenOut:
    """Operations of one component with the lower ones expanded in it."""

    own: int
    below: int

    @property
    def total(self) -> int:
        return self.own + self.below
