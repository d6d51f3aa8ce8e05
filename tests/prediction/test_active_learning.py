# SPDX-License-Identifier: MIT
"""A general model that learns a molecule from a method of another package."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ase.build import molecule

from eqcalc.cli import main
from eqcalc.labelling import OtherRunError
from eqcalc.prediction import ActiveLearning, level_named, predict
from eqcalc.prediction.active_learning import fine_tuned
from eqcalc.prediction.planning import plan
from tests.errors import refused

TOY = "tests.prediction.toy:ToyWater"
RUN = f"""
import sys
from ase.build import molecule
from eqcalc.prediction import ActiveLearning, level_named
from eqcalc.prediction.active_learning import fine_tuned
options = ActiveLearning(sys.argv[1], labels=12)
fine_tuned(molecule("H2O"), level_named("{TOY}"), options)
"""


def learnt(folder, **options):
    """Return what is learnt of water from the toy method."""
    return fine_tuned(
        molecule("H2O"), level_named(TOY), ActiveLearning(folder, **options), progress=False
    )


@pytest.mark.slow
def test_a_killed_run_loses_a_label_at_most(tmp_path):
    calls = tmp_path / "calls"
    environment = {**os.environ, "TOY_CALLS": str(calls), "TOY_SECONDS": "0.5"}
    run = [sys.executable, "-c", RUN, str(tmp_path / "run")]
    process = subprocess.Popen(run, env=environment)
    journal = tmp_path / "run" / "round-1" / "labels.h5.journal"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:  # two labels
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    environment["TOY_SECONDS"] = "0"
    subprocess.run(run, env=environment, check=True)
    last = max((tmp_path / "run").glob("round-*"))
    found = json.loads((last / "round.json").read_text())
    # one label is timed before the first round
    assert found["labels"] + 1 <= len(calls.read_text().splitlines()) <= found["labels"] + 2
    subprocess.run(run, env=environment, check=True)
    assert len(calls.read_text().splitlines()) <= found["labels"] + 2  # nothing is done again


@pytest.mark.slow
def test_a_folder_belongs_to_one_run(tmp_path):
    learnt(tmp_path, labels=8, tolerance=1e3, area_tolerance=1e3)
    with pytest.raises(OtherRunError) as caught:
        learnt(tmp_path, labels=8, seed=1)
    assert caught.value.different == ("seed",)


def test_only_methods_are_learnt(tmp_path):
    options = ActiveLearning(tmp_path / "run")
    with refused(key="level", value="general"):
        predict("H2O", level="general", quality="standard", learning=options)
    with refused(key="level", value="ase:ase.calculators.emt.EMT"):  # no dipole moment
        predict("H2O", level="ase:ase.calculators.emt.EMT", quality="standard", learning=options)
    with refused(key="learning", value=None):
        predict("H2O", level=TOY, quality="standard")
    assert not (tmp_path / "run").exists()


def test_a_model_of_other_elements_is_refused(tmp_path):
    with refused(key="start_from", value="general"):
        plan("CH3Cl", level="gfn2", quality="standard", learning=ActiveLearning(tmp_path))


def test_options_of_learning_are_of_one_quality(tmp_path, capsys):
    assert main(["predict", "H2O", "--labels", "30", "--output", str(tmp_path)]) != 0
    assert "--labels" in capsys.readouterr().err


@pytest.mark.slow
def test_a_plan_counts_each_kind_of_work(tmp_path):
    options = ActiveLearning(tmp_path, labels=30, hours=0.5, processes=2)
    found = plan("H2O", level=TOY, quality="standard", learning=options).learning
    assert found.parts["labels"] == pytest.approx(15 * found.label)
    assert found.parts["fits"] > 0.0
    assert found.seconds <= 1800.0
    assert list(tmp_path.iterdir()) == []
