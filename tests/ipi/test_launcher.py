# SPDX-License-Identifier: MIT
"""i-PI for real, and what happens when something goes wrong: no hang, no loss, no duplicates."""

import re
import resource
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ipi")

from eqcalc.cli.program import FAILURE, main
from eqcalc.ipi import Address, ExitStatus, InputError, RunError, Strides, UnixSocket, read_run, run
from eqcalc.ipi.description import Description
from eqcalc.ipi.launcher import remove_stale
from eqcalc.ipi.protocol import header
from tests.ipi.conftest import PATIENCE, STRIDES, lines, wait_for


def observables(folder: Path) -> dict[str, np.ndarray]:
    trajectory = read_run(folder)
    assert trajectory.complete
    return {name: trajectory.observable(name).values for name in trajectory.observables()}


def step_of(path: Path) -> int:
    return Description.read(path).step


@pytest.fixture(scope="module")
def finished():
    """Undisturbed runs by their options."""
    return {}


@pytest.fixture
def reference(prepare, launch, finished):
    """What a run that nothing disturbs gives."""

    def make(**options):
        key = str(options)
        if key not in finished:
            path = prepare("reference", **options)
            assert launch(path).wait() == ExitStatus.COMPLETE
            finished[key] = observables(path.parent)
        return finished[key]

    return make


def assert_same(found, expected, tolerance):
    assert set(found) == set(expected)
    for name, values in expected.items():
        # text with 8 decimals of a trajectory, 16 digits of a property
        limit = 2e-8 if "positions" in name or "velocities" in name else tolerance
        np.testing.assert_allclose(found[name], values, rtol=limit, atol=limit, err_msg=name)


# --- restarts -----------------------------------------------------------------------


@pytest.mark.slow
def test_clean_stop_and_kill_continue_to_twelve_digits(prepare, launch, reference):
    """SIGTERM, then SIGKILL, and the same command each time: as if nothing had happened."""
    options = {"steps": 600, "strides": replace(STRIDES, series=50)}
    expected = reference(**options)
    path = prepare(**options)
    folder = path.parent
    process = launch(path)
    wait_for(lambda: lines(folder / "simulation.energies") > 10)  # on disk with a checkpoint
    process.popen.send_signal(signal.SIGTERM)
    assert process.wait() == ExitStatus.STOPPED
    stopped = step_of(folder / "RESTART")
    assert 0 < stopped < 600
    done = re.search(r"stopped after step (\d+) of 600", process.text())
    assert done is not None
    assert stopped == int(done.group(1)) // 2 * 2  # the state is kept when spectra are written

    process = launch(path)
    wait_for(lambda: step_of(folder / "simulation.checkpoint") > stopped)
    process.popen.kill()
    process.wait()
    killed = step_of(folder / "simulation.checkpoint")
    # the outputs up to the checkpoint are on the disk, whatever was buffered
    assert read_run(folder).n_frames("dipole") >= killed // 2 + 1

    assert launch(path).wait() == ExitStatus.COMPLETE
    assert f"resuming from step {killed}" in process.text()
    assert_same(observables(folder), expected, 1e-12)
    for index in range(13):
        assert step_of(folder / f"simulation.start_{index}") == 50 * index
    assert launch(path).wait() == ExitStatus.COMPLETE
    assert "all 600 steps are done" in process.text()


@pytest.mark.slow
def test_a_longer_run_goes_on_and_another_input_is_refused(prepare, launch, reference):
    expected = reference(method="NVE", beads=1, steps=60)
    path = prepare(method="NVE", beads=1, steps=10)
    text = path.read_text()
    for steps in (10, 20, 30, 40, 60):
        path.write_text(text.replace("<total_steps> 10", f"<total_steps> {steps}"))
        assert launch(path).wait() == ExitStatus.COMPLETE
    found = observables(path.parent)
    assert set(found) == set(expected)
    for name, values in expected.items():  # bit for bit, kinetic energies above all
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    path.write_text(text.replace("> 300 </temperature>", "> 310 </temperature>"))
    process = launch(path)
    assert process.wait() == FAILURE
    assert "another input" in process.text()


LOAD = """
import sys
from pathlib import Path
import numpy as np
from eqcalc.ipi.engine import Engine

engine = Engine(Path(sys.argv[1]).read_text(), timeout=60.0, grace=5.0)
np.save(sys.argv[2], engine._simulation.syslist[0].beads.p)
engine.close()
"""


@pytest.mark.slow
def test_the_momenta_of_a_checkpoint_are_taken_as_they_are(prepare, launch, background, tmp_path):
    """Where i-PI would remove the motion of the centre of mass once more."""
    path = prepare(method="NVE", beads=1, steps=10)
    assert launch(path).wait() == ExitStatus.COMPLETE
    checkpoint = path.with_name("simulation.checkpoint")
    text = checkpoint.read_text().replace("<total_steps>10<", "<total_steps>20<")
    before, momenta, after = re.split(r"(?<=<p shape='\(1, 9\)'>)\s*\[(.*?)\]", text, flags=re.S)
    moving = np.array([float(word) for word in momenta.split(",")]) + 0.5
    checkpoint.write_text(f"{before} [ {', '.join(map(repr, moving.tolist()))} ]{after}")
    command = (sys.executable, "-c", LOAD, checkpoint, tmp_path / "momenta.npy")
    process = background(*command, log=tmp_path / "log", cwd=path.parent)
    assert process.wait() == 0, process.text()
    np.testing.assert_array_equal(np.load(tmp_path / "momenta.npy")[0], moving)


# --- failures -----------------------------------------------------------------------


FAILING = """
from eqcalc.ipi.eqcalc_driver import EqcalcDriver

__DRIVER_NAME__ = "failing"
__DRIVER_CLASS__ = "Failing"


class Failing(EqcalcDriver):
    count = 0

    def compute(self, cell, pos):
        self.count += 1
        if self.count > 25:
            raise FloatingPointError("the network has had enough")
        return super().compute(cell, pos)
"""


@pytest.mark.parametrize("variant", ["serial", "threaded", "systems"])
@pytest.mark.slow
def test_a_potential_that_raises_ends_the_run_with_a_checkpoint(prepare, launch, tmp_path, variant):
    """Stock i-PI hangs in the second and third case and writes no RESTART in the first."""
    path = prepare(strides=None)
    text = path.read_text()
    driver = tmp_path / "failing_driver.py"
    driver.write_text(FAILING)
    original = Description(text, path).root.findtext("ffdirect/pes_path").strip()
    broken = text.replace(original, str(driver), 1)
    if variant == "threaded":
        broken = broken.replace(
            "<ffdirect name='eqcalc'", "<ffdirect name='eqcalc' threaded='True'"
        )
    if variant == "systems":
        begin, end = broken.index("  <system>"), broken.index("</system>") + len("</system>")
        system = broken[begin:end]
        pair = [system.replace("<system>", f"<system prefix='{name}'>") for name in "ab"]
        broken = broken[:begin] + "\n".join(pair) + broken[end:]
        broken = broken.replace("threading='False'", "threading='True'")
        broken = broken.replace("<batch_size> 4", "<batch_size> 8")
    path.write_text(broken)
    process = launch(path)
    assert process.wait() == ExitStatus.FAILED
    assert "the network has had enough" in process.text()
    assert "stopped after step 24 of 40" in process.text()
    assert step_of(path.parent / "RESTART") == 24


@pytest.mark.slow
def test_a_step_that_takes_too_long_ends_the_run(prepare, launch, tmp_path):
    path = prepare()
    driver = tmp_path / "hanging_driver.py"
    hang = FAILING.replace('raise FloatingPointError("the network has had enough")', "sleep(1e6)")
    driver.write_text("from time import sleep\n" + hang)
    text = path.read_text()
    original = Description(text, path).root.findtext("ffdirect/pes_path").strip()
    path.write_text(text.replace(original, str(driver), 1))
    process = launch(path, timeout=10.0)
    assert process.wait() == ExitStatus.FAILED
    assert "no step was finished for 10 s" in process.text()
    assert step_of(path.parent / "RESTART") == 24


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_it_goes_on_with_space(prepare, launch, reference):
    """A limit on the size of files is to i-PI what a full disk is: a write that fails."""
    expected = reference(steps=400)
    path = prepare(steps=400)
    process = launch(path)
    resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (30_000, 30_000))
    assert process.wait() == ExitStatus.FAILED
    assert "File too large" in process.text()
    assert launch(path).wait() == ExitStatus.COMPLETE
    assert_same(observables(path.parent), expected, 1e-12)


@pytest.mark.slow
def test_no_client(prepare, launch):
    path = prepare(connection=UnixSocket())
    started = time.monotonic()
    process = launch(path, timeout=2.0)
    assert process.wait() == ExitStatus.NO_CLIENT
    assert "eqcalc ipi client MODEL --unix eqcalc-" in process.text()
    assert step_of(path.parent / "RESTART") == 0
    assert time.monotonic() - started < PATIENCE


@pytest.mark.slow
def test_a_client_that_never_answers(prepare, launch):
    """It holds i-PI's polling thread in a loop that nothing ends but the end of the process."""
    connection = UnixSocket()
    address = Address(unix=connection.address)
    path = prepare(connection=connection)
    process = launch(path, timeout=8.0)
    with address.connect_within(PATIENCE) as client:
        client.recv(12)
        client.sendall(header("READY"))
        client.recv(100_000)  # positions; and nothing more
        assert process.wait() == ExitStatus.FAILED
    assert "no step was finished for 8 s" in process.text()
    assert step_of(path.parent / "RESTART") == 0


@pytest.mark.slow
def test_a_client_that_is_killed_while_it_computes_costs_nothing(
    prepare, launch, eqcalc, model, reference, tmp_path
):
    """Stock i-PI hangs here: a connection that is reset ends its polling thread."""
    expected = reference(steps=400)
    address = UnixSocket(clients=1)
    path = prepare(steps=400, connection=address)
    process = launch(path)
    options = ("ipi", "client", model, "--unix", address.address, "--wait", PATIENCE)
    victim = eqcalc(*options, log=tmp_path / "victim.log")
    wait_for(lambda: lines(path.parent / "simulation.energies") > 10)
    victim.popen.kill()
    heir = eqcalc(*options, log=tmp_path / "heir.log")
    assert process.wait() == ExitStatus.COMPLETE
    assert heir.wait() == 0
    assert "structures in" in heir.text()
    assert_same(observables(path.parent), expected, 1e-10)


@pytest.mark.slow
def test_ipi_is_killed_and_started_again_with_its_stale_socket(
    prepare, launch, eqcalc, model, reference, tmp_path
):
    """The client waits for the successor; the file of the dead socket is in nobody's way."""
    expected = reference(steps=400)
    address = UnixSocket(clients=2)
    path = prepare(steps=400, connection=address)
    process = launch(path)
    options = ("ipi", "client", model, "--unix", address.address, "--wait", PATIENCE, "--reconnect")
    clients = [eqcalc(*options, log=tmp_path / f"client{i}.log") for i in range(2)]
    wait_for(lambda: lines(path.parent / "simulation.energies") > 10)
    process.popen.kill()
    process.wait()
    assert Path(f"/tmp/ipi_{address.address}").exists()
    assert launch(path).wait() == ExitStatus.COMPLETE
    assert [client.wait() for client in clients] == [0, 0]
    assert_same(observables(path.parent), expected, 1e-10)
    assert not Path(f"/tmp/ipi_{address.address}").exists()


def test_a_socket_on_which_somebody_listens_is_not_removed(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(InputError) as error:
            remove_stale(path)
        assert (error.value.key, error.value.value) == ("address", str(path))
    remove_stale(path)
    assert not path.exists()
    remove_stale(path)


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("ffdirect[eqcalc].batch_size", "<batch_size> 4", "<batch_size> 3"),
        ("force[response].weight", "weight='0'", "weight='1'"),
        ("ffdirect[eqcalc].pbc", "pbc='false'", "pbc='true'"),
        ("ffdirect[eqcalc].parameters.symbols", "symbols: OH2", "symbols: HOH"),
        ("no_such.eqc", "model.eqc", "no_such.eqc"),
    ],
)
def test_inputs_with_which_ipi_would_hang_or_mislead_are_refused(
    key, old, new, prepare, monkeypatch, capsys
):
    """Before i-PI is started, so that this process can play the command."""
    path = prepare()
    path.write_text(path.read_text().replace(old, new))
    monkeypatch.chdir(path.parent)
    assert main(["ipi", "run", str(path)]) == FAILURE
    assert key in capsys.readouterr().err
    assert not (path.parent / "simulation.run.json").exists()


def test_without_ipi_the_command_says_what_to_install(prepare, monkeypatch, capsys):
    path = prepare()
    monkeypatch.chdir(path.parent)
    monkeypatch.setitem(sys.modules, "ipi", None)
    for name in [
        name
        for name in sys.modules
        if name.startswith(("ipi.", "eqcalc.ipi.engine", "eqcalc.ipi.engine"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["ipi", "run", str(path)]) == FAILURE
    assert "pip install 'eqcalc[ipi]'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_python_call_says_why(prepare, monkeypatch):
    path = prepare()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run(path) == path.parent
    other = prepare("other")
    other.write_text(other.read_text().replace("<batch_size> 4", "<batch_size> 3"))
    with pytest.raises(RunError, match="batch_size") as error:
        run(other)
    assert (error.value.status, error.value.log) == (FAILURE, other.with_suffix(".log"))
    assert Path.cwd() != path.parent


@pytest.mark.slow
def test_spectra_of_the_folder_of_a_run(prepare, launch, eqcalc, tmp_path):
    path = prepare(steps=400, strides=Strides(spectra=4))
    assert launch(path).wait() == ExitStatus.COMPLETE
    output = tmp_path / "spectra"
    process = eqcalc("spectra", path.parent, "--output", output, log=tmp_path / "log")
    assert process.wait() == 0, process.text()
    assert (output / "spectra.png").is_file()
    assert "PILE-L, 4 beads" in process.text()
