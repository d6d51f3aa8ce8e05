# SPDX-License-Identifier: MIT
"""The spectrum of a cell as the sum of single-molecule and cross terms, these by distance.

The dipole moment of a cell is the sum M = Σ_a m_a over its molecules, of what a local read-out says
of their atoms. The spectrum of M is bilinear in M, hence the sum

    S = Σ_a S_aa + Σ_{a≠b} S_ab

of the spectra of single molecules and of the cross spectra of pairs. Those of pairs at a distance
r < R of each other,

    Σ_a ∫ ⟨ṁ_a(0)·Σ_{b≠a} w_ab ṁ_b(t)⟩ cos ωt dt,   w_ab = 1 where r_ab < R, else 0,

with r_ab at one of the two times, are what neighbours up to R add (Heyden et al., Proc. Natl. Acad.
Sci. 107, 12068 (2010), who resolve it in space). All sums are exact, for every trajectory, as is
that over disjoint shells of distances.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms

from eqcalc.molecules import molecules_of
from eqcalc.quantities import ATOMIC_PARTS, DIPOLE, POLARIZABILITY
from eqcalc.spectra.estimation import Density, Estimation
from eqcalc.spectra.estimator.correlation import Signal
from eqcalc.spectra.infrared_absorption import infrared_result
from eqcalc.spectra.quantum_factors import check_quantum_factor
from eqcalc.spectra.raman_scattering import raman_result
from eqcalc.spectra.series import Series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidInputError, one_of, positive

#: Numbers in the matrix of distances that is held at once.
_DISTANCES = 2**22


def _vector(dipoles: np.ndarray) -> np.ndarray:
    return dipoles


def _isotropic(polarizabilities: np.ndarray) -> np.ndarray:
    return np.trace(polarizabilities, axis1=-2, axis2=-1)[..., None] / 3.0


#: Kinds of spectra: quantity, unit and components of what molecules contribute.
KINDS: dict[str, tuple[str, str, Callable[[np.ndarray], np.ndarray]]] = {
    "infrared": (ATOMIC_PARTS[DIPOLE.name].name, "e*Å", _vector),
    "isotropic Raman": (ATOMIC_PARTS[POLARIZABILITY.name].name, "Å^3", _isotropic),
}


@dataclass(frozen=True)
class MolecularTerms:
    """A spectrum per molecule of a cell, and its parts.

    Parameters
    ----------
    total
        Of the whole cell.
    single
        Of the molecules by themselves.
    cross
        Of different molecules; it may be negative. ``total = single + cross``.
    shells
        The part of `cross` of pairs at distances between two limits [Å], by these. They sum to
        `cross`.
    """

    total: Spectrum
    single: Spectrum
    cross: Spectrum
    shells: dict[tuple[float, float], Spectrum]


def molecules_of_run(trajectory: Trajectory) -> np.ndarray:
    """Return the index of the molecule of each atom, ``[n_atoms]``.

    Molecules are groups of atoms that are bonded where the run starts.
    """
    start = trajectory.provenance["molecule"]["positions_angstrom"]
    periodic = trajectory.cell is not None
    return molecules_of(Atoms(trajectory.numbers, start, cell=trajectory.cell, pbc=periodic))


def molecular_terms(
    trajectory: Trajectory,
    kind: str = "infrared",
    *,
    edges: Sequence[float] = (),
    molecules: np.ndarray | None = None,
    quantum_factor: str = "harmonic",
    **estimation: Any,
) -> MolecularTerms:
    """Return the single-molecule and cross terms of a spectrum.

    Parameters
    ----------
    trajectory
        With the observable ``"atomic_dipole"`` or ``"atomic_polarizability"`` and, for `edges`,
        ``"positions"``.
    kind
        ``"infrared"`` [km/mol per cm⁻¹] or ``"isotropic Raman"`` [Å⁴/amu per cm⁻¹], per molecule.
    edges
        Distances between the shells [Å], ascending: ``(3.5, 5.5)`` gives pairs up to 3.5 Å, from
        there to 5.5 Å, and all others. They are those of the heaviest atoms of two molecules, to
        their nearest images.
    molecules
        Index of the molecule of each atom, ``[n_atoms]``; by default groups of bonded atoms.
    quantum_factor
        See :func:`eqcalc.spectra.infrared`.
    estimation
        See :class:`eqcalc.spectra.Estimation`.

    Raises
    ------
    InvalidInputError
        The observable was not recorded, or `edges` do not ascend.
    """
    quantity, unit, components = KINDS[one_of("kind", kind, KINDS)]
    limits = [0.0, *(positive("edges", edge, unit="Å") for edge in edges), np.inf]
    if any(low >= high for low, high in itertools.pairwise(limits)):
        raise InvalidInputError(key="edges", value=list(edges), expected="ascending distances")
    owner = molecules_of_run(trajectory) if molecules is None else np.asarray(molecules)
    n = int(owner.max()) + 1
    series = Series.from_trajectory(trajectory, quantity)
    check_quantum_factor(quantum_factor, series.correlation, series.temperature)
    order = np.argsort(owner, kind="stable")
    first = np.searchsorted(owner[order], np.arange(n))

    def of_molecules(frames: np.ndarray) -> np.ndarray:
        summed = np.add.reduceat(components(frames)[:, order], first, axis=1)
        return summed.reshape(len(frames), -1)

    size = components(np.asarray(series.replicas[0][0:1])).shape[-1]
    signals = series.signals(unit, n * size, of_molecules)
    shells = list(itertools.pairwise(limits)) if len(edges) else []
    distances: list[_Distances | None] = [None] * len(signals)
    if shells:
        heaviest = np.array(
            [atoms[np.argmax(trajectory.masses[atoms])] for atoms in np.split(order, first[1:])]
        )
        places = Series.from_trajectory(trajectory, "positions")
        ratio = series.interval / places.interval
        distances = [_Distances(r, heaviest, trajectory.cell, ratio) for r in places.replicas]
    both = zip(signals, distances, strict=True)
    joined = [_with_neighbours(signal, n, shells, found) for signal, found in both]
    single, total = slice(0, n * size), slice((1 + len(shells)) * n * size, None)
    near = [slice((1 + k) * n * size, (2 + k) * n * size) for k in range(len(shells))]
    pairs = [(total, total), (single, single), *((single, others) for others in near)]
    density = Estimation(**estimation).density(series, joined, pairs)

    def spectrum(label: str, *weights: float) -> Spectrum:
        part = _combined(density, [*weights, *[0.0] * (len(pairs) - len(weights))])
        if kind == "infrared":
            found = infrared_result(part, series, quantum_factor=quantum_factor, n_molecules=n)
        else:
            found = raman_result(part, series, quantum_factor, n).isotropic
        return replace(found, label=f"{found.label}, {label}" if label else found.label)

    by_distance = {
        (low, high): spectrum(f"molecules at {low:g} – {high:g} Å", 0.0, 0.0, *[0.0] * index, 1.0)
        for index, (low, high) in enumerate(shells)
    }
    return MolecularTerms(
        spectrum("", 1.0),
        spectrum("single molecules", 0.0, 1.0),
        spectrum("different molecules", 1.0, -1.0),
        by_distance,
    )


def _combined(density: Density, weights: Sequence[float]) -> Density:
    """Return the weighted sum of the groups as the first of two groups, the other being zero."""
    matrix = np.array([weights, np.zeros(len(weights))])
    samples = None if density.samples is None else matrix @ density.samples
    return replace(density, values=matrix @ density.values, samples=samples)


class _Distances:
    """Distances of the molecules of one replica along a series, to the nearest images."""

    def __init__(
        self, positions: Any, atoms: np.ndarray, cell: np.ndarray | None, ratio: float
    ) -> None:
        self.positions, self.atoms, self.cell, self.ratio = positions, atoms, cell, ratio

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Return ``[n_frames, n, n]`` Å of frames of the time derivative, which lacks the first."""
        frames = np.rint((np.arange(start, stop) + 1) * self.ratio).astype(int)
        frames = np.minimum(frames, len(self.positions) - 1)
        known = np.asarray(self.positions[int(frames[0]) : int(frames[-1]) + 1])
        r = known[frames - frames[0]][:, self.atoms]
        apart = r[:, None] - r[:, :, None]
        if self.cell is not None:
            apart -= np.rint(apart @ np.linalg.inv(self.cell)) @ self.cell
        return np.asarray(np.linalg.norm(apart, axis=-1))


def _with_neighbours(
    signal: Signal, n: int, shells: Sequence[tuple[float, float]], distances: _Distances | None
) -> Signal:
    """Return ṁ_a of all molecules, Σ_b w_ab ṁ_b of each shell, and Ṁ, as one signal."""
    size = signal.n_components // n

    def piece(start: int, stop: int) -> np.ndarray:
        own = signal.read(start, stop).reshape(stop - start, n, size)
        parts = [own]
        if distances is not None:
            r = distances(start, stop)
            r[:, np.arange(n), np.arange(n)] = -1.0  # not its own neighbour
            parts += [((low <= r) & (r < high)).astype(float) @ own for low, high in shells]
        flat = [part.reshape(stop - start, -1) for part in parts]
        return np.concatenate([*flat, own.sum(axis=1)], axis=1)

    def read(start: int, stop: int) -> np.ndarray:
        step = max(1, _DISTANCES // (3 * n * n))
        edges = [*range(start, stop, step), stop]
        return np.concatenate([piece(a, b) for a, b in itertools.pairwise(edges)])

    return Signal(signal.n_frames, (1 + len(shells)) * n * size + size, read)
