# SPDX-License-Identifier: MIT
"""A model fine-tuned on labels of one molecule, in rounds, until its spectrum has converged.

Each round has a folder of ordinary files. What exists is not computed again, and labelling resumes
by itself, so that a run that was killed loses the label each process was at.

==================  =====================================================================
``candidates.h5``   the structures that were chosen (:mod:`eqcalc.prediction.proposals`)
``labels.h5``       the same with labels
``dataset.h5``      the labels of all rounds
``model.eqc``       the model that was fitted to them (:func:`eqcalc.training.tangent_fit`)
``members``         models drawn from its distribution
``minima.xyz``      its minima
``round.json``      what the round has led to (:class:`~eqcalc.prediction.convergence.Round`)
``summary.txt``     harmonic bands with the half-widths of fundamentals
==================  =====================================================================
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
from ase import Atoms

from eqcalc.datasets import Dataset
from eqcalc.files import exclusive, make_folder, replacing, write_atomically, write_record
from eqcalc.labelling import Method, OtherRunError, conformers, label
from eqcalc.labelling.method import selected_quantities
from eqcalc.models.checkpoint import save_model
from eqcalc.molecules import read_structures, total_charge
from eqcalc.prediction.convergence import (
    LEAST,
    ActiveLearning,
    Round,
    largest_change,
    largest_errors,
    minima_spectra,
    reason_to_stop,
    summary,
    wavenumbers,
)
from eqcalc.prediction.level import (
    MEMBERS,
    FineTunedLevel,
    Level,
    ModelLevel,
    ReferenceLevel,
    start_level,
)
from eqcalc.prediction.proposals import highest_energy, proposed
from eqcalc.progress import duration
from eqcalc.training import TOLERATED, tangent_fit
from eqcalc.validation import InvalidInputError
from eqcalc.workers import parallelism

#: Minima that are at most so far above the lowest are learnt, eV, and so many.
_WINDOW, _MINIMA = 0.2, 6
_QUANTITIES = ("energy", "forces", "dipole", "polarizability")


class FineTuned(NamedTuple):
    """The last model, its rounds, and why there are no more."""

    level: Level
    rounds: tuple[Round, ...]
    reason: str

    def note(self, method: str) -> str:
        """Return what was done as a sentence."""
        last = self.rounds[-1]
        return (
            f"the model was fine-tuned on {last.labels} labels of {method} in {last.number} "
            f"round{'s' * (last.number > 1)}, {duration(sum(r.seconds for r in self.rounds))}; "
            f"stopped: {self.reason}"
        )


def fine_tuned(
    atoms: Atoms,
    reference: ReferenceLevel,
    options: ActiveLearning,
    *,
    temperature: float = 298.15,
    progress: bool = False,
) -> FineTuned:
    """Return a model that was fine-tuned on labels of a molecule; the same call resumes.

    Parameters
    ----------
    atoms
        The molecule.
    reference
        Level of the labels.
    options
        When to stop.
    temperature
        Of the displacements that are proposed, K.
    progress
        Show the progress.

    Raises
    ------
    InvalidInputError
        The level cannot be learnt, or the model does not know the elements.
    OtherRunError
        The folder has the rounds of another molecule, level or model.
    BlockingIOError
        Another process works in the folder.
    """
    quantities = learnt_quantities(reference)
    start = start_level(options.start_from, atoms)
    make_folder(options.folder)
    with exclusive(options.folder / ".lock"):
        _same_run(atoms, reference.method, quantities, start, options, temperature)
        rounds = _Rounds(atoms, reference, start, options, temperature, progress)
        return rounds.run()


def learnt_quantities(reference: Level) -> tuple[str, ...]:
    """Return what is labelled and learnt.

    Raises
    ------
    InvalidInputError
        It is no reference method, or one without dipole moments.
    """
    if not isinstance(reference, ReferenceLevel):
        raise InvalidInputError(
            key="level",
            value=reference.given,
            expected="for this quality a method of eqcalc label that the model learns: "
            "dft:PBE0/def2-TZVP, gfn2, ase:…",
        )
    found = selected_quantities(reference.method)
    missing = [name for name in _QUANTITIES[:3] if name not in found]
    if missing:
        raise InvalidInputError(
            f"has no {', '.join(missing)}",
            key="level",
            value=reference.given or reference.name,
            expected="a method of energies, forces and dipole moments",
        )
    return tuple(name for name in _QUANTITIES if name in found)


def _same_run(
    atoms: Atoms,
    method: Method,
    quantities: Sequence[str],
    start: ModelLevel,
    options: ActiveLearning,
    temperature: float,
) -> None:
    """Note what is learnt from what, or check that it is what was begun."""
    file = options.folder / "learning.json"
    stated = {
        "method": method.name,
        "settings": method.settings(),
        "quantities": list(quantities),
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "masses": atoms.get_masses().tolist(),
        "charge": total_charge(atoms),
        "temperature": temperature,
        "start_from": start.key,
        "fit": TOLERATED,
        "seed": options.seed,
    }
    if not file.exists():
        write_record(file, stated)
        return
    found, now = json.loads(file.read_text(encoding="utf-8")), json.loads(json.dumps(stated))
    different = [key for key in now if found.get(key) != now[key]]
    if different:
        raise OtherRunError(file, different)


class _Rounds:
    """The rounds of one molecule."""

    def __init__(
        self,
        atoms: Atoms,
        reference: ReferenceLevel,
        start: ModelLevel,
        options: ActiveLearning,
        temperature: float,
        progress: bool,
    ) -> None:
        self._atoms, self._reference, self._start = atoms, reference, start
        self._quantities = learnt_quantities(reference)
        self._options, self._temperature, self._progress = options, temperature, progress

    def run(self) -> FineTuned:
        """Return the result of all rounds."""
        level, rounds = self._start, list[Round]()
        minima = self._first_minima(level)
        reason = None
        while reason is None:
            folder = self._options.folder / f"round-{len(rounds) + 1}"
            if (folder / "round.json").exists():
                found = Round(**json.loads((folder / "round.json").read_text(encoding="utf-8")))
                level = FineTunedLevel(folder / "model.eqc", self._reference)
                minima = _read_minima(folder / "minima.xyz")
            else:
                begun = (folder / "candidates.h5").exists()
                n = LEAST if begun else self._affordable(rounds, minima)
                if n < LEAST and rounds:
                    reason = "the hours do not suffice for another round, not converged"
                    break
                level, minima, found = self._round(folder, level, minima, rounds, max(n, LEAST))
            rounds.append(found)
            self._tell(found)
            reason = reason_to_stop(rounds, self._options)
        return FineTuned(level, tuple(rounds), reason)

    def _tell(self, found: Round) -> None:
        if self._progress:
            print(
                f"round {found.number}: {found.labels} labels, half-widths of at most "
                f"{found.position_error:.1f} cm⁻¹ and {100.0 * found.area_error:.1f} %, changed by "
                f"{found.change:.1f} cm⁻¹, {duration(found.seconds)}",
                file=sys.stderr,
                flush=True,
            )

    def _affordable(self, rounds: Sequence[Round], minima: Sequence[Atoms]) -> int:
        """Return how many labels there is time for in the next round."""
        done = rounds[-1].labels if rounds else 0
        wanted, hours = self._options.batch(done), self._options.hours
        if rounds:
            each = sum(r.labelling for r in rounds) / done
            besides = max(r.seconds - r.labelling for r in rounds)
        else:
            began = time.monotonic()
            self._reference.method.label(minima[0], self._quantities)
            each, besides = (time.monotonic() - began) / parallelism(self._options.processes), 0.0
        left = 3600.0 * hours - sum(r.seconds for r in rounds) - besides
        return min(wanted, max(0, int(left / max(each, 1e-6))))

    def _first_minima(self, level: ModelLevel) -> list[Atoms]:
        file = self._options.folder / "minima.xyz"
        if not file.exists():
            found = conformers(
                self._atoms,
                level.method,
                energy_window=_WINDOW,
                rng=np.random.default_rng(self._options.seed),
            )
            for trial in found:
                trial.set_masses(self._atoms.get_masses())
            _write_minima(file, found[:_MINIMA])
        return _read_minima(file)

    def _round(
        self,
        folder: Path,
        level: ModelLevel,
        minima: Sequence[Atoms],
        rounds: Sequence[Round],
        n: int,
    ) -> tuple[ModelLevel, list[Atoms], Round]:
        """Choose and label structures, train, and return the new model, minima and record."""
        times, cpu = [time.monotonic()], _cpu_seconds()
        make_folder(folder)
        before = None
        if rounds:
            before = Dataset.open(folder.parent / f"round-{len(rounds)}" / "dataset.h5")
        earlier = rounds[-1].wavenumber if rounds else wavenumbers(minima_spectra(level, minima))
        rng = np.random.default_rng((self._options.seed, len(rounds)))
        candidates = self._candidates(folder, level, minima, before, n, rng)
        times.append(time.monotonic())
        labels = self._labelled(folder, candidates)
        times.append(time.monotonic())
        self._fit(folder, self._dataset(folder, before, labels))
        level = FineTunedLevel(folder / "model.eqc", self._reference)
        times.append(time.monotonic())
        spectra = minima_spectra(level, minima)
        errors = [one and level.model_error(one[1], one[0]) for one in spectra]
        position, area = largest_errors(spectra, errors)
        moved = [old if one is None else one[0] for old, one in zip(minima, spectra, strict=True)]
        _write_minima(folder / "minima.xyz", moved)
        write_atomically(folder / "summary.txt", summary(spectra, errors))
        found = Round(
            number=len(rounds) + 1,
            labels=(rounds[-1].labels if rounds else 0) + len(candidates),
            wavenumber=wavenumbers(spectra),
            position_error=position,
            area_error=area,
            change=largest_change(earlier, wavenumbers(spectra)),
            seconds=time.monotonic() - times[0],
            labelling=times[2] - times[1],
            training=times[3] - times[2],
            cpu_seconds=_cpu_seconds() - cpu,
        )
        write_record(folder / "round.json", asdict(found))
        return level, moved, found

    def _candidates(
        self,
        folder: Path,
        level: ModelLevel,
        minima: Sequence[Atoms],
        before: Dataset | None,
        n: int,
        rng: np.random.Generator,
    ) -> Dataset:
        """Return the structures of a round that are labelled."""
        file = folder / "candidates.h5"
        if file.exists():
            return Dataset.open(file)
        spectra = [one for one in minima_spectra(level, minima) if one is not None]
        if not spectra:
            raise InvalidInputError("no minimum was found", key="molecule", value=self._atoms)
        known = [] if before is None else list(before)
        picked = proposed(level, spectra, n, self._temperature, rng, known)
        return Dataset.create(
            file, picked, level_of_theory="none", provenance={"proposed_by": level.key}
        )

    def _labelled(self, folder: Path, candidates: Dataset) -> Dataset:
        """Return the labels of a round."""
        file = folder / "labels.h5"
        if file.exists() and not file.with_name(f"{file.name}.journal").exists():
            return Dataset.open(file)
        return label(
            list(candidates),
            self._reference.method,
            file,
            quantities=self._quantities,
            processes=self._options.processes,
            progress=self._progress,
            provenance={"proposed_by": candidates.provenance["proposed_by"]},
        ).dataset

    def _dataset(self, folder: Path, before: Dataset | None, labels: Dataset) -> Dataset:
        """Return the labels so far, but for those of very high energies."""
        file = folder / "dataset.h5"
        if file.exists():
            return Dataset.open(file)
        old = [] if before is None else list(before)
        energies = [float(record.labels["energy"]) for record in (*old, *labels)]
        limit = min(energies) + 2.0 * highest_energy(len(self._atoms))
        new = [record for record in labels if float(record.labels["energy"]) <= limit]
        with labels.writer(file) as writer:
            writer.append([*old, *new])
        return Dataset.open(file)

    def _fit(self, folder: Path, dataset: Dataset) -> None:
        """Fit the model of the start to all labels, and write it after its members."""
        if (folder / "model.eqc").exists():
            return
        found = tangent_fit(self._start.file, dataset, seed=self._options.seed)
        make_folder(folder / MEMBERS)
        for number, member in enumerate(found.members, 1):
            save_model(member, folder / MEMBERS / f"{number}.eqc")
        save_model(found.model, folder / "model.eqc")


def _write_minima(file: Path, minima: Sequence[Atoms]) -> None:
    with replacing(file) as temporary:
        ase.io.write(temporary, [atoms.copy() for atoms in minima], format="extxyz")


def _read_minima(file: Path) -> list[Atoms]:
    return read_structures([file])


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it has waited for, s."""
    return sum(os.times()[:4])
