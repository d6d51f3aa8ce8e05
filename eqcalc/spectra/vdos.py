# SPDX-License-Identifier: MIT
"""Vibrational density of states from velocities, in states per cm⁻¹."""

from __future__ import annotations

from typing import Any

import numpy as np

from eqcalc.spectra.estimation import Estimation, grouped
from eqcalc.spectra.signals import TrajectoryLike, read_series
from eqcalc.spectra.spectrum import Spectrum

__all__ = ["vibrational_density_of_states"]


def vibrational_density_of_states(
    data: TrajectoryLike | Any = None,
    masses: np.ndarray | None = None,
    *,
    interval: float | None = None,
    temperature: float | None = None,
    unit: str | None = None,
    method: str | None = None,
    timestep: float | None = None,
    n_beads: int | None = None,
    atoms: np.ndarray | None = None,
    **estimation: Any,
) -> Spectrum:
    """Return g(ν̃) = (K/T) Σ mᵢ ∫⟨vᵢ(0)·vᵢ(t)⟩ cos(2πcν̃t) dt.

    Its integral is the number of classical degrees of freedom: 3N with thermal
    translation and rotation, 3N − 6 without.

    Parameters
    ----------
    data
        A trajectory with the observable ``"velocities"``, or the velocities
        ``[n_replicas, n_frames, n_atoms, 3]``, one replica of them, or a list
        of replicas of different length. For ring polymers, of the centroid.
    masses
        ``[n_atoms]``, amu; a trajectory knows them.
    interval, temperature, method, timestep, n_beads
        See :func:`eqcalc.spectra.infrared`.
    unit
        Unit of the velocities, such as ``"Å/fs"``.
    atoms
        Indices of the atoms that are counted; all by default.
    estimation
        Window, resolution, errors: see :class:`eqcalc.spectra.Estimation`.
    """
    if masses is None:
        masses = getattr(data, "masses", None)
    if masses is None:
        raise TypeError("masses: must be stated for plain arrays, in amu")
    masses = np.asarray(masses, dtype=float)
    trajectory = hasattr(data, "observable")
    if trajectory and "velocities" not in data.observables():
        raise ValueError(
            "the trajectory has no 'velocities'; it has: "
            f"{', '.join(data.observables()) or 'nothing'}"
        )
    velocities = _Velocities(data) if trajectory else None
    series = read_series(
        velocities,
        None if trajectory else data,
        name="positions" if trajectory else "velocities",
        shapes=[(len(masses), 3)],
        interval=interval,
        temperature=temperature,
        unit=unit,
        method=method,
        timestep=timestep,
        n_beads=n_beads,
    )
    selected = np.arange(len(masses)) if atoms is None else np.asarray(atoms)
    root = np.sqrt(masses[selected])[:, None]

    def weighted(frames: np.ndarray) -> np.ndarray:
        return (frames[:, selected] * root).reshape(len(frames), -1)

    n_components = 3 * len(selected)
    signals = series.signals("Å", n_components, weighted)
    density = Estimation(**estimation).density(series, signals, grouped(slice(0, n_components)))
    return Spectrum(
        wavenumber=density.wavenumber,
        values=density.values[0],
        unit="states per cm⁻¹",
        label="vibrational density of states",
        samples=None if density.samples is None else density.samples[:, 0],
        n_independent=density.n_independent,
        provenance={"spectrum": "vibrational density of states", **density.provenance},
        warnings=density.warnings,
    )


class _Velocities:
    """A trajectory whose velocities are seen as the recorded rate of its positions."""

    def __init__(self, trajectory: Any) -> None:
        self._trajectory = trajectory

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trajectory, name)

    def observables(self) -> tuple[str, ...]:
        return ("positions_rate",)

    def observable(self, name: str) -> Any:
        return self._trajectory.observable("velocities")
