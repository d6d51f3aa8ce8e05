# SPDX-License-Identifier: MIT
"""Bands of liquid water in αn beside the measurement of Bertie and Lan (1996).

    python workflows/liquid_water/bands.py runs/liquid-water/spectra

The argument is a folder that ``eqcalc spectra`` has written. A band is the range below; its
position is the centroid, its area ∫αn dν̃ without a baseline. ``--figure`` draws both curves.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from eqcalc.spectra import Estimate, Spectrum, read_measured, read_spectrum

MEASURED = Path(__file__).resolve().parents[2] / "data" / "experiment" / "water-infrared.txt"
#: Ranges of the bands [cm⁻¹].
BANDS = {"libration": (300.0, 1100.0), "bend": (1500.0, 1800.0), "stretch": (2800.0, 3900.0)}


def centroid(spectrum: Spectrum, lower: float, upper: float) -> Estimate:
    """Return ∫ν̃ αn dν̃/∫αn dν̃ over a range, with its error from the samples."""
    part = spectrum.between(lower, upper)

    def mean(values: np.ndarray) -> np.ndarray:
        moment = np.trapezoid(part.wavenumber * values, part.wavenumber)
        return moment / np.trapezoid(values, part.wavenumber)

    spread = np.nan if part.samples is None else float(np.std(mean(part.samples), ddof=1))
    return Estimate(float(mean(part.values)), spread)


def draw(computed: Spectrum, measured: Spectrum, target: Path) -> None:
    """Draw αn in 10³ cm⁻¹, the computed one with two standard errors."""
    figure, axes = plt.subplots(figsize=(7.0, 3.5), layout="constrained")
    part, reference = computed.between(20.0, 4200.0), measured.between(20.0, 4200.0)
    axes.plot(reference.wavenumber, 1e-3 * reference.values, "k--", lw=1, label="Bertie and Lan")
    axes.plot(part.wavenumber, 1e-3 * part.values, "C0", lw=1, label="computed")
    if part.standard_error is not None:
        low, high = (1e-3 * (part.values + sign * 2.0 * part.standard_error) for sign in (-1, 1))
        axes.fill_between(part.wavenumber, low, high, color="C0", alpha=0.3, lw=0)
    axes.set(
        xlabel="wavenumber [cm⁻¹]", ylabel="αn [10³ cm⁻¹]", xlim=(20.0, 4200.0), ylim=(0, None)
    )
    axes.legend(frameon=False)
    figure.savefig(target, dpi=150)


def main() -> None:
    """Print and write the table, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, help="also write the table to this file (.csv)")
    parser.add_argument("--figure", type=Path, help="draw the curves to this file (.png)")
    options = parser.parse_args()
    computed = read_spectrum(options.folder / "spectrum-absorption-times-index.h5")
    measured = read_measured(MEASURED, unit="10³ cm⁻¹").scaled(1e3, unit="cm⁻¹")
    rows = [["band", "position [cm-1]", "error", "measured", "area [cm-2]", "error", "measured"]]
    for name, limits in BANDS.items():
        place, area = centroid(computed, *limits), computed.integrate(*limits)
        theirs = centroid(measured, *limits).value, measured.integrate(*limits).value
        numbers = (place.value, place.error, theirs[0], area.value, area.error, theirs[1])
        rows.append([name, *(f"{x:.4g}" for x in numbers)])
    csv.writer(sys.stdout, delimiter="\t").writerows(rows)
    if options.figure is not None:
        draw(computed, measured, options.figure)
    if options.output is not None:
        with options.output.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)


if __name__ == "__main__":
    main()
