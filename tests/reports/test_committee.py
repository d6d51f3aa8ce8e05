# SPDX-License-Identifier: MIT
"""Committees of models on a trajectory, and with trajectories of their own."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from eqcalc.dynamics import simulate
from eqcalc.models.checkpoint import save_model
from eqcalc.quantities import DIPOLE
from eqcalc.reports.committee import (
    committee_on_trajectory,
    describe_committee,
    read_members,
    reevaluated,
)
from eqcalc.runtime import eager_evaluator
from eqcalc.spectra import Spectrum, combine_committee, infrared, plot_committee
from eqcalc.validation import InvalidInputError
from tests.conftest import make_potential

OPTIONS = {"resolution": 1800.0, "n_samples": 50}


@pytest.fixture(scope="module")
def members():
    """Two potentials of random parameters that have positive polarizabilities."""
    numbers = torch.tensor(molecule("H2O").numbers)
    return [eager_evaluator(make_potential(features=width), numbers) for width in (6, 14)]


def run(path, evaluator, seed=5, **options):
    options = {"observables": {"dipole": 1, "bead_positions": 1}, **options}
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
        progress=False,
        **options,
    )


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory, members):
    return run(tmp_path_factory.mktemp("c") / "run.h5", members[0], method="T-RPMD", beads=3)


def test_the_property_of_all_beads_is_that_of_the_run(trajectory, members):
    again = reevaluated(trajectory, members[0], DIPOLE)
    assert np.allclose(again.replicas, trajectory.observable("dipole").values, atol=1e-6)


def test_members_on_one_trajectory(trajectory, members):
    found = committee_on_trajectory(trajectory, members, **OPTIONS)
    own = infrared(trajectory, derivative=False, **OPTIONS)
    assert found.common_trajectory
    assert np.allclose(found.members[0].values, own.values, rtol=1e-3)
    assert found.members[0].provenance["n_beads"] == 3
    expected = np.std([m.values for m in found.members], axis=0, ddof=1)
    assert np.allclose(found.model_error, expected)
    figure = plot_committee(found)
    assert [axes.get_ylabel() for axes in figure.axes][1] == "standard\nerror"
    with pytest.raises(InvalidInputError, match="infrared, raman"):
        committee_on_trajectory(trajectory, members, "vcd")
    activity = committee_on_trajectory(trajectory, members, "raman", **OPTIONS)
    assert activity.mean.label == "Raman activity"


def test_every_choice_is_that_of_the_spectrum(tmp_path, members):
    turning = run(
        tmp_path / "run.h5", members[0], method="NVE", observables={"dipole": 1, "positions": 1}
    )
    choices = {"frequency_correction": True, "frame": "corotating", "quantum_factor": "none"}
    found = committee_on_trajectory(turning, members, **OPTIONS, **choices)
    own = infrared(turning, **OPTIONS, **choices)
    assert np.array_equal(found.mean.wavenumber, own.wavenumber)
    assert np.allclose(found.members[0].values, own.values, rtol=1e-6, atol=0.0)
    assert found.mean.provenance["frame"] == "corotating"
    laboratory = infrared(turning, **OPTIONS, frequency_correction=True, quantum_factor="none")
    assert not np.allclose(found.members[0].values, laboratory.values, rtol=1e-4, atol=0.0)


def test_geometries_too_far_apart_are_refused(tmp_path, members):
    options = {"method": "NVE", "observables": {"dipole": 2, "positions": 20, "bead_positions": 40}}
    coarse = run(tmp_path / "coarse.h5", members[0], **options)
    message = (
        r"coarse\.h5: positions of the atoms are recorded every 10 fs, the dipole every 1 fs; .* "
        r"above 1668 cm⁻¹ would be folded back .*: eqcalc simulate --observables positions=1"
    )
    with pytest.raises(ValueError, match=message):
        committee_on_trajectory(coarse, members, **OPTIONS)
    # of two kinds of positions the denser one is taken
    options["observables"] = {"dipole": 2, "positions": 20, "bead_positions": 2}
    fine = run(tmp_path / "fine.h5", members[0], **options)
    found = committee_on_trajectory(fine, members, **OPTIONS)
    assert found.mean.provenance["interval_fs"] == 1.0


def test_a_committee_without_bands_says_so():
    x = np.arange(0.0, 4000.0, 10.0)
    flat = Spectrum(x, np.ones(len(x)), "km/mol per cm⁻¹", "IR intensity")
    found = combine_committee([flat, 1.1 * flat], common_trajectory=True)
    assert describe_committee(found)[-1] == "  none above 100 cm⁻¹"


def test_members_are_checked_by_name(tmp_path, trajectory):
    save_model(make_potential(features=8), tmp_path / "a.eqc")
    with pytest.raises(InvalidInputError) as caught:
        read_members(trajectory, [tmp_path / "a.eqc"])
    assert caught.value.value == 1
    save_model(make_potential(features=8, heads=("energy",)), tmp_path / "b.eqc")
    with pytest.raises(ValueError, match=r"b\.eqc: a model of energy, .*, without a dipole"):
        read_members(trajectory, [tmp_path / "a.eqc", tmp_path / "b.eqc"])


def test_members_with_trajectories_of_their_own(tmp_path, members):
    runs = [
        run(tmp_path / f"{i}.h5", member, seed=i, method="NVE") for i, member in enumerate(members)
    ]
    spectra = [infrared(trajectory, **OPTIONS) for trajectory in runs]
    found = combine_committee(spectra, common_trajectory=False)
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
        reevaluated(bare, members[0], DIPOLE)
