# SPDX-License-Identifier: MIT
"""The demonstration, made small: complete, repeatable, resumable, and careful."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eqcalc.anharmonic import Treatment
from eqcalc.demo import DemoPlan, RunPlan, run_demo
from eqcalc.interruption import INTERRUPTED, STOPPED
from eqcalc.spectra import read_spectrum
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidFileError, InvalidInputError

SMALL = DemoPlan(
    runs=(
        RunPlan("classical", "NVE", replicas=4, steps=300, equilibration=10.0),
        RunPlan("te-pigs", "Te-PIGS", replicas=2, steps=200, equilibration=5.0),
    ),
    treatment=Treatment(coupling=2, quanta=2, nodes=(5, 4, 3)),
)

LONG = replace(SMALL, runs=tuple(replace(run, steps=100_000) for run in SMALL.runs))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    return run_demo(folder, plan=SMALL, progress=False)


@pytest.mark.slow
def test_everything_promised_is_written(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert {"ethanol.png", "summary.txt", "demo.json"} <= names
    for run in SMALL.runs:
        trajectory = Trajectory.open(finished.folder / f"{run.name}.h5")
        assert trajectory.complete
        assert trajectory.observable("dipole").values.shape[:2] == (
            run.replicas,
            run.steps // 2 + 1,
        )
        for kind in ("infrared", "raman", "depolarization-ratio", "raman-cross-section"):
            for suffix in (".h5", ".csv"):
                spectrum = read_spectrum(finished.folder / f"{run.name}-{kind}{suffix}")
                assert spectrum.unit
    for kind in ("infrared", "raman"):
        for suffix in (".h5", ".csv"):
            assert read_spectrum(finished.folder / f"vci-{kind}{suffix}").unit
    assert finished.folder.joinpath("ethanol.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_summary_says_what_was_run_and_checks_it(finished):
    text = (finished.folder / "summary.txt").read_text()
    for words in ("NVE", "Te-PIGS", "VCI", "sum rule", "km/mol", "Å⁴/amu", "double-harmonic"):
        assert words in text


@pytest.mark.slow
def test_bands_stand_beside_measured_ones(finished):
    text = (finished.folder / "summary.txt").read_text()
    stretch = next(cells for line in text.splitlines() if (cells := line.split())[:1] == ["21"])
    measured, harmonic, quantum = map(float, stretch[1:4])
    assert measured == 3653.0
    assert harmonic == pytest.approx(3860.0, abs=20.0)
    assert quantum < harmonic - 100.0


@pytest.mark.slow
def test_dynamics_is_that_of_the_correction_that_is_shipped(finished):
    record = Trajectory.open(finished.folder / "te-pigs.h5").provenance["correction"]
    assert record["elevated_temperature_K"] > 300.0


@pytest.mark.slow
def test_calling_again_changes_no_trajectory(finished):
    names = [f"{run.name}.h5" for run in SMALL.runs] + ["vci-trans.json", "vci-gauche.json"]
    before = {name: (finished.folder / name).read_bytes() for name in names}
    again = run_demo(finished.folder, plan=SMALL, progress=False)
    for name, data in before.items():
        assert (finished.folder / name).read_bytes() == data
    np.testing.assert_array_equal(
        again.spectra[0].infrared.values, finished.spectra[0].infrared.values
    )


@pytest.mark.slow
def test_other_settings_do_not_overwrite(finished):
    with pytest.raises(InvalidFileError) as error:
        run_demo(finished.folder, seed=1, plan=SMALL, progress=False)
    assert error.value.file == finished.folder / "demo.json"


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(InvalidFileError) as error:
        run_demo(tmp_path, plan=SMALL, progress=False)
    assert error.value.file == tmp_path
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "demo.json").write_text('{"seed": ')
    with pytest.raises(InvalidFileError) as error:
        run_demo(tmp_path, plan=SMALL, progress=False)
    assert error.value.file == tmp_path / "demo.json"


def test_a_bad_seed_is_refused_at_once(tmp_path):
    with pytest.raises(InvalidInputError) as error:
        run_demo(tmp_path / "out", seed=-1, plan=SMALL, progress=False)
    assert (error.value.key, error.value.value) == ("seed", -1)
    assert not (tmp_path / "out").exists()


SCRIPT = """
import sys
from tests.end_to_end import test_demo
from eqcalc.demo import run_demo
from eqcalc.interruption import INTERRUPTED, terminable
if __name__ == "__main__":
    try:
        with terminable():
            run_demo(sys.argv[1], plan=getattr(test_demo, sys.argv[2]), progress=False)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
"""


def started(folder: Path, plan: str, **options) -> subprocess.Popen:
    """Return the process of a demonstration whose dynamics are under way."""
    script = folder.with_name("script.py")
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(folder), plan]
    process = subprocess.Popen(command, env=environment, **options)
    deadline = time.monotonic() + 120.0
    while not (folder / "classical.h5").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="stops by signal")
@pytest.mark.parametrize(
    ("number", "all_processes", "status"),
    [
        (signal.SIGTERM, False, STOPPED),
        (signal.SIGTERM, True, STOPPED),  # as batch systems do
        (signal.SIGINT, True, INTERRUPTED),  # as terminals do
    ],
)
def test_a_stopped_demonstration_stops_at_once(tmp_path, number, all_processes, status):
    """The processes of the simulations end before it does, with nothing left behind."""
    folder = tmp_path / "out"
    errors = tmp_path / "errors"
    with errors.open("w") as stream:
        process = started(folder, "LONG", start_new_session=True, stderr=stream)
        (os.killpg if all_processes else os.kill)(process.pid, number)
        assert process.wait(60.0) == status
    assert not list(folder.glob("vci-*"))  # the task after the simulations
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # Python's own process for semaphores ends a moment later
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    text = errors.read_text()
    assert "leaked" not in text and "DemoRunError" not in text


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_killed_demonstration_goes_on_to_the_same_result(finished, tmp_path):
    folder = tmp_path / "out"
    process = started(folder, "SMALL")
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1.5)  # the workers notice that they are orphans
    result = run_demo(folder, plan=SMALL, progress=False)
    assert json.loads((folder / "demo.json").read_text())["seed"] == 0
    for mine, expected in zip(result.spectra, finished.spectra, strict=True):
        np.testing.assert_array_equal(mine.infrared.values, expected.infrared.values)
        np.testing.assert_array_equal(mine.raman.isotropic.values, expected.raman.isotropic.values)
    lines = [found.quantum.conformers[0].spectrum.wavenumber for found in (result, finished)]
    np.testing.assert_array_equal(*lines)


def test_the_plan_fits_the_execution():
    assert DemoPlan.for_execution("fused") == DemoPlan()
    costs = [
        [run.replicas * run.steps for run in DemoPlan.for_execution(name).runs]
        for name in ("eager", "fused")
    ]
    assert all(short < long for short, long in zip(*costs, strict=True))


@pytest.mark.slow
def test_a_plan_once_begun_stays(finished):
    record = finished.folder / "demo.json"
    before = record.read_bytes()
    again = run_demo(finished.folder, progress=False)
    assert record.read_bytes() == before
    assert again.summary.splitlines()[:-1] == finished.summary.splitlines()[:-1]
