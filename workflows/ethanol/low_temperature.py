# SPDX-License-Identifier: MIT
"""Check that dynamics near 0 K gives the double-harmonic spectrum of the same model.

Every mode starts with exactly k_B T, without rotation, and the replicas cancel
the cross terms of different modes, so that the intensities have no thermal
scatter. The network runs in float64. What is left falls with the square root of
the temperature: anharmonic cross terms of strong bands beneath weak ones. Prints each resolved band
beside its modes, and fails if an area is off by more than 3 % or a position by
more than 2 cm⁻¹.

    python workflows/ethanol/low_temperature.py --output runs/low-temperature
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from eqcalc.demo import ethanol_conformers
from eqcalc.dynamics import BalancedModes, simulate
from eqcalc.harmonic import harmonic_spectrum
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.models.derivatives import hessian
from eqcalc.normal_modes import require_minimum
from eqcalc.runtime import evaluator_for, keep_freed_memory
from eqcalc.spectra import HarmonicSpectrum, Spectrum, infrared, raman
from eqcalc.spectra.assignment.bands import group_modes
from eqcalc.spectra.estimator.statistics import Estimate
from eqcalc.structures import Structures


@dataclass(frozen=True)
class BandComparison:
    """One band, or group of unresolved bands, compared with its modes."""

    modes: tuple[int, ...]  #: indices of the modes
    lower: float  #: limits of the integration, cm⁻¹
    upper: float
    harmonic_position: float  #: intensity-weighted mean wavenumber of the modes, cm⁻¹
    position: Estimate  #: likewise of the spectrum
    harmonic_area: float  #: integrated intensity of the modes, in the unit of the spectrum
    area: Estimate  #: likewise of the spectrum

    @property
    def shift(self) -> float:
        """Position less the harmonic one [cm⁻¹]."""
        return self.position.value - self.harmonic_position

    @property
    def ratio(self) -> float:
        """Area over the harmonic one."""
        return self.area.value / self.harmonic_area


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
        Modes closer than this [cm⁻¹] are compared as a sum; with three times the resolution the
        wings of a band stay within its limits.

    Raises
    ------
    NotAMinimumError
        A mode is imaginary.
    """
    require_minimum(harmonic)
    nu = harmonic.wavenumber
    groups = group_modes(nu, separation)
    between = [0.5 * (nu[left[-1]] + nu[right[0]]) for left, right in pairwise(groups)]
    first = max(0.5 * nu[0], nu[0] - 2.0 * separation)
    edges = [float(edge) for edge in (first, *between, nu[-1] + 2.0 * separation)]
    return [
        BandComparison(
            tuple(group),
            lower,
            upper,
            float(np.average(nu[group], weights=intensity[group])),
            spectrum.band(lower, upper).centroid,
            float(intensity[group].sum()),
            spectrum.integrate(lower, upper),
        )
        for group, (lower, upper) in zip(groups, pairwise(edges), strict=True)
    ]


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


def main() -> int:
    """Run, compare, print; return 1 if a band is off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=shipped_model("ethanol"))
    parser.add_argument("--output", type=Path, default=Path("runs/low-temperature"))
    parser.add_argument("--temperature", type=float, default=0.02, help="K")
    parser.add_argument("--replicas", type=int, default=BalancedModes.replicas(9))
    parser.add_argument("--time", type=float, default=2.0, help="ps")
    parser.add_argument("--timestep", type=float, default=0.25, help="fs")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)

    exact = load_model(options.model, dtype=torch.float64)
    atoms = ethanol_conformers(exact)["trans"]
    harmonic = harmonic_spectrum(exact, atoms)
    matrix = hessian(exact, Structures.from_atoms(atoms)).reshape(27, 27)
    fine = round(1.0 / options.timestep)
    trajectory = simulate(
        atoms,
        evaluator_for(exact, torch.tensor(atoms.numbers)),
        output=options.output / "trajectory.h5",
        method="NVE",
        temperature=options.temperature,
        timestep=options.timestep,
        steps=round(1000.0 * options.time / options.timestep),
        seed=0,
        replicas=options.replicas,
        initial=BalancedModes(matrix),
        rotation="none",
        observables={"dipole": fine, "polarizability": fine, "conserved_energy": 100 * fine},
    )
    choices = {
        "window": "blackman",
        "lag": 900.0 * options.time,
        "frequency_correction": True,
        "finite_difference": "exact",
    }
    spectra = {
        "infrared": (infrared(trajectory, **choices), harmonic.infrared_intensity, "km/mol"),
        "Raman": (raman(trajectory, **choices).activity(), harmonic.raman_activity, "Å⁴/amu"),
    }
    failed = False
    for name, (spectrum, intensity, unit) in spectra.items():
        separation = 3.0 * spectrum.provenance["resolution_cm-1"]
        rows = compare_with_modes(spectrum, harmonic, intensity, separation=separation)
        bad = [row for row in rows if abs(row.ratio - 1.0) > 0.03 or abs(row.shift) > 2.0]
        failed |= bool(bad)
        print(f"\n{name}, {options.temperature:g} K, {options.replicas} × {options.time:g} ps")
        print(comparison_table(rows, unit))
        worst = max(abs(row.ratio - 1.0) for row in rows), max(abs(row.shift) for row in rows)
        print(f"largest deviations: area {100 * worst[0]:.2f} %, position {worst[1]:.2f} cm⁻¹")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
