# SPDX-License-Identifier: MIT
"""How the CPU kernels are compiled: by the build of a wheel, or on first use.

Of the standard library only, since the build of a wheel loads this file without the package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
FLAGS = (
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
#: Precisions that the kernels know.
REALS = ("float", "double")
#: Processors of the libraries in a wheel, best first: with AVX-512, with AVX2, any.
LEVELS = ("x86-64-v4", "x86-64-v3", "x86-64")


def bundled_library(real: str, level: str) -> Path:
    """Return the path of a library of a wheel."""
    return SOURCES / f"kernels-{real}-{level}.so"


def compiler() -> str | None:
    """Return the C++ compiler: ``$CXX``, else the first of c++, g++ and clang++."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return shutil.which(name)
    return None


def compile_kernels(command: str, real: str, processor: tuple[str, ...], made: Path) -> str:
    """Compile the kernels in a precision and return what the compiler says if it fails.

    Parameters
    ----------
    command
        The compiler.
    real
        ``"float"`` or ``"double"``.
    processor
        Its flags for the processor.
    made
        The library to write.
    """
    done = subprocess.run(
        [command, *FLAGS, *processor, f"-DREAL={real}", str(SOURCES / "painn.cpp"), "-o", made],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr or f"status {done.returncode}"
