# SPDX-License-Identifier: MIT
"""GFN2-xTB labels from tblite: about a millisecond per small molecule.

Method: Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019). Its minimal
basis underestimates polarizabilities by about a factor of two relative to DFT: good for
testing, not for Raman intensities.
"""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from typing import Any, ClassVar

import ase
import numpy as np
from ase.units import Bohr, Hartree

from eqcalc.labelling.method import (
    ConvergenceError,
    MoleculeMethod,
    finite_field_polarizability,
)
from eqcalc.molecules import unpaired_electrons
from eqcalc.validation import MissingExtraError, count, positive_fields

# Building a calculator costs as much as a single point, so one is cached per
# molecule. Earlier results are not reused: labels do not depend on their order.
_calculators: dict[Any, Any] = {}
# tblite cannot free them during interpreter shutdown
atexit.register(_calculators.clear)


@dataclass(frozen=True)
class GFN2(MoleculeMethod):
    """GFN2-xTB energies, forces, dipoles and finite-field polarizabilities.

    Parameters
    ----------
    accuracy
        Convergence thresholds of the self-consistent charges relative to tblite's
        default; at 1e-3 the dipole is converged to 1e-6 e·Å.
    electronic_temperature
        Temperature of the Fermi smearing [K].
    unpaired_electrons
        Number of unpaired electrons; by default that which the atoms state, or the least
        possible, see :func:`~eqcalc.molecules.unpaired_electrons`.
    field
        Field step of the central differences of the dipole [V/Å]. The error is of
        second order, about 1e-6 of the polarizability of ethanol.
    """

    accuracy: float = 1e-3
    electronic_temperature: float = 300.0
    unpaired_electrons: int | None = None
    field: float = 0.02

    name: ClassVar[str] = "GFN2-xTB"
    level_of_theory: ClassVar[str] = "GFN2-xTB"
    quantities: ClassVar[tuple[str, ...]] = ("energy", "forces", "dipole", "polarizability")
    #: Without the polarizability, which costs six more single points.
    default_quantities: ClassVar[tuple[str, ...]] = ("energy", "forces", "dipole")

    def __post_init__(self) -> None:
        positive_fields(self, "accuracy", "electronic_temperature", "field")
        if self.unpaired_electrons is not None:
            count("unpaired_electrons", self.unpaired_electrons, least=0)

    @property
    def version(self) -> str:
        """Program and version."""
        _tblite()
        from importlib.metadata import version

        return f"tblite {version('tblite')}"

    def _compute(
        self, molecule: ase.Atoms, charge: float, quantities: tuple[str, ...]
    ) -> dict[str, Any]:
        """Return labels of a centred molecule."""
        result = self._singlepoint(molecule, charge)
        labels = {
            "energy": float(result.get("energy")) * Hartree,
            "forces": -np.asarray(result.get("gradient")) * (Hartree / Bohr),
            "dipole": np.asarray(result.get("dipole")) * Bohr,
        }

        def dipole(axis: int, sign: int) -> np.ndarray:
            result = self._singlepoint(molecule, charge, (axis, sign))
            return np.asarray(result.get("dipole")) * Bohr

        if "polarizability" in quantities:
            labels["polarizability"] = finite_field_polarizability(dipole, self.field)
        return {name: labels[name] for name in quantities}

    def _singlepoint(
        self, molecule: ase.Atoms, charge: float, field: tuple[int, int] | None = None
    ) -> Any:
        """Return tblite's results, optionally in a field along a signed axis."""
        tblite = _tblite()
        positions = molecule.positions / Bohr
        unpaired = unpaired_electrons(molecule, self.unpaired_electrons)
        key = (self, molecule.numbers.tobytes(), charge, unpaired, field)
        calculator = _calculators.get(key)
        try:
            if calculator is None:
                calculator = tblite.Calculator(
                    "GFN2-xTB",
                    np.array(molecule.numbers),
                    positions,
                    charge=charge,
                    uhf=unpaired,
                )
                calculator.set("verbosity", 0)
                calculator.set("accuracy", self.accuracy)
                calculator.set("temperature", self.electronic_temperature * ase.units.kB / Hartree)
                if field is not None:
                    axis, sign = field
                    vector = np.zeros(3)
                    vector[axis] = sign * self.field * Bohr / Hartree
                    _add_field(calculator, vector)
                if len(_calculators) > 64:
                    _calculators.clear()
                _calculators[key] = calculator
            else:
                calculator.update(positions)
            return calculator.singlepoint()
        except (tblite.TBLiteRuntimeError, tblite.TBLiteValueError) as error:
            _calculators.pop(key, None)
            raise ConvergenceError(f"GFN2-xTB: {str(error).strip()}") from error


def _tblite() -> Any:
    """Return the module of tblite."""
    try:
        import tblite.interface
    except ImportError as error:
        raise MissingExtraError.of("label", "labelling with GFN2-xTB", "tblite") from error
    return tblite.interface


def _add_field(calculator: Any, vector: np.ndarray) -> None:
    """Add a uniform field [atomic units] to a tblite calculator.

    The energy changes by −μ·F, checked by E(F) against the dipole. Some versions of
    tblite pass the array to C without converting it and need a pointer.
    """
    try:
        calculator.add("electric-field", vector)
    except TypeError:
        from tblite import library

        # the container copies the three numbers
        calculator.add("electric-field", library.ffi.cast("double*", vector.ctypes.data))
