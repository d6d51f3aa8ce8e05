# SPDX-License-Identifier: MIT
"""What a prediction is going to do, and how long it takes: counted from units that are timed."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from eqcalc.anharmonic import Treatment
from eqcalc.facts import aligned
from eqcalc.labelling import conformational_bonds, rotatable_bonds
from eqcalc.models.checkpoint import load_model
from eqcalc.molecules import isolated_molecule, isotope_masses, total_charge, unpaired_electrons
from eqcalc.normal_modes import is_linear
from eqcalc.prediction.active_learning import learnt_quantities
from eqcalc.prediction.convergence import ActiveLearning
from eqcalc.prediction.level import (
    Level,
    ModelLevel,
    ReferenceLevel,
    default_level,
    level_named,
    start_level,
)
from eqcalc.prediction.point_groups import ALMOST_LINEAR
from eqcalc.prediction.proposals import calls
from eqcalc.prediction.structure import molecule_from
from eqcalc.progress import duration
from eqcalc.runtime.evaluator import Evaluator
from eqcalc.training.few_labels import seconds_of_fits
from eqcalc.validation import InvalidInputError, MissingExtraError, one_of
from eqcalc.workers import parallelism

#: Largest molecule, and the largest whose vibrations are not harmonic: the surface of more modes
#: takes too many points.
LARGEST, LARGEST_ANHARMONIC = 40, 12
#: What is chosen of :meth:`~eqcalc.anharmonic.Treatment.for_modes` for each quality; None for
#: harmonic vibrations.
QUALITIES: dict[str, dict[str, int] | None] = {
    "harmonic": None,
    "quick": {"points": 12_500, "configurations": 1000},
    "standard": {},
    "best": {"points": sys.maxsize},
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
#: Structures of a batch that is timed, if a call takes less than so many seconds.
_TIMED, _SHORT = 128, 0.05
#: Levels for molecules that no model knows.
_LEVELS = ("gfn2", "dft")
#: Steps of the relaxation of a trial conformer for each atom; displacements of each mode for errors
#: of a model.
_STEPS, _MEMBERS = 10, 150
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
        Of the vibrations; None if they are harmonic.
    conformers
        Number of trial conformers.
    points
        Configurations evaluated for each conformer.
    search, seconds
        Expected time of the search for conformers, and of each that is found, from calls that were
        timed on this machine.
    space
        Space on the disk that must be free, bytes.
    source
        The level of theory itself, which :func:`predict` takes as well.
    learning
        What is learnt first, if anything is.
    """

    molecule: str
    level: str
    treatment: Treatment | None
    conformers: int
    points: int
    search: float
    seconds: float
    space: int
    source: Level
    learning: LearningCost | None = None

    def __str__(self) -> str:
        """Return the plan as text."""
        learnt = "" if self.learning is None else f"{self.learning}\n"
        treated = "harmonic vibrations"
        if self.treatment is not None:
            treated = f"VCI with {self.treatment.quanta} quanta on terms of up to "
            treated += f"{self.treatment.coupling} modes"
        return (
            f"{learnt}{self.molecule} at {self.level}: {self.conformers} trial conformer"
            f"{'s' if self.conformers > 1 else ''}, about {duration(self.search)}; for each that "
            f"is populated {treated}, {self.points} points, about {duration(self.seconds)}; up to "
            f"{self.space / 1e6:.0f} MB of output"
            + ("" if self.learning is None or self.treatment is None else f"\n{LEFT_OUT}")
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
    evaluator = (source if cost is None else cost.start).evaluator(atoms)
    work = _Work.of(evaluator, atoms)
    treatment = treatment_of(quality, len(atoms), work.n_modes)
    points, seconds = work.of_conformer(treatment, isinstance(source, ModelLevel))
    formula = str(atoms.symbols.formula.format("hill"))
    charged = f", charge {total_charge(atoms):+g}" if total_charge(atoms) else ""
    return Plan(
        formula + charged,
        source.name,
        treatment,
        work.trials,
        points,
        work.search,
        seconds,
        work.trials * _OUTPUT + (0 if cost is None else cost.space),
        source,
        cost,
    )


def other_levels(
    molecule: str | Atoms,
    *,
    isotopes: Mapping[str, float | str] | None = None,
    charge: int | None = None,
) -> str:
    """Return how long a molecule takes at levels that are trained on none, as text.

    The arguments are those of :func:`predict`. A call of each level is timed.
    """
    atoms = requested_molecule(molecule, isotopes, charge)
    rows = [["--level", "--quality", "conformers", "spectrum of each"]]
    for name in _LEVELS:
        try:
            work = _Work.of(level_named(name).evaluator(atoms), atoms)
        except MissingExtraError as error:
            rows.append([name, str(error.advice), "", ""])
            continue
        for quality in ("harmonic", "quick"):
            treatment = treatment_of(quality, len(atoms), work.n_modes)
            if quality == "harmonic" or treatment is not None:
                times = [work.search, work.of_conformer(treatment, False)[1]]
                rows.append([name, quality, *map(duration, times)])
    return aligned(rows, (0, 1, 2, 3))


@dataclass(frozen=True)
class _Work:
    """What a molecule takes at a level.

    Parameters
    ----------
    n_atoms, n_modes
        Numbers of atoms and modes.
    bonds, trials
        Number of rotatable bonds and of trial conformers.
    call, point
        Time of a call with forces, and of a point of a surface, s.
    """

    n_atoms: int
    n_modes: int
    bonds: int
    trials: int
    call: float
    point: float

    @classmethod
    def of(cls, evaluator: Evaluator, atoms: Atoms) -> _Work:
        """Return the work that an evaluator takes, which is timed."""
        linear = is_linear(atoms.positions, atoms.get_masses(), ALMOST_LINEAR)  # not relaxed yet
        wanted = ("energy", "dipole", "polarizability")
        names = tuple(name for name in wanted if name in evaluator.quantities)
        one = torch.as_tensor(atoms.positions)[None]

        def call() -> Any:
            return evaluator(one, ("forces", *names))

        seconds = seconds_of(call)
        if seconds < 1.0:  # the first call is slower
            seconds = seconds_of(call)
        batch = one.repeat(_TIMED if seconds < _SHORT else 1, 1, 1)
        # points are evaluated in batches, which pay for a model
        point = seconds_of(lambda: evaluator(batch, names)) / len(batch)
        return cls(
            len(atoms),
            3 * len(atoms) - 6 + linear,
            len(rotatable_bonds(atoms)),
            min(3 ** len(conformational_bonds(atoms)), 243),
            seconds,
            point,
        )

    @property
    def search(self) -> float:
        """Time of the search for conformers, s."""
        return self.trials * _STEPS * self.n_atoms * self.call

    def of_conformer(self, treatment: Treatment | None, model: bool) -> tuple[int, float]:
        """Return the points, and the time [s], of a conformer at a level that is a model or not."""
        seconds = self.call * 6 * self.n_atoms
        if model:
            seconds += self.point * _MEMBERS * self.n_modes
        points = 2 * self.n_modes
        if treatment is not None:
            points = treatment.points(self.n_modes)
            seconds += self.call * self.bonds * _SCAN
            size = 1000
            square = np.random.default_rng(0).normal(size=(size, size))
            diagonalisation = seconds_of(lambda: np.linalg.eigh(square + square.T))
            # three variants and their corrections take about as long as six diagonalisations
            configurations = treatment.configurations(self.n_modes)
            seconds += 6.0 * diagonalisation * (configurations / size) ** 3
        return points, float(seconds + self.point * points)


def treatment_of(quality: str, n_atoms: int, n_modes: int) -> Treatment | None:
    """Return how far VCI is taken, None if vibrations are harmonic.

    Parameters
    ----------
    quality
        One of :data:`QUALITIES`.
    n_atoms
        Of the molecule.
    n_modes
        Number of modes that are treated.
    """
    choices = QUALITIES[quality]
    if choices is None or n_atoms > LARGEST_ANHARMONIC:
        return None
    return Treatment.for_modes(n_modes, **choices)


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
            advice="an atom has no vibrations"
            if len(atoms) < 2
            else "for larger molecules use eqcalc label, train and simulate",
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


# --- active learning: a first unit of each work is timed ----------------------------

#: Evaluations for the errors of one minimum: relaxations of members, and their cuts by mode.
_ERRORS = 400
#: Models that a round writes: with its members.
_FILES = 9


@dataclass(frozen=True)
class LearningCost:
    """What active learning is going to do.

    Parameters
    ----------
    options
        When to stop.
    method, quantities
        Reference method and what it is asked for.
    start
        The model that is fine-tuned.
    temperature
        Of the displacements that are proposed, K.
    label, call
        Time of a label and of a structure evaluated by the model, s.
    fits
        Time of the fit of each round, s.
    evaluations
        Structures that the model evaluates in each round.
    at_once
        Labels computed at once.
    """

    options: ActiveLearning
    method: str
    quantities: tuple[str, ...]
    start: ModelLevel
    temperature: float
    label: float
    call: float
    fits: tuple[float, ...]
    evaluations: tuple[int, ...]
    at_once: int

    @property
    def parts(self) -> dict[str, float]:
        """Time of each kind of work if all labels are computed, s."""
        return {
            "labels": self.label * self.options.labels / self.at_once,
            "fits": sum(self.fits),
            "proposals and errors": self.call * sum(self.evaluations),
        }

    @property
    def seconds(self) -> float:
        """Expected time, s: that of all labels, or the hours if they are fewer."""
        return min(sum(self.parts.values()), 3600.0 * self.options.hours)

    @property
    def space(self) -> int:
        """Space on the disk, bytes."""
        return _FILES * self.start.file.stat().st_size * len(self.options.rounds())

    def __str__(self) -> str:
        """Return the steps as text, one a line."""
        o, rounds = self.options, self.options.rounds()
        times = {name: duration(seconds) for name, seconds in self.parts.items()}
        raman = "" if "polarizability" in self.quantities else ", no Raman spectrum"
        in_time = "" if sum(self.parts.values()) < 3600.0 * o.hours else ", as far as there is time"
        return "\n".join(
            [
                f"1. structures: minima and Wigner displacements at {self.temperature:g} K by the "
                f"model of each round: {times['proposals and errors']} with the errors of 3",
                f"2. labels: {', '.join(self.quantities)} by {self.method}{raman}; up to "
                f"{o.labels} of {self.label:.2g} s, {self.at_once} at once: {times['labels']}",
                f"3. fits: {len(rounds)} rounds with {', '.join(map(str, rounds))} new labels, "
                f"from {self.start.given} ({self.start.name}): {times['fits']}; until half-widths "
                f"by the members are at most {o.tolerance:g} cm⁻¹ and "
                f"{100.0 * o.area_tolerance:g} % of the strongest band, labels no longer "
                f"help, or for {o.hours:g} h{in_time}",
                f"together {duration(self.seconds)} at most; 4. the spectrum of the last model:",
            ]
        )


def learning_cost(
    atoms: Atoms, reference: Level, options: ActiveLearning, temperature: float
) -> LearningCost:
    """Return what fine-tuning takes, from a label, a Jacobian and a call of the model.

    The arguments are those of :func:`~eqcalc.prediction.active_learning.fine_tuned`.
    """
    quantities = learnt_quantities(reference)
    assert isinstance(reference, ReferenceLevel)
    start = start_level(options.start_from, atoms)
    label = seconds_of(lambda: reference.method.label(atoms, quantities))
    if label < 1.0:  # the first one is slower
        label = seconds_of(lambda: reference.method.label(atoms, quantities))
    start.method.label(atoms, quantities)
    call = seconds_of(lambda: start.method.label(atoms, quantities))
    sizes = list(itertools.accumulate(options.rounds()))
    fits = seconds_of_fits(load_model(start.file), atoms, quantities, sizes)
    evaluations = tuple(calls(n, atoms) + _ERRORS for n in options.rounds())
    measured = (label, call, fits, evaluations, parallelism(options.processes))
    return LearningCost(options, reference.name, quantities, start, temperature, *measured)


def seconds_of(work: Callable[[], Any]) -> float:
    """Return how long a call takes, s."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
