# SPDX-License-Identifier: MIT
"""The minima of a model that a trajectory visits, and when it is near each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from eqcalc.harmonic import RelaxationError, harmonic_spectrum, relax
from eqcalc.models.derivatives import property_derivative
from eqcalc.models.potential import Potential
from eqcalc.spectra.assignment.residence import (
    Residence,
    distances,
    residences,
    same_basin,
    thermal_distance,
)
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.structures import Structures
from eqcalc.trajectory import Trajectory

#: Wavenumbers of two minima that are the same conformer agree within this [cm⁻¹].
_SAME_CONFORMER = 2.0
#: How often geometries are compared with the minima [fs]; a rotor needs 40 to pass one.
_COMPARED = 10.0
#: Over this time [fs] the distance to the nearest minimum is averaged: vibrations average out.
_AVERAGED = 250.0
#: A mean distance of so many thermal ones is that to another minimum.
_FAR = 2.0
#: Geometries that are relaxed to look for minima besides the first of each replica.
_MOST_SEARCHES = 60


@dataclass(frozen=True)
class Minimum:
    """A minimum of the potential, with what spectra need of it."""

    atoms: Atoms
    harmonic: HarmonicSpectrum
    polar_tensors: np.ndarray  #: ``[n_atoms, 3, 3]``, ∂μ_b/∂r_ia at [i, a, b], e


def visited_minima(
    trajectory: Trajectory, potential: Potential, positions: np.ndarray
) -> tuple[list[Minimum], list[Residence]]:
    """Return the minima that replicas visit, and the residences near each.

    Candidates are what the first frame of each replica relaxes to, and what it relaxes to
    later where it is far from all others for a while. Mirror images and minima that
    differ in the names of their atoms only are different here.

    Parameters
    ----------
    trajectory
        What the positions are from.
    potential
        Its model.
    positions
        ``[n_replicas, n_frames, n_atoms, 3]``, Å.

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
    interval = trajectory.observable("positions", slice(0, 1), slice(0, 1)).interval
    stride = max(1, round(_COMPARED / interval))
    block = max(1, round(_AVERAGED / (stride * interval)))
    nearest = [search.nearest(frames[::stride], block) for frames in positions]
    return search.found, residences(nearest, stride, positions.shape[1])


class _Search:
    """The minima found so far, and how to find more."""

    def __init__(self, trajectory: Trajectory, potential: Potential) -> None:
        self.found: list[Minimum] = []
        self._thermal: list[float] = []  # of each minimum, the distance of its vibration
        self._trajectory, self._potential = trajectory, potential
        self._searches = 0

    def add(self, positions: np.ndarray) -> None:
        """Relax a geometry, and keep the minimum if it is new."""
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
        """Return the index of the nearest minimum of each frame, −1 where all are far.

        Where they are far over a whole block of frames, a minimum is looked for.
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
        """Return whether a block is farther from all minima than vibration explains."""
        return bool(np.mean(np.min(apart / np.array(self._thermal), axis=1)) > _FAR)


def conformers(minima: Sequence[Minimum], weights: Sequence[int]) -> list[list[int]]:
    """Return the minima of each conformer, that with the largest sum of weights first.

    Minima with the same wavenumbers are one conformer, perhaps reflected or with its
    atoms renamed. Those without weight are left out.
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
