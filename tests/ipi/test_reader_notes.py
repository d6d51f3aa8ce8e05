# SPDX-License-Identifier: MIT
"""What is noted of a run of i-PI: how far it is, what was lost, how warm it was."""

import warnings

import numpy as np
import pytest

from eqcalc.ipi import read_run
from eqcalc.ipi.description import Description, System
from eqcalc.ipi.reader import RunWarning, progress_notes, temperature_notes
from eqcalc.reports.description import describe_file
from eqcalc.reports.molecular import molecular_spectra
from eqcalc.units import BOLTZMANN, FEMTOSECOND
from tests.ipi.test_reader import CHECKPOINT, run_of_somebody

RNG = np.random.default_rng(8)


def state(tmp_path, step, total=400):
    text = CHECKPOINT.replace("<step> 4 ", f"<step> {step} ").replace("> 8 </t", f"> {total} </t")
    return Description(text, tmp_path / "RESTART")


def series(**last):
    """Values of every second step up to the last."""
    return {name: (2, np.zeros((1, step // 2 + 1))) for name, step in last.items()}


def test_a_finished_run_needs_no_note(tmp_path):
    assert progress_notes(state(tmp_path, 400), series(dipole=400, temperature=400)) == []
    # the last record of an odd number of steps
    assert progress_notes(state(tmp_path, 401, 401), series(dipole=400)) == []


def test_an_unfinished_run_is_noted_with_its_steps(tmp_path):
    (note,) = progress_notes(state(tmp_path, 100), series(dipole=120))
    assert "not finished: 120 of 400 steps" in note


def test_lost_records_are_noted(tmp_path):
    (note,) = progress_notes(state(tmp_path, 400), series(dipole=250, temperature=400))
    assert note.startswith("dipole: the outputs end at step 250, but RESTART says that 400 of 400")


def system(method="NVE", beads=1, temperature=300.0):
    masses = np.array([16.0, 1.0, 1.0, 12.0, 1.0])
    numbers, cell = np.array([8, 1, 1, 6, 1]), np.zeros((3, 3))
    return System("", numbers, masses, beads, temperature, 0.5, method, None, cell)


def temperatures(mean, replicas=1, spread=20.0):
    return {"temperature": (20, mean + spread * RNG.standard_normal((replicas, 500)))}


@pytest.mark.parametrize(
    ("method", "mean", "advice"),
    [
        ("NVE", 110.0, "start from equilibrium"),  # not a fluctuation of 12 degrees of freedom
        ("NVE", 250.0, "keeps for long what its start had"),
        ("Langevin", 250.0, "start from equilibrium"),
    ],
)
def test_a_wrong_temperature_is_noted(method, mean, advice):
    (note,) = temperature_notes(system(method), temperatures(mean, spread=1.0))
    assert f"mean kinetic temperature is {mean:.0f}" in note
    assert "not 300 K" in note
    assert advice in note


@pytest.mark.parametrize("replicas", [1, 4])
def test_a_temperature_within_its_error_is_not(replicas):
    assert temperature_notes(system(), temperatures(300.5, replicas, spread=80.0)) == []
    assert temperature_notes(system(), temperatures(340.0, replicas, spread=4000.0)) == []


def test_a_run_of_a_few_swings_has_no_temperature_of_its_own():
    (name, (stride, values)), *_ = temperatures(100.0, spread=1.0).items()
    assert temperature_notes(system(), {name: (stride, values[:, :20])}) == []
    assert temperature_notes(system(), {name: (stride, values[:, :40])})


def test_the_centroid_counts_where_the_internal_modes_are_thermostatted():
    """All beads are at 300 K, but the centroid, which absorbs, is at half of that."""
    one = system("T-RPMD", beads=8)
    scale = np.sqrt(BOLTZMANN * 150.0 / one.masses)[:, None] * FEMTOSECOND
    velocities = scale * RNG.standard_normal((3, 400, 5, 3)) * np.sqrt(12.0 / 15.0)
    found = {"velocities": (20, velocities), **temperatures(300.0, 3)}
    (note,) = temperature_notes(one, found)
    assert "kinetic temperature of the centroid is 1" in note  # 150 ± 2


def test_notes_reach_the_reader_the_description_and_the_spectra(tmp_path):
    folder = run_of_somebody(tmp_path, ("<step> 4 ", "<step> 40 "))
    text = (folder / "RESTART").read_text()
    (folder / "RESTART").write_text(text.replace("> 8 </total", "> 80 </total"))
    head = " #EXTRAS_COMPONENT_RAW(dipole)# Step: {:10d}  Bead: 0 \n"
    rows = [head.format(2 * i) + f"{np.sin(i):.6f} 0.0 0.5\n" * 4 for i in range(21)]
    (folder / "sim.mu").write_text("".join(rows))
    units = {"dipole": "e*Å"}
    with pytest.warns(RunWarning, match="40 of 80 steps are done"):
        trajectory = read_run(folder, extras_units=units)
    assert "note: the run is not finished: 40 of 80" in describe_file(trajectory.path)
    assert "PILE-L, 250 K, 1 system, 4 beads, 2 atoms, 40 of 80 steps" in describe_file(folder)
    spectrum = molecular_spectra(trajectory, lag=5.0).infrared
    assert spectrum is not None
    assert any("40 of 80 steps" in warning for warning in spectrum.warnings)
    (folder / "RESTART").write_text(text.replace("> 8 </total", "> 40 </total"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_run(folder, extras_units=units).complete
