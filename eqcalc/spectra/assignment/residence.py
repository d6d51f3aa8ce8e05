# SPDX-License-Identifier: MIT
"""Near which minimum a molecule is, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eqcalc.normal_modes import centred
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.frames import eckart_rotations
from eqcalc.units import BOLTZMANN, angular_frequency_to_wavenumber

#: Minima closer than this are the same, relaxed from different sides [amu^½ Å].
_SAME_MINIMUM = 0.1


class Residence(NamedTuple):
    """Frames of a replica that follow each other near one minimum."""

    replica: int
    start: int  #: first frame
    stop: int  #: frame after the last one
    minimum: int  #: index of the minimum, or −1: near none

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.stop - self.start


def distances(positions: np.ndarray, references: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return mass-weighted distances √(Σ mᵢ|Δrᵢ|²) to references that are turned to fit best.

    Parameters
    ----------
    positions
        ``[..., n_atoms, 3]``, Å.
    references
        ``[n_references, n_atoms, 3]``, Å.
    masses
        ``[n_atoms]``, amu.

    Returns
    -------
    ``[..., n_references]``, amu^½ Å.
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
    """Return the distance √(Σ k_B T/ω²) that harmonic vibration at `temperature` [K] has."""
    return float(np.sqrt(_variances(harmonic, temperature).sum()))


def _variances(harmonic: HarmonicSpectrum, temperature: float) -> np.ndarray:
    """Return ⟨Q²⟩ of each mode, amu Å²; zero if it is imaginary."""
    omega = np.maximum(harmonic.wavenumber, 0.0) / angular_frequency_to_wavenumber(1.0)
    square = BOLTZMANN * temperature
    return np.divide(square, omega**2, out=np.zeros(len(harmonic)), where=omega > 0.0)


def same_basin(harmonic: HarmonicSpectrum, other: np.ndarray, temperature: float) -> bool:
    """Return whether another minimum is within thermal vibration about the first.

    That is, if one standard deviation along the line between them reaches half-way.

    Parameters
    ----------
    harmonic
        Modes of the first minimum.
    other
        ``[n_atoms, 3]``, Å, the other minimum.
    temperature
        K.
    """
    masses, reference = harmonic.masses, harmonic.positions
    distance = float(distances(other, reference[None], masses)[0])
    if distance < _SAME_MINIMUM:
        return True
    if distance >= 2.0 * thermal_distance(harmonic, temperature):
        return False  # there may be no Eckart frame of minima that differ so much
    turned = other @ eckart_rotations(other[None, None], reference, masses)[0, 0].T
    along = harmonic.coordinates(centred(turned - reference, masses)) / distance
    width = float(np.sqrt(np.sum(along**2 * _variances(harmonic, temperature))))
    return distance < 2.0 * width


def residences(nearest: Sequence[np.ndarray], stride: int, n_frames: int) -> list[Residence]:
    """Return how long replicas stay near each minimum, in the order of time.

    Parameters
    ----------
    nearest
        Of each replica the index of the nearest minimum, at every `stride`-th frame.
    stride
        Frames between these.
    n_frames
        Frames of each replica.
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
