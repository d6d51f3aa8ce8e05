# SPDX-License-Identifier: MIT
"""Folders of results: made, tried out, and locked."""

import os
from pathlib import Path

import pytest

from eqcalc.files import exclusive, make_folder, require_writable

#: Where even root makes no files.
READ_ONLY = Path("/proc")


def test_a_folder_is_made_with_those_above_it(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert not list((tmp_path / "a" / "b").iterdir())


@pytest.mark.skipif(not READ_ONLY.is_dir(), reason="needs a folder that nobody can write to")
def test_what_cannot_be_written_is_named_with_the_reason():
    with pytest.raises(OSError, match=r"^/proc/eqcalc: the folder cannot be made: \w"):
        make_folder(READ_ONLY / "eqcalc")
    with pytest.raises(OSError, match=r"^/proc: nothing can be written into this folder: \w"):
        require_writable(READ_ONLY)


def test_a_missing_folder_and_a_file_in_its_place(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*gone"):
        require_writable(tmp_path / "gone")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="file is a file, and the results need a folder"):
        make_folder(tmp_path / "file")


def test_a_lock_is_held_once_and_leaves_nothing(tmp_path):
    lock = tmp_path / ".lock"
    with exclusive(lock):
        with pytest.raises(BlockingIOError), exclusive(lock):
            pass
        assert lock.exists()
    assert not lock.exists()
    lock.write_text("")  # left by a process that was killed
    with exclusive(lock):
        assert os.listdir(tmp_path) == [".lock"]  # noqa: PTH208
