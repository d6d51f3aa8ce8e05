# SPDX-License-Identifier: MIT
"""Compile the CPU kernels into wheels of Linux on x86-64, for three kinds of processors.

Without a compiler, elsewhere, for editable installations, or with ``EQCALC_KERNELS=0`` the wheel is
one for any platform, and kernels are compiled on first use.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: glibc 2.31 and GLIBCXX_3.4.28 came with the same systems, of 2020.
_GLIBC, _GLIBCXX = 31, 28


class KernelBuildHook(BuildHookInterface):
    """The hook that hatchling calls."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the libraries, add them to the wheel and name its platform."""
        source = Path(self.root) / "eqcalc" / "runtime" / "kernel_build.py"
        spec = importlib.util.spec_from_file_location("kernel_build", source)
        kernels = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(kernels)
        command = kernels.compiler()
        here = (sys.platform, platform.machine(), platform.libc_ver()[0])
        wanted = version != "editable" and os.environ.get("EQCALC_KERNELS", "1") != "0"
        if not wanted or command is None or here != ("linux", "x86_64", "glibc"):
            return
        self.folder = tempfile.TemporaryDirectory()  # as long as the wheel is being made

        def compiled(kind: tuple[str, str]) -> tuple[Path, str]:
            real, level = kind
            name = kernels.bundled_library(real, level).name
            made = Path(self.folder.name) / name
            flags = (f"-march={level}", "-s", "-DEQCALC_WHEEL")
            error = kernels.compile_kernels(command, real, flags, made)
            if error:
                raise RuntimeError(f"{command} cannot compile {name}; EQCALC_KERNELS=0\n{error}")
            return made, f"eqcalc/runtime/native/{name}"

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = dict(pool.map(compiled, product(kernels.REALS, kernels.LEVELS)))
        build_data["force_include"] |= {str(path): target for path, target in made.items()}
        # the oldest C library that has all their symbols, if the one of C++ is not newer
        text = b"".join(path.read_bytes() for path in made)
        c, cxx = (
            max(int(n) for n in re.findall(name + rb"(\d+)\b", text))
            for name in (rb"GLIBC_2\.", rb"GLIBCXX_3\.4\.")
        )
        system = f"manylinux_2_{max(c, _GLIBC)}" if cxx <= _GLIBCXX else "linux"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{system}_x86_64"
