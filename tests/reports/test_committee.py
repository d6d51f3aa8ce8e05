# SPDX-License-Identifier: MIT
"""Committees of models on a trajectory, and with trajectories of their own."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from eqcalc.dynamics import simulate
from eqcalc.reports.committee import (
    committee_of_trajectories,
    committee_on_trajectory,
    reevaluated,
)
from eqcalc.runtime import EagerEvaluator
from eqcalc.spectra import infrared
from tests.conftest import make_potential

OPTIONS = {"resolution": 1800.0, "n_samples": 50}


@pytest.fixture(scope="module")
def members():
    numbers = torch.tensor(molecule("H2O").numbers)
    return [EagerEvaluator(make_potential(features=width), numbers) for width in (8, 12)]


def run(path, evaluator, seed=5, **options):
    return simulate(
        molecule("H2O"),
        evaluator,
        output=path,
        temperature=1.0,
        timestep=0.5,
        steps=80,
        seed=seed,
        replicas=4,
        masses={"H": 1e4, "O": 1e5},
        observables={"dipole": 1, "bead_positions": 1},
        progress=False,
        **options,
    )


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory, members):
    return run(tmp_path_factory.mktemp("c") / "run.h5", members[0], method="T-RPMD", beads=3)


def test_the_property_of_all_beads_is_that_of_the_run(trajectory, members):
    again = reevaluated(trajectory, members[0], "dipole")
    assert np.allclose(again, trajectory.observable("dipole").values, atol=1e-6)


def test_members_on_one_trajectory(trajectory, members):
    found = committee_on_trajectory(trajectory, members, **OPTIONS)
    own = infrared(trajectory, derivative=False, **OPTIONS)
    assert found.common_trajectory
    assert np.allclose(found.members[0].values, own.values, rtol=1e-3)
    assert found.members[0].provenance["n_beads"] == 3
    expected = np.std([m.values for m in found.members], axis=0, ddof=1)
    assert np.allclose(found.model_error, expected)
    figure = found.plot()
    assert [axes.get_ylabel() for axes in figure.axes][1] == "standard\nerror"
    with pytest.raises(ValueError, match="expected 'infrared' or 'raman'"):
        committee_on_trajectory(trajectory, members, "vcd")
    activity = committee_on_trajectory(trajectory, members, "raman", **OPTIONS)
    assert activity.mean.label == "Raman activity"


def test_members_with_trajectories_of_their_own(tmp_path, members):
    runs = [
        run(tmp_path / f"{i}.h5", member, seed=i, method="NVE") for i, member in enumerate(members)
    ]
    found = committee_of_trajectories(runs, **OPTIONS)
    assert not found.common_trajectory
    assert len(found.members) == 2
    mean = np.mean([m.values for m in found.members], axis=0)
    assert np.allclose(found.mean.values, mean)


def test_positions_are_needed(tmp_path, members):
    bare = simulate(
        molecule("H2O"),
        members[0],
        output=tmp_path / "bare.h5",
        method="NVE",
        temperature=1.0,
        timestep=0.5,
        steps=20,
        seed=1,
        masses={"H": 1e4, "O": 1e5},
        observables={"dipole": 1},
        progress=False,
    )
    with pytest.raises(ValueError, match="record them as often as the dipole"):
        reevaluated(bare, members[0], "dipole")
