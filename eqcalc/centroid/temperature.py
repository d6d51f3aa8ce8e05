# SPDX-License-Identifier: MIT
"""How far bands depend on the elevated temperature of the path integrals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from eqcalc.centroid.correction import corrected
from eqcalc.centroid.learning import LearningPlan, learn_correction
from eqcalc.dynamics import Equilibration, simulate
from eqcalc.spectra import Band, infrared

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator


def temperature_dependence(
    structures: Atoms | Sequence[Atoms],
    evaluator: Evaluator,
    folder: str | Path,
    *,
    temperature: float,
    elevated: Sequence[float] = (400.0, 500.0, 600.0),
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
