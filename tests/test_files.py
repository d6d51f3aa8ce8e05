# SPDX-License-Identifier: MIT
"""Files that are there completely or not at all, locks, and folders of results."""

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eqcalc import files
from eqcalc.files import (
    appending,
    exclusive,
    make_folder,
    naming,
    remove_leftovers,
    replacing,
    require_writable,
    size_text,
    temporary_path,
    write_atomically,
)

#: Where even root makes no files.
READ_ONLY = Path("/proc")

KILLED = """
import os, signal, sys
from pathlib import Path
from eqcalc.files import exclusive, replacing
path = Path(sys.argv[1])
with exclusive(path.with_suffix(".lock")), replacing(path) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "spectrum.h5"
    path.write_bytes(b"old")
    return path


# --- atomic writing -------------------------------------------------------------------


def test_content_is_replaced(target):
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    write_atomically(target, "Å")
    assert target.read_text(encoding="utf-8") == "Å"
    assert list(target.parent.iterdir()) == [target]


def test_records_tell_names_with_bytes_that_are_no_text(target):
    files.write_record(target, {"file": "b\udcff.xyz", "unit": "Å"})
    assert json.loads(target.read_text(encoding="utf-8")) == {"file": "b\udcff.xyz", "unit": "Å"}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_the_old_content_stays_when_the_disk_fails(target, monkeypatch, call):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
        with pytest.raises(OSError, match="No space") as found:
            write_atomically(target, b"new")
    assert found.value.errno == errno.ENOSPC
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_the_old_content_stays_when_the_writer_fails(target):
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_errors_of_a_full_disk_name_the_file_and_not_the_temporary_one(target):
    full = errno.ENOSPC, os.strerror(errno.ENOSPC)
    with pytest.raises(OSError, match="No space") as caught, replacing(target):
        raise OSError(*full)  # as libraries do that write into a stream
    assert caught.value.filename == str(target)
    with pytest.raises(OSError, match="No space") as caught, naming(target):
        raise OSError(*full, str(temporary_path(target)))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))
    with pytest.raises(FileNotFoundError) as caught, naming(target):
        raise FileNotFoundError(errno.ENOENT, "no", "another")
    assert caught.value.filename == "another"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (614400, "614 kB"), (3e15, "3e+03 TB")]
)
def test_sizes_are_told_in_units_of_their_own(size, text):
    assert size_text(size) == text


def test_everything_is_on_the_disk_before_and_after_the_renaming(target, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor):
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    def renamed(self, other):
        calls.append("rename")
        return replace(self, other)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    with replacing(target) as temporary:
        temporary.write_bytes(b"new")
    assert calls == [temporary, "rename", target.parent]


def test_a_killed_process_leaves_the_old_content_and_is_cleaned_up_after(target):
    done = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert done.returncode < 0
    assert target.read_bytes() == b"old"
    assert len(list(target.parent.iterdir())) == 3  # with its lock and the half of a file
    with exclusive(target.with_suffix(".lock")):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_only_leftovers_of_this_file_are_removed(target):
    alive = temporary_path(target)  # of this process
    dead = alive.with_name(alive.name.replace(f"-{os.getpid()}-", "-4194305-"))  # above any
    others = [
        alive,
        dead.with_name(dead.name.replace("spectrum.h5", "spectrum.h5x")),
        dead.with_name(".spectrum.h5.partial-000000-4194305-0.h5"),  # of another machine
        dead.with_name("spectrum.h5.partial"),
    ]
    for path in (dead, *others):
        path.write_text("")
    remove_leftovers(target)
    assert sorted(target.parent.iterdir()) == sorted([target, *others])


def test_temporary_names_are_unique_hidden_and_end_alike(target):
    names = {temporary_path(target).name for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(".spectrum.h5.") and name.endswith(".h5") for name in names)


def test_files_have_the_permissions_of_new_files(target):
    before = os.umask(0o027)
    try:
        write_atomically(target, b"new")
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o640


def test_links_are_not_followed(tmp_path, monkeypatch):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    planted = tmp_path / "planted"
    planted.symlink_to(precious)
    with monkeypatch.context() as patch:
        patch.setattr(files, "temporary_path", lambda path: planted)
        with pytest.raises(FileExistsError) as found:
            write_atomically(tmp_path / "result", b"new")
    assert found.value.filename == str(tmp_path / "result")
    with pytest.raises(OSError), exclusive(planted):
        pass
    # a link in the place of the result is replaced, not what it points to
    write_atomically(planted, b"new")
    assert planted.read_bytes() == b"new"
    assert precious.read_text() == "mine"


def test_a_missing_folder_is_named_without_temporary_names(tmp_path):
    with pytest.raises(FileNotFoundError) as found:
        write_atomically(tmp_path / "gone" / "result", b"new")
    assert found.value.filename == str(tmp_path / "gone" / "result")


def test_many_writers_of_one_file(target):
    contents = [bytes([65 + i]) * 100_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: write_atomically(target, data), contents * 4))
    assert target.read_bytes() in contents
    assert list(target.parent.iterdir()) == [target]


# --- locks ----------------------------------------------------------------------------


def test_a_lock_is_held_once_and_leaves_nothing(tmp_path):
    lock = tmp_path / ".lock"
    with exclusive(lock):
        with pytest.raises(BlockingIOError, match=str(lock)) as found, exclusive(lock):
            pass
        assert found.value.errno == errno.EAGAIN
        assert lock.exists()
    assert not lock.exists()
    lock.write_text("")  # left by a process that was killed
    with exclusive(lock):
        assert os.listdir(tmp_path) == [".lock"]  # noqa: PTH208


def test_a_lock_is_released_by_an_error(tmp_path):
    lock = tmp_path / ".lock"
    with pytest.raises(ZeroDivisionError), exclusive(lock):
        raise ZeroDivisionError
    with exclusive(lock):
        pass
    assert not lock.exists()


def test_a_lock_that_its_owner_removes_while_another_takes_it(tmp_path, monkeypatch):
    """The next owner locks the file that has the name, not the one that had it."""
    lock = tmp_path / ".lock"
    flock, first = files.fcntl.flock, iter([True])

    def removed(descriptor, operation):
        flock(descriptor, operation)
        if next(first, False):
            lock.unlink()

    monkeypatch.setattr(files.fcntl, "flock", removed)
    with exclusive(lock):
        assert lock.exists()
        with pytest.raises(BlockingIOError), exclusive(lock):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_one_is_warned_and_goes_on(tmp_path, monkeypatch, number):
    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.fcntl, "flock", flock)
    with pytest.warns(files.LockWarning, match=str(tmp_path)), exclusive(tmp_path / ".lock"):
        assert (tmp_path / ".lock").exists()
    assert not list(tmp_path.iterdir())


def test_pipes_folders_and_devices_are_not_replaced_or_opened(tmp_path):
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (pipe, folder):
        with pytest.raises(OSError, match=str(path)):
            write_atomically(path, b"new")
    for call in (appending, lambda path: exclusive(path).__enter__()):
        with pytest.raises(OSError):
            call(pipe)
    assert sorted(tmp_path.iterdir()) == [folder, pipe]


def test_lines_are_not_appended_through_links(tmp_path):
    with appending(tmp_path / "log") as stream:
        stream.write("Å\n")
    with appending(tmp_path / "log") as stream:
        stream.write("b\n")
    assert (tmp_path / "log").read_bytes() == "Å\nb\n".encode()
    (tmp_path / "link").symlink_to(tmp_path / "log")
    with pytest.raises(OSError):
        appending(tmp_path / "link")


def test_a_temporary_file_of_a_temporary_file_is_one_of_the_target(target):
    first = temporary_path(target)
    second = temporary_path(first)
    assert second.name.startswith(".spectrum.h5.partial") and second.suffix == ".h5"
    assert second != first
    second.write_text("half")
    second.rename(second.with_name(second.name.replace(f"-{os.getpid()}-", "-4194305-")))
    remove_leftovers(target)
    assert list(target.parent.iterdir()) == [target]


# --- folders --------------------------------------------------------------------------


def test_a_folder_is_made_with_those_above_it(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert not list((tmp_path / "a" / "b").iterdir())
    make_folder(tmp_path / "cache", private=True)
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not READ_ONLY.is_dir(), reason="needs a folder that nobody can write to")
def test_what_cannot_be_written_is_named_with_the_reason():
    for call, folder in ((make_folder, READ_ONLY / "eqcalc"), (require_writable, READ_ONLY)):
        with pytest.raises(OSError, match=f"^{folder}: ") as found:
            call(folder)
        assert os.strerror(found.value.errno) in str(found.value)


def test_a_missing_folder_and_a_file_in_its_place(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "gone")) as found:
        require_writable(tmp_path / "gone")
    assert found.value.errno == errno.ENOENT
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match=str(tmp_path / "file")) as found:
        make_folder(tmp_path / "file")
    assert found.value.errno == errno.ENOTDIR
    assert (tmp_path / "file").read_text() == "mine"
