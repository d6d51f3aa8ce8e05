# SPDX-License-Identifier: MIT
"""The bands of a prediction: each transition beside simpler treatments and experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from scipy.optimize import linear_sum_assignment

from eqcalc.anharmonic import AnharmonicSpectrum, Configuration, HinderedRotor
from eqcalc.anharmonic.spectrum import PRINTED
from eqcalc.spectra import Estimate, HarmonicSpectrum
from eqcalc.spectra.experiment.band_lists import BandList
from eqcalc.spectra.experiment.fundamentals import known_fundamentals
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.spectra.sticks import Sticks
from eqcalc.validation import InvalidInputError

#: Width of sharp lines and the end of their axis, cm⁻¹.
_RESOLVED, _HIGHEST = 4.0, 4500.0
#: Largest distance of a transition and its measured fundamental, relative.
_NEAR = 0.1
#: Transitions nearer than this are degenerate, cm⁻¹.
_DEGENERATE = 1.0
_UNKNOWN = Estimate(math.nan, math.nan)


@dataclass(frozen=True)
class Conformer:
    """A minimum of a molecule.

    Parameters
    ----------
    atoms
        The structure.
    weight
        Population, mirror images included.
    free_energy
        Above the most stable conformer, eV.
    spectrum
        Its transitions.
    rotors
        Its internal rotations, if modes were left to them.
    harmonic
        Its normal modes with double-harmonic intensities.
    perturbed
        Its transitions by GVPT2, if the molecule is small and the energy smooth.
    """

    atoms: Atoms
    weight: float
    free_energy: float
    spectrum: AnharmonicSpectrum
    rotors: tuple[HinderedRotor, ...]
    harmonic: HarmonicSpectrum
    perturbed: AnharmonicSpectrum | None = None

    def sharp(self, kind: str) -> Spectrum | None:
        """Return lines without rotation, ``"infrared"`` or ``"raman"``; None if unknown."""
        axis = np.arange(0.0, _HIGHEST, 0.25 * _RESOLVED)
        try:
            found: Spectrum = getattr(self.spectrum, kind)(_RESOLVED, wavenumber=axis)
        except InvalidInputError:
            return None
        return found

    def fundamentals(self, kind: str) -> BandList | None:
        """Return the measured fundamentals that are active; None if unknown."""
        whole = self.sharp(kind)
        try:
            return None if whole is None else known_fundamentals(whole)
        except InvalidInputError:
            return None


@dataclass(frozen=True)
class PredictedBand:
    """A transition of a conformer.

    Parameters
    ----------
    state
        Leading configurations of the upper state, and the lower state unless it is the ground
        state.
    conformer
        Its number, from zero.
    wavenumber
        cm⁻¹.
    errors
        Of the wavenumber by their sources, cm⁻¹.
    infrared, raman, depolarization_ratio
        km/mol and Å⁴/amu, times the population of the conformer; nan if unknown.
    quanta
        Gained by each mode, from zero.
    harmonic, perturbed
        Wavenumber in the harmonic approximation and by GVPT2, cm⁻¹; nan if unknown.
    measured
        Fundamental of the tables and its uncertainty, cm⁻¹; nan if unknown.
    """

    state: str
    conformer: int
    wavenumber: float
    errors: dict[str, float]
    infrared: float
    raman: float
    depolarization_ratio: float
    quanta: dict[int, int] = field(default_factory=dict)
    harmonic: float = math.nan
    perturbed: float = math.nan
    measured: Estimate = _UNKNOWN

    @property
    def error(self) -> float:
        """Root of the sum of squares of the errors that are known, cm⁻¹."""
        return math.hypot(*self.errors.values()) if self.errors else math.nan


def predicted_bands(
    conformers: Sequence[Conformer], least: float = PRINTED
) -> tuple[PredictedBand, ...]:
    """Return the transitions of all conformers in ascending order of wavenumber.

    Parameters
    ----------
    conformers
        Their intensities are weighted by the populations.
    least
        See :meth:`~eqcalc.anharmonic.AnharmonicSpectrum.table`.
    """
    found = [band for i, c in enumerate(conformers) for band in _bands(c, i, least)]
    return tuple(sorted(found, key=lambda band: band.wavenumber))


def _bands(conformer: Conformer, number: int, least: float) -> list[PredictedBand]:
    spectrum = conformer.spectrum
    infrared, raman, ratio = strengths(spectrum, conformer.weight)
    second_order = {} if conformer.perturbed is None else _by_quanta(conformer.perturbed)
    measured = _measured(conformer)
    result = []
    for t in np.flatnonzero(spectrum.shown(least)).tolist():
        quanta = _gained(spectrum.assignment[t][0], spectrum.initial[t][0])
        cold = not spectrum.initial[t][0].quanta
        result.append(
            PredictedBand(
                spectrum.state(t),
                number,
                float(spectrum.wavenumber[t]),
                _errors(conformer, t, quanta),
                float(infrared[t]),
                float(raman[t]),
                float(ratio[t]),
                quanta,
                float(sum(n * spectrum.harmonic[k] for k, n in quanta.items())),
                second_order.get(_key(quanta), math.nan) if cold else math.nan,
                measured.get(t, _UNKNOWN),
            )
        )
    return result


def strengths(sticks: Sticks, weight: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return km/mol and Å⁴/amu times a population, and depolarization ratios; nan if unknown."""
    infrared = raman = ratio = np.full(len(sticks.wavenumber), np.nan)
    if sticks.dipole_derivative is not None:
        infrared = weight * sticks.infrared_intensity
    if sticks.polarizability_derivative is not None:
        raman, ratio = weight * sticks.raman_activity, sticks.depolarization_ratio
    return infrared, raman, ratio


def _errors(conformer: Conformer, transition: int, quanta: dict[int, int]) -> dict[str, float]:
    """Return the errors of the treatment and, if it is known, that of the model."""
    treatment = conformer.spectrum.errors.items()
    errors = {source: float(error[transition]) for source, error in treatment}
    of_modes = conformer.harmonic.wavenumber_error
    if of_modes is not None:
        errors["model"] = math.hypot(*(n * float(of_modes[k]) for k, n in quanta.items()))
    return errors


def _gained(upper: Configuration, lower: Configuration) -> dict[int, int]:
    modes = sorted({*upper.quanta, *lower.quanta})
    gained = {k: upper.quanta.get(k, 0) - lower.quanta.get(k, 0) for k in modes}
    return {k: n for k, n in gained.items() if n}


def _key(quanta: dict[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(quanta.items()))


def _by_quanta(spectrum: AnharmonicSpectrum) -> dict[tuple[tuple[int, int], ...], float]:
    """Return the wavenumber by leading configuration: of several, that of the largest weight."""
    order = np.argsort([found[0].weight for found in spectrum.assignment], kind="stable")
    leading = [_key(spectrum.assignment[t][0].quanta) for t in order]
    return dict(zip(leading, spectrum.wavenumber[order].tolist(), strict=True))


def _measured(conformer: Conformer) -> dict[int, Estimate]:
    """Return the known fundamental of each transition that has one."""
    spectrum = conformer.spectrum
    single = [
        t
        for t, (found, start) in enumerate(zip(spectrum.assignment, spectrum.initial, strict=True))
        if sum(found[0].quanta.values()) == 1 and not start[0].quanta
    ]
    lists = [conformer.fundamentals(kind) for kind in ("infrared", "raman")]
    listed = dict.fromkeys(
        (name, Estimate(float(x), float(u)))
        for bands in lists
        if bands is not None and bands.uncertainty is not None
        for name, x, u in zip(bands.names, bands.position, bands.uncertainty, strict=True)
    )
    places = [estimate for _, estimate in listed]
    if not places or not single:
        return {}
    computed = spectrum.wavenumber[single]
    values = np.array([estimate.value for estimate in places])
    distance = (np.abs(computed[:, None] - values) / (_NEAR * values)) ** 2
    # what is too far costs as much as no partner
    rows, columns = linear_sum_assignment(np.minimum(distance, 1.0))
    result = {
        single[i]: places[j] for i, j in zip(rows, columns, strict=True) if distance[i, j] < 1.0
    }
    for t, nu in zip(single, computed, strict=True):
        for other, estimate in list(result.items()):
            if t not in result and abs(nu - spectrum.wavenumber[other]) < _DEGENERATE:
                result[t] = estimate
    return result
