# SPDX-License-Identifier: MIT
"""Power and cross spectra of any series: which wavenumbers observables move at."""

from __future__ import annotations

from typing import Any

import numpy as np

from eqcalc.spectra.estimator.correlation import Signal
from eqcalc.spectra.estimator.estimation import Estimation, Pairs, grouped
from eqcalc.spectra.series import Series, TrajectoryLike, read_series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import SPECTRAL_PREFACTOR, SPEED_OF_LIGHT_CM_PER_FS


def power_spectrum(
    values: Any,
    *,
    interval: float,
    unit: str,
    label: str = "power spectrum",
    remove_mean: bool = True,
    **estimation: Any,
) -> Spectrum:
    """Return S(ν̃) with ∫S dν̃ = ⟨|x|²⟩, summed over components.

    Parameters
    ----------
    values
        ``[n_replicas, n_frames, ...]``, or a list of replicas of different
        length.
    interval
        Time between frames, fs.
    unit
        Unit of the values, for the record: bond lengths, angles, charges,
        energies, anything.
    label
        What they are.
    remove_mean
        Subtract the mean over all replicas and times, without which its square
        is in the first points.
    estimation
        See :class:`eqcalc.spectra.Estimation`; corrections of derivatives do
        not apply.
    """
    flat = _flattened(values, "values", remove_mean)
    n_components = flat[0].shape[1]
    pairs = grouped(slice(0, n_components))
    return _spectrum(flat, pairs, interval, f"({unit})² per cm⁻¹", label, "power", estimation)


def cross_spectrum(
    first: Any,
    second: Any,
    *,
    interval: float,
    unit: str,
    label: str = "cross spectrum",
    remove_mean: bool = True,
    **estimation: Any,
) -> Spectrum:
    """Return the co-spectrum S(ν̃) with ∫S dν̃ = ⟨x·y⟩: where two observables move together.

    The transform of the time-symmetric correlation function
    ½⟨x(0)·y(t) + y(0)·x(t)⟩; it is negative where they move against each other.

    Parameters
    ----------
    first, second
        ``[n_replicas, n_frames, ...]`` of the same shape, or lists of replicas
        of different length.
    unit
        Unit of the product, for the record.
    interval, label, remove_mean, estimation
        See :func:`power_spectrum`.
    """
    x = _flattened(first, "first", remove_mean)
    y = _flattened(second, "second", remove_mean)
    if [a.shape for a in x] != [b.shape for b in y]:
        raise ValueError("first and second: expected replicas of the same shapes")
    n = x[0].shape[1]
    joined = [np.concatenate(both, axis=1) for both in zip(x, y, strict=True)]
    pairs = [(slice(0, n), slice(n, 2 * n))]
    return _spectrum(joined, pairs, interval, f"{unit} per cm⁻¹", label, "cross", estimation)


def _flattened(values: Any, name: str, remove_mean: bool) -> list[np.ndarray]:
    """Return replicas ``[n_frames, n_components]`` without their common mean."""
    arrays = [np.asarray(replica, dtype=float) for replica in values]
    if not arrays or any(a.ndim < 1 or a.shape[1:] != arrays[0].shape[1:] for a in arrays):
        raise ValueError(f"{name}: expected replicas [n_frames, ...] with the same trailing shape")
    flat = [a.reshape(len(a), -1) for a in arrays]
    if not all(np.isfinite(a).all() for a in flat):
        raise ValueError(f"{name}: contains numbers that are not finite")
    if remove_mean:
        mean = sum(a.sum(0) for a in flat) / sum(map(len, flat))
        flat = [a - mean for a in flat]
    return flat


def _spectrum(
    flat: list[np.ndarray],
    pairs: Pairs,
    interval: float,
    unit: str,
    label: str,
    kind: str,
    estimation: dict[str, Any],
) -> Spectrum:
    if not interval > 0.0:
        raise ValueError(f"interval: expected a positive time in fs, got {interval}")
    # the kernel of a spectrum without its 1/(k_B T)
    series = Series(tuple(flat), float(interval), 1.0, unit, rate=True)
    signals = [Signal.from_array(a) for a in flat]
    density = Estimation(**estimation).density(series, signals, pairs)
    scale = 2.0 * SPEED_OF_LIGHT_CM_PER_FS / SPECTRAL_PREFACTOR
    provenance = {
        k: v
        for k, v in density.provenance.items()
        if k not in ("temperature_K", "derivative", "method")
    }
    return Spectrum(
        wavenumber=density.wavenumber,
        values=density.values[0] * scale,
        unit=unit,
        label=label,
        samples=None if density.samples is None else density.samples[:, 0] * scale,
        n_independent=density.n_independent,
        provenance={"spectrum": kind, **provenance},
        warnings=density.warnings,
    )


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
