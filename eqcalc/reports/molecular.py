# SPDX-License-Identifier: MIT
"""Infrared and Raman spectra of a molecule or cell, and the infrared sum rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols

from eqcalc.files import shipped_models
from eqcalc.models.checkpoint import load_model, model_hash
from eqcalc.models.potential import Potential
from eqcalc.quantities import ATOMIC_PARTS, DIPOLE, POLARIZABILITY
from eqcalc.reports.cell import CellOptics, cell_optics, count_molecules
from eqcalc.runtime import MoleculeEvaluator
from eqcalc.spectra import (
    Estimate,
    Estimation,
    RamanSpectrum,
    Spectrum,
    infrared,
    internal_spectrum,
    molecular_terms,
    raman,
    sum_rule,
    sum_rule_ratio,
    vibrational_density_of_states,
    without_rotation,
)
from eqcalc.spectra.frames import LABORATORY, MOLECULAR_FRAMES, branch_separation, mean_geometry
from eqcalc.spectra.provenance import trajectory_provenance
from eqcalc.spectra.series import advice_to_record, require_constant_volume
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidFileError, InvalidInputError, indices

#: Options of every estimate.
_ESTIMATION = {item.name for item in fields(Estimation)}
#: Largest number of geometries for the sum rule.
_SUM_RULE_SAMPLES = 400
#: The same in atoms, for cells.
_SUM_RULE_ATOMS = 1600


@dataclass(frozen=True)
class MolecularSpectra:
    """The spectra of one trajectory; None if it has no dipole or polarizability."""

    name: str  #: the dynamics, as in the legend of a figure
    infrared: Spectrum | None
    raman: RamanSpectrum | None
    vibrations: MolecularSpectra | None = None  #: the same without rotation
    optics: CellOptics | None = None  #: of a periodic cell
    notes: tuple[str, ...] = ()  #: what the bands contain, and which spectra are missing

    def __post_init__(self) -> None:
        if self.infrared is None and self.raman is None:
            raise InvalidInputError("neither an infrared nor a Raman spectrum")

    @property
    def provenance(self) -> dict[str, Any]:
        """Provenance of the spectra."""
        source = self.infrared or self.raman
        assert source is not None
        return source.provenance


@dataclass(frozen=True)
class SumRuleCheck:
    """Comparison of the integrated infrared intensity with its exact value."""

    exact: Estimate  #: N_A/(12ε₀c²) ⟨Σ|∂μ/∂r|²/m⟩ over the geometries of the run, km/mol
    ratio: Estimate  #: integral with the harmonic quantum factor / exact value
    rotating: bool = True  #: whether the exact value includes rotation


def molecular_spectra(
    trajectory: Trajectory, *, n_molecules: int | None = None, **options: Any
) -> MolecularSpectra:
    """Return the infrared and Raman spectrum of a trajectory, and the optics of a cell.

    Parameters
    ----------
    trajectory
        A trajectory with the dipole or the polarizability of a molecule or cell.
    n_molecules
        Spectra are per molecule; by default the number of groups of bonded atoms of a cell.
    options
        Quantum factor, frame, window, resolution, errors: what
        :func:`eqcalc.spectra.infrared` and :func:`eqcalc.spectra.raman` share.

    Spectra in the laboratory frame of a molecule that rotates have their bands without rotation
    beside them, if the positions were recorded.

    Raises
    ------
    InvalidInputError
        The trajectory has neither.
    """
    require_constant_volume(trajectory)
    recorded = trajectory.observables()
    # the quantity or its exact time derivative
    dipole, polarizability = (
        bool({q.name, f"{q.name}_rate"} & set(recorded)) for q in (DIPOLE, POLARIZABILITY)
    )
    if not (dipole or polarizability):
        raise InvalidInputError(
            f"has neither dipole nor polarizability, but {', '.join(recorded)}",
            file=trajectory.path,
            advice="record them with simulate(observables={'dipole': 2, 'polarizability': 2, …})",
        )
    notes = (*trajectory.settings.get("notes", ()), *_unfinished(trajectory))
    optics = None
    if trajectory.cell is not None:
        if options.get("frame", LABORATORY) != LABORATORY:
            raise InvalidInputError(
                key="frame", value=options["frame"], expected=f"{LABORATORY} for a periodic cell"
            )
        n_molecules = n_molecules or count_molecules(trajectory)
        of_cell = {name: value for name, value in options.items() if name != "frame"}
        optics = cell_optics(trajectory, **of_cell) if dipole else None
    per_molecule = {**options, "n_molecules": n_molecules or 1}
    absorption = infrared(trajectory, **per_molecule) if dipole else None
    scattering = raman(trajectory, **per_molecule) if polarizability else None
    inside, rotation = None, ""
    if options.get("frame", LABORATORY) == LABORATORY and _may_rotate(trajectory):
        inside, rotation = _vibrations(trajectory, options)
    missing = [
        f"no {spectrum} spectrum: no {quantity.name} is recorded; "
        f"{advice_to_record(trajectory, quantity.name)}"
        for spectrum, quantity, found in (
            ("infrared", DIPOLE, absorption),
            ("Raman", POLARIZABILITY, scattering),
        )
        if found is None
    ]
    return MolecularSpectra(
        _dynamics_name(trajectory.method, trajectory.n_beads),
        absorption and _noted(absorption, notes),
        scattering and replace(scattering, isotropic=_noted(scattering.isotropic, notes)),
        inside,
        optics,
        (*missing, *([rotation] if rotation else [])),
    )


def motion_spectra(
    trajectory: Trajectory,
    *,
    density_of_states: bool = False,
    groups: Mapping[str, Sequence[int]] | None = None,
    internal: Sequence[str] = (),
    quantum_factor: str = "harmonic",
    **options: Any,
) -> dict[str, Spectrum]:
    """Return spectra of the motion of the atoms, by name.

    Parameters
    ----------
    trajectory
        A trajectory with positions or velocities.
    density_of_states
        The vibrational density of states, and its part of each element if there are several.
    groups
        Atoms (from 0) by name, whose parts of the density of states are added.
    internal
        Internal coordinates, see :mod:`eqcalc.spectra.power`.
    quantum_factor
        See :func:`eqcalc.spectra.vibrational_density_of_states`.
    options
        Of the estimate, see :class:`eqcalc.spectra.Estimation`; others are not used.
    """
    estimation = {name: options[name] for name in _ESTIMATION & options.keys()}
    found: dict[str, Spectrum] = {}
    if density_of_states:
        elements = {chemical_symbols[z]: trajectory.numbers == z for z in trajectory.numbers}
        parts = {"": None} | {
            f"-{symbol}": np.flatnonzero(own)
            for symbol, own in sorted(elements.items())
            if len(elements) > 1
        }
        n = len(trajectory.numbers)
        parts |= {
            f"-{name}": indices(f"group {name}", atoms, n) for name, atoms in (groups or {}).items()
        }
        for part, atoms in parts.items():
            found[f"density-of-states{part}"] = vibrational_density_of_states(
                trajectory, atoms=atoms, quantum_factor=quantum_factor, **estimation
            )
    own = {k: v for k, v in estimation.items() if k != "frequency_correction"}
    for coordinate in internal:
        found[f"internal-{coordinate}"] = internal_spectrum(trajectory, coordinate, **own)
    return found


def term_spectra(
    trajectory: Trajectory, edges: Sequence[float], **options: Any
) -> dict[str, Spectrum]:
    """Return single-molecule and cross terms of the infrared and isotropic Raman spectra, by name.

    Parameters
    ----------
    trajectory
        A trajectory with what atoms contribute to the dipole moment, the polarizability or both.
    edges
        Distances between shells [Å]; see :func:`eqcalc.spectra.molecular_terms`.
    options
        Quantum factor, window, resolution, …; others are not used.
    """
    own = {name: options[name] for name in (_ESTIMATION | {"quantum_factor"}) & options.keys()}
    recorded = trajectory.observables()
    found: dict[str, Spectrum] = {}
    for kind, quantity in (("infrared", DIPOLE), ("isotropic Raman", POLARIZABILITY)):
        if quantity is POLARIZABILITY and ATOMIC_PARTS[quantity.name].name not in recorded:
            continue
        terms = molecular_terms(trajectory, kind, edges=edges, **own)
        parts = {"total": terms.total, "single": terms.single, "cross": terms.cross}
        parts |= {f"{low:g}-{high:g}A": part for (low, high), part in terms.shells.items()}
        stem = kind.lower().replace(" ", "-")
        found |= {f"{stem}-{name}": spectrum for name, spectrum in parts.items()}
    return found


def _may_rotate(trajectory: Trajectory) -> bool:
    """Return whether a trajectory is of a molecule that rotates."""
    if trajectory.cell is not None:
        return False
    still = trajectory.n_beads == 1 and not rotates(trajectory_provenance(trajectory))
    return trajectory.n_atoms > 1 and not still


def _vibrations(
    trajectory: Trajectory, options: Mapping[str, Any]
) -> tuple[MolecularSpectra | None, str]:
    """Return the spectra without rotation, or why there are none."""
    recorded = set(trajectory.observables())
    quantities = {DIPOLE.name, POLARIZABILITY.name} & recorded
    if "positions" not in recorded or not quantities:
        lacking = "dipole" if "positions" in recorded else "positions"
        return None, rotation_note(
            trajectory_provenance(trajectory),
            trajectory.temperature,
            f"record the {lacking} (simulate --observables {lacking}) "
            "to have the bands without rotation",
        )
    first = trajectory.observable("positions", slice(0, 1)).values[0]
    problem = ""
    for frame in MOLECULAR_FRAMES:
        try:
            inside = {**options, "frame": frame}
            if frame == "eckart":
                inside["reference"] = mean_geometry(first, trajectory.masses)
            return MolecularSpectra(
                f"without rotation ({frame} frame)",
                infrared(trajectory, **inside) if DIPOLE.name in quantities else None,
                raman(trajectory, **inside) if POLARIZABILITY.name in quantities else None,
            ), ""
        except InvalidInputError as error:
            problem = str(error)
    return None, rotation_note(trajectory_provenance(trajectory), trajectory.temperature, problem)


def rotation_note(source: Mapping[str, Any], temperature: float, advice: str) -> str:
    """Return what rotation does to the bands of a molecule at `temperature` [K], and advice."""
    known, apart = source.get("molecule", {}), ""
    if {"positions_angstrom", "masses_amu"} <= known.keys():
        geometry, masses = (np.array(known[k]) for k in ("positions_angstrom", "masses_amu"))
        width = branch_separation(geometry, masses, temperature)
        apart = f", about {width:.0f} cm⁻¹ apart,"
    return (
        f"the bands contain the rotation of the molecule: P and R branches of one vibration{apart} "
        f"may be listed as two; {advice}"
    )


def _unfinished(trajectory: Trajectory) -> tuple[str, ...]:
    """Return a note if the run is unfinished; i-PI runs have their own."""
    done, steps = trajectory.steps_written, trajectory.header.steps
    if done == steps or "engine" in trajectory.settings:
        return ()
    return (
        f"the run is not finished: {done} of {steps} steps are written; the same command of "
        "simulate resumes it",
    )


def _noted(spectrum: Spectrum, notes: tuple[str, ...]) -> Spectrum:
    """Return a spectrum with the notes of its trajectory as warnings."""
    return replace(spectrum, warnings=(*notes, *spectrum.warnings))


def spectra_of_series(
    dipole: Any = None,
    polarizability: Any = None,
    *,
    dipole_unit: str | None = None,
    polarizability_unit: str | None = None,
    method: str | None = None,
    n_beads: int = 1,
    **options: Any,
) -> MolecularSpectra:
    """Return the spectra of series of another code.

    Parameters
    ----------
    dipole, polarizability
        Arrays or lists of replicas, such as
        :func:`eqcalc.spectra.read_series` returns.
    dipole_unit, polarizability_unit
        Their units, such as ``"D"`` and ``"bohr^3"``.
    method, n_beads
        Name of the dynamics, if known, and number of beads.
    options
        ``interval``, ``temperature`` and further options of
        :func:`eqcalc.spectra.infrared` and :func:`eqcalc.spectra.raman`.
    """
    common = {"method": method, "n_beads": n_beads, **options}
    notes = [
        f"no {spectrum} spectrum: no {quantity} was given (--{quantity})"
        for spectrum, quantity, data in (
            ("infrared", "dipole", dipole),
            ("Raman", "polarizability", polarizability),
        )
        if data is None
    ]
    if options.get("n_molecules", 1) == 1:
        advice = "a series without positions cannot be freed of it"
        notes.append("if this is one molecule that rotates, " + rotation_note({}, 0.0, advice))
    return MolecularSpectra(
        _dynamics_name(method or "series", n_beads),
        None if dipole is None else infrared(dipole, unit=dipole_unit, **common),
        None
        if polarizability is None
        else raman(polarizability, unit=polarizability_unit, **common),
        notes=tuple(notes),
    )


def _dynamics_name(method: str, n_beads: int) -> str:
    return method + (f", {n_beads} beads" if n_beads > 1 else "")


def model_of(trajectory: Trajectory, path: str | Path | None = None) -> Potential | None:
    """Return the model used for a trajectory, in float64, or None.

    By default it is searched for at the path stored in the trajectory and among the models
    bundled with eqcalc.

    Raises
    ------
    InvalidInputError
        The model at `path` is a different one.
    """
    made_with = trajectory.provenance.get("model")
    candidates = list(shipped_models().values()) if path is None else [Path(path)]
    recorded = trajectory.provenance.get("model_file")
    if path is None and recorded is not None and Path(recorded).is_file():
        candidates.insert(0, Path(recorded))
    for candidate in candidates:
        try:
            potential = load_model(candidate, dtype=torch.float64)
        except InvalidFileError:
            if path is not None:
                raise
            continue
        hashes = (potential.metadata.get("hash"), model_hash(potential))
        # trajectories of other engines may lack the hash; then trust the caller
        if made_with in hashes or (made_with is None and path is not None):
            return potential
    if path is not None:
        raise InvalidInputError(f"not the model that {trajectory.path} was made with", file=path)
    return None


def check_sum_rule(
    spectrum: Spectrum | None, trajectory: Trajectory, evaluator: MoleculeEvaluator
) -> SumRuleCheck | None:
    """Compare the integral of an infrared spectrum with the exact sum rule.

    Rotation is excluded for classical nuclei that started without angular momentum. The check
    is not available for ring polymers started that way, which begin to rotate.

    Parameters
    ----------
    spectrum
        Infrared spectrum of the trajectory, rotation included.
    trajectory
        A trajectory with the positions of all beads.
    evaluator
        The model, for the polar tensors.
    """
    recorded = trajectory.observables()
    name = "positions" if trajectory.n_beads == 1 and "positions" in recorded else "bead_positions"
    rotating = rotates(trajectory_provenance(trajectory))
    if spectrum is None or name not in recorded or not (rotating or trajectory.n_beads == 1):
        return None
    beads = trajectory.observable(name).values
    geometries = beads.reshape(-1, *beads.shape[-2:])
    # evenly spread over replicas, times and beads
    samples = min(_SUM_RULE_SAMPLES, len(geometries))
    if trajectory.cell is not None:  # each is an average over many molecules
        samples = min(samples, max(_SUM_RULE_ATOMS // trajectory.n_atoms, 2))
    indices = np.linspace(0, len(geometries) - 1, samples)
    chosen = geometries[indices.astype(int)]
    tensors = evaluator.polar_tensors(torch.from_numpy(chosen)).cpu().numpy()
    if not rotating:
        tensors = without_rotation(tensors, chosen, trajectory.masses)
    exact = sum_rule(tensors, trajectory.masses)
    n_molecules = spectrum.provenance.get("n_molecules", 1)
    exact = Estimate(exact.value / n_molecules, exact.error / n_molecules)
    return SumRuleCheck(exact, sum_rule_ratio(spectrum, exact), rotating)


def rotates(source: Mapping[str, Any]) -> bool:
    """Return whether the molecule of a run rotates, from its provenance."""
    return source.get("settings", {}).get("rotation") != "none"
