# SPDX-License-Identifier: MIT
"""Two measurements of liquid water beside each other, and a Kramers–Kronig check of one.

Needs nothing but the files in data/experiment; takes seconds:

    python workflows/spectra/measured_water.py FOLDER
"""

import argparse
from pathlib import Path

import numpy as np

from eqcalc.spectra import Spectrum, compare, plot_comparison, read_measured, save_figure
from eqcalc.spectra.dielectric_response import kramers_kronig

DATA = Path(__file__).parents[2] / "data" / "experiment"


def main(folder: Path) -> None:
    """Write the overlay and print scores and the largest deviation of n(ν̃)."""
    infrared = read_measured(DATA / "water-infrared.txt", unit="10³ cm⁻¹")
    wavenumber, n, k = np.loadtxt(DATA / "water-refractive-index.txt").T
    wavenumber, first = np.unique(wavenumber, return_index=True)
    n, k = n[first], k[first]
    from_index = Spectrum(
        wavenumber,
        4e-3 * np.pi * wavenumber * n * k,
        "10³ cm⁻¹",
        "n·α",
        provenance={"file": "water-refractive-index.txt"},
    )
    found = compare(from_index, infrared, lower=20.0, upper=3950.0)
    print("Segelstein (1981) against Bertie and Lan (1996)")
    print(found.table())
    figure = plot_comparison([found], ["n·4πν̃k, Segelstein"], measured_name="n·α, Bertie and Lan")
    print(f"figure: {save_figure(figure, folder / 'water.png')}")

    # n + ik is causal: n follows from k, up to what lies beyond the measurement
    shown = (wavenumber > 400.0) & (wavenumber < 1e4)
    anchor = np.argmin(np.abs(wavenumber - 1e4))
    computed = kramers_kronig(wavenumber, k)
    deviation = (computed - computed[anchor]) - (n - n[anchor])
    print(
        f"n from k by Kramers–Kronig, 400 to 10000 cm⁻¹: deviates by at most "
        f"{np.abs(deviation[shown]).max():.3f}, where n varies by {np.ptp(n[shown]):.3f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("measured-water"), help="for the figure"
    )
    main(parser.parse_args().folder)
