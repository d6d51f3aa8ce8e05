# SPDX-License-Identifier: MIT
"""Reports: what is said of a trajectory is what is in it."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from eqcalc.dynamics import simulate
from eqcalc.molecular_spectra import check_sum_rule, molecular_spectra
from eqcalc.report import describe_spectra, write_figure
from eqcalc.runtime import EagerEvaluator
from eqcalc.units import INTENSITY_PER_SQUARED_CHARGE_PER_MASS
from tests.conftest import make_potential

STEPS = 60


@pytest.fixture(scope="module")
def evaluator():
    # the forces of a random network are small: its atoms hardly leave their places
    numbers = torch.tensor(molecule("H2O").numbers)
    return EagerEvaluator(make_potential(features=8), numbers)


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory, evaluator):
    return simulate(
        molecule("H2O"),
        evaluator,
        output=tmp_path_factory.mktemp("report") / "run.h5",
        method="NVE",
        temperature=20.0,
        timestep=0.05,
        steps=STEPS,
        seed=5,
        replicas=8,
        observables={"dipole": 1, "polarizability": 1, "bead_positions": 5},
        progress=False,
    )


def test_sum_rule_is_that_of_the_polar_tensors(trajectory, evaluator):
    spectra = molecular_spectra(trajectory)
    check = check_sum_rule(spectra.infrared, trajectory, evaluator)
    positions = trajectory.observable("bead_positions").values.reshape(-1, 3, 3)
    tensors = evaluator.polar_tensors(torch.from_numpy(positions)).numpy()
    expected = INTENSITY_PER_SQUARED_CHARGE_PER_MASS * np.einsum(
        "siac,i->s", tensors**2, 1.0 / trajectory.masses
    )
    assert check.exact.value == pytest.approx(expected.mean(), rel=1e-10)
    assert check.ratio.value == pytest.approx(
        spectra.infrared.integrate().value / expected.mean(), rel=1e-10
    )
    text = describe_spectra(spectra, check)
    assert "8 replicas" in text
    assert "sum rule" in text


def test_without_positions_there_is_no_check(evaluator, tmp_path):
    bare = simulate(
        molecule("H2O"),
        evaluator,
        output=tmp_path / "bare.h5",
        method="NVE",
        temperature=20.0,
        timestep=0.05,
        steps=40,
        seed=5,
        replicas=2,
        observables={"dipole": 1},
        progress=False,
    )
    spectra = molecular_spectra(bare)
    assert spectra.raman is None
    assert check_sum_rule(spectra.infrared, bare, evaluator) is None
    path = write_figure(tmp_path / "figure.png", [spectra])
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_trajectory_without_properties_says_what_to_record(evaluator, tmp_path):
    energies = simulate(
        molecule("H2O"),
        evaluator,
        output=tmp_path / "energies.h5",
        method="NVE",
        temperature=20.0,
        timestep=0.05,
        steps=20,
        seed=5,
        observables={"potential_energy": 1},
        progress=False,
    )
    with pytest.raises(ValueError, match="record them"):
        molecular_spectra(energies)
