# SPDX-License-Identifier: MIT
"""Assign the bands of a trajectory: normal modes of its model, conformer by conformer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from eqcalc.harmonic import double_precision, harmonic_spectrum, relax
from eqcalc.models.derivatives import property_derivative
from eqcalc.models.potential import Potential
from eqcalc.spectra import (
    AssignedBand,
    Decomposition,
    HarmonicSpectrum,
    assign_bands,
    assignment_table,
    decompose_dipole_by_groups,
    decompose_dipole_by_modes,
)
from eqcalc.spectra.assignment import REMAINDER, ROTATION
from eqcalc.spectra.harmonic import isotope_shifts
from eqcalc.structures import Structures
from eqcalc.trajectory import Trajectory, write_atomically

__all__ = ["ConformerAssignment", "assign", "isotope_masses", "write_assignment"]

#: Wavenumbers of two minima that are the same conformer agree within this [cm⁻¹].
_SAME_CONFORMER = 2.0
_LEGEND = (
    "Wavenumbers in cm⁻¹. Harmonic: wavenumber of the mode that carries most of the band; shift: "
    "the band less that;\nisotope: change of that mode with the other masses; moving atoms "
    "(counted from 0): share of the kinetic energy of\nthe mode; carried by: share of the area, "
    "in which parts of opposite sign interfere."
)


@dataclass(frozen=True)
class ConformerAssignment:
    """The bands of the replicas that vibrate about one conformer.

    Parameters
    ----------
    reference
        The minimum that the first of the replicas starts near.
    harmonic
        Its normal modes.
    replicas
        Indices of the replicas.
    modes
        The infrared spectrum as a sum over modes, rotation and remainder.
    bands
        What each band comes from.
    groups
        The same spectrum as a sum over groups of atoms, if groups were given.
    group_bands
        The same bands, assigned to groups.
    """

    reference: Atoms
    harmonic: HarmonicSpectrum
    replicas: tuple[int, ...]
    modes: Decomposition
    bands: tuple[AssignedBand, ...]
    groups: Decomposition | None
    group_bands: tuple[AssignedBand, ...]

    def table(self) -> str:
        """Return the bands as text."""
        symbols = self.reference.get_chemical_symbols()
        text = assignment_table(self.bands, "km/mol", symbols=symbols)
        if self.group_bands:
            text += "\n\n" + assignment_table(self.group_bands, "km/mol", symbols=symbols)
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the spectra, JSON-able."""
        return {
            "replicas": list(self.replicas),
            "symbols": self.reference.get_chemical_symbols(),
            "positions_angstrom": self.reference.positions.tolist(),
            "harmonic": self.harmonic.to_dict(),
            "bands": [band.to_dict() for band in self.bands],
            "bands_by_group": [band.to_dict() for band in self.group_bands],
        }


@dataclass(frozen=True)
class _Minimum:
    """The minimum that a replica starts near, with what spectra need of it."""

    atoms: Atoms
    harmonic: HarmonicSpectrum
    polar_tensors: np.ndarray


def isotope_masses(atoms: Atoms, isotopes: Mapping[str, float]) -> np.ndarray:
    """Return the masses ``[n_atoms]`` [amu] of a molecule with other isotopes.

    Parameters
    ----------
    atoms
        The molecule.
    isotopes
        Mass [amu] of every atom of an element, ``{"H": 2.014}``, or of one atom by
        its index from zero, ``{"8": 2.014}``.

    Raises
    ------
    ValueError
        There is no such element or atom, or a mass is not positive.
    """
    masses = atoms.get_masses()
    for key, mass in isotopes.items():
        if key.isdigit():
            chosen = np.arange(len(atoms)) == int(key)
        else:
            chosen = atoms.numbers == atomic_numbers.get(key, -1)
        if not chosen.any():
            raise ValueError(
                f"isotopes: {key!r} is neither an element of {atoms.symbols} nor the index of an "
                f"atom (0 to {len(atoms) - 1})"
            )
        if not mass > 0.0:
            raise ValueError(f"isotopes: expected a positive mass in amu for {key!r}, got {mass}")
        masses[chosen] = mass
    return masses


def assign(
    trajectory: Trajectory,
    potential: Potential,
    *,
    groups: Mapping[str, Sequence[int]] | None = None,
    isotopes: Mapping[str, float] | None = None,
    threshold: float = 0.02,
    **estimation: Any,
) -> list[ConformerAssignment]:
    """Return what the bands of a trajectory come from, for each conformer in it.

    Each replica is compared with the minimum that its first frame relaxes to.
    Replicas whose minima have the same normal modes (the same conformer, perhaps
    with atoms renamed or reflected) are analysed together.

    Parameters
    ----------
    trajectory
        With positions as often as the dipole.
    potential
        The model it was made with, which has a dipole.
    groups
        Indices of the atoms of groups to assign the intensity to as well.
    isotopes
        Other masses, for how far each harmonic partner would move; see
        :func:`isotope_masses`.
    threshold
        See :meth:`eqcalc.spectra.Spectrum.bands`.
    estimation
        Window, resolution, errors: see :class:`eqcalc.spectra.Estimation`.

    Raises
    ------
    ValueError
        The trajectory has no positions, or fewer than dipoles.
    """
    dipole, positions = _series(trajectory)
    potential = double_precision(potential)
    minima = [_minimum(potential, trajectory, frames[0]) for frames in positions]
    common = {
        "interval": trajectory.observable("dipole", slice(0, 1)).interval,
        "temperature": trajectory.temperature,
        "method": trajectory.method,
        "timestep": trajectory.timestep,
        "n_beads": trajectory.n_beads,
        **estimation,
    }
    result = []
    for replicas in _conformers(minima):
        members = [minima[r] for r in replicas]
        first = members[0]
        shifts = None
        if isotopes:
            changed = isotope_masses(first.atoms, isotopes)
            shifts, _ = isotope_shifts(first.harmonic, changed)
        data = (dipole[replicas], positions[replicas], [m.harmonic for m in members])
        modes = decompose_dipole_by_modes(*data, **common)
        bands = modes.total.bands(threshold, lower=100.0)
        by_group = None
        if groups:
            tensors = np.stack([m.polar_tensors for m in members])
            by_group = decompose_dipole_by_groups(*data, tensors, groups, **common)
        result.append(
            ConformerAssignment(
                first.atoms,
                first.harmonic,
                tuple(replicas),
                modes,
                tuple(assign_bands(modes, bands, harmonic=first.harmonic, isotope_shifts=shifts)),
                by_group,
                () if by_group is None else tuple(assign_bands(by_group, bands, n_leading=4)),
            )
        )
    return result


def _series(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Return dipoles and positions at the same times."""
    missing = {"dipole", "positions"} - set(trajectory.observables())
    if missing:
        raise ValueError(
            f"{trajectory.path} has no {' and no '.join(sorted(missing))}; simulate with "
            "--positions"
        )
    dipole, positions = trajectory.observable("dipole"), trajectory.observable("positions")
    if not np.isclose(dipole.interval, positions.interval):
        raise ValueError(
            f"{trajectory.path} has the dipole every {dipole.interval:g} fs but positions every "
            f"{positions.interval:g} fs; an assignment needs both at the same times: simulate with "
            "--positions"
        )
    n = min(dipole.values.shape[1], positions.values.shape[1])
    return dipole.values[:, :n], positions.values[:, :n]


def _minimum(potential: Potential, trajectory: Trajectory, positions: np.ndarray) -> _Minimum:
    atoms = Atoms(trajectory.numbers, positions, masses=trajectory.masses)
    relaxed = relax(potential, atoms, fmax=1e-4)
    relaxed.calc = None
    structure = Structures.from_atoms(relaxed, device=potential.device)
    return _Minimum(
        relaxed,
        harmonic_spectrum(potential, relaxed),
        property_derivative(potential, structure, "dipole").cpu().numpy(),
    )


def _conformers(minima: Sequence[_Minimum]) -> list[list[int]]:
    """Return the replicas of each conformer, the most frequent first."""
    found: list[list[int]] = []
    for replica, minimum in enumerate(minima):
        for members in found:
            other = minima[members[0]].harmonic.wavenumber
            if np.abs(minimum.harmonic.wavenumber - other).max() < _SAME_CONFORMER:
                members.append(replica)
                break
        else:
            found.append([replica])
    return sorted(found, key=len, reverse=True)


# --- files ------------------------------------------------------------------------


def write_assignment(
    found: Sequence[ConformerAssignment], folder: str | Path, *, reversed_axis: bool = False
) -> str:
    """Write the tables of an assignment and a figure for each conformer; return the text.

    Parameters
    ----------
    found
        From :func:`assign`.
    folder
        Receives ``assignment.txt``, ``assignment.json`` and ``assignment-1.png``, ….
    reversed_axis
        Wavenumbers fall from left to right in the figures.
    """
    from eqcalc.spectra.assignment_plot import assignment_figure
    from eqcalc.spectra.plot import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    n_replicas = sum(len(conformer.replicas) for conformer in found)
    texts = [_LEGEND]
    for number, conformer in enumerate(found, 1):
        whole = conformer.modes.total.integrate().value
        shares = [
            f"{name} {100.0 * conformer.modes.share(name).integrate().value / whole:.0f} %"
            for name in (ROTATION, REMAINDER)
        ]
        texts.append(
            f"conformer {number} of {len(found)}: {len(conformer.replicas)} of {n_replicas} "
            f"replicas; of the whole intensity {', '.join(shares)}\n{conformer.table()}"
        )
        figure = assignment_figure(
            conformer.modes, conformer.bands, conformer.harmonic, reversed_axis=reversed_axis
        )
        save(figure, folder / f"assignment-{number}.png")
    text = "\n\n".join(texts)
    record = json.dumps([conformer.to_dict() for conformer in found], indent=1, ensure_ascii=False)
    write_atomically(folder / "assignment.txt", (text + "\n").encode())
    write_atomically(folder / "assignment.json", (record + "\n").encode())
    return text
