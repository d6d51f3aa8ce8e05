# SPDX-License-Identifier: MIT
r"""Basis functions of normal coordinates, and functions of them as sums of terms.

With q the dimensionless normal coordinate of a mode of wavenumber ω, the one-mode
Hamiltonian h = −(ω/2) d²/dq² + V(q) is diagonalised in harmonic-oscillator functions by the
discrete variable representation of Harris, Engerholm and Gwinn, J. Chem. Phys. 43, 1515
(1965): the nodes are the eigenvalues of the matrix of q, and V is diagonal there. Its lowest
eigenfunctions are the basis of the mode. Terms of the surface that couple modes are
integrated on nodes which are optimal for these functions, the eigenvalues of q within
the lowest of them (Echave and Clary, Chem. Phys. Lett. 190, 225 (1992)).

A function of all coordinates is expanded in terms of one, two, three and, if wanted, four modes,

    f(q) = f₀ + Σ_k f_k(q_k) + Σ_{k<l} f_kl(q_k, q_l) + Σ_{k<l<m} f_klm(q_k, q_l, q_m) + …

Each term is what the cut through its modes holds beyond the terms of fewer modes (Carter,
Culik and Bowman, J. Chem. Phys. 107, 10458 (1997)); it is known at the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np


@dataclass(frozen=True, eq=False)
class ModalBasis:
    """Basis functions of one mode; energies in cm⁻¹.

    Parameters
    ----------
    hamiltonian
        ⟨a|h|b⟩, ``[n, n]``.
    position, derivative
        ⟨a|q|b⟩ and ⟨a|d/dq|b⟩, ``[n, n]``.
    nodes
        Values of q for terms of one, two, three and, if wanted, four modes.
    values
        Basis functions at these nodes times the square root of the quadrature weight, each
        ``[n_nodes, n]``: the matrix of a function f(q) is valuesᵀ f values.
    """

    hamiltonian: np.ndarray
    position: np.ndarray
    derivative: np.ndarray
    nodes: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]

    @classmethod
    def from_cut(cls, wavenumber: float, potential: np.ndarray, sizes: Sequence[int]) -> ModalBasis:
        """Return the eigenfunctions of a mode.

        Parameters
        ----------
        wavenumber
            ω of the oscillator whose functions span the cut, cm⁻¹.
        potential
            V at :func:`oscillator_nodes`, cm⁻¹.
        sizes
            Nodes of terms of two, three, … modes; the first is the number of basis functions.
        """
        n = len(potential)
        q, d = oscillator_matrices(n)
        nodes, transformation = np.linalg.eigh(q)
        quanta = np.arange(n)
        beyond = np.sqrt((quanta[:-2] + 1.0) * (quanta[:-2] + 2.0))
        squared = np.diag(quanta + 0.5) - 0.5 * (np.diag(beyond, 2) + np.diag(beyond, -2))
        whole = 0.5 * wavenumber * squared + (transformation * potential) @ transformation.T
        energies, vectors = np.linalg.eigh(whole)
        kept = vectors[:, : sizes[0]]
        position = kept.T @ q @ kept
        optimal = [_optimal_nodes(position, m) for m in sizes]
        return cls(
            hamiltonian=np.diag(energies[: sizes[0]]),
            position=position,
            derivative=kept.T @ d @ kept,
            nodes=(nodes, *(x for x, _ in optimal)),
            values=(transformation.T @ kept, *(v for _, v in optimal)),
        )

    def __len__(self) -> int:
        return len(self.hamiltonian)

    def rotated(self, rotation: np.ndarray) -> ModalBasis:
        """Return the basis of the functions Σ_a φ_a rotation[a, b]."""
        return ModalBasis(
            hamiltonian=rotation.T @ self.hamiltonian @ rotation,
            position=rotation.T @ self.position @ rotation,
            derivative=rotation.T @ self.derivative @ rotation,
            nodes=self.nodes,
            values=tuple(v @ rotation for v in self.values),
        )


def oscillator_nodes(n: int) -> np.ndarray:
    """Return the n nodes of q on which a cut along one mode is evaluated, ascending."""
    return np.asarray(np.linalg.eigvalsh(oscillator_matrices(n)[0]))


def oscillator_matrices(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrices of q and d/dq in n harmonic-oscillator functions."""
    step = np.sqrt(0.5 * np.arange(1, n))
    return np.diag(step, 1) + np.diag(step, -1), np.diag(step, 1) - np.diag(step, -1)


def _optimal_nodes(position: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes of the lowest m functions, and the values of all at these nodes."""
    nodes, transformation = np.linalg.eigh(position[:m, :m])
    values = np.zeros((m, len(position)))
    values[:, :m] = transformation.T
    return nodes, values


#: Functions of normal coordinates: ``[n_points, n_modes]`` to ``[n_points, n_components]``.
Surface = Callable[[np.ndarray], np.ndarray]
#: The modes of a term, ascending.
Modes = tuple[int, ...]


@dataclass(frozen=True, eq=False)
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
        """Return the matrix of a term, ``[n, n, n', n', …]``: bra and ket of each mode.

        Of a term of four modes, only between as many functions as it has nodes.
        """
        return _integrated(self.terms[modes][..., component], modes, len(modes), bases)

    def coarse_operator(
        self, modes: Modes, component: int, bases: Sequence[ModalBasis]
    ) -> np.ndarray:
        """Return the matrix of a term of two modes on the fewer nodes."""
        return _integrated(self.coarse[modes][..., component], modes, 3, bases)


def expanded(
    surface: Surface,
    bases: Sequence[ModalBasis],
    triples: Iterable[Modes] = (),
    quadruples: Iterable[Modes] = (),
) -> Expansion:
    """Return the terms of one and two modes of a function, and others of three and four.

    The triples of modes must include those within the quadruples.
    """
    n = len(bases)
    reference = surface(np.zeros((1, n)))[0]
    lower: dict[tuple[int, Modes], np.ndarray] = {(0, ()): reference}

    def add(order: int, wanted: Sequence[Modes]) -> None:
        """Evaluate cuts on the nodes of an order, all in one call."""
        if not wanted:  # a diatomic molecule has no pairs
            return
        grids = [_grid(order, modes, bases) for modes in wanted]
        found = surface(np.concatenate(grids))
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

    singles: list[Modes] = [(k,) for k in range(n)]
    pairs: list[Modes] = list(combinations(range(n), 2))
    chosen, largest = sorted(triples), sorted(quadruples)
    orders = (1, 2, 3, 4) if largest else (1, 2, 3)
    by_number: tuple[list[Modes], ...] = (singles, pairs, chosen, largest)
    for number, wanted in enumerate(by_number):
        for order in orders[number:]:
            add(order, wanted)
    terms = chain.from_iterable(by_number)
    return Expansion(
        reference=reference,
        terms={modes: lower[len(modes), modes] for modes in terms},
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
        if order == 4:  # the matrix between all of them would not fit into memory
            functions = functions[:, : len(functions)]
        # the leading axis is a node axis; its bra and ket go to the end
        values = np.einsum("x...,xa,xb->...ab", values, functions, functions, optimize=True)
    return values
