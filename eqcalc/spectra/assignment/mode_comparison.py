# SPDX-License-Identifier: MIT
"""Bands of a simulated spectrum beside the normal modes they come from.

At low temperature the two must agree, which tests a whole chain from forces to
prefactors; at the temperature of an experiment the differences are the
anharmonic shifts and intensity changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eqcalc.normal_modes import require_minimum
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.estimator.statistics import Estimate
from eqcalc.spectra.spectrum import Spectrum


@dataclass(frozen=True)
class BandComparison:
    """One band, or group of bands that cannot be resolved, beside its modes.

    Parameters
    ----------
    modes
        Indices of the modes.
    lower, upper
        Limits of the integration [cm⁻¹].
    harmonic_position, position
        Mean wavenumber weighted with intensity, of the modes and of the
        spectrum [cm⁻¹].
    harmonic_area, area
        Integrated intensity of the modes and of the spectrum, in the unit of the spectrum.
    """

    modes: tuple[int, ...]
    lower: float
    upper: float
    harmonic_position: float
    position: Estimate
    harmonic_area: float
    area: Estimate

    @property
    def shift(self) -> float:
        """Position less the harmonic one [cm⁻¹]."""
        return self.position.value - self.harmonic_position

    @property
    def ratio(self) -> float:
        """Area over the harmonic one."""
        return self.area.value / self.harmonic_area


def group_modes(wavenumber: np.ndarray, separation: float) -> list[tuple[int, ...]]:
    """Group modes whose neighbours are closer than `separation` [cm⁻¹].

    Parameters
    ----------
    wavenumber
        ``[n_modes]``, cm⁻¹, ascending.
    """
    groups: list[list[int]] = [[0]]
    for mode in range(1, len(wavenumber)):
        if wavenumber[mode] - wavenumber[mode - 1] < separation:
            groups[-1].append(mode)
        else:
            groups.append([mode])
    return [tuple(group) for group in groups]


def compare_with_modes(
    spectrum: Spectrum,
    harmonic: HarmonicSpectrum,
    intensity: np.ndarray,
    *,
    separation: float,
) -> list[BandComparison]:
    """Integrate the spectrum around each group of modes.

    Parameters
    ----------
    spectrum
        An infrared intensity density or a Raman activity density.
    harmonic
        The modes.
    intensity
        ``[n_modes]``, their integrated intensity in the unit of the spectrum
        times cm⁻¹: ``harmonic.infrared_intensity`` or ``harmonic.raman_activity``.
    separation
        Modes closer than this [cm⁻¹] are compared as a sum; three times the
        resolution keeps the wings of a band inside its limits.
    """
    require_minimum(harmonic)
    groups = group_modes(harmonic.wavenumber, separation)
    edges = [
        0.5 * (harmonic.wavenumber[left[-1]] + harmonic.wavenumber[right[0]])
        for left, right in pairwise(groups)
    ]
    first = max(0.5 * harmonic.wavenumber[0], harmonic.wavenumber[0] - 2.0 * separation)
    edges = [first, *edges, harmonic.wavenumber[-1] + 2.0 * separation]
    rows = []
    for group, lower, upper in zip(groups, edges, edges[1:], strict=False):
        members = list(group)
        weights = intensity[members]
        rows.append(
            BandComparison(
                group,
                float(lower),
                float(upper),
                float(np.average(harmonic.wavenumber[members], weights=weights)),
                spectrum.band(float(lower), float(upper)).centroid,
                float(weights.sum()),
                spectrum.integrate(float(lower), float(upper)),
            )
        )
    return rows


def comparison_table(rows: Sequence[BandComparison], unit: str) -> str:
    """Return a table of positions and areas; `unit` is that of the areas."""
    lines = [
        f"{'modes':>8} {'harmonic':>9} {'found':>9} {'shift':>7} {'harmonic':>9} "
        f"{'found':>9} {'error':>7} {'ratio':>7}",
        f"{'':>8} {'cm⁻¹':>9} {'cm⁻¹':>9} {'cm⁻¹':>7} {unit:>9} {unit:>9} {unit:>7} {'':>7}",
    ]
    for row in rows:
        modes = f"{row.modes[0] + 1}" + (f"–{row.modes[-1] + 1}" if len(row.modes) > 1 else "")
        lines.append(
            f"{modes:>8} {row.harmonic_position:9.2f} {row.position.value:9.2f} {row.shift:7.2f} "
            f"{row.harmonic_area:9.3f} {row.area.value:9.3f} {row.area.error:7.3f} {row.ratio:7.4f}"
        )
    return "\n".join(lines)
