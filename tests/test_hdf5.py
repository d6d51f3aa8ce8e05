# SPDX-License-Identifier: MIT
"""HDF5 files: changed bytes are noticed, files of others are bounded."""

import errno
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from eqcalc import hdf5
from eqcalc.datasets import Dataset, Record
from eqcalc.spectra import Spectrum, read_spectrum, write_spectrum
from eqcalc.trajectory import Header, Layout, Trajectory, TrajectoryWriter
from eqcalc.validation import InvalidFileError
from tests.errors import refused


def dataset(path, compressed=False):
    rng = np.random.default_rng(0)
    records = [
        Record(np.array([8, 1, 1]), rng.normal(size=(3, 3)), {"dipole": rng.normal(size=3)})
        for _ in range(1200)  # more than 64 KiB of positions
    ]
    made = Dataset.create(path, records, level_of_theory="x", compressed=compressed)
    made.rewrite(splits={"random": {"training": np.arange(9)}})


def trajectory(path):
    numbers, masses = np.array([8, 1, 1]), np.array([16.0, 1.0, 1.0])
    header = Header("NVE", 300.0, 0.5, 300, 2, 1, numbers, masses, {"seed": 1})
    layouts = {"dipole": Layout((3,), "e*Å", 1), "temperature": Layout((), "K", 3)}
    writer = TrajectoryWriter.create(path, header, layouts)
    rng = np.random.default_rng(1)
    writer.write("dipole", rng.normal(size=(2, 250, 3)))
    writer.write("temperature", np.zeros((2, 80)))
    writer.close()


def spectrum(path):
    x = np.linspace(0.0, 4000.0, 400)
    write_spectrum(Spectrum(x, np.exp(-x / 900), unit="km/mol cm", label="IR"), path)


def contents(kind, path):
    """Return everything that a reader gives."""
    if kind is trajectory:
        found = Trajectory.open(path)
        series = {name: found.observable(name) for name in found.observables()}
        values = [(n, s.unit, s.interval, s.values.tobytes()) for n, s in series.items()]
        h = found.header
        return [values, h.numbers.tobytes(), h.masses.tobytes(), h.settings, repr(found)]
    if kind is spectrum:
        found = read_spectrum(path)
        return [found.wavenumber.tobytes(), found.values.tobytes(), found.unit, found.provenance]
    found = Dataset.open(path)
    labels, present = found.labels(range(len(found)))
    batch = found.structures(range(len(found)))
    tensors = [*labels.values(), *present.values(), batch.positions, batch.numbers, batch.charge]
    rows = {key: part.tobytes() for key, part in found.splits["random"].items()}
    return [repr(found), found.provenance, rows, *(t.numpy().tobytes() for t in tensors)]


def compressed_dataset(path):
    dataset(path, compressed=True)


@pytest.mark.parametrize("kind", [dataset, compressed_dataset, trajectory, spectrum])
def test_every_changed_byte_is_noticed(tmp_path, kind):
    """At 150 seeded places, single bits, bytes and runs of up to nine bytes."""
    good, path = tmp_path / "good.h5", tmp_path / "good" / "good.h5"
    kind(good)
    path.parent.mkdir()
    path.write_bytes(good.read_bytes())
    expected = [str(part).replace(str(good), str(path)) for part in contents(kind, good)]
    assert [str(part) for part in contents(kind, path)] == expected
    data, rng, noticed = np.frombuffer(good.read_bytes(), np.uint8), np.random.default_rng(5), 0
    for trial in range(150):
        changed, start = data.copy(), rng.integers(len(data))
        if trial % 3 == 0:
            changed[start] ^= 1 << rng.integers(8)
        else:
            changed[start : start + rng.integers(1, 10)] = rng.choice([0, 255, rng.integers(256)])
        path.write_bytes(changed.tobytes())
        try:
            found = [str(part) for part in contents(kind, path)]
        except InvalidFileError as error:
            assert error.file == path
            noticed += 1
        else:
            assert found == expected
    # unwritten frames of a trajectory, and bytes that were the same before, do not matter
    assert noticed > 90


def test_a_file_that_is_cut_or_continued_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    trajectory(path)
    data = path.read_bytes()
    for other in (data[:-1], data + b"\0", data[:4000], data[8192:], b"\0" * 512 + data[512:]):
        path.write_bytes(other)
        with pytest.raises(InvalidFileError) as caught:
            Trajectory.open(path)
        assert caught.value.file == path


def test_a_deliberate_change_is_sealed_again(tmp_path):
    path = tmp_path / "a.h5"
    spectrum(path)
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "mine"
    with refused(InvalidFileError, file=path, key="seal"):
        read_spectrum(path)
    hdf5.seal(path)
    read_spectrum(path)


def reading(path):
    with hdf5.reading(path, "a test") as file:
        return file["x"].shape


@pytest.mark.parametrize("kind", ["external", "soft", "storage", "virtual", "chunks", "late"])
def test_data_that_the_file_does_not_hold(tmp_path, kind):
    """Also 45 GB in a few kB, without reading any of it."""
    path, other = tmp_path / "a.h5", tmp_path / "b.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.arange(9.0)
    with h5py.File(path, "w") as file:
        if kind == "external":
            file["x"] = h5py.ExternalLink(str(other), "/x")
        elif kind == "soft":
            file["x"] = h5py.SoftLink("/nowhere")
        elif kind == "storage":
            place = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset("x", (9,), "f8", external=place)
        elif kind == "virtual":
            layout = h5py.VirtualLayout((9,), "f8")
            layout[:] = h5py.VirtualSource(str(other), "x", shape=(9,))
            file.create_virtual_dataset("x", layout)
        elif kind == "chunks":
            file.create_dataset("x", (5_600_000_000,), "f8", chunks=(10**6,), compression="gzip")
        else:
            file.create_dataset("x", (5_600_000_000,), "f8")
    with refused(InvalidFileError, file=path, key="/x"):
        reading(path)


def test_files_of_others_are_read(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros(10**6), compression="gzip", shuffle=True)
        file["group/empty"] = np.zeros(0)
    assert reading(path) == (10**6,)


@pytest.mark.parametrize("death", ["import os; os.abort()", "import time; time.sleep(60)"])
def test_a_crash_or_hang_of_the_library_is_not_ours(tmp_path, monkeypatch, death):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 1.0
    monkeypatch.setattr(hdf5, "_ELSEWHERE", death)
    monkeypatch.setattr(hdf5, "_PATIENCE", 2.0)
    start = time.monotonic()
    with refused(InvalidFileError, file=path):
        reading(path)
    assert time.monotonic() - start < 30.0


def test_a_sealed_file_needs_no_other_process(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    trajectory(path)
    monkeypatch.setattr(subprocess, "run", None)
    Trajectory.open(path)


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from eqcalc.datasets import Dataset, Record
from eqcalc.spectra import Spectrum, write_spectrum
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
folder = Path(sys.argv[1])
x = np.random.default_rng(0).normal(size=60_000)
spectrum = Spectrum(np.arange(60_000) / 10, x**2, unit="km/mol cm", label="IR")
records = [Record(np.array([8]), x[:3].reshape(1, 3), {"energy": 1.0})] * 9000
for name, write in {
    "a.h5": lambda path: Dataset.create(path, records, level_of_theory="x"),
    "b.h5": lambda path: write_spectrum(spectrum, path),
}.items():
    try:
        write(folder / name)
    except OSError as error:
        print(error.errno, error.filename)
"""


@pytest.mark.slow
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path):
    """Files cannot be larger than 200 kB in this process."""
    found = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    expected = [f"{errno.EFBIG} {tmp_path / name}" for name in ("a.h5", "b.h5")]
    assert found.stdout.splitlines() == expected
    assert list(tmp_path.iterdir()) == []
