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

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms

from eqcalc.anharmonic import AnharmonicSpectrum, anharmonic_spectrum, separated_motions
from eqcalc.facts import Column, aligned, column, rows_of, with_error
from eqcalc.files import make_folder, write_atomically
from eqcalc.harmonic import harmonic_spectrum, relax
from eqcalc.models.checkpoint import load_model
from eqcalc.molecules import total_charge
from eqcalc.reports.molecular import model_of
from eqcalc.runtime import evaluator_for
from eqcalc.spectra import Band, Spectrum, infrared, plot_infrared_raman, save_figure
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.experiment.band_lists import BandList
from eqcalc.spectra.experiment.fundamentals import known_fundamentals
from eqcalc.spectra.figures import dynamics_name
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidInputError


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
#: A mode whose single quanta are found to less than this part has no position by VCI.
_FOUND = 0.3


class Vibrations(NamedTuple):
    """The vibrations of a conformer.

    Parameters
    ----------
    weight
        Its population.
    harmonic, quantum
        Of the same modes.
    """

    weight: float
    harmonic: HarmonicSpectrum
    quantum: AnharmonicSpectrum


@dataclass(frozen=True)
class BandByMethods:
    """An infrared band by all treatments.

    Parameters
    ----------
    modes
        Normal modes in it, of any conformer.
    harmonic, quantum
        Mean wavenumber of their fundamentals, weighted by harmonic intensity [cm⁻¹]; nan if VCI
        lacks one.
    convergence
        Largest error of convergence of the VCI fundamentals [cm⁻¹].
    dynamics
        The band in each spectrum.
    measured
        Measured fundamentals in it [cm⁻¹].
    """

    modes: tuple[int, ...]
    harmonic: float
    quantum: float
    convergence: float
    dynamics: tuple[Band, ...]
    measured: tuple[float, ...] = ()


def compare_methods(
    conformers: Sequence[Vibrations],
    spectra: Sequence[Spectrum],
    measured: BandList | None = None,
) -> list[BandByMethods]:
    """Return the infrared bands of a molecule by all treatments.

    A mode reaches from the lower to the higher of its harmonic and quantum wavenumbers. Modes
    within 60 cm⁻¹, or four points of a spectrum, share a band, which ends half-way to the next one.
    In a Fermi resonance the quantum wavenumber of a mode is the mean of the transitions that share
    its single quantum, weighted by their parts of it.

    Parameters
    ----------
    conformers
        Their vibrations.
    spectra
        Infrared spectra of dynamics.
    measured
        Measured fundamentals.
    """
    parts = [_of_modes(conformer) for conformer in conformers]
    mode, nu, level, error, strength = (np.concatenate(p) for p in zip(*parts, strict=True))
    low, high = np.fmin(nu, level), np.fmax(nu, level)
    steps = [float(np.diff(spectrum.wavenumber).max()) for spectrum in spectra]
    groups = _overlapping(low, high, max(_SEPARATION, 4.0 * max(steps, default=0.0)))
    edges = [max(0.5 * low.min(), low.min() - _SEPARATION)]
    edges += [0.5 * (high[a].max() + low[b].min()) for a, b in pairwise(groups)]
    edges.append(high.max() + 2.0 * _SEPARATION)
    known = () if measured is None else np.sort(measured.position)
    return [
        BandByMethods(
            tuple(np.unique(mode[group]).tolist()),
            float(np.average(nu[group], weights=strength[group])),
            float(np.average(level[group], weights=strength[group])),
            float(error[group].max()),
            tuple(spectrum.band(lower, upper) for spectrum in spectra),
            tuple(float(position) for position in known if lower <= position < upper),
        )
        for group, (lower, upper) in zip(groups, pairwise(edges), strict=True)
    ]


def _of_modes(conformer: Vibrations) -> tuple[np.ndarray, ...]:
    """Return modes, harmonic and quantum wavenumbers, errors of these, and strengths."""
    weight, harmonic, quantum = conformer
    worst = np.fmax.reduce([*quantum.errors.values(), np.full(len(quantum.wavenumber), np.nan)])
    n = len(harmonic.wavenumber)
    parts = np.zeros((n, len(quantum.wavenumber)))
    for t, (upper, lower) in enumerate(zip(quantum.assignment, quantum.initial, strict=True)):
        for state in upper if not lower[0].quanta else ():
            if sum(state.quanta.values()) == 1:
                (k,) = state.quanta
                parts[k, t] = state.weight
    known = np.isfinite(worst)
    level, error = np.full((2, n), np.nan)
    found = parts.sum(axis=1)
    np.divide(parts @ quantum.wavenumber, found, out=level, where=found >= _FOUND)
    found = parts[:, known].sum(axis=1)
    np.divide(parts[:, known] @ worst[known], found, out=error, where=found > 0.0)
    strength = weight * harmonic.infrared_intensity
    return np.arange(n), harmonic.wavenumber, level, error, strength


def _overlapping(low: np.ndarray, high: np.ndarray, separation: float) -> list[np.ndarray]:
    """Return groups of intervals with gaps of at least `separation` between them."""
    order = np.argsort(low, kind="stable")
    reached = np.maximum.accumulate(high[order])
    walls = np.flatnonzero(low[order][1:] - reached[:-1] >= separation) + 1
    return np.split(order, walls)


def method_table(rows: Sequence[BandByMethods], spectra: Sequence[Spectrum]) -> str:
    """Return the bands as text: centroids with standard and systematic errors, and widths."""
    columns: list[Column] = [("modes", "", [_from_to([k + 1 for k in r.modes]) for r in rows])]
    if any(row.measured for row in rows):
        columns.append(("measured", "cm⁻¹", [_from_to(row.measured) for row in rows]))
    columns.append(column("harmonic", "cm⁻¹", [row.harmonic for row in rows], ".0f"))
    columns.append(("VCI", "cm⁻¹", [_rounded(row.quantum, row.convergence) for row in rows]))
    for i, spectrum in enumerate(spectra):
        method = str(spectrum.provenance["method"])
        bands = [row.dynamics[i] for row in rows]
        centroids = [_rounded(*band.centroid) for band in bands]
        columns.append((method, "cm⁻¹", centroids))
        columns.append(("systematic", "cm⁻¹", [_systematic(row, method) for row in rows]))
        columns.append(column("width", "cm⁻¹", [band.width.value for band in bands], ".0f"))
    return aligned(rows_of(columns))


def _systematic(row: BandByMethods, method: str) -> str:
    """Return the systematic error of a method, where it is known."""
    known, shift = KNOWN_ERRORS.get(method), row.harmonic - row.quantum
    if known is None or np.isnan(shift) or row.quantum < _HYDROGEN:
        return ""
    return f"{known.low * shift:+.0f} … {known.high * shift:+.0f}"


def _from_to(values: Sequence[float]) -> str:
    """Return ascending values by the first and the last one."""
    shown = [f"{value:.0f}" for value in values]
    return "–".join(dict.fromkeys([*shown[:1], *shown[-1:]])) or "–"


def _rounded(value: float, error: float) -> str:
    """Return a wavenumber with its error, of at least 1 cm⁻¹."""
    return with_error(value, math.nan if math.isnan(value) else max(error, 1.0), ".0f")


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
    rows = compare_methods([Vibrations(1.0, modes, quantum)], spectra, fundamentals_of(spectra[0]))
    folder = Path(folder)
    make_folder(folder)
    lines = quantum.infrared(10.0)
    lines = replace(lines, provenance={**lines.provenance, "source": modes.provenance})
    drawn = [lines, *spectra]
    names = ["VCI, broadened", *map(dynamics_name, spectra)]
    save_figure(plot_infrared_raman(drawn, (), modes, names=names), folder / "methods.png")
    methods = [str(spectrum.provenance["method"]) for spectrum in spectra]
    text = "\n".join([method_table(rows, spectra), "", *method_notes(methods)])
    write_atomically(folder / "methods.txt", text + "\n")
    return text


def fundamentals_of(spectrum: Spectrum) -> BandList | None:
    """Return the measured fundamentals of the molecule of a spectrum; None if they are unknown."""
    try:
        return known_fundamentals(spectrum)
    except InvalidInputError:
        return None


def method_notes(methods: Sequence[str]) -> list[str]:
    """Return what the columns of :func:`method_table` mean, and what methods are known to miss."""
    notes = [
        "harmonic and VCI: fundamentals weighted by intensity, VCI with its error of convergence",
        "dynamics: centroid of the band ± standard error, its full width at half maximum, and for "
        "stretching vibrations of hydrogen the systematic error that the method has where exact "
        "results exist, in proportion to the anharmonic shift",
    ]
    for name in dict.fromkeys(methods):
        if name in KNOWN_ERRORS:
            known = KNOWN_ERRORS[name]
            notes.append(
                f"{name}: misses {known.low:.0%} to {known.high:.0%} of the anharmonic shift "
                f"there, and makes bands {known.width:g} times as broad as they are"
            )
    return notes
