# SPDX-License-Identifier: MIT
"""Errors that come from the precision of the network and from how it is executed.

    OMP_NUM_THREADS=1 python workflows/benchmarks/precision.py

The forces, dipoles and polarizabilities of every execution in every precision are
compared with eager ones in float64, and with the labels, on the structures that the
shipped model was not trained on, and the harmonic wavenumbers of ethanol with those in
float64, from the exact Hessian at the same geometry. The drift of the energy in dynamics is
measured by nve_drift.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor

from eqcalc import Dataset, load_model, shipped_model
from eqcalc.harmonic import relax
from eqcalc.models import Potential
from eqcalc.models.derivatives import hessian
from eqcalc.models.precision import PRECISIONS, in_precision
from eqcalc.runtime import EXECUTIONS, ExecutionUnavailableError, evaluator_for
from eqcalc.spectra.double_harmonic import harmonic_analysis
from eqcalc.structures import Structures
from eqcalc.training.config import DataConfig
from eqcalc.training.data import split_dataset

QUANTITIES = ("forces", "dipole", "polarizability")
DATA = Path(__file__).parents[2] / "data" / "ethanol" / "pbe0-def2tzvp.h5"


def root_mean_square(values: Tensor) -> float:
    """Return the root of the mean square."""
    return float(values.square().mean().sqrt())


def harmonic_wavenumbers(potential: Potential, atoms: Atoms) -> np.ndarray:
    """Return the wavenumbers of the vibrations [cm⁻¹], ascending."""
    structure = Structures.from_atoms(atoms, device=potential.device)
    size = 3 * len(atoms)
    matrix = hessian(potential, structure).reshape(size, size).double().cpu().numpy()
    # rounding leaves it a little asymmetric
    modes = harmonic_analysis(atoms.positions, atoms.get_masses(), 0.5 * (matrix + matrix.T))
    return np.sort(modes.wavenumber)[6 - size :]


def main() -> None:
    """Print deviations of quantities and wavenumbers, and errors of the forces."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    potential = load_model(shipped_model(), device=options.device)
    dataset = Dataset.open(options.data)
    division = DataConfig(**potential.metadata["training"]["config"]["data"])
    rows = split_dataset(dataset, division).test
    structures = dataset.structures(rows)
    positions = structures.positions.reshape(len(rows), -1, 3)
    numbers = structures.numbers[: positions.shape[1]]
    labels = dataset.labels(rows)[0]["forces"].reshape(positions.shape)

    def evaluated(execution: str, precision: str) -> dict[str, Tensor]:
        model = in_precision(potential, precision)
        found = evaluator_for(model, numbers, execution=execution)(positions, QUANTITIES)
        return {name: value.cpu() for name, value in found.items()}

    exact = evaluated("eager", "float64")
    print(f"{len(rows)} structures of {options.data.name}, not used in training")
    print("                     RMS deviation from eager float64          MAE of forces,")
    print("                     forces/(meV/Å)   μ/(e Å)   α/(e²Å²/eV)  labels/(meV/Å)")
    for name in EXECUTIONS:
        if name == "compiled":  # takes minutes for each; see compiled.py
            continue
        for precision in PRECISIONS:
            try:
                found = evaluated(name, precision)
            except ExecutionUnavailableError as reason:
                print(f"{name:9} {precision:9}  {reason}")
                continue
            rms = [root_mean_square(found[q] - exact[q]) for q in QUANTITIES]
            error = 1e3 * float((found["forces"] - labels).abs().mean())
            print(
                f"{name:9} {precision:9}  {1e3 * rms[0]:14.1e} {rms[1]:9.1e} {rms[2]:13.1e} "
                f"{error:15.4f}"
            )

    print("\nshift of harmonic wavenumbers/cm⁻¹, RMS and largest")
    atoms = relax(potential, molecule("CH3CH2OH"))
    reference = harmonic_wavenumbers(in_precision(potential, "float64"), atoms)
    for precision in PRECISIONS:
        shift = harmonic_wavenumbers(in_precision(potential, precision), atoms) - reference
        print(f"{precision:9} {np.sqrt(np.square(shift).mean()):8.1e} {np.abs(shift).max():8.1e}")


if __name__ == "__main__":
    main()
