# SPDX-License-Identifier: MIT
"""CPU time of energy and forces of aspirin by the model and by the DFT it was trained on.

    OMP_NUM_THREADS=1 python workflows/md17/speed_up.py runs/aspirin/model.eqc runs/aspirin.h5

DFT is that of revised MD17, PBE/def2-SVP, with PySCF (density fitting) on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from eqcalc.datasets import Dataset
from eqcalc.labelling import PySCF
from eqcalc.models import load_model
from eqcalc.runtime import evaluator_for

STRUCTURES = 64


def cpu_seconds(call: Callable[[], object]) -> float:
    """Return the CPU time of a call [s]."""
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> None:
    """Time both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--labels", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = Dataset.open(options.dataset)
    method = PySCF(functional="PBE", basis="def2-SVP")
    molecules = [dataset.atoms(i) for i in range(options.labels)]
    dft = [cpu_seconds(lambda a=a: method.label(a, ("energy", "forces"))) for a in molecules]
    evaluator = evaluator_for(load_model(options.model), torch.as_tensor(molecules[0].numbers))
    positions = torch.as_tensor(np.stack([dataset.atoms(i).positions for i in range(STRUCTURES)]))
    asked = ("energy", "forces", "dipole", "polarizability")
    evaluator(positions, asked)
    model = [cpu_seconds(lambda: evaluator(positions, asked)) for _ in range(9)]
    seconds = float(np.median(dft)), float(np.median(model)) / STRUCTURES
    print(
        f"PBE/def2-SVP, energy and forces: {seconds[0]:.1f} s; model, with dipole and "
        f"polarizability: {1000.0 * seconds[1]:.2f} ms; {seconds[0] / seconds[1]:.0f} times faster"
    )


if __name__ == "__main__":
    main()
