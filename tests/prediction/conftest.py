# SPDX-License-Identifier: MIT
"""A prediction of a molecule whose energy is an elementary function."""

import numpy as np
import pytest
import torch
from ase import Atoms

from eqcalc.prediction import Calibration, ModelError, Prediction
from eqcalc.prediction.workflow import _conformer
from tests.anharmonic.surfaces import Water


class PolarizableWater(Water):
    """Water whose bonds are polarizable along their direction."""

    quantities = ("energy", "forces", "dipole", "polarizability")

    def polarizability(self, r):
        bond = r[:, 1:] - r[:, :1]
        along = torch.einsum("pba,pbc->pac", bond, bond)
        return 0.1 * torch.eye(3, dtype=r.dtype) + 0.06 * along


class _Level:
    name = "<analytic> & exact"
    #: Of the harmonic approximation; zero for VCI.
    constants = Calibration(
        name, 0.045, 0.02, 0.01, 5.0, 0.5, (0.0, 0.0), (1.0, 2.5), molecules=40, bands=600
    )

    def evaluator(self, atoms):
        return PolarizableWater()

    def model_error(self, modes, relaxed):
        return ModelError(
            np.array([3.0, 4.0, 5.0]), np.array([2.0, 0.1, 0.2]), np.array([1.0, 2.0, 3.0])
        )

    def calibration(self, treatment):
        return {"harmonic": self.constants}.get(treatment)


@pytest.fixture(scope="session")
def scaled() -> Prediction:
    """The same in the harmonic approximation."""
    water = PolarizableWater()
    atoms = Atoms("OH2", water.equilibrium.numpy(), masses=water.masses)
    conformer = _conformer(atoms, water.modes(), _Level(), "harmonic", 298.15, 1.0, 0.0, False)
    calibration = _Level.constants.unbiased()
    return Prediction("water", _Level.name, 298.15, 8.0, (conformer,), calibration=calibration)


@pytest.fixture(scope="session")
def prediction() -> Prediction:
    """Water at an analytic level, infrared and Raman."""
    water = PolarizableWater()
    atoms = Atoms("OH2", water.equilibrium.numpy(), masses=water.masses)
    conformer = _conformer(atoms, water.modes(), _Level(), "best", 298.15, 1.0, 0.0, False)
    asked = {
        "molecule": "water",
        "level": "gfn2",
        "quality": "best",
        "temperature": 298.15,
        "fwhm": 8.0,
    }
    asked |= {"charge": 0, "isotopes": {"H": 2.014, "0": 17.999}}
    found = Prediction("water", _Level.name, 298.15, 8.0, (conformer,), ("a <note>",), asked)
    assert np.isfinite(found.infrared.values).all()
    return found
