# SPDX-License-Identifier: MIT
"""Uncertainty of a spectrum from the disagreement of a committee of models.

It is separate from the sampling error, which more trajectories reduce; only better models reduce
the disagreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from eqcalc.facts import ComparedByValue
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import InvalidInputError, instances


class CommitteeEstimate(NamedTuple):
    """A value with its sampling error and the disagreement of the models."""

    value: float
    sampling: float
    model: float


@dataclass(frozen=True, repr=False, eq=False)
class CommitteeSpectrum(ComparedByValue):
    """The mean spectrum of a committee with two kinds of error.

    Parameters
    ----------
    mean
        Mean over the members; its errors are those of the sampling.
    members
        Spectrum of each member.
    model_error
        ``[n_wavenumbers]``, standard deviation between members beyond that of sampling.
    common_trajectory
        All members were evaluated on the same trajectory.
    """

    mean: Spectrum
    members: tuple[Spectrum, ...]
    model_error: np.ndarray
    common_trajectory: bool

    def __repr__(self) -> str:
        """Return a short description without the values."""
        where = "one trajectory" if self.common_trajectory else "separate trajectories"
        return f"CommitteeSpectrum({len(self.members)} members on {where}; {self.mean!r})"

    def total(self) -> Spectrum:
        """Return the mean with both errors added in quadrature."""
        sampling = self.mean.standard_error
        error = np.hypot(0.0 if sampling is None else sampling, self.model_error)
        return replace(self.mean, samples=None, standard_error=error)

    def integrate(
        self, lower: float | None = None, upper: float | None = None
    ) -> CommitteeEstimate:
        """Return the integral over [lower, upper] cm⁻¹ with both errors."""
        mean = self.mean.integrate(lower, upper)
        found = [member.integrate(lower, upper) for member in self.members]
        values = np.array([e.value for e in found])
        errors = np.array([e.error for e in found])
        noise = 0.0 if self.common_trajectory else float(np.nanmean(errors**2))
        model = np.sqrt(max(float(values.var(ddof=1)) - noise, 0.0))
        return CommitteeEstimate(mean.value, mean.error, float(model))


def combine_committee(spectra: Sequence[Spectrum], *, common_trajectory: bool) -> CommitteeSpectrum:
    """Return the mean spectrum of a committee, its sampling error and its model error.

    Parameters
    ----------
    spectra
        One per member, with the same estimate (window, interval, samples).
    common_trajectory
        The members' dipole moments or polarizabilities along one trajectory, computed with the same
        bootstrap seed: the sampling error is common to all members, and their spread is that of the
        models. False: each member ran its own trajectories, and the variance expected from sampling
        alone is subtracted.
    """
    if len(instances("spectra", spectra, Spectrum)) < 2:
        raise InvalidInputError(key="spectra", value=len(spectra), expected="two or more members")
    if not common_trajectory and any(s.standard_error is None for s in spectra):
        raise InvalidInputError(
            "without sampling errors the scatter of the trajectories would be mistaken for a "
            "disagreement of the models",
            key="spectra",
            expected="members with sampling errors",
        )
    first = spectra[0]
    total = first
    for other in spectra[1:]:
        total = total + other
    mean = replace(
        total.scaled(1.0 / len(spectra)),
        history=(*first.history, f"mean of a committee of {len(spectra)}"),
    )
    values = np.array([s.values for s in spectra])
    variance = values.var(axis=0, ddof=1)
    if not common_trajectory:
        errors = np.array([s.standard_error for s in spectra], dtype=float)
        variance = np.maximum(variance - np.mean(errors**2, axis=0), 0.0)
        # independent runs: the sampling errors of the members average
        if mean.samples is not None:
            independent = np.sqrt(np.sum(errors**2, axis=0)) / len(spectra)
            scale = np.divide(
                independent,
                mean.samples.std(axis=0, ddof=1),
                out=np.ones_like(independent),
                where=mean.samples.std(axis=0) > 0.0,
            )
            stretched = mean.values + (mean.samples - mean.values) * scale
            mean = replace(mean, samples=stretched, standard_error=None)
    return CommitteeSpectrum(mean, tuple(spectra), np.sqrt(variance), common_trajectory)
