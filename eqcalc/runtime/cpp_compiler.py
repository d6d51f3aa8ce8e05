# SPDX-License-Identifier: MIT
"""The libraries of the CPU kernels: those of a wheel, or a cache of compiled ones."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import stat
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from eqcalc.files import (
    file_hash,
    make_folder,
    remove_leftovers,
    temporary_path,
    write_atomically,
)
from eqcalc.runtime import kernel_build
from eqcalc.runtime.execution import ExecutionUnavailableError
from eqcalc.runtime.kernel_build import compiler


class CacheWarning(UserWarning):
    """The cache folder cannot be used."""


def cache_folder() -> Path:
    """Return the cache folder of compiled executions, creating it if necessary.

    It is ``$EQCALC_CACHE``, else ``$XDG_CACHE_HOME/eqcalc``, else ``~/.cache/eqcalc``; where
    that cannot be made, a private folder for temporary files. Anything in it may be deleted
    at any time.

    Raises
    ------
    OSError
        There is no folder that can be used.
    """
    try:
        chosen = os.environ.get("EQCALC_CACHE")
        base = os.environ.get("XDG_CACHE_HOME", "")
        folder = Path(chosen) if chosen else Path(base or Path.home() / ".cache") / "eqcalc"
        # code is loaded from here, so nobody else may write to it
        if not folder.is_dir():  # a read-only folder can still be used
            make_folder(folder, private=True)
        return folder.absolute()
    except (OSError, RuntimeError) as reason:  # RuntimeError: nobody knows the home folder
        return _temporary_folder(str(reason))


def _temporary_folder(reason: str) -> Path:
    """Return a private folder for temporary files, after a warning."""
    folder = _place_for_temporary()
    make_folder(folder, private=True)
    status = folder.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022 or folder.is_symlink():
        raise PermissionError(f"{folder} is a link, or others can write to it")
    text = f"compiled code is kept in {folder}: {reason}; set EQCALC_CACHE to another folder"
    warnings.warn(text, CacheWarning, stacklevel=2)
    return folder


def _place_for_temporary() -> Path:
    return Path(tempfile.gettempdir()).absolute() / f"eqcalc-{os.geteuid()}"


def find(key: str, suffix: str) -> Path | None:
    """Return the file of a key if it is intact and nobody else could have written it.

    The name holds the SHA-256 of the content; damaged files are deleted.

    Raises
    ------
    OSError
        The cache cannot be read.
    """
    folders = {cache_folder(), _place_for_temporary()}
    for folder in folders:  # of killed processes, whose compiler may have gone on
        remove_leftovers(folder / f"{key}{suffix}")
    for path in sorted(path for folder in folders for path in folder.glob(f"{key}.*{suffix}")):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o022:
            continue
        if status.st_uid not in (os.geteuid(), 0):
            continue
        if path.name == _name(key, suffix, path):
            return path
        with contextlib.suppress(OSError):
            path.unlink()
    return None


def store(key: str, suffix: str, make: Callable[[Path], None]) -> Path:
    """Create a file and store it under a key.

    Parameters
    ----------
    key, suffix
        Name that identifies the content, and its suffix.
    make
        Called with the path of the file to write.

    Raises
    ------
    OSError
        The cache cannot be written.
    """
    folder = cache_folder()
    if not os.access(folder, os.W_OK):
        folder = _temporary_folder(f"{folder} cannot be written")
    made = temporary_path(folder / f"{key}{suffix}")
    try:
        make(made)
        path = made.with_name(_name(key, suffix, made))
        write_atomically(path, made.read_bytes())
        path.chmod(0o644)  # whatever the umask, others must not write to it
        return path
    finally:
        made.unlink(missing_ok=True)


def _name(key: str, suffix: str, path: Path) -> str:
    return f"{key}.{file_hash(path)[:32]}{suffix}"


#: Tried in this order; not every compiler supports every processor.
_PROCESSOR_FLAGS = (("-march=native",), ("-mcpu=native",), ())
_LIBRARY = ".so"
_REALS = {torch.float32: "float", torch.float64: "double"}


def processor() -> str:
    """Describe what the compiled code depends on; several machines may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def library_key(dtype: torch.dtype) -> str:
    """Return the key under which the kernels in a precision are stored."""
    digest = hashlib.sha256()
    for source in sorted(kernel_build.SOURCES.iterdir()):
        if source.suffix in (".h", ".cpp"):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    digest.update(
        "\0".join((*kernel_build.FLAGS, _REALS[dtype], platform.machine(), processor())).encode()
    )
    return f"kernels-{_REALS[dtype]}-{digest.hexdigest()[:24]}"


@functools.cache
def kernel_library(dtype: torch.dtype) -> ctypes.CDLL:
    """Return the kernels in a precision: those of a wheel, or compiled on first use on a machine.

    Raises
    ------
    ExecutionUnavailableError
        There are no kernels in this precision, no compiler or no writable cache folder, or
        compilation fails.
    """
    if dtype not in _REALS:
        raise ExecutionUnavailableError(
            key="precision", value=str(dtype), expected="float32 or float64 for compiled kernels"
        )
    if (bundled := bundled_library(dtype)) is not None:
        with contextlib.suppress(OSError):  # of another C library
            return ctypes.CDLL(str(bundled))
    try:
        key, make = library_key(dtype), partial(_compile, _REALS[dtype])
        if (path := find(key, _LIBRARY)) is not None:
            with contextlib.suppress(OSError):
                return ctypes.CDLL(str(path))
            path.unlink(missing_ok=True)  # of another system, for example
        return ctypes.CDLL(str(store(key, _LIBRARY, make)))
    except OSError as error:
        raise ExecutionUnavailableError(f"cannot be loaded: {error}", key="kernels") from None


def bundled_library(dtype: torch.dtype) -> Path | None:
    """Return the library of a wheel that is best for this processor; None if there is none."""
    known = {"AVX512": 0, "AVX2": 1}.get(torch.backends.cpu.get_cpu_capability(), 2)
    found = (
        kernel_build.bundled_library(_REALS[dtype], level) for level in kernel_build.LEVELS[known:]
    )
    return next((path for path in found if path.is_file()), None)


def _compile(real: str, made: Path) -> None:
    command = require_compiler()
    messages = []
    for flags in _PROCESSOR_FLAGS:
        if not (message := kernel_build.compile_kernels(command, real, flags, made)):
            return
        messages.append(message)
    raise ExecutionUnavailableError(
        f"{command} cannot compile the kernels:\n{messages[0][-2000:]}", key="compiler"
    )


def require_compiler() -> str:
    """Return the C++ compiler; ExecutionUnavailableError if there is none."""
    command = compiler()
    if command is None:
        raise ExecutionUnavailableError(
            "there is no C++ compiler on this machine",
            key="compiler",
            advice="install one (e.g. g++), or set $CXX to its path",
        )
    return command
