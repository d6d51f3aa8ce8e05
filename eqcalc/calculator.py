# SPDX-License-Identifier: MIT
"""ASE calculator of a trained model."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    CalculationFailed,
    Calculator,
    InputError,
    Parameters,
    PropertyNotImplementedError,
    all_changes,
)
from ase.calculators.polarizability import StaticPolarizabilityCalculator
from ase.outputs import Properties, all_outputs
from ase.stress import full_3x3_to_voigt_6_stress

from eqcalc.facts import described, facts_table, grouped
from eqcalc.files import GENERAL_MODEL
from eqcalc.models.checkpoint import load_model
from eqcalc.models.compositions import (
    check_charge,
    known_charges,
    warn_of_cell,
    warn_of_composition,
)
from eqcalc.models.potential import Potential
from eqcalc.models.precision import checked_device, in_precision
from eqcalc.molecules import total_charge, warn_of_ignored
from eqcalc.quantities import quantity
from eqcalc.runtime import ClosestPair, Execution, execution_for, to_numpy
from eqcalc.structure_formats import GeometryWarning
from eqcalc.structures import Structures
from eqcalc.validation import InvalidInputError, known_elements

#: Atoms closer than this [Å] are an error; the shortest bonds are twice as long.
SHORTEST_DISTANCE = 0.3
_SKIN = 0.5


class CalculatorInputError(InvalidInputError, InputError):
    """Invalid input of a calculator, which is ASE's InputError, too."""


@contextmanager
def _errors_of_ase() -> Iterator[None]:
    try:
        yield
    except InvalidInputError as error:
        raise error.of_kind(CalculatorInputError) from error


class EqCalculator(Calculator):
    """ASE calculator for the energy, forces, dipole, polarizability and other outputs of a model.

    Every calculation evaluates all quantities of the model, so that dipole and polarizability come
    with the forces. Results are in ASE units: energy [eV], forces [eV/Å], dipole [e·Å] about the
    centre of mass, polarizability [e²Å²/eV] as a 3×3 array, others as defined in
    :mod:`eqcalc.quantities` (``calc.get_property(name, atoms)``), and the stress [eV/Å³] of
    periodic structures. These have dipole and polarizability from read-outs of the form ``local``.

    ASE finds it by its name (:mod:`eqcalc.ase_plugin`): ``ase run eqcalc``, and
    ``get_calculator_class("eqcalc")`` wherever ``ase.io`` was imported. Files of ASE keep its
    arguments, and the dipole moment among the results; for the polarizability, which ASE does not
    know, set ``atoms.info["polarizability"]`` before (in databases
    ``data={"polarizability": …}``).

    Threads may share a calculator: each call waits for the others (``calc.results`` is that of the
    last one). They run in parallel with a calculator each.

    Parameters
    ----------
    model
        A model file, the name of a shipped model or a :class:`~eqcalc.models.Potential`. By
        default the general model of molecules of H, C, N and O.
    device
        ``"cpu"``, ``"cuda"``, …; by default a GPU if there is one.
    precision
        Precision of the network, one of :data:`~eqcalc.models.precision.PRECISIONS`;
        by default as stored. Finite differences of small displacements need ``"float64"``.
    skin
        Extra distance of the neighbour list of periodic structures [Å].
    execution
        How the model is executed: one of :data:`~eqcalc.runtime.EXECUTIONS`, or an execution; by
        default the fastest that works here. Most networks without kernels can be ``"compiled"``,
        which takes minutes once per molecule.

    Examples
    --------
    >>> atoms.calc = EqCalculator("ethanol.eqc")  # doctest: +SKIP
    >>> atoms.get_forces(), atoms.get_dipole_moment()  # doctest: +SKIP
    >>> atoms.calc.get_polarizability(atoms)  # doctest: +SKIP
    """

    implemented_properties = [  # noqa: RUF012 (the declaration that ASE prescribes)
        "energy",
        "free_energy",
        "forces",
        "stress",
        "dipole",
        "polarizability",
    ]
    nolabel = True  # for the command of ASE that runs calculators: no files to be labelled
    name = "eqcalc"  # by which ASE finds it, also for what its files and databases hold

    def __init__(
        self,
        model: str | Path | Potential = GENERAL_MODEL,
        *,
        device: torch.device | str | None = None,
        precision: str | None = None,
        skin: float = _SKIN,
        execution: Execution | str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(model, str | Path | Potential):
            raise CalculatorInputError(
                key="model", value=model, expected="a model file or a Potential"
            )
        with _errors_of_ase():
            device = None if device is None else checked_device(device)
        if isinstance(model, Potential):
            potential = model
            if device is not None:
                # .to would modify the caller's model in place
                potential = copy.deepcopy(model).to(device=device)
        else:
            default = "cuda" if torch.cuda.is_available() else "cpu"
            potential = load_model(model, device=device or default)
        with _errors_of_ase():
            potential = in_precision(potential, precision)
        given = model if not isinstance(model, Potential) else potential.file or "Potential"
        stated = {"device": device and str(device), "precision": precision, "execution": execution}
        #: Arguments, which ASE writes beside results; others are defaults.
        self.parameters = Parameters(
            model=str(given),
            **({} if skin == _SKIN else {"skin": skin}),
            **{name: value for name, value in stated.items() if isinstance(value, str)},
        )
        #: The model in use, and how it is executed.
        self.potential = potential
        if execution is None or isinstance(execution, str):
            with _errors_of_ase():
                execution = execution_for(potential, skin=skin, execution=execution)
        self.execution = execution
        self._lock = threading.RLock()
        self._charge: float | None = None
        # cached while only positions change
        self._copy: Atoms | None = None
        self._structures: Structures | None = None
        self._available: tuple[str, ...] = ()
        names = list(potential.quantities)
        if "energy" in names:
            names.append("free_energy")
        self.implemented_properties = names

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock())

    def facts(self) -> dict[str, str]:
        """Return a description of the model and its execution."""
        facts = self.potential.facts()
        del facts["quantities"]
        return {**facts, "execution": grouped(self.execution.parts)}

    def __repr__(self) -> str:
        return f"EqCalculator({described(self.facts())})"

    def _repr_html_(self) -> str:
        return facts_table("EqCalculator", self.facts())

    @property
    def charges(self) -> tuple[float, ...]:
        """Total charges [e] of the structures the model was trained on."""
        return known_charges(self.potential.metadata)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """List what has changed since the last calculation, charge and isotopes included.

        Any difference counts, even one smaller than `tol`.
        """
        last = self.atoms
        if last is None or len(last) != len(atoms):
            return list(all_changes)
        changes = [
            name
            for name, same in (
                ("positions", (last.positions == atoms.positions).all()),
                ("numbers", (last.numbers == atoms.numbers).all()),
                ("cell", (last.cell.array == atoms.cell.array).all()),
                ("pbc", (last.pbc == atoms.pbc).all()),
                ("initial_charges", _charge_of(atoms) == self._charge),
                # no change of the results, but a reason to say that they are ignored
                ("initial_magmoms", _same(last, atoms, "initial_magmoms")),
            )
            if not same
        ]
        if self._charge and not np.array_equal(last.get_masses(), atoms.get_masses()):
            changes.append("masses")  # isotopes shift the origin of the dipole of an ion
        return changes

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Refuse to change arguments of a calculator, which needs another execution."""
        for key, value in kwargs.items():
            raise CalculatorInputError(
                key=key, value=value, expected="a new EqCalculator with this argument"
            )
        return {}

    def get_polarizability(self, atoms: Atoms | None = None) -> np.ndarray:
        """Return the polarizability, ``[3, 3]`` e²Å²/eV."""
        return self.get_property("polarizability", atoms)

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return one property; see the class for units."""
        reference = self.atoms if atoms is None else atoms
        if reference is not None:
            periodic = bool(reference.pbc.any())
            if name == "stress" and not periodic:
                raise PropertyNotImplementedError("an isolated molecule has no stress")
            if periodic and name in self.potential.of_isolated:
                raise PropertyNotImplementedError(
                    f"this model defines no {name} for periodic structures; for a molecule in a "
                    "box set atoms.pbc = False"
                )
        with self._lock:  # from the check of the atoms to the copy of the result
            return super().get_property(name, atoms, allow_calculation)

    def export_properties(self) -> Properties:
        """Return the results among ASE's standard properties, without the polarizability."""
        return Properties({name: v for name, v in self.results.items() if name in all_outputs})

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate the model; called by ASE.

        Raises
        ------
        InputError
            An element or charge unknown to the model, non-finite positions, a cell without volume,
            or overlapping atoms.
        CalculationFailed
            The model returned a non-finite value.
        """
        with self._lock:
            self._calculate(self.atoms if atoms is None else atoms, system_changes)

    def _calculate(self, given: Atoms | None, system_changes: Sequence[str]) -> None:
        atoms, structures, charge = self._adopt(given, system_changes)
        values = self.execution.evaluate(structures, self._available)
        closest = self.execution.closest_pair(structures)
        refuse_overlap(closest)
        if len(atoms) > 1 and closest.distance > self.potential.cutoff:
            # attributed to this line for any caller, so that dynamics warns once
            warnings.warn(
                f"no two atoms are closer than the cutoff of the model, {self.potential.cutoff:g} "
                "Å: each is evaluated as if it were alone; positions are taken in ångström",
                GeometryWarning,
                stacklevel=1,
            )
        results: dict[str, Any] = {}
        for name, value in to_numpy(values).items():
            array = value.astype(np.float64, copy=False)
            results[name] = array if quantity(name).per_atom else array[0]
            if not np.isfinite(array).all():
                raise CalculationFailed(
                    f"the model returned a non-finite {name}; the structure is probably "
                    "far from anything the model was trained on"
                )
            if array.ndim == 1 and not quantity(name).per_atom:
                results[name] = float(array[0])
        if "energy" in results:
            results["free_energy"] = results["energy"]
        if "stress" in results:
            results["stress"] = full_3x3_to_voigt_6_stress(results["stress"])
        if "dipole" in results and charge != 0.0:
            # shift law: the model uses standard masses, but the atoms may be isotopes
            standard = structures.center_of_mass()[0].cpu().numpy()
            results["dipole"] += charge * (standard - atoms.get_center_of_mass())
        self.results = results

    def _adopt(
        self, atoms: Atoms | None, system_changes: Sequence[str]
    ) -> tuple[Atoms, Structures, float]:
        """Check atoms, store a copy as all ASE calculators do, and convert them to tensors."""
        if atoms is None:
            raise CalculatorInputError("there are no atoms to calculate", key="atoms")
        kept, structures, charge = self._copy, self._structures, self._charge
        if (
            kept is None
            or structures is None
            or charge is None
            or len(kept) != len(atoms)
            or set(system_changes) - {"positions"}
        ):
            self._copy = self._structures = self._charge = None  # in case a check fails
            charge = self._checked_charge(atoms)
            structures = self._checked_structures(atoms)
            kept = atoms.copy()
            self._copy, self._structures, self._charge = kept, structures, charge
            self._available = self.potential.available_for(structures)
        positions = self._checked_positions(atoms)
        kept.positions[:] = atoms.positions
        self.atoms = kept
        return kept, structures.with_positions(positions), charge

    def _checked_charge(self, atoms: Atoms) -> float:
        charge = _charge_of(atoms)
        with _errors_of_ase():
            check_charge(self.potential.metadata, charge)
        return charge

    def _checked_structures(self, atoms: Atoms) -> Structures:
        if len(atoms) == 0:
            raise CalculatorInputError("there are no atoms", key="atoms")
        with _errors_of_ase():
            known_elements(atoms.numbers, self.potential.references.elements)
        if atoms.pbc.any() and not abs(atoms.cell.volume) > 1e-6:
            raise CalculatorInputError(
                f"a structure with pbc={atoms.pbc.tolist()} needs a cell with a volume", key="cell"
            )
        warn_of_ignored(atoms)
        if atoms.pbc.any():  # supercells of one crystal have many compositions
            warn_of_cell(self.potential.of_isolated)
        else:
            warn_of_composition(self.potential.metadata, atoms.numbers)
        return Structures.from_atoms(atoms, device=self.potential.device)

    def _checked_positions(self, atoms: Atoms) -> torch.Tensor:
        finite = np.isfinite(atoms.positions)
        if not finite.all():
            broken = np.flatnonzero(~finite.all(axis=1))[0]
            raise CalculatorInputError(
                key=f"positions[{broken}]",
                value=atoms.positions[broken].tolist(),
                expected="finite numbers",
            )
        return torch.tensor(atoms.positions, dtype=torch.float64, device=self.potential.device)


class StaticPolarizability(StaticPolarizabilityCalculator):
    """The model's polarizability with the interface of ASE's Raman classes.

    Parameters
    ----------
    calculator
        The calculator of the polarizability.

    Examples
    --------
    >>> from ase.vibrations.raman import StaticRamanCalculator
    >>> StaticRamanCalculator(  # doctest: +SKIP
    ...     atoms, StaticPolarizability, exkwargs={"calculator": atoms.calc}, name="raman"
    ... ).run()
    """

    def __init__(self, calculator: EqCalculator) -> None:
        self.calculator = calculator

    def __call__(self, atoms: Atoms, *args: Any, **kwargs: Any) -> np.ndarray:
        """Return the polarizability, ``[3, 3]`` e²Å²/eV."""
        return self.calculator.get_polarizability(atoms)


def refuse_overlap(closest: ClosestPair) -> None:
    """Raise CalculatorInputError if the closest atoms overlap."""
    if closest.distance < SHORTEST_DISTANCE:
        first, second = sorted((closest.receiver, closest.sender))
        raise CalculatorInputError(
            f"atoms {first} and {second} are {closest.distance:.3f} Å apart; "
            f"below {SHORTEST_DISTANCE} Å they are considered to overlap",
            key="positions",
        )


def _same(a: Atoms, b: Atoms, name: str) -> bool:
    """Return whether arrays of atoms are equal, or both missing."""
    one, other = a.arrays.get(name), b.arrays.get(name)
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _charge_of(atoms: Atoms) -> float:
    """Return the total charge [e]; an invalid one is an error of ASE, too."""
    with _errors_of_ase():
        return total_charge(atoms)
