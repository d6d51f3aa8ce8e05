# SPDX-License-Identifier: MIT
"""Power and cross spectra: of any series, of velocities (density of states), of coordinates."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ase
import numpy as np

from eqcalc.molecules import bonded_neighbours, bonds
from eqcalc.normal_modes import atomic_masses
from eqcalc.spectra.estimation import Estimation, grouped
from eqcalc.spectra.estimator.correlation import Pairs, Signal
from eqcalc.spectra.observable import (
    EstimationOptions,
    Observable,
    SpectrumOptions,
    estimated,
)
from eqcalc.spectra.quantum_factors import with_quantum_factor
from eqcalc.spectra.series import Series, finite_frames
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.trajectory import Trajectory
from eqcalc.units import SPECTRAL_PREFACTOR, SPEED_OF_LIGHT_CM_PER_FS
from eqcalc.validation import (
    InvalidInputError,
    array_of,
    indices,
    instance,
    real,
    shape,
    within,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


def power_spectrum(
    values: Series | Any,
    *,
    interval: float | None = None,
    unit: str | None = None,
    label: str = "power spectrum",
    remove_mean: bool = True,
    **estimation: Unpack[EstimationOptions],
) -> Spectrum:
    """Return S(ν̃) with ∫S dν̃ = ⟨|x|²⟩, summed over components.

    Parameters
    ----------
    values
        A series, ``[n_replicas, n_frames, ...]``, or a list of replicas of different
        length.
    interval
        Time between frames, fs, of arrays.
    unit
        Unit of the values, for the record, of arrays: bond lengths, angles, charges,
        energies, anything.
    label
        Label of the values.
    remove_mean
        Subtract the mean over all replicas and times, whose square would otherwise appear in the
        first points.
    estimation
        See :class:`eqcalc.spectra.Estimation`; corrections of derivatives do
        not apply.
    """
    series = _flattened(values, "values", interval, unit, remove_mean)
    pairs = grouped(slice(0, series.replicas[0].shape[1]))
    return _spectrum(series, pairs, f"({series.unit})² per cm⁻¹", label, "power", estimation)


def cross_spectrum(
    first: Series | Any,
    second: Series | Any,
    *,
    interval: float | None = None,
    unit: str,
    label: str = "cross spectrum",
    remove_mean: bool = True,
    **estimation: Unpack[EstimationOptions],
) -> Spectrum:
    """Return the co-spectrum S(ν̃) with ∫S dν̃ = ⟨x·y⟩: the common motion of two observables.

    The transform of the time-symmetric correlation function
    ½⟨x(0)·y(t) + y(0)·x(t)⟩; it is negative where they move in antiphase.

    Parameters
    ----------
    first, second
        Series or arrays as in :func:`power_spectrum`, of the same shape.
    unit
        Unit of the product, for the record.
    interval, label, remove_mean, estimation
        See :func:`power_spectrum`.
    """
    x = _flattened(first, "first", interval, unit, remove_mean)
    y = _flattened(second, "second", interval, unit, remove_mean)
    shapes, expected = ([r.shape for r in s.replicas] for s in (y, x))
    if shapes != expected or x.interval != y.interval:
        raise InvalidInputError(
            key="second", value=shapes, expected=f"replicas as in first: {expected}"
        )
    n = expected[0][1]
    joined = [np.concatenate(both, axis=1) for both in zip(x.replicas, y.replicas, strict=True)]
    pairs = [(slice(0, n), slice(n, 2 * n))]
    return _spectrum(
        replace(x, replicas=joined), pairs, f"{unit} per cm⁻¹", label, "cross", estimation
    )


def _flattened(
    values: Series | Any, name: str, interval: float | None, unit: str | None, remove_mean: bool
) -> Series:
    """Return a series of replicas ``[n_frames, n_components]`` without their common mean."""
    if not isinstance(values, Series):
        if interval is None or unit is None:
            raise InvalidInputError("must be stated for plain arrays", key="interval, unit")
        if not np.iterable(values):
            expected = "an array [n_replicas, n_frames, ...], or a list of replicas"
            raise InvalidInputError(key=name, value=values, expected=expected)
        values = Series([real(name, v) for v in values], interval, 1.0, unit, name)
    flat = [
        finite_frames(replica[:], f"{name}, {values.name(index)}").reshape(len(replica), -1)
        for index, replica in enumerate(values.replicas)
    ]
    if len({replica.shape[1] for replica in flat}) != 1:
        raise InvalidInputError(
            key=name, value=[r.shape for r in flat], expected="replicas of the same shape"
        )
    if remove_mean:
        mean = sum(replica.sum(0) for replica in flat) / sum(map(len, flat))
        flat = [replica - mean for replica in flat]
    # the kernel of a spectrum without 1/(k_B T) and time derivative
    return Series(flat, values.interval, 1.0, values.unit, values.quantity, rate=True)


def _spectrum(
    series: Series, pairs: Pairs, unit: str, label: str, kind: str, estimation: Any
) -> Spectrum:
    signals = [Signal.from_array(replica) for replica in series.replicas]
    density = Estimation(**estimation).density(series, signals, pairs)
    scale = 2.0 * SPEED_OF_LIGHT_CM_PER_FS / SPECTRAL_PREFACTOR
    spectrum = density.spectrum([scale], unit=unit, label=label, spectrum=kind)
    # metadata unknown for these series
    unknown = ("temperature_K", "derivative", "method", "correlation")
    record = {key: value for key, value in spectrum.provenance.items() if key not in unknown}
    return replace(spectrum, provenance=record)


def vibrational_density_of_states(
    data: Series | Trajectory | Any = None,
    masses: np.ndarray | None = None,
    *,
    atoms: np.ndarray | None = None,
    quantum_factor: str = "harmonic",
    **options: Unpack[SpectrumOptions],
) -> Spectrum:
    """Return g(ν̃) = (K/T) Σ mᵢ ∫⟨vᵢ(0)·vᵢ(t)⟩ cos(2πcν̃t) dt.

    Its integral is the number of classical degrees of freedom: 3N with thermal
    translation and rotation, 3N − 6 without.

    Parameters
    ----------
    data
        A trajectory with the observable ``"velocities"``, or with ``"positions"`` at shorter
        intervals, a series of velocities, or the velocities ``[n_replicas, n_frames, n_atoms,
        3]``, one replica of them, or a list of replicas of different length. For ring polymers,
        those of the centroid.
    masses
        ``[n_atoms]``, amu; taken from a trajectory.
    atoms
        Indices of the atoms to include; all by default.
    quantum_factor
        ``"standard"`` takes the quantum energy out of classical dynamics with a quantum thermostat
        or Wigner start, so that the integral counts degrees of freedom again.
    options
        See :func:`eqcalc.spectra.infrared`; the unit of arrays is such as ``"Å/fs"``.
    """
    if masses is None:
        masses = getattr(data, "masses", None)
    if masses is None:
        raise InvalidInputError("must be stated for plain arrays, in amu", key="masses")
    masses = atomic_masses(masses)
    selected = np.arange(len(masses))
    if atoms is not None:
        selected = shape("atoms", indices("atoms", atoms, len(masses)), ("n_selected",))
    root = np.sqrt(masses[selected])[:, None]

    def weighted(frames: np.ndarray) -> np.ndarray:
        return (frames[:, selected] * root).reshape(len(frames), -1)

    shapes = [(len(masses), 3)]
    recorded = _finest(data) if isinstance(data, Trajectory) else "velocities"
    momenta = Observable(recorded, shapes, "Å", 3 * len(selected), weighted)
    density, series = estimated(momenta, data, options, quantum_factor=quantum_factor)
    states = density.spectrum(
        [1.0],
        unit="states per cm⁻¹",
        label="vibrational density of states",
        spectrum="vibrational density of states",
    )
    return with_quantum_factor(states, series.temperature, quantum_factor)


def _finest(trajectory: Trajectory) -> str:
    """Return which of positions and velocities a trajectory has at shorter intervals."""
    found = [name for name in ("velocities", "positions") if name in trajectory.observables()]
    return min(found, key=trajectory.interval, default="velocities")


# --- internal coordinates -----------------------------------------------------------

# A coordinate is named by its atoms, ``0-8``, ``0-1-8`` and ``3-0-1-8`` (indices from zero), or by
# elements, ``O-H``, which stands for all chains of bonded atoms with these elements.

_KINDS = {2: ("distance", "Å"), 3: ("angle", "degree"), 4: ("dihedral angle", "degree")}
_EXPECTED = "two to four atoms as 0-8, 0-1-8 or 3-0-1-8, or bonded elements as O-H or C-O-H"


def internal_spectrum(trajectory: Trajectory, coordinate: str, **estimation: Any) -> Spectrum:
    """Return the power spectrum of an internal coordinate, ∫S dν̃ = Σ⟨(q − ⟨q⟩)²⟩.

    Parameters
    ----------
    trajectory
        A trajectory with positions.
    coordinate
        Its name, see the table of this module; several coordinates that elements stand for are
        summed.
    estimation
        See :class:`eqcalc.spectra.Estimation`.

    Returns
    -------
    Spectrum
        In Å² or degree² per cm⁻¹.

    Raises
    ------
    InvalidInputError
        There is no such coordinate.
    """
    series = Series.from_trajectory(trajectory, "positions")
    to_angstrom = series.factor("Å")
    start = ase.Atoms(
        trajectory.numbers,
        series.replicas[0][0:1][0] * to_angstrom,
        cell=trajectory.cell,
        pbc=trajectory.cell is not None,
    )
    chains = bonded_chains(start, coordinate)
    kind, unit = _KINDS[chains.shape[1]]
    values = [
        internal_coordinates(frames[:] * to_angstrom, chains, trajectory.cell)
        for frames in series.replicas
    ]
    label = f"{kind} {coordinate}"
    found = power_spectrum(values, interval=series.interval, unit=unit, label=label, **estimation)
    return replace(found, provenance={**found.provenance, "source": series.provenance})


def bonded_chains(atoms: ase.Atoms, coordinate: str) -> np.ndarray:
    """Return the atoms of the coordinates that a name stands for, ``[n, 2 to 4]``."""
    instance("atoms", atoms, ase.Atoms)
    parts = coordinate.split("-") if isinstance(coordinate, str) else []
    if not 2 <= len(parts) <= 4:
        raise InvalidInputError(key="internal", value=coordinate, expected=_EXPECTED)
    if all(part.isdecimal() for part in parts):
        chosen = np.array([[int(part) for part in parts]])
        if chosen.max() >= len(atoms) or len(set(parts)) < len(parts):
            expected = f"different atoms from 0 to {len(atoms) - 1}"
            raise InvalidInputError(key="internal", value=coordinate, expected=expected)
        return chosen
    neighbours = bonded_neighbours(atoms)
    chains: list[tuple[int, ...]] = [(i,) for i in range(len(atoms))]
    for _ in parts[1:]:
        chains = [(*c, k) for c in chains for k in neighbours[c[-1]] if k not in c]
    symbols = atoms.get_chemical_symbols()
    wanted = [c for c in chains if [symbols[k] for k in c] == parts]
    unique = [c for c in wanted if c[::-1] not in wanted or c < c[::-1]]
    if not unique:
        pairs = sorted({"-".join(sorted((symbols[i], symbols[j]))) for i, j in bonds(atoms)})
        raise InvalidInputError(
            f"no bonded atoms {coordinate}; bonds: {', '.join(pairs) or 'none'}",
            key="internal",
            value=coordinate,
            expected=_EXPECTED,
        )
    return np.array(unique)


def internal_coordinates(
    positions: np.ndarray, chains: np.ndarray, cell: np.ndarray | None = None
) -> np.ndarray:
    """Return distances [Å], angles or dihedral angles [degree], ``[n_frames, n]``.

    Parameters
    ----------
    positions
        ``[n_frames, n_atoms, 3]`` Å, not wrapped into a cell along the time.
    chains
        Atoms of each coordinate, ``[n, 2]``, ``[n, 3]`` or ``[n, 4]``. Dihedral angles are
        continuous in time.
    cell
        Cell vectors as rows [Å]; the image of each bond is that of the first frame.
    """
    positions = array_of("positions", positions, ("n_frames", "n_atoms", 3))
    chains = shape("chains", indices("chains", chains, positions.shape[1]), ("n", "n_chain"))
    within("atoms of a chain", chains.shape[1], 2, 4)
    arms = [
        positions[:, second] - positions[:, first] for first, second in itertools.pairwise(chains.T)
    ]
    if cell is not None:
        cell = array_of("cell", cell, (3, 3))
        if not np.linalg.det(cell):
            expected = "three vectors that span a volume"
            raise InvalidInputError(key="cell", value=cell.tolist(), expected=expected)
        arms = [arm - np.rint(arm[0] @ np.linalg.inv(cell)) @ cell for arm in arms]
    if len(arms) == 1:
        return np.linalg.norm(arms[0], axis=-1)
    if len(arms) == 2:
        sine = np.linalg.norm(np.cross(arms[0], arms[1]), axis=-1)
        return np.degrees(np.arctan2(sine, -(arms[0] * arms[1]).sum(-1)))
    first, second = np.cross(arms[0], arms[1]), np.cross(arms[1], arms[2])
    axis = arms[1] / np.linalg.norm(arms[1], axis=-1, keepdims=True)
    sine = (np.cross(first, second) * axis).sum(-1)
    return np.degrees(np.unwrap(np.arctan2(sine, (first * second).sum(-1)), axis=0))
