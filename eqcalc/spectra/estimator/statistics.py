# SPDX-License-Identifier: MIT
"""Sampling errors by bootstrap over replicas or blocks, and confidence bands.

The unit that is resampled must be statistically independent. For an isolated
molecule without a thermostat these are the replicas and nothing smaller: the
energy of each mode is conserved along a trajectory, so that the intensities of
one replica scatter by about 100 % however long it is.

A mean over few such intensities has a skewed distribution. :func:`confidence_interval` therefore
works on the logarithm, with the degrees of freedom that its standard error has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from eqcalc.spectra.estimator.correlation import LagSums
from eqcalc.validation import InvalidInputError, instance, number, positive

#: Independent parts of an estimate that does not say how many it has.
_MANY = 10**6
#: Squared relative scatter v² of the parts above which their sign is not known.
_EXCESS = 3.0
#: Largest v² for which the degrees of freedom are reduced.
_WILDEST = 15.0
#: Largest exponent t_f·c, which two or three replicas would exceed.
_FAR = 3.0


class _Pair(NamedTuple):
    value: float
    error: float


class Estimate(_Pair):
    """A value and its standard error (nan if unknown).

    Parameters
    ----------
    value, error
        The two items.
    n_independent
        Number of replicas or blocks that the error is from, if known.
    """

    n_independent: float | None

    def __new__(cls, value: float, error: float, n_independent: float | None = None) -> Estimate:
        """Return a pair of numbers that knows where its error is from."""
        pair = super().__new__(cls, value, error)
        pair.n_independent = n_independent
        return pair

    @classmethod
    def of_mean(cls, values: np.ndarray) -> Estimate:
        """Return the mean of independent values ``[n]`` and its error, unknown for a single one."""
        n = len(values)
        error = float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
        return cls(float(values.mean()), error, n)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the limits that contain the truth with probability `level`."""
        n = _MANY if self.n_independent is None else self.n_independent
        limits = confidence_interval(np.array(self.value), np.array(self.error), level, n)
        return float(limits[0]), float(limits[1])

    def effective_parts(self) -> float | None:
        """Return the number of equal parts whose scatter is known as well as that of these.

        What is derived from an intensity, such as a position, has that many independent parts:
        1 + f of :func:`confidence_interval`.
        """
        n = self.n_independent
        if n is None or not (np.isfinite(self.error) and self.value != 0.0):
            return n
        return 1.0 + (n - 1.0) / (1.0 + n * (self.error / self.value) ** 2)

    def __str__(self) -> str:
        """Return value ± error, with two significant digits of the error."""
        if not (np.isfinite(self.error) and self.error > 0.0):
            return f"{self.value:.6g}"
        power = int(np.floor(np.log10(max(abs(self.value), self.error))))
        scale = power if abs(power) > 5 else 0
        digits = max(1 - int(np.floor(np.log10(self.error))) + scale, 0)
        value, error = (x / 10.0**scale for x in self)
        text = f"{value:.{digits}f} ± {error:.{digits}f}"
        return f"({text})e{scale:+03d}" if scale else text

    def __repr__(self) -> str:
        """Return value ± error."""
        return f"Estimate({self})"

    def _repr_html_(self) -> str:
        return str(self)


def bootstrap(
    sums: LagSums, n_samples: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the correlation function of all parts and those of bootstrap samples.

    The deviations of the samples are scaled by sqrt(n/(n − 1)), so that
    their standard deviation is the unbiased standard error also for few parts.
    ``[n_groups, n_lags]`` and ``[n_samples, n_groups, n_lags]``, or None with a single part.
    """
    correlation = sums.correlation()
    n_parts = sums.n_parts
    if n_parts < 2 or n_samples < 2:
        return correlation, None
    # how often each part is in each sample
    counts = generator.multinomial(n_parts, np.full(n_parts, 1.0 / n_parts), n_samples)
    samples = sums.correlation(counts.astype(float))
    samples -= correlation
    samples *= np.sqrt(n_parts / (n_parts - 1.0))
    samples += correlation
    return correlation, samples


def confidence_interval(
    values: np.ndarray, error: np.ndarray, level: float, n_independent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and the upper limit that contain the truth with probability `level`.

    With n parts and c = error/|value|, the parts scatter by v = √n·c of their mean. A sum of
    mode energies is gamma-distributed, exponentially (v = 1) for a single mode; then log(value)
    is nearly normal with the standard error c, independent of it, and c² is known like a mean of
    f = (n − 1)/(1 + v²) squares (from the fourth moment of the gamma distribution). The limits
    are value·exp(± t_f c) with Student's t_f. Parts that scatter little give the usual
    value ± t_(n−1)·error.

    The logarithm needs a value of known sign. Where the usual limits contain zero, or the parts
    scatter more than mode energies can (v² > 3), the limit towards zero is the usual one, and
    the other one becomes it as c goes from ½ to 1.

    Parameters
    ----------
    values, error
        Of the same shape.
    level
        Between 0 and 1.
    n_independent
        Number n of independent parts.

    Raises
    ------
    InvalidInputError
        The level is no probability.
    """
    if not 0.0 < number("level", level) < 1.0:
        raise InvalidInputError(key="level", value=level, expected="a number between 0 and 1")
    p, freedom = 0.5 + 0.5 * level, max(n_independent - 1.0, 1.0)
    size = np.abs(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        c = np.where(size > 0.0, error / size, np.inf)
        scatter = n_independent * c**2
        reach = np.minimum(
            student.ppf(p, freedom / (1.0 + np.minimum(scatter, _WILDEST))) * c, _FAR
        )
    usual = float(student.ppf(p, freedom)) * error
    inward = np.where((usual >= size) | (scatter > _EXCESS), usual, -size * np.expm1(-reach))
    skewed = np.clip(2.0 * (1.0 - c), 0.0, 1.0)
    outward = np.maximum(usual, skewed * size * np.expm1(reach) + (1.0 - skewed) * usual)
    negative = values < 0.0
    return (
        values - np.where(negative, outward, inward),
        values + np.where(negative, inward, outward),
    )


def sample_limits(samples: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Return the limits that contain one more sample of the same kind with probability `level`.

    The k-th of B sorted samples is their quantile k/(B + 1). The default of NumPy, (k − 1)/(B − 1),
    gives limits that contain 93.1 % instead of 95 % for B = 100.

    Parameters
    ----------
    samples
        ``[n_samples]``.
    level
        Between 0 and 1.

    Returns
    -------
    ndarray
        The lower and the upper limit.
    """
    tail = 0.5 - 0.5 * level
    return np.quantile(samples, [tail, 1.0 - tail], method="weibull")


def replicas_needed(estimate: Estimate, relative_error: float, n_independent: int) -> int:
    """Return the number of independent replicas needed for a given `relative_error`.

    The error falls with the square root of their number.
    """
    instance("estimate", estimate, Estimate, "a value with its error")
    positive("n_independent", n_independent)
    if not np.isfinite(estimate.error) or estimate.value == 0.0:
        raise InvalidInputError(
            key="estimate", value=estimate, expected="a value that is not zero, with an error"
        )
    ratio = abs(estimate.error / estimate.value) / positive("relative_error", relative_error)
    return int(np.ceil(n_independent * ratio**2))
