# SPDX-License-Identifier: MIT
"""Sampling errors by bootstrap over replicas or blocks, and confidence bands.

The unit that is resampled must be statistically independent. For an isolated
molecule without a thermostat these are the replicas and nothing smaller: the
energy of each mode is conserved along a trajectory, so that the intensities of
one replica scatter by about 100 % however long it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from eqcalc.spectra.estimator.correlation import LagSums
from eqcalc.validation import InvalidInputError, positive


class Estimate(NamedTuple):
    """A value and its standard error (nan if unknown)."""

    value: float
    error: float

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


def bootstrap_weights(n_parts: int, n_samples: int, generator: np.random.Generator) -> np.ndarray:
    """Return the multiplicity of each part in each bootstrap sample, ``[n_samples, n_parts]``."""
    return generator.multinomial(n_parts, np.full(n_parts, 1.0 / n_parts), n_samples).astype(float)


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
    samples = sums.correlation(bootstrap_weights(n_parts, n_samples, generator))
    samples -= correlation
    samples *= np.sqrt(n_parts / (n_parts - 1.0))
    samples += correlation
    return correlation, samples


def standard_error(samples: np.ndarray) -> np.ndarray:
    """Return the standard deviation over bootstrap samples, the first axis."""
    return np.asarray(np.std(samples, axis=0, ddof=1))


def confidence_factor(level: float, n_independent: int) -> float:
    """Return the half-width of a confidence band in standard errors.

    Student's t with n_independent − 1 degrees of freedom: with four replicas a
    95 % band is 3.2, not 2.0, standard errors wide.
    """
    if not 0.0 < level < 1.0:
        raise InvalidInputError(key="level", value=level, expected="a number between 0 and 1")
    return float(student.ppf(0.5 + 0.5 * level, max(n_independent - 1, 1)))


def replicas_needed(estimate: Estimate, relative_error: float, n_independent: int) -> int:
    """Return the number of independent replicas needed for a given `relative_error`.

    The error falls with the square root of their number.
    """
    if not np.isfinite(estimate.error) or estimate.value == 0.0:
        raise InvalidInputError(
            key="estimate", value=estimate, expected="a value that is not zero, with an error"
        )
    ratio = abs(estimate.error / estimate.value) / positive("relative_error", relative_error)
    return int(np.ceil(n_independent * ratio**2))
