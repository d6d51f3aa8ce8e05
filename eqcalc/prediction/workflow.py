# SPDX-License-Identifier: MIT
"""From a molecule to its spectrum: conformers, quantum vibrations, rotation, populations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from eqcalc.anharmonic import (
    AnharmonicSpectrum,
    Treatment,
    anharmonic_spectrum,
    perturbed_spectrum,
    separated_motions,
    with_motions,
)
from eqcalc.harmonic import evaluator_smoothness, evaluator_spectrum
from eqcalc.labelling import conformers, rotatable_bonds
from eqcalc.molecules import (
    isolated_molecule,
    isotope_masses,
    total_charge,
    unpaired_electrons,
)
from eqcalc.normal_modes import NormalModes, is_linear, principal_axes
from eqcalc.prediction.bands import Conformer
from eqcalc.prediction.errors import Calibration, calibration_of
from eqcalc.prediction.level import Level, default_level, level_named
from eqcalc.prediction.point_groups import ALMOST_LINEAR, symmetry
from eqcalc.prediction.result import Prediction
from eqcalc.prediction.structure import molecule_from
from eqcalc.progress import duration
from eqcalc.runtime.evaluator import Evaluator
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.units import BOLTZMANN, SECOND_RADIATION_CONSTANT
from eqcalc.validation import InvalidInputError, non_negative, one_of, positive

#: Largest molecule: the surface of more modes takes too many points.
LARGEST = 12
#: What is chosen of :meth:`~eqcalc.anharmonic.Treatment.for_modes` for each quality.
QUALITIES: dict[str, dict[str, int]] = {
    "quick": {"points": 12_500, "configurations": 1000},
    "best": {"coupling": 3},
}
#: Conformers of a smaller population are left out.
_RARE = 0.02
#: Points of the relaxed scan of a torsion times the steps of each relaxation.
_SCAN = 36 * 15
#: Largest output of a conformer with its page, bytes.
_OUTPUT = 5_000_000
#: Atomic numbers of d- and f-block elements, whose ground states are not told by their charge.
_METALS = {*range(21, 31), *range(39, 49), *range(57, 81), *range(89, 113)}
#: Modes of the largest molecule whose GVPT2 fits into memory.
_PERTURBED = 21


@dataclass(frozen=True)
class Plan:
    """What a prediction is going to do.

    Parameters
    ----------
    molecule
        Formula and charge.
    level
        Level of theory.
    treatment
        Of the vibrations.
    conformers
        Number of trial conformers.
    points
        Configurations evaluated for each conformer.
    seconds
        Expected time of one conformer, from calls that were timed on this machine.
    space
        Space on the disk that must be free, bytes.
    source
        The level of theory itself, which :func:`predict` takes as well.
    """

    molecule: str
    level: str
    treatment: Treatment
    conformers: int
    points: int
    seconds: float
    space: int
    source: Level

    def __str__(self) -> str:
        """Return the plan as text."""
        return (
            f"{self.molecule} at {self.level}: {self.conformers} trial conformers; for each that "
            f"is populated VCI with {self.treatment.quanta} quanta on terms of up to "
            f"{self.treatment.coupling} modes, {self.points} points, about "
            f"{duration(self.seconds)}; up to {self.space / 1e6:.0f} MB of output"
        )


def predict(
    molecule: str | Atoms,
    *,
    level: str | Level | None = None,
    quality: str = "quick",
    temperature: float = 298.15,
    fwhm: float = 4.0,
    isotopes: Mapping[str, float | str] | None = None,
    charge: int | None = None,
) -> Prediction:
    """Return the infrared (and, with a model, Raman) spectrum of a molecule in the gas phase.

    Conformers are searched and relaxed; the vibrations of each populated one are treated by
    VCI, torsions and inversions in one dimension; lines get the envelope of a rigid top;
    conformers are weighted by their free energies.

    Parameters
    ----------
    molecule
        A structure, or what :func:`~eqcalc.prediction.structure.molecule_from` reads.
    level
        See :func:`~eqcalc.prediction.level.level_named`: ``"general"``, ``"gfn2"``, ``"dft"``, a
        model file, …. By default the general model where it knows the molecule, else GFN2-xTB.
    quality
        ``"quick"``: VCI in a small basis, on terms of three modes for molecules of up to nine
        modes and of two for larger ones; ``"best"``: always on terms of three, in a larger basis.
    temperature
        K.
    fwhm
        Resolution, cm⁻¹.
    isotopes
        Masses by element or atom; see :func:`~eqcalc.molecules.isotope_masses`.
    charge
        By default that of the structure or SMILES string.

    Raises
    ------
    InvalidInputError
        The molecule is unknown, too large, a radical, an atom or periodic; or the quality is
        unknown.
    """
    atoms = _prepared(molecule, isotopes, charge)
    one_of("quality", quality, QUALITIES)
    positive("temperature", temperature, unit="K")
    positive("fwhm", fwhm, unit="cm⁻¹")
    source = _level(level, atoms)
    name = molecule if isinstance(molecule, str) else str(atoms.symbols)
    found = conformers(atoms, source.method, rng=np.random.default_rng(0))
    treated, notes = [], []
    for trial in found:
        trial.set_masses(atoms.get_masses())
        relaxed = source.relaxed(trial)
        modes = source.modes(relaxed)
        if modes.eigenvalues.min() <= 0.0:
            notes.append("a conformer was left out: it is no minimum")
            continue
        energy = float(relaxed.get_potential_energy())
        treated.append((relaxed, modes, energy + _thermal(modes, relaxed, temperature)))
    if not treated:
        raise InvalidInputError("no minimum was found", key="molecule", value=name)
    free = np.array([energy for _, _, energy in treated])
    weights = np.exp(-(free - free.min()) / (BOLTZMANN * temperature))
    weights /= weights.sum()
    kept = np.flatnonzero(weights >= _RARE)
    result = [
        _conformer(
            treated[k][0],
            treated[k][1],
            source,
            quality,
            temperature,
            float(weights[k] / weights[kept].sum()),
            float(free[k] - free.min()),
        )
        for k in kept
    ]
    if any(c.perturbed is None for c in result):
        notes.append(
            "no GVPT2: it takes an energy that is smooth at the minimum (eqcalc evaluate "
            f"--smoothness) and at most {_PERTURBED} modes"
        )
    if result[0].spectrum.polarizability_derivative is None:
        notes.append(
            "no Raman spectrum: this level gives no polarizabilities here; use a model with them"
        )
    calibration = calibration_of(source.key)
    notes += _of_errors(source.name, calibration, result[0])
    result.sort(key=lambda conformer: -conformer.weight)
    asked: dict[str, Any] = {}
    if isinstance(molecule, str) and source.given:
        asked = {"molecule": molecule, "level": source.given, "quality": quality}
        asked |= {"temperature": temperature, "fwhm": fwhm}
        asked |= {} if charge is None else {"charge": charge}
        asked |= {"isotopes": dict(isotopes)} if isotopes else {}
    return Prediction(
        name, source.name, temperature, fwhm, tuple(result), tuple(notes), asked, calibration
    )


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
            f"{calibration.bands} measured fundamentals of {calibration.molecules} molecules; "
            "those of overtones and combinations are extrapolated"
        )
    if conformer.model_error is not None:
        yield "errors of intensities are those of the model alone, one standard deviation"
    elif "model" in conformer.spectrum.provenance:
        yield "the model does not state its own error"


def plan(
    molecule: str | Atoms,
    *,
    level: str | Level | None = None,
    quality: str = "quick",
    isotopes: Mapping[str, float | str] | None = None,
    charge: int | None = None,
) -> Plan:
    """Return what :func:`predict` would do, and how long it would take on this machine.

    The arguments are those of :func:`predict`.
    """
    atoms = _prepared(molecule, isotopes, charge)
    one_of("quality", quality, QUALITIES)
    source = _level(level, atoms)
    linear = is_linear(atoms.positions, atoms.get_masses(), ALMOST_LINEAR)  # not relaxed yet
    n_modes = 3 * len(atoms) - 6 + linear
    treatment = Treatment.for_modes(n_modes, **QUALITIES[quality])
    wanted = ("energy", "forces", "dipole")
    names = tuple(name for name in wanted if name in source.method.quantities)
    source.method.label(atoms, names)  # the first call is slower
    call = _seconds(lambda: source.method.label(atoms, names))
    size = 1000
    square = np.random.default_rng(0).normal(size=(size, size))
    diagonalisation = _seconds(lambda: np.linalg.eigh(square + square.T))
    points = treatment.points(n_modes)
    bonds = len(rotatable_bonds(atoms))
    # three variants and their corrections take about as long as six diagonalisations
    configurations = treatment.configurations(n_modes)
    seconds = call * (points + 6 * len(atoms) + bonds * _SCAN)
    seconds += 6.0 * diagonalisation * (configurations / size) ** 3
    formula = str(atoms.symbols.formula.format("hill"))
    charged = f", charge {total_charge(atoms):+g}" if total_charge(atoms) else ""
    trials = min(3**bonds, 243)
    return Plan(
        formula + charged,
        source.name,
        treatment,
        trials,
        points,
        float(seconds),
        trials * _OUTPUT,
        source,
    )


def _level(level: str | Level | None, atoms: Atoms) -> Level:
    """Return the level of theory that was asked for."""
    level = level or default_level(atoms)
    return level_named(level) if isinstance(level, str) else level


def _seconds(work: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _prepared(
    molecule: str | Atoms, isotopes: Mapping[str, float | str] | None, charge: int | None
) -> Atoms:
    """Return the molecule that was asked for."""
    atoms = isolated_molecule(molecule_from(molecule) if isinstance(molecule, str) else molecule)
    atoms = atoms.copy()
    if charge is not None:
        atoms.info["charge"] = charge
        atoms.set_initial_magnetic_moments(None)  # those of another charge
    if not 2 <= len(atoms) <= LARGEST:
        raise InvalidInputError(
            key="molecule",
            value=f"{len(atoms)} atoms",
            expected=f"2 to {LARGEST} atoms",
            advice="for larger molecules use eqcalc label, train and simulate",
        )
    atoms.set_masses(isotope_masses(atoms, dict(isotopes or {})))
    if metals := sorted(_METALS & {*atoms.numbers.tolist()}):
        raise InvalidInputError(
            "has a metal whose spin state is not known",
            key="molecule",
            value=str(atoms.symbols),
            expected=f"a molecule without {', '.join(chemical_symbols[z] for z in metals)}",
            advice="use eqcalc label with a method that states the spin, train and simulate",
        )
    if unpaired_electrons(atoms):
        raise InvalidInputError(
            "is a radical: it has unpaired electrons",
            key="molecule",
            value=str(atoms.symbols),
            expected="a closed shell",
            advice="state a charge, or use eqcalc label, train and simulate",
        )
    return atoms


def _conformer(
    atoms: Atoms,
    modes: NormalModes,
    level: Level,
    quality: str,
    temperature: float,
    weight: float,
    free_energy: float,
) -> Conformer:
    """Return the spectrum of a conformer."""
    at_rest, motions = separated_motions(atoms, modes)
    evaluator = level.evaluator(atoms)
    treatment = Treatment.for_modes(len(modes) - len(at_rest), **QUALITIES[quality])
    spectrum = anharmonic_spectrum(
        modes, evaluator, treatment, at_rest=at_rest, temperature=temperature
    )
    spectrum = with_motions(spectrum, at_rest, motions, modes, evaluator, temperature)
    if not isinstance(modes, HarmonicSpectrum):
        modes = evaluator_spectrum(modes, evaluator)
    perturbed = _perturbed(modes, evaluator, at_rest)
    stated = level.model_error(modes, atoms)
    return Conformer(atoms, weight, free_energy, spectrum, motions, modes, perturbed, stated)


def _perturbed(
    modes: NormalModes, evaluator: Evaluator, at_rest: list[int]
) -> AnharmonicSpectrum | None:
    """Return the spectrum by GVPT2, None if it is too large or the energy not smooth."""
    active = [k for k in range(len(modes)) if k not in at_rest]
    if "forces" not in evaluator.quantities or len(active) > _PERTURBED:
        return None
    if not evaluator_smoothness(modes, evaluator).trusted[active].all():
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
