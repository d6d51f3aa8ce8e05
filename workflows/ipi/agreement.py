# SPDX-License-Identifier: MIT
"""The spectra of i-PI against those of eqcalc's own engine, from the same starting states.

    python workflows/ipi/agreement.py ipi-ethanol

Takes a finished run of ethanol.py, repeats its T-RPMD with the in-process engine from the
same checkpoints with other random numbers, and compares the areas of the bands. The
difference over its standard error should be below 2 for 19 of 20 bands.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ase.io
import numpy as np
import torch

from eqcalc.dynamics import simulate
from eqcalc.ipi import initial_conditions, read_run
from eqcalc.ipi.description import Description
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.reports.files import molecular_spectra, write_figure
from eqcalc.runtime import evaluator_for, keep_freed_memory
from eqcalc.trajectory import Trajectory

#: Bands of ethanol [cm⁻¹].
BANDS = ((200, 600), (700, 950), (950, 1180), (1180, 1550), (2700, 3150), (3400, 3900))


def repeat(folder: Path, there: Trajectory) -> Trajectory:
    """Run the T-RPMD of a finished run of ethanol.py in process."""
    root = Description.read(folder / "t-rpmd" / "input.xml").root
    instances = root.findall("system_template/instance")
    starts = [(instance.text or "").strip("[] \n").split(",")[1].strip() for instance in instances]
    atoms = ase.io.read(folder / "equilibration" / "input.start.extxyz")
    assert not isinstance(atoms, list)
    atoms.pbc = False
    stride = round(there.observable("dipole").interval / there.timestep)
    return simulate(
        atoms,
        evaluator_for(load_model(shipped_model("ethanol")), torch.from_numpy(atoms.numbers)),
        output=folder / "in-process.h5",
        method="T-RPMD",
        temperature=there.temperature,
        timestep=there.timestep,
        steps=there.header.steps,
        seed=1,
        replicas=there.n_replicas,
        beads=there.n_beads,
        initial=initial_conditions(starts),
        observables={"dipole": stride, "polarizability": stride},
    )


def main() -> None:
    """Print the table and draw both spectra."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of a finished run of ethanol.py")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    keep_freed_memory()
    there = read_run(folder / "t-rpmd")
    here = repeat(folder, there)
    options = {"lag": 400.0, "frequency_correction": True}
    spectra = [molecular_spectra(trajectory, **options) for trajectory in (there, here)]
    print("band / cm⁻¹      i-PI            in process      difference/error")
    for title, pair in (
        ("infrared, km/mol", [s.infrared for s in spectra]),
        ("Raman activity, Å⁴/amu", [s.raman.activity() if s.raman else None for s in spectra]),
    ):
        print(title)
        for lower, upper in BANDS:
            a, b = (s.integrate(lower, upper) for s in pair if s is not None)
            z = (a.value - b.value) / np.hypot(a.error, b.error)
            print(
                f"{lower:5d} – {upper:4d}   {a.value:7.2f} ± {a.error:5.2f}   "
                f"{b.value:7.2f} ± {b.error:5.2f}   {z:6.2f}"
            )
    print(write_figure(folder / "agreement.png", spectra))


if __name__ == "__main__":
    main()
