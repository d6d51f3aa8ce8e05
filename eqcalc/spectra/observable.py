# SPDX-License-Identifier: MIT
"""What is correlated in each kind of spectrum, and the steps that all kinds share.

An :class:`Observable` says which quantity a spectrum is of and how its components are
grouped; :func:`estimated` goes from whatever holds a series of it to spectral densities.
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

#: No molecule vibrates faster than H₂ [cm⁻¹]; above are overtones.
_HIGHEST_FUNDAMENTAL = 4500.0
#: A maximum is a band if it has these parts of the highest value, with and without error.
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
    """What every kind of spectrum takes: facts of arrays, and choices of the estimate."""


@dataclass(frozen=True)
class Observable:
    """What is correlated in a spectrum.

    Parameters
    ----------
    quantity
        Name of the observable.
    shapes
        Shapes of one frame that are understood.
    unit
        Of the components.
    n_components
        Number of components.
    components
        Takes frames ``[n, ...]`` to components ``[n, n_components]``, linearly; flattens by
        default.
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
    """Return the spectral densities of an observable, and the series that they are of.

    The data are those of :func:`eqcalc.spectra.series.as_series` with the facts among
    :class:`SpectrumOptions`, seen from a frame of :func:`eqcalc.spectra.frames.in_frame`. A
    quantum factor is refused if the dynamics contains it already.
    """
    facts, estimation = split_options(options)
    positions = frame != LABORATORY
    series = as_series(data, observable.quantity, observable.shapes, positions=positions, **facts)
    series = in_frame(series, frame, reference)
    check_quantum_factor(quantum_factor, series.correlation)
    return estimation.density(series, observable.signals(series), observable.pairs), series


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], Estimation]:
    """Return the facts of a series that are stated, and the choices of the estimate.

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
    """Return a spectrum that warns of too few beads for its highest band.

    What lies above all vibrations is an overtone or noise, and does not count. `of` is the
    spectrum that has all bands, if the given one is a part of it.
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
