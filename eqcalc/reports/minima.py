# SPDX-License-Identifier: MIT
"""The minima visited by a trajectory, and the residences near each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase import Atoms

from eqcalc.harmonic import RelaxationError, harmonic_spectrum, relax
from eqcalc.models.derivatives import property_derivative
from eqcalc.models.potential import Potential
from eqcalc.normal_modes import centred
from eqcalc.spectra import HarmonicSpectrum
from eqcalc.spectra.frames import eckart_rotations
from eqcalc.structures import Structures
from eqcalc.trajectory import Trajectory
from eqcalc.units import BOLTZMANN, angular_frequency_to_wavenumber

#: Minima closer than this are the same [amu^½ Å].
_SAME_MINIMUM = 0.1
#: Wavenumbers of minima of the same conformer agree within this [cm⁻¹].
_SAME_CONFORMER = 2.0
#: Interval at which geometries are compared with the minima [fs]; a rotor passes one in 40.
_COMPARED = 10.0
#: Averaging time of the distance to the nearest minimum [fs], to average out vibrations.
_AVERAGED = 250.0
#: Mean distances of more than this many thermal ones indicate another minimum.
_FAR = 2.0
#: Largest number of additional geometries relaxed in the search for minima.
_MOST_SEARCHES = 60


class Residence(NamedTuple):
    """Consecutive frames of a replica near one minimum."""

    replica: int
    start: int  #: first frame
    stop: int  #: frame after the last one
    minimum: int  #: index of the minimum, or −1: near none

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class Minimum:
    """A minimum of the potential, with its normal modes and polar tensors."""

    atoms: Atoms
    harmonic: HarmonicSpectrum
    polar_tensors: np.ndarray  #: ``[n_atoms, 3, 3]``, ∂μ_b/∂r_ia at [i, a, b], e


def visited_minima(
    trajectory: Trajectory, potential: Potential, positions: np.ndarray
) -> tuple[list[Minimum], list[Residence]]:
    """Find the minima visited by replicas, and the residences near each.

    Candidates are obtained by relaxing the first frame of each replica, and later frames
    that are far from all known minima for some time. Mirror images and permutations count as
    different minima. The positions [Å] are ``[n_replicas, n_frames, n_atoms, 3]``.

    Raises
    ------
    RelaxationError
        No geometry relaxes to a minimum.
    """
    search = _Search(trajectory, potential)
    failure: RelaxationError | None = None
    for first in positions[:, 0]:
        try:
            search.add(first)
        except RelaxationError as error:
            failure = error
    if not search.found:
        assert failure is not None
        raise failure
    interval = trajectory.interval("positions")
    stride = max(1, round(_COMPARED / interval))
    block = max(1, round(_AVERAGED / (stride * interval)))
    nearest = [search.nearest(frames[::stride], block) for frames in positions]
    return search.found, residences(nearest, stride, positions.shape[1])


class _Search:
    """The minima found so far, and the search for more."""

    def __init__(self, trajectory: Trajectory, potential: Potential) -> None:
        self.found: list[Minimum] = []
        self._thermal: list[float] = []  # of each minimum, the distance of its vibration
        self._trajectory, self._potential = trajectory, potential
        self._searches = 0

    def add(self, positions: np.ndarray) -> None:
        """Relax a geometry, and add the minimum if it is new."""
        atoms = Atoms(self._trajectory.numbers, positions, masses=self._trajectory.masses)
        relaxed = relax(self._potential, atoms, fmax=1e-4)
        relaxed.calc = None
        temperature = self._trajectory.temperature
        if any(same_basin(m.harmonic, relaxed.positions, temperature) for m in self.found):
            return
        structure = Structures.from_atoms(relaxed, device=self._potential.device)
        tensors = property_derivative(self._potential, structure, "dipole").cpu().numpy()
        harmonic = harmonic_spectrum(self._potential, relaxed)
        self.found.append(Minimum(relaxed, harmonic, tensors))
        self._thermal.append(thermal_distance(harmonic, temperature))

    def nearest(self, frames: np.ndarray, block: int) -> np.ndarray:
        """Return the index of the nearest minimum of each frame, −1 if all are far.

        If they are far over a whole block of frames, a new minimum is searched for.
        """
        starts = np.arange(0, len(frames), block)
        apart = self._distances(frames)
        for start in starts:
            middle = start + min(block, len(frames) - start) // 2
            if not self._far(apart[start : start + block]) or self._searches >= _MOST_SEARCHES:
                continue
            self._searches += 1
            n_before = len(self.found)
            try:
                self.add(frames[middle])
            except RelaxationError:
                continue
            if len(self.found) > n_before:
                more = self._distances(frames, n_before)
                apart = np.concatenate([apart, more], axis=1)
        labels = apart.argmin(axis=1)
        for start in starts:
            if self._far(apart[start : start + block]):
                labels[start : start + block] = -1
        return labels

    def _distances(self, frames: np.ndarray, first: int = 0) -> np.ndarray:
        references = np.stack([m.atoms.positions for m in self.found[first:]])
        return distances(frames, references, self._trajectory.masses)

    def _far(self, apart: np.ndarray) -> bool:
        """Return whether a block is farther from all minima than vibrations explain."""
        return bool(np.mean(np.min(apart / np.array(self._thermal), axis=1)) > _FAR)


def conformers(minima: Sequence[Minimum], weights: Sequence[int]) -> list[list[int]]:
    """Group minima by conformer, in order of decreasing total weight.

    Minima with the same wavenumbers are the same conformer, up to reflection or permutation.
    Those without weight are left out.
    """
    found: list[list[int]] = []
    for index in np.flatnonzero(np.asarray(weights) > 0).tolist():
        wavenumber = minima[index].harmonic.wavenumber
        for members in found:
            other = minima[members[0]].harmonic.wavenumber
            if np.abs(wavenumber - other).max() < _SAME_CONFORMER:
                members.append(index)
                break
        else:
            found.append([index])
    return sorted(found, key=lambda members: -sum(weights[m] for m in members))


# --- near which minimum, and for how long ---------------------------------------------------


def distances(positions: np.ndarray, references: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return mass-weighted distances √(Σ mᵢ|Δrᵢ|²) to optimally superposed references.

    Of positions ``[..., n_atoms, 3]`` to references ``[n_references, n_atoms, 3]`` in Å, with
    masses ``[n_atoms]`` in amu: ``[..., n_references]``, amu^½ Å.
    """
    root = np.sqrt(masses)[:, None]
    x, fixed = centred(positions, masses) * root, centred(references, masses) * root
    squares = np.square(x).sum((-2, -1))
    found = []
    for y in fixed:
        overlap = np.einsum("ia,...ib->...ab", y, x)
        sizes = np.linalg.svd(overlap, compute_uv=False)
        # the best rotation is proper: a reflection would flip the sign of the smallest
        fit = sizes[..., 0] + sizes[..., 1] + np.sign(np.linalg.det(overlap)) * sizes[..., 2]
        found.append(np.sqrt(np.maximum(squares + np.square(y).sum() - 2.0 * fit, 0.0)))
    return np.stack(found, axis=-1)


def thermal_distance(harmonic: HarmonicSpectrum, temperature: float) -> float:
    """Return the thermal harmonic displacement √(Σ k_B T/ω²) at `temperature` [K]."""
    return float(np.sqrt(_variances(harmonic, temperature).sum()))


def _variances(harmonic: HarmonicSpectrum, temperature: float) -> np.ndarray:
    """Return ⟨Q²⟩ of each mode, amu Å²; zero if it is imaginary."""
    omega = np.maximum(harmonic.wavenumber, 0.0) / angular_frequency_to_wavenumber(1.0)
    square = BOLTZMANN * temperature
    return np.divide(square, omega**2, out=np.zeros(len(harmonic)), where=omega > 0.0)


def same_basin(harmonic: HarmonicSpectrum, other: np.ndarray, temperature: float) -> bool:
    """Return whether another minimum ``[n_atoms, 3]`` is within thermal vibration about the first.

    That is, if one standard deviation along the line between them reaches half the distance.
    """
    masses, reference = harmonic.masses, harmonic.positions
    distance = float(distances(other, reference[None], masses)[0])
    if distance < _SAME_MINIMUM:
        return True
    if distance >= 2.0 * thermal_distance(harmonic, temperature):
        return False  # very different minima may have no common Eckart frame
    turned = other @ eckart_rotations(other[None, None], reference, masses)[0, 0].T
    along = harmonic.coordinates(centred(turned - reference, masses)) / distance
    width = float(np.sqrt(np.sum(along**2 * _variances(harmonic, temperature))))
    return distance < 2.0 * width


def residences(nearest: Sequence[np.ndarray], stride: int, n_frames: int) -> list[Residence]:
    """Return the residences of replicas of `n_frames` near minima, in order of time.

    `nearest` is the index of the nearest minimum for each replica at every `stride`-th frame.
    """
    found = []
    for replica, labels in enumerate(nearest):
        changes = np.flatnonzero(np.diff(labels)) + 1
        first = [0, *changes.tolist()]
        stops = [*(stride * changes).tolist(), n_frames]
        found += [
            Residence(replica, stride * start, stop, int(labels[start]))
            for start, stop in zip(first, stops, strict=True)
        ]
    return found
