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
from pathlib import Path

import torch

from eqcalc.demo import ethanol_conformers
from eqcalc.dynamics import BalancedModes, simulate
from eqcalc.harmonic import harmonic_spectrum
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.models.derivatives import hessian
from eqcalc.runtime import evaluator_for, keep_freed_memory
from eqcalc.spectra import infrared, raman
from eqcalc.spectra.assignment.bands import compare_with_modes, comparison_table
from eqcalc.structures import Structures


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
