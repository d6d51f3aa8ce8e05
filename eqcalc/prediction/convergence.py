# SPDX-License-Identifier: MIT
"""When a model that is being fine-tuned is good enough: its spectrum in each round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from ase import Atoms

from eqcalc.facts import aligned
from eqcalc.harmonic import RelaxationError
from eqcalc.prediction.errors import ModelError
from eqcalc.prediction.level import ModelLevel
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.validation import count, positive
from eqcalc.workers import Processes

#: Labels of the first round and of each other one, of all labels; and at least so many.
_FIRST, _NEXT, LEAST = 1 / 3, 1 / 6, 4
#: Labels no longer help after so many rounds without a smaller change of the spectrum.
_PATIENCE = 2
#: The minima of a model with their modes; None for what is no minimum of it.
Spectra = Sequence[tuple[Atoms, HarmonicSpectrum] | None]


@dataclass(frozen=True, repr=False)
class ActiveLearning:
    """How far a model is fine-tuned.

    Parameters
    ----------
    folder
        Of the rounds; the same call continues what is in it.
    labels
        Most labels of the reference method.
    hours
        Wall time of all rounds, h. A label or fit that has begun is finished.
    tolerance
        Wanted half-width of 68 % of fundamentals, by the members of the model, cm⁻¹.
    area_tolerance
        The same of infrared intensities, as a part of the strongest.
    start_from
        Model to fine-tune: a file, or a shipped one.
    processes
        Labels computed at once; see :func:`eqcalc.labelling.label`.
    seed
        Random seed.
    """

    folder: Path
    labels: int = 60
    hours: float = 1.0
    tolerance: float = 3.0
    area_tolerance: float = 0.05
    start_from: str = "general"
    processes: Processes = 1
    seed: int = 0

    def __post_init__(self) -> None:
        count("labels", self.labels, least=2 * LEAST)
        for key in ("hours", "tolerance", "area_tolerance"):
            positive(key, getattr(self, key))
        if not isinstance(self.processes, str):
            count("processes", self.processes)
        count("seed", self.seed, least=0)
        object.__setattr__(self, "folder", Path(self.folder))

    def __repr__(self) -> str:
        """Return the expression that makes it."""
        stated = {f.name: getattr(self, f.name) for f in fields(self)[1:]}
        options = ", ".join(f"{name}={value!r}" for name, value in stated.items())
        return f"{type(self).__name__}({str(self.folder)!r}, {options})"

    def arguments(self) -> list[str]:
        """Return the arguments of ``eqcalc predict`` that say the same, but for the folder."""
        names = ("labels", "hours", "tolerance", "area_tolerance", "start_from")
        stated = [(f"--{name.replace('_', '-')}", str(getattr(self, name))) for name in names]
        return [part for pair in stated for part in pair]

    def batch(self, labelled: int) -> int:
        """Return how many labels a round adds to those there are."""
        share = _NEXT if labelled else _FIRST
        return min(max(math.ceil(share * self.labels), LEAST), self.labels - labelled)

    def rounds(self) -> list[int]:
        """Return how many labels each round adds, if nothing stops it early."""
        found: list[int] = []
        while sum(found) < self.labels:
            found.append(self.batch(sum(found)))
        return found


@dataclass(frozen=True)
class Round:
    """What a round has led to.

    Parameters
    ----------
    number
        From one.
    labels
        All that the reference method was asked for so far.
    wavenumber
        Harmonic wavenumbers of each minimum, none if it is lost, cm⁻¹.
    position_error
        Largest half-width of a fundamental, cm⁻¹.
    area_error
        Largest half-width of an infrared intensity, of the strongest.
    change
        Largest change of a wavenumber since the last round, or from the model at the start, cm⁻¹.
    seconds, labelling, training
        Wall time of the round and of its parts, s.
    cpu_seconds
        CPU time with that of processes, s.
    """

    number: int
    labels: int
    wavenumber: list[list[float]]
    position_error: float
    area_error: float
    change: float
    seconds: float
    labelling: float
    training: float
    cpu_seconds: float


def reason_to_stop(rounds: Sequence[Round], options: ActiveLearning) -> str | None:
    """Return why a round is the last one, or None."""
    last = rounds[-1]
    position, area = last.position_error, last.area_error
    stated = f"half-widths of at most {position:.1f} cm⁻¹ and {100.0 * area:.1f} % of the strongest"
    if position <= options.tolerance and area <= options.area_tolerance:
        return f"converged, {stated} band"
    if last.labels + LEAST > options.labels:
        return f"all labels are used, not converged ({stated} band)"
    if sum(r.seconds for r in rounds) >= 3600.0 * options.hours:
        return f"the hours are over, not converged ({stated} band)"
    changes = [r.change for r in rounds]
    before, recent = changes[:-_PATIENCE], changes[-_PATIENCE:]
    if before and min(recent) >= min(before):
        text = f"more labels no longer help: the spectrum changed by {last.change:.1f} cm⁻¹"
        return f"{text}, not less than before; not converged ({stated} band)"
    return None


def minima_spectra(
    level: ModelLevel, minima: Sequence[Atoms]
) -> list[tuple[Atoms, HarmonicSpectrum] | None]:
    """Return the minima of a model with their modes, None for what is no minimum of it."""
    found: list[tuple[Atoms, HarmonicSpectrum] | None] = []
    for atoms in minima:
        try:
            relaxed = level.relaxed(atoms)
        except RelaxationError:
            found.append(None)
            continue
        modes = level.modes(relaxed)
        found.append((relaxed, modes) if modes.eigenvalues.min() > 0.0 else None)
    return found


def wavenumbers(spectra: Spectra) -> list[list[float]]:
    """Return the harmonic wavenumbers of each minimum, none if it is lost, cm⁻¹."""
    return [[] if one is None else one[1].wavenumber.tolist() for one in spectra]


def largest_change(before: Sequence[Sequence[float]], now: Sequence[Sequence[float]]) -> float:
    """Return the largest change of a wavenumber; infinite if no minimum is left."""
    both = [(a, b) for a, b in zip(before, now, strict=True) if a and b]
    return max((float(np.abs(np.subtract(a, b)).max()) for a, b in both), default=math.inf)


def largest_errors(
    spectra: Spectra,
    errors: Sequence[ModelError | None],
) -> tuple[float, float]:
    """Return the largest errors of positions, and of areas as parts of the strongest."""
    positions, areas = [], []
    for one, error in zip(spectra, errors, strict=True):
        if one is None or error is None or error.infrared is None:
            return math.inf, math.inf
        positions.append(float(error.wavenumber.max()))
        areas.append(float(error.infrared.max() / one[1].infrared_intensity.max()))
    return max(positions), max(areas)


def summary(
    spectra: Spectra,
    errors: Sequence[ModelError | None],
) -> str:
    """Return the harmonic bands of each minimum with the half-widths of their fundamentals."""
    parts = []
    for i, (one, error) in enumerate(zip(spectra, errors, strict=True), 1):
        if one is None or error is None or error.infrared is None:
            parts.append(f"minimum {i}: none of this model")
            continue
        rows = [["mode", "harmonic", "±", "infrared", "±"]]
        rows.append(["", "cm⁻¹", "cm⁻¹", "km/mol", "km/mol"])
        columns = (one[1].wavenumber, error.wavenumber, one[1].infrared_intensity, error.infrared)
        for k, values in enumerate(zip(*columns, strict=True), 1):
            rows.append([f"ν{k}", *(f"{x:.1f}" for x in values)])
        parts.append(f"minimum {i}, harmonic; ±: disagreement of members\n{aligned(rows, (0,))}")
    return "\n\n".join(parts) + "\n"
