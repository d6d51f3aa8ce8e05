# SPDX-License-Identifier: MIT
"""Assign the bands of a trajectory to normal modes, conformer by conformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from eqcalc.facts import preformatted
from eqcalc.files import write_atomically, write_record
from eqcalc.models.potential import Potential
from eqcalc.models.precision import in_precision
from eqcalc.molecules import isotope_masses
from eqcalc.normal_modes import isotope_shifts
from eqcalc.reports.files import LOWEST
from eqcalc.reports.minima import Minimum, Residence, conformers, visited_minima
from eqcalc.spectra import (
    AssignedBand,
    Decomposition,
    Estimation,
    HarmonicSpectrum,
    Series,
    assign_bands,
    assignment_notes,
    assignment_table,
    decompose_dipole_by_groups,
    decompose_dipole_by_modes,
    plot_assignment,
    save_figure,
    unresolved_notes,
)
from eqcalc.spectra.assignment.modes import REMAINDER, ROTATION
from eqcalc.spectra.provenance import provenance_facts, sample
from eqcalc.spectra.quantum_factors import merged_warnings
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidInputError

_LEGEND = (
    "Wavenumbers in cm⁻¹. Harmonic: wavenumber of the mode that carries at least half of the band; "
    "shift: the\nband less that; isotope: change of that mode with the other masses; moving atoms "
    "(counted from 0): share of\nthe kinetic energy of the mode; carried by: share of the area, in "
    "which parts of opposite sign interfere."
)
_FRAMES = {
    "eckart": "Bands are those in the Eckart frame of the minimum: without rotation (--frame "
    "laboratory: with it).",
    "laboratory": "Bands contain the rotation of the molecule: maxima of P and R branches are no "
    "vibrations, and shifts from\nthem no anharmonicity (--frame eckart: without it).",
}


@dataclass(frozen=True)
class ConformerAssignment:
    """The bands of replicas during residences near one conformer."""

    reference: Atoms  #: the first of its minima found
    harmonic: HarmonicSpectrum  #: its normal modes
    #: residences of replicas near a minimum of this conformer, which are assigned
    residences: tuple[Residence, ...]
    modes: Decomposition  #: the infrared spectrum as a sum over modes, rotation and remainder
    bands: tuple[AssignedBand, ...]  #: assignment of each band
    groups: Decomposition | None  #: the same spectrum as a sum over groups of atoms, if given
    group_bands: tuple[AssignedBand, ...]  #: the same bands, assigned to groups
    notes: tuple[str, ...]  #: notes on the bands

    @property
    def replicas(self) -> tuple[int, ...]:
        """Indices of the replicas."""
        return tuple(sorted({residence.replica for residence in self.residences}))

    @property
    def n_frames(self) -> int:
        """Total number of frames of all replicas."""
        return sum(residence.n_frames for residence in self.residences)

    def _repr_html_(self) -> str:
        return preformatted(self.table())

    def table(self) -> str:
        """Return the bands as text."""
        symbols = self.reference.get_chemical_symbols()
        text = assignment_table(self.bands, "km/mol", symbols=symbols)
        if self.group_bands:
            text += "\n\n" + assignment_table(self.group_bands, "km/mol", symbols=symbols)
        return "\n".join([text, *(f"note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the spectra, JSON-able."""
        return {
            "replicas": list(self.replicas),
            "residences": [residence._asdict() for residence in self.residences],
            "symbols": self.reference.get_chemical_symbols(),
            "positions_angstrom": self.reference.positions.tolist(),
            "harmonic": self.harmonic.to_dict(),
            "bands": [band.to_dict() for band in self.bands],
            "bands_by_group": [band.to_dict() for band in self.group_bands],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Assignment:
    """Assignment of the bands of a trajectory."""

    conformers: tuple[ConformerAssignment, ...]  #: in order of decreasing residence time
    residences: tuple[Residence, ...]  #: all residences near minima
    n_replicas: int
    n_frames: int  #: of each replica
    frame: str  #: of the spectra: "eckart" or "laboratory"
    shortest: float  #: the lag window, fs; shorter residences are not assigned

    @property
    def n_moving(self) -> int:
        """Number of replicas that leave their initial minimum."""
        staying = [s for s in self.residences if s.n_frames == self.n_frames and s.minimum >= 0]
        return self.n_replicas - len(staying)

    def fraction(self, conformer: ConformerAssignment | None = None) -> float:
        """Return the fraction of time assigned to a conformer, or in total."""
        chosen = self.conformers if conformer is None else (conformer,)
        return sum(c.n_frames for c in chosen) / (self.n_replicas * self.n_frames)

    def residence(self) -> str:
        """Return a text on replicas that change minima, and how they are treated."""
        if not self.n_moving:
            return f"all {self.n_replicas} replicas stay near the minimum they start near"
        assigned = self.fraction()
        return (
            f"{self.n_moving} of {self.n_replicas} replicas do not stay near the minimum they "
            "start near. They are cut where they\npass to another one, and each residence is "
            "assigned to the modes of its own minimum if it is as long as the\nlag window "
            f"({self.shortest:.0f} fs): {100 * assigned:.0f} % of the time. The other "
            f"{100 * (1 - assigned):.0f} %, passages and short visits, is in no table"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the spectra, JSON-able."""
        return {
            "replicas": self.n_replicas,
            "replicas_that_change_their_minimum": self.n_moving,
            "lag_fs": self.shortest,
            "frame": self.frame,
            "fraction_of_time_assigned": self.fraction(),
            "conformers": [
                {"fraction_of_time": self.fraction(c), **c.to_dict()} for c in self.conformers
            ],
        }


def assign(
    trajectory: Trajectory,
    potential: Potential,
    *,
    groups: Mapping[str, Sequence[int]] | None = None,
    isotopes: Mapping[str, float] | None = None,
    threshold: float = 0.02,
    frame: str = "eckart",
    quantum_factor: str = "harmonic",
    **estimation: Any,
) -> Assignment:
    """Assign the bands of a trajectory, for each conformer in it.

    Each replica is divided into residences near single minima, and each residence is compared
    with its own minimum. Residences near minima with the same normal modes (the same conformer,
    up to permutation or reflection) are analysed together, weighted by their duration.
    Residences shorter than the lag window are left out, since they cannot resolve lines.

    Parameters
    ----------
    trajectory
        Must contain positions as often as dipoles.
    potential
        The model used in the simulation, which must predict a dipole.
    groups
        Groups of atoms, by indices, to decompose the intensity into as well.
    isotopes
        Masses for the isotope shifts of harmonic partners; see
        :func:`eqcalc.molecules.isotope_masses`.
    threshold
        See :meth:`eqcalc.spectra.Spectrum.bands`.
    frame
        ``"eckart"`` of the minima, or ``"laboratory"``: with the rotational envelope, whose P and R
        branches may appear as bands.
    quantum_factor
        See :func:`eqcalc.spectra.infrared`.
    estimation
        Window, resolution, errors: see :class:`eqcalc.spectra.Estimation`.

    Raises
    ------
    InvalidInputError
        The trajectory is of a cell, has no positions, or fewer than dipoles; or no replica stays
        near a minimum for as long as the lag window.
    """
    if trajectory.cell is not None:
        raise InvalidInputError(
            "is of a periodic cell", file=trajectory.path, key="cell", expected="a molecule"
        )
    dipole, positions = _series(trajectory)
    potential = in_precision(potential, "float64")
    interval = trajectory.interval("dipole")
    n_frames = dipole.shape[1]
    # central differences lose a frame at either end
    n_lags = Estimation(**estimation).number_of_lags(interval, n_frames - 2)
    minima, visits = visited_minima(trajectory, potential, positions)
    long = [v for v in visits if v.minimum >= 0 and v.n_frames - 2 >= n_lags]
    if not long:
        raise InvalidInputError(
            f"no replica stays near one minimum for the {n_lags * interval:.0f} fs of the lag "
            "window",
            file=trajectory.path,
            advice="ask for a shorter one (--lag, or a larger --resolution), or simulate at a "
            "lower temperature",
        )
    known = Series.from_trajectory(trajectory, "dipole", derivative=False)
    facts = ("interval", "temperature", "method", "timestep", "n_beads", "correlation")
    common = {
        **{name: getattr(known, name) for name in (*facts, "provenance")},
        "quantum_factor": quantum_factor,
        "frame": frame,
        **{name: value for name, value in estimation.items() if name != "resolution"},
        "lag": n_lags * interval,
    }
    times = [sum(v.n_frames for v in long if v.minimum == m) for m in range(len(minima))]
    found = []
    for members in conformers(minima, times):
        chosen = [v for v in long if v.minimum in members]
        pieces = (
            [dipole[v.replica, v.start : v.stop] for v in chosen],
            [positions[v.replica, v.start : v.stop] for v in chosen],
        )
        near = [minima[v.minimum] for v in chosen]
        options = {**common, "sources": [v.replica for v in chosen]}
        found.append(
            _assigned(
                minima[members[0]], chosen, pieces, near, groups, isotopes, threshold, options
            )
        )
    return Assignment(tuple(found), tuple(visits), len(dipole), n_frames, frame, n_lags * interval)


def _assigned(
    first: Minimum,
    chosen: Sequence[Residence],
    pieces: tuple[list[np.ndarray], list[np.ndarray]],
    near: Sequence[Minimum],
    groups: Mapping[str, Sequence[int]] | None,
    isotopes: Mapping[str, float] | None,
    threshold: float,
    options: Mapping[str, Any],
) -> ConformerAssignment:
    """Return the bands of the residences of one conformer, each with the minimum it is near."""
    shifts = None
    if isotopes:
        shifts, _ = isotope_shifts(first.harmonic, isotope_masses(first.atoms, isotopes))
    data = (*pieces, [minimum.harmonic for minimum in near])
    modes = decompose_dipole_by_modes(*data, **options)
    total = modes.total
    bands = total.bands(threshold, lower=LOWEST)
    by_mode = assign_bands(modes, bands, harmonic=first.harmonic, isotope_shifts=shifts)
    by_group = None
    if groups:
        tensors = np.stack([minimum.polar_tensors for minimum in near])
        by_group = decompose_dipole_by_groups(*data, tensors, groups, **options)
    return ConformerAssignment(
        first.atoms,
        first.harmonic,
        tuple(chosen),
        modes,
        tuple(by_mode),
        by_group,
        () if by_group is None else tuple(assign_bands(by_group, bands, n_leading=4)),
        (*assignment_notes(by_mode), *unresolved_notes(total, threshold, LOWEST)),
    )


def _series(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Return dipoles and positions at the same times."""
    missing = {"dipole", "positions"} - set(trajectory.observables())
    advice = "eqcalc simulate records both, unless --observables says otherwise"
    if missing:
        problem = f"no {' and no '.join(sorted(missing))}"
        raise InvalidInputError(problem, file=trajectory.path, advice=advice)
    dipole, positions = trajectory.observable("dipole"), trajectory.observable("positions")
    if not np.isclose(dipole.interval, positions.interval):
        raise InvalidInputError(
            file=trajectory.path,
            key="positions",
            value=f"every {positions.interval:g} fs",
            expected=f"as often as the dipole, every {dipole.interval:g} fs",
            advice=advice,
        )
    n = min(dipole.values.shape[1], positions.values.shape[1])
    return dipole.values[:, :n], positions.values[:, :n]


# --- files ------------------------------------------------------------------------


def write_assignment(found: Assignment, folder: str | Path, *, reversed_axis: bool = False) -> str:
    """Write the tables of an assignment and a figure for each conformer; return the text.

    Parameters
    ----------
    found
        From :func:`assign`.
    folder
        Output folder for ``assignment.txt``, ``assignment.json``, ``assignment-1.png``, ….
    reversed_axis
        Wavenumbers decrease from left to right in the figures.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = found.conformers[0].modes.total.provenance
    facts = provenance_facts(record)
    texts = [
        f"{sample(record)}; {facts['dynamics']}",
        f"{_LEGEND}\n{_FRAMES[found.frame]}",
        found.residence(),
    ]
    for number, conformer in enumerate(found.conformers, 1):
        whole = conformer.modes.total.integrate().value
        shares = [
            f"{name} {100.0 * conformer.modes.share(name).integrate().value / whole:.0f} %"
            for name in (ROTATION, REMAINDER)
            if name in conformer.modes.names
        ]
        texts.append(
            f"conformer {number} of {len(found.conformers)}: "
            f"{100.0 * found.fraction(conformer):.0f} % of the time, in "
            f"{len(conformer.replicas)} of {found.n_replicas} replicas; of its whole intensity "
            f"{', '.join(shares)}\n{conformer.table()}"
        )
        figure = plot_assignment(
            conformer.modes, conformer.bands, conformer.harmonic, reversed_axis=reversed_axis
        )
        save_figure(figure, folder / f"assignment-{number}.png")
    heard = merged_warnings(w for c in found.conformers for w in c.modes.total.warnings)
    text = "\n\n".join([*texts, *(["\n".join(f"note: {w}" for w in heard)] if heard else [])])
    write_atomically(folder / "assignment.txt", text + "\n")
    write_record(folder / "assignment.json", {"provenance": record, **found.to_dict()})
    return text
