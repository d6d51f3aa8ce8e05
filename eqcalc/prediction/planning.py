# SPDX-License-Identifier: MIT
"""What a prediction is going to do, and how long it takes: counted from units that are timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from eqcalc.anharmonic import Treatment
from eqcalc.labelling import rotatable_bonds
from eqcalc.molecules import isolated_molecule, isotope_masses, total_charge, unpaired_electrons
from eqcalc.normal_modes import is_linear
from eqcalc.prediction.convergence import ActiveLearning
from eqcalc.prediction.level import Level, default_level, level_named
from eqcalc.prediction.point_groups import ALMOST_LINEAR
from eqcalc.prediction.structure import molecule_from
from eqcalc.prediction.timing import LearningCost, learning_cost, seconds_of
from eqcalc.progress import duration
from eqcalc.validation import InvalidInputError, one_of

#: Largest molecule: the surface of more modes takes too many points.
LARGEST = 12
#: What is chosen of :meth:`~eqcalc.anharmonic.Treatment.for_modes` for each quality.
QUALITIES: dict[str, dict[str, int]] = {
    "quick": {"points": 12_500, "configurations": 1000},
    "standard": {},
    "best": {"coupling": 3},
}
#: The quality that labels the molecule and fine-tunes a model.
LEARNT = "standard"
#: What the quality does not do.
LEFT_OUT = (
    "Te PIGS is left out: for molecules of this size VCI on the same surface is more accurate "
    "(eqcalc simulate --method Te-PIGS runs it with the last model)"
)
#: Points of the relaxed scan of a torsion times the steps of each relaxation.
_SCAN = 36 * 15
#: Largest output of a conformer with its page, bytes.
_OUTPUT = 5_000_000
#: Atomic numbers of d- and f-block elements, whose ground states are not told by their charge.
_METALS = {*range(21, 31), *range(39, 49), *range(57, 81), *range(89, 113)}


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
    learning
        What is learnt first, if anything is.
    """

    molecule: str
    level: str
    treatment: Treatment
    conformers: int
    points: int
    seconds: float
    space: int
    source: Level
    learning: LearningCost | None = None

    def __str__(self) -> str:
        """Return the plan as text."""
        learnt = "" if self.learning is None else f"{self.learning}\n"
        return (
            f"{learnt}{self.molecule} at {self.level}: {self.conformers} trial conformers; for "
            f"each that is populated VCI with {self.treatment.quanta} quanta on terms of up to "
            f"{self.treatment.coupling} modes, {self.points} points, about "
            f"{duration(self.seconds)}; up to {self.space / 1e6:.0f} MB of output"
            + ("" if self.learning is None else f"\n{LEFT_OUT}")
        )


def plan(
    molecule: str | Atoms,
    *,
    level: str | Level | None = None,
    quality: str = "quick",
    isotopes: Mapping[str, float | str] | None = None,
    charge: int | None = None,
    temperature: float = 298.15,
    learning: ActiveLearning | None = None,
) -> Plan:
    """Return what :func:`predict` would do, and how long it would take on this machine.

    The arguments are those of :func:`predict`.
    """
    atoms = requested_molecule(molecule, isotopes, charge)
    one_of("quality", quality, QUALITIES)
    source = requested_level(level, atoms)
    options = requested_learning(quality, learning)
    cost = None if options is None else learning_cost(atoms, source, options, temperature)
    method = source.method if cost is None else cost.start.method
    linear = is_linear(atoms.positions, atoms.get_masses(), ALMOST_LINEAR)  # not relaxed yet
    n_modes = 3 * len(atoms) - 6 + linear
    treatment = Treatment.for_modes(n_modes, **QUALITIES[quality])
    wanted = ("energy", "forces", "dipole")
    names = tuple(name for name in wanted if name in method.quantities)
    method.label(atoms, names)  # the first call is slower
    call = seconds_of(lambda: method.label(atoms, names))
    size = 1000
    square = np.random.default_rng(0).normal(size=(size, size))
    diagonalisation = seconds_of(lambda: np.linalg.eigh(square + square.T))
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
        trials * _OUTPUT + (0 if cost is None else cost.space),
        source,
        cost,
    )


def requested_level(level: str | Level | None, atoms: Atoms) -> Level:
    """Return the level of theory that was asked for."""
    level = level or default_level(atoms)
    return level_named(level) if isinstance(level, str) else level


def requested_learning(quality: str, learning: ActiveLearning | None) -> ActiveLearning | None:
    """Return the options of active learning if the quality has it, else None.

    Raises
    ------
    InvalidInputError
        The quality has it without options, or they are given for another one.
    """
    if (quality == LEARNT) != (learning is not None):
        raise InvalidInputError(
            key="learning",
            value=learning,
            expected=f"an ActiveLearning with a folder for quality {LEARNT}, and for no other",
        )
    return learning


def requested_molecule(
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
