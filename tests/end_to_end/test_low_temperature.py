# SPDX-License-Identifier: MIT
"""Near 0 K the whole chain must give the double-harmonic spectrum of its own model."""

import pytest
import torch

from eqcalc.demo import ethanol_conformers
from eqcalc.dynamics import BalancedModes, simulate
from eqcalc.harmonic import harmonic_spectrum
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.models.derivatives import hessian
from eqcalc.runtime import evaluator_for
from eqcalc.spectra import infrared, raman
from eqcalc.structures import Structures
from tests.workflows import module

script = module("ethanol/low_temperature.py")

TEMPERATURE = 0.02  # K
AREA_TOLERANCE = 0.03
POSITION_TOLERANCE = 0.5  # cm⁻¹


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    potential = load_model(shipped_model("ethanol"), dtype=torch.float64)
    atoms = ethanol_conformers(potential)["trans"]
    matrix = hessian(potential, Structures.from_atoms(atoms)).reshape(27, 27)
    trajectory = simulate(
        atoms,
        evaluator_for(potential, torch.tensor(atoms.numbers)),
        output=tmp_path_factory.mktemp("cold") / "run.h5",
        method="NVE",
        temperature=TEMPERATURE,
        timestep=0.4,
        steps=1500,
        seed=0,
        replicas=BalancedModes.replicas(9),
        initial=BalancedModes(matrix),
        rotation="none",
        observables={"dipole": 2, "polarizability": 2},
        progress=False,
    )
    return trajectory, harmonic_spectrum(potential, atoms)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["infrared", "raman"])
def test_bands_have_the_harmonic_areas_and_positions(run, kind):
    trajectory, harmonic = run
    choices = {
        "window": "blackman",
        "lag": 540.0,
        "frequency_correction": True,
        "finite_difference": "exact",
    }
    if kind == "infrared":
        spectrum, intensity = infrared(trajectory, **choices), harmonic.infrared_intensity
    else:
        spectrum, intensity = raman(trajectory, **choices).activity(), harmonic.raman_activity
    separation = 2.5 * spectrum.provenance["resolution_cm-1"]
    rows = script.compare_with_modes(spectrum, harmonic, intensity, separation=separation)
    assert len(rows) >= 4
    for row in rows:
        assert row.ratio == pytest.approx(1.0, abs=AREA_TOLERANCE), row
        assert abs(row.shift) < POSITION_TOLERANCE, row
