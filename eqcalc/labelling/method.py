# SPDX-License-Identifier: MIT
"""The interface of labelling methods, and adapters to ASE and dynamics."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from torch import Tensor

from eqcalc.datasets.dataset import levels_by_quantity
from eqcalc.molecules import isolated_molecule, total_charge
from eqcalc.quantities import ordered, quantity
from eqcalc.validation import InvalidInputError, nearest, shape


class ConvergenceError(RuntimeError):
    """The SCF or the response equations did not converge."""


class UnavailableQuantityError(InvalidInputError):
    """A method does not compute a quantity.

    Attributes
    ----------
    method
        Name of the method.
    unavailable, available
        Names of the requested quantities that it lacks, and of those that it computes.
    """

    def __init__(self, method: str, unavailable: Iterable[str], available: Iterable[str]) -> None:
        self.method = method
        self.unavailable = tuple(unavailable)
        self.available = tuple(available)
        super().__init__(
            f"{method} does not compute {', '.join(self.unavailable)}",
            key="quantities",
            expected=f"some of {', '.join(self.available)}",
            suggestion=nearest(self.unavailable[0], self.available),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.method, self.unavailable, self.available)


class Method(Protocol):
    """An electronic-structure method, or anything that computes labels.

    Instances are immutable and pickled to other processes, so they hold settings only and
    build the rest on first use. An optional attribute ``default_quantities`` names the
    quantities that are computed if none are requested; another, ``unpaired_electrons``, is
    their number, if it is fixed (see :func:`~eqcalc.molecules.unpaired_electrons`).

    Attributes
    ----------
    name
        Short name, for example ``"GFN2-xTB"``.
    version
        Program and version, for example ``"tblite 0.4.0"``.
    level_of_theory
        For example ``"PBE0/def2-TZVP"``; by quantity where it differs.
    quantities
        Names of the quantities that it computes.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def version(self) -> str: ...  # noqa: D102

    @property
    def level_of_theory(self) -> str | Mapping[str, str]: ...  # noqa: D102

    @property
    def quantities(self) -> tuple[str, ...]: ...  # noqa: D102

    def settings(self) -> dict[str, Any]:
        """Return every setting that affects the labels, JSON-able."""
        ...

    def label(
        self, atoms: ase.Atoms, quantities: tuple[str, ...] | None = None
    ) -> dict[str, np.ndarray]:
        """Return `quantities` (default: the default ones) of `atoms` in internal units.

        The dipole of a charged molecule is about its centre of mass.

        Raises
        ------
        ConvergenceError
            The calculation did not converge at this geometry.
        """
        ...


def selected_quantities(
    method: Method, quantities: Collection[str] | None = None
) -> tuple[str, ...]:
    """Return `quantities`, or the default ones of `method`, in canonical order.

    Raises
    ------
    UnavailableQuantityError
        The method does not compute one of them.
    """
    if quantities is None:
        quantities = getattr(method, "default_quantities", method.quantities)
    unavailable = [name for name in quantities if name not in method.quantities]
    if unavailable or not quantities:
        raise UnavailableQuantityError(method.name, unavailable or ["nothing"], method.quantities)
    return ordered(quantities)


class MoleculeMethod(Method):
    """A method that computes one isolated molecule, centred at its centre of mass.

    Subclasses are dataclasses.
    """

    def settings(self) -> dict[str, Any]:
        """Return every setting that changes the labels: the fields of the dataclass."""
        return asdict(self)  # type: ignore[call-overload]

    def label(
        self, atoms: ase.Atoms, quantities: tuple[str, ...] | None = None
    ) -> dict[str, np.ndarray]:
        """Return checked `quantities` of the isolated molecule `atoms`; see :class:`Method`."""
        wanted = selected_quantities(self, quantities)
        molecule = isolated_molecule(atoms).copy()
        molecule.positions -= molecule.get_center_of_mass()
        labels = {}
        for name, value in self._compute(molecule, total_charge(atoms), wanted).items():
            expected = quantity(name).shape_of(len(atoms))
            labels[name] = shape(f"{name} of {self.name}", np.asarray(value, dtype=float), expected)
            if not np.isfinite(labels[name]).all():
                raise ConvergenceError(f"{self.name}: non-finite {name}")
        return labels

    @abstractmethod
    def _compute(
        self, molecule: ase.Atoms, charge: float, quantities: tuple[str, ...]
    ) -> Mapping[str, Any]:
        """Return labels of a centred molecule and its charge [e], by name."""


def finite_field_polarizability(
    dipole: Callable[[int, int], np.ndarray], step: float
) -> np.ndarray:
    """Return α = ∂μ/∂F by central differences of the dipole in fields ±`step`, symmetrised."""
    rows = [(dipole(axis, 1) - dipole(axis, -1)) / (2.0 * step) for axis in range(3)]
    return 0.5 * (np.array(rows) + np.array(rows).T)


@dataclass(frozen=True)
class CombinedMethod:
    """Quantities from several methods, such as forces of one and dipoles of another.

    Parameters
    ----------
    parts
        Methods by the quantities that they compute.

    Raises
    ------
    InvalidInputError
        Two methods compute the same quantity, or energy and forces come from different
        methods.
    UnavailableQuantityError
        A method does not compute a quantity assigned to it.
    """

    parts: tuple[tuple[tuple[str, ...], Method], ...]

    def __post_init__(self) -> None:
        parts = tuple((selected_quantities(method, names), method) for names, method in self.parts)
        object.__setattr__(self, "parts", parts)
        for name, n in Counter(name for part, _ in parts for name in part).items():
            if n > 1:
                raise InvalidInputError(
                    "from two methods", key=name, expected="one method for each quantity"
                )
        if sum(("energy" in part) != ("forces" in part) for part, _ in parts) == 2:
            raise InvalidInputError(
                "forces are the negative gradient of the energy",
                key="forces",
                expected="energy and forces from one method",
            )

    @property
    def name(self) -> str:
        """Names of the methods and what each computes."""
        return "; ".join(f"{', '.join(names)}: {method.name}" for names, method in self.parts)

    @property
    def version(self) -> str:
        """Programs and versions."""
        return ", ".join(dict.fromkeys(method.version for _, method in self.parts))

    @property
    def level_of_theory(self) -> dict[str, str]:
        """Level of theory by quantity."""
        levels: dict[str, str] = {}
        for names, method in self.parts:
            levels |= levels_by_quantity(method.level_of_theory, names)
        return {name: levels[name] for name in self.quantities}

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the quantities computed."""
        return ordered(name for names, _ in self.parts for name in names)

    def settings(self) -> dict[str, Any]:
        """Return the settings of each method."""
        return {
            ",".join(names): {"method": method.name, **method.settings()}
            for names, method in self.parts
        }

    def label(
        self, atoms: ase.Atoms, quantities: tuple[str, ...] | None = None
    ) -> dict[str, np.ndarray]:
        """Return `quantities` of `atoms`; see :class:`Method`."""
        wanted = selected_quantities(self, quantities)
        labels: dict[str, np.ndarray] = {}
        for names, method in self.parts:
            own = tuple(name for name in names if name in wanted)
            if own:
                labels.update(method.label(atoms, own))
        return {name: labels[name] for name in wanted}


# --- callers of a method --------------------------------------------------------------


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


class MethodEvaluator:
    """A :class:`Method` as an evaluator for dynamics, one configuration at a time.

    Parameters
    ----------
    method
        The method, for example :class:`~eqcalc.labelling.GFN2`.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    charge
        Its total charge [e].
    """

    def __init__(self, method: Method, numbers: Tensor, *, charge: float = 0.0) -> None:
        self.method = method
        self.charge = charge
        self.numbers = torch.as_tensor(numbers, dtype=torch.int64)
        self.quantities = method.quantities
        self.provenance: dict[str, Any] = {
            "method": method.name,
            "method_version": method.version,
            "level_of_theory": method.level_of_theory,
        }

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate ``[n_structures, n_atoms, 3]`` Å; see :class:`~eqcalc.runtime.Evaluator`."""
        numbers = self.numbers.numpy()
        labels = [
            self.method.label(
                ase.Atoms(numbers, coordinates, info={"charge": self.charge}), tuple(quantities)
            )
            for coordinates in positions.detach().cpu().numpy()
        ]
        return {
            name: torch.from_numpy(np.stack([np.asarray(one[name], np.float64) for one in labels]))
            for name in quantities
        }
