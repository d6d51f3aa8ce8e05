# SPDX-License-Identifier: MIT
"""Dynamics of a committee, which stops where its members disagree."""

import numpy as np
import pytest

from eqcalc.dynamics import SettingsError, StabilityLimits, UnstableDynamicsError, simulate
from eqcalc.models.committee import Committee
from eqcalc.trajectory import Trajectory
from tests.analytic import MorseDiatomic

OBSERVABLES = {"potential_energy": 1, "force_disagreement": 1, "conserved_energy": 1}


def committee(*widths):
    """Morse curves that agree at the minimum and differ away from it."""
    members = []
    for width in widths:
        member = MorseDiatomic(width=width)
        member.provenance = {"model": f"Morse {width}", "device": "cpu"}
        members.append(member)
    return Committee(members)


def run(path, evaluator, **changes):
    arguments = {
        "method": "NVE",
        "temperature": 300.0,
        "timestep": 0.25,
        "steps": 100,
        "seed": 2,
        "replicas": 3,
        "observables": OBSERVABLES,
        "progress": False,
        **changes,
    }
    return simulate(MorseDiatomic().atoms, evaluator, output=path, **arguments)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.h5"


@pytest.mark.parametrize(("method", "beads"), [("NVE", 1), ("RPMD", 4)])
def test_energy_of_a_committee_is_conserved(path, method, beads):
    trajectory = run(path, committee(1.86, 1.88), method=method, beads=beads)
    conserved = trajectory.observable("conserved_energy").values
    potential = trajectory.observable("potential_energy").values
    assert np.ptp(conserved, axis=1).max() < 0.05 * np.ptp(potential, axis=1).max()
    series = trajectory.observable("force_disagreement")
    assert series.unit == "eV/Å"
    assert 1e-4 < series.values.max() < 1.0


def test_disagreement_stops_at_once(path):
    """The step at which the bound is passed is the last one, and the rest is readable."""
    evaluator = committee(1.86, 1.96)
    free = run(path.with_name("free.h5"), evaluator, limits=StabilityLimits(force_disagreement=1e9))
    disagreement = free.observable("force_disagreement").values
    bound = 0.9 * disagreement.max()
    first = int((disagreement > bound).any(axis=0).argmax())
    replica = int((disagreement[:, first] > bound).argmax())
    with pytest.raises(UnstableDynamicsError) as caught:
        run(path, evaluator, limits=StabilityLimits(force_disagreement=bound))
    assert (caught.value.step, caught.value.replica) == (first, replica)
    assert caught.value.limit == "force_disagreement"
    assert caught.value.value == pytest.approx(disagreement[replica, first])
    found = Trajectory.open(path).observable("force_disagreement").values
    np.testing.assert_array_equal(found, disagreement[:, :first])
    assert path.with_name("run.h5.failed.extxyz").exists()


def test_a_single_model_has_no_disagreement_to_look_at(path):
    observables = {"potential_energy": 1}
    run(
        path,
        MorseDiatomic(),
        limits=StabilityLimits(force_disagreement=0.0),
        observables=observables,
    )
    assert Trajectory.open(path).complete


def test_a_committee_goes_on_on_another_device(path):
    """What is physics in the record of each member must agree, and nothing else."""
    run(path, committee(1.86, 1.88), steps=20)
    moved = committee(1.86, 1.88)
    for member in moved.provenance["committee"]:
        member["device"] = "cuda"
    run(path, moved, steps=40)
    with pytest.raises(SettingsError) as caught:
        run(path, committee(1.86, 1.9), steps=60)
    assert set(caught.value.differences) == {"evaluator.committee"}
