# SPDX-License-Identifier: MIT
"""Learn the correction of a potential: path integrals, labels, training and test in one folder."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from eqcalc.centroid.correction import (
    corrected,
    correction_error,
    store_correction,
    train_correction,
)
from eqcalc.centroid.forces import (
    RELAXATION,
    classical_forces,
    constrained_forces,
    sampled_forces,
)
from eqcalc.dynamics import Equilibration, simulate
from eqcalc.files import make_folder
from eqcalc.models.checkpoint import load_model
from eqcalc.models.committee import charge_of
from eqcalc.models.potential import Potential
from eqcalc.molecules import atomic_masses
from eqcalc.normal_modes import NormalModes, finite_difference_hessian
from eqcalc.progress import duration
from eqcalc.runtime import evaluator_for
from eqcalc.spectra import Band, infrared
from eqcalc.units import SECOND_RADIATION_CONSTANT
from eqcalc.validation import InvalidInputError, positive_fields

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator

#: Lowest elevated temperature that is chosen, for molecules that rotate and have hydrogen [K].
_ELEVATED = 600.0
#: Beads in units of ħω/k_BT of the fastest mode; the spread of the ring is then 3 % too small.
_BEADS = 2.0
#: Displacement of a coordinate for the fastest mode [Å].
_STEP = 0.01


@dataclass(frozen=True)
class LearningPlan:
    """What is computed to learn a correction.

    Parameters
    ----------
    temperature
        Elevated temperature of the path integrals [K].
    beads
        Beads of each ring.
    labels, interval
        Number of rings for training, and the time between them [fs].
    replicas, timestep, equilibration
        Of the path integrals; times in fs.
    tests, test_time
        Number of centroids that are held for the test, and the time of each average [fs].
    epochs
        Length of the training.
    """

    temperature: float
    beads: int
    labels: int = 10_000
    interval: float = 4.0
    replicas: int = 32
    timestep: float = 0.5
    equilibration: float = 200.0
    tests: int = 16
    test_time: float = 400.0
    epochs: int = 40

    def __post_init__(self) -> None:
        positive_fields(self, *(field.name for field in fields(self)))

    @classmethod
    def for_molecule(
        cls,
        atoms: Atoms,
        evaluator: Evaluator,
        *,
        temperature: float,
        elevated: float | None = None,
        masses: ArrayLike | Mapping[str, float] | None = None,
        **others: float,
    ) -> LearningPlan:
        """Return a plan for a molecule whose dynamics is at `temperature` [K].

        Parameters
        ----------
        elevated
            Elevated temperature [K], by default the higher of `temperature` and 600 K.
        masses
            See :func:`~eqcalc.dynamics.simulate`.
        others
            Fields of the plan; the beads are by default twice ħω/k_BT of the fastest mode.

        Raises
        ------
        InvalidInputError
            The elevated temperature is lower than that of the dynamics.
        """
        elevated = max(temperature, _ELEVATED) if elevated is None else elevated
        if elevated < temperature:
            raise InvalidInputError(
                key="elevated_temperature",
                value=elevated,
                expected=f"at least {temperature:g} K, the temperature of the dynamics",
            )
        forces = functools.partial(classical_forces, evaluator)
        hessian = finite_difference_hessian(atoms.positions, forces, _STEP)
        modes = NormalModes.from_hessian(atoms.positions, atomic_masses(atoms, masses), hessian)
        fastest = float(modes.wavenumber.max())
        needed = _BEADS * SECOND_RADIATION_CONSTANT * fastest / elevated
        chosen = {"beads": max(2, math.ceil(needed)), **others}
        return cls(temperature=elevated, **chosen)  # type: ignore[arg-type]

    @property
    def evaluations(self) -> int:
        """Number of configurations whose forces are evaluated, besides the training."""
        sampling = self.labels * self.interval + self.replicas * self.equilibration
        test = self.tests * (self.equilibration + RELAXATION + self.test_time)
        return round((sampling + test) / self.timestep) * self.beads

    def told(self, evaluator: Evaluator, atoms: Atoms) -> str:
        """Return what will be done and how long the path integrals take, from a timed call."""
        batch = np.repeat(atoms.positions[None], self.replicas * self.beads, axis=0)
        classical_forces(evaluator, batch)  # the first call is slower
        began = time.perf_counter()
        classical_forces(evaluator, batch)
        seconds = (time.perf_counter() - began) / len(batch) * self.evaluations
        return (
            f"path integrals at {self.temperature:g} K, {self.beads} beads: {self.labels} labels "
            f"and a test of {self.tests} centroids, {self.evaluations} evaluations, about "
            f"{duration(seconds)}; then {self.epochs} epochs of training"
        )


def learn_correction(
    structures: Atoms | Sequence[Atoms],
    evaluator: Evaluator,
    folder: str | Path,
    plan: LearningPlan,
    *,
    seed: int = 0,
    masses: ArrayLike | Mapping[str, float] | None = None,
    progress: bool = True,
) -> Potential:
    """Learn δV, the correction of a potential to that of the centroid.

    Path integrals give the labels, a small network is trained on them, and its errors are those
    on centroids that were held. The same call resumes each step; with the result in the folder
    it returns that.

    Parameters
    ----------
    structures
        Starting structure, or several conformers.
    evaluator
        The potential V.
    folder
        Receives ``path-integrals.h5``, ``centroid-forces.h5``, ``training/``,
        ``constrained.h5`` and the result ``correction.eqc``.
    plan
        What is computed.
    seed, masses, progress
        See :func:`~eqcalc.dynamics.simulate`.

    Returns
    -------
    Potential
        δV for :func:`~eqcalc.centroid.corrected`; its metadata have the errors.

    Raises
    ------
    InvalidInputError, UnstableDynamicsError
        See :func:`~eqcalc.dynamics.simulate` and :func:`eqcalc.training.train`.
    """
    folder = Path(folder)
    make_folder(folder)
    common: dict[str, Any] = {
        "temperature": plan.temperature,
        "beads": plan.beads,
        "timestep": plan.timestep,
        "equilibration": plan.equilibration,
        "masses": masses,
        "progress": progress,
    }
    dataset = sampled_forces(
        structures,
        evaluator,
        folder,
        labels=plan.labels,
        interval=plan.interval,
        replicas=plan.replicas,
        seed=seed,
        **common,
    )
    target = folder / "correction.eqc"
    if target.exists():
        return load_model(target, device=str(evaluator.numbers.device))
    correction = train_correction(
        dataset, folder / "training", epochs=plan.epochs, seed=seed, progress=progress
    )
    reference = constrained_forces(
        structures,
        evaluator,
        folder / "constrained.h5",
        replicas=plan.tests,
        time=plan.test_time,
        seed=seed + 1,
        **common,
    )
    charge = charge_of(evaluator)
    learned = evaluator_for(correction, evaluator.numbers.cpu(), charge=charge)
    store_correction(correction, correction_error(learned, reference), target)
    return load_model(target, device=str(evaluator.numbers.device))


def temperature_dependence(
    structures: Atoms | Sequence[Atoms],
    evaluator: Evaluator,
    folder: str | Path,
    *,
    temperature: float,
    elevated: Sequence[float] = (500.0, 600.0, 700.0),
    limits: tuple[float, float] = (2500.0, 4500.0),
    time: float = 2.0,
    timestep: float = 0.5,
    replicas: int = 64,
    seed: int = 0,
    progress: bool = True,
    plan: Mapping[str, Any] | None = None,
) -> dict[float, Band]:
    """Return an infrared band by Te PIGS for several elevated temperatures.

    A low one has the curvature problem of centroid dynamics, which shifts stretching bands
    down and broadens them; a high one has lost quantum statistics, which shifts them up. A band
    that moves little between them can be trusted. Each temperature costs as much as
    :func:`~eqcalc.centroid.learn_correction`; the same call resumes.

    Parameters
    ----------
    structures, evaluator, temperature, timestep, replicas, seed, progress
        See :func:`~eqcalc.dynamics.simulate`.
    folder
        Receives a folder for each temperature.
    elevated
        Elevated temperatures [K].
    limits
        Range of the band [cm⁻¹].
    time
        Length of each run [ps].
    plan
        Fields of the :class:`~eqcalc.centroid.LearningPlan`.
    """
    first = structures if isinstance(structures, Atoms) else structures[0]
    found = {}
    for hot in elevated:
        place = Path(folder) / f"{hot:g}K"
        how = LearningPlan.for_molecule(
            first, evaluator, temperature=temperature, elevated=hot, **(plan or {})
        )
        correction = learn_correction(
            structures, evaluator, place, how, seed=seed, progress=progress
        )
        trajectory = simulate(
            structures,
            corrected(evaluator, correction),
            output=place / "dynamics.h5",
            method="Te-PIGS",
            temperature=temperature,
            timestep=timestep,
            steps=round(1000.0 * time / timestep),
            seed=seed,
            replicas=replicas,
            equilibration=Equilibration(500.0),
            observables={"dipole": max(1, round(1.0 / timestep))},
            progress=progress,
        )
        found[hot] = infrared(trajectory, frequency_correction=True).band(*limits)
    return found
