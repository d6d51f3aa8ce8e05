# SPDX-License-Identifier: MIT
"""Infrared and Raman spectra of aspirin by classical dynamics and T-RPMD, beside harmonic ones.

    python workflows/md17/aspirin_figure.py runs/aspirin/model.eqc runs/aspirin.xyz \
        runs/aspirin/nve runs/aspirin/t-rpmd --output workflows/md17/results/aspirin.png

The spectra are those without rotation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ase.io

from eqcalc.harmonic import harmonic_spectrum, relax
from eqcalc.models import load_model
from eqcalc.spectra.figures import plot_infrared_raman, save_figure
from eqcalc.spectra.io import read_spectrum


def main() -> None:
    """Read the spectra and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("molecule", type=Path)
    parser.add_argument("spectra", type=Path, nargs="+", help="folders of eqcalc spectra")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    model = load_model(options.model)
    harmonic = harmonic_spectrum(model, relax(model, ase.io.read(options.molecule)))
    infrared, raman = (
        [
            read_spectrum(folder / f"spectrum-{kind}-without-rotation.h5")
            for folder in options.spectra
        ]
        for kind in ("infrared", "raman")
    )
    figure = plot_infrared_raman(infrared, raman, harmonic, limits=(0.0, 4000.0), title="Aspirin")
    save_figure(figure, options.output)


if __name__ == "__main__":
    main()
