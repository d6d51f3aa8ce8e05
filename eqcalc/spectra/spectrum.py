# SPDX-License-Identifier: MIT
"""The result of every analysis: a spectrum with its unit, errors and provenance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eqcalc.facts import ComparedByValue, facts_table
from eqcalc.spectra.estimator.statistics import Estimate, confidence_interval
from eqcalc.spectra.lines import (
    full_width,
    half_height_centre,
    maximum,
    resolved_bands,
    unresolved_maxima,
)
from eqcalc.spectra.provenance import formula, provenance_facts
from eqcalc.validation import (
    LARGEST,
    InvalidInputError,
    array_of,
    count,
    instance,
    non_negative,
    number,
    shape,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Band(NamedTuple):
    """A band of a spectrum; the errors are standard errors, nan if unknown."""

    lower: float  #: lower limit, cm⁻¹
    upper: float  #: upper limit, cm⁻¹
    #: wavenumber of the maximum, cm⁻¹; for a multitaper estimate, whose lines are flat-topped, the
    #: centre at half height
    position: Estimate
    centroid: Estimate  #: mean wavenumber, cm⁻¹
    width: Estimate  #: full width at half maximum, cm⁻¹
    area: Estimate  #: integral, unit of the spectrum times cm⁻¹


@dataclass(frozen=True, repr=False, eq=False)
class Spectrum(ComparedByValue):
    """A quantity on a wavenumber axis.

    Parameters
    ----------
    wavenumber
        ``[n_wavenumbers]``, cm⁻¹, ascending.
    values
        ``[n_wavenumbers]``.
    unit
        Unit of the values.
    label
        Name of the quantity, as on the axis of a figure.
    standard_error
        ``[n_wavenumbers]``, or None. Taken from `samples` if these are given.
    samples
        ``[n_samples, n_wavenumbers]``, bootstrap samples of the values, from which the errors of
        bands, ratios and other derived quantities follow.
    n_independent
        Number of replicas or blocks behind the errors.
    provenance
        Provenance of the spectrum (JSON-able).
    warnings
        Warnings for the reader.
    history
        Operations applied to the original spectrum.

    Raises
    ------
    InvalidInputError
        Lengths differ, or the wavenumbers do not ascend.
    """

    wavenumber: np.ndarray
    values: np.ndarray
    unit: str
    label: str
    standard_error: np.ndarray | None = None
    samples: np.ndarray | None = None
    n_independent: int = 1
    provenance: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(shape("wavenumber", self.wavenumber, ("n_wavenumbers",)))
        count("n_independent", self.n_independent)
        if n < 2 or not np.all(np.diff(self.wavenumber) > 0.0):
            raise InvalidInputError(
                key="wavenumber", expected="two or more wavenumbers in ascending order"
            )
        known = np.asarray(shape("values", self.values, (n,)))
        known = known[~np.isnan(known)]  # others are undefined
        if np.abs(known).max(initial=0.0) >= LARGEST:
            largest = float(np.abs(known).max())
            raise InvalidInputError(key="values", value=largest, expected=f"below {LARGEST:g}")
        if self.samples is not None:
            shape("samples", self.samples, ("n_samples", n))
            if self.standard_error is None:
                error = np.std(self.samples, axis=0, ddof=1)
                object.__setattr__(self, "standard_error", error)
        if self.standard_error is not None:
            shape("standard_error", self.standard_error, (n,))
            if np.any(np.asarray(self.standard_error) < 0.0):
                least = float(np.nanmin(self.standard_error))
                raise InvalidInputError(key="standard_error", value=least, expected="none below 0")

    def __len__(self) -> int:
        return len(self.wavenumber)

    def _facts(self) -> dict[str, str]:
        """Return a description by topic, without the values."""
        record = self.provenance
        first, last = self.wavenumber[[0, -1]]
        facts = {
            "quantity": f"{self.label} [{self.unit}]",
            "range": f"{first:.0f} … {last:.0f} cm⁻¹, {len(self)} points",
        }
        if "resolution_cm-1" in record:
            facts["resolution"] = f"{record['resolution_cm-1']:.3g} cm⁻¹"
        if self.standard_error is not None:
            facts["errors"] = f"from {self.n_independent} {record.get('resampled', 'parts')}"
        return facts

    def __repr__(self) -> str:
        """Return a short description without the values."""
        facts = self._facts()
        what, where = facts.pop("quantity"), facts.pop("range")
        method = [self.provenance["method"]] if "method" in self.provenance else []
        if "temperature_K" in self.provenance:
            method.append(f"{self.provenance['temperature_K']:g} K")
        parts = [f"{formula(self.provenance)} {what}".strip(), where, ", ".join(method)]
        parts += [f"{name} {fact}" for name, fact in facts.items()]
        return f"Spectrum({'; '.join(part for part in parts if part)})"

    def _repr_html_(self) -> str:
        return facts_table("Spectrum", self._facts() | provenance_facts(self.provenance))

    def plot(self, **options: Any) -> Figure:
        """Return a figure, which notebooks display; see :func:`~eqcalc.spectra.plot_spectrum`."""
        from eqcalc.spectra import plot_spectrum

        return plot_spectrum(self, **options)

    # --- errors -------------------------------------------------------------------

    def confidence_band(self, level: float = 0.68) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper limit that contain the truth with probability `level`.

        See :func:`eqcalc.spectra.estimator.statistics.confidence_interval`.

        Raises
        ------
        InvalidInputError
            The spectrum has no errors.
        """
        if self.standard_error is None:
            raise InvalidInputError("this spectrum has no errors", key=self.label)
        return confidence_interval(self.values, self.standard_error, level, self.n_independent)

    def estimate(self, function: Callable[[np.ndarray], float]) -> Estimate:
        """Return a number computed from the values, with its standard error.

        Parameters
        ----------
        function
            Maps values ``[n_wavenumbers]`` to a number.
        """
        value = float(function(self.values))
        if self.samples is None:
            return Estimate(value, float("nan"))
        sampled = np.array([function(sample) for sample in self.samples])
        return Estimate(value, float(np.std(sampled, ddof=1)), self.n_independent)

    # --- bands ----------------------------------------------------------------------

    def integrate(self, lower: float | None = None, upper: float | None = None) -> Estimate:
        """Return the integral over [lower, upper] cm⁻¹ and its standard error.

        Uses the trapezoidal rule, with linear interpolation at the limits. Without bootstrap
        samples the correlation of neighbouring values is unknown; the error is then its upper
        bound, the integral of the standard error.
        """
        weights = self.weights(lower, upper)
        error = float("nan")
        if self.samples is not None:
            error = float(np.std(self.samples @ weights, ddof=1))
        elif self.standard_error is not None:
            error = float(self.standard_error @ weights)
        return Estimate(float(self.values @ weights), error, self.n_independent)

    def weights(self, lower: float | None, upper: float | None) -> np.ndarray:
        """Return w with w·values the trapezoid integral over [lower, upper] cm⁻¹."""
        x = self.wavenumber
        a = float(x[0]) if lower is None else number("lower", lower, unit="cm⁻¹")
        b = float(x[-1]) if upper is None else number("upper", upper, unit="cm⁻¹")
        if not (x[0] - 1e-9 <= a < b <= x[-1] + 1e-9):
            raise _out_of_range("the limits of an integral", a, b, x)
        # in each interval of the grid, the part [s, t] inside the limits
        s, t = np.clip(a, x[:-1], x[1:]), np.clip(b, x[:-1], x[1:])
        step = np.diff(x)
        right = 0.5 * (t - s) * ((s - x[:-1]) + (t - x[:-1])) / step
        weights = np.zeros(len(x))
        weights[1:] += right
        weights[:-1] += (t - s) - right
        return weights

    def band(self, lower: float, upper: float) -> Band:
        """Return position, centroid, width and area of the band between two wavenumbers."""
        inside = self.inside(lower, upper)
        if inside.sum() < 3:
            raise InvalidInputError(
                key="band", value=(lower, upper), expected="limits with three or more points inside"
            )
        x, weights = self.wavenumber[inside], self.weights(lower, upper)
        flat_top = self.provenance.get("estimator") == "multitaper"
        position = half_height_centre if flat_top else maximum
        area = self.integrate(lower, upper)
        parts = area.effective_parts()

        def derived(function: Callable[[np.ndarray], float]) -> Estimate:
            return Estimate(*self.estimate(function), parts)

        return Band(
            lower,
            upper,
            derived(lambda y: position(x, y[inside])),
            derived(lambda y: float(weights @ (self.wavenumber * y) / (weights @ y))),
            derived(lambda y: full_width(x, y[inside])),
            area,
        )

    def bands(
        self, threshold: float = 0.02, lower: float | None = None, upper: float | None = None
    ) -> list[Band]:
        """Return the resolved bands, ascending, separated at the minima between them.

        Parameters
        ----------
        threshold
            A maximum is a band if it is at least this fraction of the highest value, and rises by
            as much and by two standard errors above the adjacent valleys.
        lower, upper
            Range to search, cm⁻¹.
        """
        part = self.between(lower, upper)
        x = part.wavenumber
        limits = resolved_bands(
            part.values, non_negative("threshold", threshold), part.standard_error
        )
        return [self.band(float(x[first]), float(x[last])) for first, last in limits]

    def unresolved(
        self, threshold: float = 0.02, lower: float | None = None, upper: float | None = None
    ) -> list[tuple[float, float]]:
        """Return the maxima that :meth:`bands` rejects only because of their errors.

        Each belongs to a neighbouring band, or to none.

        Parameters
        ----------
        threshold, lower, upper
            As for :meth:`bands`.

        Returns
        -------
        Wavenumber of each maximum [cm⁻¹], ascending, and its rise above the adjacent valleys in
        standard errors. Empty if there are no errors.
        """
        part = self.between(lower, upper)
        if part.standard_error is None:
            return []
        found = unresolved_maxima(
            part.values, non_negative("threshold", threshold), part.standard_error
        )
        return [(float(part.wavenumber[i]), rise) for i, rise in found]

    # --- operations -----------------------------------------------------------------

    def scaled(self, factor: float, **changes: Any) -> Spectrum:
        """Return the spectrum multiplied by a number; see :meth:`weighted`."""
        return self.weighted(number("factor", factor), f"multiplied by {factor:.9g}", **changes)

    def weighted(self, factor: np.ndarray | float, operation: str, **changes: Any) -> Spectrum:
        """Return the spectrum multiplied by a known function of the wavenumber.

        Parameters
        ----------
        factor
            ``[n_wavenumbers]``, or a number.
        operation
            Entry in the history.
        changes
            New unit, label, provenance, ….
        """
        error = None if self.standard_error is None else self.standard_error * np.abs(factor)
        return self.mapped(lambda y: y * factor, operation, standard_error=error, **changes)

    def mapped(
        self, function: Callable[[np.ndarray], np.ndarray], operation: str = "", **changes: Any
    ) -> Spectrum:
        """Return the spectrum with a function applied to the values and to each sample.

        Parameters
        ----------
        function
            Maps values ``[n_wavenumbers]`` to values on the new axis.
        operation
            Entry in the history.
        changes
            New standard error (taken from the samples if it is None), wavenumber, unit, ….
        """
        samples = self.samples
        return replace(
            self,
            values=function(self.values),
            samples=None if samples is None else np.array([function(y) for y in samples]),
            history=(*self.history, operation) if operation else self.history,
            **changes,
        )

    def even_step(self) -> float:
        """Return the spacing of the wavenumbers, cm⁻¹.

        Raises
        ------
        InvalidInputError
            They are not equally spaced.
        """
        steps = np.diff(self.wavenumber)
        step = float(np.mean(steps))
        if not np.allclose(steps, step, rtol=1e-6):
            raise InvalidInputError(
                key="wavenumber", expected="an even grid", advice="interpolate first"
            )
        return step

    def inside(self, lower: float, upper: float) -> np.ndarray:
        """Return which points lie between two wavenumbers [cm⁻¹], ``[n_wavenumbers]``."""
        return (self.wavenumber >= lower) & (self.wavenumber <= upper)

    def between(self, lower: float | None = None, upper: float | None = None) -> Spectrum:
        """Return the part of the spectrum between two wavenumbers [cm⁻¹].

        Raises
        ------
        InvalidInputError
            It has fewer than two points.
        """
        keep = self.inside(
            -np.inf if lower is None else number("lower", lower, unit="cm⁻¹"),
            np.inf if upper is None else number("upper", upper, unit="cm⁻¹"),
        )
        if keep.sum() < 2:
            low, high = self.wavenumber[[0, -1]]
            raise InvalidInputError(
                key="limits",
                value=(lower, upper),
                expected=f"two points or more of {self.label}, from {low:g} to {high:g} cm⁻¹",
            )
        error = None if self.standard_error is None else self.standard_error[keep]
        axis = self.wavenumber[keep]
        return self.mapped(lambda y: y[keep], wavenumber=axis, standard_error=error)

    def combined(
        self, other: Spectrum, function: Callable[[np.ndarray, np.ndarray], np.ndarray], **to: Any
    ) -> Spectrum:
        """Return a function of two spectra on the same axis.

        If both have samples, the errors follow from pairs of samples, which are drawn from the same
        replicas if both come from one trajectory. Without them the result has no errors.
        """
        if len(self) != len(instance("other", other, Spectrum)) or not np.allclose(
            self.wavenumber, other.wavenumber, rtol=0.0, atol=1e-6
        ):
            raise InvalidInputError(
                f"the wavenumbers of {self.label!r} and {other.label!r} differ",
                key="wavenumber",
                advice="use the same window and interval, or interpolate one of them",
            )
        samples = None
        if self.samples is not None and other.samples is not None:
            if len(self.samples) != len(other.samples):
                raise InvalidInputError(
                    key="n_samples", value=len(other.samples), expected=f"{len(self.samples)}"
                )
            samples = function(self.samples, other.samples)
        changes: dict[str, Any] = {
            "warnings": tuple(dict.fromkeys((*self.warnings, *other.warnings))),
            "n_independent": min(self.n_independent, other.n_independent),
            **to,
        }
        values = function(self.values, other.values)
        return replace(self, values=values, samples=samples, standard_error=None, **changes)

    def __mul__(self, factor: float) -> Spectrum:
        return self.scaled(number("factor", factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Spectrum:
        if number("divisor", divisor) == 0.0:
            raise InvalidInputError(key="divisor", value=divisor, expected="a number other than 0")
        return self.scaled(1.0 / float(divisor))

    def _sum(self, other: Spectrum, sign: float, word: str) -> Spectrum:
        if self.unit != instance("other", other, Spectrum).unit:
            raise InvalidInputError(key="unit", value=other.unit, expected=repr(self.unit))
        history = (*self.history, f"{word} {other.label}")
        result = self.combined(other, lambda a, b: a + sign * b, history=history)
        if result.samples is not None or self.standard_error is None:
            return result
        if other.standard_error is None:
            return result
        # unknown covariance: upper bound of the error of the sum
        return replace(result, standard_error=self.standard_error + other.standard_error)

    def __add__(self, other: Spectrum) -> Spectrum:
        return self._sum(other, 1.0, "plus")

    def __sub__(self, other: Spectrum) -> Spectrum:
        return self._sum(other, -1.0, "minus")

    def interpolated(self, wavenumber: np.ndarray) -> Spectrum:
        """Return the spectrum interpolated linearly to an axis within its range."""
        wavenumber = array_of("wavenumber", wavenumber, ("n_wavenumbers",))
        if len(wavenumber) < 2:
            raise InvalidInputError(key="wavenumber", value=wavenumber, expected="two or more")
        if wavenumber[0] < self.wavenumber[0] - 1e-9 or wavenumber[-1] > self.wavenumber[-1] + 1e-9:
            raise _out_of_range("wavenumber", wavenumber[0], wavenumber[-1], self.wavenumber)

        def onto(y: np.ndarray) -> np.ndarray:
            return np.interp(wavenumber, self.wavenumber, y)

        error = None
        if self.samples is None and self.standard_error is not None:
            error = onto(self.standard_error)
        return self.mapped(onto, "interpolated", wavenumber=wavenumber, standard_error=error)


def _out_of_range(key: str, lower: float, upper: float, axis: np.ndarray) -> InvalidInputError:
    return InvalidInputError(
        key=key,
        value=(float(lower), float(upper)),
        expected=f"a range within that of the spectrum, {axis[0]:g} to {axis[-1]:g} cm⁻¹",
    )
