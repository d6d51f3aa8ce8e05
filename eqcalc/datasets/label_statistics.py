# SPDX-License-Identifier: MIT
"""Statistics of the labels that shift and scale a model, and normalise its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eqcalc.datasets.dataset import Dataset


@dataclass(frozen=True)
class Statistics:
    """Statistics of a dataset in internal units; None where a label is missing.

    Parameters
    ----------
    n_structures, n_atoms
        Numbers of structures and of atoms.
    element_energies
        Least-squares energy of each element [eV], by atomic number.
    energy_rms
        Root mean square over structures of the energy that is left [eV].
    energy_per_atom_rms
        The same per atom [eV].
    forces_rms
        Root mean square of force components [eV/Å].
    dipole_rms
        Root mean square of the dipole's length [e·Å].
    element_polarizabilities
        Least-squares isotropic polarizability of each element [e²Å²/eV].
    polarizability_rms
        Root mean square over structures of the isotropic polarizability that is
        left [e²Å²/eV].
    anisotropy_rms
        Root mean square of the components of the traceless polarizability
        [e²Å²/eV].
    """

    n_structures: int
    n_atoms: int
    element_energies: dict[int, float] | None = None
    energy_rms: float | None = None
    energy_per_atom_rms: float | None = None
    forces_rms: float | None = None
    dipole_rms: float | None = None
    element_polarizabilities: dict[int, float] | None = None
    polarizability_rms: float | None = None
    anisotropy_rms: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as JSON can hold them."""
        return asdict(self)


def statistics(dataset: Dataset) -> Statistics:
    """Compute the statistics of `dataset`; pass the training part only."""
    values: dict[str, Any] = {}
    for name in ("energy", "polarizability"):
        known = np.flatnonzero(dataset.present(name))
        if not len(known):
            continue
        labels = dataset.labels(known)[0][name].numpy()
        numbers = _numbers(dataset, known)
        counts = np.array([len(z) for z in numbers])
        if name == "energy":
            references = fit_element_energies(numbers, labels)
            left = labels - element_sums(numbers, references)
            values |= {
                "element_energies": references,
                "energy_rms": _rms(left),
                "energy_per_atom_rms": _rms(left / counts),
            }
        else:
            isotropic = np.trace(labels, axis1=1, axis2=2) / 3.0
            references = fit_element_polarizabilities(numbers, labels)
            values |= {
                "element_polarizabilities": references,
                "polarizability_rms": _rms(isotropic - element_sums(numbers, references)),
                "anisotropy_rms": _rms(labels - isotropic[:, None, None] * np.eye(3)),
            }
    known = np.flatnonzero(dataset.present("forces"))
    if len(known):
        values["forces_rms"] = _rms(dataset.labels(known)[0]["forces"].numpy())
    known = np.flatnonzero(dataset.present("dipole"))
    if len(known):
        dipoles = dataset.labels(known)[0]["dipole"].numpy()
        values["dipole_rms"] = _rms(np.linalg.norm(dipoles, axis=1))
    return Statistics(len(dataset), int(dataset.counts.sum()), **values)


def fit_element_energies(
    numbers: Sequence[np.ndarray], energies: np.ndarray, *, robust: bool = False
) -> dict[int, float]:
    """Fit the energy of structures by a sum over their atoms.

    Of all least-squares solutions the one of smallest norm is taken: if all
    structures are one molecule, every fit that sums to the mean is as good.

    Parameters
    ----------
    numbers
        Atomic numbers of each structure.
    energies
        Energies [eV], ``[n_structures]``.
    robust
        Fit again without the structures further off than three times 1.4826
        median deviations, until that changes nothing (at most ten times).

    Returns
    -------
    dict
        Energy of each element [eV], by atomic number.
    """
    elements, composition = _composition(numbers)
    used = np.ones(len(energies), dtype=bool)
    for _ in range(10):
        fit = np.linalg.lstsq(composition[used], energies[used], rcond=1e-10)[0]
        if not robust:
            break
        off = np.abs(energies - composition @ fit) / composition.sum(axis=1)
        within = off <= 3.0 * 1.4826 * max(float(np.median(off)), 1e-3)
        if (within == used).all() or within.sum() <= len(elements):
            break
        used = within
    return {int(z): float(energy) for z, energy in zip(elements, fit, strict=True)}


def fit_element_polarizabilities(
    numbers: Sequence[np.ndarray], polarizabilities: np.ndarray
) -> dict[int, float]:
    """Fit the isotropic part of polarizabilities by a sum over atoms.

    Parameters
    ----------
    numbers
        Atomic numbers of each structure.
    polarizabilities
        ``[n_structures, 3, 3]`` [e²Å²/eV].

    Returns
    -------
    dict
        Isotropic polarizability of each element [e²Å²/eV], by atomic number.
    """
    elements, composition = _composition(numbers)
    isotropic = np.trace(polarizabilities, axis1=1, axis2=2) / 3.0
    fit = np.linalg.lstsq(composition, isotropic, rcond=1e-10)[0]
    return {int(z): float(value) for z, value in zip(elements, fit, strict=True)}


def fit_element_values(
    numbers: Sequence[np.ndarray], values: np.ndarray, *, mean: bool
) -> dict[int, float]:
    """Fit a scalar quantity by a sum over atoms, or by their mean.

    Parameters
    ----------
    numbers
        Atomic numbers of each structure.
    values
        ``[n_structures]``.
    mean
        Whether the values of the atoms are averaged, for intensive quantities.

    Returns
    -------
    dict
        Value of each element, by atomic number.
    """
    elements, composition = _composition(numbers)
    if mean:
        composition = composition / composition.sum(axis=1, keepdims=True)
    fit = np.linalg.lstsq(composition, values, rcond=1e-10)[0]
    return {int(z): float(value) for z, value in zip(elements, fit, strict=True)}


def element_sums(
    numbers: Sequence[np.ndarray], values: Mapping[int, float], *, mean: bool = False
) -> np.ndarray:
    """Return the sum, or mean, of the `values` of the elements of each structure."""
    combine = np.mean if mean else np.sum
    return np.array([combine([values.get(int(z), 0.0) for z in zs]) for zs in numbers])


def _numbers(dataset: Dataset, indices: np.ndarray) -> list[np.ndarray]:
    structures = dataset.structures(indices)
    stops = np.cumsum(structures.counts.numpy())
    return np.split(structures.numbers.numpy(), stops[:-1])


def _composition(numbers: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the elements and the number of atoms of each, ``[n_structures, n_elements]``."""
    elements, column = np.unique(np.concatenate(numbers), return_inverse=True)
    row = np.repeat(np.arange(len(numbers)), [len(z) for z in numbers])
    composition = np.zeros((len(numbers), len(elements)))
    np.add.at(composition, (row, column), 1.0)
    return elements, composition


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
