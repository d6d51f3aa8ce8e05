# SPDX-License-Identifier: MIT
"""From a molecule to its IR and Raman spectrum through i-PI, in one command.

    python workflows/ipi/ethanol.py --output ipi-ethanol

An equilibrated path-integral run (PILE-L) leaves numbered checkpoints; from each starts one
T-RPMD, all of them in one i-PI and one call of the model per step; their bead-averaged
dipoles and polarizabilities become spectra and a figure. If it is interrupted, the same
command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ase.io

from eqcalc.ipi import Strides, read_run, run, write_input
from eqcalc.models.checkpoint import shipped_model
from eqcalc.reports.files import write_spectra
from eqcalc.trajectory import Trajectory

TIMESTEP = 0.25


def equilibrate(folder: Path, options: argparse.Namespace) -> list[Path]:
    """Run PILE-L; return one checkpoint for each system, evenly spaced."""
    stride = round(options.apart / TIMESTEP)
    path = folder / "equilibration" / "input.xml"
    if not path.exists():
        write_input(
            path,
            options.model,
            method="PILE-L",
            steps=stride * (options.systems + 1),
            atoms=ase.io.read(options.molecule),
            temperature=options.temperature,
            timestep=TIMESTEP,
            beads=options.beads,
            seed=options.seed,
            strides=Strides(spectra=0, energies=40, centroid=0, series=stride),
        )
    run(path)
    # number i is of step i·stride; i-PI starts with all beads at the molecule, and before
    # number 2 the ring polymers are still spreading
    return [path.parent / f"simulation.start_{i}" for i in range(2, options.systems + 2)]


def measure(folder: Path, starts: list[Path], options: argparse.Namespace) -> Trajectory:
    """Run T-RPMD from the checkpoints."""
    path = folder / "t-rpmd" / "input.xml"
    if not path.exists():
        write_input(
            path,
            options.model,
            method="T-RPMD",
            steps=round(1000.0 * options.time / TIMESTEP),
            starts=starts,
            temperature=options.temperature,
            timestep=TIMESTEP,
            beads=options.beads,
            seed=options.seed + 1,
        )
    return read_run(run(path))


def main() -> None:
    """Run the workflow."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("ipi-ethanol"), help="folder")
    parser.add_argument("--model", type=Path, default=shipped_model("ethanol"))
    parser.add_argument("--molecule", type=Path, default=here.parent / "ethanol" / "ethanol.xyz")
    parser.add_argument("--systems", type=int, default=8, help="independent T-RPMD")
    parser.add_argument("--beads", type=int, default=32)
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--time", type=float, default=2.0, help="ps of each system")
    parser.add_argument("--apart", type=float, default=200.0, help="fs between their starts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    trajectory = measure(options.output, equilibrate(options.output, options), options)
    print(write_spectra(trajectory, options.output / "spectra"))
    print(f"figure: {options.output / 'spectra' / 'spectra.png'}")


if __name__ == "__main__":
    main()
