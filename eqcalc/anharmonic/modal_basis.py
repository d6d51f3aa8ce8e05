# SPDX-License-Identifier: MIT
r"""Basis functions and quadrature nodes of one normal coordinate.

With q the dimensionless normal coordinate of a mode of wavenumber ω, the one-mode
Hamiltonian h = −(ω/2) d²/dq² + V(q) is diagonalised in harmonic-oscillator functions by the
discrete variable representation of Harris, Engerholm and Gwinn, J. Chem. Phys. 43, 1515
(1965): the nodes are the eigenvalues of the matrix of q, and V is diagonal there. Its lowest
eigenfunctions are the basis of the mode. Terms of the surface that couple modes are
integrated on nodes which are optimal for these functions, the eigenvalues of q within
the lowest of them (Echave and Clary, Chem. Phys. Lett. 190, 225 (1992)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ModalBasis:
    """Basis functions of one mode; energies in cm⁻¹.

    Parameters
    ----------
    hamiltonian
        ⟨a|h|b⟩, ``[n, n]``.
    position, derivative
        ⟨a|q|b⟩ and ⟨a|d/dq|b⟩, ``[n, n]``.
    nodes
        Values of q for terms of one, two and three modes.
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
    def from_cut(
        cls, wavenumber: float, potential: np.ndarray, sizes: tuple[int, int]
    ) -> ModalBasis:
        """Return the eigenfunctions of a mode.

        Parameters
        ----------
        wavenumber
            ω of the oscillator whose functions span the cut, cm⁻¹.
        potential
            V at :func:`oscillator_nodes`, cm⁻¹.
        sizes
            Nodes of terms of two and of three modes; the first is the number of basis functions.
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
