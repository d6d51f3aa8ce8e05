# SPDX-License-Identifier: MIT
"""What a reader of the outputs of i-PI should know before trusting them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import t as student

from eqcalc.ipi.checkpoints import Checkpoint
from eqcalc.ipi.description import System
from eqcalc.units import BOLTZMANN, FEMTOSECOND

#: Parts of a single run whose scatter gives the error of its mean.
_BLOCKS = 5
#: Shorter parts than this [fs] see one swing of a vibration.
_SHORTEST = 50.0
#: Probability of a normal variable below 3 σ.
_CERTAIN = 0.99865
_ALL = "mean kinetic temperature"
_CENTROID = "mean kinetic temperature of the centroid"
#: Nothing acts on the centroid; in the first two on no mode.
_FREE = ("NVE", "RPMD", "T-RPMD", "PA-CMD")
#: Relative deviations below this are never told.
_SMALL = 0.02


def failed_file(prefix: str) -> str:
    """Return the name of the file for a system that has left the limits of the dynamics."""
    return f"{prefix}.failed.extxyz" if prefix else "failed.extxyz"


class RunWarning(UserWarning):
    """A run of i-PI is not finished, has lost records, or is not at its temperature."""


def progress_notes(state: Checkpoint, found: Mapping[str, tuple[int, np.ndarray]]) -> list[str]:
    """Return how far a run is, if it is not at its end, and what its outputs lack.

    Parameters
    ----------
    state
        Its last checkpoint.
    found
        Stride and values ``[n_replicas, n_frames, ...]`` of each observable.
    """
    total = state.description.total_steps
    last = {name: stride * (values.shape[1] - 1) for name, (stride, values) in found.items()}
    notes = []
    done = max(state.step, *last.values())
    if done < total:
        notes.append(f"the run is not finished: {done} of {total} steps are done")
    notes += [
        f"the run was stopped because the molecule in {path.name} has left the limits of the "
        "dynamics"
        for path in sorted(state.path.parent.glob(f"*{failed_file(state.description.prefix)}"))
    ]
    ends: dict[int, list[str]] = {}
    for name, (stride, values) in found.items():
        # the stride of a single record is not known
        if values.shape[1] > 1 and last[name] + stride <= state.step:
            ends.setdefault(last[name], []).append(name)
    for step, names in sorted(ends.items()):
        notes.append(
            f"{', '.join(names)}: the outputs end at step {step}, but {state.path.name} says that "
            f"{state.step} of {total} steps are done: the rest was lost"
        )
    return notes


def temperature_notes(system: System, found: Mapping[str, tuple[int, np.ndarray]]) -> list[str]:
    """Return a note for each mean kinetic temperature that is far from the one of the ensemble.

    Far is more than what corresponds to three standard errors, which are those of the mean
    over replicas, of a single one those over parts of it: what this run had, not what
    another would have.

    Parameters
    ----------
    system
        One of the systems, which are replicas of each other.
    found
        Stride and values ``[n_replicas, n_frames, ...]`` of each observable.
    """
    series: dict[str, tuple[int, np.ndarray]] = {}
    freedom = 3 * len(system.numbers) - 3
    if freedom < 1:
        return []
    counts = {_ALL: freedom * system.n_beads, _CENTROID: freedom}
    if "temperature" in found:
        series[_ALL] = found["temperature"]
    if "velocities" in found:
        stride, velocities = found["velocities"]
        velocities = velocities / FEMTOSECOND
        twice = np.einsum("i,rfia,rfia->rf", system.masses, velocities, velocities)
        # i-PI counts the fixed centre of mass as if it were thermal, so this is better
        name = _ALL if system.n_beads == 1 else _CENTROID
        series[name] = stride, twice / (freedom * BOLTZMANN)
    notes = []
    for name, (stride, values) in series.items():
        parts = _independent(values, stride * system.timestep)
        if len(parts) < 2:
            continue
        mean, error = parts.mean(), parts.std(ddof=1) / np.sqrt(len(parts))
        limit = student.ppf(_CERTAIN, len(parts) - 1) * error
        if abs(mean - system.temperature) > max(limit, _SMALL * system.temperature):
            spread = system.temperature / np.sqrt(counts[name])
            kept = _FREE if name == _CENTROID else _FREE[:2]
            advice = (
                "a single system keeps for long what its start had; run several (eqcalc ipi input "
                "--start)"
                if len(values) == 1
                and system.method in kept
                and abs(mean - system.temperature) < 2.0 * spread
                else "start from equilibrium (eqcalc ipi input --equilibration), or run longer"
            )
            notes.append(
                f"the {name} is {mean:.0f} ({error:.0f}) K, not {system.temperature:g} K, and "
                f"intensities are off by about their ratio: {advice}"
            )
    return notes


def _independent(values: np.ndarray, interval: float) -> np.ndarray:
    """Return means of replicas, or of parts of a single one if it is long enough.

    Parameters
    ----------
    values
        ``[n_replicas, n_frames]``.
    interval
        Time between frames [fs].
    """
    if len(values) > 1:
        return values.mean(axis=1)
    frames = values.shape[1]
    if frames < 2 * _BLOCKS or frames * interval < _BLOCKS * _SHORTEST:
        return np.zeros(0)
    return np.array([part.mean() for part in np.array_split(values[0], _BLOCKS)])
