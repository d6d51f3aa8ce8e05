# SPDX-License-Identifier: MIT
"""A run of i-PI whose molecule leaves the limits ends, keeps its outputs, and does not go on."""

import numpy as np
import pytest

pytest.importorskip("ipi")

from eqcalc.ipi import ExitStatus, InProcess, RunWarning, Strides, UnixSocket, read_run
from eqcalc.ipi.description import Description
from tests.ipi.conftest import PATIENCE

#: A step with which the atoms fly past each other.
LONG = {"timestep": 10.0, "steps": 400, "strides": Strides(spectra=1, energies=1, centroid=5)}


@pytest.mark.parametrize(
    "connection", [pytest.param(InProcess(), marks=pytest.mark.slow), UnixSocket()]
)
def test_a_molecule_that_dissociates_ends_the_run(
    prepare, launch, eqcalc, model, tmp_path, connection
):
    path = prepare(connection=connection, **LONG)
    process = launch(path)
    client = None
    if isinstance(connection, UnixSocket):
        address = ("--unix", connection.address, "--wait", PATIENCE)
        client = eqcalc("ipi", "client", model, *address, log=tmp_path / "client.log")
    assert process.wait() == ExitStatus.FAILED, process.text()
    last = process.text().splitlines()[-1]
    assert "of 400: the " in last
    assert "start again in a new folder" in last
    assert "simulation.failed.extxyz" in last
    if client is not None:
        client.wait()
    folder = path.parent
    assert (folder / "simulation.failed.extxyz").read_text().count("Properties=") == 4  # beads
    done = Description.read(folder / "RESTART").step
    with pytest.warns(RunWarning, match="has left the limits") as warnings:
        trajectory = read_run(folder)
    assert any("of 400 steps are done" in str(warning.message) for warning in warnings)
    assert trajectory.n_frames("dipole") >= done + 1  # nothing that was written is lost
    assert np.isfinite(trajectory.observable("dipole").values).all()
    if client is None:  # the broken molecule is no reference for what follows
        assert launch(path).wait() == ExitStatus.FAILED
        assert process.text().count("start again in a new folder") == 2


@pytest.mark.slow
def test_each_system_is_looked_at(prepare, launch):
    """The second of two systems starts with an atom that flies away."""
    strides = Strides(spectra=0, energies=0, centroid=0, series=2)
    first = prepare(strides=strides, steps=4)
    assert launch(first).wait() == ExitStatus.COMPLETE
    start = first.parent / "simulation.start_1"
    hot = first.parent / "hot"
    text = start.read_text()
    root = Description(text, start).root
    momenta = root.find("system/beads/p")
    assert momenta is not None
    numbers = momenta.text
    assert numbers is not None
    values = np.array([float(word) for word in numbers.strip(" []\n").split(",")])
    values[4::9] += 3000.0  # a hydrogen
    hot.write_text(text.replace(numbers, f"[ {', '.join(map(str, values.tolist()))} ]"))
    path = prepare("pair", starts=[start, hot], strides=strides, steps=400)
    process = launch(path)
    assert process.wait() == ExitStatus.FAILED
    assert "system s001: " in process.text()
    assert (path.parent / "s001_simulation.failed.extxyz").is_file()


def test_limits_are_for_molecules_of_eqcalc_only():
    """A potential of somebody else may be of a crystal, or of a reaction."""
    text = "<simulation><{0}><parameters>{1}</parameters></{0}></simulation>"
    for kind in ("ffdirect", "ffsocket"):
        mine = Description(text.format(kind, "{symbols: OH2, charge: -1}"), "input")
        assert mine.is_of_eqcalc()
        assert mine.charges() == {-1.0}
        assert not Description(text.format(kind, "{a: 1}"), "input").is_of_eqcalc()
