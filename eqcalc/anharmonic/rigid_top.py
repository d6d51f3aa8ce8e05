# SPDX-License-Identifier: MIT
r"""Rotational envelopes of vibrational bands: a rigid asymmetric or linear top.

With |J K M⟩ about the axis of the smallest moment of inertia, H = A J_a² + B J_b² + C J_c² is
diagonal in J, and c the eigenvectors in K, a tensor of rank k with molecule-fixed
components T_q has the line strength (Zare, Angular Momentum, 1988, sections 3.9 and 6.3)

    S(Jτ → J′τ′) ∝ (2J + 1)(2J′ + 1) |Σ_q T_q Σ_K c_K c′_{K+q} (−1)^K (J k J′; K q −K−q)|².

Both vibrational states have the rotational constants of the equilibrium, and nuclear spins are
left out, so that an envelope says how wide a band is and how many branches it has, not
where single lines are.

The shifts of a classical top are as the square root of its rotational constants. Heavy tops, with
many levels, have the envelope of a lighter one of the same shape, narrowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammaln

from eqcalc.units import SECOND_RADIATION_CONSTANT
from eqcalc.validation import positive

#: Levels above this energy, in kT, are not populated.
_HIGHEST = 12.0
#: Bins of an envelope, cm⁻¹.
_BIN = 0.25
#: Highest J of the levels: heavier tops are classical ones, whose envelopes have one shape.
_LARGEST = 100

#: Components T_q of a vector (a, b, c) = (z, x, y): unit vectors to q = −1, 0, 1.
_VECTOR: dict[str, dict[int, complex]] = {
    "a": {0: 1.0},
    "b": {-1: np.sqrt(0.5), 1: -np.sqrt(0.5)},
    "c": {-1: -1j * np.sqrt(0.5), 1: -1j * np.sqrt(0.5)},
}


@dataclass(frozen=True, eq=False)
class Envelope:
    """Distribution of a band of unit strength about its origin.

    Parameters
    ----------
    shift
        Even grid, ``[n_bins]``, cm⁻¹.
    vector
        Distribution for a transition dipole along a, b and c, ``[3, n_bins]``, each of sum one.
    tensor
        For the anisotropic polarizability: quadratic form in its components (see
        :func:`spherical_components`), ``[5, 5, n_bins]``; each diagonal one has sum one.
    """

    shift: np.ndarray
    vector: np.ndarray
    tensor: np.ndarray

    def infrared(self, dipole: np.ndarray) -> np.ndarray:
        """Return the envelope of a transition dipole in principal axes ``[3]``; sum |μ|²."""
        return np.asarray(dipole**2 @ self.vector)

    def anisotropic_raman(self, polarizability: np.ndarray) -> np.ndarray:
        """Return the envelope of a transition polarizability ``[3, 3]``; sum Σ|β|²."""
        t = spherical_components(polarizability)
        return np.asarray(np.einsum("p,q,pqn->n", t, t, self.tensor))


def spherical_components(tensor: np.ndarray) -> np.ndarray:
    """Return the five real components of the traceless part of a symmetric tensor.

    They are normalised: the sum of their squares is the sum of squares of the elements.
    The axes of the tensor are a, b, c.
    """
    trace = np.trace(tensor) / 3.0
    a, b, c = np.diag(tensor) - trace
    return np.array(
        [
            np.sqrt(1.5) * a,
            np.sqrt(0.5) * (b - c),
            np.sqrt(2.0) * tensor[0, 1],
            np.sqrt(2.0) * tensor[0, 2],
            np.sqrt(2.0) * tensor[1, 2],
        ]
    )


#: T_q of the five components above, each of unit length.
_TENSOR: tuple[dict[int, complex], ...] = (
    {0: 1.0},
    {-2: np.sqrt(0.5), 2: np.sqrt(0.5)},
    {-1: np.sqrt(0.5), 1: -np.sqrt(0.5)},
    {-1: -1j * np.sqrt(0.5), 1: -1j * np.sqrt(0.5)},
    {-2: -1j * np.sqrt(0.5), 2: 1j * np.sqrt(0.5)},
)

#: Components whose bands have lines in common.
_INTERFERING = ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (0, 1))


def rotational_envelope(constants: np.ndarray, temperature: float) -> Envelope:
    """Return the envelope of the bands of a molecule.

    Parameters
    ----------
    constants
        A ≥ B ≥ C, cm⁻¹; A = 0 for a linear molecule.
    temperature
        K.
    """
    positive("temperature", temperature, unit="K")
    return _envelope(tuple(np.asarray(constants, dtype=float).tolist()), temperature)


@lru_cache(maxsize=8)
def _envelope(rotation: tuple[float, ...], temperature: float) -> Envelope:
    """Return the envelope, once for infrared and Raman."""
    constants = np.array(rotation)
    energy_unit = temperature / SECOND_RADIATION_CONSTANT  # kT, cm⁻¹
    slowest = float(constants[constants > 0.0].min())
    narrower = _LARGEST / np.sqrt(_HIGHEST * energy_unit / slowest)
    if narrower < 0.99:
        # classical: shifts are as the square root of the constants
        lighter = _envelope(tuple((constants / narrower**2).tolist()), temperature)
        return _narrowed(lighter, narrower)
    levels = list(_levels(constants, _HIGHEST * energy_unit))
    partition = sum(
        (2 * j + 1) * np.exp(-energies / energy_unit).sum()
        for j, (energies, _) in enumerate(levels)
    )
    # six times the standard deviation of a classical top, 2kT(A + B), and the selection rules
    half = 6.0 * np.sqrt(2.0 * energy_unit * np.sort(constants)[1:].sum()) + 6.0 * max(constants)
    centre = int(np.ceil(half / _BIN))
    bins = 2 * centre + 1
    vector, tensor = np.zeros((3, bins)), np.zeros((5, 5, bins))
    for j, (energies, states) in enumerate(levels):
        weight = np.exp(-energies / energy_unit) / partition * (2 * j + 1)
        for rank, components in ((1, tuple(_VECTOR.values())), (2, _TENSOR)):
            for upper in range(abs(j - rank), min(j + rank + 1, len(levels))):
                energies_up, states_up = _excited(constants, levels[upper], upper)
                shift = energies_up[None, :] - energies[:, None]
                place = np.rint(shift / _BIN).astype(int) + centre
                place = np.clip(place, 0, bins - 1).ravel()
                amplitudes = [_amplitudes(t, rank, j, upper, states, states_up) for t in components]
                scale = (2 * upper + 1) * weight[:, None]
                for p, q in _INTERFERING if rank == 2 else ((p, p) for p in range(3)):
                    strength = scale * (amplitudes[p] * amplitudes[q].conj()).real
                    found = np.bincount(place, strength.ravel(), bins)
                    if rank == 1:
                        vector[p] += found
                    else:
                        tensor[p, q] += found
    # what is missing of one is beyond the highest J
    vector /= vector.sum(axis=1, keepdims=True)
    norm = np.sqrt(np.einsum("ppn->p", tensor))
    tensor[1, 0] = tensor[0, 1]
    tensor /= norm[:, None, None] * norm[None, :, None]
    return Envelope(_BIN * np.arange(-centre, centre + 1), vector, tensor)


def _narrowed(envelope: Envelope, factor: float) -> Envelope:
    """Return an envelope with all shifts times a factor, on the same grid."""
    centre = len(envelope.shift) // 2
    edges = factor * _BIN * (np.arange(-centre, centre + 2) - 0.5)
    half = int(np.ceil(factor * centre))
    wanted = _BIN * (np.arange(-half, half + 2) - 0.5)

    def rebinned(values: np.ndarray) -> np.ndarray:
        below = np.cumsum(values, axis=-1)
        below = np.concatenate([np.zeros_like(below[..., :1]), below], axis=-1)
        rows = [np.diff(np.interp(wanted, edges, row)) for row in below.reshape(-1, len(edges))]
        return np.reshape(rows, (*values.shape[:-1], -1))

    shift = _BIN * np.arange(-half, half + 1)
    return Envelope(shift, rebinned(envelope.vector), rebinned(envelope.tensor))


def _levels(constants: np.ndarray, highest: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return energies and eigenvectors of each J, until all its levels are above a limit."""
    a, b, c = constants
    j = 0
    while True:
        k = np.arange(-j, j + 1)
        if a == 0.0:
            # no rotation about the axis of a linear molecule in its ground state
            energies, states = np.array([b * j * (j + 1)]), np.eye(2 * j + 1)[:, [j]]
        else:
            square = j * (j + 1)
            first = np.sqrt(np.maximum(square - k[:-2] * (k[:-2] + 1.0), 0.0))
            second = np.sqrt(np.maximum(square - (k[:-2] + 1.0) * (k[:-2] + 2.0), 0.0))
            coupling = 0.25 * (b - c) * first * second
            whole = np.diag(0.5 * (b + c) * (square - k**2) + a * k**2)
            if j:
                whole += np.diag(coupling, 2) + np.diag(coupling, -2)
            energies, states = np.linalg.eigh(whole)
        yield energies, states
        if energies[0] > highest:
            return
        j += 1


def _excited(
    constants: np.ndarray, level: tuple[np.ndarray, np.ndarray], j: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels of a J in the upper state of a band.

    In a linear molecule they are those of every vibrational angular momentum l = K.
    """
    if constants[0] > 0.0:
        return level
    k = np.arange(-min(j, 2), min(j, 2) + 1)
    return constants[1] * (j * (j + 1) - k**2), np.eye(2 * j + 1)[:, k + j]


def _amplitudes(
    components: dict[int, complex],
    rank: int,
    j: int,
    upper: int,
    states: np.ndarray,
    states_up: np.ndarray,
) -> np.ndarray:
    """Return Σ_q T_q Σ_K c_K c′_{K+q} (−1)^K (J k J′; K q −K−q), ``[n, n']``."""
    result = np.zeros((states.shape[1], states_up.shape[1]), dtype=complex)
    k = np.arange(-j, j + 1)
    for q, weight in components.items():
        inside = np.abs(k + q) <= upper
        symbol = (-1.0) ** k[inside] * wigner_3j(j, rank, upper, k[inside], q)
        result += weight * (states[inside].T * symbol) @ states_up[k[inside] + q + upper]
    return result


def wigner_3j(j: int, rank: int, upper: int, k: np.ndarray, q: int) -> np.ndarray:
    """Return the 3-j symbols (j rank upper; k q −k−q) by Racah's formula, ``[n]``."""
    k = np.asarray(k)
    last = k + q

    def log_factorial(n: np.ndarray | int) -> np.ndarray:
        return np.asarray(gammaln(np.asarray(n, dtype=float) + 1.0))

    triangle = 0.5 * (
        log_factorial(j + rank - upper)
        + log_factorial(j - rank + upper)
        + log_factorial(-j + rank + upper)
        - log_factorial(j + rank + upper + 1)
    )
    prefactor = triangle + 0.5 * (
        log_factorial(j + k)
        + log_factorial(j - k)
        + log_factorial(rank + q)
        + log_factorial(rank - q)
        + log_factorial(upper + last)
        + log_factorial(upper - last)
    )
    total = np.zeros(len(k))
    # a term needs 0 ≤ t ≤ rank − (upper − j) and 0 ≤ rank + q − t
    for t in range(2 * rank + 1):
        parts = [
            np.full(len(k), t),
            np.full(len(k), j + rank - upper - t),
            j - k - t,
            np.full(len(k), rank + q - t),
            upper - rank + k + t,
            np.full(len(k), upper - j - q + t),
        ]
        allowed = np.all([part >= 0 for part in parts], axis=0)
        if allowed.any():
            logs = sum(log_factorial(np.maximum(part, 0)) for part in parts)
            total += np.where(allowed, (-1.0) ** t * np.exp(prefactor - logs), 0.0)
    return np.asarray((-1.0) ** (j - rank + last) * total)
