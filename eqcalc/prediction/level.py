# SPDX-License-Identifier: MIT
"""Where energies and dipole moments of a prediction come from: a reference method or a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from ase import Atoms

from eqcalc.calculator import EqCalculator
from eqcalc.facts import joined_levels
from eqcalc.files import GENERAL_MODEL, model_file
from eqcalc.harmonic import harmonic_spectrum, wavenumber_errors
from eqcalc.harmonic import relax as relax_with_model
from eqcalc.labelling import (
    Method,
    MethodCalculator,
    MethodEvaluator,
    as_method,
    finite_difference_modes,
    method_named,
    relax,
)
from eqcalc.models.checkpoint import load_model, read_header
from eqcalc.models.compositions import Compositions
from eqcalc.molecules import total_charge
from eqcalc.normal_modes import NormalModes
from eqcalc.runtime import evaluator_for
from eqcalc.runtime.evaluator import Evaluator

#: Largest force on a relaxed structure, eV/Å.
_RELAXED = 1e-4


class Level(Protocol):
    """A level of theory."""

    #: Level of theory, as text.
    name: str
    #: The same as a method of the search for conformers.
    method: Method

    def relaxed(self, atoms: Atoms) -> Atoms:
        """Return a tightly relaxed structure with a calculator."""
        ...

    def modes(self, atoms: Atoms) -> NormalModes:
        """Return the normal modes of a relaxed structure."""
        ...

    def evaluator(self, atoms: Atoms) -> Evaluator:
        """Return what evaluates configurations of a molecule."""
        ...


class ReferenceLevel:
    """A reference method, called for every configuration; it has no polarizabilities here."""

    def __init__(self, method: Method) -> None:
        self.method: Method = method
        self.name: str = joined_levels(method.level_of_theory)

    def relaxed(self, atoms: Atoms) -> Atoms:
        """Return a tightly relaxed structure."""
        found = relax(atoms, self.method, fmax=_RELAXED)
        found.calc = MethodCalculator(self.method)
        return found

    def modes(self, atoms: Atoms) -> NormalModes:
        """Return the normal modes by differences of forces."""
        return finite_difference_modes(atoms, self.method)

    def evaluator(self, atoms: Atoms) -> Evaluator:
        """Return the method as an evaluator of energies, forces and dipole moments."""
        numbers = torch.as_tensor(atoms.numbers)
        evaluator = MethodEvaluator(self.method, numbers, charge=total_charge(atoms))
        # polarizabilities cost six more single points, and a minimal basis gives half of them
        evaluator.quantities = tuple(
            name for name in ("energy", "forces", "dipole") if name in self.method.quantities
        )
        return evaluator


class ModelLevel:
    """A trained model, in double precision."""

    def __init__(self, path: str) -> None:
        self._potential = load_model(path, dtype=torch.float64)
        self.method: Method = as_method(EqCalculator(self._potential))
        self.name: str = self._potential.facts()["level of theory"]

    def relaxed(self, atoms: Atoms) -> Atoms:
        """Return a tightly relaxed structure."""
        return relax_with_model(self._potential, atoms)

    def modes(self, atoms: Atoms) -> NormalModes:
        """Return the normal modes from the exact Hessian, with errors if the model knows them."""
        modes = harmonic_spectrum(self._potential, atoms)
        if self._potential.last_layers is None or modes.eigenvalues.min() <= 0.0:
            return modes
        return replace(modes, wavenumber_error=wavenumber_errors(modes, self._potential, atoms))

    def evaluator(self, atoms: Atoms) -> Evaluator:
        """Return the model with its fastest execution."""
        numbers = torch.as_tensor(atoms.numbers)
        return evaluator_for(self._potential, numbers, charge=total_charge(atoms))


def level_named(name: str) -> Level:
    """Return a level of theory.

    Parameters
    ----------
    name
        ``general``, the shipped model of molecules of H, C, N and O; a model file (.eqc); or a
        method of ``eqcalc label``: ``gfn2``, ``dft``, ….
    """
    if name == "general":
        name = str(model_file(GENERAL_MODEL))
    return ModelLevel(name) if name.endswith(".eqc") else ReferenceLevel(method_named(name))


def default_level(atoms: Atoms) -> str:
    """Return ``general`` if its model was trained on molecules of this kind, else ``gfn2``."""
    compositions = Compositions.of_model(read_header(model_file(GENERAL_MODEL))["metadata"])
    known = compositions is not None and compositions.contain(atoms.numbers)
    return "general" if known and not total_charge(atoms) else "gfn2"
