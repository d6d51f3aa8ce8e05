# SPDX-License-Identifier: MIT
"""The bands of a prediction: each transition beside simpler treatments and experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
from ase import Atoms
from scipy.optimize import linear_sum_assignment

from eqcalc.anharmonic import AnharmonicSpectrum, Configuration, LargeAmplitude
from eqcalc.anharmonic.spectrum import PRINTED
from eqcalc.facts import column, rows_of
from eqcalc.prediction.errors import Calibration, ModelError, band_error
from eqcalc.prediction.point_groups import mode_irreps
from eqcalc.spectra import Estimate, HarmonicSpectrum
from eqcalc.spectra.experiment.band_lists import BandList
from eqcalc.spectra.experiment.fundamentals import known_fundamentals
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.spectra.sticks import Sticks
from eqcalc.validation import InvalidInputError, one_of

#: Width of lines without rotation, cm⁻¹.
_RESOLVED = 10.0
#: Largest distance of a transition and its measured fundamental, relative.
_NEAR = 0.1
#: Transitions nearer than this are degenerate, cm⁻¹.
_DEGENERATE = 1.0
#: Configurations of a state are equivalent if their weights have at least this ratio.
_EQUAL = 0.98
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
    motions
        Its motions of large amplitude, if modes were left to them.
    harmonic
        Its normal modes with double-harmonic intensities.
    perturbed
        Its transitions by GVPT2, if the molecule is small and the energy smooth.
    model_error
        What a model states of its own error, if it does.
    """

    atoms: Atoms
    weight: float
    free_energy: float
    spectrum: AnharmonicSpectrum
    motions: tuple[LargeAmplitude, ...]
    harmonic: HarmonicSpectrum
    perturbed: AnharmonicSpectrum | None = None
    model_error: ModelError | None = None

    @property
    def treatment(self) -> str:
        """How the vibrations are treated: VCI, or (scaled) harmonic."""
        return str(self.spectrum.provenance["method"])

    def without_rotation(self, kind: str) -> Spectrum | None:
        """Return the lines without rotation.

        They are 10 cm⁻¹ wide, which makes most hot bands part of the bands they belong to.

        Parameters
        ----------
        kind
            ``"infrared"`` or ``"raman"``.

        Returns
        -------
        Spectrum or None
            In steps of 1 cm⁻¹; None if the level of theory has no such intensities.
        """
        if one_of("kind", kind, ("infrared", "raman")) not in self.spectrum.known:
            return None
        end = self.spectrum.wavenumber.max(initial=0.0) + 20.0 * _RESOLVED
        axis = np.arange(0.0, end, 0.1 * _RESOLVED)
        found: Spectrum = getattr(self.spectrum, kind)(_RESOLVED, wavenumber=axis)
        return found

    def fundamentals(self, kind: str) -> BandList | None:
        """Return the measured fundamentals that are active, None if unknown."""
        whole = self.without_rotation(kind)
        try:
            return None if whole is None else known_fundamentals(whole)
        except InvalidInputError:
            return None

    @cached_property
    def measured(self) -> list[tuple[str, Estimate]]:
        """Assignment and position of the measured fundamentals, infrared or Raman active."""
        lists = [self.fundamentals(kind) for kind in ("infrared", "raman")]
        listed = dict.fromkeys(
            (name, Estimate(float(x), float(u)))
            for bands in lists
            if bands is not None and bands.uncertainty is not None
            for name, x, u in zip(bands.names, bands.position, bands.uncertainty, strict=True)
        )
        return sorted(listed, key=lambda found: found[1].value)


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
        Of the wavenumber by their sources, cm⁻¹: half-widths of 68 % if the level of theory is
        among them (:mod:`~eqcalc.prediction.errors`).
    infrared, raman, depolarization_ratio
        km/mol and Å⁴/amu, times the population of the conformer; nan if unknown.
    quanta
        Gained by each mode, from zero.
    harmonic, perturbed
        Wavenumber in the harmonic approximation and by GVPT2, cm⁻¹; nan if unknown.
    measured, assigned
        Fundamental of the tables with its uncertainty, cm⁻¹, and its assignment there; nan and
        nothing if unknown.
    bias
        By how much the level and the treatment put it too high, cm⁻¹; nan if unknown.
    error_95
        Half-width of 95 % about the expected wavenumber, cm⁻¹; nan if unknown.
    infrared_error, raman_error
        Of the intensities of fundamentals, by the model alone; nan if unknown.
    irrep
        Irreducible representation of a fundamental (:mod:`~eqcalc.prediction.point_groups`).
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
    bias: float = math.nan
    error_95: float = math.nan
    infrared_error: float = math.nan
    raman_error: float = math.nan
    irrep: str = ""
    assigned: str = ""

    @property
    def error(self) -> float:
        """Root of the sum of squares of the errors, cm⁻¹; nan if VCI is not converged enough."""
        return math.hypot(*self.errors.values()) if self.errors else math.nan

    @property
    def expected(self) -> float:
        """Wavenumber without the bias, cm⁻¹: where it is expected in experiment."""
        return self.wavenumber - (0.0 if math.isnan(self.bias) else self.bias)


def predicted_bands(
    conformers: Sequence[Conformer],
    calibration: Calibration | None = None,
    least: float = PRINTED,
) -> tuple[PredictedBand, ...]:
    """Return the transitions of all conformers in ascending order of wavenumber.

    Parameters
    ----------
    conformers
        Their intensities are weighted by the populations.
    calibration
        Constants of the error of the level of theory, if they are known.
    least
        See :meth:`~eqcalc.anharmonic.AnharmonicSpectrum.table`.
    """
    found = [band for i, c in enumerate(conformers) for band in _bands(c, i, calibration, least)]
    return tuple(sorted(found, key=lambda band: band.wavenumber))


def biased(bands: Sequence[PredictedBand]) -> bool:
    """Return whether bands are expected elsewhere than where they are."""
    return any(abs(band.bias) > 0.0 for band in bands)  # not if unknown


def error_budget(bands: Sequence[PredictedBand], treatment: str) -> list[tuple[str, ...]]:
    """Return the errors of positions by their sources, as a table with a head and units."""
    sources = list(dict.fromkeys(source for band in bands for source in band.errors))
    values = {treatment: [band.wavenumber for band in bands]}
    if biased(bands):
        values["bias"] = [band.bias for band in bands]
        values["expected"] = [band.expected for band in bands]
    values |= {f"± {s}": [band.errors.get(s, math.nan) for band in bands] for s in sources}
    values["± sum"] = [band.error for band in bands]
    if any(not math.isnan(band.error_95) for band in bands):
        values["± 95 %"] = [band.error_95 for band in bands]
    numbers = [column(head, "cm⁻¹", found, ".1f") for head, found in values.items()]
    return rows_of([("state", "", [band.state for band in bands]), *numbers])


def _bands(
    conformer: Conformer, number: int, calibration: Calibration | None, least: float
) -> list[PredictedBand]:
    spectrum = conformer.spectrum
    infrared, raman, ratio = strengths(spectrum, conformer.weight)
    second_order = {} if conformer.perturbed is None else _by_quanta(conformer.perturbed)
    measured = _measured(conformer)
    irreps = mode_irreps(conformer.harmonic, conformer.atoms)
    # no terms of more modes are left out of motions of large amplitude
    separated = {k - 1 for k in spectrum.provenance.get("separated_modes", ())}
    # nor of harmonic oscillators, whose error is not told by the terms
    coupling = int(spectrum.provenance.get("mode_coupling", 3))
    result = []
    for t in np.flatnonzero(spectrum.shown(least)).tolist():
        quanta = _gained(spectrum.assignment[t], spectrum.initial[t])
        cold = not spectrum.initial[t][0].quanta
        wavenumber = float(spectrum.wavenumber[t])
        convergence = {name: float(error[t]) for name, error in spectrum.errors.items()}
        bias, errors, wide = band_error(
            quanta,
            wavenumber,
            spectrum.harmonic,
            convergence,
            3 if separated.issuperset(quanta) else coupling,
            conformer.model_error,
            calibration,
        )
        result.append(
            PredictedBand(
                spectrum.state(t),
                number,
                wavenumber,
                errors,
                float(infrared[t]),
                float(raman[t]),
                float(ratio[t]),
                quanta,
                float(sum(n * spectrum.harmonic[k] for k, n in quanta.items())),
                second_order.get(_key(quanta), math.nan) if cold else math.nan,
                measured.get(t, ("", _UNKNOWN))[1],
                bias,
                wide,
                *_intensity_errors(conformer, t, quanta if cold else {}),
                irreps[next(iter(quanta))] if cold and list(quanta.values()) == [1] else "",
                measured.get(t, ("", _UNKNOWN))[0],
            )
        )
    return result


def _intensity_errors(
    conformer: Conformer, transition: int, quanta: dict[int, int]
) -> tuple[float, float]:
    """Return the errors that the model states of the intensities of a fundamental."""
    stated = conformer.model_error
    if stated is None or list(quanta.values()) != [1]:
        return math.nan, math.nan
    (k,) = quanta
    part = conformer.weight * conformer.spectrum.assignment[transition][0].weight
    found = [math.nan if e is None else part * float(e[k]) for e in (stated.infrared, stated.raman)]
    return found[0], found[1]


def strengths(sticks: Sticks, weight: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return km/mol and Å⁴/amu times a population, and depolarization ratios; nan if unknown."""
    infrared = raman = ratio = np.full(len(sticks.wavenumber), np.nan)
    if sticks.dipole_derivative is not None:
        infrared = weight * sticks.infrared_intensity
    if sticks.polarizability_derivative is not None:
        raman, ratio = weight * sticks.raman_activity, sticks.depolarization_ratio
    return infrared, raman, ratio


def _gained(upper: Sequence[Configuration], lower: Sequence[Configuration]) -> dict[int, int]:
    """Return the quanta each mode gains: the fewest, where degenerate modes leave a choice."""
    found = []
    for up, low in product(_leading(upper), _leading(lower)):
        gained = {k: up.get(k, 0) - low.get(k, 0) for k in sorted({*up, *low})}
        found.append({k: n for k, n in gained.items() if n})
    return min(found, key=lambda gained: sum(map(abs, gained.values())))


def _leading(state: Sequence[Configuration]) -> list[dict[int, int]]:
    return [one.quanta for one in state if one.weight > _EQUAL * state[0].weight]


def _key(quanta: dict[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(quanta.items()))


def _by_quanta(spectrum: AnharmonicSpectrum) -> dict[tuple[tuple[int, int], ...], float]:
    """Return the wavenumber by leading configuration: of several, that of the largest weight."""
    order = np.argsort([found[0].weight for found in spectrum.assignment], kind="stable")
    leading = [_key(spectrum.assignment[t][0].quanta) for t in order]
    return dict(zip(leading, spectrum.wavenumber[order].tolist(), strict=True))


def _measured(conformer: Conformer) -> dict[int, tuple[str, Estimate]]:
    """Return the known fundamental of each transition that has one."""
    spectrum = conformer.spectrum
    single = [
        t
        for t, (found, start) in enumerate(zip(spectrum.assignment, spectrum.initial, strict=True))
        if sum(found[0].quanta.values()) == 1 and not start[0].quanta
    ]
    listed = conformer.measured
    if not listed or not single:
        return {}
    computed = spectrum.wavenumber[single]
    values = np.array([estimate.value for _, estimate in listed])
    distance = (np.abs(computed[:, None] - values) / (_NEAR * values)) ** 2
    # what is too far costs as much as no partner
    rows, columns = linear_sum_assignment(np.minimum(distance, 1.0))
    result = {
        single[i]: listed[j] for i, j in zip(rows, columns, strict=True) if distance[i, j] < 1.0
    }
    for t, nu in zip(single, computed, strict=True):
        for other, found in list(result.items()):
            if t not in result and abs(nu - spectrum.wavenumber[other]) < _DEGENERATE:
                result[t] = found
    return result
