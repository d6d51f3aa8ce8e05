# SPDX-License-Identifier: MIT
"""Compare the infrared spectrum of a model with dynamics on its reference itself.

Classical MD of ethanol with the same protocol is driven once by a model trained
on GFN2-xTB and once by GFN2-xTB directly (tblite, one call per replica and
step). The spectra must agree within their error bands.

    python workflows/ethanol/compare_direct.py run --driver gfn2
    python workflows/ethanol/compare_direct.py run --driver runs/pretrain-gfn2/model.eqc
    python workflows/ethanol/compare_direct.py compare

The two runs can go side by side (set OMP_NUM_THREADS=1), and go on when they
were stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase.build import molecule
from scipy import stats

from eqcalc.dynamics import Equilibration, simulate
from eqcalc.labelling import GFN2, MethodEvaluator, conformers
from eqcalc.models.checkpoint import load_model
from eqcalc.runtime import evaluator_for, keep_freed_memory
from eqcalc.spectra import infrared, plot_spectrum, save_figure
from eqcalc.trajectory import Trajectory

#: Regions of the spectrum [cm⁻¹], between the bands of ethanol.
REGIONS = (
    (0, 100),
    (100, 550),
    (550, 990),
    (990, 1190),
    (1190, 1380),
    (1380, 1600),
    (2600, 2920),
    (2920, 3200),
    (3300, 3700),
)
PROTOCOL = {
    "method": "NVE",
    "temperature": 300.0,
    "timestep": 0.5,
    "steps": 8000,
    "replicas": 48,
    "observables": {"dipole": 2, "potential_energy": 20, "conserved_energy": 20},
    "equilibration": Equilibration(500.0),
}


def starts(folder: Path) -> list:
    """Return the conformers of GFN2-xTB, found once."""
    path = folder / "starts.extxyz"
    if not path.exists():
        rng = np.random.default_rng(0)
        found = conformers(molecule("CH3CH2OH"), GFN2(), rng=rng)
        for atoms in found:
            atoms.calc = None
        ase.io.write(path, found)
    return ase.io.read(path, index=":")


def run(driver: str, folder: Path) -> None:
    """Simulate with GFN2-xTB or with a model."""
    structures = starts(folder)
    numbers = torch.tensor(structures[0].numbers)
    if driver == "gfn2":
        evaluator, name, seed = MethodEvaluator(GFN2(accuracy=0.1), numbers), "gfn2", 1
    else:
        evaluator, name, seed = evaluator_for(load_model(driver), numbers), "model", 2
    simulate(structures, evaluator, output=folder / f"{name}.h5", seed=seed, **PROTOCOL)


def compare(folder: Path) -> None:
    """Print areas region by region, and how the differences are distributed."""
    spectra = [
        infrared(
            Trajectory.open(folder / f"{name}.h5"),
            frequency_correction=True,
            resolution=20.0,
            n_samples=1000,
        )
        for name in ("gfn2", "model")
    ]
    names = ["GFN2-xTB (tblite in the loop)", "model trained on GFN2-xTB"]
    figure = plot_spectrum(spectra, names=names, limits=(0, 4000))
    save_figure(figure, folder / "direct-comparison.png")
    direct, learned = spectra
    print("integrated intensities in km/mol with standard errors")
    print(f"{'cm⁻¹':>12} {'GFN2-xTB':>16} {'model':>16} {'difference':>11}")
    rows = []
    for lower, upper in REGIONS:
        a, b = direct.integrate(lower, upper), learned.integrate(lower, upper)
        z = (b.value - a.value) / np.hypot(a.error, b.error)
        rows.append({"lower": lower, "upper": upper, "direct": a, "model": b, "z": z})
        print(
            f"{lower:5d} – {upper:4d} {a.value:8.1f} ± {a.error:5.1f} {b.value:8.1f} ± "
            f"{b.error:5.1f} {z:9.2f} σ"
        )
    grid = direct.wavenumber[(direct.wavenumber > 50) & (direct.wavenumber < 3800)]
    # one point for each resolved element: the others are not independent
    step = max(1, round(direct.provenance["resolution_cm-1"] / np.diff(grid)[0]))
    points = grid[::step]
    a, b = direct.interpolated(points), learned.interpolated(points)
    z = (b.values - a.values) / np.hypot(a.standard_error, b.standard_error)
    inside = float(np.mean(np.abs(z) < stats.norm.ppf(0.975)))
    chi = float(np.sum([row["z"] ** 2 for row in rows]))
    probability = float(stats.chi2.sf(chi, len(rows)))
    print(f"points within the 95 % band of the difference: {100 * inside:.1f} % of {len(z)}")
    print(f"χ² of the regions: {chi:.1f} for {len(rows)} (probability {probability:.2f})")
    record = {"regions": rows, "inside_95": inside, "points": len(z), "chi2": chi, "p": probability}
    (folder / "direct-comparison.json").write_text(json.dumps(record, indent=1))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("run", "compare"))
    parser.add_argument("--driver", default="gfn2", help="gfn2, or the file of a model")
    parser.add_argument("--folder", type=Path, default=Path("runs/direct"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(1)
    if options.action == "run":
        run(options.driver, options.folder)
    else:
        compare(options.folder)


if __name__ == "__main__":
    main()
