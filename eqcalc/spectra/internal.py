# SPDX-License-Identifier: MIT
"""Motion of internal coordinates: distances, angles and dihedral angles along a trajectory.

A coordinate is named by its atoms, ``0-8``, ``0-1-8`` and ``3-0-1-8`` (indices from zero), or by
elements, ``O-H``, which stands for all chains of bonded atoms with these elements.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import ase
import numpy as np

from eqcalc.molecules import bonds
from eqcalc.spectra.power import power_spectrum
from eqcalc.spectra.series import Series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidInputError, array_of, instance, real

_KINDS = {2: ("distance", "Å"), 3: ("angle", "degree"), 4: ("dihedral angle", "degree")}
_EXPECTED = "two to four atoms as 0-8, 0-1-8 or 3-0-1-8, or bonded elements as O-H or C-O-H"


def internal_spectrum(trajectory: Trajectory, coordinate: str, **estimation: Any) -> Spectrum:
    """Return the power spectrum of an internal coordinate, ∫S dν̃ = Σ⟨(q − ⟨q⟩)²⟩.

    Parameters
    ----------
    trajectory
        A trajectory with positions.
    coordinate
        Its name, see the table of this module; several coordinates that elements stand for are
        summed.
    estimation
        See :class:`eqcalc.spectra.Estimation`.

    Returns
    -------
    Spectrum
        In Å² or degree² per cm⁻¹.

    Raises
    ------
    InvalidInputError
        There is no such coordinate.
    """
    series = Series.from_trajectory(trajectory, "positions")
    to_angstrom = series.factor("Å")
    start = ase.Atoms(
        trajectory.numbers,
        series.replicas[0][0:1][0] * to_angstrom,
        cell=trajectory.cell,
        pbc=trajectory.cell is not None,
    )
    chains = bonded_chains(start, coordinate)
    kind, unit = _KINDS[chains.shape[1]]
    values = [
        internal_coordinates(frames[:] * to_angstrom, chains, trajectory.cell)
        for frames in series.replicas
    ]
    label = f"{kind} {coordinate}"
    found = power_spectrum(values, interval=series.interval, unit=unit, label=label, **estimation)
    return replace(found, provenance={**found.provenance, "source": series.provenance})


def bonded_chains(atoms: ase.Atoms, coordinate: str) -> np.ndarray:
    """Return the atoms of the coordinates that a name stands for, ``[n, 2 to 4]``."""
    instance("atoms", atoms, ase.Atoms)
    parts = coordinate.split("-") if isinstance(coordinate, str) else []
    if not 2 <= len(parts) <= 4:
        raise InvalidInputError(key="internal", value=coordinate, expected=_EXPECTED)
    if all(part.isdecimal() for part in parts):
        chosen = np.array([[int(part) for part in parts]])
        if chosen.max() >= len(atoms) or len(set(parts)) < len(parts):
            expected = f"different atoms from 0 to {len(atoms) - 1}"
            raise InvalidInputError(key="internal", value=coordinate, expected=expected)
        return chosen
    neighbours: list[list[int]] = [[] for _ in atoms]
    for i, j in bonds(atoms):
        neighbours[i].append(int(j))
        neighbours[j].append(int(i))
    chains: list[tuple[int, ...]] = [(i,) for i in range(len(atoms))]
    for _ in parts[1:]:
        chains = [(*c, k) for c in chains for k in neighbours[c[-1]] if k not in c]
    symbols = atoms.get_chemical_symbols()
    wanted = [c for c in chains if [symbols[k] for k in c] == parts]
    unique = [c for c in wanted if c[::-1] not in wanted or c < c[::-1]]
    if not unique:
        pairs = sorted({"-".join(sorted((symbols[i], symbols[j]))) for i, j in bonds(atoms)})
        raise InvalidInputError(
            f"no bonded atoms {coordinate}; bonds: {', '.join(pairs) or 'none'}",
            key="internal",
            value=coordinate,
            expected=_EXPECTED,
        )
    return np.array(unique)


def internal_coordinates(
    positions: np.ndarray, chains: np.ndarray, cell: np.ndarray | None = None
) -> np.ndarray:
    """Return distances [Å], angles or dihedral angles [degree], ``[n_frames, n]``.

    Parameters
    ----------
    positions
        ``[n_frames, n_atoms, 3]`` Å, not wrapped into a cell along the time.
    chains
        Atoms of each coordinate, ``[n, 2]``, ``[n, 3]`` or ``[n, 4]``. Dihedral angles are
        continuous in time.
    cell
        Cell vectors as rows [Å]; the image of each bond is that of the first frame.
    """
    positions = array_of("positions", positions, ("n_frames", "n_atoms", 3))
    chains = real("chains", chains)
    atoms = range(positions.shape[1])
    if (
        chains.ndim != 2
        or chains.dtype.kind not in "iu"
        or not 2 <= chains.shape[1] <= 4
        or not {*chains.ravel().tolist()} <= {*atoms}
        or any(len({*chain}) < len(chain) for chain in chains.tolist())
    ):
        expected = f"two to four different atoms of each coordinate, from 0 to {len(atoms) - 1}"
        raise InvalidInputError(key="chains", value=chains.tolist(), expected=expected)
    arms = [
        positions[:, second] - positions[:, first] for first, second in itertools.pairwise(chains.T)
    ]
    if cell is not None:
        cell = array_of("cell", cell, (3, 3))
        if not np.linalg.det(cell):
            expected = "three vectors that span a volume"
            raise InvalidInputError(key="cell", value=cell.tolist(), expected=expected)
        arms = [arm - np.rint(arm[0] @ np.linalg.inv(cell)) @ cell for arm in arms]
    if len(arms) == 1:
        return np.linalg.norm(arms[0], axis=-1)
    if len(arms) == 2:
        sine = np.linalg.norm(np.cross(arms[0], arms[1]), axis=-1)
        return np.degrees(np.arctan2(sine, -(arms[0] * arms[1]).sum(-1)))
    first, second = np.cross(arms[0], arms[1]), np.cross(arms[1], arms[2])
    axis = arms[1] / np.linalg.norm(arms[1], axis=-1, keepdims=True)
    sine = (np.cross(first, second) * axis).sum(-1)
    return np.degrees(np.unwrap(np.arctan2(sine, (first * second).sum(-1)), axis=0))
