# SPDX-License-Identifier: MIT
"""A model and a trajectory written by version 0.1 still open and give the numbers they gave then.

``files_of_0_1/expected.json`` holds what version 0.1 itself computed from the two files.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

from eqcalc import EqCalculator, Trajectory, infrared, load_model, raman
from eqcalc.runtime import evaluator_for

FOLDER = Path(__file__).parent / "files_of_0_1"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@pytest.mark.parametrize("options", [{"execution": "eager"}, {}])
def test_a_model_of_0_1_gives_the_same_numbers(options):
    model = load_model(FOLDER / "model.eqc")
    numbers = torch.tensor(molecule("H2O").numbers)
    evaluator = evaluator_for(model, numbers, **options)
    positions = torch.tensor([EXPECTED["positions"]], dtype=torch.float64)
    values = evaluator(positions, tuple(EXPECTED["evaluation"]))
    for name, expected in EXPECTED["evaluation"].items():
        np.testing.assert_allclose(values[name][0].numpy(), expected, rtol=1e-9, atol=1e-9)


def test_a_model_of_0_1_drives_ase():
    atoms = molecule("H2O")
    atoms.calc = EqCalculator(FOLDER / "model.eqc")
    expected = EXPECTED["evaluation"]
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"], abs=1e-8)
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-8)


def test_a_trajectory_of_0_1_gives_the_same_spectra():
    trajectory = Trajectory.open(FOLDER / "trajectory.h5")
    spectra = {
        "infrared": infrared(trajectory, resolution=600.0),
        "raman": raman(trajectory, resolution=600.0).isotropic,
    }
    for name, spectrum in spectra.items():
        expected = EXPECTED[name]
        assert spectrum.unit == expected["unit"]
        chosen = np.linspace(0, len(spectrum.wavenumber) - 1, 12).astype(int)
        np.testing.assert_allclose(spectrum.wavenumber[chosen], expected["wavenumber"], rtol=1e-12)
        largest = np.abs(expected["values"]).max()
        np.testing.assert_allclose(
            spectrum.values[chosen], expected["values"], rtol=1e-9, atol=1e-9 * largest
        )
        np.testing.assert_allclose(
            spectrum.standard_error[chosen], expected["error"], rtol=1e-9, atol=1e-9 * largest
        )
