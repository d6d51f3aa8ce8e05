# SPDX-License-Identifier: MIT
r"""Derivatives of the energy and of properties by the dimensionless normal coordinates.

    V = ½ Σ ω_i q_i² + ⅙ Σ φ_ijk q_i q_j q_k + 1/24 Σ φ_ijkl q_i q_j q_k q_l
    X = X₀ + Σ X_i q_i + ½ Σ X_ij q_i q_j + ⅙ Σ X_ijk q_i q_j q_k

All φ_ijk, all φ_iijk and X_iij follow from forces and properties at points where at most two
coordinates are displaced, by ±h and ±2h. What has four or, for X, three different indices does not
enter second-order energies and intensities of fundamentals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
import torch

from eqcalc.anharmonic.rotation_coupling import coriolis_constants, rotational_constants
from eqcalc.facts import ComparedByValue
from eqcalc.normal_modes import NormalModes
from eqcalc.runtime.evaluator import Evaluator
from eqcalc.units import WAVENUMBER_PER_EV
from eqcalc.validation import positive

#: Structures evaluated at once.
_BATCH = 2000


@dataclass(frozen=True, eq=False)
class ForceField(ComparedByValue):
    """Expansion of a molecule about its minimum, cm⁻¹.

    Parameters
    ----------
    wavenumber
        ω_i, ``[n]``.
    cubic
        φ_ijk, ``[n, n, n]``, symmetric.
    quartic
        φ_iijk at [i, j, k], ``[n, n, n]``, symmetric in j and k.
    zeta, rotational_constants
        ζ^a_kl and B_a, see :mod:`eqcalc.anharmonic.rotation_coupling`.
    first, second, third
        X_i ``[n, n_components]``, X_ij ``[n, n, n_components]`` and X_iij at [i, j],
        ``[n, n, n_components]``, in units of the properties.
    asymmetry
        Largest difference of cubic and of quartic constants that should be equal.
    """

    wavenumber: np.ndarray
    cubic: np.ndarray
    quartic: np.ndarray
    zeta: np.ndarray
    rotational_constants: np.ndarray
    first: np.ndarray
    second: np.ndarray
    third: np.ndarray
    asymmetry: tuple[float, float]


def force_field(
    modes: NormalModes, evaluator: Evaluator, properties: Sequence[str] = (), step: float = 0.05
) -> ForceField:
    """Return the force field of a molecule by differences.

    Parameters
    ----------
    modes
        Normal modes at the minimum.
    evaluator
        Energies and forces, and the properties, in double precision.
    properties
        Names of quantities, whose components follow each other in the derivatives.
    step
        h. Small steps give the derivatives at the minimum; 0.5 those over the range of the
        ground state, for a surface that is not smooth.
    """
    positive("step", step)
    n = len(modes)
    steps = modes.steps
    eye = step * np.eye(n)
    pairs = list(combinations(range(n), 2))
    lines = [s * eye for s in (-2.0, -1.0, 1.0, 2.0)]
    corners = [
        np.array([s * eye[i] + t * eye[j] for i, j in pairs]).reshape(-1, n)
        for s, t in ((1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0))
    ]
    points = np.concatenate([np.zeros((1, n)), *lines, *corners])
    positions = modes.positions + np.einsum("pk,kia->pia", points, steps, optimize=True)
    values = []
    for start in range(0, len(points), _BATCH):
        block = torch.as_tensor(positions[start : start + _BATCH])
        found = evaluator(block, ("energy", "forces", *properties))
        forces = WAVENUMBER_PER_EV * found["forces"].cpu().numpy()
        gradient = -np.einsum("pia,kia->pk", forces, steps, optimize=True)
        parts = [found[name].cpu().numpy().reshape(len(block), -1) for name in properties]
        values.append(np.concatenate([gradient, *parts], axis=1))
    # columns: the gradient by each mode, then the properties
    ends = np.cumsum([1, *[n] * 4, *[len(pairs)] * 4])
    rest, *line, pp, mp, pm, mm = np.split(np.concatenate(values), ends[:-1])
    low, down, up, high = line
    first = (8.0 * (up - down) - (high - low)) / (12.0 * step)
    second = np.empty((n, n, rest.shape[1]))
    third = np.empty_like(second)  # d³/dq_i²dq_j at [i, j]
    diagonal = np.arange(n)
    second[diagonal, diagonal] = (16.0 * (up + down) - (high + low) - 30.0 * rest) / (
        12.0 * step**2
    )
    third[diagonal, diagonal] = (high - low - 2.0 * (up - down)) / (2.0 * step**3)
    for p, (i, j) in enumerate(pairs):
        second[i, j] = second[j, i] = (pp[p] - mp[p] - pm[p] + mm[p]) / (4.0 * step**2)
        third[i, j] = (pp[p] + mp[p] - pm[p] - mm[p] - 2.0 * (up[j] - down[j])) / (2.0 * step**3)
        third[j, i] = (pp[p] + pm[p] - mp[p] - mm[p] - 2.0 * (up[i] - down[i])) / (2.0 * step**3)
    cubic, cubic_spread = _symmetric(second[..., :n])
    quartic, quartic_spread = _semidiagonal(third[..., :n])
    return ForceField(
        wavenumber=modes.wavenumber,
        cubic=cubic,
        quartic=quartic,
        zeta=coriolis_constants(modes),
        rotational_constants=rotational_constants(modes),
        first=first[:, n:],
        second=second[..., n:],
        third=third[..., n:],
        asymmetry=(cubic_spread, quartic_spread),
    )


def _symmetric(tensor: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the mean over the orders of the indices, and the largest deviation from it."""
    mean = np.mean([tensor.transpose(order) for order in permutations(range(3))], axis=0)
    return mean, float(np.abs(tensor - mean).max(initial=0.0))


def _semidiagonal(tensor: np.ndarray) -> tuple[np.ndarray, float]:
    """Return φ_iijk, each from all estimates of it, and their largest deviation."""
    n = len(tensor)
    mean = 0.5 * (tensor + tensor.transpose(0, 2, 1))
    i = np.arange(n)
    # φ_iijj from both of its modes
    squares = tensor[i[:, None], i[None, :], i[None, :]]
    mean[i[:, None], i[None, :], i[None, :]] = 0.5 * (squares + squares.T)
    return mean, float(np.abs(tensor - mean).max(initial=0.0))
