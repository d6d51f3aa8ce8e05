# SPDX-License-Identifier: MIT
r"""Functions of the normal coordinates as sums of terms of one, two and three modes.

    f(q) = f₀ + Σ_k f_k(q_k) + Σ_{k<l} f_kl(q_k, q_l) + Σ_{k<l<m} f_klm(q_k, q_l, q_m) + …

Each term is what the cut through its modes holds beyond the terms of fewer modes (Carter,
Culik and Bowman, J. Chem. Phys. 107, 10458 (1997)). Terms are known at the nodes of
:class:`~eqcalc.anharmonic.modal_basis.ModalBasis`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from eqcalc.anharmonic.modal_basis import ModalBasis

#: Functions of normal coordinates: ``[n_points, n_modes]`` to ``[n_points, n_components]``.
Surface = Callable[[np.ndarray], np.ndarray]
#: The modes of a term, ascending.
Modes = tuple[int, ...]


@dataclass(frozen=True)
class Expansion:
    """Terms of a function of several components.

    Parameters
    ----------
    reference
        f₀, ``[n_components]``.
    terms
        By their modes, ``[n_nodes, …, n_components]`` on the nodes for as many modes.
    coarse
        The terms of two modes again on the fewer nodes of terms of three: how much the results
        differ measures the error of the quadrature.
    """

    reference: np.ndarray
    terms: dict[Modes, np.ndarray]
    coarse: dict[Modes, np.ndarray]

    def operator(self, modes: Modes, component: int, bases: Sequence[ModalBasis]) -> np.ndarray:
        """Return the matrix of a term, ``[n, n, n', n', …]``: bra and ket of each mode."""
        return _integrated(self.terms[modes][..., component], modes, len(modes), bases)

    def coarse_operator(
        self, modes: Modes, component: int, bases: Sequence[ModalBasis]
    ) -> np.ndarray:
        """Return the matrix of a term of two modes on the fewer nodes."""
        return _integrated(self.coarse[modes][..., component], modes, 3, bases)


def expanded(
    surface: Surface, bases: Sequence[ModalBasis], triples: Iterable[Modes] = ()
) -> Expansion:
    """Return the terms of one and two modes of a function, and those of the given triples."""
    n = len(bases)
    reference = surface(np.zeros((1, n)))[0]
    lower: dict[tuple[int, Modes], np.ndarray] = {(0, ()): reference}

    def add(order: int, wanted: Sequence[Modes]) -> None:
        """Evaluate cuts on the nodes of an order, all in one call."""
        grids = [_grid(order, modes, bases) for modes in wanted]
        found = surface(np.concatenate(grids)) if grids else np.empty((0, len(reference)))
        ends = np.cumsum([len(grid) for grid in grids])
        for modes, values in zip(wanted, np.split(found, ends[:-1]), strict=True):
            sizes = [len(bases[k].nodes[order - 1]) for k in modes]
            term = values.reshape(*sizes, -1) - reference
            for fewer in range(1, len(modes)):
                for subset in combinations(range(len(modes)), fewer):
                    part = lower[order, tuple(modes[i] for i in subset)]
                    shape = [sizes[i] if i in subset else 1 for i in range(len(modes))]
                    term = term - part.reshape(*shape, -1)
            lower[order, modes] = term

    singles = [(k,) for k in range(n)]
    pairs = list(combinations(range(n), 2))
    for order in (1, 2, 3):
        add(order, singles)
    for order in (2, 3):
        add(order, pairs)
    chosen = sorted(triples)
    if chosen:
        add(3, chosen)
    return Expansion(
        reference=reference,
        terms={modes: lower[len(modes), modes] for modes in (*singles, *pairs, *chosen)},
        coarse={modes: lower[3, modes] for modes in pairs},
    )


def _grid(order: int, modes: Modes, bases: Sequence[ModalBasis]) -> np.ndarray:
    """Return the points of a cut through some modes, ``[n_points, n_modes]``."""
    axes = np.meshgrid(*(bases[k].nodes[order - 1] for k in modes), indexing="ij")
    points = np.zeros((axes[0].size, len(bases)))
    for k, axis in zip(modes, axes, strict=True):
        points[:, k] = axis.ravel()
    return points


def _integrated(
    values: np.ndarray, modes: Modes, order: int, bases: Sequence[ModalBasis]
) -> np.ndarray:
    """Return the matrix of a function on nodes in the product of the bases of its modes."""
    for k in modes:
        functions = bases[k].values[order - 1]
        # the leading axis is a node axis; its bra and ket go to the end
        values = np.einsum("x...,xa,xb->...ab", values, functions, functions, optimize=True)
    return values
