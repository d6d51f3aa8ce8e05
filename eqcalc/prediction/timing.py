# SPDX-License-Identifier: MIT
"""What active learning is going to do, and how long: a first unit of each work is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import Atoms

from eqcalc.datasets import Dataset, Record
from eqcalc.prediction.active_learning import SPLIT, learnt_quantities, training_settings
from eqcalc.prediction.convergence import ActiveLearning
from eqcalc.prediction.level import Level, ModelLevel, ReferenceLevel, start_level
from eqcalc.prediction.proposals import calls
from eqcalc.progress import duration
from eqcalc.training import TrainingConfig, train

#: Structures and epochs of the training that is timed.
_STRUCTURES, _EPOCHS = 20, 3
#: Evaluations for the errors of one minimum: relaxations of members, and their cuts by mode.
_ERRORS = 400
#: Files of a round, in sizes of the model: checkpoint with the optimiser, two models.
_FILES = 6


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
        Of the dynamics that proposes structures, K.
    label, step, call
        Time of a label, of a step of the optimiser and of a structure evaluated by the model, s.
    n_atoms
        Number of atoms.
    """

    options: ActiveLearning
    method: str
    quantities: tuple[str, ...]
    start: ModelLevel
    temperature: float
    label: float
    step: float
    call: float
    n_atoms: int

    @property
    def parts(self) -> dict[str, float]:
        """Time of each kind of work if all labels are computed, s."""
        rounds = self.options.rounds()
        proposals = sum(calls(n, self.n_atoms) + _ERRORS for n in rounds)
        return {
            "labels": self.label * self.options.labels / self.options.processes,
            "training": self.step * self.options.steps * len(rounds),
            "proposals and errors": self.call * proposals,
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
                f"1. structures: minima, classical and ring-polymer dynamics at "
                f"{self.temperature:g} K, Wigner displacements and nodes of the n-mode surface, by "
                "the model of each round; chosen by its disagreement and their distance: "
                f"{times['proposals and errors']} with the errors of 3",
                f"2. labels: {', '.join(self.quantities)} by {self.method}{raman}; up to "
                f"{o.labels} of {self.label:.2g} s, {o.processes} at once: {times['labels']}",
                f"3. training: {len(rounds)} rounds with {', '.join(map(str, rounds))} new labels, "
                f"{o.steps} steps each, from {self.start.given} ({self.start.name}): "
                f"{times['training']}; until half-widths by the members are at most "
                f"{o.tolerance:g} cm⁻¹ and {100.0 * o.area_tolerance:g} % of the strongest band, "
                f"labels no longer help, or for {o.hours:g} h{in_time}",
                f"together {duration(self.seconds)} at most; 4. the spectrum of the last model:",
            ]
        )


def learning_cost(
    atoms: Atoms, reference: Level, options: ActiveLearning, temperature: float
) -> LearningCost:
    """Return what fine-tuning takes, from a label, some steps and a call of the model.

    The arguments are those of :func:`~eqcalc.prediction.active_learning.fine_tuned`.
    """
    quantities = learnt_quantities(reference)
    assert isinstance(reference, ReferenceLevel)
    start = start_level(options.start_from, atoms)
    began = time.perf_counter()
    labels = reference.method.label(atoms, quantities)
    label = time.perf_counter() - began
    if label < 1.0:  # the first one is slower
        label = seconds_of(lambda: reference.method.label(atoms, quantities))
    start.method.label(atoms, quantities)
    call = seconds_of(lambda: start.method.label(atoms, quantities))
    record = Record.from_atoms(atoms, labels)
    step = _step(record, quantities, reference.name, start)
    return LearningCost(
        options, reference.name, quantities, start, temperature, label, step, call, len(atoms)
    )


def seconds_of(work: Callable[[], Any]) -> float:
    """Return how long a call takes, s."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _step(record: Record, quantities: Sequence[str], level: str, start: ModelLevel) -> float:
    """Return the time of a step of the optimiser, s."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = np.arange(_STRUCTURES)
        dataset = Dataset.create(
            folder / "labels.h5", [record] * _STRUCTURES, level_of_theory=level
        )
        with dataset.writer(folder / "dataset.h5") as writer:
            writer.append(dataset)
            writer.add_split(SPLIT, {"training": rows, "validation": rows[:2]})
        dataset = Dataset.open(folder / "dataset.h5")
        settings = training_settings(dataset, _STRUCTURES, 1)
        settings |= {"output": str(folder / "training"), "model": {"start_from": str(start.file)}}
        settings["stopping"]["epochs"] = _EPOCHS
        batch = settings["optimizer"]["batch_size"]
        found = train(TrainingConfig.from_settings(settings), progress=False)
        seconds = 3600.0 * float(found.record["hours"])
    return seconds * batch / (_STRUCTURES * _EPOCHS)
