# SPDX-License-Identifier: MIT
"""Any ASE calculator as a reference method.

The available quantities are read from ``implemented_properties``; whether the calculator
uses the molecular charge is tested. Results are in ASE's units, a polarizability in e²Å²/eV,
and other quantities in their internal units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions, version
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import BaseCalculator, CalculatorSetupError, all_changes

from eqcalc.labelling.method import (
    ConvergenceError,
    MoleculeMethod,
    UnavailableQuantityError,
)
from eqcalc.molecules import unpaired_electrons
from eqcalc.plugins import class_at, instance
from eqcalc.quantities import known_quantities, ordered
from eqcalc.validation import InvalidInputError, nearest

#: Names of the charge parameter in ASE calculators.
_CHARGE = ("charge", "total_charge")
#: Names of the spin multiplicity, 2S + 1, in ASE calculators.
_MULTIPLICITY = ("multiplicity", "mult")
#: If the charge changes a property by less than this, in its unit, it was ignored.
_SAME = 1e-6


@dataclass(frozen=True)
class CalculatorMethod(MoleculeMethod):
    """Labels by an ASE calculator.

    The centre of mass of each molecule is placed at the origin, the reference point of the
    dipole of an ion. The charge is passed as the calculator's parameter ``charge`` or
    ``total_charge``, or else as ``atoms.info["charge"]`` and initial charges; a charged
    molecule is rejected if the energy is then that of the neutral one.

    Parameters
    ----------
    calculator
        ``"package.module.Calculator"``, or a calculator, which is copied to each process.
    options
        Keyword arguments of the class.

    Raises
    ------
    InvalidInputError
        There is no such class, an option is invalid, or no supported quantity is computed.
    """

    calculator: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.quantities:
            raise InvalidInputError(
                f"{self.name} computes none of them",
                key="method",
                expected="a calculator of energy, forces, dipole or another quantity",
            )

    def _build(self) -> Any:
        """Return the calculator, built on first use."""
        if "_built" not in self.__dict__:
            built = self.calculator
            if isinstance(built, str):
                module, _, name = built.replace(":", ".").rpartition(".")
                if not module:
                    raise InvalidInputError(
                        key="method", value=built, expected="ase:package.module.Calculator"
                    )
                kind = class_at("method", module, name)
                self._check_options(kind)
                built = instance(f"ase:{self.calculator}", kind, self.options)
            self.__dict__["_built"] = built
        return self.__dict__["_built"]

    def _check_options(self, kind: Any) -> None:
        """Check options of a class that accepts any but tabulates the known ones."""
        known = getattr(kind, "default_parameters", {})
        for key in self.options:
            close = nearest(key, known)
            if key not in known and close is not None:
                raise InvalidInputError(
                    "unknown option",
                    key=f"{self.calculator}.{key}",
                    value=self.options[key],
                    suggestion=close,
                )

    def __getstate__(self) -> dict[str, Any]:
        return {"calculator": self.calculator, "options": self.options}

    @property
    def name(self) -> str:
        """Name of the class."""
        return type(self._build()).__name__

    @property
    def level_of_theory(self) -> str:
        """The class and its options, unless the user gives a better description."""
        options = ", ".join(f"{key}={value}" for key, value in self._parameters().items())
        return f"{self.name}({options})" if options else self.name

    @property
    def version(self) -> str:
        """Package and version."""
        package = type(self._build()).__module__.partition(".")[0]
        names = packages_distributions().get(package, [])
        return f"{names[0]} {version(names[0])}" if names else package

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the quantities that it computes for an isolated molecule."""
        known = set(known_quantities()) - {"stress"}
        return ordered(known.intersection(self._build().implemented_properties))

    def settings(self) -> dict[str, Any]:
        """Return the class and its parameters."""
        kind = type(self._build())
        return {
            "calculator": f"{kind.__module__}.{kind.__qualname__}",
            **{key: _json(value) for key, value in self._parameters().items()},
        }

    def _compute(
        self, molecule: ase.Atoms, charge: float, quantities: tuple[str, ...]
    ) -> dict[str, Any]:
        """Return properties of `molecule`, whose charge has been set on the calculator."""
        calculator = self._build()
        parameters = getattr(calculator, "parameters", {})
        name = next((name for name in _CHARGE if name in parameters), None)
        if name is None:
            if charge:
                self._hand_over(molecule, charge)
        elif name in self.options:
            if float(self.options[name]) != charge:
                raise self._charge_error(molecule, charge, f"{self.options[name]} as the option")
        else:
            calculator.set(**{name: int(charge) if charge.is_integer() else charge})
        self._hand_over_spin(molecule)
        return self._properties(molecule, quantities)

    def _hand_over_spin(self, molecule: ase.Atoms) -> None:
        """Set the spin, as the parameter of the calculator or else by the initial moments."""
        calculator = self._build()
        parameters = getattr(calculator, "parameters", {})
        name = next((name for name in _MULTIPLICITY if name in parameters), None)
        if "_multiplicity" not in self.__dict__:  # as the user set it
            usual = getattr(calculator, "default_parameters", {}).get(name)
            own = name in self.options or (name and parameters[name] not in (None, usual))
            self.__dict__["_multiplicity"] = int(parameters[name]) if name and own else None
        chosen = self.__dict__["_multiplicity"]
        unpaired = unpaired_electrons(molecule, None if chosen is None else chosen - 1)
        if name is not None and chosen is None and parameters[name] is not None:
            calculator.set(**{name: unpaired + 1})
        elif unpaired and not np.any(molecule.get_initial_magnetic_moments()):
            molecule.set_initial_magnetic_moments(np.full(len(molecule), unpaired / len(molecule)))

    def _hand_over(self, molecule: ase.Atoms, charge: float) -> None:
        """Set the charge on `molecule`, provided that the calculator responds to it."""
        known = self.quantities[:1]
        neutral = self._properties(ase.Atoms(molecule.numbers, molecule.positions), known)
        molecule.info["charge"] = charge
        molecule.set_initial_charges(np.full(len(molecule), charge / len(molecule)))
        charged = self._properties(molecule, known)
        if np.allclose(neutral[known[0]], charged[known[0]], rtol=0.0, atol=_SAME):
            raise self._charge_error(molecule, charge, "0, since the calculator does not take it")

    def _charge_error(self, molecule: ase.Atoms, charge: float, expected: str) -> InvalidInputError:
        return InvalidInputError(
            f"{self.name}", key=f"charge of {molecule.symbols}", value=charge, expected=expected
        )

    def _properties(self, molecule: ase.Atoms, names: tuple[str, ...]) -> dict[str, Any]:
        """Return freshly computed properties, independent of earlier calculations."""
        calculator = self._build()
        try:
            if not isinstance(calculator, BaseCalculator):
                return {name: calculator.get_property(name, molecule) for name in names}
            calculator.atoms, calculator.results = None, {}
            calculator.calculate(molecule, list(names), all_changes)
            return {name: np.array(calculator.results[name]) for name in names}
        except KeyError as error:
            raise UnavailableQuantityError(self.name, error.args, self.quantities) from None
        except CalculatorSetupError as error:
            raise InvalidInputError(str(error), key=f"method {self.name}") from error
        except (RuntimeError, ArithmeticError, np.linalg.LinAlgError) as error:
            raise ConvergenceError(f"{self.name}: {str(error).strip()}") from error

    def _parameters(self) -> dict[str, Any]:
        if self.options:
            return dict(self.options)
        return {} if isinstance(self.calculator, str) else dict(self.calculator.todict())


def _json(value: Any) -> Any:
    """Return a JSON-able form of a parameter."""
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_json(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
