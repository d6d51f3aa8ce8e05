# SPDX-License-Identifier: MIT
"""A labelling method from outside the package: water whose energy is an elementary function."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from eqcalc.labelling.method import MoleculeMethod
from tests.anharmonic.surfaces import Water


@dataclass(frozen=True)
class ToyWater(MoleculeMethod):
    """The water of q-TIP4P/F; a call may be counted in a file, and may take a while [s]."""

    name = "q-TIP4P/F"
    version = "tests"
    level_of_theory = "q-TIP4P/F"
    quantities = ("energy", "forces", "dipole")

    def settings(self):
        return {}

    def _compute(self, molecule, charge, quantities):
        if counted := os.environ.get("TOY_CALLS"):
            time.sleep(float(os.environ["TOY_SECONDS"]))
            with Path(counted).open("a") as stream:
                stream.write("label\n")
        positions = torch.as_tensor(molecule.positions)[None]
        values = Water()(positions, quantities)
        return {name: values[name][0].numpy() for name in quantities}
