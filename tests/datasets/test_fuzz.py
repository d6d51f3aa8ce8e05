# SPDX-License-Identifier: MIT
"""Damaged and hostile files are refused by a named error, never by an accident."""

import io
import lzma
import time
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eqcalc.datasets import Dataset, Record
from eqcalc.datasets.interpretation import Interpretation
from eqcalc.datasets.readers import Frame, FrameError
from eqcalc.datasets.readers.extxyz import ExtxyzReader
from eqcalc.datasets.readers.npz import NpzReader
from eqcalc.units import UnitError
from eqcalc.validation import InvalidFileError
from tests.errors import refused

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
GOOD = (
    '2\nProperties=species:S:1:pos:R:3:forces:R:3:Z:I:1 energy=-1.5 Lattice="9 0 0 0 9 0 0 0 9" '
    'pbc="T F F" dipole="1 2 3" polarizability="_JSON [[1,0,0],[0,1,0],[0,0,1]]"\n'
    "O 0.0 0.0 0.1 0.0 0.0 0.2 8\nH 0.0 0.8 -0.5 0.0 0.1 -0.2 1\n"
) * 2
MEANING = Interpretation(
    {name: name for name in ("energy", "forces", "dipole", "polarizability")},
    {
        "positions": "Å",
        "energy": "eV",
        "forces": "eV/Å",
        "dipole": "e*Å",
        "polarizability": "Å^3",
    },
)


@st.composite
def edited(draw, original):
    """Return `original` with a few pieces cut, doubled or replaced."""
    data = original
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 30)))
        piece = draw(
            st.sampled_from(
                [
                    b"",
                    b"\n",
                    b" ",
                    b"nan",
                    b"-1",
                    b"1e400",
                    b'"',
                    b"=",
                    b":",
                    b"\xff\x00",
                    b"T",
                    b"0",
                ]
            )
            | st.just(data[start:stop] * 2)
            | st.binary(max_size=8)
        )
        data = data[:start] + piece + data[stop:]
    return data


def read(reader):
    for frame in reader:
        assert isinstance(frame, (Frame, FrameError))
        if isinstance(frame, Frame):
            MEANING.look(frame.values, frame.units)
            try:
                record = MEANING.record(frame)
            except FrameError:
                continue
            assert isinstance(record, Record) and record.positions.shape == (len(record.numbers), 3)


@FUZZ
@given(data=edited(GOOD.encode()) | st.binary(max_size=200))
def test_extended_xyz(tmp_path, data):
    path = tmp_path / "a.xyz"
    path.write_bytes(data)
    read(ExtxyzReader(path))


def test_the_unedited_text_is_fine(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(GOOD)
    frames = list(ExtxyzReader(path))
    assert len(frames) == 2
    assert MEANING.record(frames[1]).labels["polarizability"].trace() > 0.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    np.savez(path, z=np.array([8, 1]), R=np.ones((3, 2, 3)), E=np.ones(3), F=np.ones((3, 2, 3)))
    return path.read_bytes()


@FUZZ
@given(data=st.data())
def test_numpy_archive(tmp_path, archive, data):
    path = tmp_path / "a.npz"
    path.write_bytes(data.draw(edited(archive)))
    try:
        reader = NpzReader(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        read(reader)


@FUZZ
@given(
    arrays=st.dictionaries(
        st.sampled_from(["z", "R", "E", "F", "N", "nuclear_charges", "D"]),
        st.sampled_from(
            [
                np.array(3.0),
                np.array([8, 1]),
                np.array([[8, 1], [1, 0]]),
                np.array([-1, 300]),
                np.ones((2, 2, 3)),
                np.ones((2, 2, 3), dtype=complex),
                np.ones((2, 2)),
                np.empty((0, 2, 3)),
                np.array(["a", "b"]),
                np.array([True, False]),
            ]
        ),
    )
)
def test_archives_of_odd_arrays(tmp_path, arrays):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    try:
        reader = NpzReader(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        read(reader)


def test_archive_that_would_run_code(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, z=np.array([print], dtype=object), R=np.ones((1, 1, 3)))
    with pytest.raises(InvalidFileError) as caught:
        NpzReader(path)
    assert (caught.value.file, caught.value.key) == (path, "z")


@pytest.mark.parametrize("compressed", [False, True])
def test_native_store(tmp_path, mixed, compressed):
    """Bytes anywhere in the file are overwritten; reading gives numbers or a named error."""
    good = tmp_path / "good.h5"
    Dataset.create(good, mixed, level_of_theory="x", compressed=compressed)
    data = np.frombuffer(good.read_bytes(), dtype=np.uint8)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        changed = data.copy()
        start = rng.integers(len(data))
        changed[start : start + rng.integers(1, 9)] = rng.integers(256)
        path = tmp_path / "a.h5"
        path.write_bytes(changed.tobytes())
        try:
            dataset = Dataset.open(path)
            dataset.labels(range(len(dataset)))
            dataset.structures(range(len(dataset)))
        except (InvalidFileError, UnitError):
            refused += 1
    assert 5 < refused < 150


def archive_of(path, shape, stored=80, compression=zipfile.ZIP_STORED):
    """Write an archive whose header declares a shape that is not there."""
    header = io.BytesIO()
    description = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    with zipfile.ZipFile(path, "w", compression) as made:
        made.writestr("R.npy", header.getvalue() + b"\0" * stored)


@pytest.mark.parametrize("shape", [(3 * 10**13,), (2, 2, 3), (10**6, 10**6, 3), (-1,), (0, 2, 3)])
def test_archives_that_declare_other_shapes(tmp_path, shape):
    path = tmp_path / "a.npz"
    archive_of(path, shape)
    with refused(InvalidFileError, file=path, key="R"):
        NpzReader(path)


def test_long_comments_are_read_in_linear_time(tmp_path):
    path, times = tmp_path / "a.xyz", []
    for comment in ("x" * 200_000, "x " * 100_000, "k={ " * 50_000, "=" * 200_000, 'k="' * 66_000):
        path.write_text(f"1\n{comment}\nH 0 0 0\n")
        start = time.process_time()
        list(ExtxyzReader(path))
        times.append(time.process_time() - start)
    assert max(times) < 3.0


@pytest.mark.parametrize("count", ["9" * 5000, "100000000003", "²", "٣"])
def test_counts_that_are_none(tmp_path, count):
    path = tmp_path / "a.xyz"
    path.write_text(f"1\nProperties=species:S:1:pos:R:{count}\nH 0 0 0\n")
    (found,) = ExtxyzReader(path)
    assert isinstance(found, FrameError) and len(str(found)) < 200
    path.write_text(f"{count}\n\nH 0 0 0\n")
    (found,) = ExtxyzReader(path)
    assert isinstance(found, FrameError)


def test_a_line_that_is_long_only_when_decompressed(tmp_path):
    path = tmp_path / "a.xyz.xz"
    path.write_bytes(lzma.compress(b"1\n" + b"x" * 50_000_000))
    (found,) = ExtxyzReader(path)
    assert isinstance(found, FrameError)


def test_an_array_that_is_there_twice(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.writestr("R.npy", b"1")
        made.writestr("R.npy", b"2")
    with refused(InvalidFileError, file=path, key="R.npy"):
        NpzReader(path)
