# SPDX-License-Identifier: MIT
"""Near 0 K the whole chain must give the double-harmonic spectrum of its own model."""

import pytest
import torch

from eqcalc.demo import ethanol_conformers
from eqcalc.dynamics import simulate
from eqcalc.dynamics.balanced import BalancedModes
from eqcalc.harmonic import harmonic_spectrum
from eqcalc.models.checkpoint import load_model
from eqcalc.models.derivatives import hessian
from eqcalc.runtime import EagerEvaluator
from eqcalc.shipped import shipped_model
from eqcalc.spectra import infrared, raman
from eqcalc.spectra.mode_comparison import compare_with_modes
from eqcalc.structures import Structures

TEMPERATURE = 2.0  # K
AREA_TOLERANCE = 0.03
POSITION_TOLERANCE = 2.0  # cm⁻¹


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    exact = load_model(shipped_model("ethanol"), dtype=torch.float64)
    atoms = ethanol_conformers(exact)["trans"]
    matrix = hessian(exact, Structures.from_atoms(atoms)).reshape(27, 27)
    trajectory = simulate(
        atoms,
        EagerEvaluator(load_model(shipped_model("ethanol")), torch.tensor(atoms.numbers)),
        output=tmp_path_factory.mktemp("cold") / "run.h5",
        method="NVE",
        temperature=TEMPERATURE,
        timestep=0.5,
        steps=2400,
        seed=0,
        replicas=BalancedModes.replicas(9),
        initial=BalancedModes(matrix),
        rotation="none",
        observables={"dipole": 2, "polarizability": 2},
        progress=False,
    )
    return trajectory, harmonic_spectrum(exact, atoms)


@pytest.mark.parametrize("kind", ["infrared", "raman"])
def test_bands_have_the_harmonic_areas_and_positions(run, kind):
    trajectory, harmonic = run
    choices = {"window": "blackman", "lag": 900.0, "frequency_correction": True}
    if kind == "infrared":
        spectrum, intensity = infrared(trajectory, **choices), harmonic.infrared_intensity
    else:
        spectrum, intensity = raman(trajectory, **choices).activity(), harmonic.raman_activity
    rows = compare_with_modes(spectrum, harmonic, intensity, separation=120.0)
    assert len(rows) >= 5
    for row in rows:
        assert row.ratio == pytest.approx(1.0, abs=AREA_TOLERANCE), row
        assert abs(row.shift) < POSITION_TOLERANCE, row
