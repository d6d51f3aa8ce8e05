# SPDX-License-Identifier: MIT
"""The C++ compiler of the CPU kernels, and the cache of compiled libraries."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch

from eqcalc.files import make_folder, replacing
from eqcalc.runtime.execution import ExecutionUnavailableError


def cache_folder() -> Path:
    """Return the cache folder of compiled executions, creating it if necessary.

    It is ``$EQCALC_CACHE``, else ``$XDG_CACHE_HOME/eqcalc``, else
    ``~/.cache/eqcalc``. Anything in it may be deleted at any time.

    Raises
    ------
    OSError
        The folder cannot be created.
    """
    chosen = os.environ.get("EQCALC_CACHE")
    if chosen:
        folder = Path(chosen)
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eqcalc"
    # code is loaded from here, so nobody else may write to it
    if not folder.is_dir():  # a read-only folder can still be used
        make_folder(folder, private=True)
    return folder


_SOURCES = Path(__file__).parent / "native"
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-shared",
    "-fPIC",
    "-pthread",
    # the libraries of two precisions in one process share nothing
    "-fvisibility=hidden",
    "-ffp-contract=fast",
    # the code is vectorized by hand; compilers would undo that
    "-fno-tree-vectorize",
)
#: Tried in this order; not every compiler supports every processor.
_PROCESSOR_FLAGS = (("-march=native",), ("-mcpu=native",), ())
_REALS = {torch.float32: "float", torch.float64: "double"}


def compiler() -> str | None:
    """Return the C++ compiler: ``$CXX``, else the first of c++, g++ and clang++."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return shutil.which(name)
    return None


def processor() -> str:
    """Describe what the compiled code depends on; several machines may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def library_path(dtype: torch.dtype) -> Path:
    """Return the path of the kernels in a precision, whether they exist or not."""
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.iterdir()):
        if source.suffix in (".h", ".cpp"):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    digest.update("\0".join((*_FLAGS, _REALS[dtype], platform.machine(), processor())).encode())
    return cache_folder() / f"kernels-{_REALS[dtype]}-{digest.hexdigest()[:24]}.so"


@functools.cache
def kernel_library(dtype: torch.dtype) -> ctypes.CDLL:
    """Return the kernels in a precision, compiling them on first use on a machine.

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
    try:
        path = library_path(dtype)
        if not path.exists():
            _compile(path, _REALS[dtype])
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise ExecutionUnavailableError(f"cannot be loaded: {error}", key="kernels") from None


def _compile(target: Path, real: str) -> None:
    command = require_compiler()
    message = ""
    with replacing(target) as made:  # several processes may start at once
        for processor in _PROCESSOR_FLAGS:
            options = [*_FLAGS, *processor, f"-DREAL={real}"]
            done = subprocess.run(
                [command, *options, str(_SOURCES / "painn.cpp"), "-o", str(made)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:
                return
            message = message or done.stderr
        raise ExecutionUnavailableError(
            f"{command} cannot compile the kernels:\n{message[-2000:]}", key="compiler"
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
