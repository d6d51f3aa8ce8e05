# SPDX-License-Identifier: MIT
"""Double-harmonic spectra: relaxation, exact derivatives, normal modes; smoothness of the energy.

All derivatives are analytic (no finite displacements), so the result is the
low-temperature limit of classical molecular dynamics with the same model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.optimize import BFGS

from eqcalc.calculator import EqCalculator
from eqcalc.datasets import Dataset, Record
from eqcalc.facts import ComparedByValue, aligned, column, preformatted, rows_of
from eqcalc.files import write_record
from eqcalc.models.checkpoint import load_model
from eqcalc.models.derivatives import hessian, property_derivative
from eqcalc.models.last_layers import last_layer_members
from eqcalc.models.potential import Potential
from eqcalc.models.precision import in_precision
from eqcalc.molecules import isolated_molecule, total_charge, unconstrained
from eqcalc.normal_modes import NormalModes, matched_modes, require_minimum
from eqcalc.runtime import evaluator_for, to_numpy
from eqcalc.runtime.evaluator import Evaluator
from eqcalc.spectra import compare_modes, plot_harmonic, read_harmonic, save_figure
from eqcalc.spectra.double_harmonic import HarmonicSpectrum, harmonic_analysis
from eqcalc.spectra.provenance import molecule_facts, sample
from eqcalc.structures import Structures
from eqcalc.units import HBAR, WAVENUMBER_PER_EV, conversion_factor
from eqcalc.validation import InvalidInputError

#: Largest Newton step of an atom [Å] (trust radius).
_TRUSTED_STEP = 0.1
#: Force constants of Newton steps are at least this [eV/Å²].
_SOFT = 1e-2
#: Largest number of Newton steps.
_NEWTON_STEPS = 100
#: Displacement of dimensionless normal coordinates to either side, for slopes of properties.
_DISPLACEMENT = 0.05
#: Modes below this wavenumber suggest separate fragments [cm⁻¹].
_SOFTEST = 5.0


class RelaxationError(RuntimeError):
    """A structure could not be relaxed to a stationary point."""


def _in_double_precision(model: Potential | str | Path) -> Potential:
    """Return a model, or that of a file, in float64, a copy unless it is already."""
    return in_precision(model if isinstance(model, Potential) else load_model(model), "float64")


def relax(
    potential: Potential | str | Path, atoms: Atoms, *, fmax: float = 1e-6, steps: int = 2000
) -> Atoms:
    """Relax a molecule on the model's potential-energy surface.

    A quasi-Newton search is followed by Newton steps with the exact Hessian, which converge
    the forces tightly.

    Parameters
    ----------
    potential
        The model or its file, or the name of a shipped one; evaluated in float64.
    atoms
        The molecule; not changed.
    fmax
        Convergence threshold for the largest force component [eV/Å].
    steps
        Maximum number of quasi-Newton steps.

    Returns
    -------
    Atoms
        The relaxed molecule, with the calculator attached.

    Raises
    ------
    RelaxationError
        The forces did not converge below `fmax`.
    InvalidInputError
        The atoms are periodic, or constrained: a constrained minimum is no stationary point.
    """
    potential = _in_double_precision(potential)
    relaxed = unconstrained(isolated_molecule(atoms)).copy()
    relaxed.info["charge"] = total_charge(atoms)
    relaxed.calc = EqCalculator(potential)
    BFGS(relaxed, logfile=None).run(fmax=max(fmax, 1e-3), steps=steps)
    for _ in range(_NEWTON_STEPS):
        forces = relaxed.get_forces()
        if np.abs(forces).max() <= fmax:
            return relaxed
        structure = Structures.from_atoms(relaxed, device=potential.device)
        matrix = hessian(potential, structure).cpu().numpy()
        # equal masses make the modes eigenvectors of the Hessian itself
        modes = NormalModes.from_hessian(relaxed.positions, np.ones(len(relaxed)), matrix)
        # soft modes, whose curvature may change its sign, by a short step downhill
        along = modes.coordinates(forces) / np.maximum(np.abs(modes.eigenvalues), _SOFT)
        step = np.einsum("k,kia->ia", along, modes.vectors)
        relaxed.positions += step * min(1.0, _TRUSTED_STEP / max(np.abs(step).max(), 1e-300))
    residual = float(np.abs(relaxed.get_forces()).max())
    if residual > fmax:
        raise RelaxationError(
            f"the largest force is still {residual:.2e} eV/Å after relaxation (wanted {fmax:.0e}); "
            "start from a better geometry or raise fmax"
        )
    return relaxed


def harmonic_spectrum(
    potential: Potential | str | Path, atoms: Atoms, *, masses: np.ndarray | None = None
) -> HarmonicSpectrum:
    """Return the double-harmonic infrared and Raman spectrum at a stationary point.

    Parameters
    ----------
    potential
        The model or its file, or the name of a shipped one; evaluated in float64.
    atoms
        A relaxed molecule (see :func:`relax`).
    masses
        ``[n_atoms]`` amu; by default those of `atoms`.

    Raises
    ------
    RelaxationError
        The forces on `atoms` are too large for a harmonic analysis.
    InvalidInputError
        The atoms are periodic or constrained, or there is only one.
    """
    potential = _in_double_precision(potential)
    checked = unconstrained(isolated_molecule(atoms)).copy()
    if len(checked) == 1:
        raise InvalidInputError(key="atoms", value=1, expected="two or more, which vibrate")
    checked.info["charge"] = total_charge(atoms)
    checked.calc = EqCalculator(potential)
    residual = float(np.abs(checked.get_forces()).max())
    if residual > 1e-2:
        raise RelaxationError(
            f"the largest force is {residual:.3g} eV/Å: relax the molecule before its harmonic "
            "analysis (eqcalc harmonic does so without --as-given)"
        )
    structure = Structures.from_atoms(checked, device=potential.device)
    size = 3 * len(atoms)

    def derivative(name: str) -> np.ndarray | None:
        if name not in potential.config.heads:
            return None
        return property_derivative(potential, structure, name).cpu().numpy()

    masses = atoms.get_masses() if masses is None else np.asarray(masses, dtype=float)
    metadata = potential.metadata
    return harmonic_analysis(
        atoms.positions,
        masses,
        hessian(potential, structure).reshape(size, size).cpu().numpy(),
        dipole_derivative=derivative("dipole"),
        polarizability_derivative=derivative("polarizability"),
        provenance={
            **molecule_facts(atoms.numbers, masses, atoms.positions),
            "model": metadata.get("hash"),
            "level_of_theory": metadata.get("level_of_theory"),
        },
    )


def wavenumber_errors(
    modes: NormalModes, potential: Potential, relaxed: Atoms, *, members: int = 8
) -> np.ndarray:
    """Return the standard deviations of harmonic wavenumbers that a model knows of.

    They are those of members drawn from the distribution of the last layers of the model
    (:func:`~eqcalc.models.last_layers.last_layer_members`), each at its own minimum; its modes are
    assigned by their overlap.

    Parameters
    ----------
    modes
        Normal modes of the model itself.
    potential
        A model with the distribution of its last layers.
    relaxed
        The molecule, relaxed, with its masses.
    members
        Number of members.

    Returns
    -------
    numpy.ndarray
        ``[n_modes]``, cm⁻¹.
    """
    found = []
    for member in last_layer_members(in_precision(potential, "float64"), members):
        others = harmonic_spectrum(member, relax(member, relaxed, fmax=1e-4))
        found.append(others.wavenumber[matched_modes(modes, others)])
    return np.sqrt(np.mean((np.array(found) - modes.wavenumber) ** 2, axis=0))


def potential_smoothness(potential: Potential, atoms: Atoms) -> Smoothness:
    """Return whether local derivatives of the energy may be trusted, mode by mode.

    Parameters
    ----------
    potential
        The model; evaluated in float64.
    atoms
        A relaxed molecule (see :func:`relax`).

    Raises
    ------
    RelaxationError
        The forces on `atoms` are too large for a harmonic analysis.
    NotAMinimumError
        A wavenumber is imaginary or zero.
    """
    potential = in_precision(potential, "float64")
    modes = harmonic_spectrum(potential, atoms)
    numbers = torch.as_tensor(atoms.numbers)
    evaluator = evaluator_for(potential, numbers, charge=total_charge(atoms))
    return mode_smoothness(modes, evaluator)


def evaluator_spectrum(modes: NormalModes, evaluator: Evaluator) -> HarmonicSpectrum:
    """Return the double-harmonic spectrum of modes, whose intensities are those of an evaluator.

    Parameters
    ----------
    modes
        Normal modes at a minimum.
    evaluator
        Dipole moments and polarizabilities, if it has them, in double precision.
    """
    require_minimum(modes)
    displaced = _DISPLACEMENT * np.concatenate([modes.steps, -modes.steps])
    names = tuple(name for name in ("dipole", "polarizability") if name in evaluator.quantities)
    found = evaluator(torch.as_tensor(modes.positions + displaced), names) if names else {}
    # dq/dQ = √(ω/ħ)
    scale = np.sqrt(modes.angular_frequency / HBAR) / (2.0 * _DISPLACEMENT)
    slopes: dict[str, np.ndarray] = {}
    for name, value in found.items():
        up, down = np.split(value.cpu().numpy(), 2)
        slopes[name] = np.einsum("k,k...->k...", scale, up - down)
    if "polarizability" in slopes:
        slopes["polarizability"] *= conversion_factor("e^2*Å^2/eV", "Å^3")
    return HarmonicSpectrum(
        **{field.name: getattr(modes, field.name) for field in fields(NormalModes)},
        dipole_derivative=slopes.get("dipole"),
        polarizability_derivative=slopes.get("polarizability"),
        provenance=dict(evaluator.provenance),
    )


def describe_smoothness(
    model: str | Path, molecules: Sequence[Atoms] | Dataset | str | Path
) -> str:
    """Return :func:`potential_smoothness` of molecules, which are relaxed first, as text.

    Parameters
    ----------
    model
        Model file; it is evaluated in float64.
    molecules
        The molecules, or a dataset: then the structure of lowest energy of each of its molecules.
    """
    potential = load_model(model, dtype=torch.float64)
    if isinstance(molecules, str | Path):
        molecules = Dataset.open(molecules)
    if isinstance(molecules, Dataset):
        lowest: dict[str, Record] = {}
        for record in molecules:
            key = str(record.atoms().symbols)
            energy = record.labels.get("energy", np.inf)
            if key not in lowest or energy < lowest[key].labels.get("energy", np.inf):
                lowest[key] = record
        molecules = [record.atoms() for record in lowest.values()]
    lines = []
    for atoms in molecules:
        found = potential_smoothness(potential, relax(potential, atoms))
        lines += [f"{atoms.symbols}: {found.summary()}", found.table()]
    return "\n".join(lines)


def harmonic_notes(harmonic: HarmonicSpectrum) -> list[str]:
    """Return problems of the structure that its wavenumbers reveal."""
    imaginary = int(np.sum(harmonic.wavenumber < -_SOFTEST))
    soft = int(np.sum(np.abs(harmonic.wavenumber) <= _SOFTEST))
    missing = {
        "infrared intensities": ("dipole", harmonic.dipole_derivative),
        "Raman activities": ("polarizability", harmonic.polarizability_derivative),
    }
    notes = [
        f"no {what}: the model does not predict the {quantity}; take one that does, or train one "
        "on labels with it (eqcalc label, eqcalc train)"
        for what, (quantity, derivative) in missing.items()
        if derivative is None
    ]
    if imaginary:
        notes.append(
            f"{imaginary} imaginary wavenumber{'s' * (imaginary > 1)}: the structure is a saddle "
            "point, not a minimum; start from a less symmetric geometry"
        )
    if soft:
        notes.append(
            f"{soft} wavenumber{'s' * (soft > 1)} of at most {_SOFTEST:g} cm⁻¹: the structure is "
            "in pieces that do not feel each other; are its coordinates in ångström?"
        )
    return notes


def write_harmonic(
    atoms: Atoms,
    model: str | Path,
    *,
    relaxed: bool = True,
    name: str = "",
    output: str | Path | None = None,
    figure: str | Path | None = None,
    fwhm: float = 10.0,
    reversed_axis: bool = False,
    reference: str | Path | None = None,
) -> str:
    """Write the double-harmonic spectrum of a molecule; return its table and notes.

    Parameters
    ----------
    atoms
        The molecule, with its masses.
    model
        Model file; it is evaluated in float64.
    relaxed
        Relax the molecule first.
    name
        Name of the molecule in `output`.
    output
        File for modes and intensities (JSON).
    figure
        File for the broadened spectra; see :func:`eqcalc.spectra.plot_harmonic`.
    fwhm, reversed_axis
        Line width in the figure [cm⁻¹], and whether wavenumbers decrease from left to right.
    reference
        Vibrations computed by another program for the same conformer, with its atoms in the same
        order, to compare with (see :func:`~eqcalc.spectra.read_harmonic`); masses are then those
        of this file.
    """
    potential = load_model(model, dtype=torch.float64)
    known = None
    if reference is not None:
        others, known = read_harmonic(reference)
        if not np.array_equal(others.numbers, atoms.numbers):
            raise InvalidInputError(
                key="reference", value=str(others.symbols), expected=str(atoms.symbols)
            )
        atoms = atoms.copy()
        atoms.set_masses(others.get_masses())
    at_rest = relax(potential, atoms) if relaxed else atoms
    harmonic = harmonic_spectrum(potential, at_rest)
    if potential.last_layers is not None and relaxed:
        errors = wavenumber_errors(harmonic, potential, at_rest)
        harmonic = replace(harmonic, wavenumber_error=errors)
    comparison = None if known is None else compare_modes(harmonic, known)
    if output is not None:
        record = {
            "molecule": name,
            "model": potential.metadata["hash"],
            "provenance": harmonic.provenance,
            **harmonic.to_dict(),
            **({} if comparison is None else {"reference": comparison.to_dict()}),
        }
        write_record(Path(output), record)
    if figure is not None:
        drawn = plot_harmonic(harmonic, fwhm=fwhm, reversed_axis=reversed_axis)
        save_figure(drawn, figure)
    notes = (f"note: {note}" for note in harmonic_notes(harmonic))
    told = f"{sample({'source': harmonic.provenance})}; double-harmonic approximation"
    lines = [told, harmonic.table(), *notes]
    if comparison is not None:
        lines += [f"beside {reference}:", comparison.table(), comparison.summary()]
    return "\n".join(lines)


# --- smoothness ---------------------------------------------------------------------

#: Largest difference of the curvatures, and of φ_kkkk/16, of a trusted mode [cm⁻¹].
TOLERANCE = 5.0

#: Dimensionless coordinates of the forces for local derivatives, multiples of the step.
_STEP = 0.025
_LOCAL = _STEP * np.array([-2.0, -1.0, 1.0, 2.0])
#: Dimensionless coordinates of the energies, of one sign.
_GRID = 0.15 * np.arange(1, 11)
#: Powers of q in the fit of the even part; the constant takes up what happens at \|q\| < 0.15.
_POWERS = np.array([0, 2, 4, 6])


@dataclass(frozen=True, repr=False, eq=False)
class Smoothness(ComparedByValue):
    r"""Whether an energy is smooth enough for anharmonic vibrations, mode by mode.

    Along the dimensionless normal coordinate q = Q√(ω/ħ) of a mode the energy is

        V(q) = ½ω q² + φ_kkk q³/6 + φ_kkkk q⁴/24 + …,

    with all constants in cm⁻¹. The derivatives at the minimum are taken twice: *local* ones from
    forces at \|q\| ≤ 0.05, and those of the *grid* from the energies on 0.15 ≤ \|q\| ≤ 1.5, the
    range of the lowest vibrational states. For a smooth energy they agree. A network may have
    features narrower than that range, of which energies and forces show nothing, but local
    derivatives all: then perturbation theory with them is wrong, and what dynamics visits is given
    by the grid.

    Parameters
    ----------
    local_curvature, grid_curvature
        ∂²V/∂q² at the minimum, ``[n_modes]``; the wavenumber of the mode if harmonic.
    local_quartic, grid_quartic
        φ_kkkk = ∂⁴V/∂q⁴ at the minimum, ``[n_modes]``.
    """

    local_curvature: np.ndarray
    grid_curvature: np.ndarray
    local_quartic: np.ndarray
    grid_quartic: np.ndarray

    @property
    def curvature_deviation(self) -> np.ndarray:
        """Difference of the curvatures, local less grid [cm⁻¹]."""
        return np.asarray(self.local_curvature - self.grid_curvature)

    @property
    def quartic_deviation(self) -> np.ndarray:
        """Difference of φ_kkkk/16, local less grid [cm⁻¹]: what it adds to x_kk."""
        return np.asarray((self.local_quartic - self.grid_quartic) / 16.0)

    @property
    def trusted(self) -> np.ndarray:
        """Whether local derivatives of a mode are those of its vibration, ``[n_modes]``."""
        deviations = np.abs([self.curvature_deviation, self.quartic_deviation])
        return np.asarray((deviations <= TOLERANCE).all(axis=0))

    def __len__(self) -> int:
        return len(self.local_curvature)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} modes; {self.summary()})"

    def _repr_html_(self) -> str:
        return preformatted(f"{self.table()}\n{self.summary()}")

    def summary(self) -> str:
        """Return in a line which modes are trusted."""
        doubtful = [str(k + 1) for k in np.flatnonzero(~self.trusted)]
        if not doubtful:
            return "anharmonic results may be trusted for all modes"
        return f"anharmonic results may be trusted for all modes but {', '.join(doubtful)}"

    def table(self) -> str:
        """Return the constants of each mode as text."""
        columns = [
            column("mode", "", range(1, len(self) + 1), "d"),
            column("ν̃/cm⁻¹", "local", self.local_curvature, ".1f"),
            column("ν̃/cm⁻¹", "grid", self.grid_curvature, ".1f"),
            column("φ_kkkk/cm⁻¹", "local", self.local_quartic, ".0f"),
            column("φ_kkkk/cm⁻¹", "grid", self.grid_quartic, ".0f"),
            column("Δφ_kkkk/16", "cm⁻¹", self.quartic_deviation, ".1f"),
            ("", "trusted", ["yes" if good else "no" for good in self.trusted]),
        ]
        return aligned(rows_of(columns))


def mode_smoothness(modes: NormalModes, evaluator: Evaluator) -> Smoothness:
    """Compare local derivatives of an energy with those of a finite range, mode by mode.

    Parameters
    ----------
    modes
        Normal modes at the minimum of the evaluator's energy.
    evaluator
        Energies and forces, in double precision; called once, with all displaced geometries.

    Raises
    ------
    NotAMinimumError
        A wavenumber is imaginary or zero.
    """
    require_minimum(modes)
    q = np.concatenate([_LOCAL, -_GRID, _GRID])
    steps = modes.steps
    displaced = modes.positions + q[:, None, None] * steps[:, None]
    geometries = torch.from_numpy(displaced.reshape(-1, *modes.positions.shape))
    found = to_numpy(evaluator(geometries, ("energy", "forces")))
    forces = found["forces"].reshape(displaced.shape)[:, : len(_LOCAL)]
    slopes = -WAVENUMBER_PER_EV * np.einsum("kqia,kia->kq", forces, steps)
    energies = WAVENUMBER_PER_EV * found["energy"].reshape(displaced.shape[:2])[:, len(_LOCAL) :]

    # central differences of the slopes of fourth and second order
    local_curvature = slopes @ np.array([1.0, -8.0, 8.0, -1.0]) / (12.0 * _STEP)
    local_quartic = slopes @ np.array([-1.0, 2.0, -2.0, 1.0]) / (2.0 * _STEP**3)
    backward, forward = np.split(energies - energies.min(axis=1, keepdims=True), 2, axis=1)
    powers = _GRID[:, None] ** _POWERS
    even = np.linalg.lstsq(powers, 0.5 * (backward + forward).T, rcond=None)[0]
    return Smoothness(local_curvature, 2.0 * even[1], local_quartic, 24.0 * even[2])
