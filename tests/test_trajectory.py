# SPDX-License-Identifier: MIT
"""The trajectory file: self-describing, readable while it grows, never overwritten."""

import errno
import os
import subprocess
import sys
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from eqcalc import hdf5, units
from eqcalc.facts import joined_levels
from eqcalc.trajectory import (
    Header,
    Layout,
    Trajectory,
    TrajectoryWriter,
)
from eqcalc.validation import InvalidFileError
from tests.errors import refused

LAYOUTS = {
    "dipole": Layout((3,), "e*Å", 2),
    "potential_energy": Layout((), "eV", 5),
    "polarizability": Layout((3, 3), "e^2*Å^2/eV", 4),
}


def header(**changes):
    values = {
        "method": "T-RPMD",
        "temperature": 300.0,
        "timestep": 0.25,
        "steps": 20,
        "n_replicas": 3,
        "n_beads": 16,
        "numbers": np.array([8, 1, 1]),
        "masses": np.array([15.999, 1.008, 2.014]),
        "settings": {"seed": 7, "method": {"name": "T-RPMD", "damping": 0.5}},
        "provenance": {"model": "water", "hash": "abc"},
    }
    return Header(**{**values, **changes})


def frame(name, step):
    shape = (3, *LAYOUTS[name].shape)
    return np.random.default_rng([step, len(name)]).standard_normal(shape)


def write(writer, first, last):
    for name, layout in LAYOUTS.items():
        frames = [frame(name, step) for step in range(first, last) if step % layout.stride == 0]
        writer.write(name, np.stack(frames, axis=1))


def expected(name, last):
    steps = range(0, last, LAYOUTS[name].stride)
    return np.stack([frame(name, step) for step in steps], axis=1)


@contextmanager
def edited(path):
    """Change a file with its seal."""
    with h5py.File(path, "r+") as file:
        yield file
    hdf5.seal(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.h5"


def test_round_trip_with_own_strides_and_units(path):
    writer = TrajectoryWriter.create(path, header(), LAYOUTS)
    write(writer, 0, 21)
    writer.close()
    trajectory = Trajectory.open(path)
    assert set(trajectory.observables()) == set(LAYOUTS)
    for name, layout in LAYOUTS.items():
        series = trajectory.observable(name)
        np.testing.assert_array_equal(series.values, expected(name, 21))
        assert series.values.dtype == np.float64
        assert (series.interval, series.start) == (layout.stride * 0.25, 0.0)
        assert series.times[-1] == pytest.approx((series.values.shape[1] - 1) * series.interval)
        units.parse_unit(series.unit)
    assert trajectory.complete
    assert trajectory.steps_written == trajectory.header.steps
    assert (trajectory.method, trajectory.temperature, trajectory.timestep) == ("T-RPMD", 300, 0.25)
    assert (trajectory.n_replicas, trajectory.n_beads, trajectory.n_atoms) == (3, 16, 3)
    assert trajectory.numbers.tolist() == [8, 1, 1]
    assert trajectory.masses.tolist() == [15.999, 1.008, 2.014]
    assert trajectory.settings["method"] == {"name": "T-RPMD", "damping": 0.5}
    assert trajectory.provenance == {"model": "water", "hash": "abc"}
    assert "T-RPMD" in repr(trajectory)


def test_some_replicas_only(path):
    writer = TrajectoryWriter.create(path, header(), LAYOUTS)
    write(writer, 0, 21)
    values = Trajectory.open(path).observable("dipole", slice(1, 3)).values
    np.testing.assert_array_equal(values, expected("dipole", 21)[1:3])
    writer.close()


def test_every_array_carries_its_unit(path):
    TrajectoryWriter.create(path, header(), LAYOUTS).close()
    with h5py.File(path) as file:
        for dataset in file["observables"].values():
            assert units.parse_unit(dataset.attrs["unit"])
            assert dataset.attrs["interval"] == 0.25 * dataset.attrs["stride"]
        assert file["masses"].attrs["unit"] == "amu"


def test_another_process_reads_while_it_is_written(path):
    """Without locks, and without ever seeing a frame that is not there."""
    writer = TrajectoryWriter.create(path, header(), LAYOUTS)
    reader = Trajectory.open(path)
    assert reader.observable("dipole").values.shape == (3, 0, 3)
    write(writer, 0, 11)
    program = (
        "import sys; from eqcalc.trajectory import Trajectory; "
        "print(Trajectory.open(sys.argv[1]).observable('dipole').values.sum().hex())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert float.fromhex(found.stdout.strip()) == expected("dipole", 11).sum()
    assert not reader.complete
    stride = max(layout.stride for layout in LAYOUTS.values())
    done, steps = reader.steps_written, reader.header.steps
    assert 0 < done < steps
    assert all(reader.n_frames(k) * v.stride - 1 >= done for k, v in LAYOUTS.items())
    assert min(reader.n_frames(k) * v.stride for k, v in LAYOUTS.items()) <= done + stride
    assert f"unfinished, {done} of {steps} steps" in repr(reader)
    write(writer, 11, 21)
    np.testing.assert_array_equal(reader.observable("dipole").values, expected("dipole", 21))
    writer.close()


def test_continuing_forgets_later_frames(path):
    writer = TrajectoryWriter.create(path, header(), LAYOUTS)
    write(writer, 0, 21)
    counts = {name: len(range(0, 9, layout.stride)) for name, layout in LAYOUTS.items()}
    writer.close()
    again = TrajectoryWriter(path, counts)
    assert Trajectory.open(path).n_frames("dipole") == counts["dipole"]
    write(again, 9, 21)
    again.close()
    for name in LAYOUTS:
        values = Trajectory.open(path).observable(name).values
        np.testing.assert_array_equal(values, expected(name, 21))


def test_extending_keeps_the_frames(path):
    writer = TrajectoryWriter.create(path, header(), LAYOUTS)
    write(writer, 0, 21)
    writer.close()
    longer = TrajectoryWriter.extend(path, header(steps=40), LAYOUTS, writer.frames)
    write(longer, 21, 41)
    longer.close()
    trajectory = Trajectory.open(path)
    assert trajectory.complete
    for name in LAYOUTS:
        np.testing.assert_array_equal(trajectory.observable(name).values, expected(name, 41))
    assert list(path.parent.iterdir()) == [path]


def test_unwritten_frames_take_no_space(path):
    TrajectoryWriter.create(path, header(steps=1_000_000), LAYOUTS).close()
    status = path.stat()
    assert status.st_size > 40_000_000
    assert status.st_blocks * 512 < 100_000


def test_large_provenance_fits(path):
    record = {"log": ["a long training record"] * 20_000}
    TrajectoryWriter.create(path, header(provenance=record), LAYOUTS).close()
    assert Trajectory.open(path).provenance == record


def test_existing_file_is_never_overwritten(path):
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        TrajectoryWriter.create(path, header(), LAYOUTS)
    assert path.read_bytes() == b"precious"


def test_wrong_shape_is_refused(path):
    writer = TrajectoryWriter.create(path, header(), LAYOUTS)
    with refused(key="dipole", value=[3, 2, 1]):
        writer.write("dipole", np.zeros((3, 2, 1)))
    with refused(key="dipole", value=12):
        writer.write("dipole", np.zeros((3, 12, 3)))
    writer.close()


def test_full_disk_leaves_the_earlier_part_readable(path, monkeypatch):
    writer = TrajectoryWriter.create(path, header(), LAYOUTS)
    write(writer, 0, 11)
    honest, budget = os.pwrite, [40]

    def full(descriptor, data, place):
        if budget[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = bytes(data)[: budget[0]]
        budget[0] -= len(part)
        return honest(descriptor, part, place)

    monkeypatch.setattr(os, "pwrite", full)
    with refused(InvalidFileError, file=path) as caught:
        write(writer, 11, 21)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    writer.close()
    values = Trajectory.open(path).observable("dipole").values
    np.testing.assert_array_equal(values, expected("dipole", 11))


def test_too_small_a_disk_is_refused_at_once(path):
    with refused(InvalidFileError, file=path):
        TrajectoryWriter.create(path, header(steps=10**13), LAYOUTS)
    assert list(path.parent.iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for path in (tmp_path / "missing" / "run.h5", blocked / "run.h5"):
        with pytest.raises(InvalidFileError) as caught:
            TrajectoryWriter.create(path, header(), LAYOUTS)
        assert caught.value.file == path


def test_foreign_files_are_named(tmp_path):
    for path in (tmp_path / "none.h5", tmp_path):
        with pytest.raises(InvalidFileError) as caught:
            Trajectory.open(path)
        assert caught.value.file == path
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    with pytest.raises(InvalidFileError) as caught:
        Trajectory.open(text)
    assert caught.value.file == text
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = 1.0
    with pytest.raises(InvalidFileError) as caught:
        Trajectory.open(other)
    assert caught.value.key == "format"
    newer = tmp_path / "newer.h5"
    TrajectoryWriter.create(newer, header(), LAYOUTS).close()
    with edited(newer) as file:
        file.attrs["version"] = 99
    with pytest.raises(InvalidFileError) as caught:
        Trajectory.open(newer)
    assert (caught.value.key, caught.value.value) == ("version", 99)


@pytest.mark.parametrize(
    ("damage", "key"),
    [
        (lambda f: f.attrs.pop("timestep"), "timestep"),
        (lambda f: f.pop("masses"), "/masses"),
        (lambda f: f["observables/dipole"].attrs.pop("stride"), "stride"),
        (lambda f: f.attrs.modify("settings", '{"seed"'), "settings"),
        (lambda f: f.attrs.modify("settings", "[1]"), "settings"),
        (lambda f: f.attrs.modify("timestep unit", "ps"), "/ timestep unit"),
        (lambda f: f.attrs.modify("temperature unit", "eV"), "/ temperature unit"),
        (lambda f: f.attrs.modify("timestep", np.nan), "timestep"),
        (lambda f: f.attrs.modify("temperature", -300.0), "temperature"),
        (lambda f: f.attrs.modify("n_beads", 0), "n_beads"),
        (lambda f: f.attrs.create("n_beads", 1.5), "n_beads"),
        (lambda f: f.attrs.modify("n_replicas", 4), "observables/dipole"),
        (lambda f: f.attrs.modify("steps", 2**40), "observables/dipole"),
        (lambda f: f["masses"].attrs.modify("unit", "kg"), "/masses unit"),
        (lambda f: f["masses"].write_direct(np.array([16.0, -1.0, 1.0])), "masses[1]"),
        (lambda f: f["numbers"].write_direct(np.array([8, 0, 1])), "numbers[1]"),
        (lambda f: f["observables/dipole"].attrs.modify("unit", "Å"), "observables/dipole.unit"),
        (
            lambda f: f["observables/dipole"].attrs.modify("time unit", "ps"),
            "/observables/dipole time unit",
        ),
        (
            lambda f: f["observables/dipole"].attrs.modify("interval", 1e-3),
            "observables/dipole.interval",
        ),
        (lambda f: f["observables/dipole"].attrs.modify("stride", -2), "stride"),
        (lambda f: f["frames/dipole"].write_direct(np.array([11], np.uint64)), "frames/dipole"),
    ],
)
def test_what_is_missing_in_a_file_is_named(path, damage, key):
    TrajectoryWriter.create(path, header(), LAYOUTS).close()
    with edited(path) as file:
        damage(file)
    with pytest.raises(InvalidFileError) as caught:
        Trajectory.open(path)
    assert (caught.value.file, caught.value.key) == (path, key)


def test_a_notebook_shows_what_it_is(path):
    levels = {"dipole": "CCSD", "energy": "PBE0", "forces": "PBE0"}
    TrajectoryWriter.create(path, header(provenance={"level_of_theory": levels}), LAYOUTS).close()
    trajectory = Trajectory.open(path)
    text = trajectory._repr_html_()
    assert joined_levels(levels) in text
    assert trajectory.method in text
    assert all(name in text for name in trajectory.observables())
    assert f"{trajectory.n_replicas} × {trajectory.n_beads}" in text


def test_unknown_observable(path):
    TrajectoryWriter.create(path, header(), LAYOUTS).close()
    with refused(file=path, key="observable", value="forces"):
        Trajectory.open(path).observable("forces")


def test_values_are_read_in_internal_units(path):
    TrajectoryWriter.create(path, header(), {"positions": Layout((3, 3), "bohr", 1)}).close()
    writer = TrajectoryWriter(path)
    writer.write("positions", np.ones((3, 2, 3, 3)))
    writer.close()
    series = Trajectory.open(path).observable("positions")
    assert series.unit == "Å"
    np.testing.assert_allclose(series.values, units.conversion_factor("bohr", "Å"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 0.0), ("temperature", np.inf), ("timestep", -0.5), ("n_beads", 0)],
)
def test_impossible_headers_are_not_written(path, name, value):
    with refused(key=name, value=value):
        header(**{name: value})


def test_the_wall_time_of_a_run_is_in_its_file_also_when_it_is_extended(tmp_path):
    path = tmp_path / "run.h5"
    writer = TrajectoryWriter.create(path, header(), LAYOUTS)
    assert Trajectory.open(path).wall_time is None  # nothing false is said of other writers' files
    write(writer, 0, 9)
    writer.write_wall_time(12.5)
    assert Trajectory.open(path).wall_time == 12.5
    writer.close()
    TrajectoryWriter.extend(path, header(steps=40), LAYOUTS, writer.frames).close()
    assert Trajectory.open(path).wall_time == 12.5
    with edited(path) as file:  # as in files of earlier versions
        del file["frames/wall_time_ms"]
    assert Trajectory.open(path).wall_time is None
    writer = TrajectoryWriter(path)
    writer.write_wall_time(3.0)
    writer.close()
    assert Trajectory.open(path).wall_time is None
