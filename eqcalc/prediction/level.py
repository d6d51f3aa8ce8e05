# SPDX-License-Identifier: MIT
"""Where energies and dipole moments of a prediction come from: a reference method or a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from eqcalc.anharmonic import one_mode_fundamentals
from eqcalc.calculator import EqCalculator
from eqcalc.facts import joined_levels
from eqcalc.files import model_file, shipped_models
from eqcalc.harmonic import evaluator_spectrum, harmonic_spectrum
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
from eqcalc.models.checkpoint import load_model
from eqcalc.models.compositions import general_model_extends_to, general_model_knows
from eqcalc.models.last_layers import last_layer_members
from eqcalc.models.potential import Potential
from eqcalc.molecules import total_charge
from eqcalc.normal_modes import NormalModes
from eqcalc.prediction.errors import Calibration, ModelError, calibration_of
from eqcalc.runtime import evaluator_for
from eqcalc.runtime.evaluator import Evaluator
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.validation import InvalidInputError

#: Largest force on a relaxed structure, eV/Å.
_RELAXED = 1e-4
#: Folder of the members of a fine-tuned model.
MEMBERS = "members"


class Level(Protocol):
    """A level of theory."""

    #: Level of theory, as text.
    name: str
    #: What its errors are known by (:func:`~eqcalc.prediction.errors.calibration_of`).
    key: str
    #: What :func:`level_named` made it from, or nothing.
    given: str
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

    def model_error(self, modes: NormalModes, relaxed: Atoms) -> ModelError | None:
        """Return what a model states of its own error, or None."""
        ...

    def calibration(self, treatment: str) -> Calibration | None:
        """Return the constants of the error of the level with a treatment, or None."""
        ...


class ReferenceLevel:
    """A reference method, called for every configuration; it has no polarizabilities here."""

    def __init__(self, method: Method, given: str = "") -> None:
        self.method: Method = method
        self.given = given
        self.name: str = joined_levels(method.level_of_theory)
        self.key = self.name

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

    def model_error(self, modes: NormalModes, relaxed: Atoms) -> ModelError | None:
        """Return None: there is no model."""
        return None

    def calibration(self, treatment: str) -> Calibration | None:
        """Return the constants of the level."""
        return calibration_of(self.key, treatment)


class ModelLevel:
    """A trained model, in double precision."""

    def __init__(self, path: str | Path, given: str = "") -> None:
        #: Its file.
        self.file = model_file(path)
        #: The model.
        self.potential = load_model(path, dtype=torch.float64)
        self.given = given or str(path)
        self.method: Method = as_method(EqCalculator(self.potential))
        self.name: str = f"{self.potential.facts()['level of theory']} (model {self.file.stem})"
        self.key = str(self.potential.metadata["hash"])

    def relaxed(self, atoms: Atoms) -> Atoms:
        """Return a tightly relaxed structure."""
        return relax_with_model(self.potential, atoms)

    def modes(self, atoms: Atoms) -> HarmonicSpectrum:
        """Return the normal modes from the exact Hessian."""
        return harmonic_spectrum(self.potential, atoms)

    def evaluator(self, atoms: Atoms) -> Evaluator:
        """Return the model with its fastest execution."""
        numbers = torch.as_tensor(atoms.numbers)
        return evaluator_for(self.potential, numbers, charge=total_charge(atoms))

    def members(self) -> list[Potential]:
        """Return members drawn from the distribution of the last layers; none without it."""
        if self.potential.last_layers is None:
            return []
        return last_layer_members(self.potential)

    def model_error(self, modes: NormalModes, relaxed: Atoms) -> ModelError | None:
        """Return the deviations of members of the model.

        Each has its own minimum, and there along the modes of the model its own fundamentals in
        cuts of one mode, and its own double-harmonic intensities.

        Parameters
        ----------
        modes
            Normal modes of the model itself.
        relaxed
            The molecule at the minimum of the model.

        Returns
        -------
        ModelError or None
            None if the model has no members.
        """
        if not (members := self.members()):
            return None
        numbers, charge = torch.as_tensor(relaxed.numbers), total_charge(relaxed)
        found = []
        for potential in (self.potential, *members):
            # forces of this size move a fundamental by far less than members differ
            at_rest = relax_with_model(potential, relaxed, fmax=1e-3)
            here = replace(modes, positions=at_rest.positions)
            evaluator = evaluator_for(potential, numbers, charge=charge)
            sticks = evaluator_spectrum(here, evaluator)
            found.append((one_mode_fundamentals(here, evaluator), sticks))
        (mean, sticks), *others = found

        def deviation(own: np.ndarray, of_members: list[np.ndarray]) -> np.ndarray:
            return np.sqrt(np.mean((np.array(of_members) - own) ** 2, axis=0))

        infrared = raman = None
        if sticks.dipole_derivative is not None:
            strengths = [other.infrared_intensity for _, other in others]
            infrared = deviation(sticks.infrared_intensity, strengths)
        if sticks.polarizability_derivative is not None:
            strengths = [other.raman_activity for _, other in others]
            raman = deviation(sticks.raman_activity, strengths)
        return ModelError(deviation(mean, [nu for nu, _ in others]), infrared, raman)

    def calibration(self, treatment: str) -> Calibration | None:
        """Return the constants of the model."""
        return calibration_of(self.key, treatment)


class FineTunedLevel(ModelLevel):
    """A model that was fine-tuned on labels of the molecule, with the errors of their level.

    Its members are the models in the folder :data:`MEMBERS` beside it.
    """

    def __init__(self, path: str | Path, reference: ReferenceLevel) -> None:
        super().__init__(path, reference.given)
        self.name = f"{reference.name} (fine-tuned model)"
        self._reference = reference

    def members(self) -> list[Potential]:
        """Return the members that were drawn when it was fitted."""
        files = sorted((self.file.parent / MEMBERS).glob("*.eqc"))
        return [load_model(file, dtype=torch.float64) for file in files]

    def calibration(self, treatment: str) -> Calibration | None:
        """Return the constants of the level that was learnt, with the error of the model."""
        found = self._reference.calibration(treatment)
        return None if found is None else found.of_model()


def start_level(name: str, atoms: Atoms) -> ModelLevel:
    """Return the model from which one for a molecule is fine-tuned.

    Parameters
    ----------
    name
        ``general``, another shipped model, or a model file.
    atoms
        The molecule.

    Raises
    ------
    InvalidInputError
        It is no model, or does not know an element of the molecule.
    """
    found = level_named(name)
    if not isinstance(found, ModelLevel):
        raise InvalidInputError(
            key="start_from",
            value=name,
            expected=f"a model file (.eqc), general, or one of {', '.join(shipped_models())}",
        )
    known = found.potential.references.elements
    if unknown := sorted({*atoms.numbers.tolist()} - {*known}):
        raise InvalidInputError(
            f"does not know {', '.join(chemical_symbols[z] for z in unknown)}",
            key="start_from",
            value=name,
            expected="a model of these elements to fine-tune",
            advice="without one, use quality quick or best with the method itself",
        )
    return found


def level_named(name: str) -> Level:
    """Return a level of theory.

    Parameters
    ----------
    name
        ``general``, the shipped model of molecules of H, C, N and O; another shipped model by its
        name; a model file (.eqc); or a method of ``eqcalc label``: ``gfn2``, ``dft``, ….
    """
    if model_file(name).suffix == ".eqc":
        return ModelLevel(name, name)
    try:
        return ReferenceLevel(method_named(name), name)
    except InvalidInputError as error:
        if error.key != "method":
            raise
        raise InvalidInputError(
            error.problem,
            key="level",
            value=name,
            expected=f"general, another shipped model, a model file (.eqc), or {error.expected}",
            suggestion=error.suggestion,
            advice="a density functional is named like dft:PBE0/def2-TZVP",
        ) from None


def default_level(atoms: Atoms) -> str:
    """Return ``general`` if its model is for molecules of this kind, else ``gfn2``."""
    known = general_model_knows(atoms) or general_model_extends_to(atoms)
    return "general" if known else "gfn2"
