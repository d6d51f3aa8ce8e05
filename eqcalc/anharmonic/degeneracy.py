# SPDX-License-Identifier: MIT
r"""Degenerate vibrations of symmetric and spherical tops and of linear molecules.

Any rotation of the normal coordinates of a degenerate level describes it as well, but a sum of
terms of at most three modes does depend on it, and so does what such a surface splits. Two things
follow:

- the coordinates are chosen by the molecule and not by the orientation of its axes, as localised
  as possible on one of the atoms that move most: levels are those of any orientation and order of
  the atoms. Such coordinates also converge faster: for the stretching vibration ν₃ of methane
  terms of three modes leave 1 cm⁻¹, and 23 cm⁻¹ with coordinates along its twofold axes;
- what the surface splits is joined again at the mean. With H̄ the mean of the truncated
  H = H̄ + δH over the operations of the group, δH has no invariant part, and so its trace within
  a degenerate level is zero: to first order in δH the mean is the level of H̄, and half of the
  splitting measures δH.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from eqcalc.normal_modes import NormalModes, principal_axes

#: Moments of inertia are equal up to this part, harmonic wavenumbers of a level up to this, cm⁻¹.
_MOMENT, _WAVENUMBER = 1e-3, 0.5
#: Weights of an atom in modes differ by more than this if the atom tells directions.
_TOLD = 0.02
#: States have a part in a degenerate level from this weight of its single quanta.
_PART = 0.05
#: Largest squared overlap of partners within a level.
_ORTHOGONAL = 0.25


def degenerate_levels(modes: NormalModes) -> list[list[int]]:
    """Return the modes of each degenerate level, two or, in a spherical top, three.

    There are none unless two moments of inertia are equal.
    """
    moments = principal_axes(modes.positions, modes.masses)[0]
    equal = sum(bool(np.isclose(a, b, rtol=_MOMENT)) for a, b in pairwise(moments))
    wavenumber = modes.wavenumber
    ends = np.flatnonzero(np.diff(wavenumber, append=np.inf) > _WAVENUMBER) + 1
    runs = np.split(np.arange(len(wavenumber)), ends[:-1])
    return [run.tolist() for run in runs if 1 < len(run) <= equal + 1]


def localised(modes: NormalModes) -> NormalModes:
    """Return modes with those of each degenerate level localised.

    The atom that tells their directions best has most weight in one of them, and least in
    another; a distance that changes most tells those of which all atoms have equal weights. The
    bending modes of linear molecules lie along the second and the third axis.
    """
    levels = degenerate_levels(modes)
    if not levels:
        return modes
    displaced = modes.vectors * np.sqrt(modes.masses)[:, None]
    first, second = np.triu_indices(len(modes.masses), 1)
    apart = modes.positions[second] - modes.positions[first]
    apart /= np.linalg.norm(apart, axis=1, keepdims=True)
    stretched = np.einsum("kpa,pa->pk", displaced[:, second] - displaced[:, first], apart)
    # what tells directions: components [n_places, n_components, n_modes] of one kind each
    kinds = [
        displaced.transpose(1, 2, 0),
        stretched[:, None],
        displaced[None, :, :, 1].swapaxes(1, 2),
    ]
    ranked = []
    for parts in kinds:
        told = np.zeros(len(parts))
        for level in levels:
            told += np.ptp(np.linalg.eigvalsh(_weights(parts, level)), axis=1)
        # equivalent places in their order
        digits = np.round(told / max(told.max(), _TOLD), 3)
        ranked.append(parts[np.argsort(-digits, kind="stable")])
    vectors = modes.vectors.copy()
    for level in levels:
        weights = np.concatenate([_weights(parts, level) for parts in ranked])
        vectors[level] = np.einsum("ka,kix->aix", _directions(weights), modes.vectors[level])
    return replace(modes, vectors=vectors)


def _weights(parts: np.ndarray, level: list[int]) -> np.ndarray:
    """Return Σ_c x_kc x_lc of each place, ``[n_places, n, n]``."""
    found = parts[..., level]
    return np.asarray(np.swapaxes(found, 1, 2) @ found)


def _directions(weights: np.ndarray) -> np.ndarray:
    """Return the common basis, as columns, that matrices tell one after the other.

    Parameters
    ----------
    weights
        Symmetric, ``[n_matrices, n, n]``: the next one tells what the first has left equal.
    """
    n = weights.shape[1]
    for k, matrix in enumerate(weights):
        values, basis = np.linalg.eigh(-matrix)
        parts = np.split(np.arange(n), np.flatnonzero(np.diff(values) > _TOLD) + 1)
        if len(parts) > 1:
            for part in parts:
                columns = basis[:, part]
                basis[:, part] = columns @ _directions(columns.T @ weights[k + 1 :] @ columns)
            return np.asarray(basis)
    return np.eye(n)


def partners(energies: np.ndarray, parts: np.ndarray) -> Iterator[list[int]]:
    """Yield the states that would be one level if the surface had the symmetry of the molecule.

    Parameters
    ----------
    energies
        ``[n_states]``.
    parts
        Coefficients of the single quanta of a degenerate level, ``[n_modes, n_states]``.

    Yields
    ------
    list
        As many states as modes, whose coefficients are about orthogonal and of equal size; the
        nearest ones if there are several.
    """
    weight = (parts**2).sum(axis=0)
    direction = parts / np.sqrt(np.maximum(weight, _PART))
    free = weight > _PART
    while free.any():
        found = [int(np.argmax(np.where(free, weight, 0.0)))]
        while len(found) < len(parts):
            overlap = ((direction[:, found].T @ direction) ** 2).sum(axis=0)
            alike = free & (overlap < _ORTHOGONAL) & (weight > 0.5 * weight[found[0]])
            if not alike.any():
                break
            gap = np.abs(energies - energies[found[0]])
            found.append(int(np.argmin(np.where(alike, gap, np.inf))))
        if len(found) == len(parts):
            yield sorted(found)
        free[found] = False
