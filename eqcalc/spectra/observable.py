# SPDX-License-Identifier: MIT
"""Observables of spectra, and the steps common to all kinds of spectra.

An :class:`Observable` defines the quantity of a spectrum and the grouping of its components;
:func:`estimated` takes data of any supported form to spectral densities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

import numpy as np

from eqcalc.spectra.estimation import Density, Estimation, grouped
from eqcalc.spectra.estimator.correlation import Pairs, Signal
from eqcalc.spectra.frames import LABORATORY, in_frame
from eqcalc.spectra.lines import resolved_bands
from eqcalc.spectra.quantum_factors import bead_warning, check_quantum_factor
from eqcalc.spectra.series import FrameShape, Series, SeriesOptions, as_series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import nearest

#: Above the fundamental of H₂ [cm⁻¹] there are only overtones.
_HIGHEST_FUNDAMENTAL = 4500.0
#: Thresholds of a band as fractions of the highest value, with and without errors.
_BAND, _BAND_WITHOUT_ERROR = 0.02, 0.05


class EstimationOptions(TypedDict, total=False):
    """The fields of :class:`eqcalc.spectra.Estimation`."""

    estimator: str
    window: str
    resolution: float | None
    lag: float | None
    padding: int
    errors: str | None
    n_samples: int
    generator: np.random.Generator | int
    finite_difference: str
    frequency_correction: bool


class SpectrumOptions(SeriesOptions, EstimationOptions, total=False):
    """Options of every spectrum: metadata of arrays, and options of the estimate."""


@dataclass(frozen=True, eq=False)
class Observable:
    """The quantity whose correlation function gives a spectrum.

    Parameters
    ----------
    quantity
        Name of the observable.
    shapes
        Accepted shapes of one frame.
    unit
        Unit of the components.
    n_components
        Number of components.
    components
        Linear map of frames ``[n, ...]`` to components ``[n, n_components]``; flattens by default.
    groups
        Components that are summed in each density; all by default.
    """

    quantity: str
    shapes: Sequence[FrameShape]
    unit: str
    n_components: int
    components: Callable[[np.ndarray], np.ndarray] | None = None
    groups: tuple[slice, ...] = (slice(None),)

    @property
    def pairs(self) -> Pairs:
        """Components of both factors of each density."""
        return grouped(*self.groups)

    def signals(self, series: Series) -> list[Signal]:
        """Return the time derivative of the components of each replica, `unit` per fs."""
        return series.signals(self.unit, self.n_components, self.components)


def estimated(
    observable: Observable,
    data: Any,
    options: Mapping[str, Any],
    *,
    quantum_factor: str = "harmonic",
    frame: str = LABORATORY,
    reference: np.ndarray | None = None,
) -> tuple[Density, Series]:
    """Return the spectral densities of an observable, and its series.

    The data are as for :func:`eqcalc.spectra.series.as_series` with the metadata in
    :class:`SpectrumOptions`, transformed by :func:`eqcalc.spectra.frames.in_frame`. A quantum
    factor that the dynamics already contains is an error.
    """
    facts, estimation = split_options(options)
    positions = frame != LABORATORY
    series = as_series(data, observable.quantity, observable.shapes, positions=positions, **facts)
    series = in_frame(series, frame, reference)
    check_quantum_factor(quantum_factor, series.correlation, series.temperature)
    return estimation.density(series, observable.signals(series), observable.pairs), series


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], Estimation]:
    """Split the options into metadata of the series and options of the estimate.

    Raises
    ------
    TypeError
        There is no such option.
    """
    choices = [item.name for item in fields(Estimation)]
    known = [*SeriesOptions.__annotations__, *choices]
    for key in options:
        if key not in known:
            meant = nearest(key, known)
            advice = f"; did you mean {meant!r}?" if meant else ""
            raise TypeError(f"unexpected option {key!r}{advice}")
    given = SeriesOptions.__annotations__.keys() & options.keys()
    facts = {key: options[key] for key in given if options[key] is not None}
    return facts, Estimation(**{key: options[key] for key in choices if key in options})


def with_beads_warning(spectrum: Spectrum, series: Series, of: Spectrum | None = None) -> Spectrum:
    """Return the spectrum with a warning if there are too few beads for its highest band.

    Bands above all fundamentals are overtones or noise and do not count. `of` is the full spectrum,
    if the given one is a part of it.
    """
    if series.correlation != "kubo" or series.n_beads < 2:
        return spectrum
    of = spectrum if of is None else of
    inside = of.wavenumber <= _HIGHEST_FUNDAMENTAL
    values = of.values[inside]
    error = None if of.standard_error is None else of.standard_error[inside]
    bands = resolved_bands(values, _BAND_WITHOUT_ERROR if error is None else _BAND, error)
    if not bands:
        return spectrum
    first, last = bands[-1]
    highest = float(of.wavenumber[first + int(np.argmax(values[first : last + 1]))])
    found = bead_warning(series.n_beads, series.temperature, highest)
    return replace(spectrum, warnings=(*spectrum.warnings, *found))
