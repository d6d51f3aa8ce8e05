# SPDX-License-Identifier: MIT
"""From a trajectory to files a chemist reads: spectra, a figure, tables, a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eqcalc.quantities import DIPOLE, POLARIZABILITY
from eqcalc.runtime import EagerEvaluator
from eqcalc.spectra import (
    Band,
    Estimate,
    HarmonicSpectrum,
    RamanSpectrum,
    Spectrum,
    infrared,
    raman,
    save,
    spectra_figure,
    sum_rule,
    sum_rule_ratio,
)
from eqcalc.trajectory import Trajectory

__all__ = [
    "MolecularSpectra",
    "SumRuleCheck",
    "check_sum_rule",
    "describe_spectra",
    "molecular_spectra",
    "write_figure",
    "write_molecular_spectra",
    "write_spectra",
]

#: Geometries at which the sum rule is evaluated, at most.
_SUM_RULE_SAMPLES = 400


@dataclass(frozen=True)
class MolecularSpectra:
    """The spectra of one trajectory.

    Parameters
    ----------
    name
        The dynamics, as in the legend of a figure.
    infrared, raman
        The spectra; None if the trajectory has no dipole or polarizability.
    """

    name: str
    infrared: Spectrum | None
    raman: RamanSpectrum | None


@dataclass(frozen=True)
class SumRuleCheck:
    """Integrated infrared intensity against its exact value.

    Parameters
    ----------
    exact
        N_A/(12ε₀c²) ⟨Σ|∂μ/∂r|²/m⟩ over the geometries of the run [km/mol].
    ratio
        Integral of the spectrum over that.
    """

    exact: Estimate
    ratio: Estimate


def molecular_spectra(trajectory: Trajectory, **estimation: Any) -> MolecularSpectra:
    """Return the infrared and Raman spectrum of a trajectory.

    Parameters
    ----------
    trajectory
        A trajectory with the dipole or the polarizability of a molecule.
    estimation
        Window, resolution, errors: see :class:`eqcalc.spectra.Estimation`.

    Raises
    ------
    ValueError
        The trajectory has neither.
    """
    recorded = trajectory.observables()
    if not {DIPOLE.name, POLARIZABILITY.name} & set(recorded):
        raise ValueError(
            f"the trajectory has neither dipole nor polarizability, but {', '.join(recorded)}; "
            "record them with simulate(observables={'dipole': 2, 'polarizability': 2, …})"
        )
    beads = f", {trajectory.n_beads} beads" if trajectory.n_beads > 1 else ""
    return MolecularSpectra(
        f"{trajectory.method}{beads}",
        infrared(trajectory, **estimation) if DIPOLE.name in recorded else None,
        raman(trajectory, **estimation) if POLARIZABILITY.name in recorded else None,
    )


def check_sum_rule(
    spectrum: Spectrum | None, trajectory: Trajectory, evaluator: EagerEvaluator
) -> SumRuleCheck | None:
    """Compare the integral of an infrared spectrum with the exact sum rule.

    Parameters
    ----------
    spectrum
        Infrared spectrum of the trajectory, rotation included.
    trajectory
        A trajectory with the positions of all beads.
    evaluator
        The model, for the polar tensors.
    """
    if spectrum is None or "bead_positions" not in trajectory.observables():
        return None
    beads = trajectory.observable("bead_positions").values
    geometries = beads.reshape(-1, *beads.shape[-2:])
    # evenly spread over replicas, times and beads
    chosen = np.linspace(0, len(geometries) - 1, min(_SUM_RULE_SAMPLES, len(geometries)))
    tensors = evaluator.polar_tensors(torch.from_numpy(geometries[chosen.astype(int)]))
    exact = sum_rule(tensors.cpu().numpy(), trajectory.masses)
    return SumRuleCheck(exact, sum_rule_ratio(spectrum, exact))


# --- files ------------------------------------------------------------------------


def write_molecular_spectra(
    spectra: MolecularSpectra, folder: Path, stem: str, *, laser: float = 532.0
) -> list[Path]:
    """Write every spectrum as HDF5 and CSV and return the files.

    Infrared intensity density, Raman activity and depolarization ratio, and
    the Raman cross-section for a laser of the wavelength `laser` [nm].
    """
    found: dict[str, Spectrum] = {}
    if spectra.infrared is not None:
        found["infrared"] = spectra.infrared
    if spectra.raman is not None:
        found["raman"] = spectra.raman.activity()
        found["depolarization-ratio"] = spectra.raman.depolarization_ratio()
        found["raman-cross-section"] = spectra.raman.cross_section(laser)
    return [
        spectrum.write(folder / f"{stem}-{kind}{suffix}")
        for kind, spectrum in found.items()
        for suffix in (".h5", ".csv")
    ]


def write_figure(
    path: Path,
    spectra: Sequence[MolecularSpectra],
    harmonic: HarmonicSpectrum | None = None,
    *,
    title: str | None = None,
) -> Path:
    """Draw infrared and Raman spectra above each other, with harmonic sticks, and save it."""
    figure = spectra_figure(
        [s.infrared for s in spectra if s.infrared is not None],
        [s.raman for s in spectra if s.raman is not None],
        harmonic,
        names=[s.name for s in spectra],
        limits=(0.0, 4000.0),
        title=title,
    )
    return save(figure, path)


def write_spectra(
    trajectory: Trajectory, folder: str | Path, *, lag: float | None = None, laser: float = 532.0
) -> str:
    """Write the spectra of a trajectory, a figure and a summary; return the summary.

    Parameters
    ----------
    trajectory
        The trajectory; it may still be growing.
    folder
        Where to write; made if it does not exist.
    lag
        Longest correlation time [fs]; chosen from the length of the runs by default.
    laser
        Wavelength of the Raman laser [nm].
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    spectra = molecular_spectra(trajectory, lag=lag, frequency_correction=True)
    write_molecular_spectra(spectra, folder, "spectrum", laser=laser)
    write_figure(folder / "spectra.png", [spectra])
    text = describe_spectra(spectra)
    (folder / "summary.txt").write_text(text + "\n")
    return text


# --- text -------------------------------------------------------------------------


def describe_spectra(spectra: MolecularSpectra, check: SumRuleCheck | None = None) -> str:
    """Return what was run, the bands with their errors, the sum rule and the warnings."""
    sources = [s for s in (spectra.infrared, spectra.raman) if s is not None]
    provenance = sources[0].provenance
    lines = [
        f"{spectra.name}, {provenance['temperature_K']:g} K: "
        f"{provenance['n_replicas']} replicas, time step {provenance['timestep_fs']:g} fs, "
        f"resolution {provenance['resolution_cm-1']:.0f} cm⁻¹"
    ]
    if spectra.infrared is not None:
        lines += ["infrared bands: position, area (standard errors in brackets)"]
        lines += _band_lines(spectra.infrared.bands(lower=100.0), "km/mol")
    if spectra.raman is not None:
        lines += ["Raman bands: position, area (standard errors in brackets)"]
        lines += _band_lines(spectra.raman.activity().bands(lower=100.0), "Å⁴/amu")
    if check is not None:
        lines += [
            f"sum rule: integrated infrared intensity / exact value {_pair(check.exact, 1)} km/mol "
            f"= {_pair(check.ratio, 3)}"
        ]
    warnings = dict.fromkeys(w for source in sources for w in source.warnings)
    return "\n".join([*lines, *(f"note: {warning}" for warning in warnings)])


def _band_lines(bands: Sequence[Band], unit: str) -> list[str]:
    return [
        f"  {band.lower:6.0f} – {band.upper:6.0f} cm⁻¹   {_pair(band.position, 0):>12} cm⁻¹   "
        f"{_pair(band.area, 1):>16} {unit}"
        for band in bands
    ]


def _pair(estimate: Estimate, digits: int) -> str:
    if np.isnan(estimate.error):
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} ({estimate.error:.{digits}f})"
