# SPDX-License-Identifier: MIT
"""A run in parts is the run of all replicas."""

import json

import numpy as np
import pytest
import torch

from eqcalc.dynamics import Equilibration, UnstableDynamicsError, load_state, simulate
from eqcalc.dynamics.shards import join, simulate_shards
from eqcalc.dynamics.state import VARIABLES
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.analytic import ToyWater
from tests.conftest import slow
from tests.errors import refused

SETTINGS = {
    "method": "T-RPMD",
    "beads": 4,
    "temperature": 300.0,
    "timestep": 0.5,
    "steps": 20,
    "seed": 11,
    "equilibration": Equilibration(5.0),
    "progress": False,
}


def run(settings, output, replicas):
    water = ToyWater()
    starts = [water.atoms.copy(), water.atoms.copy()]  # two conformers, in turn
    starts[1].positions[1] *= 1.02
    return simulate(starts, water, output=output, replicas=replicas, **settings)


def in_parts(output, replicas=5, processes=1, **changes):
    settings = {**SETTINGS, **changes}
    return simulate_shards(
        *(run, settings, output),
        replicas=replicas,
        steps=settings["steps"],
        processes=processes,
        progress=False,
    )


def same(one, other):
    # sums over a batch may be rounded differently in a smaller one
    assert one.settings == other.settings
    assert one.observables() == other.observables()
    for name in one.observables():
        series, expected = one.observable(name), other.observable(name)
        np.testing.assert_allclose(series.values, expected.values, rtol=1e-9, atol=1e-9)
        assert (series.unit, series.interval) == (expected.unit, expected.interval)
    states = load_state(one.path), load_state(other.path)
    assert states[0].step == states[1].step
    for name in VARIABLES:
        torch.testing.assert_close(*(getattr(state, name) for state in states))


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("eqcalc.dynamics.shards._LARGEST", 2)


@pytest.mark.parametrize("processes", [1, *slow(2)])
def test_joined_parts_are_the_whole_run_and_go_on_as_it(tmp_path, small_parts, processes):
    whole = run(SETTINGS, tmp_path / "whole.h5", 5)
    parts = in_parts(tmp_path / "parts.h5", processes=processes)
    same(parts, whole)
    assert not (tmp_path / "parts.h5.shards").exists()
    longer = {"steps": 30}
    same(
        in_parts(parts.path, **longer), run({**SETTINGS, **longer}, whole.path, 5)
    )  # the states are joined, too


def test_an_interrupted_run_keeps_its_parts(tmp_path, small_parts, monkeypatch):
    output = tmp_path / "parts.h5"
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("eqcalc.dynamics.shards.join", lambda *_: 1 / 0)
        in_parts(output)
    with refused(InvalidFileError, key="replicas", value=6):
        in_parts(output, replicas=6)
    monkeypatch.setattr("eqcalc.dynamics.shards._LARGEST", 5)  # the parts of before are kept
    parts = []
    monkeypatch.setattr(
        "eqcalc.dynamics.shards.join", lambda paths, to: parts.extend(paths) or join(paths, to)
    )
    same(in_parts(output), run(SETTINGS, tmp_path / "whole.h5", 5))
    assert [path.name for path in parts] == ["0.h5", "2.h5", "4.h5"]


def test_only_complete_parts_of_one_run_are_joined(tmp_path):
    paths = [tmp_path / "0.h5", tmp_path / "2.h5"]
    run(SETTINGS, paths[0], range(2))
    run({**SETTINGS, "seed": 12}, paths[1], range(2, 4))
    with refused(InvalidFileError, key="settings", file=paths[1]):
        join(paths, tmp_path / "joined.h5")
    assert not (tmp_path / "joined.h5").exists()


def test_a_part_is_named_by_its_replicas(tmp_path):
    part = run(SETTINGS, tmp_path / "part.h5", range(2, 4))
    assert part.settings["first_replica"] == 2
    assert "first_replica" not in run(SETTINGS, tmp_path / "first.h5", range(2)).settings
    with pytest.raises(InvalidInputError):  # of the same settings otherwise
        run(SETTINGS, part.path, range(4, 6))
    for numbers in (range(0, 4, 2), range(-1, 2), range(2, 2)):
        with refused(InvalidInputError, key="replicas"):
            run(SETTINGS, tmp_path / "none.h5", numbers)


def test_the_replica_that_fails_is_that_of_the_whole_run(tmp_path):
    class Breaking(ToyWater):
        def __call__(self, positions, quantities):
            results = super().__call__(positions, quantities)
            results["forces"][-1] = float("nan")
            return results

    water = Breaking()
    with pytest.raises(UnstableDynamicsError, match="replica 6"):
        simulate(
            *(water.atoms, water),
            output=tmp_path / "part.h5",
            replicas=range(4, 7),
            **{**SETTINGS, "beads": 1, "method": "NVE"},
        )


def test_a_folder_that_workers_do_not_see(tmp_path, monkeypatch):
    folder = tmp_path / "parts.h5.shards"

    def elsewhere(function, state, tasks, processes):
        (folder / "shards.json").rename(tmp_path / "moved.json")
        yield from (function(state, task) for task in tasks)

    monkeypatch.setattr("eqcalc.dynamics.shards.map_unordered", elsewhere)
    with refused(InvalidFileError, file=folder):
        in_parts(tmp_path / "parts.h5")
    assert json.loads((tmp_path / "moved.json").read_text())["replicas"] == 5
