# SPDX-License-Identifier: MIT
"""One molecule by several treatments of its nuclei: harmonic, quantum (VCI) and dynamics, by band.

How far the dynamics of a method may be trusted is known where exact results exist. For O–H
stretching vibrations at 300 K, of a Morse bond that rotates in space or in a plane and of a water
monomer (``workflows/quantum_nuclei``, ``tests/centroid``), the centroid of the band is off by a
fraction f of the anharmonic shift ω − ν, and its width is too large by a factor. Shifts are of
first order in the anharmonicity, so that f (ω − ν) is stated as the systematic error for the
stretching bands of other bonds with hydrogen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms

from eqcalc.anharmonic import AnharmonicSpectrum, anharmonic_spectrum, separated_motions
from eqcalc.facts import aligned
from eqcalc.files import make_folder, write_atomically
from eqcalc.harmonic import harmonic_spectrum, relax
from eqcalc.models.checkpoint import load_model
from eqcalc.molecules import total_charge
from eqcalc.reports.molecular import model_of
from eqcalc.runtime import evaluator_for
from eqcalc.spectra import Band, Spectrum, infrared, plot_infrared_raman, save_figure
from eqcalc.spectra.assignment.bands import group_modes
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.figures import dynamics_name
from eqcalc.trajectory import Trajectory


class KnownError(NamedTuple):
    """What a method gets wrong for O–H stretching vibrations at 300 K.

    Parameters
    ----------
    low, high
        Least and greatest error of the centroid as a fraction of the anharmonic shift.
    width
        Factor by which the band is too broad.
    """

    low: float
    high: float
    width: float


#: By the name of the method.
KNOWN_ERRORS = {
    "NVE": KnownError(0.63, 0.82, 1.1),
    "T-RPMD": KnownError(-0.04, 0.18, 2.0),
    "Te-PIGS": KnownError(-0.16, 0.16, 1.05),
}
#: Bands above this are stretching vibrations of hydrogen [cm⁻¹].
_HYDROGEN = 2000.0
#: Modes closer than this are one band [cm⁻¹].
_SEPARATION = 60.0


@dataclass(frozen=True)
class BandByMethods:
    """An infrared band by all treatments.

    Parameters
    ----------
    modes
        Normal modes in it.
    harmonic, quantum
        Mean wavenumber of their fundamentals, weighted by intensity [cm⁻¹]; nan if VCI lacks one.
    convergence
        Largest error of convergence of the VCI fundamentals [cm⁻¹].
    dynamics
        The band in each spectrum.
    """

    modes: tuple[int, ...]
    harmonic: float
    quantum: float
    convergence: float
    dynamics: tuple[Band, ...]


def compare_methods(
    harmonic: HarmonicSpectrum, quantum: AnharmonicSpectrum, spectra: Sequence[Spectrum]
) -> list[BandByMethods]:
    """Return the infrared bands of a molecule by all treatments.

    Bands reach half-way to the next group of modes, between the lower of harmonic and quantum
    wavenumbers below and the higher one above. Modes within four points of a spectrum share a band.

    Parameters
    ----------
    harmonic, quantum
        Of the same modes.
    spectra
        Infrared spectra of dynamics.
    """
    levels = quantum.fundamentals()
    errors = np.array([quantum.errors[name] for name in quantum.errors]).max(axis=0)
    nu, intensity = harmonic.wavenumber, harmonic.infrared_intensity
    known = np.isfinite(levels)
    low, high = (np.where(known, f(nu, levels), nu) for f in (np.fmin, np.fmax))
    steps = [float(np.diff(spectrum.wavenumber).max()) for spectrum in spectra]
    groups = group_modes(nu, max(_SEPARATION, 4.0 * max(steps, default=0.0)))
    edges = [max(0.5 * low[0], low[0] - _SEPARATION)]
    edges += [0.5 * (high[a].max() + low[b].min()) for a, b in pairwise(groups)]
    edges.append(high[-1] + 2.0 * _SEPARATION)
    rows = []
    for group, (lower, upper) in zip(groups, pairwise(edges), strict=True):
        weights = intensity[group]
        treated = known[group].all()
        found = [int(np.argmin(np.abs(quantum.wavenumber - levels[k]))) for k in group if treated]
        rows.append(
            BandByMethods(
                tuple(group),
                float(np.average(nu[group], weights=weights)),
                float(np.average(levels[group], weights=weights)),
                float(errors[found].max()) if treated else float("nan"),
                tuple(spectrum.band(lower, upper) for spectrum in spectra),
            )
        )
    return rows


def method_table(rows: Sequence[BandByMethods], spectra: Sequence[Spectrum]) -> str:
    """Return the bands as text: centroids with standard and systematic errors, and widths."""
    heads = ["modes", "harmonic", "VCI"]
    units = ["", "cm⁻¹", "cm⁻¹"]
    for spectrum in spectra:
        heads += [str(spectrum.provenance["method"]), "systematic", "width"]
        units += ["cm⁻¹", "cm⁻¹", "cm⁻¹"]
    cells = []
    for row in rows:
        first, last = row.modes[0] + 1, row.modes[-1] + 1
        line = [f"{first}" if first == last else f"{first}–{last}", f"{row.harmonic:.0f}"]
        line.append(_with_error(row.quantum, row.convergence))
        for spectrum, band in zip(spectra, row.dynamics, strict=True):
            known = KNOWN_ERRORS.get(str(spectrum.provenance["method"]))
            shift = row.harmonic - row.quantum
            line.append(_with_error(band.centroid.value, band.centroid.error))
            if known is None or np.isnan(shift) or row.quantum < _HYDROGEN:
                line.append("")
            else:
                line.append(f"{known.low * shift:+.0f} … {known.high * shift:+.0f}")
            line.append("–" if np.isnan(band.width.value) else f"{band.width.value:.0f}")
        cells.append(line)
    return aligned([heads, units, *cells])


def _with_error(value: float, error: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.0f}" if np.isnan(error) else f"{value:.0f} ± {max(error, 1.0):.0f}"


def write_method_comparison(
    atoms: Atoms, model: str | Path, runs: Sequence[str | Path], folder: str | Path
) -> str:
    """Compare runs of one model with its harmonic and quantum vibrations; return the table.

    Parameters
    ----------
    atoms
        The molecule, near the conformer that is treated; it is relaxed.
    model
        Model file.
    runs
        Trajectories of this model, with positions at the times of the dipole moments.
    folder
        Output folder for ``methods.txt`` and ``methods.png``.

    Raises
    ------
    InvalidInputError
        A trajectory is of another model.
    """
    potential = load_model(model, dtype=torch.float64)
    trajectories = [Trajectory.open(run) for run in runs]
    for trajectory in trajectories:
        model_of(trajectory, model)
    relaxed = relax(potential, atoms)
    modes = harmonic_spectrum(potential, relaxed)
    at_rest, _ = separated_motions(relaxed, modes)
    evaluator = evaluator_for(
        potential, torch.as_tensor(relaxed.numbers), charge=total_charge(atoms)
    )
    quantum = anharmonic_spectrum(modes, evaluator, at_rest=at_rest)
    spectra = [infrared(t, frame="eckart", frequency_correction=True) for t in trajectories]
    rows = compare_methods(modes, quantum, spectra)
    folder = Path(folder)
    make_folder(folder)
    lines = quantum.infrared(10.0)
    lines = replace(lines, provenance={**lines.provenance, "source": modes.provenance})
    drawn = [lines, *spectra]
    names = ["VCI, broadened", *map(dynamics_name, spectra)]
    save_figure(plot_infrared_raman(drawn, (), modes, names=names), folder / "methods.png")
    text = "\n".join([method_table(rows, spectra), "", *_notes(spectra)])
    write_atomically(folder / "methods.txt", text + "\n")
    return text


def _notes(spectra: Sequence[Spectrum]) -> list[str]:
    """Return what the columns mean and how far a method is to be trusted."""
    notes = [
        "harmonic and VCI: fundamentals weighted by intensity, VCI with its error of convergence",
        "dynamics: centroid of the band ± standard error, its full width at half maximum, and for "
        "stretching vibrations of hydrogen the systematic error that the method has where exact "
        "results exist, in proportion to the anharmonic shift",
    ]
    for name in dict.fromkeys(str(spectrum.provenance["method"]) for spectrum in spectra):
        if name in KNOWN_ERRORS:
            known = KNOWN_ERRORS[name]
            notes.append(
                f"{name}: misses {known.low:.0%} to {known.high:.0%} of the anharmonic shift "
                f"there, and makes bands {known.width:g} times as broad as they are"
            )
    return notes
