# SPDX-License-Identifier: MIT
"""What a method that labels structures has to offer."""

from __future__ import annotations

from typing import Any, Protocol

import ase
import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class ConvergenceError(RuntimeError):
    """The self-consistent field, or the response to a field, did not converge."""


class Method(Protocol):
    """An electronic-structure method.

    An instance can be sent to another process, so it holds settings only and
    builds what it needs on first use.

    Attributes
    ----------
    name
        Short name, for example ``"GFN2-xTB"``.
    version
        Program and version, for example ``"tblite 0.4.0"``.
    level_of_theory
        What the labels are, for example ``"PBE0/def2-TZVP"``.
    quantities
        Names of the quantities that :meth:`label` returns.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def version(self) -> str: ...  # noqa: D102

    @property
    def level_of_theory(self) -> str: ...  # noqa: D102

    @property
    def quantities(self) -> tuple[str, ...]: ...  # noqa: D102

    def settings(self) -> dict[str, Any]:
        """Return every setting that changes the labels, as JSON can hold it."""
        ...

    def label(
        self, atoms: ase.Atoms, quantities: tuple[str, ...] | None = None
    ) -> dict[str, np.ndarray]:
        """Return `quantities` (all, if not given) of `atoms` in internal units.

        The dipole of a charged molecule is about its centre of mass.

        Raises
        ------
        ConvergenceError
            There is no trustworthy result at this geometry.
        """
        ...


class MethodCalculator(Calculator):
    """A :class:`Method` as an ASE calculator of energy and forces."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - as ASE declares it

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def calculate(  # noqa: D102
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        labels = self.method.label(self.atoms, ("energy", "forces"))
        self.results = {"energy": float(labels["energy"]), "forces": labels["forces"]}
