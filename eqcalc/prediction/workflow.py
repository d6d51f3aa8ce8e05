# SPDX-License-Identifier: MIT
"""From a molecule to its spectrum: conformers, quantum vibrations, rotation, populations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from eqcalc.anharmonic import (
    AnharmonicSpectrum,
    anharmonic_spectrum,
    harmonic_fundamentals,
    perturbed_spectrum,
    separated_motions,
    with_motions,
)
from eqcalc.files import GENERAL_MODEL, model_file
from eqcalc.harmonic import evaluator_spectrum, mode_smoothness
from eqcalc.labelling import conformers, same_conformer
from eqcalc.models.compositions import unknown_composition, unknown_kind
from eqcalc.normal_modes import NormalModes, principal_axes
from eqcalc.prediction.active_learning import fine_tuned, learnt_quantities
from eqcalc.prediction.bands import Conformer
from eqcalc.prediction.convergence import ActiveLearning
from eqcalc.prediction.errors import HARMONIC, VCI, Calibration, of_intensities
from eqcalc.prediction.level import Level, ModelLevel, ReferenceLevel
from eqcalc.prediction.planning import (
    LARGEST_ANHARMONIC,
    LEFT_OUT,
    QUALITIES,
    requested_learning,
    requested_level,
    requested_molecule,
    treatment_of,
)
from eqcalc.prediction.point_groups import symmetry
from eqcalc.prediction.result import Prediction
from eqcalc.runtime.evaluator import Evaluator
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.units import BOLTZMANN, SECOND_RADIATION_CONSTANT
from eqcalc.validation import InvalidInputError, non_negative, one_of, positive

#: Conformers of a smaller population are left out.
_RARE = 0.02
#: How often saddle points are left, and by how much of the atom that moves most, Å.
_ATTEMPTS, _PUSH = 4, 0.3
#: Modes of the largest molecule whose GVPT2 fits into memory.
_PERTURBED = 21


def predict(
    molecule: str | Atoms,
    *,
    level: str | Level | None = None,
    quality: str = "quick",
    temperature: float = 298.15,
    fwhm: float = 4.0,
    isotopes: Mapping[str, float | str] | None = None,
    charge: int | None = None,
    learning: ActiveLearning | None = None,
    progress: bool = False,
) -> Prediction:
    """Return the infrared (and, with a model, Raman) spectrum of a molecule in the gas phase.

    Conformers are searched and relaxed; the vibrations of each populated one are treated by
    VCI, torsions and inversions in one dimension; of molecules of more than twelve atoms all are
    scaled harmonic ones. Lines get the envelope of a rigid top; conformers are weighted by their
    free energies.

    Parameters
    ----------
    molecule
        A structure, or what :func:`~eqcalc.prediction.structure.molecule_from` reads.
    level
        See :func:`~eqcalc.prediction.level.level_named`: ``"general"``, ``"gfn2"``, ``"dft"``, a
        model file, …. By default the general model where it knows the molecule, else GFN2-xTB.
    quality
        ``"harmonic"``: harmonic vibrations, scaled if factors of the level are known; ``"quick"``:
        VCI in a small basis, on terms of three modes for molecules of up to nine modes and of two
        for larger ones; ``"standard"``: in a larger basis, of a model that is fine-tuned on labels
        of the level for this molecule; ``"best"``: always on terms of three.
    temperature
        K.
    fwhm
        Resolution, cm⁻¹.
    isotopes
        Masses by element or atom; see :func:`~eqcalc.molecules.isotope_masses`.
    charge
        By default that of the structure or SMILES string.
    learning
        Of quality ``"standard"``: folder, labels, hours and when the model is good enough.
    progress
        Show the progress of the learning and of VCI's energies.

    Raises
    ------
    InvalidInputError
        The molecule is unknown, too large, a radical, an atom or periodic; or the quality is
        unknown.
    """
    atoms = requested_molecule(molecule, isotopes, charge)
    one_of("quality", quality, QUALITIES)
    positive("temperature", temperature, unit="K")
    positive("fwhm", fwhm, unit="cm⁻¹")
    source = requested_level(level, atoms)
    name = molecule if isinstance(molecule, str) else str(atoms.symbols)
    notes: list[str] = []
    if (options := requested_learning(quality, learning)) is not None:
        learnt_quantities(source)
        assert isinstance(source, ReferenceLevel)
        learnt = fine_tuned(atoms, source, options, temperature=temperature, progress=progress)
        notes += [learnt.note(source.name), LEFT_OUT]
        source = learnt.level
    treated, left_out = _minima(atoms, source, temperature)
    notes += ["a conformer was left out: it is no minimum"] * left_out
    if not treated:
        raise InvalidInputError("no minimum was found", key="molecule", value=name)
    free = np.array([found.free_energy for found in treated])
    weights = np.exp(-(free - free.min()) / (BOLTZMANN * temperature))
    weights /= weights.sum()
    kept = np.flatnonzero(weights >= _RARE)
    result = [
        _conformer(
            treated[k].atoms,
            treated[k].modes,
            source,
            quality,
            temperature,
            float(weights[k] / weights[kept].sum()),
            float(free[k] - free.min()),
            progress,
        )
        for k in kept
    ]
    anharmonic = result[0].treatment == VCI
    if not anharmonic:
        notes += _of_harmonic(result[0])
    elif any(c.perturbed is None for c in result):
        notes.append(
            "no GVPT2: it takes an energy that is smooth at the minimum (eqcalc evaluate "
            f"--smoothness) and at most {_PERTURBED} modes"
        )
    if result[0].spectrum.polarizability_derivative is None:
        notes.append(
            "no Raman spectrum: this level gives no polarizabilities here; use a model with them"
        )
    if isinstance(source, ModelLevel):
        unknown = unknown_composition(source.potential.metadata, atoms.numbers)
        notes += [unknown] if unknown else []
        if source.file == model_file(GENERAL_MODEL) and (kind := unknown_kind(atoms)):
            notes.append(f"the general model is wrong about {kind}; another level knows them")
    calibration = source.calibration(VCI if anharmonic else HARMONIC)
    if calibration is not None and not anharmonic:
        calibration = calibration.unbiased()  # positions are scaled
    notes += _of_errors(source.name, calibration, result[0])
    result.sort(key=lambda conformer: -conformer.weight)
    asked: dict[str, Any] = {}
    if isinstance(molecule, str) and source.given:
        asked = {"molecule": molecule, "level": source.given, "quality": quality}
        asked |= {"temperature": temperature, "fwhm": fwhm}
        asked |= {} if charge is None else {"charge": charge}
        asked |= {"isotopes": dict(isotopes)} if isotopes else {}
        asked |= {} if learning is None else {"learning": learning}
    return Prediction(
        name, source.name, temperature, fwhm, tuple(result), tuple(notes), asked, calibration
    )


def _of_harmonic(conformer: Conformer) -> Iterator[str]:
    """Yield what harmonic vibrations leave out."""
    if len(conformer.atoms) > LARGEST_ANHARMONIC:
        yield (
            "vibrations are harmonic, without overtones and combination bands: VCI takes molecules "
            f"of at most {LARGEST_ANHARMONIC} atoms"
        )
    else:
        yield "vibrations are harmonic, without overtones and combination bands; see quality quick"


def _of_errors(level: str, calibration: Calibration | None, conformer: Conformer) -> Iterator[str]:
    """Yield what the errors mean, and which are not stated."""
    if calibration is None:
        yield (
            f"the error of the level of theory comes on top: {level} was not compared with "
            "measured fundamentals"
        )
    else:
        yield (
            "errors are half-widths of 68 %, as they were for "
            f"{calibration.bands} measured fundamentals of {calibration.molecules} molecules of "
            "H, C, N and O"
        )
        if conformer.treatment == VCI:
            yield "those of overtones and combinations are extrapolated"
    if conformer.model_error is not None:
        yield of_intensities(calibration)
    elif "model" in conformer.spectrum.provenance:
        yield "the model does not state its own error"


def _conformer(
    atoms: Atoms,
    modes: NormalModes,
    level: Level,
    quality: str,
    temperature: float,
    weight: float,
    free_energy: float,
    progress: bool,
) -> Conformer:
    """Return the spectrum of a conformer."""
    evaluator = level.evaluator(atoms)
    if treatment_of(quality, len(atoms), len(modes)) is None:
        return _harmonic(atoms, modes, level, evaluator, temperature, weight, free_energy)
    at_rest, motions = separated_motions(atoms, modes)
    treatment = treatment_of(quality, len(atoms), len(modes) - len(at_rest))
    spectrum = anharmonic_spectrum(
        modes, evaluator, treatment, at_rest=at_rest, temperature=temperature, progress=progress
    )
    spectrum = with_motions(spectrum, at_rest, motions, modes, evaluator, temperature)
    if not isinstance(modes, HarmonicSpectrum):
        modes = evaluator_spectrum(modes, evaluator)
    perturbed = _perturbed(modes, evaluator, at_rest)
    stated = level.model_error(modes, atoms)
    return Conformer(atoms, weight, free_energy, spectrum, motions, modes, perturbed, stated)


def _harmonic(
    atoms: Atoms,
    modes: NormalModes,
    level: Level,
    evaluator: Evaluator,
    temperature: float,
    weight: float,
    free_energy: float,
) -> Conformer:
    """Return the spectrum of a conformer with harmonic vibrations."""
    if not isinstance(modes, HarmonicSpectrum):
        modes = evaluator_spectrum(modes, evaluator)
    constants = level.calibration(HARMONIC)
    scale = np.ones(len(modes)) if constants is None else constants.scale(modes.wavenumber)
    spectrum = harmonic_fundamentals(modes, evaluator, scale, temperature=temperature)
    stated = level.model_error(modes, atoms)
    return Conformer(atoms, weight, free_energy, spectrum, (), modes, model_error=stated)


class _Minimum(NamedTuple):
    """A relaxed conformer; energies in eV."""

    atoms: Atoms
    modes: NormalModes
    energy: float
    free_energy: float


def _minima(atoms: Atoms, level: Level, temperature: float) -> tuple[list[_Minimum], int]:
    """Return the distinct minima of a molecule, and how many conformers are none."""
    found: list[_Minimum] = []
    left_out = 0
    for trial in conformers(atoms, level.method, rng=np.random.default_rng(0)):
        trial.set_masses(atoms.get_masses())
        relaxed, modes = _minimum(trial, level)
        energy = float(relaxed.get_potential_energy())
        if modes.eigenvalues[0] <= 0.0:
            left_out += 1
        elif not any(
            same_conformer(relaxed, other.atoms, energy - other.energy) for other in found
        ):
            free_energy = energy + _thermal(modes, relaxed, temperature)
            found.append(_Minimum(relaxed, modes, energy, free_energy))
    return found, left_out


def _minimum(atoms: Atoms, level: Level) -> tuple[Atoms, NormalModes]:
    """Return a minimum with its modes; saddle points are left along their lowest mode."""
    for _ in range(_ATTEMPTS):
        relaxed = level.relaxed(atoms)
        modes = level.modes(relaxed)
        if modes.eigenvalues[0] > 0.0:
            break
        atoms = relaxed.copy()
        along = modes.vectors[0]
        atoms.positions += _PUSH * along / np.linalg.norm(along, axis=1).max()
    return relaxed, modes


def _perturbed(
    modes: NormalModes, evaluator: Evaluator, at_rest: list[int]
) -> AnharmonicSpectrum | None:
    """Return the spectrum by GVPT2, None if it is too large or the energy not smooth."""
    active = [k for k in range(len(modes)) if k not in at_rest]
    if "forces" not in evaluator.quantities or len(active) > _PERTURBED:
        return None
    if not mode_smoothness(modes, evaluator).trusted[active].all():
        return None
    return perturbed_spectrum(modes, evaluator, at_rest=at_rest)


def _thermal(modes: NormalModes, atoms: Atoms, temperature: float) -> float:
    """Return the free energy of harmonic vibrations, rotation, symmetry and mirror images, eV.

    What all conformers have in common is left out.
    """
    kT = BOLTZMANN * non_negative("temperature", temperature)
    x = SECOND_RADIATION_CONSTANT * modes.wavenumber / temperature
    vibration = (0.5 * x + np.log1p(-np.exp(-x))).sum()
    moments = principal_axes(atoms.positions, atoms.get_masses())[0]
    rotation = 0.5 * np.log(np.maximum(moments, 1e-3)).sum()
    found = symmetry(atoms)
    images = np.log(2.0 if found.chiral else 1.0) - np.log(found.number)
    return float(kT * (vibration - rotation - images))
